"""Many writers and readers of one store at once."""

from pathlib import Path

import numpy as np
from store_writer import MANY, digests, entry_in, rows, write

from faults.common import LONGEST, Outcome, Scene, in_process


def of_writers_and_readers(scene: Scene, count: int) -> Outcome:
    """Let a third of the processes read what the others write, all the same pictures."""
    outcome = Outcome("writers and readers at once", count)
    root = scene.folder / "crowd"
    crowd = [
        in_process(_read if number % 3 == 2 else _write, root, scene.folder / f"crowd-{number}")
        for number in range(count)
    ]
    for number, process in enumerate(crowd):
        process.join(LONGEST)
        if process.exitcode != 0:
            process.kill()
            outcome.wrong.append(f"process {number} ended with {process.exitcode}")
    entry = entry_in(root)
    if sorted(entry.digests()) != sorted(digests(*range(MANY))):
        outcome.wrong.append("not every picture is stored once")
    elif not np.array_equal(entry.read(digests(*range(MANY))), rows(*range(MANY))):
        outcome.wrong.append("rows differ")
    if len(list(entry.path.parent.iterdir())) != 1:
        outcome.wrong.append("something is left over")
    return outcome


def _write(root: Path, said: Path) -> None:
    import contextlib

    with said.open("w") as out, contextlib.redirect_stdout(out):
        write(root, MANY)


def _read(root: Path, said: Path) -> None:
    """Read until all is there; whatever is there must be right at any time."""
    stored = 0
    while stored < MANY:
        entry = entry_in(root)
        known = [n for n in range(MANY) if n not in set(_missing(entry))]
        assert np.array_equal(entry.read(digests(*known)), rows(*known)), "a row differs"
        stored = len(known)


def _missing(entry: object) -> list[int]:
    numbers = {name: n for n, name in enumerate(digests(*range(MANY)))}
    return [numbers[name] for name in entry.missing(list(numbers))]  # type: ignore[attr-defined]
