"""Learning curves of fine-tunes, on axes that they share."""

from collections.abc import Iterable
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from tlfeat.report.contents import Part
from tlfeat.report.curve_figures import Limits, draw_learning_curves
from tlfeat.report.drawing import Draw
from tlfeat.report.style import new_axes, styled

if TYPE_CHECKING:
    import pandas as pd

MOST_CURVES: Final = 12  # fine-tunes whose curves are drawn
METRICS: Final = ("loss", "accuracy")
_LARGE, _SMALL = (4.4, 3.0), (2.9, 2.3)  # inches, of one or two, and of more


def curve_values(part: Part, draw: Draw) -> list[dict[str, Any]]:
    """Draw the curves of a part's best fine-tunes.

    Parameters
    ----------
    part : Part
    draw : callable
        Saves an Axes under a name and gives its picture.

    Returns
    -------
    metrics : list of dict
        The "metric", and under "runs" for each run its name and the picture: all of a metric have
        the same axes.
    """
    shown = list(part.histories.items())[:MOST_CURVES]
    size = _LARGE if len(shown) <= 2 else _SMALL
    values = []
    for metric in METRICS:
        tables = {
            number: (name, table)
            for number, (name, table) in enumerate(shown, 1)
            if {metric, f"val_{metric}"} <= set(table.columns)
        }
        if not tables:
            continue
        limits = shared_limits((table for _, table in tables.values()), metric)
        runs = []
        for number, (name, table) in tables.items():
            with styled():
                ax = new_axes(*size)
            draw_learning_curves(table, metric, ax, limits=limits)
            svg = draw(f"curves-{number}-{metric}", ax)
            runs.append({"run": part.labels[name], "svg": svg})
        values.append({"metric": metric, "runs": runs})
    return values


def shared_limits(tables: "Iterable[pd.DataFrame]", metric: str) -> Limits:
    """Give the range of epochs, and of a metric of train and validation, that holds all curves.

    Parameters
    ----------
    tables : iterable of DataFrame
        See `draw_learning_curves`.
    metric : str

    Returns
    -------
    limits : Limits
        With a margin; from 0 to 1 where no value is finite.
    """
    columns = [metric, f"val_{metric}"]
    every = list(tables)
    values = np.concatenate([table[columns].to_numpy(float).ravel() for table in every])
    epochs = np.concatenate([table["epoch"].to_numpy(float) for table in every])
    return Limits(_around(epochs, 0.03), _around(values, 0.12))


def _around(values: np.ndarray, margin: float) -> tuple[float, float]:
    values = values[np.isfinite(values)]
    if not len(values):
        return 0.0, 1.0
    low, high = float(values.min()), float(values.max())
    more = margin * (high - low) or 0.5
    return low - more, high + more
