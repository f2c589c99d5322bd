"""The figures of a study: curves of its fine-tunes, and what each model is made of.

Nothing is computed here. What stands in for something is written under every figure.
"""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

from tlfeat.finetuning.curves import draw_metric
from tlfeat.report.style import BLUE, INK, MUTED, ORANGE, short, styled, write_note

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

# Okabe and Ito's, those that keep apart on white, and no yellow
_COLOURS = (BLUE, ORANGE, "#009e73", "#cc79a7", "#e69f00", "#56b4e9", "#5b3fa0", "#8c564b")
_ROW = 0.44  # inches, of a part of a model
_LETTERS = 11  # an inch, bold and 10 points high
_FROZEN, _TRAINED = "#e4e8ec", "#fbd9c3"


class Curve(NamedTuple):
    """The history of one fine-tune on a picture with others."""

    name: str
    rows: Sequence[dict[str, Any]]  # of history.csv
    begins: int = 0  # epochs of the run that it starts from
    before: Mapping[str, float] = {}
    note: Sequence[str] = ()  # what stands in for what


def draw_panels(
    curve: Curve, panels: Sequence[tuple[str, Sequence[str]]], *, columns: int = 2
) -> "Figure":
    """Draw metrics of one fine-tune, a panel each.

    Parameters
    ----------
    curve : Curve
    panels : sequence of (title, columns of the history)
    columns : int

    Returns
    -------
    figure : matplotlib.figure.Figure
    """
    rows = -(-len(panels) // columns)
    with styled():
        figure = _figure(3.7 * columns, 0.4 + 2.5 * rows)
        axes = figure.subplots(rows, columns, squeeze=False).flat
        for (title, names), ax in zip(panels, axes, strict=False):
            draw_metric(curve.rows, names, title=title, start=dict(curve.before), ax=ax)
        _title(figure, curve.name, curve.note)
    return figure


def draw_pairs(curves: Sequence[Curve], note: Sequence[str]) -> "Figure":
    """Draw accuracy and loss of a few runs, a pair of panels side by side for each."""
    with styled():
        figure = _figure(7.4, 0.4 + 2.3 * len(curves))
        grid = figure.subplots(len(curves), 2, squeeze=False)
        for curve, pair in zip(curves, grid, strict=True):
            for name, ax in zip(("accuracy", "loss"), pair, strict=True):
                title = f"{short(curve.name, 40)}: {name}"
                draw_metric(curve.rows, (name,), title=title, start=dict(curve.before), ax=ax)
        _title(figure, "", note)
    return figure


def draw_multiples(
    curves: Sequence[Curve], metric: str, columns: int, note: Sequence[str]
) -> "Figure":
    """Draw one metric of many runs as small multiples on the same scale.

    Parameters
    ----------
    curves : sequence of Curve
        In rows of `columns`.
    metric : str
        A column of the history, without "val_".
    columns : int
    note : sequence of str
        What stands in for what.

    Returns
    -------
    figure : matplotlib.figure.Figure
    """
    rows = -(-len(curves) // columns)
    with styled():
        figure = _figure(2.5 * columns, 0.7 + 1.75 * rows)
        grid = figure.subplots(rows, columns, squeeze=False, sharex=True, sharey=True)
        for place, ax in enumerate(grid.flat):
            if place >= len(curves):
                ax.set_visible(False)
                continue
            curve = curves[place]
            draw_metric(
                curve.rows, (metric,), title=short(curve.name, 26), start=dict(curve.before), ax=ax
            )
            ax.get_legend().remove()
            ax.set_title(short(curve.name, 26), fontsize=8.5, loc="left")
            ax.grid(axis="y")
            if place + columns < len(curves):
                ax.set_xlabel("")
        grid[0, 0].legend(fontsize=7.5, frameon=False)
        figure.supylabel(metric, fontsize=9)
        _title(figure, "", note)
    return figure


def draw_together(
    curves: Sequence[Curve],
    marks: Mapping[str, tuple[str, int, float]],
    note: Sequence[str],
) -> "Figure":
    """Draw the runs that start from one another on one picture, on one scale of epochs.

    Parameters
    ----------
    curves : sequence of Curve
    marks : mapping of "accuracy" and "loss" to (run, epoch on the picture, value)
        The best accuracy and the least loss, on validation.
    note : sequence of str
        What stands in for what.

    Returns
    -------
    figure : matplotlib.figure.Figure
        Validation in full lines, training in thin ones; a dotted line where fine-tuning begins.
    """
    from matplotlib.ticker import MaxNLocator

    with styled():
        figure = _figure(8.4, 7.0)
        panels = figure.subplots(2, 1, sharex=True)
        for metric, ax in zip(("accuracy", "loss"), panels, strict=True):
            for curve, colour in zip(curves, _cycle(len(curves)), strict=True):
                _one_of_many(ax, curve, metric, colour)
            run, epoch, value = marks[metric]
            word = "best" if metric == "accuracy" else "least"
            ax.plot([epoch], [value], "o", markersize=11, markerfacecolor="none", color=INK)
            ax.set_title(f"{word} {metric}: {value:.3f} in epoch {epoch} of {short(run, 40)}")
            ax.set_ylabel(metric)
            ax.grid(axis="y")
            ax.set_axisbelow(True)
        figure.legend(
            *panels[0].get_legend_handles_labels(),
            loc="outside right upper",
            fontsize=8,
            title="validation\n(thin: training)",
            title_fontsize=8,
            frameon=False,
        )
        panels[1].set_xlabel("epoch, those of the run it starts from included")
        panels[1].xaxis.set_major_locator(MaxNLocator(integer=True))
        _title(figure, "", note)
    return figure


def draw_model(parts: "pd.DataFrame", note: Sequence[str], ax: "Axes | None" = None) -> "Axes":
    """Draw what a model is made of, from pixels to answers.

    Parameters
    ----------
    parts : DataFrame
        part, detail (texts), trained (bool); "name" and "caption" of its `attrs` stand above.
    note : sequence of str
        What stands in for what; nothing is written where `ax` is given.
    ax : Axes, optional

    Returns
    -------
    ax : Axes
    """
    from matplotlib.patches import FancyBboxPatch

    n = len(parts)
    with styled():
        if ax is None:
            figure = _figure(3.9, 0.8 + _ROW * n)
            ax = figure.add_subplot()
            _title(figure, parts.attrs.get("name", ""), note)
        for row, part in enumerate(parts.itertuples()):
            y = n - 1 - row
            box = FancyBboxPatch(
                (0.02, y + 0.14), 0.96, 0.72, boxstyle="round,pad=0,rounding_size=0.03",
                facecolor=_TRAINED if part.trained else _FROZEN, edgecolor="none",
            )  # fmt: skip
            ax.add_patch(box)
            ax.text(0.05, y + 0.5, str(part.part), va="center", fontsize=8.5, weight="bold")
            ax.text(0.95, y + 0.5, str(part.detail), va="center", ha="right", fontsize=7.5)
            if row:
                ax.plot([0.5, 0.5], [y + 0.86, y + 1.14], color=MUTED, linewidth=1)
        ax.set_xlim(0, 1)
        ax.set_ylim(0, n)
        ax.set_axis_off()
        ax.set_title(parts.attrs.get("caption", ""), fontsize=7.5, color=MUTED, weight="normal")
    return ax


def _one_of_many(ax: "Axes", curve: Curve, metric: str, colour: str) -> None:
    epochs = [curve.begins + row["epoch"] for row in curve.rows]
    for column, width, alpha, label in (
        (metric, 0.9, 0.55, None),
        (f"val_{metric}", 1.8, 1.0, curve.name),
    ):
        values = [row[column] for row in curve.rows]
        x = list(epochs)
        if label and metric in curve.before and curve.begins:
            x, values = [curve.begins, *x], [curve.before[metric], *values]
        ax.plot(
            x, values, color=colour, linewidth=width, alpha=alpha, label=label,
            marker="o" if label else None, markersize=3,
        )  # fmt: skip
    if curve.begins:
        ax.axvline(curve.begins, color=colour, linewidth=0.8, linestyle=":")


def _figure(width: float, height: float) -> "Figure":
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(width, height), layout="constrained")
    FigureCanvasAgg(figure)
    return figure


def _title(figure: "Figure", title: str, note: Sequence[str]) -> None:
    if title:
        text = short(title, 70)
        size = min(10, 10 * _LETTERS * figure.get_figwidth() / len(text))
        figure.suptitle(text, fontsize=size, weight="bold", color=INK)
    write_note(figure, note)


def _cycle(n: int) -> list[str]:
    return [_COLOURS[i % len(_COLOURS)] for i in range(n)]
