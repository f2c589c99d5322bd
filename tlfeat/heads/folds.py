"""Folds inside train, for datasets that have no validation split."""

from typing import Final

import numpy as np
import numpy.typing as npt

from tlfeat.errors import HeadError
from tlfeat.heads.arrays import Ints

N_FOLDS: Final = 5


def assign_folds(
    y: Ints, groups: npt.ArrayLike | None = None, *, n_folds: int = N_FOLDS, seed: int = 0
) -> npt.NDArray[np.int64]:
    """Give each row its fold; rows of one group share one.

    scikit-learn's StratifiedGroupKFold, shuffled, for the groups of two rows or more, and its
    StratifiedKFold, which is far faster, for all rows that are alone.

    Parameters
    ----------
    y : ndarray of shape (n,)
        Class indexes.
    groups : array-like of shape (n,), optional
        Each row is alone if None.
    n_folds : int
        Fewer where there are fewer groups.
    seed : int

    Returns
    -------
    fold : ndarray of shape (n,)
        0 to n_folds - 1.

    Raises
    ------
    HeadError
        If there is only one group.
    """
    n = len(y)
    codes = (
        np.arange(n) if groups is None else np.unique(np.asarray(groups), return_inverse=True)[1]
    )
    sizes = np.bincount(codes)
    if len(sizes) < 2:
        raise HeadError(
            "The training rows cannot be split into folds, as they all belong to one group: "
            "give a validation split."
        )
    n_folds = min(n_folds, len(sizes))
    alone = sizes[codes] == 1
    parts = [alone, ~alone]
    if min(len(np.unique(codes[part])) for part in parts) < n_folds:
        parts = [np.full(n, True)]
    fold = np.empty(n, dtype=np.int64)
    for part in parts:
        fold[part] = _split(y[part], codes[part], n_folds, seed)
    return fold


def _split(y: Ints, codes: Ints, n_folds: int, seed: int) -> npt.NDArray[np.int64]:
    from sklearn.model_selection import StratifiedGroupKFold, StratifiedKFold

    # Classes with fewer rows than folds cannot be in each fold: for the split they count as one,
    # or as the largest class where even together they are too few.
    counts = np.bincount(y)
    rare = counts[y] < n_folds
    strata = np.where(rare, len(counts), y)
    if 0 < rare.sum() < n_folds:
        strata[rare] = counts.argmax()
    kind = StratifiedKFold if len(np.unique(codes)) == len(y) else StratifiedGroupKFold
    splitter = kind(n_splits=n_folds, shuffle=True, random_state=seed)
    fold = np.empty(len(y), dtype=np.int64)
    groups = None if kind is StratifiedKFold else codes
    for number, (_, held) in enumerate(splitter.split(np.zeros(len(y)), strata, groups)):
        fold[held] = number
    return fold
