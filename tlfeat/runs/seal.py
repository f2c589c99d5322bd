"""Is a file of a run still as it was written? A JSON record that keeps its own SHA-256.

One digit of a validation accuracy changes who wins, and nothing in the file looks wrong. What
does not match its digest is named, and is left out of tables.
"""

import hashlib
import json
import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

from tlfeat.errors import DamagedFile, first_line

SEAL: Final = "sha256"
_MOST_BYTES: Final = 256 * 2**20  # of a record; ours have kilobytes


def sealed(record: Mapping[str, Any]) -> dict[str, Any]:
    """Give a record with the digest of all that is in it.

    Parameters
    ----------
    record : mapping
        Of plain JSON values, all numbers finite.

    Returns
    -------
    sealed : dict
        With "sha256": of the canonical JSON of everything else.
    """
    rest = {key: value for key, value in record.items() if key != SEAL}
    return {**rest, SEAL: _digest(rest)}


def is_intact(record: Mapping[str, Any]) -> bool:
    """Say whether a record is what `sealed` gave."""
    rest = {key: value for key, value in record.items() if key != SEAL}
    return bool(record.get(SEAL) == _digest(rest))


def _digest(record: Mapping[str, Any]) -> str:
    text = json.dumps(record, sort_keys=True, separators=(",", ":"), allow_nan=False)
    return hashlib.sha256(text.encode()).hexdigest()


def read_record(path: Path) -> dict[str, Any]:
    """Read a JSON object from a file, whatever lies there.

    Raises
    ------
    FileNotFoundError
        If there is none.
    DamagedFile
        If it cannot be read, or is no JSON object.
    """
    try:
        with path.open("rb") as file:
            data = file.read(_MOST_BYTES + 1)
        if len(data) > _MOST_BYTES:
            raise ValueError("it is far too large")
        record = json.loads(
            data.decode("utf-8"), parse_constant=_refuse, parse_float=_finite_number
        )
    except FileNotFoundError:
        raise
    except (OSError, ValueError, RecursionError) as error:
        raise DamagedFile(f"{path} cannot be read ({first_line(error)}).") from None
    if not isinstance(record, dict):
        raise DamagedFile(f"{path} cannot be read (it holds {type(record).__name__}, no object).")
    return record


def _refuse(constant: str) -> float:
    raise ValueError(f"{constant} is no number of JSON")


def _finite_number(text: str) -> float:
    number = float(text)
    return number if math.isfinite(number) else _refuse(text)
