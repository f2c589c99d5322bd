"""A new top: where it begins, what it reads, and where the solver has its answer."""

import keras
import numpy as np
import pytest

from tlfeat.backbones.table import get_backbone
from tlfeat.backbones.weights import resolve_weights
from tlfeat.errors import TlfeatError
from tlfeat.features.settings import FeatureSettings
from tlfeat.finetuning.assemble import assemble
from tlfeat.finetuning.modes import set_trainable
from tlfeat.finetuning.plan import Phase
from tlfeat.finetuning.request import FinetuneRequest
from tlfeat.finetuning.settings import Classifier, FinetuneSettings
from tlfeat.finetuning.tops import some_of, standardise_top
from tlfeat.heads.standardise import floored
from tlfeat.runs.record import load_run
from tlfeat.studies.finetune import finetune
from tlfeat.studies.train import train as train_head

LITE = get_backbone("efficientnet-lite0")
NETWORK = FeatureSettings("efficientnet-lite0", size=32)


class Squares:
    """Random pictures, as rows."""

    shape = (32, 32, 3)

    def __init__(self, n):
        self.pixels = np.random.default_rng(0).integers(0, 256, (n, *self.shape), dtype=np.uint8)

    def take(self, batches):
        for batch in batches:
            yield self.pixels[batch]


def new_network(**classifier):
    weights = resolve_weights(LITE)
    return assemble(LITE, 32, weights, 3, Classifier(**classifier), standardises=True)


@pytest.mark.parametrize("hidden", [(), (8,)])
def test_a_new_top_begins_at_zero_on_standardised_features(hidden):
    network, squares = new_network(hidden=hidden), Squares(40)
    standardise_top(network, squares, np.arange(40), batch=16)
    layer = network.standardise
    reads = keras.Model(network.model.input, [layer.input, layer.output])
    features, standardised = map(np.asarray, reads(squares.pixels.astype(np.float32)))
    mean, variance = features.mean(axis=0, dtype=float), features.var(axis=0, dtype=float)
    scale = floored(mean, variance)  # as heads have it, with a floor for what hardly varies
    np.testing.assert_allclose(standardised, (features - mean) / scale, atol=2e-3)
    np.testing.assert_allclose(standardised.std(axis=0)[scale**2 <= variance], 1, atol=1e-3)
    answers = np.asarray(network.model(squares.pixels[:5].astype(np.float32)))
    np.testing.assert_allclose(answers, 1 / 3, atol=1e-6)


def test_no_phase_trains_the_standardisation():
    network = new_network()
    for phase in (Phase("frozen"), Phase("full", train_batchnorm=True)):
        set_trainable(network, phase, LITE)
        assert not network.standardise.trainable
        before = network.standardise.get_weights()
        network.model(Squares(4).pixels.astype(np.float32), training=True)
        for old, new in zip(before, network.standardise.get_weights(), strict=True):
            np.testing.assert_array_equal(old, new)


def test_rows_to_standardise_by_are_some_of_many_and_all_of_few():
    rows = np.arange(100, 2000)
    some = some_of(rows, 3)
    assert len(some) == 512 == len(set(some))
    assert set(some) <= set(rows)
    np.testing.assert_array_equal(some, some_of(rows, 3))
    np.testing.assert_array_equal(some_of(rows[:9], 3), rows[:9])


def settled(*phases, **settings):
    return FinetuneRequest.settle(NETWORK, FinetuneSettings(tuple(phases), **settings))


@pytest.mark.parametrize(
    "said",
    [
        {"learning_rate": 1e-2},
        {"optimizer": "sgd"},
        {"schedule": "constant"},
        {"warmup": 3},
        {"clip_norm": 1.0},
        {"label_smoothing": 0.1},
        {"patience": 2},
        {"ema": 0.9},
        {"wise_ft": "on"},
        {"epochs": 0},
    ],
)
def test_what_says_something_of_steps_has_them_taken(said):
    assert settled(Phase("frozen")).starts_from_head
    assert not settled(Phase("frozen", **said)).starts_from_head


@pytest.mark.parametrize(
    "settings",
    [
        {"classifier": Classifier(hidden=(8,))},
        {"classifier": Classifier(dropout=0.5)},
        {"classifier": Classifier("own")},
        {"augment": ("flip",)},
        {"loss": "mse"},
    ],
)
def test_where_the_solver_has_no_answer_steps_are_taken(settings):
    request = settled(Phase("frozen", 7), **settings)
    (phase,) = request.settings.phases
    assert (phase.is_solved, phase.epochs, phase.rate) == (False, 7, 1e-2)
    later = settled(Phase("full", 1), Phase("frozen", 7)).settings.phases[1]
    assert (later.is_solved, later.epochs) == (False, 7)


def test_epochs_say_nothing_of_what_is_solved():
    few, many = (settled(Phase("frozen", n)) for n in (2, 30))
    assert few.decisive(3) == many.decisive(3)
    assert few.name() == "efficientnet-lite0-32-frozen"
    steps = settled(Phase("frozen", 2, learning_rate=1e-2))
    assert steps.decisive(3)["methods"]["top"] == 2
    assert "top" not in settled(Phase("scratch")).decisive(3).get("methods", {})
    assert "top" not in settled(Phase("lp-ft")).decisive(3).get("methods", {})


@pytest.mark.slow
def test_frozen_is_the_logistic_head_and_a_later_phase_goes_on_from_it(pictures, cache, tmp_path):
    where = {"cache": cache, "reports": tmp_path / "reports", "size": 32}
    name = "efficientnet-lite0"
    frozen = finetune(pictures, name, "frozen", **where)
    again = FinetuneSettings.of_run(load_run(frozen.path))
    assert again.phases[0].is_solved
    assert frozen.history == []
    assert frozen.phases[0]["solver"] == "logistic"
    probe = finetune(pictures, name, Phase("lp-ft", 0), **where)
    np.testing.assert_allclose(scores(frozen), scores(probe), atol=1e-6)
    head = train_head(pictures, name, "logistic", features="last:avg", **where)
    assert frozen.metrics["test"]["accuracy"] == head.metrics["test"]["accuracy"]
    both = finetune(pictures, name, [Phase("frozen"), Phase("full", 1, 1e-9)], **where)
    assert [row["mode"] for row in both.history] == ["full"]
    np.testing.assert_allclose(scores(both), scores(frozen), atol=1e-3)


def scores(run):
    table = run.predictions().sort_values("id")
    return table[[name for name in table if name.startswith("score_")]].to_numpy()


def test_a_solved_phase_that_others_do_not_allow_is_refused(pictures, cache):
    with pytest.raises(TlfeatError, match="cut belongs to"):
        finetune(pictures, "efficientnet-lite0", Phase("frozen", cut="stage4"), cache=cache)
