"""The first screen of a page: what is tied at the top, how sure that is, and how to use it."""

from collections.abc import Sequence
from typing import Any, Final

import numpy as np

from tlfeat.features.settings import AUTO
from tlfeat.report.contents import Part, RunPredictions, predictions_label
from tlfeat.report.phrases import listed
from tlfeat.runs.calibration import calibration_error
from tlfeat.runs.caveats import doubts
from tlfeat.runs.labels import full_names, relabelled
from tlfeat.runs.ranked import RankedRun
from tlfeat.runs.results import Majority, majority
from tlfeat.runs.statistics import known_intervals

SIX: Final = 6  # mistakes
_WIDE: Final = 200.0  # of a bar's drawing, in its own units
_STEP: Final = 5  # points, to which the axis of the bars is rounded
_FAR: Final = 15  # points below the runs, from which the line of one class is left out
_NAMED: Final = 3  # runs that a title names


def front(part: Part) -> dict[str, Any]:
    """Give what the first screen says of the runs on one dataset.

    Parameters
    ----------
    part : Part

    Returns
    -------
    values : dict
    """
    return {
        "facts": _facts(part),
        "full_names": full_names(part.ranked),
        "doubts": [relabelled(text, part.labels) for text in doubts(part.ranked)],
        "verdict": verdict(part.ranked, part.labels),
        "board": _board(part),
        "sure": _sure(part),
        "best": part.labels[part.ranked[0].name],
    }


def verdict(ranked: Sequence[RankedRun], labels: dict[str, str]) -> str:
    """Name the best run, or those that are tied at the top.

    Parameters
    ----------
    ranked : sequence of RankedRun
        Best by validation first.
    labels : dict
        Run name to what tables call it.

    Returns
    -------
    text : str
    """
    top = [labels[run.name] for run in ranked if run.standing.place == 1]
    if len(ranked) == 1:
        return f"One run: {top[0]}"
    if len(top) == 1:
        return f"Best by validation: {top[0]}"
    if len(top) == len(ranked):
        return f"All {len(top)} are tied: {listed(top, _NAMED)}"
    return f"Tied at the top, {len(top)} of {len(ranked)}: {listed(top, _NAMED)}"


def _facts(part: Part) -> str:
    """Say on what the runs were compared."""
    dataset = part.ranked[0].dataset
    counts = [f"{sum(n.values()):,} {split}" for split, n in dataset.counts.items()]
    runs = "1 run" if len(part.ranked) == 1 else f"{len(part.ranked)} runs"
    backbones = {run.backbone for run in part.ranked}
    features = {AUTO if run.auto else run.features for run in part.ranked}
    of = f" of {backbones.pop()}" if len(backbones) == 1 else ""
    of += f", features {features.pop()}," if len(features) == 1 else ""
    return f"{runs}{of} on {listed(counts)} pictures of {len(part.classes):,} classes."


def _board(part: Part) -> dict[str, Any]:
    """Give the bars that stand in the table: the test accuracy of each row and its interval."""
    uneven = majority(part.ranked[0])
    rows = [_ends(run) for run in part.ranked]
    known = [100 * value for row in rows for value in row if np.isfinite(value)]
    always = _always(uneven)
    if always is not None and always > min(known, default=0.0) - _FAR:
        known.append(always)
    low = _STEP * np.floor(min(known, default=0.0) / _STEP)
    high = max(_STEP * np.ceil(max(known, default=100.0) / _STEP), low + _STEP)

    def at(value: float) -> float:
        return round(float((100 * value - low) / (high - low) * _WIDE), 1)

    bars: list[dict[str, Any] | None] = []
    for value, start, end in rows:
        if not np.isfinite(value):
            bars.append(None)
            continue
        bar = {
            "test": at(value),
            "low": None,
            "width": 0.0,
            "words": f"{100 * value:.1f}% of test",
        }
        if np.isfinite(start):
            bar |= {"low": at(start), "width": round(at(end) - at(start), 1)}
            bar["words"] = f"{bar['words']}, 95% interval {100 * start:.1f} to {100 * end:.1f}"
        bars.append(bar)
    there = any(bar is not None for bar in bars)
    return {
        "after": "test %" if there else None,
        "low": f"{low:.0f}",
        "high": f"{high:.0f}",
        "majority": None if always is None or always < low else at(always / 100),
        "rows": bars,
    }


def _ends(run: RankedRun) -> tuple[float, float, float]:
    value = run.metrics.get("test", {}).get("accuracy", np.nan)
    low, high = known_intervals(run).get("test", {}).get("accuracy", (np.nan, np.nan))
    return value, low, high


def _always(uneven: Majority | None) -> float | None:
    """Give the per cent of test that always naming the largest class has right."""
    text = "" if uneven is None else uneven.cells.get("test %", "")
    return float(text) if text and text != "-" else None


def _sure(part: Part) -> list[str]:
    """Say how well the probabilities of the best run can be believed."""
    if not part.predictions:
        return []
    one = part.predictions[0]
    label = predictions_label(part, one.run)
    if one.calibration is None:
        return [f"{label} gives scores, not probabilities: how sure it is cannot be told."]
    said, right = sure_and_right(one)
    error = calibration_error(one.calibration.bins)
    gap = said - right
    much = (
        "about as often as it says"
        if abs(gap) < _two_errors(one)
        else ("less often than it says" if gap > 0 else "more often than it says")
    )
    lines = [
        f"{label} is {said:.1f}% sure on average and right in {right:.1f}% of {part.split}: "
        f"{much}. Expected calibration error {100 * error:.1f} points."
    ]
    return [*lines, *_losses(part)]


def sure_and_right(one: RunPredictions) -> tuple[float, float]:
    """Give the mean confidence of a run and the share that it has right, in per cent."""
    assert one.calibration is not None
    bins = one.calibration.bins
    share = bins["n"] / bins["n"].sum()
    return (
        float(100 * (share * bins["confidence"]).sum()),
        float(100 * (share * bins["accuracy"]).sum()),
    )


def _two_errors(one: RunPredictions) -> float:
    """Give two standard errors of the share that a run has right, in points."""
    assert one.calibration is not None
    n = float(one.calibration.bins["n"].sum())
    right = sure_and_right(one)[1] / 100
    return float(200 * np.sqrt(max(right * (1 - right), 1 / n) / n))


def _losses(part: Part) -> list[str]:
    """Say where the best run stands by log loss, which the ranks do not show."""
    losses = {
        run.name: run.metrics[part.split]["log_loss"]
        for run in part.ranked
        if run.metrics.get(part.split, {}).get("log_loss") is not None
    }
    best = part.ranked[0].name
    if best not in losses or len(losses) < 2:
        return []
    order = sorted(losses, key=lambda name: losses[name])
    place = order.index(best) + 1
    text = f"Log loss {losses[best]:.3f}"
    if place == 1:
        return [f"{text}, the least of {len(order)} runs."]
    least = order[0]
    return [
        f"{text}, place {place} of {len(order)}: {part.labels[least]} has {losses[least]:.3f}."
    ]
