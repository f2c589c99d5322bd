"""A writer of store entries that test_store_writers.py kills: run as a script, light to start.

python store_writer.py write ROOT        stores all blocks, one printed line for each
python store_writer.py die FOLDER        for each step of a write, a fork that dies there
"""

import os
import signal
import sqlite3
import sys
from collections.abc import Callable
from hashlib import sha256
from pathlib import Path
from typing import Any

import numpy as np

from tlfeat.features.store import Entry, FeatureStore

NAME = "lite-224-last-avg-0123456789"
RECIPE = {"backbone": "lite", "size": 224, "schema": 1}
DIM = 8
BLOCK = 16
MANY, FEW = 240, 32  # pictures that are written


def digest(number: int) -> str:
    return sha256(str(number).encode()).hexdigest()


def digests(*numbers: int) -> list[str]:
    return [digest(number) for number in numbers]


def rows(*numbers: int) -> np.ndarray:
    return (np.arange(DIM) + np.array(numbers, float).reshape(-1, 1) / 7).astype(np.float32)


def entry_in(root: Path, recipe: dict[str, Any] = RECIPE, dtype: str = "float32") -> Entry:
    return FeatureStore(root).entry(recipe, NAME, (DIM,), dtype)


def put(entry: Entry, *numbers: int) -> int:
    return entry.append(digests(*numbers), rows(*numbers))


def write(root: Path, pictures: int) -> None:
    entry = entry_in(root)
    for start in range(0, pictures, BLOCK):
        numbers = range(start, start + BLOCK)
        if entry.missing(digests(*numbers)):
            put(entry, *numbers)
        print(start, flush=True)


def count_steps(stop: int) -> list[int]:
    """Count the steps that reach the disk, and be killed before step `stop`."""
    steps = [0]

    def counted(call: Callable[..., Any]) -> Callable[..., Any]:
        def run(*args: Any, **kwargs: Any) -> Any:
            steps[0] += 1
            if steps[0] == stop:
                os.kill(os.getpid(), signal.SIGKILL)
            return call(*args, **kwargs)

        return run

    class Counted(sqlite3.Connection):
        execute = counted(sqlite3.Connection.execute)
        executemany = counted(sqlite3.Connection.executemany)

    for name in ("pwrite", "fsync", "rename", "mkdir", "open"):
        setattr(os, name, counted(getattr(os, name)))
    connect: Any = sqlite3.connect
    sqlite3.connect = lambda *a, **k: connect(*a, factory=Counted, **k)
    return steps


def die(folder: Path) -> None:
    """Fork a writer that dies at step 1, at step 2, and so on until one comes through."""
    stop, killed = 1, True
    while killed:
        child = os.fork()
        if not child:
            with (folder / f"{stop}.said").open("w") as said:
                os.dup2(said.fileno(), 1)
            count_steps(stop)
            write(folder / str(stop), FEW)
            os._exit(0)
        _, status = os.waitpid(child, 0)
        killed = os.WIFSIGNALED(status)
        stop += 1


if __name__ == "__main__":
    if sys.argv[1] == "die":
        die(Path(sys.argv[2]))
    else:
        write(Path(sys.argv[2]), MANY)
