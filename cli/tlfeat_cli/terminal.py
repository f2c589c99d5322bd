"""What people see: results on stdout, progress, notes and errors on stderr."""

import json
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from rich.cells import cell_len
from rich.console import Console
from rich.table import Table
from rich.text import Text

from tlfeat.watch import Watch

if TYPE_CHECKING:
    from rich.progress import Progress, TaskID

    from tlfeat.runs.results import Column

_WHOLE = 24  # a cell of so few columns is never broken

# Names that users choose are printed: nothing in a text is markup or an emoji's name.
OUT = Console(highlight=False, markup=False, emoji=False)
ERRORS = Console(stderr=True, highlight=False, markup=False, emoji=False)


class TerminalWatch(Watch):
    """Draws one bar on a terminal; notes are printed wherever stderr goes."""

    def __init__(self, quiet: bool = False) -> None:
        self._quiet = quiet
        self._bar: Progress | None = None
        self._task: TaskID | None = None

    def start(self, what: str, total: int) -> None:
        """Begin a bar of `total` steps."""
        if self._quiet or not ERRORS.is_terminal or total == 0:
            return
        from rich.progress import (
            BarColumn,
            MofNCompleteColumn,
            Progress,
            ProgressColumn,
            Task,
            TextColumn,
            TimeRemainingColumn,
        )

        class Rate(ProgressColumn):
            def render(self, task: Task) -> Text:
                return Text(
                    f"{task.speed:.0f}/s" if task.speed else "", style="progress.data.speed"
                )

        self._bar = Progress(
            TextColumn("{task.description}", markup=False),
            BarColumn(),
            MofNCompleteColumn(),
            Rate(),
            TimeRemainingColumn(),
            console=ERRORS,
            transient=True,
        )
        self._task = self._bar.add_task(what, total=total)
        self._bar.start()

    def step(self, n: int = 1) -> None:
        """Move the bar."""
        if self._bar is not None and self._task is not None:
            self._bar.advance(self._task, n)

    def finish(self) -> None:
        """Take the bar away."""
        if self._bar is not None:
            self._bar.stop()
            self._bar = None

    def note(self, text: str) -> None:
        """Print one sentence."""
        if not self._quiet:
            ERRORS.print(Text(text, style="dim"), soft_wrap=True)


def print_table(columns: "Sequence[Column]", best: int | None = None) -> None:
    """Print a table, the row `best` in bold; a narrow terminal gets fewer columns."""
    from rich import box

    shown = list(columns)
    while _width(shown) > OUT.width and any(column.drop for column in shown):
        shown.remove(max(shown, key=lambda column: column.drop))
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False, show_edge=False)
    for column in shown:
        table.add_column(
            Text(column.title),  # a class may be named [b]
            justify="right" if column.is_number else "left",
            no_wrap=column.is_number or max(map(cell_len, column.cells)) <= _WHOLE,
            overflow="fold",
        )
    for row in range(len(shown[0].cells)):
        cells = [Text(column.cells[row]) for column in shown]
        table.add_row(*cells, style="bold" if row == best else None)
    OUT.print(table)


def _width(columns: "Sequence[Column]") -> int:
    cells = ([column.title, *column.cells] for column in columns)
    # a space on either side of a cell, and one between columns
    return sum(max(cell_len(text) for text in texts) + 3 for texts in cells) - 3


def say(text: str = "", style: str = "") -> None:
    """Print a line of results."""
    OUT.print(Text(text, style=style), soft_wrap=True)


def complain(text: str) -> None:
    """Print a line of what went wrong, quiet or not."""
    ERRORS.print(Text(text), soft_wrap=True)


def fail(text: str) -> None:
    """Print the sentence that ends a command."""
    ERRORS.print(Text.assemble(("Error:", "bold red"), " ", text), soft_wrap=True)


def print_json(value: Any) -> None:
    """Print one JSON value for scripts."""
    print(json.dumps(value, indent=1, ensure_ascii=False))
