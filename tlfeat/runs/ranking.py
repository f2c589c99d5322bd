"""Which run is best: by validation, on the rows that all runs have, seeds taken together.

Heads without a validation split are judged out of fold on all of train, fine-tunes on one fold
of it: one number beside the other would compare different pictures. And of several seeds the
luckiest is not the best.
"""

from collections.abc import Collection, Sequence
from typing import NamedTuple

import numpy as np

from tlfeat.errors import TlfeatError
from tlfeat.log_loss import log_losses
from tlfeat.runs.measured import (
    Rows,
    Value,
    goodness,
    measure,
    of_means,
    of_record,
    shared_metric,
)
from tlfeat.runs.predictions import clusters_of, read_predictions
from tlfeat.runs.ranked import RankedRun, Standing, merged_record, seed_families
from tlfeat.runs.record import Run

_SPLIT = "validation"


class _Measured(NamedTuple):
    """What a line is worth on some rows."""

    accuracy: float
    value: float  # of the metric that ranks
    good: float  # the greater the better
    error: float  # standard error of the value
    loss: float  # infinite where there are no probabilities
    n: int


def rank(
    runs: Sequence[Run], asked: Collection[str] | None = None, metric: str | None = None
) -> list[RankedRun]:
    """Order runs, best first: by a metric of validation, then log loss, then name.

    Parameters
    ----------
    runs : sequence of Run
        On one dataset and split, no run twice. Those that differ in their seed alone become one.
    asked : collection of str, optional
        Ids of the runs that were asked for; others never become one with them.
    metric : str, optional
        One of `tlfeat.heads.metric.METRICS`. Usually the one that the settings of all heads were
        chosen by, and accuracy where they were chosen by several.

    Returns
    -------
    ranked : list of RankedRun
        No two of one name. Tied are those within a standard error of the best of them.
    """
    metric = metric or shared_metric(runs)
    families = seed_families([_with_our_log_loss(run) for run in runs], asked)
    names = _names(families)
    rows = _rows_of_all(families, metric)
    if rows is None:
        measured = [_by_record(family, metric) for family in families]
    else:
        measured = [_on_rows(family, rows[1], metric) for family in rows[0]]
    order = sorted(
        range(len(families)),
        key=lambda i: (-measured[i].good, measured[i].loss, names[i]),
    )
    ranked: list[RankedRun] = []
    places = _places([measured[i] for i in order])
    for i, (place, tied) in zip(order, places, strict=True):
        family, worth = families[i], measured[i]
        record = {**merged_record(family), "name": names[i]}
        standing = Standing(
            place,
            tied,
            worth.accuracy,
            worth.error,
            worth.n,
            rows is not None,
            metric,
            worth.value,
        )
        ranked.append(RankedRun.of(family[0].path, record, seeds=tuple(family), standing=standing))
    return ranked


def _with_our_log_loss(run: Run) -> Run:
    """Give a run of an older version the log loss of its predictions, by today's one rule."""
    if run.is_checked or not run.gives_probabilities:
        return run
    metrics = dict(run.metrics)
    for split, measured in metrics.items():
        try:
            predictions = read_predictions(run, split)
        except TlfeatError:
            return run
        if predictions.scores is not None and len(predictions):
            loss = float(log_losses(predictions.true, predictions.scores).mean())
            metrics[split] = {**measured, "log_loss": loss}
    return run.changed(metrics=metrics)


def _names(families: Sequence[Sequence[Run]]) -> list[str]:
    """Name the lines, those of one name told apart by their ids."""
    names = [str(merged_record(family)["name"]) for family in families]
    return [
        name if names.count(name) == 1 else f"{name} ({family[0].id[:6]})"
        for name, family in zip(names, families, strict=True)
    ]


def _places(measured: Sequence[_Measured]) -> list[tuple[int, bool]]:
    """Give places, and which are shared, of lines that are in order."""
    places: list[int] = []
    leader = None
    for i, line in enumerate(measured):
        if leader is None or line.good < leader.good - leader.error:
            leader, place = line, i + 1
        places.append(place)
    return [(place, places.count(place) > 1) for place in places]


def _by_record(family: Sequence[Run], metric: str) -> _Measured:
    """Judge a line by what its records say, where predictions are gone or share no rows."""
    metrics = merged_record(family)["metrics"][_SPLIT]
    value, error = of_record(metric, metrics, metrics["n"])
    loss = np.inf if metrics["log_loss"] is None else metrics["log_loss"]
    good = goodness(metric, value)
    return _Measured(metrics["accuracy"], value, good, error, loss, round(metrics["n"]))


def _rows_of_all(
    families: Sequence[Sequence[Run]], metric: str
) -> tuple[list[list[Rows]], np.ndarray] | None:
    """Read the validation predictions of all runs, and find the rows that each line has.

    Returns
    -------
    rows : list of list of Rows
        Of each seed of each line.
    ids : ndarray of str
        Of the rows that all lines have, in order.
    """
    try:
        rows = [[_rows(run, metric) for run in family] for family in families]
    except TlfeatError:
        return None
    shared: np.ndarray | None = None
    for family in rows:
        ids = np.unique(np.concatenate([seed.ids for seed in family]))
        shared = ids if shared is None else np.intersect1d(shared, ids, assume_unique=True)
    return None if shared is None or not len(shared) else (rows, shared)


def _rows(run: Run, metric: str) -> Rows:
    found = read_predictions(run, _SPLIT)
    losses = np.full(len(found), np.inf)
    if run.gives_probabilities and found.scores is not None:
        losses = log_losses(found.true, found.scores)
    ids = found.ids.astype(np.str_)
    # those of all runs at once would fill the memory where there are many classes
    scores = found.scores if metric == "roc-auc" else None
    return Rows(ids, found.true, found.predicted, scores, losses, found.digests, found.groups)


def _on_rows(family: Sequence[Rows], ids: np.ndarray, metric: str) -> _Measured:
    """Judge a line on some rows: of several seeds, by the mean of those that have a row.

    A metric that is no mean of rows is that of each seed on its rows, and their mean by number.
    """
    correct, loss, often = np.zeros(len(ids)), np.zeros(len(ids)), np.zeros(len(ids))
    digests, groups = np.empty(len(ids), dtype=object), np.empty(len(ids), dtype=object)
    true = np.zeros(len(ids), dtype=np.int64)
    seeds = []
    for seed in family:
        place = np.minimum(np.searchsorted(ids, seed.ids), len(ids) - 1)
        there = ids[place] == seed.ids
        at, mine = place[there], seed.at(there)
        often[at] += 1
        correct[at] += mine.true == mine.predicted
        loss[at] += mine.losses
        true[at], digests[at], groups[at] = mine.true, mine.digests, mine.groups
        seeds.append((at, mine))
    share, losses = correct / often, loss / often
    judged = of_means(metric, true, share, losses)
    if judged is None:
        judged = _over_seeds(metric, seeds, len(ids))
    # parts (n,) of sum 0; G groups of rows that come together, d_g the sum of the parts in each:
    # error^2 = G / (G - 1) * sum_g d_g^2, that of a mean of G draws, whatever their sizes.
    clusters = clusters_of(digests, groups)
    apart = np.bincount(np.arange(len(ids)) if clusters is None else clusters, judged.parts)
    few = len(apart) / max(len(apart) - 1, 1)
    error = float(np.sqrt(few * (apart**2).sum()))
    good = goodness(metric, judged.value)
    accuracy, mean_loss = float(share.mean()), float(losses.mean())
    return _Measured(accuracy, judged.value, good, error, mean_loss, len(ids))


def _over_seeds(metric: str, seeds: Sequence[tuple[np.ndarray, Rows]], n: int) -> Value:
    """Judge each seed on its rows, whose places are given; give the mean."""
    total = sum(len(at) for at, _ in seeds)
    value, parts = 0.0, np.zeros(n)
    for at, mine in seeds:
        if len(at):
            one = measure(metric, mine)
            value += one.value * len(at) / total
            parts[at] += one.parts * len(at) / total
    return Value(value, parts)
