"""What people see: results on stdout, progress, notes and errors on stderr."""

import json
from collections.abc import Collection, Mapping, Sequence
from itertools import takewhile
from textwrap import wrap
from typing import TYPE_CHECKING, Any

from rich.cells import cell_len
from rich.console import Console
from rich.table import Table
from rich.text import Text
from typer import Exit

from tlfeat.watch import Watch

if TYPE_CHECKING:
    from rich.live import Live
    from rich.progress import Progress, TaskID

    from tlfeat.runs.results import Column

_WHOLE = 24  # a cell of so few columns is never broken
_PROSE = 20  # columns in which a sentence can still be read

# Names that users choose are printed: nothing in a text is markup or an emoji's name.
OUT = Console(highlight=False, markup=False, emoji=False)
ERRORS = Console(stderr=True, highlight=False, markup=False, emoji=False)


_shown: "Live | None" = None  # what a watch says is done now, if anything


def settle() -> None:
    """Take away what is shown of the work that goes on; results and errors follow it."""
    global _shown
    if _shown is not None:
        _shown.stop()
        _shown = None


class TerminalWatch(Watch):
    """Draws one line or bar on a terminal; notes are printed wherever stderr goes."""

    def __init__(self, quiet: bool = False) -> None:
        self._quiet = quiet
        self._bar: Progress | None = None
        self._task: TaskID | None = None

    def doing(self, text: str) -> None:
        """Show what is done now, until something else is shown or printed."""
        global _shown
        if self._quiet or not ERRORS.is_terminal:
            return
        from rich.live import Live
        from rich.spinner import Spinner

        settle()
        spinner = Spinner("dots", Text(text, overflow="ellipsis", no_wrap=True))
        # what is printed to stdout goes there, a pipe perhaps, and not above the line
        _shown = Live(spinner, console=ERRORS, transient=True, redirect_stdout=False)
        _shown.start(refresh=True)

    def start(self, what: str, total: int) -> None:
        """Begin a bar of `total` steps."""
        settle()
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
            TextColumn("{task.fields[now]}", markup=False, style="dim"),
            console=ERRORS,
            transient=True,
            redirect_stdout=False,
        )
        self._task = self._bar.add_task(what, total=total, now="")
        self._bar.start()

    def step(self, n: int = 1) -> None:
        """Move the bar."""
        if self._bar is not None and self._task is not None:
            self._bar.advance(self._task, n)

    def now(self, what: str) -> None:
        """Say it beside the bar."""
        if self._bar is not None and self._task is not None:
            self._bar.update(self._task, now=what)

    def finish(self) -> None:
        """Take the line or the bar away."""
        settle()
        if self._bar is not None:
            self._bar.stop()
            self._bar = None

    def note(self, text: str) -> None:
        """Print one sentence."""
        if not self._quiet:
            ERRORS.print(Text(text, style="dim"), soft_wrap=True)

    def warn(self, text: str) -> None:
        """Print one sentence, quiet or not."""
        complain(text)


def print_table(columns: "Sequence[Column]", best: Collection[int] = ()) -> None:
    """Print a table, the rows `best` in bold.

    A narrow terminal gets fewer columns; where even these do not fit, all of them, each row on a
    few lines.
    """
    settle()
    shown = list(columns)
    while _least_width(shown) > OUT.width and any(column.drop for column in shown):
        shown.remove(max(shown, key=lambda column: column.drop))
    if _least_width(shown) > OUT.width:
        _print_records(columns, best)
    else:
        _print_grid(shown, best)


def _print_grid(columns: "Sequence[Column]", best: Collection[int]) -> None:
    from rich import box

    table = Table(box=box.SIMPLE_HEAD, pad_edge=False, show_edge=False)
    for column in columns:
        table.add_column(
            Text(column.title),  # a class may be named [b]
            justify="right" if column.is_number else "left",
            no_wrap=not _is_prose(column),
            min_width=_least(column),
            overflow="fold",
        )
    for row in range(len(columns[0].cells)):
        cells = [Text(column.cells[row]) for column in columns]
        table.add_row(*cells, style="bold" if row in best else None)
    OUT.print(table)


def _print_records(columns: "Sequence[Column]", best: Collection[int]) -> None:
    """Print what names a row on a line of its own, and the rest below it."""
    names = list(takewhile(lambda one: not one.is_number and not _is_prose(one), columns))
    for row in range(len(columns[0].cells)):
        style = "bold" if row in best else ""
        say("  ".join(column.cells[row] for column in names), style)
        for line in _filled(columns[len(names) :], row, OUT.width - 2):
            say(f"  {line}", style)


def _filled(columns: "Sequence[Column]", row: int, width: int) -> list[str]:
    """Put as many titles and cells on a line as it takes; a sentence has lines of its own."""
    lines = [""]
    for column in columns:
        cell = column.cells[row]
        if _is_prose(column):
            text = f"{column.title}: {cell}"
            lines += [*wrap(text, width, break_long_words=False, break_on_hyphens=False), ""]
            continue
        room = " " * (max(map(cell_len, column.cells)) - cell_len(cell))
        field = f"{column.title} {room}{cell}" if column.is_number else f"{column.title} {cell}"
        joined = f"{lines[-1]}   {field}" if lines[-1] else field
        if cell_len(joined) <= width:
            lines[-1] = joined
        else:
            lines.append(field)
    return [line for line in lines if line]


def _least_width(columns: "Sequence[Column]") -> int:
    return sum(_least(column) + 3 for column in columns) - 3  # a space on either side, and one


def _least(column: "Column") -> int:
    """Give the least width at which a column can be read."""
    if not _is_prose(column):
        return max(map(cell_len, (column.title, *column.cells)))
    words = (word for text in (column.title, *column.cells) for word in text.split())
    return max(_PROSE, *map(cell_len, words))


def _is_prose(column: "Column") -> bool:
    """Say whether a column holds sentences; numbers and names are never broken."""
    return not column.is_number and any(
        cell_len(cell) > _WHOLE and " " in cell for cell in column.cells
    )


def say(text: str = "", style: str = "") -> None:
    """Print a line of results."""
    settle()
    OUT.print(Text(text, style=style), soft_wrap=True)


def end(refused: Mapping[str, str]) -> None:
    """Print which runs were not trained, and why; if there are any, the command has failed."""
    for run, reason in refused.items():
        complain(f"{run} was not trained: {reason}")
    if refused:
        raise Exit(1)


def complain(text: str) -> None:
    """Print a line of what went wrong, quiet or not."""
    settle()
    ERRORS.print(Text(text), soft_wrap=True)


def fail(text: str) -> None:
    """Print the sentence that ends a command."""
    settle()
    ERRORS.print(Text.assemble(("Error:", "bold red"), " ", text), soft_wrap=True)


def print_json(value: Any) -> None:
    """Print one JSON value for scripts."""
    settle()
    print(json.dumps(value, indent=1, ensure_ascii=False))
