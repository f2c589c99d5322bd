"""A refit: held rows choose and judge, then all is trained again on them too."""

from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from tlfeat.data.dataset import open_dataset
from tlfeat.errors import TlfeatError
from tlfeat.features.extract import extract
from tlfeat.finetuning.averages import Chosen
from tlfeat.finetuning.budget import Costs
from tlfeat.finetuning.inputs import RefitRows
from tlfeat.finetuning.plan import Phase
from tlfeat.finetuning.planner import Planner
from tlfeat.finetuning.refit import Settled
from tlfeat.finetuning.settings import FinetuneSettings
from tlfeat.heads.fit import fit_head
from tlfeat.report.commands import commands
from tlfeat.runs.predictions import read_predictions
from tlfeat.runs.record import Run
from tlfeat.studies.finetune import finetune
from tlfeat.watch import Watch

PLAIN = {"backbone": "plain-cnn", "size": 16}


@pytest.fixture
def train(pictures: Path, cache: Path, tmp_path: Path) -> Any:
    def go(*phases: Phase, data: Any = pictures, reports: str = "reports", **settings: Any) -> Run:
        usual = {"size": 32, "batch": 8, "cache": cache, "reports": tmp_path / reports}
        if "start" in settings:
            del usual["size"]
        return finetune(data, phases=phases or None, **{**usual, **settings})

    return go


def scores(run: Run, split: str) -> np.ndarray:
    found = read_predictions(run, split)
    assert found.scores is not None
    return found.scores[np.argsort(found.ids)]


def test_it_is_the_training_that_has_all_of_train_judged_by_the_one_that_has_not(
    train: Any, pictures: Path
) -> None:
    phase = Phase("scratch", 2)
    run, first = train(phase, refit=True, **PLAIN), train(phase, **PLAIN)
    assert run.history[0]["val_loss"] == pytest.approx(first.history[0]["val_loss"], abs=1e-5)
    np.testing.assert_allclose(scores(run, "validation"), scores(first, "validation"), atol=1e-4)
    assert not np.allclose(scores(run, "test"), scores(first, "test"), atol=1e-3)
    assert run.n_train == first.n_train + first.metrics["validation"]["n"]
    assert not (run.path / "refit").exists()

    # pictures that are held out of nothing: the same steps on the same rows, from the beginning
    whole = open_dataset(pictures)
    held = tuple(
        sample._replace(split="validation") for sample in whole.samples if sample.split == "test"
    )
    train_rows = tuple(sample for sample in whole.samples if sample.split == "train")
    alone = train(phase, data=replace(whole, samples=train_rows + held), reports="alone", **PLAIN)
    assert alone.n_train == run.n_train
    np.testing.assert_allclose(scores(run, "test"), scores(alone, "validation"), atol=1e-4)
    losses = [[row["loss"] for row in rows] for rows in (run.refit["history"], alone.history)]
    assert losses[0] == pytest.approx(losses[1], abs=1e-5)


def test_the_head_that_training_begins_as_learns_from_the_held_rows_too(
    train: Any, pictures: Path, cache: Path
) -> None:
    run = train(Phase("auto", 0))
    features = run.record["start"]["logistic"]["features"]
    matrix = extract(pictures, features=features, size=32, cache=cache)
    place = {name: number for number, name in enumerate(matrix.ids)}
    rows = [
        [place[name] for name in read_predictions(run, split).ids]
        for split in ("train", "validation", "test")
    ]
    (X, y), held, test = ((matrix.X[one], matrix.y[one]) for one in rows)
    head = fit_head("logistic", X, y, n_classes=3, validation=held, refit_on_validation=True)
    assert run.refit == {"history": []}
    found = read_predictions(run, "test").scores
    np.testing.assert_allclose(found, head.scores(test[0]), atol=1e-3)


@pytest.mark.slow
@pytest.mark.parametrize("share", [0.0, 0.6])
def test_the_share_of_the_way_back_is_the_one_that_held_rows_chose(
    train: Any, last_alone: None, monkeypatch: pytest.MonkeyPatch, share: float
) -> None:
    phase = Phase("auto", 1, cut="stage5")
    monkeypatch.setattr("tlfeat.finetuning.loop.choose_share", lambda *_: Chosen(share, 2.0))
    run = train(phase)
    monkeypatch.setattr("tlfeat.finetuning.loop.choose_share", lambda *_: pytest.fail("chosen"))
    if not share:  # nothing of the way is gone, so it is not trained
        assert run.refit == {"history": []}
        np.testing.assert_allclose(
            scores(run, "test"), scores(train(Phase("auto", 0)), "test"), atol=1e-4
        )
        return
    assert len(run.refit["history"]) == 1
    flat = np.log(scores(run, "test"))
    monkeypatch.setattr("tlfeat.finetuning.loop.choose_share", lambda *_: Chosen(share, 1.0))
    plain = np.log(scores(train(phase, reports="other"), "test"))
    np.testing.assert_allclose(np.diff(flat), np.diff(plain) / 2, atol=1e-3)


def test_a_phase_ends_after_the_epoch_that_held_rows_kept(
    train: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    of = Settled.of
    monkeypatch.setattr(Settled, "of", lambda state: replace(of(state), epochs=(1,)))
    run = train(Phase("scratch", 3, patience=2), refit=True, **PLAIN)
    (row,) = run.refit["history"]
    assert "val_loss" not in row
    # its rate is on the way that three epochs have, not at the end of it
    assert row["learning_rate"] > 0.5 * Phase("scratch").rate
    run = train(Phase("frozen", 2, patience=1), refit=True)
    assert len(run.refit["history"]) == 1  # and no solver's answer, though no patience is left


class Break(Watch):
    """Breaks a run off in the second epoch of its training on all rows."""

    def __init__(self) -> None:
        self.steps, self.again = 0, False

    def start(self, what: str, total: int) -> None:
        self.again = what.endswith("again")

    def step(self, n: int = 1) -> None:
        self.steps += n if self.again else 0
        if self.steps == 6:
            raise RuntimeError("broken off")


@pytest.mark.slow
def test_one_that_is_broken_off_goes_on_where_it_was(
    train: Any, last_alone: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tlfeat.finetuning.loop.choose_share", lambda *_: Chosen(0.8, 1.1))
    phase = Phase("auto", 2, cut="stage5")
    whole = train(phase, reports="whole")
    with pytest.raises(RuntimeError, match="broken off"):
        train(phase, watch=Break())
    monkeypatch.setattr("tlfeat.finetuning.train.fit_start", lambda *_, **__: pytest.fail("again"))
    resumed = train(phase, resume=True)
    assert [row["epoch"] for row in resumed.refit["history"]] == [1, 2]
    assert resumed.phases == whole.phases
    for split in ("train", "validation", "test"):
        np.testing.assert_allclose(scores(resumed, split), scores(whole, split), atol=1e-4)


def test_what_starts_from_it_has_not_learned_from_the_rows_that_judge_it(train: Any) -> None:
    run = train(Phase("scratch", 1), refit=True, **PLAIN)
    child = train(Phase("full", 0), start=run.path)
    np.testing.assert_allclose(scores(child, "validation"), scores(run, "validation"), atol=1e-4)
    (run.path / "checkpoints" / "judged.weights.h5").unlink()
    with pytest.raises(TlfeatError, match="trained again on its held pictures"):
        train(Phase("full", 1), start=run.path)


class Notes(Watch):
    def __init__(self) -> None:
        self.notes: list[str] = []

    def note(self, text: str) -> None:
        self.notes.append(text)


@pytest.mark.slow
def test_a_budget_pays_for_it_where_no_epoch_is_lost_or_it_was_asked_for(
    train: Any, last_alone: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    lost, asked, phase = Notes(), Notes(), Phase("auto", 1, cut="stage5")
    run = train(phase, budget="1s", watch=lost)
    assert run.refit == {"history": []}  # a head knows all pictures, whatever the budget
    assert run.n_train == sum(run.metrics[split]["n"] for split in ("train", "validation"))
    assert not any("not trained again" in note for note in lost.notes)
    run = train(phase, budget="1s", refit=True, watch=asked)
    assert run.refit == {"history": []}
    assert not any("not trained again" in note for note in asked.notes)
    monkeypatch.setattr("tlfeat.finetuning.loop.choose_share", lambda *_: Chosen(1.0, 1.0))
    with monkeypatch.context() as dear:
        dear.setattr(Costs, "refit", lambda costs, epochs: 1e9 * bool(costs.again))
        assert train(phase, budget="40m", watch=lost).refit is None
    assert any("not trained again" in note for note in lost.notes)
    run = train(phase, budget="30m", watch=lost)
    assert run.phases[0]["planned"]["epochs"] == len(run.refit["history"]) == 1
    assert any("1 epoch above" in note and "as many again" in note for note in lost.notes)


@pytest.mark.parametrize(
    ("epochs", "head", "is_head"),
    [
        ((0,), {"features": "last:avg"}, True),
        ((2,), {"features": "last:avg"}, False),
        ((0,), {}, False),
    ],
)
def test_what_trains_nothing_but_the_head_is_known(
    epochs: tuple[int, ...], head: dict[str, str], is_head: bool
) -> None:
    assert Settled(epochs, {}, head).is_head is is_head


@pytest.mark.parametrize(
    ("phase", "asked", "splits_validation", "refits"),
    [
        (Phase("auto"), None, False, True),
        (Phase("auto"), None, True, False),
        (Phase("auto"), True, True, True),
        (Phase("auto"), False, False, False),
        (Phase("full"), None, False, False),
        (Phase("full"), True, False, True),
        (Phase("auto", schedule="plateau"), None, False, False),
    ],
)
def test_by_itself_it_is_of_mode_auto_where_data_have_no_validation_split(
    phase: Phase, asked: bool | None, splits_validation: bool, refits: bool
) -> None:
    settings = FinetuneSettings((phase,), refit=asked).checked(from_parent=False)
    assert settings.refits(splits_validation=splits_validation) is refits


def test_a_schedule_that_follows_held_rows_cannot_be_refitted() -> None:
    with pytest.raises(TlfeatError, match="plateau follows the loss of held rows"):
        FinetuneSettings((Phase("full", schedule="plateau"),), refit=True).checked(
            from_parent=False
        )


@pytest.mark.slow
def test_it_is_another_run_that_can_be_asked_for_again(train: Any) -> None:
    runs = [train(Phase("auto", 0), refit=refit) for refit in (None, False)]
    assert runs[0].id != runs[1].id
    assert runs[0].id == train(Phase("auto", 0), refit=True).id
    for run, refits in zip(runs, (True, False), strict=True):
        assert FinetuneSettings.of_run(run).refits(splits_validation=False) is refits
        (command,) = commands([run], "DATA")
        assert command.split().count("--no-refit") == (not refits)  # what is usual is not said
        assert "--refit" not in command.split()
    (command,) = commands([train(Phase("scratch", 1), refit=True, **PLAIN)], "DATA")
    assert "--refit" in command.split()


def test_a_budget_pays_for_both_trainings() -> None:
    once = Costs(step=0.5, build=4, steps=20, forward_steps=6, saved=0.3, end=10)
    both = replace(once, again=25)
    assert both.total(2, goes_back=True) == pytest.approx(
        once.total(2, goes_back=True) + both.refit(0) + 2 * (25 * 0.5 + 0.3)
    )
    for seconds in (20, 60, 200):
        n = both.epochs(seconds, 12, goes_back=True)
        assert n < max(1, once.epochs(seconds, 12, goes_back=True))
        if n:
            assert both.total(n, goes_back=True) <= seconds < both.total(n + 1, goes_back=True)


@pytest.mark.parametrize(
    ("left", "is_trained_again"), [(10, True), (7, True), (6, False), (0, False)]
)
def test_a_refit_may_cost_some_epochs_of_a_budget(
    monkeypatch: pytest.MonkeyPatch, left: int, is_trained_again: bool
) -> None:
    notes, state = Notes(), SimpleNamespace(may_refit=True)
    settings = SimpleNamespace(refit=RefitRows(60, False), cut_views=0, batch=32, devices=1)
    planner = Planner(
        SimpleNamespace(
            network=None, backbone=None, data=None, settings=settings, watch=notes, state=state
        )
    )
    monkeypatch.setattr(planner, "_fits", lambda *_: left)
    costs = Costs(step=1, build=1, steps=8, forward_steps=2, saved=0, end=1)
    both = planner._with_refit(Phase("auto", 10), costs, 10, 240)
    assert state.may_refit is is_trained_again
    assert bool(both.again) is is_trained_again
    assert any("not trained again" in note for note in notes.notes) is not is_trained_again
