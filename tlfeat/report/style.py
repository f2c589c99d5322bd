"""How figures look, and how they become files and parts of a page.

Colours are Okabe and Ito's, told apart by colour-blind readers, and readable on white and on
black. Text is never read as formulas: a class may be named "$x$".
"""

import io
import re
import textwrap
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

import numpy as np

from tlfeat.files import replacing, write_text

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

BLUE, ORANGE, SKY = "#0072b2", "#d55e00", "#56b4e9"
# Petroff (2021), Accessible color sequences for data visualization: ten that keep apart.
CLASS_COLOURS = (
    "#3f90da", "#ffa90e", "#bd1f01", "#94a4a2", "#832db6",
    "#a96b59", "#e76300", "#b9ac70", "#717581", "#92dadd",
)  # fmt: skip
CLASS_MARKERS = "osD^vP*X<>"
# These three are exchanged for the page's own colours when a figure stands in a page.
INK, LINE, PAPER = "#1d1f21", "#d0d7de", "#fefefe"
MUTED = "#6e7781"
LONGEST = 28  # letters of a name in a figure
_MARGIN = 0.1  # inches
_NOTE_LETTERS, _NOTE_ROW = 17, 0.11  # of a note under a figure: letters an inch, inches a row

_SETTINGS: dict[str, Any] = {
    "font.family": "sans-serif",
    "font.sans-serif": ["DejaVu Sans", "Noto Sans", "Arial", "sans-serif"],
    "font.size": 9,
    "axes.edgecolor": INK,
    "axes.labelcolor": INK,
    "axes.titlelocation": "left",
    "axes.titlesize": 10,
    "axes.titleweight": "bold",
    "axes.titlecolor": INK,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.facecolor": "none",
    "axes.linewidth": 0.8,
    "figure.facecolor": PAPER,
    "grid.color": LINE,
    "grid.linewidth": 0.6,
    "savefig.facecolor": PAPER,
    "text.color": INK,
    "text.parse_math": False,
    "xtick.color": INK,
    "ytick.color": INK,
    "svg.fonttype": "none",  # text stays text: it can be read out, searched and copied
    "svg.hashsalt": "tlfeat",
    "legend.frameon": False,
}


@contextmanager
def styled() -> Iterator[None]:
    """Draw with the settings of this module, whatever the user's own are."""
    import matplotlib

    with matplotlib.rc_context(rc=cast("Any", _SETTINGS)):
        yield


def new_axes(width: float, height: float) -> "Axes":
    """Give the Axes of a new figure.

    Parameters
    ----------
    width, height : float
        Inches.

    Returns
    -------
    ax : Axes
    """
    from matplotlib.figure import Figure

    return Figure(figsize=(width, height), layout="constrained").add_subplot()


def short(name: str, longest: int = LONGEST) -> str:
    """Cut a long name in the middle: names differ at their ends.

    Examples
    --------
    >>> short("dress"), short("a very long name of a class", 12)
    ('dress', 'a very…class')
    """
    name = " ".join(name.split())
    if len(name) <= longest:
        return name
    tail = (longest - 1) // 2
    return f"{name[: longest - 1 - tail].rstrip()}…{name[-tail:].lstrip()}"


def apart(middles: np.ndarray, widths: Sequence[float], height: float) -> np.ndarray:
    """Push labels up and down until none lies on another.

    Parameters
    ----------
    middles : ndarray of shape (n, 2)
        Where their middles are wanted.
    widths : sequence of float
    height : float
        Of each.

    Returns
    -------
    middles : ndarray of shape (n, 2)
    """
    placed: list[int] = []
    found = np.array(middles, dtype=float)
    for i in np.argsort(found[:, 1], kind="stable"):
        for j in sorted(placed, key=lambda j: found[j, 1]):
            beside = abs(found[i, 0] - found[j, 0]) >= (widths[i] + widths[j]) / 2
            if not beside and abs(found[i, 1] - found[j, 1]) < height:
                found[i, 1] = found[j, 1] + height
        placed.append(int(i))
    return found


def write_note(figure: "Figure", lines: Sequence[str]) -> None:
    """Write lines in small letters under a figure, which grows by them."""
    if not lines:
        return
    width, height = figure.get_size_inches()
    rows = [row for line in lines for row in textwrap.wrap(line, int(width * _NOTE_LETTERS))]
    figure.set_size_inches(width, height + _NOTE_ROW * len(rows))
    figure.supxlabel("\n".join(rows), fontsize=6.5, color=MUTED, ha="left", x=0.01)


def save(ax: "Axes", path: Path) -> str:
    """Write a figure as SVG and PNG, and give the SVG for a page.

    Parameters
    ----------
    ax : Axes
    path : Path
        Without a suffix.

    Returns
    -------
    svg : str
        An <svg> element without a background that takes the colours of the text around it;
        its ids begin with the file's name.

    Raises
    ------
    TlfeatError
        If the disk is full, or refuses the files.
    """
    from matplotlib.backends.backend_svg import FigureCanvasSVG
    from matplotlib.layout_engine import ConstrainedLayoutEngine

    figure = _figure_of(ax)
    text = io.StringIO()
    layout = figure.get_layout_engine()
    if isinstance(layout, ConstrainedLayoutEngine):
        layout.set(w_pad=_MARGIN)  # letters of a PNG are a little wider than those of an SVG
    with styled():  # by the canvases themselves: savefig draws each figure twice
        figure.dpi = 72
        svg: Any = FigureCanvasSVG(figure)
        svg.print_svg(text, metadata={"Date": None, "Creator": "tlfeat"})
        figure.set_layout_engine("none")  # it is laid out: the same places, in half the time
        _write_png(figure, path.with_suffix(".png"), 150)
        figure.set_layout_engine(layout)
    write_text(path.with_suffix(".svg"), text.getvalue())
    return _for_page(text.getvalue(), path.name)


def save_png(ax: "Axes", path: Path, dpi: int) -> None:
    """Write a figure as PNG alone, as large as it is.

    Raises
    ------
    TlfeatError
        If the disk is full, or refuses the file.
    """
    with styled():
        _write_png(_figure_of(ax), path, dpi)


def _figure_of(ax: "Axes") -> "Figure":
    figure = ax.get_figure(root=True)
    if figure is None:
        raise ValueError("These Axes are not part of a figure.")
    return figure


def _write_png(figure: "Figure", path: Path, dpi: int) -> None:
    from matplotlib.backends.backend_agg import FigureCanvasAgg

    figure.dpi = dpi
    with replacing(path) as fresh:
        png: Any = FigureCanvasAgg(figure)
        png.print_png(fresh, metadata={"Software": "tlfeat"})


def _for_page(svg: str, name: str) -> str:
    svg = svg[svg.index("<svg") :]
    svg = re.sub(r"<metadata>.*?</metadata>", "", svg, flags=re.DOTALL)
    svg = re.sub(r"<!--.*?-->\s*", "", svg, flags=re.DOTALL)  # each text is there twice
    svg = re.sub(r'\bid="', f'id="{name}-', svg)
    svg = re.sub(r"url\(#", f"url(#{name}-", svg)
    svg = re.sub(r'xlink:href="#', f'xlink:href="#{name}-', svg)
    svg = re.sub(r'(<svg[^>]*?) width="([0-9.]+)pt"', r'\1 data-width="\2"', svg, count=1)
    svg = re.sub(r'(<svg[^>]*?) height="[0-9.]+pt"', r"\1", svg, count=1)
    for colour, own in ((INK, "currentColor"), (LINE, "var(--line)"), (PAPER, "none")):
        svg = svg.replace(f"fill: {colour}", f"fill: {own}")
        svg = svg.replace(f"stroke: {colour}", f"stroke: {own}")
    return svg
