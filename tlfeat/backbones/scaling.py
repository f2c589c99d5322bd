"""Pixel scaling, as each family of backbones expects it.

The wrong scaling does not crash, it only costs accuracy, so every mode is tested against the
function that Keras ships with the backbone. `scale_pixels` is the rule in NumPy;
`scaling_layers` is the same rule inside a network, so that an engine is fed plain bytes.
"""

from typing import Any, Final

import numpy as np
import numpy.typing as npt

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
SCALINGS: Final = tuple(_RULES)


def _rule(mode: str) -> tuple[tuple[float, ...], tuple[float, ...], bool]:
    if mode not in _RULES:
        raise ValueError(f"Scaling must be one of {', '.join(_RULES)}. Got {mode!r} instead.")
    return _RULES[mode]


def scale_pixels(images: npt.ArrayLike, mode: str) -> npt.NDArray[np.float32]:
    """Scale RGB pixels to the range a backbone was trained on.

    Parameters
    ----------
    images : ndarray of shape (n_images, height, width, 3)
        RGB, 0 to 255, any real dtype. Left unchanged.
    mode : {"tf", "torch", "caffe", "lite", "none"}
        "tf" gives [-1, 1]; "torch" [0, 1], then ImageNet mean and deviation; "caffe" BGR
        minus the ImageNet mean; "lite" (pixel - 127) / 128; "none" leaves the values alone
        (the network scales them itself).

    Returns
    -------
    scaled : ndarray of shape (n_images, height, width, 3), float32

    Raises
    ------
    ValueError
        If `mode` is none of these.

    References
    ----------
    keras/src/applications/imagenet_utils.py, `_preprocess_numpy_input`.

    Examples
    --------
    >>> scale_pixels(np.array([[[[0, 127.5, 255]]]]), "tf").tolist()
    [[[[-1.0, 0.0, 1.0]]]]
    """
    scale, offset, bgr = _rule(mode)
    pixels = np.asarray(images, dtype=np.float32)
    if bgr:
        pixels = pixels[..., ::-1]
    scaled = pixels * np.asarray(scale, np.float32) + np.asarray(offset, np.float32)
    return scaled.astype(np.float32, copy=False)


def scaling_layers(pixels: Any, mode: str) -> Any:
    """Apply the rule of `scale_pixels` to a Keras tensor.

    Parameters
    ----------
    pixels : KerasTensor of shape (n, height, width, 3)
        RGB, 0 to 255; bytes or floats.
    mode : str
        One of `SCALINGS`.

    Returns
    -------
    scaled : KerasTensor of shape (n, height, width, 3), of the compute dtype
    """
    import keras

    scale, offset, bgr = _rule(mode)
    if bgr:
        pixels = keras.ops.flip(pixels, axis=-1)
    return keras.layers.Rescaling(list(scale), list(offset), name="pixel_scaling")(pixels)
