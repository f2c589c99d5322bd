"""What predictions are worth by a metric, and how sure that is.

Every metric here changes by a sum over rows where the rows are drawn a little differently: the
parts of its value (linearisation, the infinitesimal jackknife). Their spread over clusters of rows
gives the standard error, to first order that of a bootstrap over clusters, without drawing a
thousand times. Of the share of right answers it is the usual one, of ROC AUC DeLong's.
"""

from collections.abc import Mapping, Sequence
from typing import Any, Final, NamedTuple

import numpy as np

from tlfeat.roc import class_areas
from tlfeat.runs.record import Run

_IN_RECORDS: Final = {
    "accuracy": "accuracy",
    "balanced-accuracy": "balanced_accuracy",
    "macro-f1": "f1_macro",
    "log-loss": "log_loss",
    "roc-auc": "roc_auc",
}


class Rows(NamedTuple):
    """What one run says of some rows."""

    ids: np.ndarray  # (n,), str
    true: np.ndarray  # (n,)
    predicted: np.ndarray  # (n,)
    scores: np.ndarray | None  # (n, n_classes)
    losses: np.ndarray  # (n,); infinite where there are no probabilities
    digests: np.ndarray  # (n,), str
    groups: np.ndarray  # (n,), str or None

    def at(self, rows: np.ndarray) -> "Rows":
        """Give some of the rows."""
        scores = None if self.scores is None else self.scores[rows]
        rest = {key: value[rows] for key, value in self._asdict().items() if key != "scores"}
        return Rows(**rest, scores=scores)


class Value(NamedTuple):
    """What rows are worth by a metric, and how that changes with each of them."""

    value: float  # not a number where it is not defined
    parts: np.ndarray  # (n,), of sum 0


def shared_metric(runs: Sequence[Run]) -> str:
    """Give the metric that all heads' settings were chosen by; accuracy where there is none."""
    metrics = chosen_by(runs)
    return metrics[0] if len(metrics) == 1 else "accuracy"


def chosen_by(runs: Sequence[Run]) -> list[str]:
    """Give the metrics that heads' settings were chosen by."""
    return sorted({run.head_settings.metric for run in runs if not run.is_finetune})


def goodness(metric: str, value: float) -> float:
    """Give what is greater the better a value is; least where it is not defined."""
    if np.isnan(value):
        return -np.inf
    return -value if metric == "log-loss" else value


def of_means(metric: str, true: np.ndarray, share: np.ndarray, losses: np.ndarray) -> Value | None:
    """Judge rows by a metric that is a mean of theirs; None where it is none.

    Parameters
    ----------
    metric : str
    true : ndarray of shape (n,)
        Classes.
    share : ndarray of shape (n,)
        Of answers that are right, of several seeds.
    losses : ndarray of shape (n,)

    Returns
    -------
    value : Value or None
    """
    if metric == "accuracy":
        return _mean(share)
    if metric == "log-loss":
        return _mean(losses)
    return _balanced(true, share) if metric == "balanced-accuracy" else None


def measure(metric: str, rows: Rows) -> Value:
    """Judge one run's rows by a metric that is no mean of theirs.

    Parameters
    ----------
    metric : {"macro-f1", "roc-auc"}
    rows : Rows

    Returns
    -------
    value : Value
    """
    if metric == "macro-f1":
        return _macro_f1(rows.true, rows.predicted)
    return _roc_area(rows)


def of_record(metric: str, metrics: Mapping[str, Any], n: float) -> tuple[float, float]:
    """Give a value and its standard error as far as a record tells it.

    The error of a share of n rows stands for that of the other shares; of log loss a record tells
    none, and 0 ties nothing.
    """
    value = metrics[_IN_RECORDS[metric]]
    if value is None:
        return (np.inf if metric == "log-loss" else np.nan), 0.0
    error = 0.0 if metric == "log-loss" else float(np.sqrt(value * (1 - value) / n))
    return float(value), error


def _mean(values: np.ndarray) -> Value:
    mean = float(values.mean())
    if not np.isfinite(mean):
        return Value(mean, np.zeros(len(values)))
    return Value(mean, (values - mean) / len(values))


def _balanced(true: np.ndarray, correct: np.ndarray) -> Value:
    # the mean of k recalls; r_j of n_j rows changes with a row of class j by (right - r_j) / n_j
    _, which, counts = np.unique(true, return_inverse=True, return_counts=True)
    recalls = np.bincount(which, weights=correct) / counts
    parts = (correct - recalls[which]) / counts[which] / len(counts)
    return Value(float(recalls.mean()), parts)


def _macro_f1(true: np.ndarray, predicted: np.ndarray) -> Value:
    # F_j = 2 h_j / (t_j + p_j) of hits, true and predicted rows. A row changes it by
    # (2 hit - F_j (is true + is predicted)) / (t_j + p_j); the mean is over the k that occur.
    k = int(max(true.max(), predicted.max())) + 1
    hit = true == predicted
    both = np.bincount(true, minlength=k) + np.bincount(predicted, minlength=k)
    some = np.maximum(both, 1)
    f1 = 2 * np.bincount(true[hit], minlength=k) / some
    occurring = np.count_nonzero(both)
    parts = 2 * hit / some[true] - f1[true] / some[true] - f1[predicted] / some[predicted]
    return Value(float(f1.sum() / occurring), parts / occurring)


def _roc_area(rows: Rows) -> Value:
    """Judge by the mean area of one class against the rest, over those that can be told apart."""
    parts = np.zeros(len(rows.true))
    if rows.scores is None:
        return Value(float("nan"), parts)
    classes = list(class_areas(rows.true, rows.scores))
    if not classes:
        return Value(float("nan"), parts)
    for one in classes:
        parts += one.parts
    return Value(float(np.mean([one.area for one in classes])), parts / len(classes))
