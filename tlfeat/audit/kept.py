"""What was found of a dataset when its study was looked over, kept in the study's folder."""

import json
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any, Final

TRUST: Final = "trust.json"


def read_kept(folder: Path) -> dict[str, Any]:
    """Read what a study's folder keeps; nothing where that is not there or not whole."""
    with suppress(OSError, ValueError):
        kept = json.loads((folder / TRUST).read_text(encoding="utf-8"))
        if isinstance(kept, dict) and isinstance(kept.get("found"), list):
            return kept
    return {}


def known_of(folders: Sequence[Path], fingerprint: str) -> list[str]:
    """Give what was found of a dataset when its study was looked over.

    Parameters
    ----------
    folders : sequence of Path
        Of studies.
    fingerprint : str
        Of the dataset.

    Returns
    -------
    sentences : list of str
    """
    for folder in folders:
        kept = read_kept(folder)
        if kept.get("fingerprint") == fingerprint:
            return list(kept["found"])
    return []
