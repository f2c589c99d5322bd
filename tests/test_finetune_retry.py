"""A second, gentle try of a phase that held rows have sent all the way back."""

import numpy as np
import pytest

from tlfeat.errors import TlfeatError
from tlfeat.finetuning.averages import Chosen
from tlfeat.finetuning.curves import draw_metric, second_tries
from tlfeat.finetuning.loop import Training
from tlfeat.finetuning.plan import Phase, read_phase
from tlfeat.finetuning.planner import Planner
from tlfeat.runs.predictions import read_predictions
from tlfeat.studies.finetune import finetune
from tlfeat.watch import Watch

NOTHING = {"precision": 0.0, "recall": 0.0, "f1": 0.0}


@pytest.fixture
def train(pictures, cache, tmp_path):
    def go(*phases, **settings):
        usual = {"size": 32, "batch": 8, "refit": False, "cache": cache}
        usual["reports"] = tmp_path / "reports"
        return finetune(pictures, phases=phases, **{**usual, **settings})

    return go


def scores(run, split):
    found = read_predictions(run, split)
    return found.scores[np.argsort(found.ids)]


class Notes(Watch):
    def __init__(self):
        self.notes = []

    def note(self, text):
        self.notes.append(text)


class Break(Watch):
    """Breaks a run off in the second epoch of its second try, as a kill would."""

    def __init__(self):
        self.steps, self.gently = 0, False

    def start(self, what, total):
        self.gently = what.endswith("gently")

    def step(self, n=1):
        self.steps += n if self.gently else 0
        if self.steps == 5:
            raise RuntimeError("broken off")


def sent_back(monkeypatch, *shares):
    """Let held rows choose these shares, one after the other, and the last one ever after."""
    left = list(shares)
    monkeypatch.setattr(
        "tlfeat.finetuning.loop.choose_share",
        lambda *_: Chosen(left.pop(0) if len(left) > 1 else left[0], 1.0),
    )


@pytest.fixture
def in_doubt(monkeypatch):
    """Have one held picture more that the head is wrong on, so that there is something to gain."""
    measured = Training._validate

    def doubted(self, model, rows):
        found = measured(self, model, rows)
        return found | {"accuracy": 0.9 * found["accuracy"]} if found else found

    monkeypatch.setattr(Training, "_validate", doubted)


def test_one_that_goes_all_the_way_back_is_trained_once_more_gently(
    train, monkeypatch, in_doubt, last_alone
):
    sent_back(monkeypatch, 0.0, 1.0)
    notes = Notes()
    run = train(Phase("auto", 1, schedule="constant", warmup=0), watch=notes, refit=None)
    assert any("tried once more, gently (rate 0.0001, flip, crop)" in one for one in notes.notes)
    assert [(row["phase"], row["mode"], row["learning_rate"]) for row in run.history] == [
        (1, "auto", pytest.approx(1e-3)),
        (1, "auto, gently", pytest.approx(1e-4)),
    ]
    assert [row["learning_rate"] for row in run.refit["history"]] == [pytest.approx(1e-4)]
    (phase,) = run.phases
    assert (phase["share"], phase["retried"]["epochs"], phase["trained_epochs"]) == (1.0, 1, 2)
    asked = train(
        Phase("auto", 1, learning_rate=1e-4, retry="off", schedule="constant", warmup=0),
        augment=["flip", "crop"],
        refit=None,
    )
    assert asked.refit["history"][0]["loss"] == pytest.approx(
        run.refit["history"][0]["loss"], abs=1e-5
    )
    np.testing.assert_allclose(scores(run, "test"), scores(asked, "test"), atol=1e-4)


@pytest.mark.slow
def test_one_that_goes_back_twice_is_the_head(train, monkeypatch, in_doubt, last_alone):
    sent_back(monkeypatch, 0.0)
    run = train(Phase("auto", 1), refit=None)
    assert len(run.history) == 2
    assert run.refit == {"history": []}
    head = train(Phase("auto", 0), refit=None)
    np.testing.assert_allclose(scores(run, "test"), scores(head, "test"), atol=1e-4)


@pytest.mark.slow
@pytest.mark.parametrize(("losses", "tried"), [((3, 2, 2), True), ((3, 2, 0.5), False)])
def test_one_that_promises_nothing_is_given_up_after_a_third_of_its_epochs(
    losses, tried, train, monkeypatch, last_alone
):
    sent_back(monkeypatch, 0.4)
    left = [1.0, *losses]  # where it begins, and after each epoch

    def told(*_):
        return {"loss": left.pop(0) if left else 5.0, "accuracy": 0.5} | NOTHING

    monkeypatch.setattr(Training, "_validate", told)
    run = train(Phase("auto", 4), keep="all")
    assert [row["mode"] for row in run.history] == (
        ["auto"] * 3 + ["auto, gently"] * 4 if tried else ["auto"] * 4
    )
    assert run.phases[0].get("retried", {}).get("after") == (3 if tried else None)


@pytest.mark.slow
def test_it_is_not_tried_again_where_nothing_can_be_gained_or_it_is_not_wanted(
    train, monkeypatch, last_alone
):
    sent_back(monkeypatch, 0.0)
    monkeypatch.setattr(Training, "_validate", lambda *_: {"loss": 0.1, "accuracy": 1.0} | NOTHING)
    assert len(train(Phase("auto", 1)).history) == 1  # the head has all pictures right
    monkeypatch.setattr(Training, "_validate", lambda *_: {"loss": 0.1, "accuracy": 0.5} | NOTHING)
    assert len(train(Phase("auto", 1, retry="off")).history) == 1
    assert len(train(Phase("auto", 1, cut="stage5")).history) == 1  # what lies below is kept


@pytest.mark.slow
@pytest.mark.parametrize(("fitting", "tried"), [(2, False), (3, True)])
def test_a_budget_pays_for_a_second_try_where_some_epochs_fit(
    fitting, tried, train, monkeypatch, in_doubt, last_alone
):
    sent_back(monkeypatch, 0.0)
    monkeypatch.setattr(Planner, "_can_part", lambda *_: False)
    monkeypatch.setattr(
        Planner, "_fits", lambda self, phase, *_: fitting if phase.rate < 1e-3 else 1
    )
    run = train(Phase("auto", 4), budget="5m")
    assert len(run.history) == (1 + fitting if tried else 1)
    assert ("retried" in run.phases[0]) is tried


@pytest.mark.slow
def test_one_that_is_broken_off_in_its_second_try_goes_on_there(
    train, monkeypatch, in_doubt, last_alone, tmp_path
):
    for at in (0, 1):
        sent_back(monkeypatch, 0.0, 0.6)
        if not at:
            whole = train(Phase("auto", 2), reports=tmp_path / "whole")
            continue
        with pytest.raises(RuntimeError, match="broken off"):
            train(Phase("auto", 2), watch=Break())
    sent_back(monkeypatch, 0.6)
    resumed = train(Phase("auto", 2), resume=True)
    assert [row["mode"] for row in resumed.history] == ["auto"] * 2 + ["auto, gently"] * 2
    assert resumed.phases == whole.phases
    for split in ("train", "validation", "test"):
        np.testing.assert_allclose(scores(resumed, split), scores(whole, split), atol=1e-4)


def test_what_a_second_try_goes_with():
    with pytest.raises(TlfeatError, match="leave the cut"):
        Phase("auto", cut="stage4", retry="on").checked()
    with pytest.raises(TlfeatError, match="wise_ft on"):
        Phase("full", retry="on").checked()
    assert Phase("full", retry="on", wise_ft="on").checked().tries_again
    assert Phase("auto").checked().as_dict()["retry"] == "on"
    assert "retry" not in Phase("auto", cut="stage4").checked().as_dict()
    off = Phase("auto", retry="off").checked()
    assert off.unusual() == ["no-retry"]
    assert read_phase(off.as_dict()).as_dict() == off.as_dict()
    assert "retry" not in Phase("full").checked().as_dict()


def test_a_curve_is_broken_where_a_second_try_begins():
    rows = [
        {"epoch": number, "phase": phase, "mode": mode, "loss": 1.0 * number, "val_loss": 2.0}
        for number, (phase, mode) in enumerate(
            [(1, "auto"), (1, "auto"), (1, "auto, gently"), (2, "full"), (2, "full")], 1
        )
    ]
    assert second_tries(rows) == [2]  # and not where the next phase goes on
    train, _, *marks = draw_metric(rows, ["loss"]).lines
    np.testing.assert_array_equal(train.get_ydata(), [1, 2, np.nan, 3, 4, 5])
    assert [mark.get_xdata()[0] for mark in marks] == [2.5, 3.5]
