"""The figures of a report: each function takes a table and `ax=None` and gives the Axes.

Nothing is computed here. Sizes grow with what there is to show, so that a figure can be read
with 2 classes and with 101.
"""

from collections.abc import Callable, Sequence
from functools import wraps
from itertools import pairwise
from typing import TYPE_CHECKING, ParamSpec, TypeVar

import numpy as np

from tlfeat.report.style import (
    BLUE,
    CLASS_COLOURS,
    CLASS_MARKERS,
    INK,
    LINE,
    MUTED,
    ORANGE,
    SKY,
    apart,
    new_axes,
    short,
    styled,
)

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.axes import Axes

MANY = 24  # classes from which a confusion matrix has no numbers in its cells
_CROWDED = 60.0  # what a label may hide, in square points, and its distance
_WIDTH = 6.2  # inches, of a figure that fills a page's column

P = ParamSpec("P")
T = TypeVar("T")


def in_style(draw: Callable[P, T]) -> Callable[P, T]:
    """Let a function draw with our settings, whatever the user's own are."""

    @wraps(draw)
    def drawn(*args: P.args, **kwargs: P.kwargs) -> T:
        with styled():
            return draw(*args, **kwargs)

    return drawn


@in_style
def draw_leaderboard(table: "pd.DataFrame", ax: "Axes | None" = None) -> "Axes":
    """Draw the accuracy of every run with its interval, best by validation on top.

    Parameters
    ----------
    table : DataFrame
        run, value, low, high (accuracy on test, 0 to 1; nan where unknown), validation;
        best by validation first.
    ax : Axes, optional

    Returns
    -------
    ax : Axes
    """
    n = len(table)
    ax = ax or new_axes(_WIDTH, 1.1 + 0.34 * n)
    y = np.arange(n)
    value, low, high = (100 * table[name].to_numpy(float) for name in ("value", "low", "high"))
    colours = [ORANGE if i == 0 and n > 1 else BLUE for i in range(n)]
    ax.hlines(y, low, high, colors=colours, linewidth=2.2)
    ax.scatter(value, y, s=42, c=colours, zorder=3, label="test, with 95% interval")
    ax.scatter(
        100 * table["validation"], y, s=30, facecolors="none", edgecolors=MUTED, zorder=2,
        label="validation",
    )  # fmt: skip
    ends = np.fmax(high, 100 * table["validation"].to_numpy(float))
    for row, (end, text) in enumerate(zip(ends, value, strict=True)):
        if np.isfinite(text):
            ax.annotate(
                f"{text:.1f}",
                (end, row),
                xytext=(6, 0),
                textcoords="offset points",
                va="center",
                weight="bold" if row == 0 and n > 1 else "normal",
            )
    ax.set_yticks(y, [short(str(name), 44) for name in table["run"]])
    ax.set_ylim(n - 0.4, -0.6)
    ax.margins(x=0.12)
    ax.set_xlabel("right answers, %")
    ax.grid(axis="x")
    ax.set_axisbelow(True)
    ax.spines["left"].set_visible(False)
    ax.tick_params(axis="y", length=0)
    legend_below(ax)
    return ax


@in_style
def draw_cost(table: "pd.DataFrame", cost: str, label: str, ax: "Axes | None" = None) -> "Axes":
    """Draw validation accuracy against a cost, with the Pareto front.

    Parameters
    ----------
    table : DataFrame
        run, kind, validation (0 to 1), the column `cost` (above 0; nan where unknown), and
        "front_" and that name.
    cost : str
    label : str
        Of the axis, with the unit.
    ax : Axes, optional

    Returns
    -------
    ax : Axes
    """
    from matplotlib.ticker import NullFormatter, StrMethodFormatter

    ax = ax or new_axes(4.2, 3.4)
    known = table[table[cost].notna() & table["validation"].notna()]
    front = known[known[f"front_{cost}"]].sort_values(cost)
    if len(front) > 1:
        ax.step(
            front[cost], 100 * front["validation"], where="post", color=ORANGE, linewidth=1.2,
            linestyle="--", zorder=1,
        )  # fmt: skip
    for kind, marker in (("head", "o"), ("finetune", "s")):
        for on_front, colour in ((False, BLUE), (True, ORANGE)):
            some = known[(known["kind"] == kind) & (known[f"front_{cost}"] == on_front)]
            ax.scatter(
                some[cost], 100 * some["validation"], s=46, c=colour, marker=marker, zorder=3
            )
    values = known[cost]
    if len(values) and values.max() > 20 * values.min():
        ax.set_xscale("log")
        ax.xaxis.set_major_formatter(StrMethodFormatter("{x:,g}"))
        ax.xaxis.set_minor_formatter(NullFormatter())
    ax.margins(x=0.12, y=0.16)
    _label_points(
        ax,
        known[cost].to_numpy(float),
        100 * known["validation"].to_numpy(float),
        [short(str(name), 30) for name in known["run"]],
        known[f"front_{cost}"].to_numpy(bool),
    )
    ax.set_xlabel(label)
    ax.set_ylabel("right on validation, %")
    ax.grid()
    ax.set_axisbelow(True)
    return ax


@in_style
def draw_confusion(table: "pd.DataFrame", ax: "Axes | None" = None) -> "Axes":
    """Draw a confusion matrix: a row a true class, in shares of the row.

    Parameters
    ----------
    table : DataFrame of shape (n_classes, n_outputs), int
        Samples by true class (index) and predicted class (columns).
    ax : Axes, optional

    Returns
    -------
    ax : Axes
    """
    from matplotlib.colors import LinearSegmentedColormap

    counts = table.to_numpy()
    rows, columns = counts.shape
    side = 1.9 + (0.42 * rows if rows <= MANY else 0.125 * rows)
    ax = ax or new_axes(max(side + 0.6, 3.6), max(side, 3.0))
    shares = counts / np.maximum(counts.sum(axis=1, keepdims=True), 1)
    blues = LinearSegmentedColormap.from_list("blues", ["#f3f6f9", SKY, BLUE, "#003a5c"])
    # The square root lets the few mistakes be seen beside the many right answers.
    image = ax.imshow(np.sqrt(shares), cmap=blues, vmin=0, vmax=1, interpolation="nearest")
    image.set_gid("matrix")
    size = 8.5 if rows <= MANY else 5.5
    names = 16 if rows > 8 else 22
    longest = max(len(str(name)) for name in table.columns)
    ax.set_yticks(range(rows), [short(str(c), 22) for c in table.index], fontsize=size)
    ax.set_xticks(
        range(columns), [short(str(c), names) for c in table.columns],
        fontsize=size, rotation=0 if longest <= (3 if rows > 3 else 9) and rows <= MANY else 90,
    )  # fmt: skip
    ax.tick_params(length=0)
    ax.spines[:].set_visible(False)
    if rows <= MANY:
        for i, j in zip(*np.nonzero(counts), strict=True):
            ax.text(
                j, i, f"{counts[i, j]:,}", ha="center", va="center", fontsize=8,
                color=_readable_on(blues(np.sqrt(shares[i, j]))),
            )  # fmt: skip
    else:
        ax.set_xticks(np.arange(columns + 1) - 0.5, minor=True)
        ax.set_yticks(np.arange(rows + 1) - 0.5, minor=True)
        ax.grid(which="minor", color="#ffffff", linewidth=0.25)
        ax.tick_params(which="minor", length=0)
    ax.set_xlabel("predicted")
    ax.set_ylabel("true")
    return ax


@in_style
def draw_class_f1(table: "pd.DataFrame", ax: "Axes | None" = None) -> "Axes":
    """Draw F1 of every class with its interval, the worst on top.

    Parameters
    ----------
    table : DataFrame
        class, f1, low, high (0 to 1), n (samples); "split" in its `attrs`, test if not.
    ax : Axes, optional

    Returns
    -------
    ax : Axes
    """
    table = table.sort_values(["f1", "class"])  # which keeps its attrs
    n = len(table)
    step, size = (0.28, 8.5) if n <= 40 else (0.15, 6.5)
    ax = ax or new_axes(_WIDTH, 0.9 + step * n)
    y = np.arange(n)
    ax.hlines(y, 100 * table["low"], 100 * table["high"], colors=SKY, linewidth=1.8)
    ax.scatter(100 * table["f1"], y, s=30 if n <= 40 else 12, c=BLUE, zorder=3)
    labels = [f"{short(str(c))} ({k:,})" for c, k in zip(table["class"], table["n"], strict=True)]
    ax.set_yticks(y, labels, fontsize=size)
    ax.set_ylim(n - 0.4, -0.6)
    least = float(np.nanmin([100.0, *(100 * table["low"])]))
    ax.set_xlim(max(-1.0, 10 * np.floor((least - 3) / 10)), 101)
    split = table.attrs.get("split", "test")
    ax.set_xlabel(f"F1 on {split}, %, with 95% interval ({split} pictures in brackets)")
    ax.grid(axis="x")
    ax.set_axisbelow(True)
    ax.spines["left"].set_visible(False)
    ax.tick_params(axis="y", length=0)
    return ax


@in_style
def draw_reliability(
    table: "pd.DataFrame", ax: "Axes | None" = None, *, before: "pd.DataFrame | None" = None
) -> "Axes":
    """Draw how often predictions of each confidence are right.

    Parameters
    ----------
    table : DataFrame
        from, to, n, confidence, accuracy, low, high, all from 0 to 1 but n:
        `tlfeat.runs.calibration.reliability`.
    ax : Axes, optional
    before : DataFrame, optional
        The same without the temperature, which is drawn behind it.

    Returns
    -------
    ax : Axes
    """
    ax = ax or new_axes(3.9, 3.7)
    ax.plot([0, 100], [0, 100], color=MUTED, linewidth=1, linestyle="--", zorder=1)
    parts = [table] if before is None else [table, before]
    # a good run is never unsure: the axes begin where there is something to see
    seen = min(one[["confidence", "low", "accuracy"]].to_numpy(float).min() for one in parts)
    least = min(10 * np.floor(10 * seen), 80.0)
    at = least + 0.08 * (100 - least)
    ax.annotate(
        "as sure as right", (at, at), rotation=45, rotation_mode="anchor", fontsize=7.5,
        color=MUTED, xytext=(0, 4), textcoords="offset points",
    )  # fmt: skip
    for place, edge in enumerate((*table["from"], table["to"].iloc[-1])):
        ax.axvline(
            100 * edge, 0, 0.04, color=BLUE if place else MUTED, linewidth=0.8, zorder=0
        )  # where bins end: each holds as many predictions
    if before is not None:
        ax.plot(
            100 * before["confidence"], 100 * before["accuracy"], color=MUTED, marker="o",
            markersize=3.5, markerfacecolor="none", linewidth=1, zorder=2,
            label="without its temperature",
        )  # fmt: skip
        legend_below(ax)
    x = 100 * table["confidence"]
    ax.vlines(x, 100 * table["low"], 100 * table["high"], colors=BLUE, linewidth=1.4, zorder=2)
    ax.plot(x, 100 * table["accuracy"], color=BLUE, marker="o", markersize=4.5, zorder=3)
    ax.set_xlim(least - 1, 101)
    ax.set_ylim(least - 1, 101)
    ax.set_aspect("equal")
    ax.set_xlabel("confidence, %")
    ax.set_ylabel(f"right on {table.attrs.get('split', 'test')}, %, with 95% interval")
    ax.grid()
    ax.set_axisbelow(True)
    return ax


@in_style
def draw_projection(table: "pd.DataFrame", ax: "Axes | None" = None) -> "Axes":
    """Draw features in two dimensions.

    Parameters
    ----------
    table : DataFrame
        x, y, class (name), right (whether the best run is right); the attributes
        "x_label" and "y_label" of `attrs` name the axes.
    ax : Axes, optional

    Returns
    -------
    ax : Axes
        Up to ten classes have a colour and a marker each, named where they lie; with more,
        what the best run gets wrong stands out.
    """
    ax = ax or new_axes(6.4, 4.8)
    classes = list(dict.fromkeys(sorted(table["class"])))
    few = len(classes) <= len(CLASS_COLOURS)
    size = 16 if len(table) > 400 else 26
    if few:
        for name, colour, marker in zip(classes, CLASS_COLOURS, CLASS_MARKERS, strict=False):
            some = table[table["class"] == name]
            ax.scatter(some["x"], some["y"], s=size, c=colour, marker=marker, alpha=0.75, lw=0)
        middle = table.groupby("class")[["x", "y"]].median().loc[classes].to_numpy()
        wide, high = np.ptp(table["x"]), np.ptp(table["y"])
        sizes = [0.022 * wide * min(len(name), 20) for name in classes]
        places = apart(middle, sizes, 0.055 * high)
        for name, colour, place in zip(classes, CLASS_COLOURS, places, strict=False):
            ax.annotate(
                short(name, 20), place, ha="center", va="center", fontsize=8, weight="bold",
                color="#111111",
                bbox={"boxstyle": "round,pad=0.15", "fc": "#ffffffdd", "ec": colour, "lw": 1.4},
            )  # fmt: skip
    else:
        for right, colour, marker, label in (
            (True, SKY, "o", "the best run is right"),
            (False, ORANGE, "X", "the best run is wrong"),
        ):
            some = table[table["right"] == right]
            ax.scatter(some["x"], some["y"], s=size, c=colour, marker=marker, alpha=0.7, lw=0,
                       label=label)  # fmt: skip
        legend_below(ax)
    ax.set_xlabel(table.attrs.get("x_label", "first direction"))
    ax.set_ylabel(table.attrs.get("y_label", "second direction"))
    ax.set_xticks([])
    ax.set_yticks([])
    return ax


def _readable_on(colour: tuple[float, ...]) -> str:
    """Choose white or nearly black text, by the larger contrast (WCAG's relative luminance)."""
    rgb = np.asarray(colour[:3])
    linear = np.where(rgb <= 0.04045, rgb / 12.92, ((rgb + 0.055) / 1.055) ** 2.4)
    return "#ffffff" if linear @ [0.2126, 0.7152, 0.0722] < 0.2 else "#1b1b1b"


def legend_below(ax: "Axes") -> None:
    """Set the legend under the axes."""
    figure = ax.get_figure(root=True)
    assert figure is not None
    handles, labels = ax.get_legend_handles_labels()
    if figure.get_layout_engine() is None:  # somebody else's figure
        ax.legend(handles, labels, fontsize=8)
    else:
        figure.legend(handles, labels, loc="outside upper right", ncols=2, fontsize=8)


def label_ends(ax: "Axes", x: float, ends: Sequence[tuple[float, str, str]]) -> None:
    """Name curves at their last points, moved apart as little as can be where they end together.

    Parameters
    ----------
    ax : Axes
    x : float
        Where the names begin.
    ends : sequence of tuple
        Height, name and colour of each.
    """
    from scipy.optimize import isotonic_regression

    low, high = ax.get_ylim()
    ends = sorted(ends)
    steps = 0.075 * (high - low) * np.arange(len(ends))
    # heights y with gaps s: least squares of z where z rises, z + s for y
    places = isotonic_regression(np.array([y for y, *_ in ends]) - steps).x + steps
    for at, (_, label, colour) in zip(places, ends, strict=True):
        ax.annotate(
            label, (x, at), xytext=(6, 0), textcoords="offset points", va="center",
            fontsize=8.5, color=colour, weight="bold", annotation_clip=False,
        )  # fmt: skip


def _label_points(
    ax: "Axes", x: np.ndarray, y: np.ndarray, labels: Sequence[str], bold: np.ndarray
) -> None:
    """Name points beside them, where it hides the least; those off the front only if it can."""
    if not len(x):
        return
    figure = ax.get_figure(root=True)
    assert figure is not None
    figure.draw_without_rendering()  # places are known once the axes have their scale
    points = ax.transData.transform(np.column_stack([x, y]))
    frame = ax.get_window_extent()
    scale = figure.dpi / 72
    high, wide = 9.5 * scale, 4.6 * scale
    taken: list[tuple[float, float, float, float]] = [
        (px - 4 * scale, py - 4 * scale, px + 4 * scale, py + 4 * scale) for px, py in points
    ]
    # The front is a line of steps, and a label on it cannot be read.
    steps = points[bold][np.argsort(points[bold][:, 0], kind="stable")]
    for (x0, y0), (x1, y1) in pairwise(steps):
        taken += [(x0, y0 - scale, x1, y0 + scale), (x1 - scale, y0, x1 + scale, y1)]
    for i in sorted(range(len(y)), key=lambda i: (not bold[i], -y[i])):
        px, py = points[i]
        width = wide * len(labels[i])
        choices = []
        for dx, side in ((7, "left"), (-7, "right"), (0, "center")):
            left = px + dx * scale - {"left": 0.0, "right": width, "center": width / 2}[side]
            for dy in (0, 10, -10, 20, -20, 30, -30, 40, -40):
                if side == "center" and abs(dy) < 10:
                    continue
                bottom = py + dy * scale - high / 2
                box = (left, bottom, left + width, bottom + high)
                hidden = sum(_overlap(box, other) for other in taken)
                outside = max(0, frame.x0 - box[0]) + max(0, box[2] - frame.x1)
                outside += max(0, frame.y0 - box[1]) + max(0, box[3] - frame.y1)
                choices.append((hidden + 30 * outside + abs(dy), dx, dy, side, box))
        badness, dx, dy, side, box = min(choices, key=lambda choice: choice[0])
        if badness > _CROWDED and not bold[i]:
            continue  # the table under the figure has them all
        taken.append(box)
        ax.annotate(
            labels[i], (x[i], y[i]), xytext=(dx, dy), textcoords="offset points", ha=side,
            va="center", fontsize=8, color=INK, weight="bold" if bold[i] else "normal",
            arrowprops={"arrowstyle": "-", "color": LINE, "lw": 0.7, "shrinkB": 4}
            if abs(dy) > 10 else None,
        )  # fmt: skip


def _overlap(
    one: tuple[float, float, float, float], other: tuple[float, float, float, float]
) -> float:
    wide = min(one[2], other[2]) - max(one[0], other[0])
    high = min(one[3], other[3]) - max(one[1], other[1])
    return max(0.0, wide) * max(0.0, high)
