"""A trained head: a pipeline of scikit-learn whose scores cover all classes of the dataset."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from tlfeat.heads.arrays import Floats, Ints
from tlfeat.heads.learner import two_columns

_BLOCK = 8192  # rows standardised and scored at a time


@dataclass(frozen=True)
class TrainedHead:
    """A head that can predict."""

    name: str
    pipeline: Any  # sklearn.pipeline.Pipeline: standardise first
    settings: Mapping[str, Any]  # all of them, the chosen ones included
    score_kind: str  # "probability", or "score" in files of before heads had temperatures
    n_classes: int  # of the dataset; train may have lacked some

    def scores(self, X: Floats) -> Floats:
        """Score rows for each class of the dataset.

        Parameters
        ----------
        X : ndarray of shape (n, d)
            Features, not standardised.

        Returns
        -------
        scores : ndarray of shape (n, n_classes)
            Probabilities, or scores whose largest is the predicted class. A class that train
            lacked has probability 0, or a score below all others of its row.
        """
        blocks = [self._present(X[start : start + _BLOCK]) for start in range(0, len(X), _BLOCK)]
        if not blocks:
            return np.zeros((0, self.n_classes), dtype=np.float32)
        return all_classes(
            np.concatenate(blocks), self.pipeline.classes_, self.n_classes, self.score_kind
        )

    def _present(self, X: Floats) -> Floats:
        """Score rows for the classes that train had."""
        if self.score_kind == "probability":
            machine = _rbf_machine(self.pipeline[-1])
            shares: Floats = (
                self.pipeline.predict_proba(X) if machine is None else self._rbf_shares(machine, X)
            )
            return shares
        if hasattr(self.pipeline[-1], "centroids_"):
            from tlfeat.heads.neighbours import centroid_distances

            return -centroid_distances(
                self.pipeline[:-1].transform(X), self.pipeline[-1].centroids_
            )
        raw: Floats = self.pipeline.decision_function(X)
        return two_columns(raw[:, None]) if raw.ndim == 1 else raw

    def _rbf_shares(self, machine: Any, X: Floats) -> Floats:
        """Give what the pipeline's `predict_proba` does, sooner."""
        from tlfeat.heads.kernel import rbf_decisions

        (calibrated,) = self.pipeline[-1].calibrated_classifiers_
        (scaling,) = calibrated.calibrators
        shares: Floats = scaling.predict(rbf_decisions(machine, self.pipeline[:-1].transform(X)))
        return shares

    def predict(self, X: Floats) -> Ints:
        """Give each row's class index; (n,)."""
        best: Ints = self.scores(X).argmax(axis=1)
        return best


def _rbf_machine(estimator: Any) -> Any:
    """Give the machine inside a calibrated `SVC` with a Gaussian kernel, None of others."""
    machine: Any = getattr(getattr(estimator, "estimator", None), "estimator", None)
    is_rbf = getattr(machine, "kernel", None) == "rbf" and hasattr(machine, "dual_coef_")
    return machine if is_rbf and isinstance(machine.gamma, float) else None


def all_classes(present: Floats, labels: Ints, n_classes: int, score_kind: str) -> Floats:
    """Spread the columns of the classes that train had over all classes.

    Parameters
    ----------
    present : ndarray of shape (n, k)
    labels : ndarray of shape (k,)
        The class index of each column.
    n_classes : int
    score_kind : {"probability", "logit", "score"}
        A class without a column gets 0, minus infinity, or less than the others of its row.

    Returns
    -------
    scores : ndarray of shape (n, n_classes)
    """
    if len(labels) == n_classes:
        return present
    absent = -np.inf if score_kind == "logit" else 0.0
    scores = np.full((len(present), n_classes), absent, dtype=present.dtype)
    if score_kind == "score":
        scores += present.min(axis=1, keepdims=True) - 1
    scores[:, labels] = present
    return scores
