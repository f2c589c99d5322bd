"""What curves of fewer train pictures say: a table, and what twice the pictures would bring."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import Any, NamedTuple

from tlfeat.heads.metric import WORDS
from tlfeat.runs.growth import HELD, LEVEL, Foresight, draw_interval, foresee
from tlfeat.runs.labels import run_labels
from tlfeat.runs.ranked import RankedRun
from tlfeat.runs.results import Column
from tlfeat.runs.shots import ALL, ShotCurve, ShotPoint, Size

TWICE = "twice all"  # title of the last column
_NAMED = 3  # curves that a sentence lists


class Told(NamedTuple):
    """A curve with what it foretells."""

    curve: ShotCurve
    label: str  # what tables call its run
    foresight: Foresight | str  # for twice the pictures, or why there is none


def foretell(curves: Sequence[ShotCurve], labels: Mapping[str, str] | None = None) -> list[Told]:
    """Foretell twice the pictures from each curve.

    Parameters
    ----------
    curves : sequence of ShotCurve
    labels : mapping of str to str, optional
        Run name to what tables call it.
    """
    named = labels or {}
    return [Told(one, named.get(one.name, one.name), _foresight(one)) for one in curves]


def _foresight(curve: ShotCurve) -> Foresight | str:
    if curve.measured < curve.asked:
        return (
            f"{curve.measured:,} of {curve.asked:,} draws are measured, and the same command goes "
            "on with the others"
        )
    return foresee(curve)


def shot_labels(ranked: Sequence[RankedRun]) -> dict[str, str]:
    """Give what tables of shots call runs: of several seeds the first was drawn for."""
    labels = run_labels(ranked)
    several = [run for run in ranked if len(run.seeds) > 1]
    return labels | {run.name: f"{labels[run.name]}, seed {run.seeds[0].seed}" for run in several}


def shot_values(curves: Sequence[ShotCurve]) -> list[dict[str, Any]]:
    """Give curves and what they foretell as plain values, for scripts."""
    values = []
    for told in foretell(curves):
        curve, foresight = told.curve, told.foresight
        reason = foresight if isinstance(foresight, str) else None
        values.append(
            {
                "run": curve.name,
                "id": curve.run,
                "split": curve.split,
                "n": curve.n_judged,
                "points": [
                    {
                        "shots": point.size,
                        "pictures": point.pictures,
                        "accuracies": list(point.accuracies),
                        "interval": draw_interval(curve, point),
                    }
                    for point in curve.points
                ],
                "twice": None if isinstance(foresight, str) else asdict(foresight),
                "no_range": reason,
                "refused": list(curve.refused),
            }
        )
    return values


def shot_table(told: Sequence[Told]) -> list[Column]:
    """Give the table that people read: a row a run, a column a size.

    Parameters
    ----------
    told : sequence of Told
        At least one.
    """
    points = [{point.size: point for point in one.curve.points} for one in told]
    columns = [Column("run", [one.label for one in told], is_number=False)]
    for size in _sizes(told):
        there = [one.get(size) for one in points]
        title = ALL if size == ALL else f"{size} a class"
        cells = [
            "-" if point is None else _cell(one.curve, point)
            for one, point in zip(told, there, strict=True)
        ]
        columns.append(Column(title, cells))
    ranges = ["-" if isinstance(one.foresight, str) else _range(one.foresight) for one in told]
    columns.append(Column(TWICE, ranges))
    return columns


def _sizes(told: Sequence[Told]) -> list[Size]:
    sizes = {point.size: point.pictures for one in told for point in one.curve.points}
    return sorted(sizes, key=lambda size: (size == ALL, sizes[size]))


def _cell(curve: ShotCurve, point: ShotPoint) -> str:
    """Write a mean, and half of the interval that train sets of its size would spread over."""
    ends = draw_interval(curve, point)
    mean = f"{100 * point.mean:.1f}"
    return mean if ends is None else f"{mean} ±{100 * (ends[1] - ends[0]) / 2:.1f}"


def _range(foresight: Foresight) -> str:
    return f"{100 * foresight.low:.1f}–{100 * foresight.high:.1f}"


def shot_caption(told: Sequence[Told], ranked: Sequence[RankedRun] = ()) -> str:
    """Say what the figures of the table are.

    Parameters
    ----------
    told : sequence of Told
        At least one.
    ranked : sequence of RankedRun
        What they are beside, which another metric may rank.
    """
    first = told[0].curve
    metric = ranked[0].standing.metric if ranked else "accuracy"
    other = "" if metric == "accuracy" else f" Runs are ranked by {WORDS[metric]}, not by this."
    draws = [len(point.accuracies) for one in told for point in one.curve.points]
    return (
        f"Right on the same {first.n_judged:,} {first.split} pictures, %, by train pictures a "
        f"class, all being {first.n_train:,}: the mean of up to {max(draws)} draws, and ± where "
        f"{LEVEL:.0%} of other train sets as large would be. Features and settings are chosen "
        f"anew for each draw.{other}"
    )


def shot_sentences(told: Sequence[Told]) -> list[str]:
    """Say what twice the pictures would bring, for the first that a range can be given for.

    Parameters
    ----------
    told : sequence of Told
        Best by validation first.
    """
    sentences = []
    ranges = [one for one in told if isinstance(one.foresight, Foresight)]
    if ranges:
        sentences.append(_foretold(ranges[0]))
    without: dict[str, list[str]] = {}
    for one in told:
        if isinstance(one.foresight, str):
            without.setdefault(one.foresight, []).append(one.label)
    for reason, names in without.items():
        sentences.append(f"No range for {_listed(names)}: {reason}.")
    refused = {text: one.label for one in reversed(told) for text in one.curve.refused}
    sentences += [f"{name}, at some sizes: {text}" for text, name in refused.items()]
    if any(one.curve.split == "validation" for one in told):
        sentences.append(
            "There are no test pictures: these are the validation pictures, which chose the "
            "settings too, and flatter all sizes."
        )
    return sentences


def _foretold(one: Told) -> str:
    curve, foresight = one.curve, one.foresight
    assert isinstance(foresight, Foresight)
    now = curve.points[-1].mean
    where = "below" if now < foresight.low else "above" if now > foresight.high else "within"
    change = {
        "below": "more would help",
        "within": "no gain is shown",
        "above": "a loss is foretold",
    }[where]
    return (
        f"Twice the train pictures, {foresight.pictures:,}, would bring {one.label} from "
        f"{100 * now:.1f}% to between {100 * foresight.low:.1f} and {100 * foresight.high:.1f}% "
        f"of these {curve.split} pictures: {change}. Where half was hidden, such {LEVEL:.0%} "
        f"ranges held {HELD.held} times of {HELD.of}."
    )


def _listed(names: Sequence[str]) -> str:
    more = len(names) - _NAMED
    text = ", ".join(names[:_NAMED])
    return f"{text} and {more} more" if more > 0 else text
