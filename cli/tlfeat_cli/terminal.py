"""What people see: results on stdout, progress, notes and errors on stderr."""

import json
import os
import shlex
import sys
import threading
from collections.abc import Collection, Mapping, Sequence
from itertools import takewhile
from textwrap import wrap
from typing import TYPE_CHECKING, Any, TextIO

from rich.cells import cell_len
from rich.console import Console
from rich.table import Table
from rich.text import Text
from typer import Exit

from tlfeat.watch import Watch

if TYPE_CHECKING:
    from tlfeat.runs.results import Column
    from tlfeat_cli.bar import Bar

_WHOLE = 24  # a cell of so few columns is never broken
_PROSE = 20  # columns in which a sentence can still be read
_PIPE = 100_000  # columns of a line where nobody wraps it
_HEIGHT = 25  # lines, of which nothing that is printed depends

# Neither a colour nor anything else that is an escape code is written to a terminal that cannot
# have it, or for a user who does not want it.
PLAIN = bool(os.environ.get("NO_COLOR")) or os.environ.get("TERM") in ("dumb", "unknown")


def _console(stream: TextIO | None, **how: Any) -> Console:
    """Make a console of a stream; bars are drawn on real terminals only, FORCE_COLOR or not."""
    is_real = stream is not None and stream.isatty()
    width = _width(stream)
    return Console(
        # Names that users choose are printed: nothing in a text is markup or an emoji's name.
        highlight=False,
        markup=False,
        emoji=False,
        color_system=None if PLAIN else "auto",
        force_interactive=False if PLAIN or not is_real else None,
        width=width,
        height=None if width is None else _HEIGHT,  # without it a dumb terminal has 80 columns
        **how,
    )


def _width(stream: TextIO | None) -> int | None:
    """Give the columns of a stream; None where Rich finds out, and again when they change."""
    if (said := os.environ.get("COLUMNS", "")).isdigit() and int(said):
        return int(said)
    if stream is None or not stream.isatty():
        return _PIPE
    return (os.get_terminal_size(stream.fileno()).columns or None) if PLAIN else None


OUT = _console(sys.stdout)
ERRORS = _console(sys.stderr, stderr=True)


_lock = threading.RLock()  # works tell of themselves from any thread
_bar: "Bar | None" = None  # what a watch says goes on now, if anything


def settle() -> None:
    """Take away what is shown of the work that goes on; results and errors follow it."""
    global _bar
    with _lock:
        if _bar is not None:
            _bar.stop()
            _bar = None


class TerminalWatch(Watch):
    """Draws one bar on a terminal; notes are printed wherever stderr goes.

    Where none can be drawn each part of the work is told by a line, as a note is.
    """

    def __init__(self, quiet: bool = False) -> None:
        self._quiet = quiet
        self._parts: list[str] = []  # those that have not begun
        self._of = 0  # parts in all
        self._part = ""

    def parts(self, names: Sequence[str]) -> None:
        """Count the parts that come."""
        self._parts, self._part, self._of = list(names), "", len(names)

    def part(self, name: str) -> None:
        """Say from now on which part it is."""
        if name in self._parts:
            del self._parts[: self._parts.index(name) + 1]
        number = self._of - len(self._parts)
        self._part = f"{number}/{self._of} {name}" if self._of > 1 else name
        if ERRORS.is_interactive:
            self._show("")
        elif self._of > 1:
            self.note(self._part)

    def doing(self, text: str) -> None:
        """Show what is done now, until something else is shown or printed."""
        self._show(text)

    def start(self, what: str, total: int) -> None:
        """Begin a bar of `total` steps."""
        self._show(what, total)

    def _show(self, text: str, total: int | None = None) -> None:
        global _bar
        if self._quiet or not ERRORS.is_interactive:
            return
        with _lock:
            if _bar is None:
                from tlfeat_cli.bar import Bar

                _bar = Bar(ERRORS)
            _bar.show(": ".join(filter(None, (self._part, text))), total)

    def step(self, n: int = 1) -> None:
        """Move the bar."""
        if (bar := _bar) is not None:
            bar.step(n)

    def now(self, what: str) -> None:
        """Say it beside the bar."""
        if (bar := _bar) is not None:
            bar.now(what)

    def finish(self) -> None:
        """Show which part it is, or take the line away where the work has none."""
        if not self._part:
            settle()
        elif _bar is not None:
            self._show("")

    def note(self, text: str) -> None:
        """Print one sentence."""
        if not self._quiet:
            ERRORS.print(Text(_wrapped(text, ERRORS), style="dim"), soft_wrap=True)

    def warn(self, text: str) -> None:
        """Print one sentence, quiet or not."""
        complain(text)


def print_table(
    columns: "Sequence[Column]", best: Collection[int] = (), *, kept_in: str = "--json"
) -> None:
    """Print a table, the rows `best` in bold.

    A narrow terminal gets fewer columns, and the names of those that are left out with where
    they are kept; where even these do not fit, all of them, each row on a few lines.
    """
    settle()
    shown = list(columns)
    while _least_width(shown) > OUT.width and any(column.drop for column in shown):
        shown.remove(max(shown, key=lambda column: column.drop))
    if _least_width(shown) > OUT.width:
        _print_records(columns, best)
        return
    _print_grid(shown, best)
    if hidden := [column.title for column in columns if column not in shown]:
        tell(f"Not shown for lack of room: {', '.join(hidden)}; {kept_in} has them.", "dim")


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
    rank = columns[:1] if columns[0].title == "#" else []
    rest = columns[len(rank) :]
    names = [*rank, *takewhile(lambda one: not one.is_number and not _is_prose(one), rest)]
    for row in range(len(columns[0].cells)):
        style = "bold" if row in best else ""
        say("  ".join(column.cells[row].strip() for column in names), style)
        for line in _filled(columns[len(names) :], row, OUT.width - 2):
            say(f"  {line}", style)


def _filled(columns: "Sequence[Column]", row: int, width: int) -> list[str]:
    """Put as many titles and cells on a line as it takes; a sentence has lines of its own."""
    lines = [""]
    for column in columns:
        cell = column.cells[row]
        if _is_prose(column):
            text = f"{column.title}: {cell}"
            lines += [*_lines(text, width), ""]
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
    """Print a line of results as it is, so that a path or a command in it can be copied."""
    settle()
    OUT.print(Text(text, style=style), soft_wrap=True)


def tell(text: str, style: str = "") -> None:
    """Print sentences of results, with words whole where a terminal ends."""
    settle()
    OUT.print(Text(_wrapped(text, OUT), style=style), soft_wrap=True)


def suggest(command: Sequence[str] | None, quiet: bool) -> None:
    """Print the command that comes next, if there is one, as a shell takes it."""
    settle()
    if command is not None and not quiet:
        ERRORS.print(Text(f"Next: {shlex.join(command)}", style="dim"), soft_wrap=True)


def _wrapped(text: str, console: Console) -> str:
    """Break sentences between words; what follows a bullet stands below its words."""
    indent = "  " if text.startswith(("- ", "! ")) else ""
    lines = (_lines(line, console.width, indent) for line in text.split("\n"))
    return "\n".join(part for parts in lines for part in parts)


def _lines(text: str, width: int, indent: str = "") -> list[str]:
    """Break a line between words; one that is longer than the line, such as a path, is whole."""
    return wrap(
        text,
        width,
        subsequent_indent=indent,
        break_long_words=False,
        break_on_hyphens=False,
        replace_whitespace=False,
        expand_tabs=False,
    ) or [""]


def end(refused: Mapping[str, str]) -> None:
    """Print which runs were not trained, and why; if there are any, the command has failed."""
    for run, reason in refused.items():
        complain(f"{run} was not trained: {reason}")
    if refused:
        raise Exit(1)


def complain(text: str) -> None:
    """Print a sentence of what went wrong, quiet or not."""
    ERRORS.print(Text(_wrapped(text, ERRORS)), soft_wrap=True)


def fail(text: str) -> None:
    """Print the sentence that ends a command."""
    settle()
    sentence = Text(_wrapped(f"Error: {text}", ERRORS))
    sentence.stylize("bold red", 0, len("Error:"))
    ERRORS.print(sentence, soft_wrap=True)


def print_json(value: Any) -> None:
    """Print one JSON value for scripts."""
    settle()
    print(json.dumps(value, indent=1, ensure_ascii=False))
