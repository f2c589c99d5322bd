"""What docs/architecture.md says: its order of rooms, its names, and each "How to", done."""

import json
import re
import shutil
import subprocess
import sys
import tomllib
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from conftest import SIZE

import tlfeat
from tlfeat.backbones import table as backbones
from tlfeat.data import sources
from tlfeat.data.sources.base import Listing, Row
from tlfeat.heads import table as heads
from tlfeat.heads.learner import Finished, Learner
from tlfeat.heads.settings import Setting

ROOT = Path(__file__).parents[1]
PAGE = (ROOT / "docs" / "architecture.md").read_text(encoding="utf-8")


def test_every_how_to_is_done_by_a_test():
    asked = re.findall(r"^## How to (.+)$", PAGE, flags=re.MULTILINE)
    assert len(asked) == 5
    for title in asked:
        assert f"test_how_to_{re.sub('[ -]', '_', title)}" in globals(), title


def test_the_pages_have_the_rooms_in_the_order_that_imports_are_held_to():
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
    layers = project["tool"]["importlinter"]["contracts"][0]["layers"]
    rooms = [
        {name.strip().removeprefix("tlfeat.").replace("tlfeat_", "") for name in layer.split("|")}
        for layer in reversed(layers)
    ]
    packages = {path.parent.name for path in (ROOT / "tlfeat").glob("*/__init__.py")} | {"cli"}
    wanted = [{"*.py"}, *(layer for layer in rooms if layer & packages)]
    for page in (PAGE, (ROOT / "CONTRIBUTING.md").read_text(encoding="utf-8")):
        line = next(line for line in page.splitlines() if " -> studies" in line)
        assert [set(part.strip().split(" | ")) for part in line.split("->")] == wanted


def test_the_functions_and_classes_that_the_page_names_exist():
    code = "\n".join(path.read_text(encoding="utf-8") for path in (ROOT / "tlfeat").rglob("*.py"))
    tables = PAGE[PAGE.index("## Words") : PAGE.index("## How to")]
    for name in re.findall(r"`(?:\w+\.)?([A-Za-z_]{4,})`", tables):
        assert re.search(rf"^\s*(def|class) {name}\b", code, flags=re.MULTILINE), name
    for path in re.findall(r"`(tlfeat/[\w/.]+)`", PAGE):
        assert (ROOT / path).exists(), path


def test_how_to_add_a_backbone(monkeypatch, pictures, cache):
    row = replace(backbones.get_backbone("mobilenet"), name="mobilenet-again")
    monkeypatch.setattr(backbones, "_ROWS", (*backbones._ROWS, row))

    assert row in tlfeat.list_backbones()
    features = tlfeat.extract(
        pictures, "Mobilenet_Again", size=SIZE, weights="random", cache=cache
    )
    assert features.X.shape == (36, row.dim)
    assert features.recipe.backbone == row.name


class NaiveBayes(Learner):
    """A normal distribution for each class and feature."""

    def fitted(self, setting):
        from sklearn.naive_bayes import GaussianNB

        model = GaussianNB(var_smoothing=setting["smoothing"])
        return model.fit(self.problem.X, self.problem.labels[self.problem.y])

    def logits(self, setting):
        return self.fitted(setting).predict_log_proba(self.problem.held)

    def finish(self, setting):
        model = self.fitted(setting)
        return Finished([("head", model)], model.theta_.size + model.var_.size)


def test_how_to_add_a_head(monkeypatch, tmp_path, cache):
    row = heads.Head(
        "naive-bayes",
        "a normal distribution for each class and feature",
        (Setting("smoothing", "number", 0.1, "share of variance", (1.0, 0.1), above=0),),
        f"{__name__}:NaiveBayes",
        ("sklearn.naive_bayes.GaussianNB",),
        balanced=False,
    )
    monkeypatch.setattr(heads, "HEADS", (*heads.HEADS, row))
    monkeypatch.setitem(heads._BY_NAME, row.name, row)

    digits = tlfeat.open_dataset("digits", limit=300)
    run = tlfeat.train(digits, head="naive-bayes", size=SIZE, cache=cache, reports=tmp_path)
    assert run.head_settings.chosen["smoothing"] in (1.0, 0.1)
    assert run.metrics["test"]["accuracy"] > 0.3  # of ten classes
    model = run.head().pipeline  # from its file, which holds the row's types alone
    assert type(model[-1].estimator.estimator).__name__ == "GaussianNB"


class Stripes:
    """Grey pictures with stripes that lie or stand."""

    kind = "stripes"

    def __init__(self, name, options):
        self.count = int(name)

    def listing(self):
        return Listing(
            [
                Row(f"stripes[{i}]", i, ("lying", "standing")[i % 2], None, None, None)
                for i in range(self.count)
            ]
        )

    def read(self, locator):
        lines = np.zeros((16, 16), dtype=np.uint8)
        lines[:: 2 + locator // 2 % 7] = 255 - locator
        return np.ascontiguousarray(lines if locator % 2 == 0 else lines.T)


def test_how_to_add_a_source(monkeypatch):
    monkeypatch.setitem(sources._BY_PREFIX, "stripes:", Stripes)

    dataset = tlfeat.open_dataset("stripes:40")
    assert dataset.kind == "stripes"
    assert dataset.classes == ("lying", "standing")
    assert len(dataset.samples) == len({sample.digest for sample in dataset.samples}) == 40
    assert {sample.split for sample in dataset.samples} == {"train", "test"}


@pytest.fixture
def changed(tmp_path):
    """Give a function that changes a copy of the code and says what some lines in it print."""

    def run(changes, code):
        for folder in ("tlfeat", "cli"):
            shutil.copytree(
                ROOT / folder,
                tmp_path / folder,
                ignore=shutil.ignore_patterns("__pycache__"),
                dirs_exist_ok=True,
            )
        for file, old, new in changes:
            path = tmp_path / file
            text = path.read_text(encoding="utf-8")
            assert text.count(old) == 1, (file, old)
            path.write_text(text.replace(old, new), encoding="utf-8")
        done = subprocess.run(
            [sys.executable, "-c", f"import sys; sys.path[:0] = ['.', 'cli']\n{code}"],
            cwd=tmp_path,
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == 0, done.stderr
        return json.loads(done.stdout)

    return run


STUDY = """
schema = 1
name = "trial"
[data]
path = "digits"
[[run]]
name = "one"
"""

# Where a new setting must have arrived: each command that has it, Python, and a study's run.
REACHED = f"""
import inspect, json, typer, tlfeat
from tlfeat.studies.plan import parse_study
from tlfeat_cli.app import app
def options(command):
    params = typer.main.get_command(app).commands[command].params
    return [option for one in params for option in one.opts]
def study(lines):
    return parse_study({STUDY!r} + lines, "trial.toml").runs[0]
"""


def test_how_to_add_a_setting_of_features(changed):
    settings, recipe = "tlfeat/features/settings.py", "tlfeat/features/recipe.py"
    field = 'tint: str = setting("none", "text", "Of the light.", words=("none", "sepia"))'
    plain = '{**asdict(self), "feature_shape": list(self.feature_shape)}'
    changes = [
        (settings, "    features: str\n", "    features: str\n    tint: str\n"),
        (settings, "    seed: int = setting(", f"    {field}\n    seed: int = setting("),
        (settings, "dtype=settings.dtype,", "dtype=settings.dtype, tint=settings.tint,"),
        (recipe, "schema: int = SCHEMA\n", 'schema: int = SCHEMA\n    tint: str = "none"\n'),
        (
            recipe,
            f"return {plain}\n",
            f"values = {plain}\n"
            '        return {k: v for k, v in values.items() if (k, v) != ("tint", "none")}\n',
        ),
    ]
    code = """
from tlfeat.features.settings import FeatureSettings, read_options
from tlfeat.runs.orders import HeadPlan, head_name
usual = FeatureSettings("mobilenet", weights="random").resolve()
brown = FeatureSettings("mobilenet", weights="random", tint="sepia").resolve()
try:
    FeatureSettings(tint="blue").checked()
except tlfeat.TlfeatError as error:
    message = str(error)
print(json.dumps({
    "options": ["--tint" in options(name) for name in ("extract", "train", "compare")],
    "python": ["tint" in inspect.signature(getattr(tlfeat, name)).parameters
               for name in ("extract", "train")],
    "given": read_options("mobilenet", {"tint": "sepia"})[0].tint,
    "study": study('head = "lda"\\ntint = "sepia"').network.tint,
    "name": head_name(brown.settings, HeadPlan("lda")),
    "told": FeatureSettings.of_recipe(brown.recipes[0].as_dict()).unusual()["tint"],
    "digests": [usual.recipes[0].digest, brown.recipes[0].digest],
    "message": message,
}))
"""
    said = changed(changes, REACHED + code)
    assert said["options"] == [True] * 3
    assert said["python"] == [True] * 2
    assert said["given"] == said["study"] == said["told"] == "sepia"
    assert said["name"] == "mobilenet-random-lda-sepia"
    today = tlfeat.FeatureSettings("mobilenet", weights="random").resolve().recipes[0].digest
    assert said["digests"][0] == today  # what is stored stays in use
    assert said["digests"][1] != today
    assert "tint must be one of none, sepia. Got 'blue' instead." in said["message"]


def test_how_to_add_a_setting_of_a_fine_tune(changed):
    field = (
        '    ema_decay: float = setting(\n        0.0, "number", "Of averaged weights.", least=0, '
        "most=0.999, later=True\n    )"
    )
    last = 'None, "text", "Give every class the same weight.", words=("balanced",)\n    )\n'
    code = """
from tlfeat.finetuning.plan import Phase, read_phase
from tlfeat.finetuning.settings import FinetuneSettings
from tlfeat.report.commands import _of_phase
phase = read_phase({"mode": "full", "epochs": 3, "ema_decay": 0.9})
try:
    read_phase({"ema_decay": 1.5})
except tlfeat.TlfeatError as error:
    message = str(error)
print(json.dumps({
    "options": "--ema-decay" in options("finetune"),
    "study": study('mode = "full"\\nema_decay = 0.9').training.phases[0].ema_decay,
    "name": FinetuneSettings((phase,)).unusual(),
    "records": [Phase().checked().as_dict(), phase.as_dict()],
    "again": _of_phase(read_phase(phase.as_dict())),
    "message": message,
}))
"""
    said = changed([("tlfeat/finetuning/plan.py", last, f"{last}{field}\n")], REACHED + code)
    assert said["options"]
    assert said["study"] == 0.9
    assert said["name"] == ["full-3", "decay0.9"]
    usual, unusual = said["records"]
    from tlfeat.finetuning.plan import Phase

    assert usual == Phase().checked().as_dict()  # the ids of runs without it stay
    assert unusual["ema_decay"] == 0.9
    assert said["again"] == {"mode": "full", "epochs": 3, "ema_decay": 0.9}  # for --phase
    assert "ema_decay must be a number from 0 to 0.999. Got 1.5 instead." in said["message"]
