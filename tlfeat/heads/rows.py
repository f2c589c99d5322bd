"""The rows that heads learn from and score: what several heads need of them is made once.

A fold is the rows of a matrix without those that it holds out, standardised by itself. With more
rows than features, sums over all rows less those over the held ones give its means, deviations and
Gram matrix. Where rows are many nothing of a fold is copied: products with the standardised rows
are products with the raw ones. With fewer rows than features heads work in as many coordinates as
there are rows.
"""

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator
from typing import Any, Final

import numpy as np

from tlfeat.heads.arrays import Double, Floats, Ints, Mask, Single
from tlfeat.heads.lapack import Factor, gram
from tlfeat.heads.matrix import BLOCK, Matrix, Sums
from tlfeat.heads.once import once
from tlfeat.heads.standardise import floored, make_scaler

Slopes = Callable[[slice], Floats]

_ROUNDING: Final = 1e-12  # of a variance, beside that of all rows
# Share of the mean squared norm that is added to every row's own: rows that are equal leave no
# Gram matrix that can be factorised.
_JITTER: Final = 1e-10
COPIED: Final = 2**26  # bytes of a fold's rows, standardised, that linear heads have a copy of


class Rows:
    """Rows to learn from and rows to score, standardised by the former.

    Parameters
    ----------
    matrix : Matrix
        With the rows to learn from.
    part : int, optional
        The part that is held out of it: the rows to score.
    held : ndarray of shape (m, d), optional
        Rows to score that are not in the matrix; not standardised.
    standardised : bool
        False takes the rows as they are.
    """

    def __init__(
        self,
        matrix: Matrix,
        part: int | None = None,
        held: Floats | None = None,
        *,
        standardised: bool = True,
    ) -> None:
        self.matrix, self.part, self._held, self.as_is = matrix, part, held, not standardised
        self.out: Mask | None = None if part is None else matrix.fold == part
        y = matrix.y if self.out is None else matrix.y[~self.out]
        self.labels, self.y = np.unique(y, return_inverse=True)  # (k,), (n,)
        self.counts = np.bincount(self.y)

    @property
    def n(self) -> int:
        """How many rows there are to learn from."""
        return len(self.y)

    @property
    def n_held(self) -> int:
        """How many rows there are to score."""
        if self.out is not None:
            return int(np.count_nonzero(self.out))
        return 0 if self._held is None else len(self._held)

    @property
    def d(self) -> int:
        """How many features there are."""
        return int(self.matrix.X.shape[1])

    @property
    def dtype(self) -> Any:
        """Of the rows."""
        return self.matrix.X.dtype

    @property
    def is_wide(self) -> bool:
        """Whether there are no more rows than features."""
        return self.n <= self.d

    @once
    def _moments(self) -> tuple[Double, Double]:
        """Mean and variance of each feature; (d,), (d,)."""
        if self.as_is:
            return np.zeros(self.d), np.ones(self.d)
        if self.is_wide:
            raw = self._raw.astype(np.float64)
            return raw.mean(axis=0), raw.var(axis=0)
        # z = (x - c) / s, n rows: mean = c + s sum(z) / n, variance = s^2 (sum(z^2) / n -
        # (sum(z) / n)^2)
        sums, matrix = self.sums, self.matrix
        mean = sums.classes.sum(axis=0) / self.n
        variance = sums.gram.diagonal() / self.n - mean**2
        variance[variance < _ROUNDING] = 0
        return matrix.centre + matrix.spread * mean, matrix.spread**2 * variance

    @once
    def sums(self) -> Sums:
        """Of the rows to learn from: those of all rows less those of the held ones."""
        if self.part is None:
            return self.matrix.sums()
        return self.matrix.sums() - self.matrix.part_sums(self.part)

    @once
    def mean(self) -> Double:
        """Of each feature; (d,)."""
        return self._moments[0]

    @once
    def scale(self) -> Double:
        """What each feature is divided by; (d,)."""
        return floored(*self._moments)

    def scaler(self) -> Any:
        """Give the `StandardScaler` of these rows."""
        return make_scaler(self.mean, self._moments[1], self.scale, self.n)

    @property
    def _raw(self) -> Floats:
        return self.matrix.X if self.out is None else self.matrix.X[~self.out]

    @once
    def X(self) -> Floats:  # noqa: N802
        """The rows to learn from, standardised; (n, d)."""
        return self._standardised(self._raw)

    @once
    def held(self) -> Floats:
        """The rows to score, standardised; (m, d)."""
        blocks = [self._standardised(block) for block in self.held_blocks()]
        return np.concatenate(blocks) if blocks else self.matrix.X[:0]

    def held_blocks(self) -> Iterator[Floats]:
        """Give the rows to score, not standardised, some at a time."""
        if self.out is not None:
            rows = np.flatnonzero(self.out)
            for start in range(0, len(rows), BLOCK):
                yield self.matrix.X[rows[start : start + BLOCK]]
        elif self._held is not None:
            for start in range(0, len(self._held), BLOCK):
                yield self._held[start : start + BLOCK]

    def _standardised(self, raw: Floats) -> Floats:
        dtype = self.dtype
        rows: Floats = raw - self.mean.astype(dtype)
        rows /= self.scale.astype(dtype)
        return rows

    @property
    def class_means(self) -> Double:
        """Of the standardised rows; (k, d)."""
        return class_means(self.X, self.y) if self.is_wide else self.coordinates.means

    def weighted_gram(self, weights: Double) -> Double:
        """Give the sum of w z z' in the coordinates, w (k,) the weight of a row of each class."""
        if isinstance(self.coordinates, RowCoordinates):
            roots = np.sqrt(weights)[self.y, None]
            weighted = roots * self.coordinates.factor
            return weighted.T @ weighted
        gram, raw = np.zeros((self.d, self.d)), self._raw
        for start in range(0, self.n, BLOCK):
            part = slice(start, start + BLOCK)
            block = self._standardised(raw[part]).astype(np.float64)
            block *= np.sqrt(weights)[self.y[part], None]
            gram += block.T @ block
        return gram

    @once
    def row_gram(self) -> Double:
        """X X' of the standardised rows; (n, n)."""
        rows = self.X.astype(np.float64)
        gram: Double = rows @ rows.T
        return gram

    @once
    def coordinates(self) -> "Coordinates":
        """What linear heads work in."""
        if self.is_wide:
            return RowCoordinates(self)
        n_bytes = (self.n + self.n_held) * self.d * self.dtype.itemsize
        return (CopiedFeatures if n_bytes <= COPIED else RawFeatures)(self)


class Coordinates(ABC):
    """Standardised rows Z in r coordinates, for scores Z W + b that are penalised by |W|^2.

    Attributes
    ----------
    gram : ndarray of shape (r, r)
        Z' Z.
    total : ndarray of shape (r,)
        Z' 1: 0 where the rows are standardised.
    means : ndarray of shape (k, r)
        Mean of each class.
    codes : ndarray of shape (N,)
        The class, 0 to k - 1, of each row that `scores` gives.
    counted : ndarray of shape (N,), bool, optional
        Which of them are learned from, where not all.
    """

    gram: Double
    total: Double
    means: Double
    codes: Ints
    counted: Mask | None = None

    def __init__(self, rows: Rows) -> None:
        self.rows = rows

    @abstractmethod
    def scores(self, W: Double, bias: Double) -> Floats:
        """Give Z W + b, W (r, c) and b (c,), of all rows; (N, c)."""

    @abstractmethod
    def back(self, slopes: Slopes, columns: int) -> tuple[Double, Double]:
        """Give what slopes of the loss by each score say of W and of b.

        Parameters
        ----------
        slopes : callable
            Gives those S of the rows at some places, (rows, columns), 0 for rows that do not
            count.
        columns : int

        Returns
        -------
        by_weights, by_bias : ndarrays of shape (r, columns) and (columns,)
            Z' S and 1' S.
        """

    @abstractmethod
    def held(self, W: Double, bias: Double) -> Floats:
        """Score the rows to score; (m, c)."""

    @abstractmethod
    def features(self, W: Double) -> Double:
        """Give the weights of the standardised features that W (r, c) stands for; (d, c)."""

    @abstractmethod
    def of_features(self, weights: Double) -> Double:
        """Give W for weights (d, c) of the standardised features, as far as rows can make it."""


class CopiedCoordinates(Coordinates):
    """Coordinates of rows that are there."""

    @property
    @abstractmethod
    def Z(self) -> Floats:  # noqa: N802
        """The rows to learn from; (n, r)."""

    @property
    @abstractmethod
    def other(self) -> Floats:
        """The rows to score; (m, r)."""

    def scores(self, W: Double, bias: Double) -> Floats:
        """Go over the rows once."""
        return _scores(self.Z, W.astype(self.rows.dtype), bias.astype(self.rows.dtype))

    def back(self, slopes: Slopes, columns: int) -> tuple[Double, Double]:
        """Go over the rows once."""
        return _back(self.Z, slopes, columns)

    def weighted_gram(self, weights: Floats) -> Single:
        """Give the sum of w z z' over the rows, w (n,), each z (r,) with a 1 behind it.

        Returns
        -------
        gram : ndarray of shape (r + 1, r + 1), float32
            On and above the diagonal.
        """
        roots = np.sqrt(weights).astype(np.float32)[:, None]
        rows = np.empty((len(self.Z), self.Z.shape[1] + 1), dtype=np.float32)
        np.multiply(self.Z, roots, out=rows[:, :-1])
        rows[:, -1:] = roots
        return gram(rows)

    def held(self, W: Double, bias: Double) -> Floats:
        """Score the rows to score."""
        dtype = self.rows.dtype
        scores: Floats = self.other @ W.astype(dtype) + bias.astype(dtype)
        return scores


class RowCoordinates(CopiedCoordinates):
    """As many coordinates as rows, n <= d: Z = L Q with L (n, n) from Z Z' = L L'.

    The rows of Q (n, d) are orthonormal, so W in coordinates stands for Q' W, of the same norm.
    """

    def __init__(self, rows: Rows) -> None:
        super().__init__(rows)
        matrix = rows.row_gram.copy()
        matrix.flat[:: len(matrix) + 1] += max(_JITTER * np.trace(matrix) / len(matrix), 1e-12)
        self.cholesky = Factor(matrix)
        self.factor = self.cholesky.lower().astype(np.float64, copy=False)
        self.gram = self.factor.T @ self.factor
        self.total = self.factor.sum(axis=0)
        self.codes = rows.y
        self.means = class_means(self.factor, rows.y)

    @once
    def Z(self) -> Floats:  # noqa: N802
        """The rows to learn from: L; (n, n)."""
        return self.factor.astype(self.rows.dtype)

    @once
    def other(self) -> Floats:
        """The rows to score; (m, n)."""
        # held rows H = C Q, so C = H Q' = H Z' L'^-1
        across = self.rows.held.astype(np.float64) @ self.rows.X.T.astype(np.float64)
        turned = np.ascontiguousarray(across.T)
        self.cholesky.forth(turned)
        return turned.T.astype(self.rows.dtype)

    def features(self, W: Double) -> Double:
        """Give Q' W = Z' L'^-1 W."""
        inner = np.array(W, dtype=np.float64, order="C")
        self.cholesky.back(inner)
        weights: Double = self.rows.X.T.astype(np.float64) @ inner
        return weights

    def of_features(self, weights: Double) -> Double:
        """Give Q W_f = L^-1 Z W_f."""
        inner = self.rows.X.astype(np.float64) @ weights
        self.cholesky.forth(inner)
        return inner


class FeatureCoordinates(Coordinates):
    """The features themselves, n > d."""

    def __init__(self, rows: Rows) -> None:
        super().__init__(rows)
        matrix, sums = rows.matrix, rows.sums
        change = (matrix.spread / rows.scale)[:, None]  # (d, 1), of a sum's unit to ours
        mean = sums.classes.sum(axis=0) / rows.n
        self.gram = np.outer(mean, -rows.n * mean)
        self.gram += sums.gram
        self.gram *= change
        self.gram *= change.T
        self.total = np.zeros(rows.d)
        if rows.as_is:
            away = (matrix.centre + matrix.spread * mean - rows.mean) / rows.scale
            self.total += rows.n * away
            self.gram += rows.n * np.outer(away, away)
        present = sums.counts[rows.labels, None]
        self.means = (sums.classes[rows.labels] / present - mean) * change.T
        self.codes = rows.y

    def features(self, W: Double) -> Double:
        """Give W."""
        return W

    def of_features(self, weights: Double) -> Double:
        """Give W."""
        return weights


class CopiedFeatures(CopiedCoordinates, FeatureCoordinates):
    """The features of standardised rows, which are few enough to be copied."""

    @property
    def Z(self) -> Floats:  # noqa: N802
        """The rows to learn from; (n, d)."""
        return self.rows.X

    @property
    def other(self) -> Floats:
        """The rows to score; (m, d)."""
        return self.rows.held


class RawFeatures(FeatureCoordinates):
    """The features of many rows. Nothing is copied: Z W is a product with the raw rows.

    With mean m and scale s: Z W = X (W / s) - (m / s)' W, and Z' S = (X' S - m (1' S)) / s. The
    held rows are gone over as well, and do not count.
    """

    def __init__(self, rows: Rows) -> None:
        super().__init__(rows)
        if rows.out is not None:
            codes = np.searchsorted(rows.labels, rows.matrix.y)
            self.codes, self.counted = np.where(rows.out, 0, codes), ~rows.out
        self.dtype = rows.dtype

    def _raw(self, W: Double, bias: Double) -> tuple[Floats, Floats]:
        """Give weights (d, c) and bias (c,) for raw rows."""
        weights = W / self.rows.scale[:, None]
        return weights.astype(self.dtype), (bias - self.rows.mean @ weights).astype(self.dtype)

    def scores(self, W: Double, bias: Double) -> Floats:
        """Go over the rows once."""
        return _scores(self.rows.matrix.X, *self._raw(W, bias))

    def back(self, slopes: Slopes, columns: int) -> tuple[Double, Double]:
        """Go over the rows once."""
        by_weights, by_bias = _back(self.rows.matrix.X, slopes, columns)
        by_weights -= np.outer(self.rows.mean, by_bias)
        by_weights /= self.rows.scale[:, None]
        return by_weights, by_bias

    def held(self, W: Double, bias: Double) -> Floats:
        """Score the rows to score."""
        weights, level = self._raw(W, bias)
        scores = [block @ weights + level for block in self.rows.held_blocks()]
        return np.concatenate(scores) if scores else np.zeros((0, W.shape[1]), self.dtype)


def _scores(X: Floats, weights: Floats, level: Floats) -> Floats:
    """Give X W + b of rows (n, d), a block at a time, since they may lie on disk; (n, c)."""
    scores = np.empty((len(X), len(level)), dtype=weights.dtype)
    for start in range(0, len(X), BLOCK):
        part = slice(start, start + BLOCK)
        np.matmul(X[part], weights, out=scores[part])
    scores += level
    return scores


def _back(X: Floats, slopes: Slopes, columns: int) -> tuple[Double, Double]:
    """Give X' S and 1' S of rows (n, d), summed in double precision; see `Coordinates.back`."""
    by_weights, by_bias = np.zeros((X.shape[1], columns)), np.zeros(columns)
    for start in range(0, len(X), BLOCK):
        part = slice(start, start + BLOCK)
        slope = slopes(part)
        by_weights += X[part].T @ slope
        by_bias += slope.sum(axis=0, dtype=np.float64)
    return by_weights, by_bias


def class_means(X: Floats, y: Ints) -> Double:
    """Give the mean of each class; (k, d)."""
    return np.stack([X[y == label].mean(axis=0, dtype=np.float64) for label in range(y.max() + 1)])
