"""What a run costs, what it gives for it, and which runs nothing beats at both.

Fronts and choices go by validation; what is said of the difference is measured on test.
"""

from collections.abc import Sequence
from itertools import pairwise
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from tlfeat.runs.paired import Pair
from tlfeat.runs.ranked import RankedRun
from tlfeat.runs.record import HEAD, Run

if TYPE_CHECKING:
    import pandas as pd

_BYTES_A_WEIGHT = 4  # float32
_SEEN_MS = 0.05  # of a difference; less is 0.0


class Cost(NamedTuple):
    """One thing that a run costs."""

    column: str  # of the table
    label: str  # of an axis, with the unit
    title: str  # of a column
    word: str  # in a sentence, for a title


COSTS = (
    Cost("train_seconds", "training from nothing, seconds", "train s", "training time"),
    Cost(
        "ms_per_image",
        "one of many pictures, milliseconds",
        "ms/image",
        "time for one of many pictures",
    ),
    Cost("megabytes", "network and head, megabytes", "MB", "size"),
)


def cost_table(ranked: Sequence[RankedRun]) -> "pd.DataFrame":
    """Give a row for each run: how good it is, what it costs, whether it is on a front.

    Parameters
    ----------
    ranked : sequence of RankedRun

    Returns
    -------
    table : DataFrame
        run, kind, validation (accuracy on the rows that all have), test (accuracy, nan where
        there is none), then for each of `COSTS` its column (nan where it was not measured) and
        "front_" and that column.
    """
    import pandas as pd

    table = pd.DataFrame(
        {
            "run": [run.name for run in ranked],
            "kind": [run.kind for run in ranked],
            "validation": [run.standing.accuracy for run in ranked],
            "test": [_accuracy(run, "test") for run in ranked],
            "train_seconds": [train_seconds(run) or np.nan for run in ranked],
            "ms_per_image": [run.ms_per_image or np.nan for run in ranked],
            "megabytes": [model_bytes(run) / 1e6 for run in ranked],
        }
    )
    for cost in COSTS:
        table[f"front_{cost.column}"] = pareto_front(
            table[cost.column].to_numpy(), table["validation"].to_numpy()
        )
    return table


def pareto_front(costs: np.ndarray, values: np.ndarray) -> np.ndarray:
    """Mark what nothing else beats: none costs as little or less and is better.

    Parameters
    ----------
    costs, values : ndarray of shape (n,)
        nan where unknown, which is never on the front.

    Returns
    -------
    front : ndarray of shape (n,), bool

    Examples
    --------
    >>> pareto_front(np.array([1.0, 2.0, 3.0]), np.array([0.8, 0.7, 0.9])).tolist()
    [True, False, True]
    """
    front = np.zeros(len(costs), dtype=bool)
    best = -np.inf
    known = ~(np.isnan(costs) | np.isnan(values))
    for i in np.lexsort((-values, costs)):
        if known[i] and values[i] > best:
            front[i], best = True, values[i]
    return front


def train_seconds(run: Run) -> float | None:
    """Give the seconds from nothing: embedding, search and fit; None where one is not known.

    A head's search and fit are seconds of one processor, whatever else that was doing; embedding
    and fine-tunes are as a clock on the wall says.
    """
    seconds = run.seconds
    extract, fit = seconds.get("extract"), seconds.get("fit")
    if extract is None or fit is None:
        return None
    return float(extract + (seconds.get("search") or 0.0) + fit)


def model_bytes(run: Run) -> float:
    """Give the bytes of what predicts: a fine-tune's file, or the network and a head's file."""
    if run.file_bytes is not None:
        return float(run.file_bytes)
    head = run.path / HEAD
    if not head.exists():
        return float(_BYTES_A_WEIGHT * run.parameters.total)
    frozen = run.parameters.total - run.parameters.trainable
    return float(_BYTES_A_WEIGHT * frozen + head.stat().st_size)


def break_even(ranked: Sequence[RankedRun], pairs: Sequence[Pair]) -> list[str]:
    """Say what more training buys, in right answers of a thousand.

    Parameters
    ----------
    ranked : sequence of RankedRun
        Best by validation first.
    pairs : sequence of Pair
        Of test; the words follow them.

    Returns
    -------
    sentences : list of str
        The best fine-tune against the best head where both kinds are there; then each step
        along the front of training seconds.
    """
    table = cost_table(ranked)
    sentences = []
    heads = [run for run in ranked if not run.is_finetune]
    tuned = [run for run in ranked if run.is_finetune]
    if heads and tuned:
        sentences.append(_step(heads[0], tuned[0], pairs))
    on_front = table[table["front_train_seconds"]].sort_values("train_seconds")["run"]
    by_name = {run.name: run for run in ranked}
    steps = [by_name[str(name)] for name in on_front]
    sentences += [_step(one, other, pairs) for one, other in pairwise(steps)]
    return list(dict.fromkeys(sentences))


def seed_spread(run: RankedRun) -> tuple[float, float, int] | None:
    """Give the spread of a line's test accuracy over its seeds.

    Returns
    -------
    spread : tuple or None
        Lowest and highest accuracy and the number of seeds; None of one seed, or without test.
    """
    values = [_accuracy(one, "test") for one in run.seeds]
    if len(values) < 2 or np.isnan(values).any():
        return None
    return min(values), max(values), len(values)


def _step(one: RankedRun, other: RankedRun, pairs: Sequence[Pair]) -> str:
    """Say what `other` gives over `one`, and for how much."""
    seconds = (train_seconds(other) or 0.0) - (train_seconds(one) or 0.0)
    cost = f"{abs(seconds):,.1f} s {'more' if seconds >= 0 else 'less'} of training"
    a, b = one.ms_per_image, other.ms_per_image
    if a is not None and b is not None:
        more = "more" if b >= a else "less"
        if abs(b - a) >= _SEEN_MS:
            cost += f" and {abs(b - a):.1f} ms {more} for each of many pictures"
    pair = next((p for p in pairs if {p.one, p.other} == {one.name, other.name}), None)
    if pair is None:
        gain = 1000 * (other.standing.accuracy - one.standing.accuracy)
        return (
            f"From {one.name} to {other.name}: {_answers(gain)} of a thousand on validation, "
            f"for {cost}."
        )
    sign = 1 if pair.one == other.name else -1
    ends = sorted(1000 * sign * end for end in (pair.low, pair.high))
    text = (
        f"From {one.name} to {other.name}: {_answers(1000 * sign * pair.difference)} of a "
        f"thousand on test (95% interval {ends[0]:+.0f} to {ends[1]:+.0f}, unadjusted), for {cost}"
    )
    return text + ("." if pair.shown else ": no difference shown.")


def _answers(gain: float) -> str:
    if abs(gain) < 0.5:
        return "as many right answers"
    return f"{abs(gain):.0f} {'more' if gain > 0 else 'fewer'} right answers"


def _accuracy(run: Run, split: str) -> float:
    metrics = run.metrics.get(split)
    return float("nan") if metrics is None else float(metrics["accuracy"])
