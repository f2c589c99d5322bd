"""Files of weights, in every layout that Keras writes, give the features of their network."""

import h5py
import numpy as np
import pytest
from golden import scaled_pixels
from legacy_h5 import finish, save_legacy, settle, shake

from tlfeat.backbones.golden import golden_pictures
from tlfeat.backbones.keras_runtime import import_keras
from tlfeat.backbones.networks import build_base
from tlfeat.backbones.table import get_backbone, list_backbones
from tlfeat.backbones.weight_files import load_weight_file
from tlfeat.backbones.weights import Weights, classifier_file, imagenet_file, resolve_weights
from tlfeat.errors import WeightsError
from tlfeat.finetuning.assemble import assemble
from tlfeat.finetuning.settings import Classifier
from tlfeat.studies.weights import classifier_weights

B0 = get_backbone("efficientnet_b0")
MOBILENET = get_backbone("mobilenet")
SIDE = 32
FRESH = Weights("random", None, "fresh")
MEAN, DEVIATION = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
LAYOUTS = (".keras", ".h5", ".weights.h5")
# one of each family, the quickest to build, with every way to normalise and to nest
ONE_OF_EACH = [
    "efficientnet-lite0", "mobilenet", "nasnet_mobile", "efficientnet_b0", "efficientnet_v2_b0",
    "resnet50_v2", "densenet121", "vgg16", "inception_v3", "xception", "convnext_tiny",
]  # fmt: skip


def save(model, path):
    model.save_weights(path) if path.name.endswith(".weights.h5") else model.save(path)
    return path


def last_map(model, row, side):
    pixels = scaled_pixels(golden_pictures(side), row.scaling)
    return np.asarray(model(pixels, training=False))


def assert_close(ours, theirs):
    assert np.isfinite(theirs).all()
    assert theirs.std() > 1e-6
    np.testing.assert_allclose(ours, theirs, rtol=0, atol=3e-4 * np.abs(theirs).max())


def check_layouts(row, tmp_path):
    """Save a network in all layouts, and load each over weights that are others."""
    side = row.min_size
    pixels = scaled_pixels(golden_pictures(side), row.scaling)
    theirs, ours = build_base(row, side, FRESH), build_base(row, side, FRESH)
    shake(theirs, pixels)
    expected = last_map(theirs, row, side)
    writers = dict.fromkeys(LAYOUTS, save) | {"-old.h5": lambda m, p: save_legacy(m, p)}
    for suffix, write in writers.items():
        path = tmp_path / f"{row.name}{suffix}"
        write(theirs, path)
        for weight in ours.weights:  # nothing is left of the last load
            weight.assign(np.zeros(weight.shape))
        finish(ours)
        load_weight_file(ours, row, path)
        assert_close(last_map(ours, row, side), expected)
        path.unlink()
    import_keras().backend.clear_session()


@pytest.mark.parametrize("name", ONE_OF_EACH)
def test_every_layout_gives_the_features_it_was_saved_with(name, tmp_path):
    check_layouts(get_backbone(name), tmp_path)


@pytest.mark.slow
@pytest.mark.timeout(900)
@pytest.mark.parametrize(
    "row", [r for r in list_backbones() if r.name not in ONE_OF_EACH], ids=lambda row: row.name
)
def test_every_layout_of_every_other_row_gives_its_features(row, tmp_path):
    check_layouts(row, tmp_path)


# EfficientNet's scaling

WIDE = 96  # at less, its last maps have one place, and rounding shows
NOISE = np.random.default_rng(1).integers(0, 256, (8, WIDE, WIDE, 3)).astype(np.float32)


def seen(model):
    return np.asarray(model(NOISE, training=False))


def features(path):
    return seen(build_base(B0, WIDE, resolve_weights(B0, path)))


@pytest.fixture(scope="module")
def published(tmp_path_factory):
    """A file as Keras publishes EfficientNet's: a deviation where a variance belongs."""
    model = build_base(B0, WIDE, FRESH)
    norm = model.get_layer(index=2)
    shake(model, NOISE)
    norm.adapt_mean.assign(MEAN)
    norm.adapt_variance.assign(np.square(DEVIATION))
    norm.finalize_state()
    settle(model, NOISE)
    norm.adapt_variance.assign(DEVIATION)
    path = tmp_path_factory.mktemp("published") / "efficientnetb0_notop.h5"
    save_legacy(model, path)
    return path


@pytest.fixture(scope="module")
def keras_own(published):
    """Keras' own network with that file, as weights="imagenet" builds it."""
    from keras.src.applications import efficientnet

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(efficientnet.file_utils, "get_file", lambda *a, **k: str(published))
        return efficientnet.EfficientNetB0(
            weights="imagenet", include_top=False, input_shape=(WIDE, WIDE, 3)
        )


def test_a_file_as_keras_publishes_it_gives_what_keras_gives(published, keras_own):
    assert_close(features(published), seen(keras_own))


@pytest.mark.parametrize("suffix", LAYOUTS)
def test_a_network_of_keras_with_its_second_scaling_is_read_with_it(keras_own, tmp_path, suffix):
    path = save(keras_own, tmp_path / f"keras{suffix}")
    assert_close(features(path), seen(keras_own))


@pytest.mark.parametrize("suffix", LAYOUTS)
def test_what_a_fine_tune_saves_is_not_scaled_twice(published, keras_own, tmp_path, suffix):
    network = assemble(B0, WIDE, resolve_weights(B0, published), 3, Classifier())
    path = save(network.model, tmp_path / f"model{suffix}")
    base = build_base(B0, WIDE, resolve_weights(B0, path))
    assert_close(seen(base), seen(keras_own))
    assert_close(features(save(base, tmp_path / f"again{suffix}")), seen(base))


@pytest.mark.parametrize("suffix", [".keras", ".h5"])
def test_a_whole_network_without_the_second_scaling_is_read_without_it(
    published, tmp_path, suffix
):
    keras = import_keras()
    model = keras.applications.EfficientNetB0(
        weights=str(published), include_top=False, input_shape=(WIDE, WIDE, 3)
    )
    path = save(model, tmp_path / f"plain{suffix}")
    assert_close(features(path), seen(model))


@pytest.mark.parametrize("suffix", LAYOUTS)
def test_a_scaling_that_was_adapted_to_other_pictures_is_kept(published, tmp_path, suffix):
    model = build_base(B0, WIDE, resolve_weights(B0, published))
    norm = model.get_layer(index=2)
    norm.adapt_mean.assign([0.3, 0.4, 0.5])
    norm.adapt_variance.assign([0.2, 0.1, 0.3])
    finish(model)
    path = save(model, tmp_path / f"adapted{suffix}")
    assert_close(features(path), seen(model))


# layers inside layers, and the names of other processes


def loaded(path, row):
    return last_map(build_base(row, SIDE, resolve_weights(row, path)), row, SIDE)


@pytest.mark.parametrize("suffix", LAYOUTS)
@pytest.mark.parametrize("name", ["mobilenet", "convnext_tiny"])
def test_a_fine_tune_in_every_layout_gives_its_backbone(tmp_path, name, suffix):
    row = get_backbone(name)
    network = assemble(row, SIDE, FRESH, 3, Classifier())
    shake(network.base, scaled_pixels(golden_pictures(SIDE), row.scaling))
    path = save(network.model, tmp_path / f"model{suffix}")
    expected = last_map(network.base, row, SIDE)
    if row.norm_after_pool:
        expected = np.asarray(network.pooling[-1](expected))
    assert_close(loaded(path, row), expected)


@pytest.mark.parametrize("suffix", LAYOUTS)
def test_a_backbone_that_is_alone_in_another_network_is_found(tmp_path, suffix):
    keras = import_keras()
    base = build_base(MOBILENET, SIDE, FRESH)
    shake(base, scaled_pixels(golden_pictures(SIDE), "tf"))
    pixels = keras.Input((SIDE, SIDE, 3))
    path = save(keras.Model(pixels, base(pixels)), tmp_path / f"nested{suffix}")
    assert_close(loaded(path, MOBILENET), last_map(base, MOBILENET, SIDE))


def small(seed=None, numbers=(None, None, None)):
    """A network of layers that nobody named: Keras counts them as the process goes."""
    keras = import_keras()
    pixels = x = keras.Input((8, 8, 3))
    for number in numbers:
        names = [f"{kind}_{number}" if number else None for kind in ("conv2d", NORM)]
        x = keras.layers.Conv2D(3, 3, padding="same", name=names[0])(x)
        x = keras.layers.BatchNormalization(name=names[1])(x)
    model = keras.Model(pixels, x)
    if seed is not None:
        shake(model, golden_pictures(8).astype(np.float32), seed)
    return model


NORM = "batch_normalization"


def weights_of(model):
    return [np.asarray(weight) for weight in model.weights]


def check_same_weights(path, theirs):
    ours = small()
    load_weight_file(ours, MOBILENET, path)
    for mine, yours in zip(weights_of(ours), weights_of(theirs), strict=True):
        np.testing.assert_array_equal(mine, yours)


@pytest.mark.parametrize("suffix", [*LAYOUTS, "-old.h5"])
def test_layers_that_keras_numbered_in_another_process_are_found(tmp_path, suffix):
    """From conv2d_9 to conv2d_11: as text, 9 comes last."""
    path = tmp_path / f"numbered{suffix}"
    theirs = small(seed=1, numbers=(9, 10, 11))
    save_legacy(theirs, path) if suffix == "-old.h5" else save(theirs, path)
    check_same_weights(path, theirs)


def test_numbered_layers_in_another_order_are_matched_by_their_numbers(tmp_path):
    path = tmp_path / "shuffled.h5"
    theirs = small(seed=1, numbers=(9, 10, 11))
    theirs.save(path)
    with h5py.File(path, "r+") as file:
        root = file["model_weights"]
        root.attrs["layer_names"] = root.attrs["layer_names"][::-1]
    check_same_weights(path, theirs)


def test_numbered_layers_of_a_published_file_are_matched_by_order_as_keras_does(tmp_path):
    path = tmp_path / "published.h5"
    theirs = small(seed=1, numbers=(9, 8, 11))
    save_legacy(theirs, path)
    check_same_weights(path, theirs)


def test_a_file_with_its_layers_in_another_order_is_matched_by_name(tmp_path):
    path = tmp_path / "shuffled.h5"
    theirs = build_base(MOBILENET, SIDE, FRESH)
    shake(theirs, scaled_pixels(golden_pictures(SIDE), "tf"))
    save_legacy(theirs, path)
    with h5py.File(path, "r+") as file:
        file.attrs["layer_names"] = file.attrs["layer_names"][::-1]
    assert_close(loaded(path, MOBILENET), last_map(theirs, MOBILENET, SIDE))


def test_a_file_with_other_names_is_matched_by_order(tmp_path):
    """DenseNet's had slashes once, which Keras allows no more."""
    path = tmp_path / "renamed.h5"
    theirs = build_base(MOBILENET, SIDE, FRESH)
    shake(theirs, scaled_pixels(golden_pictures(SIDE), "tf"))
    save_legacy(theirs, path, {layer.name: f"old/{layer.name}" for layer in theirs.layers})
    assert_close(loaded(path, MOBILENET), last_map(theirs, MOBILENET, SIDE))


def test_a_weights_h5_file_of_keras_2_is_read_by_what_is_in_it(tmp_path):
    path = tmp_path / "keras2.weights.h5"
    theirs = build_base(MOBILENET, SIDE, FRESH)
    shake(theirs, scaled_pixels(golden_pictures(SIDE), "tf"))
    save_legacy(theirs, path)
    assert_close(loaded(path, MOBILENET), last_map(theirs, MOBILENET, SIDE))


def test_a_weights_h5_file_without_names_is_read_by_its_numbers(tmp_path):
    """As Keras wrote it before it kept the layers' names."""
    path = tmp_path / "unnamed.weights.h5"
    theirs = build_base(MOBILENET, SIDE, FRESH)
    shake(theirs, scaled_pixels(golden_pictures(SIDE), "tf"))
    theirs.save_weights(path)
    with h5py.File(path, "r+") as file:
        file.visititems(lambda name, item: item.attrs.pop("name", None) and None)
    assert_close(loaded(path, MOBILENET), last_map(theirs, MOBILENET, SIDE))


@pytest.mark.parametrize("suffix", LAYOUTS)
def test_a_misfit_names_three_layers_and_counts_the_others(tmp_path, suffix):
    keras = import_keras()
    narrow = keras.applications.MobileNet(
        alpha=0.5, weights=None, include_top=False, input_shape=(SIDE, SIDE, 3)
    )
    pixels = keras.Input((SIDE, SIDE, 3))
    path = save(keras.Model(pixels, narrow(pixels)), tmp_path / f"narrow{suffix}")
    with pytest.raises(WeightsError) as caught:
        load_weight_file(build_base(MOBILENET, SIDE, FRESH), MOBILENET, path)
    message = str(caught.value)
    assert "does not fit mobilenet: layer 'conv1' wants the shapes" in message
    assert message.count("wants the shapes") == 3
    assert "and 51 more" in message
    assert len(message) < 700


def test_layers_that_a_file_lacks_are_three_and_a_number(tmp_path):
    keras = import_keras()
    base = build_base(MOBILENET, SIDE, FRESH)
    part = keras.Model(base.input, base.get_layer("conv_pw_10_relu").output)
    part.save(tmp_path / "part.keras")
    with pytest.raises(WeightsError) as caught:
        load_weight_file(base, MOBILENET, tmp_path / "part.keras")
    assert (
        "layer 'conv_dw_11' is the first one missing, then 'conv_dw_11_bn', 'conv_pw_11' and"
        in (str(caught.value))
    )


def test_the_classifier_of_a_network_may_be_beside_it(tmp_path):
    keras = import_keras()
    whole = keras.applications.MobileNet(weights=None, input_shape=(SIDE, SIDE, 3), classes=5)
    shake(whole, scaled_pixels(golden_pictures(SIDE), "tf"))
    path = tmp_path / "whole.h5"
    save_legacy(whole, path)
    base = keras.Model(whole.input, whole.get_layer("conv_pw_13_relu").output)
    assert_close(loaded(path, MOBILENET), last_map(base, MOBILENET, SIDE))


# Keras' published files


@pytest.fixture
def real_mobilenet(shared_data, tmp_path, monkeypatch):
    """Real weights as Keras downloads them, in Keras' folder; there is no network."""
    for path in (imagenet_file(MOBILENET), classifier_file(MOBILENET)):
        if not (shared_data / "weights" / path.name).is_file():
            pytest.skip(f"no {path.name} beside the real pictures")
    models = tmp_path / "keras" / "models"
    models.mkdir(parents=True)
    monkeypatch.setenv("KERAS_HOME", str(models.parent))
    for path in (imagenet_file(MOBILENET), classifier_file(MOBILENET)):
        path.symlink_to(shared_data / "weights" / path.name)

    def refuse(*args, **kwargs):
        raise AssertionError("asked for a download")

    monkeypatch.setattr("keras.src.utils.file_utils.get_file", refuse)


def test_real_weights_in_keras_folder_give_what_keras_gives(real_mobilenet):
    keras = import_keras()
    ours = build_base(MOBILENET, 224, resolve_weights(MOBILENET))
    theirs = keras.applications.MobileNet(
        weights=str(imagenet_file(MOBILENET)), include_top=False, input_shape=(224, 224, 3)
    )
    assert_close(last_map(ours, MOBILENET, 224), last_map(theirs, MOBILENET, 224))


def test_a_real_classifier_in_keras_folder_gives_what_keras_gives(real_mobilenet):
    keras = import_keras()
    path = classifier_weights(MOBILENET)
    assert path == classifier_file(MOBILENET)
    weights = resolve_weights(MOBILENET, path)
    ours = assemble(MOBILENET, 224, weights, 1000, Classifier("imagenet")).model
    theirs = keras.applications.MobileNet(weights=str(path))
    pictures = golden_pictures(224)
    probabilities = np.asarray(ours(pictures.astype(np.float32), training=False))
    assert_close(probabilities, last_map(theirs, MOBILENET, 224))
    np.testing.assert_allclose(probabilities.sum(axis=1), 1, atol=1e-5)
