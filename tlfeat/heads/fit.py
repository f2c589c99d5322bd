"""Fit a head: choose its settings on held rows, then train it on all training rows."""

from collections.abc import Mapping
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from tlfeat.heads.arrays import Floats, Ints
from tlfeat.heads.ensemble import fit_ensemble
from tlfeat.heads.fitting import FittedHead, HeadOrder, judge_on
from tlfeat.heads.ground import Ground
from tlfeat.heads.grounds import Candidate, Grounds, fit_best
from tlfeat.heads.learner import import_types
from tlfeat.heads.pool import Job, run_jobs
from tlfeat.heads.table import ENSEMBLE, get_head

_BLOCK: Final = 4096  # rows looked at a time


def fit_head(
    name: str,
    X: Floats,
    y: npt.ArrayLike,
    *,
    n_classes: int,
    groups: npt.ArrayLike | None = None,
    validation: tuple[Floats, npt.ArrayLike] | None = None,
    refit_on_validation: bool = False,
    params: Mapping[str, Any] | None = None,
    search: bool = True,
    class_weight: str | None = None,
    seed: int = 0,
    jobs: int = 1,
    kernel_budget: int = 2**30,
    metric: str = "accuracy",
) -> FittedHead:
    """Choose a head's settings and train it.

    Safe to call from several threads at once. With a validation split the settings are chosen on
    it and the head is trained on train; without, on five folds of train, and trained on all of it.

    Parameters
    ----------
    name : str
        A name of `list_heads`.
    X : ndarray of shape (n_train, d)
        Features, not standardised.
    y : array-like of shape (n_train,)
        Class indexes, 0 to n_classes - 1.
    n_classes : int
        Classes of the dataset; some may be absent from train.
    groups : array-like of shape (n_train,), optional
        Rows of one group are never in two folds.
    validation : tuple of (n_validation, d) and (n_validation,), optional
    refit_on_validation : bool
        After the choice, train on both.
    params : mapping, optional
        Settings that are given; several values for one are searched.
    search : bool
        Use the defaults of the other settings if False.
    class_weight : {None, "balanced"}
        "balanced" gives every class the same total weight in training. What the search
        makes best is `metric`, with it as without.
    seed : int
        Of the folds and of what a head draws.
    jobs : int
        Threads to use.
    kernel_budget : int
        Bytes that a kernel matrix may take.
    metric : {"accuracy", "balanced-accuracy", "macro-f1", "log-loss", "roc-auc"}
        What the search makes best on held rows.

    Returns
    -------
    fitted : FittedHead

    Raises
    ------
    UnknownName
        If there is no such head or metric.
    HeadError
        If the data, a setting or the budget do not allow it.
    """
    order = HeadOrder(
        name, params or {}, search, class_weight, refit_on_validation, seed, kernel_budget, metric
    )
    held = None
    if validation is not None and len(validation[0]):
        held = checked_rows(*validation, n_classes, "validation")
    import_types(get_head(order.name))
    ground = Ground(*checked_rows(X, y, n_classes, "train"), n_classes, groups, held, seed)
    grounds = Grounds([Candidate("features", ground, {"features": ground.X.shape[1]})])
    (fitted,) = run_jobs([fit_any(grounds, order)], jobs)
    if isinstance(fitted, Exception):
        raise fitted
    return fitted


def score_out_of_fold(
    name: str,
    X: Floats,
    y: npt.ArrayLike,
    *,
    n_classes: int,
    groups: npt.ArrayLike | None = None,
    search: bool = True,
    seed: int = 0,
    jobs: int = 1,
) -> Floats:
    """Say what a head makes of each row that it has not seen, without training one on all.

    Parameters
    ----------
    name, X, y, n_classes, groups, search, seed, jobs
        See `fit_head`.

    Returns
    -------
    probabilities : ndarray of shape (n_train, n_classes)
        As `held_scores` of the head that `fit_head` gives.

    Raises
    ------
    UnknownName
        If there is no such head.
    HeadError
        If the data do not allow it.
    """
    order = HeadOrder(name, search=search, seed=seed)
    import_types(get_head(order.name))
    ground = Ground(*checked_rows(X, y, n_classes, "train"), n_classes, groups, None, seed)
    (scores,) = run_jobs([judge_on(ground, order)], jobs)
    if isinstance(scores, Exception):
        raise scores
    return scores


def fit_any(grounds: Grounds, order: HeadOrder) -> Job[FittedHead]:
    """Fit a head, or an ensemble of heads, on the best of several matrices, as a job.

    Parameters
    ----------
    grounds : Grounds
        Shared by all heads on the same rows.
    order : HeadOrder

    Yields
    ------
    tasks : list of callables and shared jobs
        See `run_jobs`.

    Raises
    ------
    HeadError
        If the data, a setting or the budget do not allow it.
    """
    kind = fit_ensemble if get_head(order.name).name == ENSEMBLE else fit_best
    return (yield from kind(grounds, order))


def checked_rows(X: Floats, y: npt.ArrayLike, n_classes: int, what: str) -> tuple[Floats, Ints]:
    """Give features as float32 or float64 and labels as integers; refuse what makes no sense."""
    X, y = np.asarray(X), np.asarray(y)
    if X.ndim != 2 or y.shape != X.shape[:1]:
        raise ValueError(f"{what}: X must be (n, d) and y (n,); got {X.shape} and {y.shape}.")
    if X.dtype not in (np.float32, np.float64):
        X = X.astype(np.float32)
    if not all(np.isfinite(X[i : i + _BLOCK]).all() for i in range(0, len(X), _BLOCK)):
        raise ValueError(f"{what}: X holds numbers that are not finite.")
    if len(y) and not 0 <= y.min() <= y.max() < n_classes:
        raise ValueError(f"{what}: y must be class indexes from 0 to {n_classes - 1}.")
    return X, y.astype(np.int64)
