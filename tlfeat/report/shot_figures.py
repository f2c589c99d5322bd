"""The figure of what fewer train pictures give, and what twice as many would."""

from typing import TYPE_CHECKING

import numpy as np

from tlfeat.report.figures import in_style, label_ends, legend_below
from tlfeat.report.style import CLASS_COLOURS, CLASS_MARKERS, LINE, MUTED, new_axes, short

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.axes import Axes

_STYLES = ((0, (6, 2)), (0, (1, 1.6)), (0, (7, 2, 1.5, 2)))  # of families of curves
_DODGE = 0.009  # of the width, between the bars of two runs at one size


@in_style
def draw_shots(table: "pd.DataFrame", ax: "Axes | None" = None) -> "Axes":
    """Draw accuracy against train pictures, a curve a run, and the range for twice as many.

    Parameters
    ----------
    table : DataFrame
        run, kind, pictures, value, low, high (0 to 1; nan where unknown). Of kind "measured" are
        the points of a curve, of "foretold" is the range; of any other are the lines of families
        of curves, drawn thin.
    ax : Axes, optional

    Returns
    -------
    ax : Axes
    """
    from matplotlib.ticker import FixedLocator, NullFormatter, NullLocator, StrMethodFormatter

    runs = list(dict.fromkeys(table["run"]))
    ax = ax or new_axes(7.4, 3.6 + 0.12 * len(runs))
    ax.set_xscale("log")
    first, last = table["pictures"].min(), table["pictures"].max()
    step = (last / first) ** _DODGE
    lines = table[~table["kind"].isin(["measured", "foretold"])]
    for number, (family, line) in enumerate(lines.groupby("kind", sort=False)):
        ax.plot(
            line["pictures"], 100 * line["value"], color=MUTED, linewidth=0.9, zorder=1,
            linestyle=_STYLES[number % len(_STYLES)], label=str(family),
        )  # fmt: skip
    ends = []
    for number, run in enumerate(runs):
        colour = CLASS_COLOURS[number % len(CLASS_COLOURS)]
        marker = CLASS_MARKERS[number % len(CLASS_MARKERS)]
        aside = step ** (number - (len(runs) - 1) / 2)
        mine = table[table["run"] == run]
        seen = mine[mine["kind"] == "measured"].sort_values("pictures")
        ax.plot(
            seen["pictures"] * aside, 100 * seen["value"], color=colour, marker=marker,
            markersize=5, linewidth=2.4 if number == 0 else 1.3, zorder=4 if number == 0 else 3,
        )  # fmt: skip
        for kind, width in (("measured", 0.9), ("foretold", 5.0)):
            some = mine[mine["kind"] == kind]
            ax.vlines(
                some["pictures"] * aside, 100 * some["low"], 100 * some["high"], colors=colour,
                linewidth=width, alpha=0.75, zorder=2,
            )  # fmt: skip
        told = mine[mine["kind"] == "foretold"]
        end = (told if len(told) else seen).iloc[-1]
        ends.append((100 * float(end["value"]), short(str(run), 24), colour))
    sizes = np.unique(table[table["kind"].isin(["measured", "foretold"])]["pictures"])
    ax.xaxis.set_major_locator(FixedLocator(_far_apart(sizes).tolist()))
    ax.xaxis.set_major_formatter(StrMethodFormatter("{x:,.0f}"))
    ax.xaxis.set_minor_locator(NullLocator())
    ax.xaxis.set_minor_formatter(NullFormatter())
    ax.margins(x=0.05)
    right = ax.get_xlim()[1]
    if (table["kind"] == "foretold").any():
        n = table[table["kind"] == "measured"]["pictures"].max()
        ax.axvline(n * (last / n) ** 0.5, color=LINE, linewidth=1, zorder=0)
    label_ends(ax, right, ends)
    ax.set_xlabel("train pictures")
    ax.set_ylabel("right answers, %")
    ax.grid(axis="y")
    ax.set_axisbelow(True)
    if len(lines):
        legend_below(ax)
    return ax


def _far_apart(sizes: np.ndarray) -> np.ndarray:
    """Leave out sizes whose labels would lie on each other's; the last stays."""
    kept = [float(sizes[-1])]
    for size in sizes[-2::-1]:
        if kept[-1] / size > (sizes[-1] / sizes[0]) ** 0.07:
            kept.append(float(size))
    return np.array(kept[::-1])
