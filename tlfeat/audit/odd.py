"""Pictures that are unlike the others: far from all, blank, tiny, blurred, odd in shape."""

from collections.abc import Mapping
from typing import Final, NamedTuple

import numpy as np
import numpy.typing as npt

_Floats = npt.NDArray[np.floating]

OUTLIER, BLANK, TINY, BLURRED, SHAPE = "outlier", "blank", "tiny", "blurred", "odd shape"
KINDS: Final = (BLANK, TINY, BLURRED, SHAPE, OUTLIER)

_FAR: Final = 4.0  # deviations from the median, which one of 30,000 normal values is beyond
_FLAT: Final = 4.0  # deviation of grey, of 255
_SMALL: Final = 4.0  # times as small as the usual picture
_LONG: Final = 2.5  # times as wide or as high as the usual picture


class Odd(NamedTuple):
    """A picture that is unlike the others."""

    picture: int
    kind: str
    value: float  # what is odd about it
    usual: float  # the median of the set


def find_odd(numbers: Mapping[str, _Floats], nearest: _Floats) -> list[Odd]:
    """Find pictures that are unlike the others of their set.

    Parameters
    ----------
    numbers : mapping of str to ndarray of shape (n_pictures,)
        As `Looks.numbers` gives them.
    nearest : ndarray of shape (n_pictures,)
        Cosine of each to its fifth neighbour.

    Returns
    -------
    odd : list of Odd
        By kind, the oddest first. A blank picture is nothing else. "blank": grey deviates by
        less than 4 of 255; value that deviation. "tiny": the shorter side is less than a quarter
        of the usual one; in pixels. "odd shape": width by height more than 2.5 times the usual,
        or less than its 2.5th. "blurred" and "outlier": sharpness, and Fisher's z of the cosine,
        are more than 4 deviations below the median.
    """
    blank = numbers["contrast"] < _FLAT
    odd = _named(BLANK, blank, numbers["contrast"], numbers["contrast"])
    shorter = np.minimum(numbers["width"], numbers["height"])
    odd += _named(TINY, ~blank & (shorter * _SMALL < np.median(shorter)), shorter, shorter)
    sharp = np.log(np.maximum(numbers["sharpness"], 1e-9))
    odd += _named(BLURRED, ~blank & _below(sharp), sharp, numbers["sharpness"])
    aspect = numbers["width"] / numbers["height"]
    turned = np.abs(np.log(aspect / np.median(aspect)))
    odd += _named(SHAPE, ~blank & (turned > np.log(_LONG)), -turned, aspect)
    z = np.arctanh(np.clip(np.asarray(nearest, np.float64), -0.9999, 0.9999))
    return odd + _named(OUTLIER, ~blank & _below(z), z, nearest)


def _below(values: _Floats) -> npt.NDArray[np.bool_]:
    """Say which values are far below the median, in deviations by its quartiles."""
    lower, median = np.quantile(values, [0.25, 0.5])
    deviation = (median - lower) / 0.6745  # of a normal distribution with these quartiles
    below: npt.NDArray[np.bool_] = values < median - _FAR * max(deviation, 1e-6)
    return below


def _named(kind: str, which: npt.NDArray[np.bool_], order: _Floats, value: _Floats) -> list[Odd]:
    found = np.flatnonzero(which)
    usual = float(np.median(value))
    return [
        Odd(int(i), kind, float(value[i]), usual)
        for i in found[np.argsort(order[found], kind="stable")]
    ]
