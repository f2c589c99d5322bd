"""Pixel scaling, as each family of backbones expects it.

The wrong scaling does not crash, it only costs accuracy, so every mode is tested against the
function that Keras ships with the backbone. The rule stands inside the network, so that an
engine is fed plain bytes.
"""

import re
from collections.abc import Sequence
from typing import Any, Final, NamedTuple

_MEAN: Final = (0.485, 0.456, 0.406)  # ImageNet, RGB, of pixels in [0, 1]
_DEVIATION: Final = (0.229, 0.224, 0.225)


class Scaling(NamedTuple):
    """A channel becomes value x scale + offset, after all are turned to BGR where `bgr` is set."""

    scale: tuple[float, ...]
    offset: tuple[float, ...]
    bgr: bool = False

    @classmethod
    def of_statistics(cls, mean: Sequence[float], deviation: Sequence[float]) -> "Scaling":
        """Scale to (pixel / 255 - mean) / deviation, channel by channel."""
        return cls(
            tuple(1 / (255 * d) for d in deviation),
            tuple(-m / d for m, d in zip(mean, deviation, strict=True)),
        )


_MODES: Final[dict[str, Scaling]] = {
    "none": Scaling((1.0,) * 3, (0.0,) * 3),
    "tf": Scaling((1 / 127.5,) * 3, (-1.0,) * 3),
    "lite": Scaling((1 / 128,) * 3, (-127 / 128,) * 3),
    "torch": Scaling.of_statistics(_MEAN, _DEVIATION),
    "caffe": Scaling((1.0,) * 3, (-103.939, -116.779, -123.68), bgr=True),
}
MODES: Final = tuple(_MODES)
_OTHER: Final = re.compile(r"(\S+)/(\S+)")


def get_scaling(mode: str) -> Scaling:
    """Find how pixels are scaled.

    Parameters
    ----------
    mode : str
        "tf" gives [-1, 1]; "torch" [0, 1], then ImageNet mean and deviation; "caffe" BGR
        minus the ImageNet mean; "lite" (pixel - 127) / 128; "none" leaves the values alone
        (the network scales them itself). "M,M,M/D,D,D" are other means and deviations of
        pixels in [0, 1], red first; " bgr" after any but "caffe" turns the channels.

    Raises
    ------
    ValueError
        If it is none of these.

    Examples
    --------
    >>> get_scaling("0.25,0.5,0.75/0.25,0.25,0.25 bgr").offset
    (-3.0, -2.0, -1.0)
    """
    name, _, colour = mode.partition(" ")
    read = _OTHER.fullmatch(name)
    if colour not in ("", "bgr") or (name not in _MODES and read is None) or mode == "caffe bgr":
        raise ValueError(
            f"Scaling must be one of {', '.join(_MODES)}, or MEANS/DEVIATIONS. Got {mode!r} "
            "instead."
        )
    if read is None:
        found = _MODES[name]
    else:
        means, deviations = ([float(x) for x in part.split(",")] for part in read.groups())
        found = Scaling.of_statistics(means, deviations)
    if not colour:
        return found
    return Scaling(found.scale[::-1], found.offset[::-1], bgr=True)  # each stays with its colour


def scaling_layers(pixels: Any, mode: str) -> Any:
    """Scale RGB pixels to the range a backbone was trained on.

    Parameters
    ----------
    pixels : KerasTensor or tensor of shape (n, height, width, 3)
        RGB, 0 to 255; bytes or floats.
    mode : str
        See `get_scaling`.

    Returns
    -------
    scaled : KerasTensor or tensor of shape (n, height, width, 3), of the compute dtype

    Raises
    ------
    ValueError
        If there is no such mode.

    References
    ----------
    keras/src/applications/imagenet_utils.py, `_preprocess_numpy_input`.
    """
    import keras

    scale, offset, bgr = get_scaling(mode)
    if bgr:
        pixels = keras.ops.flip(pixels, axis=-1)
    return keras.layers.Rescaling(list(scale), list(offset), name="pixel_scaling")(pixels)
