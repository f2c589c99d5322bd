"""What every head can do for the search: score the settings of a grid, and become an estimator.

A learner is made for one set of rows (a fold, or all of train) and shares between settings what
they have in common: one eigenbasis, one Gram matrix, one set of distances. Its estimator is an
object of scikit-learn as `fit` would give, which the tests check.
"""

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from importlib import import_module
from typing import Any, Final, NamedTuple

import numpy as np

from tlfeat.heads.arrays import Double, Floats, Ints
from tlfeat.heads.rows import Rows
from tlfeat.heads.settings import Grid
from tlfeat.heads.table import Head

_FOR_ALL: Final = (
    "joblib",
    "sklearn.gaussian_process",  # where kernels are computed, it is imported on the way
    "sklearn.model_selection",
    "threadpoolctl",
)


@dataclass(frozen=True)
class Problem:
    """Rows to learn from, rows to score, and what is asked of a head."""

    rows: Rows
    fixed: Mapping[str, Any]
    grid: Grid
    balanced: bool
    seed: int
    reached: Sequence[Any] = ()  # by learners of nearly the same rows; see `Learner.reached`

    @property
    def X(self) -> Floats:  # noqa: N802
        """Rows to learn from, standardised; (n, d)."""
        return self.rows.X

    @property
    def y(self) -> Ints:
        """The class of each row, 0 to k - 1, each of them present; (n,)."""
        return self.rows.y

    @property
    def labels(self) -> Ints:
        """The class index behind each of them, rising; (k,)."""
        return self.rows.labels

    @property
    def held(self) -> Floats:
        """Rows to score, standardised as X; (m, d), m may be 0."""
        return self.rows.held

    @property
    def n_classes(self) -> int:
        """How many classes are present."""
        return len(self.labels)

    def class_weights(self) -> Double:
        """Give each class its weight: 1, or what makes their totals equal; (k,)."""
        if not self.balanced:
            return np.ones(self.n_classes)
        return self.rows.n / (self.n_classes * self.rows.counts)


class Finished(NamedTuple):
    """A fitted estimator."""

    steps: list[tuple[str, Any]]  # of the pipeline, after the standardisation
    n_parameters: int  # numbers that were learned
    trouble: str = ""  # why it counts as not converged


class Learner(ABC):
    """One head on one set of rows."""

    def __init__(self, problem: Problem) -> None:
        self.problem = problem

    @classmethod
    def check(
        cls, fixed: Mapping[str, Any], grid: Grid, n_least: int, n_most: int, budget: int
    ) -> Grid:
        """Refuse what cannot be done on so many rows; give the grid without what is too large.

        Parameters
        ----------
        fixed, grid
            From `plan_settings`.
        n_least, n_most : int
            Rows of the smallest and of the largest set to be fitted.
        budget : int
            Bytes that a kernel matrix may take.
        """
        return grid

    def reached(self) -> Any:
        """Give what a learner of nearly the same rows can begin from, once this one has scored."""
        return None

    @abstractmethod
    def logits(self, setting: Mapping[str, Any]) -> Floats:
        """Score the held rows; (m, k).

        A temperature divides them, and softmax makes probabilities of that.
        """

    @abstractmethod
    def finish(self, setting: Mapping[str, Any]) -> Finished:
        """Give the estimator for a setting."""

    def temper(self, done: Finished, temperature: float) -> Finished:
        """Let the estimator's probabilities be softmax(logits / temperature).

        Where that can be part of the weights a learner does so; here it stands behind the
        estimator, as scikit-learn's own calibration would put it there.
        """
        name, estimator = done.steps[-1]
        calibrated = calibrated_by(estimator, temperature, self.problem.labels)
        return done._replace(steps=[*done.steps[:-1], (name, calibrated)])


def import_types(head: Head) -> None:
    """Import all of scikit-learn that a head will need.

    Now, so that no timed part of the work waits for it, and so that it can be done before a pool
    of threads starts: several that import scikit-learn at once may lock each other up.
    """
    kinds = (kind.rpartition(".")[0] for kind in head.file_types if kind.startswith("sklearn."))
    for name in (*kinds, *_FOR_ALL):
        import_module(name)


def learner_class(head: Head) -> type[Learner]:
    """Import the class that a head's row names, with all that it will need."""
    import_types(head)
    module, _, name = head.learner.partition(":")
    found: type[Learner] = getattr(import_module(module), name)
    return found


def calibrated_by(estimator: Any, temperature: float, labels: Ints) -> Any:
    """Give a `CalibratedClassifierCV` around a fitted estimator, with this very temperature.

    Its own `fit` would look for one on rows that the estimator has learned from.
    """
    from sklearn import calibration
    from sklearn.frozen import FrozenEstimator

    frozen = FrozenEstimator(estimator)
    scaling = calibration._TemperatureScaling()
    scaling.beta_ = np.float64(1 / temperature)
    whole = calibration.CalibratedClassifierCV(frozen, method="temperature")
    whole.classes_, whole.n_features_in_ = labels, estimator.n_features_in_
    whole.calibrated_classifiers_ = [
        calibration._CalibratedClassifier(frozen, [scaling], classes=labels, method="temperature")
    ]
    return whole


def temper_linear(done: Finished, temperature: float) -> Finished:
    """Divide the weights of a linear estimator, whose scores are its logits."""
    estimator = done.steps[-1][1]
    estimator.coef_ = estimator.coef_ / temperature
    estimator.intercept_ = estimator.intercept_ / temperature
    return done


def two_columns(scores: Floats) -> Floats:
    """Turn the one column of a binary decision function into two; (m, 1) to (m, 2)."""
    return np.hstack([-scores, scores]) if scores.shape[1] == 1 else scores


def softmax(scores: Floats) -> Floats:
    """Give probabilities that rise with the scores and sum to 1; (m, k)."""
    rising = np.exp(scores - scores.max(axis=1, keepdims=True))
    result: Floats = rising / rising.sum(axis=1, keepdims=True)
    return result
