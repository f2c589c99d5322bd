"""Small pictures laid on each other: whole, cut and mirrored, in grey; and their colours."""

from functools import cache, cached_property
from typing import Any, Final, TypeAlias

import numpy as np
import numpy.typing as npt

_Floats: TypeAlias = npt.NDArray[Any]  # of float32 or float64
_Ints: TypeAlias = npt.NDArray[np.int64]

_SMALL: Final = 16  # side at which grey pictures are laid on each other
PATCHES: Final = 4  # a side, whose mean colours are compared
_LUMA: Final = np.array([0.299, 0.587, 0.114], dtype=np.float32)  # ITU-R BT.601
_CUTS: Final = (0.94, 0.88)  # how much of a side is left
_BLOCK: Final = 1024
_KEPT: Final = 5_000  # pictures whose cuts are kept, 20 kB each


class SmallPictures:
    """Small pictures, to be laid on each other.

    Parameters
    ----------
    small : ndarray of shape (n_pictures, side, side, 3), uint8
    """

    def __init__(self, small: npt.NDArray[np.uint8]) -> None:
        self._small = small
        self._kept: _Floats | None = None

    @cached_property
    def colours(self) -> _Floats:
        """Mean colours of patches; (n_pictures, 48)."""
        n, side = self._small.shape[:2]
        step = side // PATCHES
        parts = self._small.reshape(n, PATCHES, step, PATCHES, step, 3)
        colours: _Floats = parts.mean(axis=(2, 4), dtype=np.float32).reshape(n, -1)
        return colours

    def cuts(self, indexes: _Ints) -> _Floats:
        """Give pictures and their cuts in grey, of mean 0 and length 1; (n, 19, 256)."""
        if len(self._small) > _KEPT:
            return _cuts(self._small[indexes])
        if self._kept is None:
            self._kept = np.concatenate(
                [_cuts(self._small[i : i + _BLOCK]) for i in range(0, len(self._small), _BLOCK)]
            )
        return self._kept[indexes]


def likenesses(small: SmallPictures, pairs: _Ints) -> tuple[_Floats, npt.NDArray[np.bool_]]:
    """Correlate the grey pictures of pairs, laid on each other as well as it goes.

    Either may be a cut of the other, at nine places and two sizes, and mirrored.

    Parameters
    ----------
    small : SmallPictures
    pairs : ndarray of shape (n_pairs, 2), int

    Returns
    -------
    likeness : ndarray of shape (n_pairs,)
        -1 to 1.
    mirrored : ndarray of shape (n_pairs,), bool
        Whether it is the larger where one of them is mirrored.
    """
    likeness = np.zeros(len(pairs), np.float32)
    mirrored = np.zeros(len(pairs), bool)
    for start in range(0, len(pairs), _BLOCK):
        block = pairs[start : start + _BLOCK]
        known, place = np.unique(block, return_inverse=True)
        cuts = small.cuts(known)
        one, other = (cuts[place.reshape(block.shape)[:, side]] for side in (0, 1))
        turned = other.reshape(*other.shape[:2], _SMALL, _SMALL)[..., ::-1].reshape(other.shape)
        plain, flipped = _best(one, other), _best(one, turned)
        likeness[start : start + len(block)] = np.maximum(plain, flipped)
        mirrored[start : start + len(block)] = flipped > plain
    return likeness, mirrored


def _best(one: _Floats, other: _Floats) -> _Floats:
    """Give the best correlation of any cut of one with the whole other, or the reverse."""
    ours = np.einsum("nwd,nd->nw", one, other[:, 0]).max(axis=1)
    theirs = np.einsum("nd,nwd->nw", one[:, 0], other).max(axis=1)
    best: _Floats = np.maximum(ours, theirs)
    return best


def _cuts(small: npt.NDArray[np.uint8]) -> _Floats:
    grey = small.astype(np.float32) @ _LUMA
    n, side = grey.shape[:2]
    matrices = _cutting(side)  # (7, _SMALL, side)
    rows = matrices.reshape(-1, side) @ grey  # (n, 7 * _SMALL, side)
    cut = (rows @ matrices.reshape(-1, side).T).reshape(n, 7, _SMALL, 7, _SMALL)
    parts = [cut[:, 0, :, 0]]
    for size in range(len(_CUTS)):
        at = 1 + 3 * size
        parts += [cut[:, at + row, :, at + column] for row in range(3) for column in range(3)]
    cuts = np.stack(parts, axis=1).reshape(n, len(parts), -1)
    cuts = cuts - cuts.mean(axis=2, keepdims=True)
    # what is nearly flat is like nothing: noise of a grey level would be like everything
    length = np.linalg.norm(cuts, axis=2, keepdims=True)
    flat: _Floats = cuts / np.maximum(length, _SMALL)
    return flat


@cache
def _cutting(side: int) -> _Floats:
    """Give what takes `side` pixels to _SMALL: of the whole, then of each cut at three places."""
    spans = [(0.0, 1.0)] + [(at * (1 - cut), cut) for cut in _CUTS for at in (0.0, 0.5, 1.0)]
    matrices = np.zeros((len(spans), _SMALL, side), np.float32)
    edges = np.arange(side + 1)
    for matrix, (start, share) in zip(matrices, spans, strict=True):
        for i in range(_SMALL):
            low = side * (start + share * i / _SMALL)
            high = side * (start + share * (i + 1) / _SMALL)
            overlap = np.minimum(high, edges[1:]) - np.maximum(low, edges[:-1])
            matrix[i] = np.maximum(overlap, 0) / (high - low)
    return matrices
