"""The curves of a run's epochs, with a mark where a new phase begins.

Each function takes the rows of a history and gives the Axes that it drew on; nothing is computed.
"""

from collections.abc import Mapping, Sequence
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from tlfeat.files import replacing

if TYPE_CHECKING:
    from matplotlib.axes import Axes

CURVES: Final = "curves.png"
_ABOVE_MARKS: Final = 16  # points that the title stands above the axes
_TRAIN, _VALIDATION = "#0072B2", "#D55E00"  # told apart by colour-blind readers
_PANELS: Final = (
    ("accuracy", ("accuracy",)),
    ("loss", ("loss",)),
    ("precision and recall", ("precision", "recall")),
    ("F1", ("f1",)),
)


def draw_metric(
    history: Sequence[dict[str, Any]],
    names: Sequence[str],
    *,
    title: str = "",
    start: dict[str, float] | None = None,
    ax: "Axes | None" = None,
) -> "Axes":
    """Draw metrics of train and validation over the epochs.

    Parameters
    ----------
    history : sequence of dict
        Rows of history.csv.
    names : sequence of str
        Columns such as "loss", without "val_".
    title : str
    start : dict, optional
        The validation metrics before the first step; a ring at epoch 0.
    ax : matplotlib.axes.Axes, optional
        A new figure's if None.

    Returns
    -------
    ax : matplotlib.axes.Axes
    """
    from matplotlib.figure import Figure
    from matplotlib.ticker import MaxNLocator

    if ax is None:
        ax = Figure(figsize=(5, 3.5), layout="constrained").add_subplot()
    breaks = second_tries(history)
    epochs = np.insert(np.array([row["epoch"] for row in history], float), breaks, np.nan)
    for name, line in zip(names, ("-", "--"), strict=False):
        word = f" {name}" if len(names) > 1 else ""
        for prefix, split, colour in (("", "train", _TRAIN), ("val_", "validation", _VALIDATION)):
            values = np.array([row[prefix + name] for row in history], float)
            values = np.insert(values, breaks, np.nan)
            ax.plot(
                epochs, values, line, color=colour, marker="o", markersize=3, label=split + word
            )
        if start and name in start:
            ax.plot([0], [start[name]], "o", color=_VALIDATION, markerfacecolor="none")
    marked = _mark_phases(ax, history)
    ax.set_title(
        title or ", ".join(names), fontsize=10, loc="left", pad=_ABOVE_MARKS if marked else None
    )
    ax.set_xlabel("epoch")
    ax.xaxis.set_major_locator(MaxNLocator(integer=True))
    ax.spines[["top", "right"]].set_visible(False)
    ax.legend(fontsize=8, framealpha=0.8, edgecolor="none")
    return ax


def second_tries(history: Sequence[Mapping[Any, Any]]) -> list[int]:
    """Give the places of epochs that do not go on from the one before, but from an earlier start.

    There a phase is tried once more, and its curve is broken.
    """
    return [
        place
        for place, (before, row) in enumerate(pairwise(history), 1)
        if row["phase"] == before["phase"] and row["mode"] != before["mode"]
    ]


def _mark_phases(ax: "Axes", history: Sequence[dict[str, Any]]) -> int:
    """Draw a line where a phase begins, its mode above the axes; give how many there are."""
    marks = [(row["epoch"] - 0.5, row["mode"]) for before, row in pairwise(history)
             if (row["phase"], row["mode"]) != (before["phase"], before["mode"])]  # fmt: skip
    for at, mode in marks:
        ax.axvline(at, color="0.6", linewidth=1, linestyle=":")
        ax.annotate(
            mode,
            (at, 1),
            xycoords=("data", "axes fraction"),
            xytext=(0, 2),
            textcoords="offset points",
            fontsize=8,
            color="0.4",
            ha="center",
        )
    return len(marks)


def write_curves(
    path: Path, history: Sequence[dict[str, Any]], start: dict[str, float] | None, title: str
) -> None:
    """Draw all curves of a run into one picture."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(10, 7), layout="constrained")
    FigureCanvasAgg(figure)
    for (name, metrics), ax in zip(_PANELS, figure.subplots(2, 2).flat, strict=True):
        draw_metric(history, metrics, title=name, start=start, ax=ax)
    figure.suptitle(title, fontsize=11)
    with replacing(path) as fresh:
        figure.savefig(fresh, dpi=110)
