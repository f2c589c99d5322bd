import json
import subprocess
import sys

import numpy as np
import pytest

from tlfeat.backbones import networks
from tlfeat.backbones.cells import cell_weights
from tlfeat.backbones.golden import golden_pictures
from tlfeat.backbones.keras_runtime import import_keras
from tlfeat.backbones.networks import Output, build_network, feature_shape, layer_shapes
from tlfeat.backbones.table import get_backbone
from tlfeat.backbones.weights import resolve_weights
from tlfeat.errors import NetworkError, UnknownName

LITE0 = get_backbone("efficientnet-lite0")
SIZE = 64
# of the 1000 classes of ImageNet: the orange disc on green is a ping-pong ball, then a balloon
TOP = {
    "efficientnet-lite0": ([818, 902, 722], [4.2488, 3.2600, 7.0145], 4_694_024),
    "efficientnet-lite1": ([818, 446, 722], [3.9069, 5.7031, 8.1150], 5_470_344),
    "efficientnet-lite2": ([499, 902, 722], [5.3034, 4.9469, 8.8366], 6_150_168),
}


@pytest.fixture(scope="module")
def pictures():
    return golden_pictures(SIZE)


@pytest.fixture(scope="module")
def activations(pictures):
    """The whole of stage4 and of last, to pool by hand."""
    outputs = [Output("stage4", "none"), Output("last", "none")]
    return [np.asarray(x) for x in network(outputs)(pictures, training=False)]


def network(outputs):
    return build_network(LITE0, SIZE, resolve_weights(LITE0), outputs)


@pytest.mark.parametrize("name", TOP)
def test_with_its_classifier_on_the_preprocessing_is_pinned(name):
    row = get_backbone(name)
    classes, logits, parameters = TOP[name]
    model = build_network(row, row.size, resolve_weights(row), include_top=True)
    found = np.asarray(model(golden_pictures(row.size), training=False))
    assert model.count_params() == parameters
    assert found.argmax(axis=1).tolist() == classes
    np.testing.assert_allclose(found.max(axis=1), logits, atol=2e-3)


def test_average_and_maximum_are_over_places(pictures, activations):
    outputs = [Output("stage4", "avg"), Output("stage4", "max"), Output("last", "avg")]
    average, greatest, last = network(outputs)(pictures, training=False)
    np.testing.assert_allclose(average, activations[0].mean(axis=(1, 2)), rtol=1e-4, atol=1e-4)
    np.testing.assert_allclose(greatest, activations[0].max(axis=(1, 2)), rtol=1e-4, atol=1e-4)
    np.testing.assert_allclose(last, activations[1].mean(axis=(1, 2)), rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("cells", [1, 2, 3, 5])
def test_a_grid_averages_cells_from_floor_to_ceiling(pictures, activations, cells):
    found = np.asarray(network([Output("stage4", f"grid{cells}")])(pictures, training=False))
    whole = activations[0]  # (n, 4, 4, 112): 3 cells overlap, 5 repeat
    side = whole.shape[1]
    expected = np.empty((len(whole), cells, cells, whole.shape[-1]))
    for i in range(cells):
        for j in range(cells):
            rows = slice(int(np.floor(i * side / cells)), int(np.ceil((i + 1) * side / cells)))
            columns = slice(int(np.floor(j * side / cells)), int(np.ceil((j + 1) * side / cells)))
            expected[:, i, j] = whole[:, rows, columns].mean(axis=(1, 2))
    np.testing.assert_allclose(found, expected.reshape(len(whole), -1), rtol=1e-3, atol=1e-3)


def test_cells_weigh_to_one_and_cover_every_place():
    for places in range(1, 15):
        for cells in range(1, 9):
            weights = cell_weights(places, cells)
            np.testing.assert_allclose(weights.sum(axis=1), 1, rtol=1e-6)
            assert (weights.sum(axis=0) > 0).all()


@pytest.mark.parametrize(
    ("layer", "pool"),
    [("last", "avg"), ("stage1", "max"), ("stage4", "grid4"), ("b9_expand_relu", "grid2")],
)
def test_the_stated_shape_is_the_shape(layer, pool, pictures, tmp_path):
    found = np.asarray(network([Output(layer, pool)])(pictures, training=False))
    assert found.shape[1:] == feature_shape(LITE0, SIZE, layer, pool, tmp_path)
    assert found.dtype == np.float32


def test_layers_of_the_table_need_no_tensorflow_for_their_shape():
    code = (
        "import sys; from tlfeat.backbones.networks import feature_shape; "
        "from tlfeat.backbones.table import get_backbone; b = get_backbone('resnet50'); "
        "print(feature_shape(b, 224, 'last', 'avg'), feature_shape(b, 224, 'stage4', 'grid4'), "
        "'keras' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "(2048,) (16384,) False"


def test_shapes_of_other_layers_are_remembered_in_the_store(tmp_path, monkeypatch):
    shape = feature_shape(LITE0, SIZE, "stage4", "none", tmp_path)
    assert shape == (4, 4, 112)
    monkeypatch.setattr(networks, "build_base", None)  # would fail if it were called
    assert feature_shape(LITE0, SIZE, "stage4", "none", tmp_path) == shape
    assert feature_shape(LITE0, SIZE, "b3", "avg", tmp_path) == (40,)


def test_a_torn_list_of_shapes_is_made_again(tmp_path):
    first = layer_shapes(LITE0, SIZE, tmp_path)
    [path] = (tmp_path / "networks").iterdir()
    path.write_text(json.dumps(first)[:100])
    assert layer_shapes(LITE0, SIZE, tmp_path) == first


def test_the_list_of_layers_begins_with_our_names():
    shapes = layer_shapes(LITE0, SIZE)
    assert list(shapes)[:6] == ["stage1", "stage2", "stage3", "stage4", "stage5", "last"]
    assert shapes["stage1"] == (32, 32, 16)
    assert shapes["stage5"] == (2, 2, 320)
    assert shapes["last"] == shapes["head"] == (2, 2, 1280)


def test_an_unknown_layer_is_answered_with_the_nearest():
    with pytest.raises(UnknownName, match=r"no layer 'stage44'\. Did you mean 'stage4'"):
        network([Output("stage44", "avg")])
    with pytest.raises(UnknownName, match="Did you mean 'b10'"):
        feature_shape(LITE0, SIZE, "b_10", "avg")


def test_a_stride_that_a_network_skips_is_named():
    tiny = get_backbone("convnext_tiny")
    with pytest.raises(UnknownName, match=r"no stage1.*stage2, stage3, stage4, stage5 and last"):
        feature_shape(tiny, 224, "stage1", "avg")


def test_what_has_no_places_cannot_be_pooled():
    row = get_backbone("efficientnet_b0")
    with pytest.raises(NetworkError, match=r"block1a_se_squeeze:none"):
        feature_shape(row, SIZE, "block1a_se_squeeze", "avg")
    with pytest.raises(NetworkError, match=r"Got 'median'"):
        feature_shape(LITE0, SIZE, "last", "median")


def test_pictures_that_are_too_small_are_refused():
    row = get_backbone("inception_v3")
    with pytest.raises(NetworkError, match="at least 75 pixels"):
        build_network(row, 74, resolve_weights(row, "random"))


def test_layers_that_keras_numbers_have_the_same_name_in_every_process():
    row = get_backbone("mobilenet_v3_small")
    first = layer_shapes(row, SIZE)
    assert layer_shapes(row, SIZE) == first  # built twice in one process
    assert {"activation", "activation_1", "add"} <= set(first)


def test_the_network_is_frozen_its_batch_normalisations_one_by_one():
    model = network([Output()])
    layers = model._flatten_layers(include_self=False, recursive=True)
    norms = [layer for layer in layers if type(layer).__name__ == "BatchNormalization"]
    assert len(norms) > 40
    assert not any(layer.trainable for layer in norms)
    assert model.trainable_variables == []


def test_convnext_normalises_after_pooling_as_keras_does(pictures):
    keras = import_keras()
    row = get_backbone("convnext_tiny")
    weights = resolve_weights(row, "random", 1)
    base = networks.build_base(row, SIZE, weights)
    for layer in base.layers:  # fresh ones all but switch the blocks off
        if type(layer).__name__ == "LayerScale":
            layer.gamma.assign(np.full(layer.gamma.shape, 0.3))
    theirs = keras.applications.ConvNeXtTiny(
        weights=None, include_top=False, input_shape=(SIZE, SIZE, 3), pooling="avg"
    )
    theirs.set_weights(base.get_weights())
    monkey = pytest.MonkeyPatch()
    with monkey.context() as patch:
        patch.setattr(networks, "_base", lambda *a, **k: base)
        outputs = [Output("last", "avg"), Output("last", "none"), Output("last", "grid1")]
        model = build_network(row, SIZE, weights, outputs)
    average, whole, grid = (np.asarray(x) for x in model(pictures, training=False))
    expected = np.asarray(theirs(pictures.astype(np.float32), training=False))
    np.testing.assert_allclose(average, expected, rtol=1e-3, atol=1e-3)
    np.testing.assert_allclose(grid, expected, rtol=1e-3, atol=1e-3)
    np.testing.assert_allclose(
        whole, np.asarray(base(pictures.astype(np.float32), training=False)), atol=1e-3
    )


def test_mixed_precision_gives_float32_close_to_the_exact(pictures):
    exact = np.asarray(network([Output()])(pictures, training=False))
    model = build_network(LITE0, SIZE, resolve_weights(LITE0), precision="mixed")
    mixed = np.asarray(model(pictures, training=False))
    assert mixed.dtype == np.float32
    assert 0 < np.abs(mixed - exact).max() < 0.1 * exact.max()
    assert import_keras().config.dtype_policy().name == "float32"


def test_only_the_lite_networks_keep_their_classifier():
    row = get_backbone("mobilenet")
    with pytest.raises(NetworkError, match="kept without its classifier"):
        build_network(row, SIZE, resolve_weights(row, "random"), include_top=True)


@pytest.mark.parametrize("backend", ["jax", "torch"])
def test_another_backend_of_keras_is_a_clear_error(backend, monkeypatch):
    monkeypatch.setenv("KERAS_BACKEND", backend)
    with pytest.raises(NetworkError, match=f"{backend}.*unset KERAS_BACKEND"):
        import_keras()
