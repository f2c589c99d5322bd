"""What the template gets of each dataset: tables of text and figures."""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from tlfeat.data.groups import AUTO_GROUPS, GROUPS, NO_GROUPS
from tlfeat.report import figures
from tlfeat.report.answers import answers
from tlfeat.report.card import CARD, draw_card, write_card
from tlfeat.report.commands import commands
from tlfeat.report.contents import Part, duplicates
from tlfeat.report.cost_scatter import costs_section
from tlfeat.report.curves import curve_values
from tlfeat.report.drawing import drawer
from tlfeat.report.found import found
from tlfeat.report.front import front
from tlfeat.report.pair_matrix import pairs_section
from tlfeat.report.phrases import summary
from tlfeat.report.pictures import MOST_PICTURES
from tlfeat.report.shots import shots_section
from tlfeat.runs.caveats import stand_in_lines
from tlfeat.runs.costs import break_even
from tlfeat.runs.labels import relabelled
from tlfeat.runs.record import Run
from tlfeat.runs.results import (
    best_rows,
    leaderboard,
    markdown_table,
    remarks,
)
from tlfeat.runs.statistics import known_intervals

if TYPE_CHECKING:
    import pandas as pd

MOST_ROWS = 200  # of skipped files and duplicates that are named


def section(
    part: Part, folder: Path, number: int, prefix: str, studies: Sequence[Path]
) -> dict[str, Any]:
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
    studies : sequence of Path
        Folders that may hold what was measured of the runs with fewer train pictures.

    Returns
    -------
    values : dict
    """
    best, dataset = part.ranked[0], part.ranked[0].dataset
    draw = drawer(folder, prefix, stand_in_lines(part.ranked))
    accuracies = _accuracies(part)
    draw("leaderboard", figures.draw_leaderboard(accuracies))
    first, card = front(part), folder.parent / f"{prefix}{CARD}"
    name = Path(dataset.source).name or dataset.source
    said = {key: first[key] for key in ("facts", "verdict", "doubts")}
    write_card(card, draw_card(accuracies, title=name, **said))
    values: dict[str, Any] = {
        "number": number,
        "name": name,
        "card": card.name,
        "split": part.split,
        "n": len(part.facts) if part.facts is not None else 0,
        "classes": part.classes,
        "summary": summary(part.ranked, part.pairs, part.labels),
        "remarks": [text for text in remarks(part.ranked) if text not in first["doubts"]],
        "notes": part.notes,
        "table": [
            {"title": c.title, "cells": c.cells, "number": c.is_number}
            for c in leaderboard(part.ranked)
        ],
        "best_rows": best_rows(part.ranked),
        "markdown": "\n".join(markdown_table(part.ranked)),
        "front": first,
        "costs": costs_section(part, draw),
        "shots": shots_section(part, studies, draw),
        "break_even": [
            relabelled(text, part.labels) for text in break_even(part.ranked, part.pairs)
        ],
        "pairs": pairs_section(part),
        "n_curves": len(part.histories),
        "has_test": "test" in best.metrics,
        "curves": curve_values(part, draw),
        "data": _data(part),
        "repeat": _repeat(part),
        "judged": [],
        "most_pictures": MOST_PICTURES,
    }
    if part.predictions and part.facts is not None:
        values |= answers(part, draw)
    values["found"] = found(part, values)
    return values


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
                "top": run.standing.place == 1,
            }
        )
    return pd.DataFrame(rows)


def _ends(run: Run, metric: str) -> tuple[float, float]:
    low, high = known_intervals(run).get("test", {}).get(metric, (np.nan, np.nan))
    return low, high


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
