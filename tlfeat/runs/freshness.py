"""Is what was written still what would be written? By a digest of all that it is made of.

Tables and pages take seconds to make; where nothing changed they are left alone.
"""

import hashlib
import json
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from tlfeat.runs.record import PREDICTIONS, Run

_HEAD_BYTES = 600  # the key stands at a file's beginning


def key_of(code: Iterable[Path], runs: Sequence[Run], facts: Sequence[Any]) -> str:
    """Digest what a file is made of, without reading predictions or pictures.

    Parameters
    ----------
    code : iterable of Path
        The files of the code and the templates that make it.
    runs : sequence of Run
    facts : sequence
        Whatever else decides it, as plain values.

    Returns
    -------
    key : str
    """
    digest = hashlib.sha256()
    for path in sorted(code):
        digest.update(path.read_bytes())
    shown = sorted(
        [
            run.id,
            run.name,
            run.version,
            (run.path / PREDICTIONS).exists(),
        ]
        for run in runs
    )
    digest.update(json.dumps([shown, *facts]).encode())
    return digest.hexdigest()


def has_key(path: Path, key: str) -> bool:
    """Say whether a file was written with this key in its beginning."""
    try:
        with path.open("rb") as file:
            return key.encode() in file.read(_HEAD_BYTES)
    except OSError:
        return False
