"""What embedding each picture cost, kept beside its features for the tables that show costs.

A store outlives studies: what a table shows must be of its own pictures and of this machine, not
an average over all that was ever embedded. A cost is a courtesy: where the file cannot be
written, or is spoilt, there is none, and nothing else changes.
"""

import contextlib
import json
import sqlite3
from collections.abc import Sequence
from pathlib import Path
from typing import Final

from tlfeat.machine import machine

COSTS: Final = "costs.sqlite"
_MOST_SECONDS: Final = 3600.0  # of one picture; more is no cost but damage
_SPOILT: Final = (OSError, sqlite3.Error, UnicodeDecodeError)
_SCHEMA: Final = """
CREATE TABLE IF NOT EXISTS costs (
    digest TEXT NOT NULL, machine TEXT NOT NULL, seconds REAL NOT NULL,
    PRIMARY KEY (digest, machine)
) WITHOUT ROWID
"""


def keep_costs(entry: Path, digests: Sequence[str], seconds: float) -> None:
    """Write down what some pictures took together, the last time that they were embedded here.

    Parameters
    ----------
    entry : Path
        The folder of their features.
    digests : sequence of str
        Of the pictures.
    seconds : float
        Decoding and forward of all of them, as if their network were alone.
    """
    if not digests:
        return
    here, each = _here(), seconds / len(digests)
    with (
        contextlib.suppress(*_SPOILT),
        contextlib.closing(sqlite3.connect(entry / COSTS)) as connection,
        connection,
    ):
        connection.execute("PRAGMA synchronous = OFF")
        connection.execute(_SCHEMA)
        connection.executemany(
            "INSERT OR REPLACE INTO costs VALUES (?, ?, ?)",
            [(digest, here, each) for digest in digests],
        )


def read_costs(entry: Path, digests: Sequence[str]) -> dict[str, float]:
    """Give the seconds of each of these pictures that was embedded on this machine.

    Parameters
    ----------
    entry : Path
    digests : sequence of str

    Returns
    -------
    seconds : dict of str to float
        Digest to seconds; of those pictures that were measured here.
    """
    path = entry / COSTS
    if not path.exists():
        return {}
    try:
        with contextlib.closing(
            sqlite3.connect(f"{path.absolute().as_uri()}?mode=ro", uri=True)
        ) as connection:
            rows = connection.execute(
                "SELECT digest, seconds FROM costs WHERE machine = ?", (_here(),)
            ).fetchall()
    except _SPOILT:
        return {}
    wanted = set(digests)
    return {
        digest: seconds
        for digest, seconds in rows
        if digest in wanted and isinstance(seconds, float) and 0 <= seconds < _MOST_SECONDS
    }


def _here() -> str:
    """Name this machine, however many of its cores this process may use."""
    told = {key: value for key, value in machine().items() if key != "cores"}
    return json.dumps(told, sort_keys=True)
