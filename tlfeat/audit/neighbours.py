"""The nearest pictures by features, in blocks: no matrix of all pairs is ever held."""

from collections.abc import Callable, Iterator
from typing import Any, Final, TypeAlias

import numpy as np
import numpy.typing as npt

_Floats: TypeAlias = npt.NDArray[Any]  # of float32 or float64
_Ints: TypeAlias = npt.NDArray[np.int64]

_WIDE: Final = 256  # directions in which neighbours of large sets are sought
_LARGE: Final = 10_000  # pictures
_MOST_CELLS: Final = 2**24  # of a block: 64 MB


def centred(X: _Floats) -> _Floats:
    """Bring standardised features to length 1."""
    centred = X - X.mean(axis=0, dtype=np.float64).astype(np.float32)
    deviation = np.sqrt(np.einsum("nd,nd->d", centred, centred) / max(len(X), 1))
    centred /= np.maximum(deviation, 1e-6)
    length = np.linalg.norm(centred, axis=1, keepdims=True)
    unit: _Floats = centred / np.maximum(length, 1e-12)
    return unit


def neighbours(unit: _Floats, k: int) -> tuple[_Ints, _Floats]:
    """Give the nearest other pictures of each, and the cosines to them; (n, k) each."""
    n = len(unit)
    k = min(k, n - 1)
    places, cosines = np.zeros((n, k), np.int64), np.zeros((n, k), np.float32)
    if k < 1:
        return places, cosines
    seen = _narrowed(unit) if n > _LARGE else unit
    wide = k if seen is unit else min(4 * k, n - 1)
    for rows in _blocks(np.arange(n), n):
        found = seen[rows] @ seen.T
        found[np.arange(len(rows)), rows] = -np.inf
        best = np.argpartition(-found, wide - 1, axis=1)[:, :wide]
        if seen is unit:
            exact = np.take_along_axis(found, best, axis=1)
        else:
            exact = np.einsum("nd,nkd->nk", unit[rows], unit[best])
        order = np.argsort(-exact, axis=1, kind="stable")[:, :k]
        places[rows] = np.take_along_axis(best, order, axis=1)
        cosines[rows] = np.take_along_axis(exact, order, axis=1)
    return places, cosines


def _blocks(rows: _Ints, n: int) -> Iterator[_Ints]:
    """Part rows so that a block of them with all n pictures is not too large."""
    step = max(_MOST_CELLS // n, 16)
    for start in range(0, len(rows), step):
        yield rows[start : start + step]


def _narrowed(unit: _Floats) -> _Floats:
    """Give features in the directions in which they spread most."""
    some = unit[:: max(len(unit) // _LARGE, 1)]
    directions = np.linalg.eigh(some.T @ some)[1][:, -_WIDE:]
    narrow: _Floats = unit @ directions
    narrow /= np.maximum(np.linalg.norm(narrow, axis=1, keepdims=True), 1e-12)
    return narrow


def nearest(
    unit: _Floats,
    some: _Ints,
    allowed: Callable[[_Ints], npt.NDArray[np.bool_]],
    k: int = 1,
) -> _Ints:
    """Give some pictures with the nearest of those that are allowed to them.

    Parameters
    ----------
    unit : ndarray of shape (n_pictures, n_features)
        Of length 1 each.
    some : ndarray of shape (n_some,), int
    allowed : callable
        Says for m of them which pictures are allowed; (m,) to (m, n_pictures).
    k : int
        How many of each, where so many are allowed.

    Returns
    -------
    pairs : ndarray of shape (n_pairs, 2), int
    """
    found = [np.zeros((0, 2), np.int64)]
    k = min(k, len(unit))
    for block in _blocks(some, len(unit)):
        cosine = unit[block] @ unit.T
        cosine[~allowed(block)] = -np.inf
        best = np.argpartition(-cosine, k - 1, axis=1)[:, :k]
        there = np.isfinite(np.take_along_axis(cosine, best, axis=1))
        found.append(np.column_stack([np.repeat(block, k), best.ravel()])[there.ravel()])
    return np.concatenate(found)
