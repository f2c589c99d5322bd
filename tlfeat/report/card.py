"""A card of a comparison, 1200x630 pixels: for a README, a chat, a slide."""

import textwrap
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Final

import numpy as np

from tlfeat.report.style import BLUE, INK, LINE, MUTED, PAPER, SKY, save_png, short, styled

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.axes import Axes

CARD: Final = "card.png"
MOST_BARS: Final = 7
_ALARM: Final = "#b42318"
_DPI: Final = 100
_WIDE, _HIGH = 1200.0, 630.0  # pixels, which are the units of the card


def draw_card(
    table: "pd.DataFrame", *, title: str, facts: str, verdict: str, doubts: Sequence[str] = ()
) -> "Axes":
    """Draw what was compared, what is tied at the top, and the test accuracy of the best runs.

    Parameters
    ----------
    table : DataFrame
        run, value, low, high (accuracy on test, or on validation where there is no test, 0 to
        1; nan where unknown) and top (whether it is tied at the top), best by validation first.
    title, facts, verdict : str
        The study, what was compared, and what came of it.
    doubts : sequence of str
        Why the figures are not to be trusted, if they are not; the first is printed in red.

    Returns
    -------
    ax : Axes
        Of a figure of 1200x630 pixels at 100 dots an inch; `write_card` saves it.
    """
    from matplotlib.figure import Figure

    with styled():
        figure = Figure(figsize=(_WIDE / _DPI, _HIGH / _DPI), dpi=_DPI, facecolor=PAPER)
        ax = figure.add_axes((0, 0, 1, 1))
        ax.set_xlim(0, _WIDE)
        ax.set_ylim(_HIGH, 0)
        ax.axis("off")
        ax.text(56, 62, short(title, 44), fontsize=17, weight="bold", va="center")
        ax.text(
            1144, 62, "tlfeat", fontsize=15, weight="bold", va="center", ha="right", color=BLUE
        )
        ax.text(56, 100, short(facts, 110), fontsize=11.5, va="center", color=MUTED)
        y = _lines(ax, verdict, 146, size=21, letters=62, most=2, weight="bold")
        if doubts:
            y = _lines(ax, doubts[0], y + 4, size=12.5, letters=112, most=2, color=_ALARM)
        _bars(ax, table.head(MOST_BARS), y + 14)
        more = len(table) - MOST_BARS
        said = f"; {more} more runs" if more > 0 else ""
        ax.text(
            56, 598, f"Ranked by validation; right answers in %, with 95% interval{said}.",
            fontsize=10.5, va="center", color=MUTED,
        )  # fmt: skip
    return ax


def write_card(path: Path, ax: "Axes") -> None:
    """Write a card as PNG.

    Raises
    ------
    TlfeatError
        If the disk is full, or refuses the file.
    """
    save_png(ax, path, _DPI)


def _lines(
    ax: "Axes", text: str, y: float, *, size: float, letters: int, most: int,
    weight: str = "normal", color: str = INK,
) -> float:  # fmt: skip
    """Write text on a few lines; give where the next may begin."""
    rows = textwrap.wrap(text, letters)
    if len(rows) > most:
        rows = [*rows[: most - 1], textwrap.shorten(" ".join(rows[most - 1 :]), letters)]
    step = 1.9 * size
    for row in rows:
        ax.text(56, y, row, fontsize=size, weight=weight, va="center", color=color)
        y += step
    return y


def _bars(ax: "Axes", table: "pd.DataFrame", top: float) -> None:
    """Draw a row a run, between `top` and the last line of the card."""
    step = min(52.0, (566 - top) / max(len(table), 1))
    left, right = 440.0, 1050.0
    numbers = table[["value", "low", "high"]].to_numpy(float)
    least = float(np.nanmin(numbers)) if np.isfinite(numbers).any() else 0.0
    start = np.floor(10 * least) / 10

    def at(value: float) -> float:
        return float(left + (value - start) / max(1 - start, 0.05) * (right - left))

    for row, (name, is_top, (value, low, high)) in enumerate(
        zip(table["run"], table["top"], numbers, strict=True)
    ):
        y = top + (row + 0.5) * step
        weight = "bold" if is_top else "normal"
        ax.text(left - 24, y, short(str(name), 34), fontsize=13, va="center", ha="right",
                weight=weight)  # fmt: skip
        ax.plot([left, right], [y, y], color=LINE, linewidth=1, zorder=0)
        if not np.isfinite(value):
            continue
        if np.isfinite(low):
            ax.plot([at(low), at(high)], [y, y], color=SKY, linewidth=9, solid_capstyle="butt")
        ax.plot([at(value)], [y], marker="o", markersize=9, color=BLUE)
        ax.text(1144, y, f"{100 * value:.1f}", fontsize=14, va="center", ha="right", weight=weight)
