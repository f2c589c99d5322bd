"""Runs that start from a run or from a model of somebody else: what they keep, take, refuse."""

import zipfile

import keras
import numpy as np
import pytest

from tlfeat.backbones.table import get_backbone
from tlfeat.backbones.weights import Weights
from tlfeat.errors import NetworkError, TlfeatError
from tlfeat.finetuning import compiled
from tlfeat.finetuning.assemble import assemble
from tlfeat.finetuning.modes import drop_as_built, set_trainable
from tlfeat.finetuning.plan import Phase
from tlfeat.finetuning.settings import Classifier
from tlfeat.runs.writing import write_record
from tlfeat.studies.finetune import finetune
from tlfeat.watch import Watch

TINY = {"batch": 8}


@pytest.fixture
def train(tmp_path):
    def go(pictures, *phases, **settings):
        where = {"cache": tmp_path / "store", "reports": tmp_path / "reports"}
        return finetune(pictures, phases=phases, **{**TINY, **where, **settings})

    return go


@pytest.fixture
def parent(train, pictures):
    return train(
        pictures,
        Phase("scratch", 2),
        backbone="plain-cnn",
        size=16,
        top=Classifier("new", (6,), 0.25),
        keep="all",
    )


def dense_units(run):
    model = keras.models.load_model(run.path / "model.keras")
    layers = model._flatten_layers(include_self=False, recursive=False)
    return [layer.units for layer in layers if isinstance(layer, keras.layers.Dense)]


def test_the_top_of_the_run_it_starts_from_is_kept_and_recorded(train, pictures, parent):
    child = train(pictures, Phase("full", 1), start=parent.path)
    assert dense_units(child) == dense_units(parent) == [6, 3]
    assert child.record["top"] == parent.record["top"] == {
        "kind": "new", "hidden": [6], "dropout": 0.25,
    }  # fmt: skip


def test_it_begins_as_what_it_starts_from_whatever_that_has_trained(train, pictures):
    """Its top standardises by the features that it had in the beginning."""
    parent = train(pictures, Phase("partial", 2, cut="stage5"), size=32)
    child = train(pictures, Phase("full", 0), start=parent.path)
    scores = [f"score_{i}" for i in range(3)]
    np.testing.assert_allclose(
        child.predictions()[scores], parent.predictions()[scores], atol=1e-4
    )
    assert child.methods["kept-top"] == 2


def test_a_top_that_is_asked_for_takes_its_place(train, pictures, parent):
    child = train(pictures, Phase("frozen", 1), start=parent.path, top=Classifier("new", (5, 4)))
    assert dense_units(child) == [5, 4, 3]
    assert child.record["top"]["hidden"] == [5, 4]
    assert child.record["parameters"]["trainable"] == 5 * 128 + 5 + 4 * 5 + 4 + 3 * 4 + 3


def test_other_classes_get_another_last_layer_after_any_epoch(
    train, parent, make_pictures, tmp_path
):
    two, source = tmp_path / "two", make_pictures(tmp_path / "three")
    two.mkdir()
    for folder in sorted(source.iterdir())[:2]:
        folder.rename(two / folder.name)
    child = train(two, Phase("full", 1), start=f"{parent.path}@1")
    assert dense_units(child) == [2]
    assert child.record["parent"]["epoch"] == 1


@pytest.mark.parametrize("given", [{"backbone": "resnet50"}, {"weights": "random"}])
def test_a_network_beside_the_one_it_starts_from_is_refused(train, pictures, parent, given):
    with pytest.raises(TlfeatError, match="brings its own network"):
        train(pictures, Phase("full", 1), start=parent.path, **given)


def test_what_starts_from_a_stand_in_is_one_but_for_its_pictures(train, pictures, parent):
    said = "data: cut to 9 train; random weights"
    write_record(parent.path, {**parent.record, "stand_in": said})
    child = train(pictures, Phase("full", 0), start=parent.path)
    assert child.record["stand_in"] == "random weights"


def test_a_name_changes_no_run(train, pictures, parent):
    child = train(pictures, Phase("full", 1), start=parent.path)
    write_record(parent.path, {**parent.record, "name": "another"})
    again = train(pictures, Phase("full", 1), start=parent.path)
    assert (again.id, again.record["created"]) == (child.id, child.record["created"])


def somebody_elses(path, activation, side=16):
    pixels = keras.Input((side, side, 3))
    x = keras.layers.Rescaling(1 / 255)(pixels)
    x = keras.layers.GlobalAveragePooling2D()(keras.layers.Conv2D(4, 3)(x))
    keras.Model(pixels, keras.layers.Dense(3, activation=activation)(x)).save(path)
    return path


def test_logits_become_probabilities(train, pictures, tmp_path):
    run = train(pictures, Phase("full", 1), start=somebody_elses(tmp_path / "l.keras", None))
    scores = run.predictions().filter(like="score_").to_numpy()
    assert scores.sum(axis=1) == pytest.approx(1, abs=1e-5)
    assert run.pictures.size == 16  # the model's own


def test_what_is_neither_softmax_nor_logits_is_refused(train, pictures, tmp_path):
    path = somebody_elses(tmp_path / "s.keras", "sigmoid")
    with pytest.raises(NetworkError, match="ends in sigmoid"):
        train(pictures, Phase("full", 1), start=path)
    assert train(pictures, Phase("full", 1), start=path, top=Classifier("new", (4,))).metrics[
        "test"
    ]


def test_a_model_for_any_size_must_be_given_one(train, pictures, tmp_path):
    path = somebody_elses(tmp_path / "any.keras", "softmax", None)
    with pytest.raises(TlfeatError, match="say by --size"):
        train(pictures, Phase("full", 1), start=path)


def test_a_finished_run_gets_the_h5_that_is_asked_for_later(train, pictures):
    settings = {"backbone": "plain-cnn", "size": 16}
    run = train(pictures, Phase("scratch", 1), keep="last", **settings)
    assert not (run.path / "model.h5").exists()
    again = train(pictures, Phase("scratch", 1), h5=True, keep="last", **settings)
    assert again.record["created"] == run.record["created"]
    assert (run.path / "model.h5").exists()


def test_a_study_gets_the_epochs_that_it_needs_later(train, pictures):
    settings = {"backbone": "plain-cnn", "size": 16}
    run = train(pictures, Phase("scratch", 2), keep="last", **settings)
    with pytest.raises(TlfeatError, match="train it again with --keep all"):
        train(pictures, Phase("full", 1), start=f"{run.path}@1")
    train(pictures, Phase("scratch", 2), keep="all", resume=True, **settings)
    assert train(pictures, Phase("full", 1), start=f"{run.path}@1").metrics["test"]


@pytest.mark.slow
def test_runs_that_differ_have_different_names(train, pictures):
    common = {"backbone": "plain-cnn", "size": 16}
    names = [
        train(pictures, phase, **common, **more).name
        for phase, more in (
            (Phase("scratch", 1), {}),
            (Phase("scratch", 1, learning_rate=1e-4), {}),
            (Phase("scratch", 1, schedule="constant"), {}),
            (Phase("scratch", 1, optimizer="sgd:momentum=0.5"), {}),
            (Phase("scratch", 1, label_smoothing=0.1, patience=2), {}),
            (Phase("scratch", 1), {"batch": 16}),
            (Phase("scratch", 1), {"top": Classifier("new", (), 0.5)}),
        )
    ]
    assert len(set(names)) == len(names), names


def test_a_network_that_blows_up_says_so(train, pictures):
    with pytest.raises(NetworkError, match="lower the learning rate"):
        train(
            pictures, Phase("scratch", 1, learning_rate=1e3, schedule="constant", warmup=0),
            backbone="plain-cnn", size=16, batch=64,
        )  # fmt: skip


def test_a_frozen_backbone_drops_nothing_and_is_saved_as_it_was_built():
    row = get_backbone("efficientnet_b0")
    network = assemble(row, 32, Weights("random", None, "x"), 3, Classifier("new", (), 0.5))
    built = {layer.name: layer.rate for layer in network.backbone_layers if hasattr(layer, "rate")}
    assert any(built.values())
    set_trainable(network, Phase("frozen"), row)
    picture = np.random.default_rng(0).uniform(0, 255, (1, 32, 32, 3)).astype(np.float32)
    one, two = (np.asarray(network.base(picture, training=True)) for _ in range(2))
    assert (one == two).all()
    assert any(layer.rate for layer in network.classifier if hasattr(layer, "rate"))
    set_trainable(network, Phase("partial", cut="stage4"), row)
    now = {layer.name: layer.rate for layer in network.backbone_layers if hasattr(layer, "rate")}
    assert {name for name, rate in now.items() if rate} == {
        name for name, rate in built.items() if rate and name >= "block6"
    }
    drop_as_built(network)
    assert built == {
        layer.name: layer.rate for layer in network.backbone_layers if hasattr(layer, "rate")
    }


def test_the_networks_own_top_computes_what_a_new_one_is_fed(tmp_path):
    row = get_backbone("efficientnet_b0")
    given = keras.applications.EfficientNetB0(
        weights=None, include_top=False, input_shape=(32, 32, 3)
    )
    norm = next(layer for layer in given.layers if type(layer).__name__ == "Normalization")
    norm.set_weights([np.array([0.4, 0.5, 0.6]), np.array([0.05, 0.06, 0.07]), np.array(0)])
    norm.finalize_state()
    path = tmp_path / "b0.weights.h5"
    given.save_weights(path)
    weights = Weights("file", path, "x")
    picture = np.random.default_rng(0).uniform(0, 255, (1, 32, 32, 3)).astype(np.float32)
    fed = []
    for kind in ("new", "own"):
        network = assemble(row, 32, weights, 3, Classifier(kind))
        x = network.base(picture)
        fed.append(np.asarray(x).mean(axis=(1, 2)) if len(x.shape) == 4 else np.asarray(x))
    assert fed[0] == pytest.approx(fed[1], rel=1e-4, abs=1e-5)


def test_mixed_precision_ends_in_float32_whatever_the_top():
    row = get_backbone("mobilenet_v2")
    for kind in ("new", "own"):
        network = assemble(
            row, 32, Weights("random", None, "x"), 3, Classifier(kind), precision="mixed"
        )
        assert network.model.output.dtype == "float32", kind


@pytest.fixture
def mixed(train, pictures):
    return train(
        pictures, Phase("scratch", 2), backbone="plain-cnn", size=16, precision="mixed",
        top=Classifier("new", (6,)), keep="all",
    )  # fmt: skip


@pytest.fixture
def optimizers(monkeypatch):
    """Give the list of the names of the optimizers that are trained with from now on."""
    built, build = [], compiled.build_optimizer

    def noted(*arguments, **options):
        optimizer = build(*arguments, **options)
        built.append(type(optimizer).__name__)
        return optimizer

    monkeypatch.setattr(compiled, "build_optimizer", noted)
    return built


def half_layers(run):
    model = keras.models.load_model(run.path / "model.keras")
    layers = model._flatten_layers(include_self=False, recursive=True)
    return {layer.name for layer in layers if layer.compute_dtype == "float16"}


@pytest.mark.parametrize("where", ["", "@1", "model.keras", "model.h5"])
def test_a_run_from_one_of_mixed_precision_scales_its_loss_and_says_what_it_computes_in(
    where, train, pictures, mixed, optimizers
):
    start = f"{mixed.path}{where}" if where.startswith("@") else mixed.path / where
    if where == "model.h5":
        keras.models.load_model(mixed.path / "model.keras").save(start)
    child = train(pictures, Phase("full", 1), start=start)
    assert child.pictures.precision == "mixed"
    assert optimizers == ["LossScaleOptimizer"]
    assert half_layers(child) == half_layers(mixed) != set()


def test_a_new_top_on_a_network_of_mixed_precision_computes_as_it_does(train, pictures, mixed):
    child = train(pictures, Phase("frozen", 1), start=mixed.path, top=Classifier("new", (5,)))
    assert "top_dense1" in half_layers(child)


def test_a_run_keeps_the_precision_of_what_it_starts_from(train, pictures, parent, mixed):
    with pytest.raises(TlfeatError, match="computes in float32 and precision is mixed"):
        train(pictures, Phase("full", 1), start=parent.path, precision="mixed")
    with pytest.raises(TlfeatError, match="computes in mixed and precision is float32"):
        train(pictures, Phase("full", 1), start=mixed.path, precision="float32")
    said = train(pictures, Phase("full", 1), start=mixed.path, precision="mixed")
    assert train(pictures, Phase("full", 1), start=mixed.path).id == said.id


@pytest.mark.slow
def test_a_run_from_one_of_mixed_precision_goes_on_as_if_nothing_had_happened(
    train, pictures, mixed, tmp_path
):
    class Breaker(Watch):
        training, steps = False, 0

        def start(self, what, total):
            self.training = what.startswith("training")

        def step(self, n=1):
            self.steps += n if self.training else 0
            if self.steps == 5:  # in the second epoch
                raise KeyboardInterrupt

    phase = Phase("full", 3, patience=5)
    whole = train(pictures, phase, start=mixed.path, reports=tmp_path / "whole")
    with pytest.raises(KeyboardInterrupt):
        train(pictures, phase, start=mixed.path, watch=Breaker())
    resumed = train(pictures, phase, start=mixed.path, resume=True)
    assert [row["epoch"] for row in resumed.record["history"]] == [1, 2, 3]
    for one, other in zip(whole.record["history"], resumed.record["history"], strict=True):
        assert one["loss"] == pytest.approx(other["loss"], abs=1e-5)
        assert one["learning_rate"] == other["learning_rate"] > 0
    assert whole.metrics["test"] == resumed.metrics["test"]


def test_a_model_file_that_no_zip_reader_can_read_is_one_sentence(train, pictures, tmp_path):
    path = tmp_path / "odd.keras"
    with zipfile.ZipFile(path, "w") as file:
        file.writestr("config.json", "{}")
    data = bytearray(path.read_bytes())
    for mark, at in ((b"PK\x03\x04", 6), (b"PK\x01\x02", 8)):  # flags: encrypted
        data[data.index(mark) + at] |= 1
    path.write_bytes(data)
    with pytest.raises(TlfeatError, match="cannot be loaded"):
        train(pictures, Phase("full", 1), start=path, size=16)
