"""What a study says of its runs in words, and what stands in for what in it."""

import pytest
from made_study import PICTURES, RECIPE, made_rows, make_run

from tlfeat.data.dataset import open_dataset
from tlfeat.studies.phrases import paragraph
from tlfeat.studies.plan import parse_study
from tlfeat.studies.standins import data_stand_in

CLASSES = ("blue", "green", "red")
ROWS = made_rows(CLASSES, {"train": 60, "validation": 60, "test": 60})
CHANCE = "hardly better than always naming the commonest class"


def epochs(*accuracies, phase=1):
    """Give a history with rising validation loss: the first epoch is the best."""
    return [
        {"epoch": number, "phase": phase, "accuracy": accuracy, "val_loss": float(number)}
        for number, accuracy in enumerate(accuracies, 1)
    ]


@pytest.fixture
def made(tmp_path):
    def make(name, history=None, *, size=96, patience=None, skill=0.0, kind="finetune", **changes):
        changes["pictures"] = {key: {**RECIPE, "size": size}[key] for key in PICTURES}
        if kind == "finetune":
            changes |= {
                "history": epochs(0.9) if history is None else history,
                "phases": [{"mode": "scratch", "epochs": 3, "patience": patience}],
            }
        return make_run(tmp_path, name, CLASSES, ROWS, skill=skill, kind=kind, **changes)

    return make


def test_a_network_at_chance_on_its_curve_too_was_trained_wrongly(made):
    said = paragraph([made("scratch", epochs(0.3, 0.34))])
    assert f"scratch is {CHANCE}" in said
    assert "too few steps" in said
    assert "batch normalisations" not in said


def test_a_network_at_chance_that_learned_on_its_curve_has_averages_that_did_not_settle(made):
    said = paragraph([made("scratch", epochs(0.5, 0.9))])
    assert "90.0% of its training pictures right in the steps of its last epoch" in said
    assert "averages of the batch normalisations" in said
    assert "too few steps" not in said


def test_averages_that_were_computed_anew_are_not_to_blame(made):
    said = paragraph([made("scratch", epochs(0.5, 0.9), methods={"norms": 2})])
    assert "batch normalisations" not in said
    assert "too few steps" in said


def test_several_networks_are_told_apart_by_their_curves(made):
    runs = [
        made("flat", epochs(0.33)),
        made("steep", epochs(0.95)),
        made("steeper", epochs(0.97)),
        made("good", epochs(0.97), skill=2.5),
    ]
    flat, lagging, advice = paragraph(runs).split(". ")[-3:]
    assert advice == "Train longer."
    assert flat.startswith(f"flat is {CHANCE}")
    assert lagging.startswith("steep and steeper had 95.0% or more of their training pictures")
    assert "good" not in flat + lagging


def test_a_network_that_went_back_to_an_early_epoch_is_judged_by_that_one(made):
    said = paragraph([made("back", epochs(0.33, 0.9), patience=1)])
    assert "too few steps" in said
    assert "batch normalisations" not in said


def test_a_network_without_batch_normalisations_has_none_to_settle(made):
    said = paragraph([made("plain", epochs(0.9), backbone="plain-cnn")])
    assert "too high a learning rate" in said
    assert "batch normalisations" not in said


def test_sizes_that_differ_are_said_where_two_runs_are_compared(made):
    head = made("head", size=224, skill=3.0, kind="head")
    tuned = made("tuned", epochs(0.97), size=96, skill=1.5)
    said = paragraph([head, tuned])
    assert "The best fine-tune, tuned (on pictures of 96 pixels a side, not 224), has" in said
    weak = made("weak", epochs(0.97), size=96, skill=1.0)
    assert "The next, weak, has" in paragraph([tuned, weak])


FILE = """
schema = 1
name = "s"
[data]
path = "colours"
[defaults]
size = 32
[[run]]
name = "scratch"
mode = "scratch"
[[run]]
name = "plain"
backbone = "plain-cnn"
mode = "scratch"
[[run]]
name = "more"
from = "scratch"
mode = "full"
epochs = 2
[[run]]
name = "full"
mode = "full"
"""


def said_by_run(**how):
    return {run.name: run.stand_in for run in parse_study(FILE, "s.toml", **how).runs}


@pytest.mark.parametrize(
    ("weights", "words"), [("mine.h5", "other weights"), ("random", "random weights")]
)
def test_weights_stand_in_only_in_runs_that_use_any(weights, words):
    assert said_by_run(settings=[f"defaults.weights={weights}"]) == {
        "scratch": None,
        "plain": None,
        "more": None,
        "full": f"{words} instead of imagenet",
    }


def data_text(pictures, text=FILE, limit=18, data=None):
    settings = [f"data.limit={limit}"] if limit else []
    study = parse_study(text, "s.toml", settings=settings, data=data)
    return data_stand_in(study, open_dataset(pictures, limit=limit))


def test_ones_own_pictures_that_are_cut_stand_in_for_nothing(pictures):
    assert data_text(pictures) is None
    assert "instead of colours" in data_text(pictures, data=str(pictures.parent))


def test_fewer_pictures_than_a_file_expects_are_a_stand_in(pictures):
    expecting = FILE.replace('path = "colours"', 'path = "colours"\nexpected = {classes = 3}')
    assert data_text(pictures, expecting, limit=None) is None
    assert data_text(pictures, expecting).startswith("data: cut to 3 classes")
