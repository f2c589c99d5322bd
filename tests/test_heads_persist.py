"""Heads as files."""

import json
from pathlib import Path
from typing import Any
from zipfile import ZIP_DEFLATED, ZipFile

import numpy as np
import pytest
import skops.io
from sklearn.datasets import load_digits
from sklearn.linear_model import SGDClassifier
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import FunctionTransformer, StandardScaler

from tlfeat.errors import HeadError, TlfeatError
from tlfeat.heads.fit import fit_head
from tlfeat.heads.persist import load_head, save_head
from tlfeat.heads.table import HEADS
from tlfeat.heads.trained import TrainedHead

CLASSES = tuple(f"digit <{i}> é" for i in range(10))


def fit_digits(name: str, **other: Any) -> tuple[Any, np.ndarray]:
    X, y = load_digits(return_X_y=True)
    params = {"epochs": 3, "hidden": "16"} if name.startswith("mlp") else {}
    X = X.astype(np.float32)
    done = fit_head(name, X[:300], y[:300], n_classes=10, params=params, search=False, **other)
    return done, X[300:400]


@pytest.mark.parametrize(
    ("head", "weight"),
    [(head, None) for head in HEADS] + [(head, "balanced") for head in HEADS if head.balanced],
    ids=lambda value: getattr(value, "name", value),
)
def test_every_head_comes_back_as_it_was(head: Any, weight: str | None, tmp_path: Path) -> None:
    fitted, rows = fit_digits(head.name, class_weight=weight)
    path = save_head(fitted, tmp_path / "head.skops", classes=CLASSES)
    loaded = load_head(path)
    np.testing.assert_array_equal(loaded.scores(rows), fitted.scores(rows))
    np.testing.assert_array_equal(loaded.predict(rows), fitted.predict(rows))
    assert loaded.classes == CLASSES
    assert loaded.name == head.name
    assert loaded.settings == fitted.settings
    assert loaded.score_kind == fitted.score_kind == "probability"
    assert [p.name for p in tmp_path.iterdir()] == ["head.skops"]


def test_two_classes_and_missing_classes_come_back(tmp_path: Path) -> None:
    X, y = load_digits(return_X_y=True)
    few = y < 2
    for name in (head.name for head in HEADS):
        params = {"epochs": 2, "hidden": "8"} if name.startswith("mlp") else {}
        fitted = fit_head(name, X[few], y[few], n_classes=3, params=params, search=False)
        loaded = load_head(save_head(fitted, tmp_path / "h.skops", classes=("a", "b", "c")))
        np.testing.assert_array_equal(loaded.scores(X[:50]), fitted.scores(X[:50]))


def test_skops_opens_the_file_without_tlfeat(tmp_path: Path) -> None:
    fitted, rows = fit_digits("lda")
    path = save_head(fitted, tmp_path / "head.skops", classes=CLASSES)
    pipeline = skops.io.load(path, trusted=[])
    np.testing.assert_array_equal(pipeline.predict(rows), fitted.predict(rows))


def rewrite(path: Path, member: str, change: Any) -> None:
    """Change one JSON member of a file."""
    with ZipFile(path) as file:
        parts = {name: file.read(name) for name in file.namelist()}
    changed = change(json.loads(parts[member]))
    parts[member] = (changed if isinstance(changed, str) else json.dumps(changed)).encode()
    with ZipFile(path, "w") as file:
        for name, data in parts.items():
            file.writestr(name, data)


def test_a_type_that_skops_trusts_but_the_head_has_not_is_refused(tmp_path: Path) -> None:
    X, y = load_digits(return_X_y=True)
    other = make_pipeline(
        StandardScaler(), FunctionTransformer(np.exp), SGDClassifier(max_iter=2, tol=None)
    )
    trained = TrainedHead("logistic", other.fit(X, y), {}, "probability", 10)
    path = save_head(trained, tmp_path / "head.skops", classes=CLASSES)
    with pytest.raises(HeadError, match=r"refused: a logistic has no object of type"):
        load_head(path)


@pytest.mark.parametrize("module", ["os", "builtins", "subprocess"])
def test_an_altered_file_is_refused_before_anything_is_built(
    module: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    fitted, _ = fit_digits("ridge")
    path = save_head(fitted, tmp_path / "head.skops", classes=CLASSES)

    def alter(schema: dict[str, Any]) -> dict[str, Any]:
        schema["content"]["content"]["verbose"] = {
            "__class__": "system" if module == "os" else "Popen",
            "__module__": module,
            "__loader__": "FunctionNode",
            "content": {"module_path": module, "function": "system"},
        }
        return schema

    rewrite(path, "schema.json", alter)
    monkeypatch.setattr(skops.io, "load", lambda *a, **k: pytest.fail("was built"))
    with pytest.raises(HeadError, match=rf"no object of type '{module}\."):
        load_head(path)


def test_a_function_hidden_under_a_listed_type_is_refused(tmp_path: Path) -> None:
    fitted, _ = fit_digits("ridge")
    path = save_head(fitted, tmp_path / "head.skops", classes=CLASSES)

    def alter(schema: dict[str, Any]) -> dict[str, Any]:
        schema["content"]["content"]["verbose"] = {
            "__class__": "dict",
            "__module__": "builtins",
            "__loader__": "FunctionNode",
            "content": {"module_path": "os", "function": "system"},
        }
        return schema

    rewrite(path, "schema.json", alter)
    with pytest.raises(HeadError):
        load_head(path)


def test_a_file_that_names_another_head_is_refused(tmp_path: Path) -> None:
    fitted, _ = fit_digits("logistic")
    path = save_head(fitted, tmp_path / "head.skops", classes=CLASSES)
    rewrite(path, "tlfeat.json", lambda facts: {**facts, "head": "lda"})
    with pytest.raises(HeadError, match="a lda has no object of type"):
        load_head(path)


@pytest.mark.parametrize(
    "facts",
    [
        [],
        {},
        {"head": "nothing", "classes": [], "settings": {}},
        {"head": 3, "classes": [], "settings": {}},
        {"head": "lda", "classes": 3, "settings": {}},
        {"head": "lda", "classes": [3], "settings": {}},
        {"head": "lda", "classes": ["a"], "settings": []},
        "[" * 100_000 + "]" * 100_000,
    ],
)
def test_facts_that_make_no_sense_are_one_sentence(facts: Any, tmp_path: Path) -> None:
    fitted, _ = fit_digits("lda")
    path = save_head(fitted, tmp_path / "head.skops", classes=CLASSES)
    rewrite(path, "tlfeat.json", lambda _: facts)
    with pytest.raises(HeadError, match="is not a head that tlfeat saved"):
        load_head(path)


@pytest.mark.parametrize("classes", [CLASSES[:9], ()])
def test_a_head_with_too_few_classes_is_one_sentence(
    classes: tuple[str, ...], tmp_path: Path
) -> None:
    fitted, _ = fit_digits("lda")
    path = save_head(fitted, tmp_path / "head.skops", classes=CLASSES)
    rewrite(path, "tlfeat.json", lambda facts: {**facts, "classes": list(classes)})
    with pytest.raises(HeadError, match=rf"its head tells class 9 and it names {len(classes)}\."):
        load_head(path)


def test_a_head_that_unpacks_to_more_than_its_file_is_refused(tmp_path: Path) -> None:
    fitted, _ = fit_digits("lda")
    path = save_head(fitted, tmp_path / "head.skops", classes=CLASSES)
    with ZipFile(path, "a", ZIP_DEFLATED) as file:
        file.writestr("zeros.npy", bytes(2**24))
    with pytest.raises(HeadError, match="it unpacks to more than it holds"):
        load_head(path)


def test_files_that_are_no_heads_are_one_sentence(tmp_path: Path) -> None:
    with pytest.raises(HeadError, match="There is no head at"):
        load_head(tmp_path / "none.skops")
    (tmp_path / "text.skops").write_text("hello")
    with pytest.raises(HeadError, match="is not a head that tlfeat saved"):
        load_head(tmp_path / "text.skops")
    with pytest.raises(HeadError, match="is not a head that tlfeat saved"):
        load_head(tmp_path)
    fitted, _ = fit_digits("lda")
    path = save_head(fitted, tmp_path / "head.skops", classes=CLASSES)
    path.write_bytes(path.read_bytes()[:-200])
    with pytest.raises(HeadError):
        load_head(path)


def test_a_failed_save_leaves_the_old_file_and_nothing_else(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    fitted, rows = fit_digits("lda")
    path = save_head(fitted, tmp_path / "head.skops", classes=CLASSES)

    def broken(pipeline: Any, part: Path) -> None:
        part.write_bytes(b"half")
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(skops.io, "dump", broken)
    with pytest.raises(TlfeatError, match=r"head\.skops cannot be written: the disk is full"):
        save_head(fitted, path, classes=CLASSES)
    assert [p.name for p in tmp_path.iterdir()] == ["head.skops"]
    np.testing.assert_array_equal(load_head(path).scores(rows), fitted.scores(rows))
