"""Datasets and runs as one table, for a page of several datasets."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from tlfeat.runs.labels import full_names, run_labels
from tlfeat.runs.ranked import RankedRun
from tlfeat.runs.results import best_rows, place
from tlfeat.runs.statistics import known_intervals


def matrix_values(parts: Sequence[Sequence[RankedRun]]) -> dict[str, Any] | None:
    """Give a row for each dataset and a column for each run; None where there is one dataset.

    Parameters
    ----------
    parts : sequence of sequence of RankedRun
        The runs on each dataset, best by validation first.

    Returns
    -------
    values : dict
        "runs", in the order of their mean places, or of how many datasets they are on and then
        of the mean of those places; "rows"; "means", of each run its mean place on the "complete"
        datasets, those that all runs are on, none where these are fewer than two.
    """
    if len(parts) < 2:
        return None
    labels = run_labels([run for part in parts for run in part])
    by_name = [{run.name: run for run in part} for part in parts]
    places = {
        name: [runs[name].standing.place for runs in by_name if name in runs] for name in labels
    }
    names = sorted(labels, key=lambda name: (-len(places[name]), np.mean(places[name]), name))
    complete = [runs for runs in by_name if len(runs) == len(names)]
    means: list[str] = []
    if len(complete) > 1 and len(names) > 1:
        mean = {name: np.mean([runs[name].standing.place for runs in complete]) for name in names}
        names.sort(key=lambda name: mean[name])
        means = [f"{mean[name]:.1f}" for name in names]
    rows = [_row(number, part, names) for number, part in enumerate(parts)]
    return {
        "runs": [labels[name] for name in names],
        "full_names": full_names([run for part in parts for run in part]),
        "rows": rows,
        "means": means,
        "complete": len(complete),
        "without_test": [row["name"] for row in rows if not row["n"]],
        "metrics": sorted({part[0].standing.by for part in parts}),
    }


def _row(number: int, part: Sequence[RankedRun], names: Sequence[str]) -> dict[str, Any]:
    """Give a dataset with what each run has right of it, None where it was not run."""
    best = {part[i].name for i in best_rows(part)}
    dataset = part[0].dataset
    cells = {run.name: _cell(run, run.name in best) for run in part}
    return {
        "number": number,
        "name": Path(dataset.source).name or dataset.source,
        "classes": len(dataset.classes),
        "n": max(run.metrics.get("test", {}).get("n", 0) for run in part),
        "cells": [cells.get(name) for name in names],
    }


def _cell(run: RankedRun, is_best: bool) -> dict[str, Any]:
    test = run.metrics.get("test")
    ends = known_intervals(run).get("test", {}).get("accuracy")
    return {
        "value": None if test is None else f"{100 * test['accuracy']:.1f}",
        "interval": "" if not ends else f"{100 * ends[0]:.1f}–{100 * ends[1]:.1f}",
        "place": place(run),
        "best": is_best,
    }
