"""What the template gets of each dataset: tables of text and figures."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from tlfeat.data.groups import AUTO_GROUPS, GROUPS, NO_GROUPS
from tlfeat.report import figures
from tlfeat.report.answers import Draw, answers
from tlfeat.report.commands import commands
from tlfeat.report.contents import Part, duplicates
from tlfeat.report.phrases import summary
from tlfeat.report.pictures import MOST_PICTURES
from tlfeat.report.shots import shots_section
from tlfeat.report.style import save, write_note
from tlfeat.runs.caveats import stand_in_lines
from tlfeat.runs.costs import COSTS, break_even, cost_table
from tlfeat.runs.record import Run
from tlfeat.runs.results import (
    best_rows,
    caption,
    leaderboard,
    markdown_table,
    remarks,
)
from tlfeat.runs.statistics import known_intervals

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.axes import Axes

MOST_ROWS = 200  # of skipped files and duplicates that are named
MOST_CURVES = 12  # fine-tunes whose curves are drawn
MOST_PAIRS = 300  # rows


def section(part: Part, folder: Path, number: int, prefix: str) -> dict[str, Any]:
    """Draw the figures of one dataset and give what the template shows.

    Parameters
    ----------
    part : Part
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
        "shots": shots_section(part.ranked, part.labels, draw),
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
        "most_pictures": MOST_PICTURES,
    }
    if part.predictions and part.facts is not None:
        values |= answers(part, draw)
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


def _costs(part: Part, draw: Draw) -> dict[str, Any]:
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


def _curves(part: Part, draw: Draw) -> list[dict[str, Any]]:
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
        "groups": _groups(dataset.asked.get("groups")),
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


def _groups(asked: str | None) -> str:
    """Say what the groups were asked to be; nothing where they are as the source has them."""
    words = {None: "", NO_GROUPS: "not taken from the source"}
    words[AUTO_GROUPS] = f"found by what is in the pictures ({GROUPS})"
    return words.get(asked, f"as {asked} has them")


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
