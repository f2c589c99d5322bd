import importlib

import numpy as np
import pytest
from golden import scaled_pixels

from tlfeat.backbones.keras_runtime import import_keras
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
    np.testing.assert_allclose(scaled_pixels(pixels, row.scaling), theirs, rtol=1e-6, atol=1e-5)


def test_lite_networks_see_the_pixel_less_127_in_units_of_128(pixels):
    expected = (pixels.astype(np.float32) - 127) / 128
    np.testing.assert_allclose(scaled_pixels(pixels, "lite"), expected, atol=1e-6)
    assert {row.scaling for row in list_backbones("*lite*")} == {"lite"}


def test_an_unknown_scaling_is_refused():
    with pytest.raises(ValueError, match=r"one of none, tf, lite, torch, caffe, or .* Got 'bgr'"):
        scaled_pixels(np.zeros((1, 2, 2, 3)), "bgr")
