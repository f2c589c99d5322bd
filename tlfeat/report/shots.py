"""What the page shows of fewer train pictures, from the file of a study: nothing is fitted."""

from collections.abc import Iterable, Sequence
from hashlib import sha256
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from tlfeat.errors import TlfeatError
from tlfeat.report.contents import Part
from tlfeat.report.drawing import Draw
from tlfeat.report.shot_figures import draw_shots
from tlfeat.runs.growth import Foresight, draw_interval, family_lines
from tlfeat.runs.ranked import RankedRun
from tlfeat.runs.shot_words import (
    Told,
    foretell,
    shot_caption,
    shot_labels,
    shot_sentences,
    shot_table,
)
from tlfeat.runs.shots import SHOTS, ShotCurve, ShotFile

if TYPE_CHECKING:
    import pandas as pd

_STEPS = 40  # of a drawn curve


def shots_key(studies: Iterable[Path]) -> list[str]:
    """Digest the files of shots of some studies, for the key of a page."""
    files = [study / SHOTS for study in studies]
    return [sha256(file.read_bytes()).hexdigest() for file in files if file.is_file()]


def shots_section(part: Part, studies: Sequence[Path], draw: Draw) -> dict[str, Any] | None:
    """Draw what is known of fewer train pictures and give what the template shows.

    Parameters
    ----------
    part : Part
    studies : sequence of Path
        Whose files are read: the run that is shown may be of another study than its file.
    draw : callable
        Saves a figure and gives its SVG.

    Returns
    -------
    values : dict, or None
        None where nothing was measured of these runs.
    """
    curves, notes = _curves(part.ranked, studies)
    if not curves:
        return {"notes": notes} if notes else None
    told = foretell(curves, shot_labels(part.ranked))
    return {
        "notes": notes,
        "svg": draw("shots", draw_shots(shot_rows(told))),
        "table": [
            {"title": c.title, "cells": c.cells, "number": c.is_number} for c in shot_table(told)
        ],
        "caption": shot_caption(told, part.ranked),
        "sentences": shot_sentences(told),
    }


def _curves(
    ranked: Sequence[RankedRun], studies: Sequence[Path]
) -> tuple[list[ShotCurve], list[str]]:
    """Read the curves of runs from the files of studies, and what of these cannot be read."""
    found: dict[str, ShotCurve] = {}
    notes = []
    for study in studies:
        try:
            file = ShotFile.read(study)
        except TlfeatError:
            notes.append(
                f"{SHOTS} of {study.name} cannot be read: `tlfeat compare --shots` again."
            )
            continue
        for curve in file.curves(ranked) if file else ():
            known = found.get(curve.run)
            if known is None or len(known.points) < len(curve.points):
                found[curve.run] = curve
    ids = [(run.seeds[0] if run.seeds else run).id for run in ranked]
    return [found[one] for one in ids if one in found], notes


def shot_rows(told: Sequence[Told]) -> "pd.DataFrame":
    """Give the table that `draw_shots` takes.

    Parameters
    ----------
    told : sequence of Told

    Returns
    -------
    table : DataFrame
        run, kind, pictures, value, low, high; kind is "measured", "foretold" or, of the first
        run that has a range, the name of a family of curves.
    """
    import pandas as pd

    rows: list[tuple[str, str, float, float, float, float]] = []
    lines: list[tuple[str, str, float, float, float, float]] = []
    for one in told:
        for point in one.curve.points:
            low, high = draw_interval(one.curve, point) or (np.nan, np.nan)
            rows.append((one.label, "measured", point.pictures, point.mean, low, high))
        seen = one.foresight
        if not isinstance(seen, Foresight):
            continue
        rows.append((one.label, "foretold", seen.pictures, seen.middle, seen.low, seen.high))
        if not lines:
            least = one.curve.points[0].pictures
            sizes = np.geomspace(least, seen.pictures, _STEPS).round().astype(int).tolist()
            for family, values in family_lines(one.curve, sizes).items():
                lines += [
                    (one.label, family, size, float(value), np.nan, np.nan)
                    for size, value in zip(sizes, values, strict=True)
                ]
    names = ["run", "kind", "pictures", "value", "low", "high"]
    return pd.DataFrame(rows + lines, columns=names)
