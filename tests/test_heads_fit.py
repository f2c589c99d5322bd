"""Choosing settings and training heads."""

import subprocess
import sys
import threading
import warnings
from typing import Any

import numpy as np
import pytest
from joblib import Parallel, delayed
from sklearn.datasets import load_digits
from threadpoolctl import threadpool_info

from tlfeat.errors import HeadError
from tlfeat.heads.fit import fit_head
from tlfeat.heads.matrix import Matrix
from tlfeat.heads.neighbours import Neighbours
from tlfeat.heads.network import _Training
from tlfeat.heads.rows import Rows
from tlfeat.heads.table import HEADS, get_head

NAMES = [head.name for head in HEADS]
QUICK: dict[str, dict[str, Any]] = {
    "mlp": {"hidden": "32", "epochs": 25, "alpha": 1, "learning_rate": 0.02},
    "mlp-512-256-128-64": {"hidden": "32-16", "epochs": 25, "alpha": 1, "learning_rate": 0.02},
    "svm-nystroem": {"components": 100, "gamma": "0.3*scale"},
}


@pytest.fixture(scope="module")
def digits() -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    X, y = load_digits(return_X_y=True)
    rows = np.random.default_rng(0).permutation(len(y))[:800]
    X, y = X[rows].astype(np.float32), y[rows]
    return X[:400], y[:400], X[400:], y[400:]


def make_groups(seed: int = 0) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Rows that say nothing of their class but much of their group."""
    rng = np.random.default_rng(seed)
    groups = np.repeat(np.arange(40), 6)
    y = rng.integers(0, 2, 40)[groups]
    X = rng.normal(size=(40, 30))[groups] + 0.05 * rng.normal(size=(240, 30))
    return X.astype(np.float32), y, groups


@pytest.mark.filterwarnings("error")
@pytest.mark.parametrize("name", NAMES)
def test_every_head_learns_digits_on_folds(name: str, digits: Any) -> None:
    X, y, test_X, test_y = digits
    fitted = fit_head(name, X, y, n_classes=10, params=QUICK.get(name), jobs=2)
    assert (fitted.predict(test_X) == test_y).mean() > 0.83
    assert fitted.fold is not None
    assert (fitted.held_scores.argmax(axis=1) == y).mean() > 0.83
    assert set(fitted.fold) == set(range(5))
    assert fitted.n_train == 400
    assert set(fitted.chosen) >= set(fitted.grid)
    assert {**fitted.settings, **fitted.chosen} == fitted.settings
    scores = fitted.scores(test_X)
    assert scores.shape == (400, 10)
    if fitted.score_kind == "probability":
        np.testing.assert_allclose(scores.sum(axis=1), 1, atol=1e-5)
    np.testing.assert_array_equal(fitted.predict(test_X), fitted.pipeline.predict(test_X))


@pytest.mark.parametrize("name", NAMES)
def test_two_classes_have_two_columns_and_scikit_learns_labels(name: str, digits: Any) -> None:
    X, y, test_X, _ = digits
    fitted = fit_head(name, X, y % 2, n_classes=2, params=QUICK.get(name), search=False)
    scores = fitted.scores(test_X)
    assert scores.shape == (400, 2)
    np.testing.assert_array_equal(scores.argmax(axis=1), fitted.pipeline.predict(test_X))


@pytest.mark.parametrize("name", NAMES)
def test_classes_that_train_lacks_are_never_predicted(name: str, digits: Any) -> None:
    X, y, test_X, test_y = digits
    few = (y == 2) | (y == 5) | (y == 8)
    fitted = fit_head(
        name, X[few], y[few], n_classes=10, validation=(test_X, test_y), params=QUICK.get(name)
    )
    scores = fitted.scores(test_X)
    assert scores.shape == (400, 10)
    assert np.isfinite(scores).all()
    assert set(scores.argmax(axis=1)) <= {2, 5, 8}
    absent = [0, 1, 3, 4, 6, 7, 9]
    if fitted.score_kind == "probability":
        assert not scores[:, absent].any()
    else:
        assert (scores[:, absent].max(axis=1) < scores[:, [2, 5, 8]].min(axis=1)).all()


@pytest.mark.parametrize("name", NAMES)
def test_a_class_with_one_row_is_no_trouble(name: str, digits: Any) -> None:
    X, y, _, _ = digits
    rows = np.flatnonzero(y != 3)[:100]
    rows = np.append(rows, np.flatnonzero(y == 3)[0])
    params = {**QUICK.get(name, {}), **({"epochs": 5} if name.startswith("mlp") else {})}
    fitted = fit_head(name, X[rows], y[rows], n_classes=10, params=params)
    assert fitted.held_scores.shape == (101, 10)
    assert np.isfinite(fitted.held_scores).all()


@pytest.mark.parametrize("name", ["logistic", "lda", "svm-rbf", "knn"])
def test_a_fold_whose_training_rows_have_one_class_counts_as_errors(name: str) -> None:
    rng = np.random.default_rng(0)
    y = np.repeat([0, 1], 20)
    X = rng.normal(size=(40, 5)).astype(np.float32) + 3 * y[:, None]
    groups = np.where(y == 1, 100, np.arange(40))  # all of class 1 is one group
    fitted = fit_head(name, X, y, n_classes=2, groups=groups, params={})
    assert (fitted.held_scores[y == 1].argmax(axis=1) == 0).all()


def test_folds_keep_groups_together() -> None:
    X, y, groups = make_groups()
    honest = fit_head("knn", X, y, n_classes=2, groups=groups)
    naive = fit_head("knn", X, y, n_classes=2)
    assert (naive.held_scores.argmax(axis=1) == y).mean() > 0.95
    assert (honest.held_scores.argmax(axis=1) == y).mean() < 0.8


def test_the_network_is_told_when_to_stop_by_rows_of_other_groups() -> None:
    X, y, groups = make_groups()
    params = {"hidden": "16", "epochs": (1, 40), "alpha": 1e-4}
    fitted = fit_head("mlp", X, y, n_classes=2, groups=groups, params=params)
    held = {row["setting"]["epochs"]: row["score"] for row in fitted.search_table}
    assert held[40] < 0.8  # an inner split of rows would have seen almost no error


def test_out_of_fold_rows_are_scored_by_a_head_that_has_not_seen_them(digits: Any) -> None:
    X, y, _, _ = digits
    rng = np.random.default_rng(0)
    noise = rng.permutation(y)
    fitted = fit_head("knn", X, noise, n_classes=10, params={"k": 1})
    assert (fitted.held_scores.argmax(axis=1) == noise).mean() < 0.3
    assert (fitted.predict(X) == noise).mean() == 1


def test_validation_rows_choose_and_are_not_trained_on(digits: Any) -> None:
    X, y, other_X, other_y = digits
    fitted = fit_head("logistic", X, y, n_classes=10, validation=(other_X, other_y))
    assert fitted.n_train == 400
    assert fitted.fold is None
    np.testing.assert_array_equal(fitted.held_scores.argmax(axis=1), fitted.predict(other_X))
    best = max(row["score"] for row in fitted.search_table)
    chosen = next(r for r in fitted.search_table if r["setting"] == fitted.chosen)
    assert chosen["score"] >= best - np.sqrt(best * (1 - best) / 400)


def test_refitting_adds_the_validation_rows_but_not_to_their_own_scores(digits: Any) -> None:
    X, y, other_X, other_y = digits
    plain = fit_head("lda", X, y, n_classes=10, validation=(other_X, other_y))
    refitted = fit_head(
        "lda", X, y, n_classes=10, validation=(other_X, other_y), refit_on_validation=True
    )
    assert refitted.n_train == 800
    assert refitted.chosen == plain.chosen
    np.testing.assert_allclose(refitted.held_scores, plain.held_scores, atol=1e-4)
    assert np.abs(refitted.scores(other_X) - plain.scores(other_X)).max() > 1e-3


def test_an_empty_validation_split_is_none(digits: Any) -> None:
    X, y, _, _ = digits
    fitted = fit_head("lda", X, y, n_classes=10, validation=(X[:0], y[:0]))
    assert fitted.fold is not None
    assert len(fitted.held_scores) == len(y)


def test_without_a_search_the_given_and_default_values_are_used(digits: Any) -> None:
    X, y, other_X, other_y = digits
    fitted = fit_head(
        "logistic",
        X,
        y,
        n_classes=10,
        validation=(other_X, other_y),
        params={"C": "0.5"},
        search=False,
    )
    assert fitted.settings == {"C": 0.5, "max_iter": 1000, "class_weight": None}
    assert fitted.pipeline[-1].C == 0.5
    assert not fitted.search_table
    assert not fitted.chosen


def test_several_given_values_are_searched(digits: Any) -> None:
    X, y, _, _ = digits
    fitted = fit_head("logistic", X, y, n_classes=10, params={"C": "1,0.001,0.1"})
    assert fitted.grid == {"C": (1.0, 0.001, 0.1)}
    assert {row["setting"]["C"] for row in fitted.search_table} == {1.0, 0.001, 0.1}


@pytest.mark.parametrize("name", ["mlp", "svm-nystroem", "logistic"])
def test_the_same_seed_gives_the_same_head(name: str, digits: Any) -> None:
    X, y, test_X, _ = digits

    def scores(seed: int, jobs: int) -> np.ndarray:
        fitted = fit_head(name, X, y, n_classes=10, params=QUICK.get(name), seed=seed, jobs=jobs)
        return fitted.scores(test_X)

    np.testing.assert_array_equal(scores(0, 1), scores(0, 2))
    if name != "logistic":
        assert np.abs(scores(0, 1) - scores(1, 1)).max() > 1e-3


@pytest.mark.parametrize("name", [head.name for head in HEADS if head.balanced])
def test_balanced_heads_predict_a_rare_class_more_often(name: str) -> None:
    rng = np.random.default_rng(0)
    y = (np.arange(300) < 20).astype(int)
    X = (rng.normal(size=(300, 10)) + 0.6 * y[:, None]).astype(np.float32)
    params = {**QUICK.get(name, {}), **({"epochs": 20} if name.startswith("mlp") else {})}
    rare = [
        int(
            fit_head(name, X, y, n_classes=2, params=params, search=False, class_weight=weight)
            .predict(X)
            .sum()
        )
        for weight in (None, "balanced")
    ]
    assert rare[1] > rare[0]


def test_a_head_that_cannot_weigh_classes_says_which_can(digits: Any) -> None:
    X, y, _, _ = digits
    with pytest.raises(HeadError, match="knn cannot weigh classes"):
        fit_head("knn", X, y, n_classes=10, class_weight="balanced")


def test_one_class_is_refused() -> None:
    with pytest.raises(HeadError, match="two classes or more"):
        fit_head("lda", np.ones((5, 3), np.float32), np.zeros(5, int), n_classes=2)


def test_no_rows_are_refused() -> None:
    with pytest.raises(HeadError, match="0 training rows"):
        fit_head("lda", np.ones((0, 3), np.float32), np.zeros(0, int), n_classes=2)


def test_a_kernel_above_the_budget_is_refused_naming_what_works(digits: Any) -> None:
    X, y, _, _ = digits
    with pytest.raises(HeadError, match="svm-linear or svm-nystroem"):
        fit_head("svm-rbf", X, y, n_classes=10, kernel_budget=8 * 399**2)
    fit_head("svm-rbf", X, y, n_classes=10, kernel_budget=8 * 400**2, search=False)


def test_more_neighbours_than_rows_are_refused_or_left_out() -> None:
    rng = np.random.default_rng(0)
    X, y = rng.normal(size=(12, 3)).astype(np.float32), np.tile([0, 1], 6)
    with pytest.raises(HeadError, match="cannot find 50 neighbours among 9"):
        fit_head("knn", X, y, n_classes=2, params={"k": 50})
    assert max(fit_head("knn", X, y, n_classes=2).grid["k"]) == 5


@pytest.mark.parametrize("name", ["logistic", "svm-linear", "svm-nystroem"])
def test_a_solver_that_stops_early_is_reported_and_warns_nobody(name: str, digits: Any) -> None:
    X, y, _, _ = digits
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        fitted = fit_head(name, X, y, n_classes=10, params={"C": 1, "max_iter": 2}, search=False)
    assert not fitted.converged
    assert "stopped after 2 iterations at C=1: raise max_iter" in fitted.warnings[0]


def test_a_network_that_still_learns_is_reported(digits: Any) -> None:
    X, y, _, _ = digits
    params = QUICK["mlp"]
    few = fit_head("mlp", X, y, n_classes=10, params={**params, "epochs": 8}, search=False)
    assert not few.converged
    assert "give more epochs" in few.warnings[0]
    many = fit_head("mlp", X, y, n_classes=10, params={**params, "epochs": 120}, search=False)
    assert many.converged
    assert not many.warnings


@pytest.mark.parametrize("name", NAMES)
def test_constant_and_nearly_constant_features_do_no_harm(name: str, digits: Any) -> None:
    X, y, test_X, test_y = digits
    rng = np.random.default_rng(0)
    odd = np.zeros((400, 3), np.float32)
    odd[:, 1] = 7
    odd[:, 2] = 1e-6 * rng.normal(size=400)
    test_odd = odd + np.float32(1)
    params = QUICK.get(name)
    fitted = fit_head(name, np.hstack([X, odd]), y, n_classes=10, params=params, search=False)
    scores = fitted.scores(np.hstack([test_X, test_odd]))
    assert np.isfinite(scores).all()
    assert (scores.argmax(axis=1) == test_y).mean() > 0.8


def test_the_scaler_has_a_floor() -> None:
    rng = np.random.default_rng(0)
    X = rng.normal(size=(500, 6)).astype(np.float32) * np.float32([1, 1, 1, 1e-5, 1, 1])
    X[:, 4] = 0.1
    scaler = Rows(Matrix(X, np.arange(500) % 2, 2)).scaler()
    middle = np.median(X.std(axis=0)[[0, 1, 2, 3, 5]])
    np.testing.assert_allclose(scaler.scale_[3], 0.1 * middle, rtol=1e-4)
    np.testing.assert_allclose(scaler.scale_[4], middle, rtol=1e-4)
    assert np.abs(scaler.transform(X)[:, 4]).max() < 1e-6


def test_rows_that_are_all_equal_are_no_trouble() -> None:
    X, y = np.ones((20, 4), np.float32), np.tile([0, 1], 10)
    for name in NAMES:
        params = {"epochs": 2} if name.startswith("mlp") else {}
        assert np.isfinite(fit_head(name, X, y, n_classes=2, params=params).scores(X)).all()


@pytest.mark.parametrize("dtype", [np.float16, np.float32, np.float64])
def test_features_of_any_precision_are_taken(dtype: Any, digits: Any) -> None:
    X, y, test_X, test_y = digits
    fitted = fit_head("logistic", X.astype(dtype), y, n_classes=10, search=False)
    assert (fitted.predict(test_X.astype(dtype)) == test_y).mean() > 0.85


@pytest.mark.parametrize(
    ("X", "y"),
    [
        (np.ones((4, 2)), np.zeros(3, int)),
        (np.ones(4), np.zeros(4, int)),
        (np.full((4, 2), np.nan), np.array([0, 1, 0, 1])),
        (np.ones((4, 2)), np.array([0, 1, 2, 3])),
        (np.ones((4, 2)), np.array([0, 1, 0, -1])),
    ],
)
def test_data_that_make_no_sense_are_a_value_error(X: np.ndarray, y: np.ndarray) -> None:
    with pytest.raises(ValueError, match="train: "):
        fit_head("lda", X, y, n_classes=2)


def test_features_are_left_unchanged(digits: Any) -> None:
    X, y, _, _ = digits
    before = X.copy()
    for name in NAMES:
        fit_head(name, X, y, n_classes=10, params={**QUICK.get(name, {})}, search=False)
    np.testing.assert_array_equal(X, before)


def test_heads_in_several_threads_share_one_limit_and_give_it_back(
    digits: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    X, y, test_X, _ = digits

    def blas_threads() -> list[int]:
        return [part["num_threads"] for part in threadpool_info()]

    seen: list[list[int]] = []
    real = Neighbours.finish

    def finish(learner: Neighbours, setting: Any) -> Any:
        seen.append(blas_threads())
        return real(learner, setting)

    monkeypatch.setattr(Neighbours, "finish", finish)
    before, threads = blas_threads(), threading.active_count()  # other tests' may live on
    alone = [fit_head(name, X, y, n_classes=10).scores(test_X) for name in ("lda", "ridge")]
    together = Parallel(n_jobs=4, prefer="threads")(
        delayed(fit_head)(name, X, y, n_classes=10)
        for name in ("lda", "ridge", "logistic", "knn", "lda", "ridge")
    )
    assert blas_threads() == before
    assert seen == [[1] * len(before)]
    assert threading.active_count() < threads + 20
    for fitted, scores in zip((together[0], together[1]), alone, strict=True):
        np.testing.assert_array_equal(fitted.scores(test_X), scores)


def test_each_part_of_a_search_has_one_numeric_thread_in_its_own_thread(
    digits: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    X, y, _, _ = digits
    seen: list[tuple[str, int]] = []
    real = Neighbours.logits

    def scores(learner: Neighbours, setting: Any) -> Any:
        seen.extend((part["user_api"], part["num_threads"]) for part in threadpool_info())
        return real(learner, setting)

    monkeypatch.setattr(Neighbours, "logits", scores)
    large = np.tile(X, (1, 800))  # 20 million numbers
    fit_head("knn", large, y, n_classes=10, params={"k": [5]}, jobs=4)
    assert {api for api, _ in seen} >= {"blas", "openmp"}
    assert {threads for _, threads in seen} == {1}


def test_seconds_are_of_the_processor_and_not_of_what_is_waited_for(
    digits: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    X, y, _, _ = digits
    real = Neighbours.logits

    def scores(learner: Neighbours, setting: Any) -> Any:
        threading.Event().wait(0.5)
        return real(learner, setting)

    monkeypatch.setattr(Neighbours, "logits", scores)
    fitted = fit_head("knn", X, y, n_classes=10, params={"k": [5]}, jobs=2)
    assert 0 < fitted.seconds["search"] < 0.5 * 5


def test_the_mlp_sees_other_mini_batches_in_every_pass(
    digits: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    X, y, test_X, test_y = digits
    orders: list[tuple[float, ...]] = []
    real = _Training._step

    def step(training: _Training, rows: np.ndarray, *others: Any) -> float:
        orders.append(tuple(rows.sum(axis=1).tolist()))
        return real(training, rows, *others)

    monkeypatch.setattr(_Training, "_step", step)
    settings = {**QUICK["mlp"], "epochs": 4, "batch": 400}
    fitted = fit_head(
        "mlp", X, y, n_classes=10, validation=(test_X, test_y), params=settings, search=False
    )
    assert len(set(orders)) == len(orders) == 4
    assert len({tuple(sorted(order)) for order in orders}) == 1  # all rows, each time
    again = fit_head(
        "mlp", X, y, n_classes=10, validation=(test_X, test_y), params=settings, search=False
    )
    np.testing.assert_array_equal(again.scores(test_X), fitted.scores(test_X))


def test_all_that_fitting_needs_is_imported_with_the_learner() -> None:
    code = """
import sys, numpy as np
from tlfeat.heads.fit import fit_head
from tlfeat.heads.learner import import_types
from tlfeat.heads.table import HEADS
for head in HEADS:
    import_types(head)
before = set(sys.modules)
X, y = np.random.default_rng(0).normal(size=(60, 8)).astype("float32"), np.arange(60) % 3
for head in HEADS:
    fit_head(head.name, X, y, n_classes=3).scores(X)
print([m for m in set(sys.modules) - before if m.startswith(("sklearn", "scipy", "joblib"))])
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_a_walk_ends_when_patience_does() -> None:
    rng = np.random.default_rng(0)
    y, other_y = rng.integers(0, 2, 200), rng.integers(0, 2, 200)
    X, other_X = (  # one column tells a little, two hundred tell nothing
        np.column_stack([labels + rng.normal(size=200), rng.normal(size=(200, 200))])
        for labels in (y, other_y)
    )
    fitted = fit_head("logistic", X, y, n_classes=2, validation=(other_X, other_y))
    tried = [row["setting"]["C"] for row in fitted.search_table]
    assert tried == list(fitted.grid["C"][: len(tried)])
    assert len(tried) < len(fitted.grid["C"])
    losses = [row["log_loss"] for row in fitted.search_table]
    patience = get_head("logistic").patience
    assert min(losses[-patience:]) >= min(losses[:-patience])
