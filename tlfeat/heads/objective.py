"""What a search makes small: the errors on held rows, or another measure of them."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final, NamedTuple

import numpy as np

from tlfeat.heads.rows import Double, Floats, Ints
from tlfeat.heads.temperature import fit_temperature, tempered
from tlfeat.log_loss import log_losses

METRICS: Final = ("accuracy", "balanced-accuracy", "macro-f1", "log-loss", "roc-auc")


class Judged(NamedTuple):
    """What a setting's scores of some held rows are worth."""

    y: Ints  # (m,), true classes
    predicted: Ints  # (m,)
    losses: Double | None  # (m,), whose mean is to be small; None where it is no mean of rows
    area: float  # under the ROC curve, where that is asked for
    log_loss: float  # sum over the rows; 0 for scores that are no probabilities


class Badness(NamedTuple):
    """How bad a setting is; compared in this order."""

    value: float
    log_loss: float  # where the value is equal


@dataclass(frozen=True)
class Objective:
    """A metric, and how it judges the rows of one data set.

    Attributes
    ----------
    metric : str
        One of `METRICS`.
    counts : ndarray of shape (n_classes,)
        Held rows of each class.
    gives_probabilities : bool
        Whether logits mean something before a temperature divides them.
    """

    metric: str
    counts: Ints
    gives_probabilities: bool

    def judge(self, y: Ints, logits: Floats) -> Judged:
        """Judge logits (m, n_classes) of rows whose classes are y (m,)."""
        predicted = logits.argmax(axis=1)
        wrong = (predicted != y).astype(np.float64)
        log_loss, losses, area = 0.0, wrong, 0.0
        if self.gives_probabilities:
            log_loss = float(log_losses(y, tempered(logits, 1.0)).sum())
        if self.metric == "balanced-accuracy":
            # a row of class j weighs n / (k n_j), so that the mean is that of the classes' errors
            present = np.count_nonzero(self.counts)
            losses = wrong * (self.counts.sum() / present / np.maximum(self.counts, 1))[y]
        elif self.metric == "log-loss":
            best = fit_temperature(y, logits)
            losses = log_losses(y, tempered(logits, best))
        elif self.metric != "accuracy":
            area = roc_area(y, tempered(logits, 1.0)) or 0.0 if self.metric == "roc-auc" else 0.0
            return Judged(y, predicted, None, area, log_loss)
        return Judged(y, predicted, losses, area, log_loss)

    def badness(self, parts: Sequence[Judged]) -> Badness:
        """Give how bad a setting is on all parts together."""
        n = sum(len(part.y) for part in parts)
        log_loss = sum(part.log_loss for part in parts) / n
        if self.metric == "macro-f1":
            y = np.concatenate([part.y for part in parts])
            predicted = np.concatenate([part.predicted for part in parts])
            return Badness(1 - macro_f1(y, predicted), log_loss)
        if self.metric == "roc-auc":
            return Badness(1 - sum(part.area * len(part.y) for part in parts) / n, log_loss)
        losses = sum(float(part.losses.sum()) for part in parts if part.losses is not None)
        return Badness(losses / n, log_loss)


def macro_f1(y: Ints, predicted: Ints) -> float:
    """Give the mean of the classes' F1 scores, over those that occur or are predicted."""
    from sklearn.metrics import f1_score

    return float(f1_score(y, predicted, average="macro", zero_division=0))


def roc_area(y: Ints, scores: Floats) -> float | None:
    """Give the area under the ROC curve, one class against the rest.

    The mean is over the classes that occur, but not everywhere; None where there is none.
    """
    from sklearn.metrics import roc_auc_score

    columns = [1] if scores.shape[1] == 2 else list(range(scores.shape[1]))
    areas = [
        roc_auc_score(y == column, scores[:, column])
        for column in columns
        if 0 < np.count_nonzero(y == column) < len(y)
    ]
    return float(np.mean(areas)) if areas else None
