"""Mode auto: it begins as a head, and ends where held rows say; averages, and budgets."""

from dataclasses import replace

import keras
import numpy as np
import pytest

from tlfeat.backbones.table import Output, get_backbone
from tlfeat.backbones.weights import resolve_weights
from tlfeat.deploy.predict import predict
from tlfeat.errors import TlfeatError
from tlfeat.features.extract import extract
from tlfeat.finetuning.assemble import assemble
from tlfeat.finetuning.averages import SHARES, Chosen, MovingAverage, between, choose_share
from tlfeat.finetuning.budget import Costs
from tlfeat.finetuning.choices import read_choice
from tlfeat.finetuning.cut import cut_network
from tlfeat.finetuning.optimizers import OPTIMIZERS, build_optimizer
from tlfeat.finetuning.plan import Phase, read_phase
from tlfeat.finetuning.planner import Planner
from tlfeat.finetuning.request import FinetuneRequest
from tlfeat.finetuning.settings import Classifier, FinetuneSettings, read_seconds
from tlfeat.heads.fit import fit_head
from tlfeat.studies.finetune import finetune
from tlfeat.watch import Watch

LITE = get_backbone("efficientnet-lite0")
GRID = (Output("stage4", "grid4"), Output("last", "avg"))
STAGES = tuple(Output(name, "avg") for name in ("stage3", "stage4", "last"))


@pytest.fixture
def train(pictures, cache, tmp_path):
    def go(*phases, **settings):
        usual = {"size": 32, "batch": 8, "refit": False, "cache": cache}
        usual["reports"] = tmp_path / "reports"
        return finetune(pictures, None, phases or None, **{**usual, **settings})

    return go


@pytest.fixture
def heads_read(monkeypatch):
    """Give a function that names the features which runs begin on."""
    wanted = FinetuneRequest.head_features.fget

    def go(features):
        monkeypatch.setattr(
            FinetuneRequest,
            "head_features",
            property(lambda self: replace(wanted(self), features=features)),
        )

    return go


LATE = {"cut": "stage5"}


def scores(run, split="validation"):
    table = run.predictions().query(f"split == '{split}'").sort_values("id")
    return table[[f"score_{i}" for i in range(3)]].to_numpy()


def built(outputs):
    weights = resolve_weights(LITE, "imagenet", seed=0)
    return assemble(LITE, 64, weights, 3, Classifier(), outputs=outputs)


@pytest.mark.parametrize("features", ["stage4:grid4", "stage3:avg+stage4:avg+last:avg"])
def test_it_begins_as_the_logistic_head_on_other_features_than_the_last(
    features, train, pictures, cache, heads_read
):
    heads_read(features)
    run = train(Phase("auto", 0))
    start = run.record["start"]
    assert start["logistic"]["features"] == features
    assert start["validation"]["accuracy"] == start["logistic"]["validation_accuracy"]

    matrix = extract(pictures, features=features, size=32, cache=cache)
    place = {name: number for number, name in enumerate(matrix.ids)}
    rows = {
        split: [place[name] for name in part["id"]]
        for split, part in run.predictions().groupby("split")
    }
    fit, held = ((matrix.X[rows[one]], matrix.y[rows[one]]) for one in ("train", "validation"))
    head = fit_head("logistic", *fit, n_classes=3, validation=held)
    assert run.record["start"]["logistic"]["C"] == head.chosen["C"]
    shares = run.predictions()[[f"score_{i}" for i in range(3)]].to_numpy()
    expected = head.scores(matrix.X[[place[name] for name in run.predictions()["id"]]])
    np.testing.assert_allclose(shares, expected, atol=1e-3)

    table = run.predictions().query("split == 'test'")
    found = list(predict(run, [pictures / name for name in table["id"]], cache=cache, top=3))
    for one, (_, row) in zip(found, table.iterrows(), strict=True):
        told = {name: row[f"score_{i}"] for i, name in enumerate(run.dataset.classes)}
        assert dict(one.top) == pytest.approx(told, abs=1e-4)
    again = keras.saving.load_model(run.path / "model.keras")  # by Keras alone
    assert (
        again.get_layer("pool").output_shape[-1] == again.get_layer("top_logits").kernel.shape[0]
    )


def test_a_network_that_joins_layers_is_no_h5_and_that_is_said(train, heads_read):
    heads_read("stage4:grid2")
    for _ in ("trained", "finished before"):
        notes = Notes()
        run = train(Phase("auto", 0), h5=True, watch=notes)
        assert any(note.startswith("There is no model.h5") for note in notes.notes)
        assert not (run.path / "model.h5").exists()


def test_by_itself_it_trains_from_there_and_is_no_worse_on_validation(train):
    run = train(Phase("auto", 2))
    assert run.record["start"]["logistic"]["features"]
    assert run.metrics["validation"]["accuracy"] >= run.record["start"]["validation"]["accuracy"]
    (phase,) = run.phases
    assert phase["share"] in SHARES
    assert phase["temperature"] > 0
    assert (phase["ema"], phase["wise_ft"]) == (None, "on")
    assert run.record["parameters"]["trainable"] > 3_000_000


def test_it_is_what_is_done_where_nobody_says(pictures, cache, tmp_path, train):
    run = train(budget="1s")
    assert run.phases[0]["mode"] == "auto"
    assert train(budget="1s").record == run.record  # it is finished


@pytest.mark.slow
def test_weights_that_only_harm_are_left_for_the_head(train):
    harm = Phase("auto", 1, learning_rate=0.3, schedule="constant", warmup=0, ema=0.0)
    run, head = train(harm), train(Phase("auto", 0))
    assert run.phases[0]["share"] == 0
    assert run.metrics["validation"]["accuracy"] == head.metrics["validation"]["accuracy"]
    temperature = run.phases[0]["temperature"]
    logits = np.log(scores(head, "test")) / temperature
    softened = np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)
    np.testing.assert_allclose(scores(run, "test"), softened, atol=1e-4)


def of_rows(right, confidence, n=200):
    """Probabilities of n rows of class 0, so many of them right, each with this confidence."""
    told = np.full((n, 2), 1 - confidence)
    told[:right, 0], told[right:, 1] = confidence, confidence
    return told


def test_the_share_is_the_least_that_held_rows_cannot_tell_from_the_best():
    true = np.zeros(200, int)
    worse = {0.0: of_rows(150, 0.7), 0.5: of_rows(140, 0.7), 1.0: of_rows(100, 0.7)}
    assert choose_share(true, worse).share == 0
    better = {0.0: of_rows(100, 0.7), 0.5: of_rows(140, 0.7), 1.0: of_rows(190, 0.7)}
    assert choose_share(true, better).share == 1
    noise = np.random.default_rng(0).uniform(-0.05, 0.05, (200, 1)) * [1, -1]
    nearly = {0.0: of_rows(100, 0.7), 0.5: of_rows(190, 0.7) + noise, 1.0: of_rows(190, 0.7)}
    assert choose_share(true, nearly).share == 0.5


def test_fewer_standard_errors_go_further():
    start = of_rows(150, 0.7)
    better = start.copy()  # right on 12 more, wrong on 8 more: by nine tenths of an error
    better[-12:], better[:8] = start[:12], start[-8:]
    true = np.zeros(200, int)
    found = [choose_share(true, {0.0: start, 1.0: better}, errors).share for errors in (0.5, 1.0)]
    assert found == [1, 0]
    assert choose_share(true, {0.0: start, 1.0: better}).share == 0


def test_a_share_with_fewer_rows_right_than_the_start_is_never_chosen():
    true = np.zeros(200, int)
    start = of_rows(150, 0.55)
    start[:150] = [[0.51, 0.49]] * 150  # right, and unsure of it; wrong, and sure of it
    start[150:] = [[1e-6, 1 - 1e-6]] * 50
    other = of_rows(149, 0.9)
    assert choose_share(true, {0.0: start, 1.0: other}).share == 0


def test_the_temperature_is_that_of_the_share():
    random = np.random.default_rng(0)
    logits = random.normal(0, 2, (2000, 4))
    shares = np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)
    true = np.array([random.choice(4, p=row) for row in shares])
    sure = np.exp(3 * logits) / np.exp(3 * logits).sum(axis=1, keepdims=True)
    assert choose_share(true, {0.0: sure}).temperature == pytest.approx(3, rel=0.1)


def test_between_is_on_the_line():
    start, end = [np.zeros(2), np.ones(1)], [np.array([1.0, 2.0]), np.array([3.0])]
    for share in SHARES:
        first, second = between(start, end, share)
        np.testing.assert_allclose(first, [share, 2 * share])
        np.testing.assert_allclose(second, [1 + 2 * share])


def small_model(ema):
    keras.utils.set_random_seed(0)
    model = keras.Sequential([keras.Input((3,)), keras.layers.Dense(2, activation="softmax")])
    choice = read_choice("sgd", OPTIMIZERS, "optimizer")
    model.compile(build_optimizer(choice, 0.1, ema=ema), "categorical_crossentropy")
    return model


def test_training_goes_on_with_raw_weights_and_the_average_is_judged():
    random = np.random.default_rng(0)
    X, y = random.normal(size=(8, 3)), np.eye(2)[random.integers(0, 2, 8)]
    plain, averaged = small_model(0.0), small_model(0.75)
    average = MovingAverage(averaged)
    expected = None
    for _ in range(3):  # three epochs of two steps, each a `fit`
        for start in (0, 4):
            plain.train_on_batch(X[start : start + 4], y[start : start + 4])
            kernel = plain.get_weights()[0]
            expected = kernel if expected is None else 0.75 * expected + 0.25 * kernel
        averaged.fit(X, y, batch_size=4, shuffle=False, verbose=0)
        with average.in_place():
            np.testing.assert_allclose(averaged.get_weights()[0], expected, atol=1e-6)
        np.testing.assert_allclose(averaged.get_weights()[0], plain.get_weights()[0], atol=1e-6)
    average.settle()
    np.testing.assert_allclose(averaged.get_weights()[0], expected, atol=1e-6)


@pytest.mark.parametrize(("outputs", "cut"), [(GRID, "stage4"), (STAGES, "stage3")])
def test_what_lies_above_a_cut_reads_the_cut_itself_too(outputs, cut):
    network = built(outputs)
    found = cut_network(network, LITE, Phase("auto", cut=cut))
    tensor = next(
        one for one in network.base.outputs if one.shape[1:] == found.tail.input.shape[1:]
    )
    below = keras.Model(network.base.input, tensor)
    pixels = np.random.default_rng(0).uniform(0, 255, (4, 64, 64, 3)).astype(np.float32)
    activations = below(network.model.get_layer("pixel_scaling")(pixels))
    np.testing.assert_allclose(found.tail(activations), network.model(pixels), atol=1e-5)


def test_a_network_that_reads_below_a_cut_is_not_parted_there():
    assert cut_network(built(STAGES), LITE, Phase("auto", cut="stage4")) is None


def test_averages_and_trained_batch_normalisations_exclude_each_other():
    for phase in (Phase("auto", train_batchnorm=True), Phase("scratch", ema=0.9)):
        with pytest.raises(TlfeatError, match="batch normalisations are frozen"):
            phase.checked()


@pytest.mark.parametrize("share", [0.4, pytest.param(1.0, marks=pytest.mark.slow)])
def test_the_run_ends_where_held_rows_chose(share, train, last_alone, monkeypatch):
    monkeypatch.setattr("tlfeat.finetuning.loop.choose_share", lambda *_: Chosen(share, 1.0))
    chosen = train(Phase("auto", 2, **LATE))
    ends = [train(Phase("auto", 0)), train(Phase("auto", 2, wise_ft="off", **LATE))]
    found, first, last = (
        keras.saving.load_model(run.path / "model.keras").get_weights() for run in (chosen, *ends)
    )
    assert not np.allclose(first[-2], last[-2])
    for mine, start, end in zip(found, first, last, strict=True):
        np.testing.assert_allclose(mine, (1 - share) * start + share * end, atol=1e-5)


@pytest.mark.slow
def test_the_temperature_divides_the_logits_of_any_top(train, monkeypatch):
    monkeypatch.setattr("tlfeat.finetuning.loop.choose_share", lambda *_: Chosen(1.0, 2.0))
    phase = {"mode": "partial", "epochs": 1, **LATE}
    for top in (None, Classifier("own")):
        run = train({**phase, "wise_ft": "on"}, top=top)
        plain = np.log(scores(train(phase, top=top), "test"))
        softened = np.exp(plain / 2) / np.exp(plain / 2).sum(axis=1, keepdims=True)
        np.testing.assert_allclose(scores(run, "test"), softened, atol=1e-4)


class Break(Watch):
    """Breaks a run off in the middle of its second epoch, as a kill would."""

    def __init__(self):
        self.steps, self.training = 0, False

    def start(self, what, total):
        self.training = what.startswith("training")

    def step(self, n=1):
        self.steps += n if self.training else 0
        if self.steps == 5:
            raise RuntimeError("broken off")


@pytest.mark.parametrize("budget", [None, pytest.param("5m", marks=pytest.mark.slow)])
def test_a_run_that_is_broken_off_goes_on_with_its_start_its_average_and_its_plan(
    budget, train, heads_read, monkeypatch, tmp_path
):
    heads_read("stage4:grid2")
    monkeypatch.setattr(Costs, "epochs", lambda self, seconds, most, goes_back: 2)
    phase = Phase("auto", 2, cut="stage4")  # of three steps each
    whole = train(phase, budget=budget, reports=tmp_path / "whole")
    with pytest.raises(RuntimeError, match="broken off"):
        train(phase, budget=budget, watch=Break())
    monkeypatch.setattr("tlfeat.finetuning.train.fit_start", lambda *_, **__: pytest.fail("again"))
    monkeypatch.setattr(Costs, "epochs", lambda self, seconds, most, goes_back: 7)
    resumed = train(phase, budget=budget, resume=True)
    assert [row["epoch"] for row in resumed.history] == [1, 2]
    assert resumed.phases == whole.phases
    for split in ("train", "validation", "test"):
        np.testing.assert_allclose(scores(resumed, split), scores(whole, split), atol=1e-4)


def test_the_average_is_over_a_tenth_of_the_phase():
    phase = Phase("auto")
    for steps in (20, 300, 5000):
        assert phase.decay(steps) ** (steps - 1) < 1e-4  # nearly nothing is of the first step
    assert phase.decay(1) == 0.5
    assert phase.decay(10**6) == pytest.approx(0.999)
    assert Phase("auto", ema=0.9).decay(20) == 0.9
    assert Phase("full").decay(20) == 0


def test_the_modes_own_values_are_left_out_and_others_are_kept():
    said = Phase("auto", wise_ft="on", clip_norm=1.0, label_smoothing=0.1).checked()
    assert said.as_dict() == Phase("auto").checked().as_dict()
    assert said.unusual() == []
    off = Phase("auto", ema=0, wise_ft="off", label_smoothing=0).checked()
    assert off.unusual() == ["no-ema", "no-wise", "smoothing0"]
    assert read_phase(off.as_dict()).as_dict() == off.as_dict()
    assert "ema" not in Phase("full").checked().as_dict()  # the ids of runs from before it stay
    assert repr(Phase("full", label_smoothing=0).checked().as_dict()["label_smoothing"]) == "0"
    assert read_phase(Phase("full").checked().as_dict()).unusual() == []
    assert Phase("full", ema=0.5).checked().as_dict()["ema"] == 0.5


@pytest.mark.parametrize("text", ["", "5", "0s", "-1m", "4 minutes", "m"])
def test_a_budget_that_is_no_time_is_refused(text):
    with pytest.raises(TlfeatError, match=r"90s, 4m or 1\.5h"):
        read_seconds(text)


def test_a_time_is_one_budget_however_it_is_written():
    for text in ("240s", " 4m ", "4m"):
        settings = FinetuneSettings((Phase("auto"),), budget=text)
        assert settings.checked(from_parent=False).budget == "4m"


def test_mse_knows_no_smoothing_in_mode_auto_either():
    (phase,) = FinetuneSettings((Phase("auto"),), loss="mse").checked(from_parent=False).phases
    assert phase.smoothing == 0
    settings = FinetuneSettings((Phase("auto", label_smoothing=0.1),), loss="mse")
    with pytest.raises(TlfeatError, match="not to mse"):
        settings.checked(from_parent=False)


def test_a_cut_of_the_options_is_that_of_their_phases():
    assert read_phase({"epochs": 3}, Phase("auto", cut="stage5")).cut_name == "stage5"
    assert read_phase({"mode": "full"}, Phase("auto", cut="stage5")).cut_name is None


def test_a_budget_is_of_one_phase():
    settings = FinetuneSettings((Phase("frozen"), Phase("full")), budget="4m")
    with pytest.raises(TlfeatError, match="one phase"):
        settings.checked(from_parent=False)


def test_epochs_are_as_many_as_fit():
    costs = Costs(step=0.5, build=4, steps=20, forward_steps=6, saved=0.3, end=10)
    assert costs.epoch == pytest.approx(20 * 0.5 + 1 + 0.3)
    for goes_back in (False, True):
        for seconds in (0, 14, 60, 200, 1e6):
            n = costs.epochs(seconds, 12, goes_back=goes_back)
            assert 0 <= n <= 12
            if n:
                assert costs.total(n, goes_back=goes_back) <= seconds
            if n < 12:
                assert costs.total(n + 1, goes_back=goes_back) > seconds


class Notes(Watch):
    def __init__(self):
        self.notes = []

    def note(self, text):
        self.notes.append(text)


@pytest.mark.slow
def test_a_budget_that_is_too_small_leaves_the_head_and_says_so(train):
    notes = Notes()
    run = train(budget="1s", watch=notes)
    assert any(note.startswith("No epoch") for note in notes.notes)
    assert run.phases[0]["planned"] == {"epochs": 0, "cut": run.phases[0]["planned"]["cut"]}
    assert run.history == []
    assert run.metrics["validation"]["accuracy"] == (run.record["start"]["validation"]["accuracy"])


def test_a_budget_plans_epochs_and_trains_them_as_if_they_were_asked_for(
    train, last_alone, monkeypatch
):
    monkeypatch.setattr(Costs, "epochs", lambda self, seconds, most, goes_back: 3)
    run, asked = train(Phase("auto", **LATE), budget="5m"), train(Phase("auto", 3, **LATE))
    assert run.phases[0]["planned"] == {"epochs": 3, **LATE}
    np.testing.assert_allclose(scores(run, "test"), scores(asked, "test"), atol=1e-5)


@pytest.mark.slow
def test_where_few_epochs_fit_a_budget_is_spent_above_a_cut(train, last_alone, monkeypatch):
    seen, parted, measured = [], {}, Planner._measured

    def noted(self, phase, **more):
        seen.append(measured(self, phase, **more))
        return seen[-1]

    monkeypatch.setattr(Planner, "_measured", noted)
    monkeypatch.setattr(
        Costs, "epochs", lambda self, *_, **__: 1 if self is seen[0] else parted["epochs"]
    )
    for parted["epochs"], budget, planned, has_all in (
        (2, "5m", {"epochs": 2, "cut": "stage4"}, False),
        (0, "6m", {"epochs": 1, "cut": None}, True),  # the cut gives no more
    ):
        seen.clear()
        run = train(Phase("auto"), budget=budget)
        assert len(seen) == 2
        assert run.phases[0]["planned"] == planned
        assert len(run.history) == planned["epochs"]
        assert (run.record["parameters"]["trainable"] > 3_200_000) is has_all
