"""What decides a run is in its id, and what does not is not."""

from types import SimpleNamespace

import pytest

from tlfeat.runs.identity import run_identity

DATA = SimpleNamespace(fingerprint="data", split_fingerprint="split")
PARENT = {"run": "a" * 64, "name": "one", "epoch": 3, "file": None, "sha256": "b" * 64}
FINETUNE = {
    "backbone": "efficientnet-lite0",
    "weights_digest": "c" * 64,
    "pictures": {"size": 64, "view": "plain"},
    "phases": [{"mode": "full", "epochs": 2, "optimizer": {"name": "adam"}}],
    "top": {"kind": "new", "hidden": [], "dropout": 0.0},
    "keeps_top": False,
    "loss": "cross-entropy",
    "batch": 32,
    "seed": 0,
    "cut_dtype": None,
    "parent": PARENT,
}


def id_of(**changes):
    return run_identity("finetune", DATA, {**FINETUNE, **changes})


@pytest.mark.parametrize(
    "changes",
    [
        {"phases": [{"mode": "full", "epochs": 2, "optimiser": {"name": "adam"}}]},
        {"parent": {**PARENT, "name": "another"}},
        {"stand_in": "random weights"},
        {"features": "pixels"},
    ],
)
def test_a_spelling_and_a_name_change_no_id(changes):
    assert id_of(**changes) == id_of()


@pytest.mark.parametrize(
    "changes",
    [
        {"phases": [{"mode": "full", "epochs": 2, "optimizer": {"name": "sgd"}}]},
        {"parent": {**PARENT, "epoch": 4}},
        {"parent": {**PARENT, "sha256": "d" * 64}},
        {"parent": None},
        {"pictures": {"size": 96, "view": "plain"}},
        {"weights_digest": "d" * 64},
        {"backbone": "resnet50"},
        {"seed": 1},
        {"methods": {"crop": 2}},
    ],
)
def test_whatever_decides_a_run_changes_its_id(changes):
    assert id_of(**changes) != id_of()


def test_other_pictures_and_another_split_are_another_run():
    ids = {
        run_identity(
            "finetune", SimpleNamespace(fingerprint=data, split_fingerprint=split), FINETUNE
        )
        for data, split in (("data", "split"), ("other", "split"), ("data", "other"))
    }
    assert len(ids) == 3
