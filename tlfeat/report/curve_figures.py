"""The figure of a fine-tune: a metric over its epochs."""

from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from tlfeat.finetuning.curves import second_tries
from tlfeat.report.figures import in_style, label_ends
from tlfeat.report.style import MUTED, ORANGE, SKY, new_axes

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.axes import Axes


class Limits(NamedTuple):
    """The ends of axes that curves share."""

    epochs: tuple[float, float]
    values: tuple[float, float]


@in_style
def draw_learning_curves(
    table: "pd.DataFrame",
    metric: str = "loss",
    ax: "Axes | None" = None,
    *,
    limits: Limits | None = None,
) -> "Axes":
    """Draw a metric of train and validation over the epochs, with a mark at each phase.

    Parameters
    ----------
    table : DataFrame
        epoch, phase, mode, the column `metric` and "val_" and that name: history.csv.
    metric : str
    ax : Axes, optional
    limits : Limits, optional
        That it shares with other curves; those of its own values if None.

    Returns
    -------
    ax : Axes
    """
    from matplotlib.ticker import MaxNLocator

    ax = ax or new_axes(4.4, 3.0)
    breaks = second_tries(table[["phase", "mode"]].to_dict("records"))
    epochs = np.insert(table["epoch"].to_numpy(float), breaks, np.nan)
    ends = []
    for column, label, colour, marker in (
        (metric, "train", SKY, "s"),
        (f"val_{metric}", "validation", ORANGE, "o"),
    ):
        values = np.insert(table[column].to_numpy(float), breaks, np.nan)
        ax.plot(epochs, values, color=colour, marker=marker, markersize=3.5, linewidth=1.6)
        there = np.flatnonzero(np.isfinite(values))
        if len(there):
            ends.append((float(values[there[-1]]), label, colour))
    ax.margins(x=0.03, y=0.12)
    if limits is not None:
        ax.set_xlim(limits.epochs)
        ax.set_ylim(limits.values)
    label_ends(ax, float(epochs[-1]), ends)
    starts = table.groupby(["phase", "mode"], sort=False, as_index=False).first()
    for number, row in enumerate(starts.itertuples()):
        at = float(row.epoch) - 0.5  # type: ignore[arg-type]
        if number:
            ax.axvline(at, color=MUTED, linewidth=0.9, linestyle=":")
        if len(starts) > 1:
            ax.annotate(
                str(row.mode),
                (at if number else float(epochs[0]), 1),
                xycoords=("data", "axes fraction"),
                xytext=(3, 3),
                textcoords="offset points",
                fontsize=7.5,
                color=MUTED,
            )
    ax.set_xlabel("epoch")
    ax.set_ylabel(metric)
    ax.xaxis.set_major_locator(MaxNLocator(integer=True))
    ax.grid(axis="y")
    return ax
