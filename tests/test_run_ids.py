"""An id decides whether a run is done again, so ids of earlier versions stay as they are.

Where a head gives other numbers its method is raised, and that alone changes its ids.
"""

from dataclasses import replace

import pytest
from typer.testing import CliRunner

from tlfeat.heads import table
from tlfeat.runs.record import find_runs
from tlfeat_cli.app import app

STUDY = """
schema = 1
name = "pinned"
[data]
path = "digits"
limit = 60
[defaults]
size = 64
seed = 1
[[run]]
name = "head-crop"
head = "ridge"
resize = "crop"
features = "stage3:avg+last:max"
[[run]]
name = "head-mixed"
head = "logistic"
precision = "mixed"
set = { "head.C" = 0.1 }
[[run]]
name = "tuned-crop"
mode = "frozen"
epochs = 0
resize = "crop"
cut_dtype = "none"
[[run]]
name = "tuned-phases"
hidden = "16-8"
dropout = 0.25
label_smoothing = 0.1
[[run.phase]]
mode = "frozen"
epochs = 0
[[run.phase]]
mode = "partial"
cut = "stage5"
epochs = 0
optimiser = { name = "adamw", weight_decay = 0.01 }
schedule = "step"
clip_norm = 1
"""
COMMANDS = {
    "train": "train digits --limit 60 --head logistic",
    "joined": "train digits --limit 60 --head lda --features stage4:grid4+last:avg",
    "small": "train digits --limit 60 --head knn --size 96 --dtype float16 --precision mixed "
    "--seed 3",
    "given": "train digits --limit 60 --head svm-rbf --set head.C=1 --set head.gamma=scale "
    "--no-search --class-weight balanced --refit --split-seed 2",
    "network": "train digits --limit 60 --head mlp --set head.epochs=8",
    "frozen": "finetune digits --limit 60 --size 64 --mode frozen --epochs 0",
    "changed": "finetune digits --limit 60 --size 64 --mode partial --cut stage4 --epochs 0 "
    "--augment flip,zoom --loss mse --batch 16 --optimiser sgd:momentum=0.5",
    "mixed": "finetune digits --limit 60 --size 64 --mode full --epochs 0 --precision mixed "
    "--seed 4 --warmup 3 --learning-rate 3e-4",  # which was what nobody had to say
    "study": "compare {study}",
}
IDS = {
    "train": ("efficientnet-lite0-logistic 6941cdddf6900b7d",),
    "joined": ("efficientnet-lite0-stage4-grid4+last-avg-lda 1439d1015afc862e",),
    "small": ("efficientnet-lite0-96-knn-mixed-float16-seed3 eeb7679b52659bbd",),
    "given": (
        "efficientnet-lite0-svm-rbf-C=1-gamma=scale-no-search-balanced-refit 4f22cc732e87d782",
    ),
    "network": ("efficientnet-lite0-mlp-epochs=8 f5e3ef73e160e69d",),
    "frozen": ("efficientnet-lite0-64-frozen-0 870e8736d2a3219f",),
    "changed": (
        "efficientnet-lite0-64-partial-stage4-0-sgd-momentum=0.5-nesterov=False-flip-zoom-mse-"
        "batch16 ef1b25538b96237d",
    ),
    "mixed": ("efficientnet-lite0-64-full-0-0.0003-warmup3-mixed-seed4 102b6b3d3e3308c0",),
    "study": (
        "head-crop 6e78aea2b22e54c7",
        "head-mixed 138a85f490068bf3",
        "tuned-crop ca5b24dbb7357452",
        "tuned-phases 58676f7def13460e",
    ),
}


# of the heads that made the ids above
METHODS = {head.name: 2 if head.name.startswith("mlp") else 1 for head in table.HEADS}


def made(name, tmp_path, monkeypatch):
    """Run a command; give the names and ids of its runs."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "pinned.toml").write_text(STUDY)
    words = COMMANDS[name].format(study="pinned.toml").split()
    done = CliRunner().invoke(app, [*words, "--cache", "cache", "--reports", "reports", "--quiet"])
    assert done.exit_code == 0, done.output
    (study,) = (tmp_path / "reports").iterdir()
    return tuple(f"{run.name} {run.id[:16]}" for run in find_runs(study))


@pytest.mark.parametrize("name", COMMANDS)
def test_a_run_has_the_id_that_earlier_versions_gave_it(name, tmp_path, monkeypatch):
    for head in table.HEADS:
        older = replace(head, method=METHODS[head.name])
        monkeypatch.setitem(table._BY_NAME, head.name, older)
    monkeypatch.setattr("tlfeat.finetuning.request.TOP_METHOD", 1)
    assert made(name, tmp_path, monkeypatch) == IDS[name]


def test_another_method_is_another_id(tmp_path, monkeypatch):
    (run,) = made("train", tmp_path, monkeypatch)
    assert run.startswith("efficientnet-lite0-logistic ")
    assert run not in IDS["train"]
