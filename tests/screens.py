"""A terminal for tests: a command runs in it, and what a user would see is kept."""

import os
import pty
import shutil
import subprocess
import sys
import termios
from pathlib import Path
from typing import NamedTuple

import pyte

LINES = 60
BIN = Path(sys.executable).parent  # where `tlfeat` is, for shells


class Shown(NamedTuple):
    """What a terminal showed of a command."""

    frames: list[list[str]]  # the lines of each screen that was not like the last one
    raw: bytes
    code: int

    @property
    def last(self) -> list[str]:
        """The lines of the last screen."""
        return self.frames[-1]


def lines_of(screen: pyte.Screen) -> list[str]:
    """Give the lines of a screen down to the last that is not empty."""
    lines = [line.rstrip() for line in screen.display]
    while lines and not lines[-1]:
        lines.pop()
    return lines


def shown(
    *command: object, columns: int = 80, stop_at: str | None = None, **environment: str
) -> Shown:
    """Run a command in a terminal, and look at it after each piece that arrives.

    Parameters
    ----------
    *command : str
        A program and its arguments; "tlfeat" is this project's.
    columns : int
        Width of the terminal.
    stop_at : str, optional
        Press Ctrl-C once this is on the screen.
    **environment : str
        Variables beside those of the tests; what says how wide or coloured a terminal is comes
        from here alone.
    """
    program, *arguments = map(str, command)
    start = "from tlfeat_cli import main; main()"
    words = [sys.executable, "-c", start] if program == "tlfeat" else [shutil.which(program)]
    usual = {k: v for k, v in os.environ.items() if k not in ("COLUMNS", "NO_COLOR")}
    usual |= {"TERM": "xterm-256color", "PATH": f"{BIN}:{os.environ['PATH']}", **environment}
    ours, theirs = pty.openpty()
    termios.tcsetwinsize(theirs, (LINES, columns))
    process = subprocess.Popen(
        [*words, *arguments], env=usual, pass_fds=[theirs], preexec_fn=lambda: os.login_tty(theirs)
    )
    os.close(theirs)
    screen = pyte.Screen(columns, LINES)
    stream, raw, frames = pyte.ByteStream(screen), b"", [[]]
    try:
        while piece := _read(ours):
            raw += piece
            stream.feed(piece)
            if (now := lines_of(screen)) != frames[-1]:
                frames.append(now)
            if stop_at and stop_at in "\n".join(now):
                os.write(ours, b"\x03")
                stop_at = None
        return Shown(frames, raw, process.wait())
    finally:
        os.close(ours)
        process.kill()
        process.wait()


def _read(terminal: int) -> bytes:
    """Read what has arrived; nothing where the command has ended."""
    try:
        return os.read(terminal, 65536)
    except OSError:  # Linux says so that nobody holds the other end
        return b""
