"""What the parts of the series share: a place to work, commands, and what they said."""

import itertools
import os
import resource
import sys
from collections.abc import Callable
from dataclasses import dataclass, field
from multiprocessing import get_context
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from tlfeat.features.store import FeatureStore

SIDE = 32  # pixels of the square that the network sees
FAST = ("--size", str(SIDE), "--quiet")
LONGEST = 120.0  # seconds after which a command hangs

# A fork of a process that has imported what commands need starts at once. TensorFlow is not
# among it: it has threads from the start, which no fork takes along.
_CONTEXT = get_context("forkserver")
_CONTEXT.set_forkserver_preload(
    ["tlfeat_cli", "openvino", "sklearn.linear_model", "pyarrow.parquet", "matplotlib.figure"]
)
_NUMBERS = itertools.count()


@dataclass
class Outcome:
    """How often something was tried, and what came out wrong."""

    what: str
    tried: int = 0
    wrong: list[str] = field(default_factory=list)

    def __str__(self) -> str:
        return f"{self.what}: {self.tried:,}, {len(self.wrong)} wrong"


class Scene(NamedTuple):
    """Where a part of the series works."""

    folder: Path  # empty at first
    networks: Path  # exported networks, shared by all parts

    def cache(self) -> Path:
        """Make an empty feature store that has the exported networks."""
        folder = self.folder / f"cache-{next(_NUMBERS)}"
        folder.mkdir()
        (folder / "networks").symlink_to(self.networks)
        return folder

    def arrays(self, pictures: int = 600) -> Path:
        """Make a file of tiny pictures in three classes."""
        path = self.folder / "arrays.npz"
        random = np.random.default_rng(0)
        pixels = random.integers(0, 256, (pictures, 8, 8, 3), dtype=np.uint8)
        np.savez(path, x_train=pixels, y_train=np.arange(pictures) % 3)
        return path

    def start(self, *arguments: object, room: int | None = None) -> "Command":
        """Start a `tlfeat` command, on a disk that takes files of `room` bytes at most."""
        said = self.folder / f"said-{next(_NUMBERS)}"
        return Command([str(one) for one in arguments], said, room)

    def run(self, *arguments: object, room: int | None = None) -> "Command":
        """Run a `tlfeat` command to its end."""
        command = self.start(*arguments, room=room)
        command.finish()
        return command


class Command:
    """A `tlfeat` command in a process of its own."""

    def __init__(self, arguments: list[str], said: Path, room: int | None) -> None:
        self._said = said
        self._process: Any = _CONTEXT.Process(
            target=_tlfeat, args=(arguments, str(said), room), daemon=True
        )
        self._process.start()

    def ends_within(self, seconds: float) -> bool:
        """Say whether it ended within some seconds."""
        self._process.join(seconds)
        return self._process.exitcode is not None

    def kill(self) -> None:
        """End it as kill -9 does."""
        self._process.kill()
        self._process.join()

    def finish(self) -> None:
        """Wait for its end; one that hangs is killed, and its code is not 0."""
        if not self.ends_within(LONGEST):
            self.kill()

    @property
    def code(self) -> int:
        """Its exit code, negative after a signal."""
        return int(self._process.exitcode)

    @property
    def said(self) -> str:
        """What it printed so far."""
        return self._said.read_text(errors="replace") if self._said.exists() else ""

    def problem(self, *codes: int) -> str | None:
        """Say what is wrong with how it ended, where only these exit codes are right."""
        said = self.said.strip()
        if self.code in codes and "Traceback" not in said:
            return None
        return f"exit code {self.code}: {said.splitlines()[-1] if said else 'nothing said'}"


def _tlfeat(arguments: list[str], said: str, room: int | None) -> None:
    from tlfeat_cli import main

    out = os.open(said, os.O_CREAT | os.O_WRONLY | os.O_TRUNC)
    os.dup2(out, 1)
    os.dup2(out, 2)
    if room is not None:
        resource.setrlimit(resource.RLIMIT_FSIZE, (room, room))
    sys.argv = ["tlfeat", *arguments]
    main()


def in_process(target: Callable[..., None], *arguments: object) -> Any:
    """Start a function in a process of its own."""
    process: Any = _CONTEXT.Process(target=target, args=arguments, daemon=True)
    process.start()
    return process


class Answer(NamedTuple):
    """What a command answered in this process."""

    code: int
    out: str
    said: str  # stdout and stderr, the error's sentence too
    crash: str | None  # the error that would print a traceback


def answer(*arguments: object) -> Answer:
    """Run a `tlfeat` command in this process."""
    from typer.testing import CliRunner

    from tlfeat.errors import TlfeatError
    from tlfeat_cli.app import app

    done = CliRunner().invoke(app, [str(one) for one in arguments])
    error = done.exception
    if isinstance(error, TlfeatError):
        return Answer(1, done.stdout, f"{done.output}Error: {error}\n", None)
    if error is None or isinstance(error, SystemExit):
        return Answer(done.exit_code, done.stdout, done.output, None)
    return Answer(1, done.stdout, done.output, f"{type(error).__name__}: {error}")


def stored_rows(cache: Path) -> dict[str, np.ndarray]:
    """Give the rows of the only entry of a store, by digest; none where there is no entry."""
    store = FeatureStore(cache)
    rows: dict[str, np.ndarray] = {}
    for name in store.names():
        entry = store.open(name)
        digests = entry.digests()
        rows |= dict(zip(digests, np.array(entry.read(digests)), strict=True))
    return rows


def store_problems(
    cache: Path, reference: dict[str, np.ndarray], *, whole: bool = False
) -> list[str]:
    """Say what is wrong with a store, compared with the rows of an undisturbed one."""
    try:
        rows = stored_rows(cache)
    except Exception as error:
        return [f"the store cannot be read: {error}"]
    problems = []
    if rows.keys() - reference.keys():
        problems.append("rows of pictures that there are not")
    bad = sum(not np.array_equal(row, reference.get(digest)) for digest, row in rows.items())
    if bad:
        problems.append(f"{bad} rows differ")
    if list((cache / "features").glob("*.damaged*")):
        problems.append("an entry was set aside")
    if whole and len(rows) != len(reference):
        problems.append(f"{len(rows)} rows of {len(reference)}")
    if whole and left_over(cache / "features"):
        problems.append("something is left over")
    return problems


def left_over(folder: Path) -> list[Path]:
    """Give what was in the making below a folder."""
    return [path for path in folder.rglob(".*") if path.name not in (".gitignore",)]
