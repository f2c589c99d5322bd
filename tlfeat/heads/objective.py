"""What a search makes small: the errors on held rows, or another measure of them."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final, NamedTuple

import numpy as np

from tlfeat.heads.arrays import Double, Floats, Ints
from tlfeat.heads.temperature import fit_temperature, tempered
from tlfeat.log_loss import log_losses
from tlfeat.roc import roc_area

_NUMBERS: Final = 50_000  # logits that are enough for a temperature to compare settings with


class Judged(NamedTuple):
    """What a setting's scores of some held rows are worth."""

    y: Ints  # (m,), true classes
    predicted: Ints  # (m,)
    log_losses: Double  # (m,), after the temperature that is best for them
    values: Double | None  # (m,), whose mean is to be small; None where it is no mean of rows
    area: float  # under the ROC curve, where that is asked for


class Badness(NamedTuple):
    """How bad a setting is."""

    value: float  # what is to be small, 0 to 1 but for the log loss
    error: float  # its standard error
    log_loss: float


@dataclass(frozen=True)
class Objective:
    """A metric, and how it judges the rows of one data set.

    Attributes
    ----------
    metric : str
        One of `tlfeat.heads.metric.METRICS`.
    counts : ndarray of shape (n_classes,)
        Held rows of each class.
    """

    metric: str
    counts: Ints

    def judge(self, y: Ints, logits: Floats) -> Judged:
        """Judge logits (m, n_classes) of rows whose classes are y (m,)."""
        scores = tempered(logits, fit_temperature(y, logits, most=_NUMBERS))
        return self._judged(y, logits.argmax(axis=1), scores)

    def judge_probabilities(self, y: Ints, scores: Floats) -> Judged:
        """Judge probabilities (m, n_classes) of rows whose classes are y (m,), as they are."""
        return self._judged(y, scores.argmax(axis=1), scores)

    def _judged(self, y: Ints, predicted: Ints, scores: Floats) -> Judged:
        losses = log_losses(y, scores)
        wrong = (predicted != y).astype(np.float64)
        if self.metric == "balanced-accuracy":
            # a row of class j weighs n / (k n_j), so that the mean is that of the classes' errors
            present = np.count_nonzero(self.counts)
            weights = self.counts.sum() / present / np.maximum(self.counts, 1)
            return Judged(y, predicted, losses, wrong * weights[y], 0.0)
        if self.metric == "log-loss":
            return Judged(y, predicted, losses, losses, 0.0)
        if self.metric == "accuracy":
            return Judged(y, predicted, losses, wrong, 0.0)
        area = roc_area(y, scores) or 0.0 if self.metric == "roc-auc" else 0.0
        return Judged(y, predicted, losses, None, area)

    def badness(self, parts: Sequence[Judged]) -> Badness:
        """Give how bad a setting is on all parts together."""
        n = sum(len(part.y) for part in parts)
        log_loss = sum(float(part.log_losses.sum()) for part in parts) / n
        known = [part.values for part in parts if part.values is not None]
        if known:
            values = np.concatenate(known)
            error = float(values.std()) / np.sqrt(n)
            return Badness(float(values.mean()), error, log_loss)
        if self.metric == "macro-f1":
            y = np.concatenate([part.y for part in parts])
            value = 1 - macro_f1(y, np.concatenate([part.predicted for part in parts]))
        else:
            value = 1 - sum(part.area * len(part.y) for part in parts) / n
        return Badness(value, float(np.sqrt(value * (1 - value) / n)), log_loss)

    def score(self, badness: Badness) -> float:
        """Give what a table shows of it: the greater the better."""
        return -badness.value if self.metric == "log-loss" else 1 - badness.value


def macro_f1(y: Ints, predicted: Ints) -> float:
    """Give the mean of the classes' F1 scores, over those that occur or are predicted."""
    from sklearn.metrics import f1_score

    return float(f1_score(y, predicted, average="macro", zero_division=0))
