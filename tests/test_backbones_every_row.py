"""Every network of the table does what its row says, with random weights and small pictures."""

import importlib

import numpy as np
import pytest
from golden import scaled_pixels

from tlfeat.backbones import exported, networks
from tlfeat.backbones.engines import NetworkRequest, open_engine
from tlfeat.backbones.exported import sample_pictures
from tlfeat.backbones.keras_runtime import import_keras
from tlfeat.backbones.networks import feature_shape
from tlfeat.backbones.table import Output, list_backbones
from tlfeat.backbones.weights import resolve_weights

ROWS = list_backbones()
# one for each pattern of file names, the quickest to build
NAMED = [
    "mobilenet", "mobilenet_v2", "mobilenet_v3_small", "efficientnet_b0", "efficientnet_v2_b0",
    "resnet50", "resnet50_v2", "densenet121", "vgg16", "inception_v3", "xception",
    "convnext_tiny",
]  # fmt: skip
QUICK = [row.name for row in ROWS if row.name in NAMED or row.weights.kind != "keras"]


@pytest.mark.parametrize(
    "row",
    [pytest.param(row, marks=[] if row.name in QUICK else pytest.mark.slow) for row in ROWS],
    ids=lambda row: row.name,
)
def test_a_row_is_true(row, monkeypatch):
    """Built, embedded and exported at the smallest size; dim, stages, parameters, scaling."""
    keras = import_keras()
    side, weights = row.min_size, resolve_weights(row, "random")
    pictures = sample_pictures(side, 2)
    built, compared = [], []
    build, compare = networks._base, exported.greatest_difference

    def building(*args, **kwargs):
        built.append(build(*args, **kwargs))
        return built[-1]

    def comparing(ours, theirs):
        compared.append((ours, theirs))
        return compare(ours, theirs)

    monkeypatch.setattr(networks, "_base", building)
    monkeypatch.setattr(exported, "greatest_difference", comparing)
    outputs = tuple(Output(layer, "avg") for layer in [*row.layers, "last"])
    notes = []
    engine = open_engine(NetworkRequest(row, side, weights, outputs), on_note=notes.append)
    assert engine.name == "openvino" or "runs on TensorFlow, not OpenVINO" in notes[0]
    [(_, features)] = engine.run([(0, pictures)])
    engine.close()

    assert features[-1].shape == (2, row.dim)
    for output, rows in zip(outputs, features, strict=True):
        assert rows.shape[1:] == feature_shape(row, side, output.layer, output.pool)
        assert np.isfinite(rows).all()
        assert rows.std() > 0
    if engine.name == "openvino":
        # fresh weights may give features of 1e-21, which agree with anything in absolute terms
        for ours, theirs in zip(*compared[0], strict=True):
            assert np.abs(ours - theirs).max() <= 1e-3 * np.abs(ours).max()

    assert built[0].count_params() == row.parameters
    tensors = networks.named_tensors(built[0])
    sides = [tensors[stage.layer].shape[1] for stage in row.layers.values()]
    assert sides == sorted(set(sides), reverse=True)
    if row.weights.kind == "keras":
        module = importlib.import_module(getattr(keras.applications, row.builder).__module__)
        theirs = module.preprocess_input(pictures.astype(np.float32))
        np.testing.assert_allclose(scaled_pixels(pictures, row.scaling), theirs, atol=1e-5)
    keras.backend.clear_session()


def check_file_and_hash(row, monkeypatch):
    """Let Keras ask for its file, and compare what it asks for; nothing is downloaded."""
    keras = import_keras()
    build = getattr(keras.applications, row.builder)

    class AskedError(Exception):
        pass

    def get_file(name, *args, file_hash=None, **kwargs):
        raise AskedError(name, file_hash)

    monkeypatch.setattr("keras.src.utils.file_utils.get_file", get_file)
    side = row.size if row.family == "mobilenet" else row.min_size
    with pytest.raises(AskedError) as asked:
        build(weights="imagenet", include_top=False, input_shape=(side, side, 3))
    assert asked.value.args == (row.weights.file, row.weights.hash)
    with pytest.raises(AskedError) as asked:
        build(weights="imagenet")
    assert asked.value.args == (row.weights.top_file, row.weights.top_hash)
    keras.backend.clear_session()


@pytest.mark.parametrize("row", [r for r in ROWS if r.name in NAMED], ids=lambda row: row.name)
def test_the_weight_file_is_the_one_that_keras_asks_for(row, monkeypatch):
    check_file_and_hash(row, monkeypatch)


@pytest.mark.slow
@pytest.mark.parametrize(
    "row",
    [r for r in ROWS if r.weights.kind == "keras" and r.name not in NAMED],
    ids=lambda row: row.name,
)
def test_every_weight_file_is_the_one_that_keras_asks_for(row, monkeypatch):
    check_file_and_hash(row, monkeypatch)
