"""Whether features are of a kind that was trained on: near one of the classes, or near none.

Features, standardised and then of length 1, lie about the means of their classes with one
covariance. The distance to the nearest class (Mahalanobis; Lee et al. 2018, arXiv 1807.03888)
less that to the mean of all classes (Ren et al. 2021, arXiv 2106.09022) says how far a picture is
from all that is known; features of one length tell more (Mueller and Hein 2025, arXiv
2505.18032). How far is too far, held-out rows tell: no distribution is supposed.

The covariance is kept as its largest directions and one number for all others, so that the whole
takes kilobytes.
"""

from dataclasses import dataclass, fields, replace
from functools import cached_property
from pathlib import Path
from typing import Any, Final
from zipfile import BadZipFile

import numpy as np

from tlfeat.errors import DamagedFile
from tlfeat.files import replacing
from tlfeat.heads.arrays import Floats, Ints

DIRECTIONS: Final = 32
SHRINKAGE: Final = 0.95  # towards the same spread in all directions
MOST_ROWS: Final = 5_000  # drawn for the covariance, and of held-out rows
_BLOCK: Final = 4_096  # rows
_PASSES: Final = 3  # of the search for the largest directions
_SPARE: Final = 10


@dataclass(frozen=True)
class Novelty:
    """What tells known from unknown features.

    Attributes
    ----------
    middle, scale : ndarray of shape (d,), float32
        Mean and standard deviation of the features of train; 1 where they do not vary.
    means : ndarray of shape (n_classes, d), float32
        Of each class that train has, of standardised rows of length 1.
    shares : ndarray of shape (n_classes,), float32
        Of the classes.
    directions : ndarray of shape (d, q), float32
        In which rows of one class lie furthest apart.
    spreads : ndarray of shape (q,), float32
        Their variance there.
    rest : float
        Their variance in every other direction.
    held : ndarray of shape (n_held,), float32
        Distances of held-out rows, ascending.
    """

    middle: Floats
    scale: Floats
    means: Floats
    shares: Floats
    directions: Floats
    spreads: Floats
    rest: float
    held: Floats

    def typical(self, X: Floats) -> Floats:
        """Say what share of held-out rows is at least so far from all that is known.

        Parameters
        ----------
        X : ndarray of shape (n, d)
            Features, not standardised.

        Returns
        -------
        shares : ndarray of shape (n,), float64
            From 1 / (n_held + 1), of what is further than every held-out row, to 1. Of rows like
            the held-out ones a share of `a` has `a` or less, whatever their distribution; where
            folds held them out, fewer: those were measured against less than all of train.
        """
        below = np.searchsorted(self.held, self.distances(X), side="left")
        shares: Floats = (1 + len(self.held) - below) / (1 + len(self.held))
        return shares

    def distances(self, X: Floats) -> Floats:
        """Measure how far rows are from the nearest class, less how far from the mean of all.

        Parameters
        ----------
        X : ndarray of shape (n, d)

        Returns
        -------
        distances : ndarray of shape (n,), float32
        """
        blocks = [
            self.distances_of_normalised(
                _normalised(X[start : start + _BLOCK], self.middle, self.scale)
            )
            for start in range(0, len(X), _BLOCK)
        ]
        return np.concatenate(blocks) if blocks else np.zeros(0, dtype=np.float32)

    def distances_of_normalised(self, Z: Floats) -> Floats:
        """Measure rows that are standardised and of length 1."""
        near, rest = self._shrunk(self._within)
        nearest: Floats = _squares(Z, self.means, self.directions, near, rest).min(axis=1)
        background: Floats = _squares(Z, self._centre, self.directions, *self._wide)[:, 0]
        along = (Z - self._centre) @ self._inverse.T
        background = background - ((along @ self._inner) * along).sum(axis=1)
        return (nearest - background).astype(np.float32)

    @cached_property
    def _within(self) -> float:
        """The mean variance of a direction within classes."""
        d, q = self.directions.shape
        level: float = (float(self.spreads.sum()) + (d - q) * self.rest) / d
        return level

    def _shrunk(self, level: float) -> tuple[Floats, float]:
        """Draw variances towards one level."""
        keep = 1 - SHRINKAGE
        return keep * self.spreads + SHRINKAGE * level, keep * self.rest + SHRINKAGE * level

    # The covariance of all rows is that within classes and that of the means about their mean:
    # T = W + M'M, M (n_classes, d) of rows sqrt(share) (mean - mean of all). Shrunk, T = D + A'A
    # with A = sqrt(1 - shrinkage) M and D known in its directions, so by Woodbury
    # r'T^-1 r = r'D^-1 r - u'(I + A D^-1 A')^-1 u, u = A D^-1 r.

    @cached_property
    def _centre(self) -> Floats:
        centre: Floats = self.shares @ self.means
        return centre[None]

    @cached_property
    def _about(self) -> Floats:
        about: Floats = np.sqrt(self.shares)[:, None] * (self.means - self._centre)
        return about

    @cached_property
    def _wide(self) -> tuple[Floats, float]:
        """D: variances in the directions and in all others."""
        return self._shrunk(self._within + float((self._about**2).sum()) / len(self.middle))

    @cached_property
    def _inverse(self) -> Floats:
        """A D^-1, of shape (n_classes, d)."""
        spreads, rest = self._wide
        A = np.sqrt(1 - SHRINKAGE) * self._about
        inverse: Floats = (
            A / rest + ((A @ self.directions) * (1 / spreads - 1 / rest)) @ self.directions.T
        )
        return inverse

    @cached_property
    def _inner(self) -> Floats:
        """(I + A D^-1 A')^-1, of shape (n_classes, n_classes)."""
        A = np.sqrt(1 - SHRINKAGE) * self._about
        inner: Floats = np.linalg.inv(np.eye(len(A)) + self._inverse @ A.T).astype(np.float32)
        return inner


def learn_novelty(
    X: Floats,
    y: Ints,
    rows: Ints,
    *,
    fold: Ints | None = None,
    held: Ints | None = None,
    seed: int = 0,
) -> Novelty | None:
    """Learn what known features are like, and how far held-out ones lie from them.

    Parameters
    ----------
    X : ndarray of shape (n, d)
        Features, not standardised.
    y : ndarray of shape (n,), int
    rows : ndarray of shape (n_train,), int
        Of train.
    fold : ndarray of shape (n_train,), int, optional
        In which each of them is held out.
    held : ndarray of shape (n_held,), int, optional
        Rows of validation, instead of folds.
    seed : int

    Returns
    -------
    novelty : Novelty or None
        None where rows of one class, or all of a fold's, are too few to tell how they spread.
    """
    random = np.random.default_rng(seed)
    folds = np.zeros(len(rows), dtype=np.int64) if fold is None else fold
    train = _Train.of(X, y, rows, folds, random)
    whole = train.known(random)
    if whole is None:
        return None
    if held is not None:
        some = held[np.sort(random.permutation(len(held))[:MOST_ROWS])]
        return replace(whole, held=np.sort(whole.distances(X[some])))
    parts = []
    for one in np.unique(train.folds):
        without = train.known(random, left_out=int(one))
        if without is None:
            return None
        parts.append(without.distances_of_normalised(train.Z[train.folds == one]))
    return replace(whole, held=np.sort(np.concatenate(parts)))


@dataclass(frozen=True)
class _Train:
    """What is known of train: sums of all its rows, and the rows that are drawn for the spread."""

    middle: Floats
    scale: Floats
    sums: Floats  # (n_classes, n_folds, d)
    counts: Ints  # (n_classes, n_folds)
    Z: Floats  # (n_drawn, d), normalised
    labels: Ints  # (n_drawn,)
    folds: Ints

    @classmethod
    def of(
        cls, X: Floats, y: Ints, rows: Ints, folds: Ints, random: np.random.Generator
    ) -> "_Train":
        labels = np.unique(y[rows], return_inverse=True)[1]
        standards = _standards(X, rows)
        drawn = np.sort(random.permutation(len(rows))[:MOST_ROWS])
        return cls(
            *standards,
            *_sums(X, rows, labels, folds, standards),
            _normalised(X[rows[drawn]], *standards),
            labels[drawn],
            folds[drawn],
        )

    def known(self, random: np.random.Generator, left_out: int | None = None) -> Novelty | None:
        """Tell what is known without one fold; None where too little is."""
        kept = [one for one in range(self.sums.shape[1]) if one != left_out]
        n = self.counts[:, kept].sum(axis=1)
        means = self.sums[:, kept].sum(axis=1) / np.maximum(n, 1).astype(np.float32)[:, None]
        taken = self.folds != (-1 if left_out is None else left_out)
        spread = _spread(self.Z[taken] - means[self.labels[taken]], random)
        if spread is None:
            return None
        there = n > 0
        shares = (n[there] / n.sum()).astype(np.float32)
        none = np.zeros(0, dtype=np.float32)
        return Novelty(self.middle, self.scale, means[there], shares, *spread, none)


def _standards(X: Floats, rows: Ints) -> tuple[Floats, Floats]:
    """Give mean and standard deviation of each column."""
    total, squares = np.zeros((2, X.shape[1]))
    for start in range(0, len(rows), _BLOCK):
        block = X[rows[start : start + _BLOCK]].astype(np.float64)
        total += block.sum(axis=0)
        squares += (block**2).sum(axis=0)
    mean = total / len(rows)
    deviation = np.sqrt(np.maximum(squares / len(rows) - mean**2, 0))
    deviation[deviation < 1e-6] = 1
    return mean.astype(np.float32), deviation.astype(np.float32)


def _normalised(X: Floats, middle: Floats, scale: Floats) -> Floats:
    """Standardise rows and make their length 1."""
    Z: Floats = X.astype(np.float32) - middle
    Z /= scale
    Z /= np.maximum(np.linalg.norm(Z, axis=1, keepdims=True), np.float32(1e-12))
    return Z


def _sums(
    X: Floats, rows: Ints, labels: Ints, folds: Ints, standards: tuple[Floats, Floats]
) -> tuple[Floats, Ints]:
    """Sum and count the rows of each class and fold."""
    k, parts = int(labels.max()) + 1, int(folds.max()) + 1
    cell = labels * parts + folds
    sums = np.zeros((k * parts, X.shape[1]), dtype=np.float32)
    for start in range(0, len(rows), _BLOCK):
        mine = cell[start : start + _BLOCK]
        Z = _normalised(X[rows[start : start + _BLOCK]], *standards)
        found, place = np.unique(mine, return_inverse=True)
        share = np.zeros((len(found), len(mine)), dtype=np.float32)
        share[place, np.arange(len(mine))] = 1
        sums[found] += share @ Z
    counts = np.bincount(cell, minlength=k * parts)
    return sums.reshape(k, parts, -1), counts.reshape(k, parts)


def _spread(W: Floats, random: np.random.Generator) -> tuple[Floats, Floats, float] | None:
    """Find the directions in which rows lie furthest from 0, and the variances.

    By a randomised search (Halko, Martinsson and Tropp 2011, SIAM Review 53).
    """
    n, d = W.shape
    q = min(DIRECTIONS, n - 1, d - 1)
    total = float((W**2).sum()) / max(n, 1)
    if q < 1 or not total > 1e-9:
        return None
    Q = random.standard_normal((d, min(q + _SPARE, d))).astype(np.float32)
    for _ in range(_PASSES):
        Q = np.linalg.qr(W.T @ (W @ Q))[0]
    _, lengths, turned = np.linalg.svd(W @ Q, full_matrices=False)
    q = min(q, len(lengths))
    spreads = (lengths[:q] ** 2 / n).astype(np.float32)
    rest = max(total - float(spreads.sum()), 1e-6 * total) / (d - q)
    directions: Floats = np.ascontiguousarray(Q @ turned[:q].T)
    return directions, spreads, rest


def _squares(
    Z: Floats, points: Floats, directions: Floats, spreads: Floats, rest: float
) -> Floats:
    """Square the Mahalanobis distance of each row to each point; (n, n_points)."""
    weights = 1 / spreads - 1 / rest
    along, theirs = Z @ directions, points @ directions
    plain = (Z**2).sum(axis=1)[:, None] - 2 * (Z @ points.T) + (points**2).sum(axis=1)
    more = (along**2) @ weights
    more = more[:, None] - 2 * ((along * weights) @ theirs.T) + (theirs**2) @ weights
    squares: Floats = plain / rest + more
    return squares


def save_novelty(novelty: Novelty, path: Path) -> None:
    """Save it as an NPZ, replaced as a whole.

    Raises
    ------
    TlfeatError
        If the disk is full, or refuses the file.
    """
    arrays: dict[str, Any] = {one.name: getattr(novelty, one.name) for one in fields(Novelty)}
    with replacing(path) as fresh, fresh.open("wb") as file:
        np.savez(file, **arrays)


def load_novelty(path: Path) -> Novelty:
    """Load what `save_novelty` has saved.

    Raises
    ------
    DamagedFile
        If it cannot be read.
    """
    try:
        with path.open("rb") as file, np.load(file, allow_pickle=False) as arrays:
            found = {one.name: arrays[one.name] for one in fields(Novelty)}
    except (OSError, ValueError, KeyError, EOFError, BadZipFile) as error:
        raise DamagedFile(f"{path} cannot be read: {error}.") from error
    return Novelty(**{**found, "rest": float(found["rest"])})
