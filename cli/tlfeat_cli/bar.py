"""The one bar of a command: which part of the work it is at, how far that is, what is left of it.

The parts of a work are of no known lengths, so they are counted and never added up: a share of
the whole would be invented. What the bar itself shows is the part that goes on.
"""

from collections.abc import Iterable
from typing import TYPE_CHECKING

from rich.console import Console, ConsoleOptions, RenderableType, RenderResult
from rich.table import Table
from rich.text import Text

if TYPE_CHECKING:
    from rich.progress import Task

_LEAST, _MOST = 8, 40  # columns of the bar
_LEAST_TEXT = 12  # columns of what goes on; where there are fewer, less is said of how far
_FAST = 10  # steps a second from which their rate says something
_FREE = 2  # columns for the ^C that a terminal echoes: it must not begin a line of its own
_SHORT = 10  # columns in which there is no use for what exactly goes on


class Bar:
    """One line at the bottom of a terminal, for as long as something goes on.

    Parameters
    ----------
    console : Console
        Of the terminal; what is printed there goes above the line.
    """

    def __init__(self, console: Console) -> None:
        from rich.constrain import Constrain
        from rich.progress import Progress, ProgressColumn, SpinnerColumn

        class Line(ProgressColumn):
            def render(self, task: "Task") -> "_Line":
                return _Line(task)

        class Narrow(Progress):
            def get_renderables(self) -> Iterable[RenderableType]:
                for line in super().get_renderables():
                    yield Constrain(line, max(1, console.width - _FREE))

        self._progress = Narrow(
            SpinnerColumn(),
            Line(),
            console=console,
            transient=True,
            # what is printed to stdout goes there, a pipe perhaps, and not above the line
            redirect_stdout=False,
            expand=True,
        )
        self._task = self._progress.add_task("", total=None, now="", counted=False)

    def show(self, text: str, total: int | None = None) -> None:
        """Say what begins, of so many steps if anybody knows."""
        self._progress.reset(
            self._task, description=text, total=total, now="", counted=bool(total)
        )
        self._progress.start()  # it stays begun
        self._progress.refresh()

    def step(self, n: int) -> None:
        """Move on by some steps."""
        self._progress.advance(self._task, n)

    def now(self, what: str) -> None:
        """Say what exactly goes on."""
        self._progress.update(self._task, now=what)

    def stop(self) -> None:
        """Take the line away."""
        self._progress.stop()


class _Line:
    """What stands behind the spinner, as wide as there is room."""

    def __init__(self, task: "Task") -> None:
        self._task = task

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        from rich.progress_bar import ProgressBar

        task, room = self._task, options.max_width
        text = Text(task.description)
        if not task.fields["counted"]:
            text.truncate(room, overflow="ellipsis")
            yield text
            return
        bar = min(_MOST, max(_LEAST, room // 4))
        bar_and_gaps = bar + len("   ")
        said = _steps(task)
        while len(said) > 1 and len("  ".join(said)) > room - bar_and_gaps - _LEAST_TEXT:
            said.pop()
        steps = Text("  ".join(said))
        rest = room - bar_and_gaps - steps.cell_len
        text.truncate(max(1, rest), overflow="ellipsis")
        rest -= text.cell_len
        now = Text(task.fields["now"] if rest > _SHORT else "", style="dim")
        now.truncate(max(1, rest), overflow="ellipsis")
        line = Table.grid(padding=(0, 1, 0, 0))
        # an empty column has a width too
        cells = (text, ProgressBar(task.total, task.completed, width=bar), steps)
        line.add_row(*cells, *([now] if now else []))
        yield line


def _steps(task: "Task") -> list[str]:
    """Say how many steps are done of how many, how long the rest takes, and how fast they go."""
    said = [f"{task.completed:,.0f}/{task.total or 0:,.0f}"]
    if (left := task.time_remaining) and not task.finished:
        minutes, seconds = divmod(round(left), 60)
        hours, minutes = divmod(minutes, 60)
        clock = f"{hours}:{minutes:02}:{seconds:02}" if hours else f"{minutes}:{seconds:02}"
        said.append(f"{clock} left")
    if (task.speed or 0) >= _FAST:
        said.append(f"{task.speed:,.0f}/s")
    return said
