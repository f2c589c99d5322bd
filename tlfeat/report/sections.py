"""What the template gets of each dataset: tables of text, figures, and the script's data."""

import json
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from tlfeat.report import figures
from tlfeat.report.contents import Part, duplicates, predictions_label
from tlfeat.report.phrases import commands, summary
from tlfeat.report.pictures import MISTAKES, MOST_PICTURES
from tlfeat.report.projection import Projection
from tlfeat.report.style import CLASS_COLOURS, apart, save, short, write_note
from tlfeat.runs.costs import COSTS, break_even, cost_table
from tlfeat.runs.record import Run
from tlfeat.runs.results import (
    best_rows,
    caption,
    leaderboard,
    markdown_table,
    remarks,
    stand_in_lines,
)
from tlfeat.runs.statistics import known_intervals

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.axes import Axes

MOST_ROWS = 200  # of skipped files and duplicates that are named
MOST_CURVES = 12  # fine-tunes whose curves are drawn
MOST_CHOSEN = 24  # runs, the best, whose every prediction the page knows
MOST_PAIRS = 300  # rows
_CONFUSIONS = 12  # pairs of classes that the list names
_CALLED = 3  # classes that a picture is said to be called
_WRONG_SHOWN = 60  # pictures that every run gets wrong
_WIDE, _HIGH, _EDGE = 1000, 640, 26  # of the projection, in its own units


def section(
    part: Part, small: Mapping[str, str], folder: Path, number: int, prefix: str
) -> dict[str, Any]:
    """Draw the figures of one dataset and give what the template shows.

    Parameters
    ----------
    part : Part
    small : mapping of str to str
        Digest to the data URI of a small picture.
    folder : Path
        For the figures.
    number : int
        Of the dataset on the page.
    prefix : str
        Of the figures' file names.

    Returns
    -------
    values : dict
    """
    best = part.ranked[0]
    dataset = best.dataset
    stand_ins = stand_in_lines(part.ranked)

    def draw(name: str, ax: "Axes") -> Any:
        from markupsafe import Markup

        figure = ax.get_figure(root=True)
        if figure is not None:
            write_note(figure, stand_ins)
        # Matplotlib escapes what it writes into an SVG.
        return Markup(save(ax, folder / f"{prefix}{name}"))  # noqa: S704

    values: dict[str, Any] = {
        "number": number,
        "name": Path(dataset.source).name or dataset.source,
        "split": part.split,
        "n": len(part.facts) if part.facts is not None else 0,
        "classes": part.classes,
        "summary": summary(part.ranked, part.pairs, part.labels),
        "caption": caption(part.ranked),
        "remarks": remarks(part.ranked),
        "notes": part.notes,
        "table": [
            {"title": c.title, "cells": c.cells, "number": c.is_number}
            for c in leaderboard(part.ranked)
        ],
        "best_rows": best_rows(part.ranked),
        "markdown": "\n".join(markdown_table(part.ranked)),
        "leaderboard": draw("leaderboard", figures.draw_leaderboard(_accuracies(part))),
        "costs": _costs(part, draw),
        "break_even": [_relabel(text, part) for text in break_even(part.ranked, part.pairs)],
        "pairs": _pairs(part)[:MOST_PAIRS],
        "n_pairs": len(part.pairs),
        "pair_tests": list(dict.fromkeys(pair.test for pair in part.pairs)),
        "n_curves": len(part.histories),
        "has_test": "test" in best.metrics,
        "curves": _curves(part, draw),
        "data": _data(part),
        "repeat": _repeat(part),
        "judged": [],
        "pictures": len(small),
        "most_pictures": MOST_PICTURES,
        "json": None,
    }
    if part.predictions and part.facts is not None:
        first, per_class = part.predictions[0], _class_f1(part)
        table = _frame(first.confusion, part)
        values |= {
            "judged": [predictions_label(part, one.run) for one in part.predictions[:MOST_CHOSEN]],
            "n_judged": len(part.predictions),
            "confusion": draw("confusion", figures.draw_confusion(table)),
            "confusions": _largest(first.confusion, part),
            "f1": draw("class-f1", figures.draw_class_f1(per_class)),
            "unseen": sorted(set(part.classes) - set(per_class["class"])),
            "per_class": per_class.sort_values(["f1", "class"]).to_dict("records"),
            "mistakes": _cards(part, part.mistakes(0), small, 0),
            "most_mistakes": MISTAKES,
            "wrong_count": len(part.everywhere_wrong),
            "wrong": _cards(part, part.everywhere_wrong[:_WRONG_SHOWN], small, None),
            "reliability": _reliability(part, draw),
            "projections": [_projection(part, one, draw) for one in part.projections],
            "projected_run": part.labels.get(part.projected_run.name, "")
            if part.projected_run
            else "",
            "json": _for_script(part, small),
        }
    return values


def _relabel(text: str, part: Part) -> str:
    for name in sorted(part.labels, key=len, reverse=True):
        text = text.replace(name, part.labels[name])
    return text


def _accuracies(part: Part) -> "pd.DataFrame":
    import pandas as pd

    rows = []
    for run in part.ranked:
        low, high = _ends(run, "accuracy")
        rows.append(
            {
                "run": part.labels[run.name],
                "value": run.metrics.get("test", {}).get("accuracy", np.nan),
                "low": low,
                "high": high,
                "validation": run.standing.accuracy,
            }
        )
    return pd.DataFrame(rows)


def _ends(run: Run, metric: str) -> tuple[float, float]:
    low, high = known_intervals(run).get("test", {}).get(metric, (np.nan, np.nan))
    return low, high


def _costs(part: Part, draw: Callable[[str, "Axes"], Any]) -> dict[str, Any]:
    table = cost_table(part.ranked)
    table["run"] = [part.labels[name] for name in table["run"]]
    drawn = []
    for cost in COSTS:
        if table[cost.column].notna().any() and table["validation"].notna().any():
            ax = figures.draw_cost(table, cost.column, cost.label)
            front = table[table[f"front_{cost.column}"]].sort_values(cost.column)["run"]
            drawn.append(
                {
                    "word": cost.word,
                    "svg": draw(f"cost-{cost.column.replace('_', '-')}", ax),
                    "front": list(front),
                }
            )
    return {"drawn": drawn, "rows": table.to_dict("records")}


def _pairs(part: Part) -> list[dict[str, Any]]:
    rows = []
    for pair in part.pairs:
        low, high = sorted((100 * pair.low, 100 * pair.high))
        rows.append(
            {
                "one": part.labels[pair.one],
                "other": part.labels[pair.other],
                "only_one": _count(pair.only_one),
                "only_other": _count(pair.only_other),
                "difference": f"{100 * pair.difference + 0.0:+.1f}".replace("-0.0", "+0.0"),
                "interval": f"{low:+.1f} to {high:+.1f}",
                "p": _p(pair.p_adjusted),
                "test": pair.test,
                "shown": pair.shown,
                "words": _relabel(pair.words, part),
            }
        )
    return rows


def _count(pictures: float) -> str:
    """Write a number of pictures; of several seeds it is a sum of shares."""
    return f"{pictures:,.0f}" if pictures == round(pictures) else f"{pictures:,.1f}"


def _p(p: float) -> str:
    return "below 0.001" if p < 0.001 else f"{p:.3f}"


def _frame(confusion: np.ndarray, part: Part) -> "pd.DataFrame":
    import pandas as pd

    return pd.DataFrame(confusion, part.classes, part.outputs[: confusion.shape[1]])


def _largest(confusion: np.ndarray, part: Part) -> list[dict[str, Any]]:
    """Give the commonest mistakes of a confusion matrix."""
    off = confusion.copy()
    off[np.arange(len(off)), np.arange(len(off))] = 0
    rows = []
    for place in np.argsort(-off, axis=None, kind="stable")[:_CONFUSIONS]:
        i, j = divmod(int(place), off.shape[1])
        if not off[i, j]:
            break
        rows.append(
            {
                "true": part.classes[i],
                "predicted": part.outputs[j],
                "n": int(off[i, j]),
                "of": int(confusion[i].sum()),
            }
        )
    return rows


def _class_f1(part: Part) -> "pd.DataFrame":
    """Give precision, recall and F1 of each class for the best run whose pictures are shown."""
    import pandas as pd

    run = part.predictions[0].run
    measured = run.metrics[part.split]["per_class"]
    ends = known_intervals(run)[part.split]["per_class"]
    table = pd.DataFrame(
        [
            {
                "class": name,
                **measured[name],
                "low": ends[name]["f1"][0],
                "high": ends[name]["f1"][1],
            }
            for name in part.classes
            if measured[name]["n"]
        ]
    )
    table.attrs["split"] = part.split
    return table


def _cards(
    part: Part, places: np.ndarray, small: Mapping[str, str], number: int | None
) -> list[dict[str, Any]]:
    """Give pictures with what they are and what a run, or every run, calls them."""
    assert part.facts is not None
    cards = []
    for place in places:
        judges = part.predictions if number is None else [part.predictions[number]]
        predicted = [part.outputs[int(one.predicted[place])] for one in judges]
        card = {
            "id": part.facts.ids[place],
            "true": part.classes[part.facts.true[place]],
            "picture": small.get(part.facts.digests[place]),
            "predicted": _commonest(predicted),
            "sure": "",
        }
        if number is not None:
            card["sure"] = sureness(judges[0].confidence[place], judges[0].run.gives_probabilities)
        cards.append(card)
    return cards


def _commonest(predicted: Sequence[str]) -> str:
    """Name what most runs call a picture.

    >>> _commonest(["hat", "shirt", "hat"]), _commonest(["a", "b", "c", "d", "e"])
    ('hat or shirt', 'a or b or c or 2 others')
    """
    names = [name for name, _ in Counter(predicted).most_common()]
    rest = len(names) - _CALLED
    shown = names if rest <= 1 else [*names[:_CALLED], f"{rest} others"]
    return " or ".join(shown)


def sureness(confidence: float, is_probability: bool) -> str:
    """Write how sure a run is of a prediction."""
    return f"{100 * confidence:.0f}%" if is_probability else f"margin {confidence:.2f}"


def _reliability(part: Part, draw: Callable[[str, "Axes"], Any]) -> dict[str, Any] | None:
    rows, drawn = [], None
    for one in part.predictions:
        found = one.calibration
        if found is None:
            continue
        label = predictions_label(part, one.run)
        if drawn is None:
            bins = found.bins.copy()
            bins.attrs["split"] = part.split
            drawn = {
                "run": label,
                "svg": draw("reliability", figures.draw_reliability(bins)),
            }
        rows.append(
            {
                "run": label,
                "error": f"{100 * found.error:.1f}",
                "temperature": "-" if found.temperature is None else f"{found.temperature:.2f}",
                "after": "-" if found.error_after is None else f"{100 * found.error_after:.1f}",
            }
        )
    without = [part.labels[one.run.name] for one in part.predictions if one.calibration is None]
    return None if drawn is None else {**drawn, "rows": rows, "without": without}


def _curves(part: Part, draw: Callable[[str, "Axes"], Any]) -> list[dict[str, Any]]:
    drawn = []
    for number, (name, history) in enumerate(list(part.histories.items())[:MOST_CURVES]):
        shown = [m for m in ("loss", "accuracy") if m in history and f"val_{m}" in history]
        drawn.append(
            {
                "run": part.labels[name],
                "svgs": [
                    draw(
                        f"curves-{number + 1}-{metric}",
                        figures.draw_learning_curves(history, metric),
                    )
                    for metric in shown
                ],
            }
        )
    return drawn


def _projection(
    part: Part, projection: Projection, draw: Callable[[str, "Axes"], Any]
) -> dict[str, Any]:
    """Draw a projection for the folder, and give its points for the page."""
    import pandas as pd

    assert part.facts is not None
    true = part.facts.true[part.points]
    correct = part.predictions[0].predicted[part.points] == true
    xy = projection.points
    table = pd.DataFrame(
        {
            "x": xy[:, 0],
            "y": xy[:, 1],
            "class": [part.classes[i] for i in true],
            "right": correct,
        }
    )
    table.attrs = {"x_label": projection.x_label, "y_label": projection.y_label}
    draw(f"projection-{projection.name.lower()}", figures.draw_projection(table))
    span = np.maximum(np.ptp(xy, axis=0), 1e-9)
    scaled = (xy - xy.min(axis=0)) / span
    x = _EDGE + scaled[:, 0] * (_WIDE - 2 * _EDGE)
    y = _HIGH - _EDGE - scaled[:, 1] * (_HIGH - 2 * _EDGE)
    few = len(part.classes) <= len(CLASS_COLOURS)
    known = {int(place): i for i, place in enumerate(part.chosen)}
    points = [
        {
            "x": f"{x[i]:.0f}",
            "y": f"{y[i]:.0f}",
            "sample": known.get(int(place), -1),
            "id": part.facts.ids[place],
            "true": part.classes[true[i]],
            "right": bool(correct[i]),
            "colour": CLASS_COLOURS[true[i]] if few else None,
        }
        for i, place in enumerate(part.points)
    ]
    names = []
    if few:
        there = np.unique(true)
        middle = np.array([[np.median(x[true == i]), np.median(y[true == i])] for i in there])
        words = [short(part.classes[i], 22) for i in there]
        for i, word, place in zip(
            there, words, apart(middle, [12 * len(word) for word in words], 30), strict=True
        ):
            names.append(
                {
                    "x": f"{place[0]:.0f}",
                    "y": f"{place[1]:.0f}",
                    "name": word,
                    "full": part.classes[i],
                    "colour": CLASS_COLOURS[i],
                }
            )
    return {
        "name": projection.name,
        "x_label": projection.x_label,
        "y_label": projection.y_label,
        "wide": _WIDE,
        "high": _HIGH,
        "points": points,
        "names": names,
    }


def _data(part: Part) -> dict[str, Any]:
    dataset, split = part.ranked[0].dataset, part.ranked[0].split
    counts = dataset.counts
    skipped = {one["id"]: one["reason"] for run in part.ranked for one in run.dataset.skipped}
    same = duplicates(part.predictions[0].run) if part.predictions else []
    clashes = [pictures for pictures in same if len({name for _, name in pictures}) > 1]
    return {
        "source": dataset.source,
        "kind": dataset.kind,
        "rule": split.rule,
        "seed": split.seed,
        "splits": list(counts),
        "rows": [(name, [counts[s].get(name, 0) for s in counts]) for name in part.classes],
        "totals": [sum(counts[s].values()) for s in counts],
        "skipped": list(skipped.items())[:MOST_ROWS],
        "n_skipped": len(skipped),
        "duplicates": same[:MOST_ROWS],
        "n_duplicates": len(same),
        "n_clashes": len(clashes),
        "most_rows": MOST_ROWS,
    }


def _repeat(part: Part) -> dict[str, Any]:
    every = [(line, run) for line in part.ranked for run in line.seeds]
    recipes = [
        _as_text(rule.as_dict()) for _, run in every for rule in run.recipes or [run.pictures]
    ]
    runs = [
        {
            "label": part.labels[line.name],
            "id": run.id,
            "seed": run.seed,
            "created": run.created,
            "settings": _as_text(run.settings),
        }
        for line, run in every
    ]
    machines = {json.dumps(run.machine): run.machine for _, run in every}
    versions = {json.dumps(run.versions): run.versions for _, run in every}
    source = part.ranked[0].dataset.source
    return {
        "commands": commands([run for _, run in every], source),
        "tuned": any(run.is_finetune for _, run in every),
        "recipes": list(dict.fromkeys(recipes)),
        "runs": runs,
        "machines": list(machines.values()),
        "versions": list(versions.values()),
    }


def _as_text(values: Mapping[str, Any]) -> str:
    return json.dumps(values, indent=1, ensure_ascii=False)


def _for_script(part: Part, small: Mapping[str, str]) -> dict[str, Any]:
    """Give the data of the confusion matrices, the mistakes and the projection."""
    assert part.facts is not None
    chosen = part.chosen
    digests = part.facts.digests[chosen]
    pictures = list(dict.fromkeys(d for d in digests if d in small))
    place = {digest: i for i, digest in enumerate(pictures)}
    runs = []
    known = {int(p): i for i, p in enumerate(chosen)}
    for number, one in enumerate(part.predictions[:MOST_CHOSEN]):
        i, j = np.nonzero(one.confusion)
        runs.append(
            {
                "name": predictions_label(part, one.run),
                "probability": one.run.gives_probabilities,
                "cells": np.column_stack([i, j, one.confusion[i, j]]).tolist(),
                "predicted": one.predicted[chosen].tolist(),
                "sure": [float(f"{value:.3g}") for value in one.confidence[chosen]],
                "mistakes": [known[int(p)] for p in part.mistakes(number) if int(p) in known],
            }
        )
    return {
        "classes": part.classes,
        "outputs": part.outputs,
        "split": part.split,
        "known": len(chosen) == len(part.facts),
        "ids": part.facts.ids[chosen].tolist(),
        "true": part.facts.true[chosen].tolist(),
        "picture": [place.get(digest, -1) for digest in digests],
        "pictures": [small[digest] for digest in pictures],
        "runs": runs,
    }
