"""Pixel scaling, as each family of backbones expects it.

The wrong scaling does not crash, it only costs accuracy, so every mode is tested against the
function that Keras ships with the backbone. The rule stands inside the network, so that an
engine is fed plain bytes.
"""

from typing import Any, Final

# channel -> value x scale + offset, after the channels are turned to BGR where `bgr` is set
_MEAN: Final = (0.485, 0.456, 0.406)  # ImageNet, RGB, of pixels in [0, 1]
_DEVIATION: Final = (0.229, 0.224, 0.225)
_RULES: Final[dict[str, tuple[tuple[float, ...], tuple[float, ...], bool]]] = {
    "none": ((1.0,) * 3, (0.0,) * 3, False),
    "tf": ((1 / 127.5,) * 3, (-1.0,) * 3, False),
    "lite": ((1 / 128,) * 3, (-127 / 128,) * 3, False),
    "torch": (
        tuple(1 / (255 * d) for d in _DEVIATION),
        tuple(-m / d for m, d in zip(_MEAN, _DEVIATION, strict=True)),
        False,
    ),
    "caffe": ((1.0,) * 3, (-103.939, -116.779, -123.68), True),
}


def scaling_layers(pixels: Any, mode: str) -> Any:
    """Scale RGB pixels to the range a backbone was trained on.

    Parameters
    ----------
    pixels : KerasTensor or tensor of shape (n, height, width, 3)
        RGB, 0 to 255; bytes or floats.
    mode : {"tf", "torch", "caffe", "lite", "none"}
        "tf" gives [-1, 1]; "torch" [0, 1], then ImageNet mean and deviation; "caffe" BGR
        minus the ImageNet mean; "lite" (pixel - 127) / 128; "none" leaves the values alone
        (the network scales them itself).

    Returns
    -------
    scaled : KerasTensor or tensor of shape (n, height, width, 3), of the compute dtype

    Raises
    ------
    ValueError
        If `mode` is none of these.

    References
    ----------
    keras/src/applications/imagenet_utils.py, `_preprocess_numpy_input`.
    """
    import keras

    if mode not in _RULES:
        raise ValueError(f"Scaling must be one of {', '.join(_RULES)}. Got {mode!r} instead.")
    scale, offset, bgr = _RULES[mode]
    if bgr:
        pixels = keras.ops.flip(pixels, axis=-1)
    return keras.layers.Rescaling(list(scale), list(offset), name="pixel_scaling")(pixels)
