import importlib

import numpy as np
import pytest

from tlfeat.backbones.keras_runtime import import_keras
from tlfeat.backbones.scaling import SCALINGS, scale_pixels, scaling_layers
from tlfeat.backbones.table import list_backbones


@pytest.fixture(scope="module")
def pixels():
    return np.random.default_rng(0).integers(0, 256, (2, 5, 7, 3), dtype=np.uint8)


@pytest.mark.parametrize(
    "row", [r for r in list_backbones() if r.weights.kind == "keras"], ids=lambda row: row.name
)
def test_the_scaling_is_what_keras_does_before_the_network(row, pixels):
    keras = import_keras()
    builder = getattr(keras.applications, row.builder)
    preprocess_input = importlib.import_module(builder.__module__).preprocess_input
    theirs = preprocess_input(pixels.astype(np.float32))
    np.testing.assert_allclose(scale_pixels(pixels, row.scaling), theirs, rtol=1e-6, atol=1e-5)


def test_lite_networks_see_the_pixel_less_127_in_units_of_128(pixels):
    expected = (pixels.astype(np.float32) - 127) / 128
    np.testing.assert_allclose(scale_pixels(pixels, "lite"), expected, atol=1e-6)
    assert {row.scaling for row in list_backbones("*lite*")} == {"lite"}


@pytest.mark.parametrize("mode", SCALINGS)
def test_inside_a_network_the_scaling_is_the_same(mode, pixels):
    keras = import_keras()
    given = keras.Input(pixels.shape[1:], dtype="uint8")
    model = keras.Model(given, scaling_layers(given, mode))
    np.testing.assert_allclose(
        np.asarray(model(pixels)), scale_pixels(pixels, mode), rtol=1e-6, atol=1e-5
    )


def test_the_pictures_are_left_as_they_are(pixels):
    before = pixels.copy()
    for mode in SCALINGS:
        scale_pixels(pixels, mode)
    np.testing.assert_array_equal(pixels, before)


def test_an_unknown_scaling_is_refused():
    with pytest.raises(ValueError, match=r"one of none, tf, lite, torch, caffe\. Got 'bgr'"):
        scale_pixels(np.zeros((1, 2, 2, 3)), "bgr")
