"""From a figure to its files and its place on a page."""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeAlias

from tlfeat.report.style import save, write_note

if TYPE_CHECKING:
    from matplotlib.axes import Axes

Draw: TypeAlias = "Callable[[str, Axes], Any]"  # saves it under a name, gives its picture


def drawer(folder: Path, prefix: str, notes: Sequence[str]) -> Draw:
    """Give what saves figures in a folder, each with the same notes under it.

    Parameters
    ----------
    folder : Path
    prefix : str
        Of the files' names.
    notes : sequence of str

    Returns
    -------
    draw : callable
        Takes a name and an Axes, and gives the SVG as markup for the template.
    """

    def draw(name: str, ax: "Axes") -> Any:
        from markupsafe import Markup

        figure = ax.get_figure(root=True)
        if figure is not None:
            write_note(figure, notes)
        # Matplotlib escapes what it writes into an SVG.
        return Markup(save(ax, folder / f"{prefix}{name}"))  # noqa: S704

    return draw
