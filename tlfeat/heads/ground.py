"""What several heads are trained and judged on: the same rows, held out in the same ways."""

import weakref
from collections.abc import Callable
from functools import partial
from threading import Lock
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from tlfeat.heads.arrays import Floats, Ints
from tlfeat.heads.folds import N_FOLDS, assign_folds
from tlfeat.heads.matrix import Matrix
from tlfeat.heads.once import once
from tlfeat.heads.rows import COPIED, Rows
from tlfeat.heads.trained import all_classes

# Bytes of standardised rows and Gram matrices that stay while heads are searched; beyond, tasks
# that run at the same time share them still.
_SHARED: Final = 2**30


class Part:
    """Rows that a head has not seen, and what is true of them.

    Parameters
    ----------
    rows : ndarray of shape (m,)
        Their places in the whole.
    y : ndarray of shape (m,)
        Their class indexes.
    make : callable
        Makes the rows to learn from and to score, when they are needed.
    labels : ndarray
        The class indexes that the rows to learn from have.
    n_classes : int
    stays : bool
        Whether what was made is kept.
    """

    def __init__(
        self,
        rows: Ints,
        y: Ints,
        make: Callable[[], Rows],
        labels: Ints,
        n_classes: int,
        stays: bool,
    ) -> None:
        self.rows, self.y, self.labels, self.n_classes = rows, y, labels, n_classes
        self._make, self._stays, self._lock = make, stays, Lock()
        self._made: Callable[[], Rows | None] = lambda: None
        # where it is a part that heads are judged on; a cycle would outlive its large arrays' use
        self.place: tuple[weakref.ref[Ground], int] | None = None

    def __reduce__(self) -> tuple[Any, ...]:
        assert self.place is not None
        ground, number = self.place
        return _part_of, (ground(), number)  # another process takes it from its copy of the ground

    def made(self) -> Rows:
        """Make the rows, or give those that are there."""
        with self._lock:
            rows = self._made()
            if rows is None:
                rows = self._make()
                self._made = (lambda: rows) if self._stays else weakref.ref(rows)
            return rows

    def spread(self, logits: Floats) -> Floats:
        """Spread logits of the classes that were learned over all classes."""
        return all_classes(logits, self.labels, self.n_classes, "logit")


class Ground:
    """Features and classes to train heads on, with all that they share.

    Parameters
    ----------
    X : ndarray of shape (n_train, d)
        Not standardised.
    y : ndarray of shape (n_train,)
        Class indexes, 0 to n_classes - 1.
    n_classes : int
    groups : array-like of shape (n_train,), optional
        Rows of one group are never in two folds.
    validation : tuple of (n_validation, d) and (n_validation,), optional
    seed : int
        Of the folds.
    validation_groups : array-like of shape (n_validation,), optional
        What is chosen on some of these rows never judges others of their group.
    """

    def __init__(
        self,
        X: Floats,
        y: Ints,
        n_classes: int,
        groups: npt.ArrayLike | None = None,
        validation: tuple[Floats, Ints] | None = None,
        seed: int = 0,
        validation_groups: npt.ArrayLike | None = None,
    ) -> None:
        self.X, self.y, self.n_classes, self.groups = X, y, n_classes, groups
        self.validation, self.seed, self.validation_groups = validation, seed, validation_groups

    def __getstate__(self) -> dict[str, Any]:
        """Give what another process makes the rest of; rows that are mapped are read."""
        kept = {name: value for name, value in vars(self).items() if not name.startswith("once ")}
        return kept | {"X": np.asarray(self.X)}

    @once
    def fold(self) -> Ints:
        """The fold of each row, where there is no validation; (n_train,)."""
        return assign_folds(self.y, self.groups, seed=self.seed)

    @once
    def matrix(self) -> Matrix:
        """The rows of train."""
        fold = self.fold if self.validation is None else None
        return Matrix(self.X, self.y, self.n_classes, fold)

    @property
    def held_y(self) -> Ints:
        """The classes of the rows that heads are judged on: validation, or train out of fold."""
        return self.y if self.validation is None else self.validation[1]

    @property
    def held_counts(self) -> Ints:
        """Of the rows that heads are judged on: how many each class has; (n_classes,)."""
        return np.bincount(self.held_y, minlength=self.n_classes)

    @once
    def parts_of_held(self) -> Ints:
        """Number the rows that heads are judged on: what is fitted to some judges the others."""
        if self.validation is None:
            return self.fold
        y, groups = self.validation[1], self.validation_groups
        if len(np.unique(np.arange(len(y)) if groups is None else groups)) < 2:
            return np.zeros(len(y), dtype=np.int64)
        return assign_folds(y, groups, seed=self.seed)

    @once
    def parts(self) -> list[Part]:
        """What heads are judged on: the validation rows, or each fold of train."""
        if self.validation is not None:
            parts = [self.held_out]
        else:
            parts = [self._part(number) for number in range(int(self.fold.max()) + 1)]
        for number, part in enumerate(parts):
            part.place = weakref.ref(self), number
        return parts

    def _part(self, number: int) -> Part:
        make, out = partial(Rows, self.matrix, number), self.fold == number
        labels = np.unique(self.y[~out])
        stays = self._bytes <= _SHARED
        return Part(np.flatnonzero(out), self.y[out], make, labels, self.n_classes, stays)

    @once
    def held_out(self) -> Part:
        """The validation rows, for heads that learn from train alone."""
        assert self.validation is not None
        X, y = self.validation
        make = partial(Rows, self.matrix, held=X)
        return Part(np.arange(len(y)), y, make, np.unique(self.y), self.n_classes, True)

    @once
    def _bytes(self) -> int:
        """About what the folds take, once made."""
        n, d = self.X.shape
        rows: int = 4 * n * d
        wide, tall = rows + 3 * 8 * n**2, 2 * 8 * d**2 + (rows if rows <= COPIED else 0)
        one: int = wide if n <= d else tall
        return N_FOLDS * one

    def whole(self, *, refit: bool = False) -> Rows:
        """Give all rows of train; with `refit` those of validation too."""
        return (self._joined if refit and self.validation is not None else self._train).made()

    @once
    def _train(self) -> Part:
        return self._everything(self.matrix)

    @once
    def _joined(self) -> Part:
        assert self.validation is not None
        X, y = self.validation
        joined = np.concatenate([self.X, X]), np.concatenate([self.y, y])
        return self._everything(Matrix(*joined, self.n_classes))

    def _everything(self, matrix: Matrix) -> Part:
        none = np.zeros(0, dtype=np.int64)
        stays = self._bytes <= _SHARED
        return Part(none, none, partial(Rows, matrix), np.unique(matrix.y), self.n_classes, stays)


def _part_of(ground: Ground, number: int) -> Part:
    return ground.parts[number]
