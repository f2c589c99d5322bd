"""One feature matrix, and the sums over its rows that its folds have in common.

What a fold holds out is subtracted: the sums of its rows to learn from are those of all rows less
those of the held ones, so no row is multiplied twice.
"""

from dataclasses import dataclass
from threading import Lock
from typing import Final

import numpy as np

from tlfeat.heads.arrays import Double, Floats, Ints
from tlfeat.heads.once import once

BLOCK: Final = 2048  # rows turned into double precision, or multiplied, at a time
_SAMPLE: Final = 2048  # rows that say about where the others lie
_KEPT: Final = 2**30  # bytes of the parts' Gram matrices


@dataclass(frozen=True)
class Sums:
    """Sums over some rows x, each taken as z = (x - centre) / spread; they add and subtract."""

    counts: Ints  # (k,), rows of each class
    classes: Double  # (k, d), sum of z over the rows of each class
    gram: Double  # (d, d), sum of z z'

    def __add__(self, other: "Sums") -> "Sums":
        return Sums(
            self.counts + other.counts, self.classes + other.classes, self.gram + other.gram
        )

    def __sub__(self, other: "Sums") -> "Sums":
        return Sums(
            self.counts - other.counts, self.classes - other.classes, self.gram - other.gram
        )


class Matrix:
    """All rows of one feature matrix, and the sums that its folds have in common.

    Parameters
    ----------
    X : ndarray of shape (n, d)
        Not standardised.
    y : ndarray of shape (n,)
        Class indexes.
    n_classes : int
    fold : ndarray of shape (n,), optional
        The part of each row, from 0 on, that is held out together with others.
    """

    def __init__(self, X: Floats, y: Ints, n_classes: int, fold: Ints | None = None) -> None:
        self.X, self.y, self.n_classes = X, y, n_classes
        self.fold = np.zeros(len(X), dtype=np.int64) if fold is None else fold
        n_parts, d = int(self.fold.max(initial=0)) + 1, X.shape[1]
        self._keeps: bool = 8 * d**2 * (n_parts + 1) <= _KEPT
        self._parts: list[Sums | None] = [None] * n_parts
        self._locks = [Lock() for _ in range(n_parts)]
        self._all: Sums | None = None
        self._lock = Lock()

    @once
    def centre(self) -> Double:
        """About the mean of the rows; (d,). Sums of what lies around 0 lose no digits."""
        centre: Double = self._sample.mean(axis=0)
        return centre

    @once
    def spread(self) -> Double:
        """About the deviation of each feature; (d,)."""
        deviations = self._sample.std(axis=0)
        return np.where(deviations > 0, deviations, 1.0)

    @property
    def _sample(self) -> Double:
        return self.X[:: max(1, len(self.X) // _SAMPLE)].astype(np.float64)

    @property
    def is_tall(self) -> bool:
        """Whether there are more rows than features, so that sums are of use."""
        n, d = self.X.shape
        return bool(n > d)

    def part_sums(self, number: int) -> Sums:
        """Add up the rows of a part."""
        with self._locks[number]:
            sums = self._parts[number] or self._sums(np.flatnonzero(self.fold == number))
            self._parts[number] = sums if self._keeps else None
            return sums

    def sums(self) -> Sums:
        """Add up all rows: no row is multiplied twice where parts are kept."""
        with self._lock:
            if self._all is None and self._keeps:
                first, *others = (self.part_sums(number) for number in range(len(self._parts)))
                self._all = sum(others, first)
            elif self._all is None:
                self._all = self._sums(np.arange(len(self.X)))
            return self._all

    def _sums(self, rows: Ints) -> Sums:
        k, d = self.n_classes, self.X.shape[1]
        classes, gram = np.zeros((k, d)), np.zeros((d, d))
        for start in range(0, len(rows), BLOCK):
            part = rows[start : start + BLOCK]
            block = self.X[part].astype(np.float64)
            block -= self.centre
            block /= self.spread
            gram += block.T @ block
            classes += np.eye(k)[:, self.y[part]] @ block
        return Sums(np.bincount(self.y[rows], minlength=k), classes, gram)
