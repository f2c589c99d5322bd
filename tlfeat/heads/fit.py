"""Fit a head: choose its settings on held rows, then train it on all training rows."""

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from tlfeat.errors import HeadError
from tlfeat.heads.folds import assign_folds
from tlfeat.heads.learner import Finished, Floats, Ints, Learner, Problem, learner_class
from tlfeat.heads.search import Choice, Held, choose
from tlfeat.heads.settings import Grid, plan_settings
from tlfeat.heads.standardise import fit_scaler
from tlfeat.heads.table import Head, check_class_weight, get_head
from tlfeat.heads.threads import one_numeric_thread
from tlfeat.heads.trained import TrainedHead, all_classes

# Bytes for folds that are fitted side by side; each takes about three copies of its rows.
_FOLD_BYTES: Final = 4 * 2**30
# On so few rows one draw of the folds decides little: some heads add up the errors of three.
_FEW: Final = 1000


@dataclass(frozen=True)
class FittedHead(TrainedHead):
    """A trained head and how it came to be."""

    grid: Grid  # what the search tried, by setting
    chosen: Mapping[str, Any]
    search_table: list[dict[str, Any]]  # setting, score (share of right ones)
    converged: bool
    seconds: Mapping[str, float]  # search, fit: of a processor, whatever else it was doing
    warnings: list[str]
    n_train: int  # rows that the pipeline was trained on
    n_parameters: int  # numbers that it learned, without the standardisation
    validation_scores: Floats | None  # (n_validation, n_classes), by a head trained on train only
    out_of_fold_scores: Floats | None  # (n_train, n_classes), where there is no validation
    fold: Ints | None  # (n_train,), where there is no validation


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
        "balanced" gives every class the same total weight in training. The search counts errors
        as ever.
    seed : int
        Of the folds and of what a head draws.
    jobs : int
        Threads to use.
    kernel_budget : int
        Bytes that a kernel matrix may take.

    Returns
    -------
    fitted : FittedHead

    Raises
    ------
    UnknownName
        If there is no such head.
    HeadError
        If the data, a setting or the budget do not allow it.
    """
    head = get_head(name)
    fixed, wanted = plan_settings(head.name, head.settings, params or {}, search)
    check_class_weight(head, class_weight)
    X, y = _checked(X, y, n_classes, "train")
    held = None
    if validation is not None and len(validation[0]):
        held = _checked(*validation, n_classes, "validation")
    _refuse_one_class(head, y, n_classes)
    fold = assign_folds(y, groups, seed=seed) if held is None else None
    refit = held is not None and refit_on_validation
    n_most = len(y) + (len(held[1]) if held is not None and refit else 0)
    n_least = len(y) if fold is None else len(y) - int(np.bincount(fold).max())
    grid = learner_class(head).check(fixed, wanted, n_least, n_most, kernel_budget)
    job = _Job(head, fixed, grid, class_weight is not None, n_classes, seed)

    choice: Choice | None = None
    with one_numeric_thread():
        if fold is not None:
            choice = job.choose_on_folds(X, y, groups, fold, jobs)
        elif held is not None and (grid or refit):
            choice = job.choose([[job.validation(X, y, *held)]], 1)
        chosen = choice.setting if choice is not None else {}
        if held is not None and refit:
            X, y = np.concatenate([X, held[0]]), np.concatenate([y, held[1]])
        began = time.thread_time()
        pipeline, done = job.pipeline(X, y, chosen)
        fit_seconds = time.thread_time() - began

    settings = {**fixed, **chosen, "class_weight": class_weight}
    trained = TrainedHead(head.name, pipeline, settings, head.score_kind, n_classes)
    validation_scores = None
    if held is not None:  # of a head that has not seen them
        validation_scores = choice.scores if choice and refit else trained.scores(held[0])
    return FittedHead(
        **vars(trained),
        grid=grid,
        chosen=chosen,
        search_table=choice.table if choice is not None and grid else [],
        converged=not done.trouble,
        seconds={"search": choice.seconds if choice else 0.0, "fit": fit_seconds},
        warnings=[f"{head.name} did not converge: {done.trouble}."] if done.trouble else [],
        n_train=len(y),
        n_parameters=done.n_parameters,
        validation_scores=validation_scores,
        out_of_fold_scores=choice.scores if choice is not None and held is None else None,
        fold=fold,
    )


def _refuse_one_class(head: Head, y: Ints, n_classes: int) -> None:
    n_present = len(np.unique(y))
    if n_present < 2:
        raise HeadError(
            f"{len(y)} training rows of {n_present} of {n_classes} classes: {head.name} needs "
            "training rows of two classes or more."
        )


@dataclass(frozen=True)
class _Job:
    """A head and the settings that are the same for all its learners."""

    head: Head
    fixed: Mapping[str, Any]
    grid: Grid
    balanced: bool
    n_classes: int
    seed: int

    def choose(self, repeats: list[list[Held]], jobs: int) -> Choice:
        return choose(
            repeats,
            self.fixed,
            self.grid,
            n_classes=self.n_classes,
            probabilities=self.head.score_kind == "probability",
            patience=self.head.patience,
            jobs=jobs,
        )

    def choose_on_folds(
        self, X: Floats, y: Ints, groups: npt.ArrayLike | None, fold: Ints, jobs: int
    ) -> Choice:
        repeats = self.head.cv_repeats if self.grid and len(y) <= _FEW else 1
        others = (assign_folds(y, groups, seed=self.seed + i) for i in range(1, repeats))
        side_by_side = max(1, min(jobs, _FOLD_BYTES // (3 * X.nbytes)))
        return self.choose([self.folds(X, y, draw) for draw in (fold, *others)], side_by_side)

    def validation(self, X: Floats, y: Ints, held_X: Floats, held_y: Ints) -> Held:
        make = partial(self._learner, X, y, held_X)
        return Held(np.arange(len(held_y)), held_y, make, self._spread(y))

    def folds(self, X: Floats, y: Ints, fold: Ints) -> list[Held]:
        return [self._fold(X, y, fold == number) for number in np.unique(fold)]

    def _fold(self, X: Floats, y: Ints, out: npt.NDArray[np.bool_]) -> Held:
        def make() -> Learner:  # the rows are copied when the fold's turn comes
            return self._learner(X[~out], y[~out], X[out])

        return Held(np.flatnonzero(out), y[out], make, self._spread(y[~out]))

    def pipeline(self, X: Floats, y: Ints, chosen: Mapping[str, Any]) -> tuple[Any, Finished]:
        """Fit on all rows; give the pipeline and what is to be said about it."""
        from sklearn.pipeline import Pipeline

        scaler = fit_scaler(X)
        done = self._learner(X, y, X[:0], scaler).finish({**self.fixed, **chosen})
        return Pipeline([("standardise", scaler), *done.steps]), done

    def _learner(self, X: Floats, y: Ints, held: Floats, scaler: Any = None) -> Learner:
        scaler = scaler or fit_scaler(X)
        labels, codes = np.unique(y, return_inverse=True)
        problem = Problem(
            scaler.transform(X),
            codes,
            labels,
            scaler.transform(held) if len(held) else held,
            self.fixed,
            self.grid,
            self.balanced,
            self.seed,
        )
        return learner_class(self.head)(problem) if len(labels) > 1 else _OneClass(problem)

    def _spread(self, y: Ints) -> Callable[[Floats], Floats]:
        labels, kind = np.unique(y), self.head.score_kind

        def spread(present: Floats) -> Floats:
            return all_classes(present, labels, self.n_classes, kind)

        return spread


class _OneClass(Learner):
    """What a fold can say whose training rows have one class only."""

    def scores(self, setting: Mapping[str, Any]) -> Floats:
        return np.ones((len(self.problem.held), 1), dtype=np.float32)

    def finish(self, setting: Mapping[str, Any]) -> Finished:
        raise AssertionError("only folds can have one class, and a fold is never finished")


def _checked(X: Floats, y: npt.ArrayLike, n_classes: int, what: str) -> tuple[Floats, Ints]:
    """Give features as float32 or float64 and labels as integers; refuse what makes no sense."""
    X, y = np.asarray(X), np.asarray(y)
    if X.ndim != 2 or y.shape != X.shape[:1]:
        raise ValueError(f"{what}: X must be (n, d) and y (n,); got {X.shape} and {y.shape}.")
    if X.dtype not in (np.float32, np.float64):
        X = X.astype(np.float32)
    if not np.isfinite(X).all():
        raise ValueError(f"{what}: X holds numbers that are not finite.")
    if len(y) and not 0 <= y.min() <= y.max() < n_classes:
        raise ValueError(f"{what}: y must be class indexes from 0 to {n_classes - 1}.")
    return X, y.astype(np.int64)
