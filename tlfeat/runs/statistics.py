"""How sure a run's figures are: a 95% interval for every metric.

Accuracy, and precision, recall and F1 of a class, are proportions: Wilson's interval,
continuity corrected, because the plain one holds the truth in 92% only where 99 of 100
predictions are right. The macro means have no such formula, and neither has anything where
pictures come in groups: the samples, or whole groups, are drawn again a thousand times, and
Wilson's interval is taken for the number of independent samples that would spread as much.
So a run without a mistake never gets the interval from 100% to 100%.

`benchmarks/bench_intervals.py` counts how often the intervals hold the truth.
"""

import json
import math
from collections.abc import Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from functools import lru_cache
from statistics import NormalDist
from typing import Any

import numpy as np

from tlfeat.cores import usable_cores
from tlfeat.errors import DamagedFile, TlfeatError
from tlfeat.files import write_text
from tlfeat.log_loss import LEAST, log_losses, probabilities
from tlfeat.roc import class_areas
from tlfeat.runs.predictions import SplitPredictions, read_predictions
from tlfeat.runs.ranked import RankedRun
from tlfeat.runs.record import Run
from tlfeat.runs.seal import is_intact, read_record, sealed

METHOD = 4  # raised when a number would come out differently
LEVEL = 0.95
RESAMPLES = 1000
INTERVALS = "intervals.json"  # in the run's folder, so that they are computed once
MEASURED = ("validation", "test")  # a model has seen train: an interval there means nothing
_Z = NormalDist().inv_cdf((1 + LEVEL) / 2)
_BLOCK = 250  # resamples at a time: 25 MB of weights for 25,000 samples

Intervals = Mapping[str, Any]  # shaped like `Run.metrics`, with [low, high] for each value


def wilson(share: np.ndarray | float, n: np.ndarray | float) -> tuple[np.ndarray, np.ndarray]:
    """Give Wilson's 95% interval of a proportion, continuity corrected.

    Parameters
    ----------
    share : ndarray or float
        Observed, 0 to 1.
    n : ndarray or float
        Samples behind it; need not be whole. Without any the interval is 0 to 1.

    Returns
    -------
    low, high : ndarray

    References
    ----------
    Newcombe (1998), Two-sided confidence intervals for the single proportion, Statistics in
    Medicine 17, method 4; the same as scipy.stats.binomtest(...).proportion_ci("wilsoncc"),
    for arrays and for a number of samples that is not whole.

    Examples
    --------
    >>> [round(float(end), 4) for end in wilson(0.97, 100)]
    [0.9085, 0.9922]
    """
    share, n = np.broadcast_arrays(np.asarray(share, float), np.asarray(n, float))
    return _lower(share, n), 1 - _lower(1 - share, n)


def _lower(share: np.ndarray, n: np.ndarray) -> np.ndarray:
    # p the share and q = 1 - p: the lower end is
    # (2 n p + z^2 - 1 - z (z^2 - 2 - 1/n + 4 p (n q + 1))^1/2) / (2 (n + z^2)).
    some = np.maximum(n, 1e-9)
    root = _Z**2 - 2 - 1 / some + 4 * share * (some * (1 - share) + 1)
    low = (2 * some * share + _Z**2 - 1 - _Z * np.sqrt(np.maximum(root, 0))) / (2 * (some + _Z**2))
    return np.where((n <= 0) | (share <= 0), 0.0, np.clip(low, 0, share))


def run_intervals(run: Run) -> Intervals:
    """Give the intervals of a finished run; those computed before are read.

    Parameters
    ----------
    run : Run

    Returns
    -------
    intervals : mapping
        Split to metric to [low, high], and "per_class" to class to metric to [low, high];
        for validation and test, where the run has them.

    Raises
    ------
    TlfeatError
        If the run's predictions cannot be read.
    """
    if isinstance(run, RankedRun) and len(run.seeds) > 1:
        # Seeds agree on most pictures: their mean spreads at most as each of them does.
        mean: Intervals = _mean_ends([run_intervals(one) for one in run.seeds])
        return mean
    path = run.path / INTERVALS
    key = {"method": METHOD, "run": run.id, "created": run.created, "files": run.files or None}
    with suppress(OSError, DamagedFile):
        kept = read_record(path)
        if kept.get("key") == key and is_intact(kept):
            intervals: Intervals = kept["intervals"]
            return intervals
    classes = run.dataset.classes
    found = {
        split: split_intervals(read_predictions(run, split), run.metrics[split], classes)
        for split in MEASURED
        if split in run.metrics
    }
    record = sealed({"key": key, "level": LEVEL, "intervals": found})
    text = json.dumps(record, ensure_ascii=False)
    with suppress(TlfeatError):  # a study that is only read: computed again next time
        write_text(path, text + "\n")
    return found


def _mean_ends(values: Sequence[Any]) -> Any:
    """Give the means of intervals that are shaped alike; of what only some have, none."""
    if isinstance(values[0], Mapping):
        keys = [key for key in values[0] if all(key in value for value in values)]
        return {key: _mean_ends([value[key] for value in values]) for key in keys}
    return np.mean(values, axis=0).tolist()


def known_intervals(run: Run) -> Intervals:
    """Give the intervals of a finished run; none where its predictions are gone."""
    try:
        return run_intervals(run)
    except TlfeatError:
        return {}


def keep_intervals(runs: Iterable[Run]) -> None:
    """Compute the intervals of several runs side by side, for those who ask for them later."""
    first, *rest = [one for run in runs for one in (getattr(run, "seeds", ()) or (run,))]
    known_intervals(first)  # which draws the resamples that the others use too
    if rest:
        with ThreadPoolExecutor(usable_cores()) as pool:
            list(pool.map(known_intervals, rest))


def split_intervals(
    predictions: SplitPredictions, metrics: Mapping[str, Any], classes: Sequence[str]
) -> dict[str, Any]:
    """Give the interval of every metric of one split.

    Parameters
    ----------
    predictions : SplitPredictions
        With scores.
    metrics : mapping
        What `tlfeat.runs.metrics.evaluate` gave for it.
    classes : sequence of str
        Those of the dataset; a network may have more outputs.

    Returns
    -------
    intervals : dict
        Metric to [low, high]; "per_class" to class to metric to [low, high].

    References
    ----------
    Korn and Graubard (1998), Confidence intervals for proportions with small expected number
    of positive counts estimated from survey data, Survey Methodology 24: the effective number
    of samples. F1 of a class is 2 J / (1 + J) of the share J of hits among all samples that
    are of the class or are called so.
    DeLong, DeLong and Clarke-Pearson (1988), Biometrics 44: the variance of ROC AUC.
    Zou and Donner (2008), Construction of confidence limits about effect measures: a general
    approach, Statistics in Medicine 27: log loss, from the interval of the share of mistakes;
    means over classes, from the classes' intervals, where those are wider than the bootstrap.
    """
    k, scores = len(classes), predictions.scores
    resampled = _Resampled(predictions, k if scores is None else max(k, scores.shape[1]))
    accuracy = resampled.of_share(metrics["accuracy"], resampled.n, resampled.accuracy)
    found: dict[str, Any] = {"accuracy": accuracy}
    if metrics["log_loss"] is not None and scores is not None:
        found["log_loss"] = _log_loss_interval(predictions, scores, resampled.clusters, accuracy)
    if metrics["roc_auc"] is not None and scores is not None:
        found["roc_auc"] = _auc_interval(predictions, scores, metrics["roc_auc"], resampled)
    per_class = {name: _class_intervals(resampled, i) for i, name in enumerate(classes)}
    found |= _macro_intervals(resampled, metrics, per_class)
    if "positive" in metrics:
        found |= per_class[metrics["positive"]]
    found["per_class"] = per_class
    return found


def accuracy_interval(predictions: SplitPredictions) -> tuple[float, float]:
    """Give the 95% interval of the share that is right, as `split_intervals` does.

    Parameters
    ----------
    predictions : SplitPredictions
        Of one sample or more; those of one group, or one picture, count as one.

    Returns
    -------
    low, high : float
    """
    k = int(max(predictions.true.max(), predictions.predicted.max())) + 1
    resampled = _Resampled(predictions, k)
    right = float(predictions.share_correct.mean())
    low, high = resampled.of_share(right, resampled.n, resampled.accuracy)
    return low, high


def _class_intervals(resampled: "_Resampled", i: int) -> dict[str, list[float]]:
    true, predicted, hits = resampled.observed[:, i]
    ends = {
        metric: resampled.of_share(_share(hits, whole), whole, drawn[:, i])
        for metric, whole, drawn in (
            ("precision", predicted, resampled.precision),
            ("recall", true, resampled.recall),
            ("f1", true + predicted - hits, resampled.jaccard),
        )
    }
    # J = hits / (true + predicted - hits) is a share; F1 = 2 J / (1 + J) only grows with it.
    return {**ends, "f1": [2 * end / (1 + end) for end in ends["f1"]]}


def _macro_intervals(
    resampled: "_Resampled",
    metrics: Mapping[str, Any],
    per_class: Mapping[str, Mapping[str, Sequence[float]]],
) -> dict[str, list[float]]:
    """Give the intervals of means over classes: the wider of the bootstrap's and the classes'."""
    (true, predicted, _), (drawn_true, drawn_predicted, _) = resampled.observed, resampled.drawn
    occurs = true + predicted > 0
    # Precision of a class that nothing was called is 0, as in `evaluate`.
    precision, recall = resampled.precision, resampled.recall
    filled = np.where(np.isnan(precision) & (drawn_true > 0), 0.0, precision)
    recalled = np.where(np.isnan(recall) & (drawn_predicted > 0), 0.0, recall)
    found = {}
    for name, metric, drawn, of in (
        ("balanced_accuracy", "recall", recall, true > 0),
        ("precision_macro", "precision", filled, occurs),
        ("recall_macro", "recall", recalled, occurs),
        ("f1_macro", "f1", resampled.f1, occurs),
    ):
        means = resampled.of_mean(metrics[name], resampled.n, _row_means(drawn[:, of]))
        parts = [
            (metrics["per_class"][one][metric], ends[metric])
            for (one, ends), there in zip(per_class.items(), of[: len(per_class)], strict=True)
            if there
        ]
        apart = _mean_of(parts, metrics[name])
        found[name] = [min(means[0], apart[0]), max(means[1], apart[1])]
    return found


def _mean_of(parts: Sequence[tuple[float, Sequence[float]]], mean: float) -> list[float]:
    """Give the interval of a mean over classes from each class's value and interval.

    A class with two pictures hardly spreads when they are drawn again; its own interval says
    how little it tells.
    """
    # Taken as independent, the distances of k classes to their ends add up as squares; that of
    # their mean is (sum of (value - end)^2)^1/2 / k.
    below = math.sqrt(sum((value - ends[0]) ** 2 for value, ends in parts)) / len(parts)
    above = math.sqrt(sum((ends[1] - value) ** 2 for value, ends in parts)) / len(parts)
    return [max(mean - below, 0.0), min(mean + above, 1.0)]


class _Resampled:
    """Sums by class of samples, or whole groups, drawn again with replacement.

    `observed` and `drawn` are the number of samples that are of each class, that are called
    so, and both: arrays of shape (3, n_classes) and (3, RESAMPLES, n_classes).
    """

    def __init__(self, predictions: SplitPredictions, k: int) -> None:
        from scipy.sparse import coo_array, vstack

        self.n, correct = len(predictions), predictions.correct
        self.grouped = predictions.clusters is not None
        clusters = np.arange(self.n) if predictions.clusters is None else predictions.clusters
        self.clusters, self.n_clusters = clusters, int(clusters.max()) + 1
        parts = [
            coo_array(
                (np.ones(len(label)), (label, cluster)),
                shape=(k, self.n_clusters),
                dtype=np.float32,
            )
            for label, cluster in (
                (predictions.true, clusters),
                (predictions.predicted, clusters),
                (predictions.true[correct], clusters[correct]),
            )
        ]
        # T (3 k, n_clusters) counts by class and cluster, W (n_clusters, RESAMPLES) how often
        # each cluster was drawn: T W are the counts of every resample, T 1 those observed.
        table = vstack(parts).tocsr()
        self.observed = np.asarray(table.sum(axis=1)).reshape(3, k)
        weights = resampling(self.n_clusters)
        drawn = np.hstack(
            [
                table @ weights[:, start : start + _BLOCK].astype(np.float32)
                for start in range(0, RESAMPLES, _BLOCK)
            ]
        )
        self.drawn = drawn.T.reshape(RESAMPLES, 3, k).transpose(1, 0, 2)
        true, predicted, hits = self.drawn
        self.accuracy = hits.sum(axis=1) / true.sum(axis=1)
        with np.errstate(divide="ignore", invalid="ignore"):
            self.recall, self.precision = hits / true, hits / predicted
            self.f1 = 2 * hits / (true + predicted)
            self.jaccard = hits / (true + predicted - hits)
        # Few groups, or few with a mistake in them, tell little of their own spread.
        mistaken = len(np.unique(clusters[~correct]))
        self.few = _student(min(self.n_clusters - 1, mistaken + 2))

    def of_share(self, value: float, n: float, drawn: np.ndarray) -> list[float]:
        """Give the interval of a share of `n` samples: Wilson's, where they stand alone."""
        if self.grouped and n:
            return self.of_mean(value, n, drawn)
        return [float(end) for end in wilson(value, n)]

    def of_mean(self, value: float, most: float, drawn: np.ndarray) -> list[float]:
        """Give Wilson's interval for as many samples as would spread like what was drawn.

        p (1 - p) / m is the variance of a share p of m independent samples; so a variance v of
        the drawn means stands for m = p (1 - p) / v samples, at most those that there are.
        """
        spread = float(np.nanvar(drawn))
        if spread <= 0:  # nothing to see a spread in: each group may be one sample
            size: float = min(most, float(self.n_clusters)) if self.grouped else most
        else:
            # Drawing groups again spreads them by one group too little.
            few = self.n_clusters / max(self.n_clusters - 1, 1)
            size = min(most, value * (1 - value) / (spread * few))
        return [float(end) for end in wilson(value, size * (self.few if self.grouped else 1.0))]


def _student(freedom: int) -> float:
    """Give by how much Student's quantile, instead of the normal one, shrinks a sample.

    An interval is as wide as its quantile over the root of the number of samples: t instead of z
    is z with (z / t)^2 of them.
    """
    from scipy.special import stdtrit

    return (_Z / float(stdtrit(max(freedom, 1), (1 + LEVEL) / 2))) ** 2


@lru_cache(maxsize=4)
def resampling(n_clusters: int) -> np.ndarray:
    """Draw `n_clusters` of `n_clusters` with replacement, RESAMPLES times, always the same.

    Parameters
    ----------
    n_clusters : int

    Returns
    -------
    weights : ndarray of shape (n_clusters, RESAMPLES), uint8
        How often each was drawn.
    """
    random = np.random.default_rng(n_clusters)
    weights = np.empty((n_clusters, RESAMPLES), dtype=np.uint8)
    for column in range(RESAMPLES):
        drawn = random.integers(0, n_clusters, n_clusters)
        weights[:, column] = np.bincount(drawn, minlength=n_clusters)
    weights.setflags(write=False)
    return weights


def _row_means(values: np.ndarray) -> np.ndarray:
    """Mean of each row over what is defined in it."""
    there = ~np.isnan(values)
    return np.asarray(np.where(there, values, 0).sum(axis=1) / np.maximum(there.sum(axis=1), 1))


def _share(part: float, whole: float) -> float:
    return part / whole if whole else 0.0


def _log_loss_interval(
    predictions: SplitPredictions,
    scores: np.ndarray,
    clusters: np.ndarray,
    accuracy: Sequence[float],
) -> list[float]:
    """Give the interval of log loss: a few sure mistakes make most of it.

    It is the loss of right answers, and for the share of mistakes what a mistake costs more.
    The share has its own interval, which does not end where no mistake was seen; the two parts'
    distances to their ends are added as squares.
    """
    n = len(predictions)
    p, losses = probabilities(scores), log_losses(predictions.true, scores)
    wrong = ~predictions.correct
    n_wrong = int(np.count_nonzero(wrong))
    of_right = float(losses[~wrong].mean()) if n_wrong < n else 0.0
    of_wrong = float(losses[wrong].mean()) if n_wrong else of_right
    # What a mistake costs, were there one more: as much as these scores would make it cost.
    another = -np.log(np.maximum(1 - p.max(axis=1), LEAST) / max(p.shape[1] - 1, 1)).mean()
    excess = max((n_wrong * of_wrong + float(another)) / (n_wrong + 1) - of_right, 0.0)
    rest = losses - np.where(wrong, of_wrong, of_right)
    # variance of a mean of clusters that are drawn: sum over clusters (sum of its rest)^2 / n^2
    by_cluster = np.bincount(clusters, weights=rest)
    error = _Z * math.sqrt(float((by_cluster**2).sum())) / n
    share, mean = n_wrong / n, float(losses.mean())
    fewer, more = share - (1 - accuracy[1]), (1 - accuracy[0]) - share
    return [
        max(mean - math.hypot(fewer * excess, error), 0.0),
        mean + math.hypot(more * excess, error),
    ]


def _auc_interval(
    predictions: SplitPredictions, scores: np.ndarray, area: float, resampled: "_Resampled"
) -> list[float]:
    """Give the interval of the mean area of one class against the rest.

    Beside the spread of the mean, each class's own is looked at: of a rare class hardly any
    mistake is seen.
    """
    n, clusters = len(predictions), resampled.clusters
    parts, classes = np.zeros(n), []
    for positive, one, mine in class_areas(predictions.true, scores):
        parts += mine
        mistaken = len(np.unique(clusters[positive & ~predictions.correct]))
        few = _student(min(resampled.n_clusters - 1, mistaken + 2))
        spread = _spread(mine, clusters) if mistaken else 0.0
        n_positive = float(np.count_nonzero(positive))
        classes.append((one, _area_ends(one, spread, n_positive, few)))
    if not classes:
        return [0.0, 1.0]
    k = len(classes)
    low, high = _area_ends(area, _spread(parts / k, clusters), n / k, resampled.few)
    apart = _mean_of(classes, area)
    return [min(low, apart[0]), max(high, apart[1])]


def _spread(parts: np.ndarray, clusters: np.ndarray) -> float:
    return float((np.bincount(clusters, weights=parts) ** 2).sum())


def _area_ends(area: float, spread: float, least: float, few: float) -> list[float]:
    """Give Wilson's interval of an area; `least` samples where no spread was seen."""
    size = area * (1 - area) / spread if spread > 0 else least
    low, high = wilson(area, size * few)
    return [float(low), float(high)]
