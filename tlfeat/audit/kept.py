"""What was found of a dataset, kept in the study's folder for whoever looks at it again.

A study that was looked over keeps sentences, and both that and an audit keep what was found of
single pictures.
"""

import json
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from tlfeat.audit.findings import GRAVITY, by_picture
from tlfeat.files import write_text

if TYPE_CHECKING:
    from tlfeat.audit.audit import Audit

TRUST: Final = "trust.json"
AUDITED: Final = "audit/pictures.json"  # beside the table of an audit
_LETTERS: Final = 16  # of a digest that are kept: no two pictures share them


def read_kept(folder: Path) -> dict[str, Any]:
    """Read what a study's folder keeps; nothing where that is not there or not whole."""
    kept = _read(folder / TRUST)
    return kept if isinstance(kept.get("found"), list) else {}


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


def as_kept(audit: "Audit") -> dict[str, Any]:
    """Give what was found of single pictures, in a form that is small enough to keep."""
    found = by_picture(audit.findings)
    return {
        "fingerprint": audit.dataset.fingerprint,
        "split": audit.dataset.split_fingerprint,
        "pictures": {word: sorted(map(digest_start, found[word])) for word in found},
    }


def keep_audit(study: Path, audit: "Audit") -> None:
    """Keep what an audit found of single pictures, for the page of the study."""
    write_text(study / AUDITED, json.dumps(as_kept(audit)) + "\n")


def found_pictures(
    folders: Sequence[Path], fingerprint: str, split: str
) -> dict[str, Sequence[str]]:
    """Give what was found of single pictures of a dataset, by an audit or the look-over.

    Parameters
    ----------
    folders : sequence of Path
        Of studies.
    fingerprint, split : str
        Of the dataset, and of how it is split.

    Returns
    -------
    found : dict of str to sequence of str
        Word of `GRAVITY`, the gravest first, to the pictures, see `digest_start`. An audit is
        taken before a look-over, which looks at neither labels nor odd pictures.
    """
    for name in (AUDITED, TRUST):
        for folder in folders:
            kept = _read(folder / name)
            words = kept.get("pictures")
            same = (kept.get("fingerprint"), kept.get("split")) == (fingerprint, split)
            if same and isinstance(words, Mapping):
                return {word: words[word] for word in GRAVITY if word in words}
    return {}


def digest_start(digest: str) -> str:
    """Give the part of a picture's digest by which what was found of it is kept."""
    return digest[:_LETTERS]


def _read(path: Path) -> dict[str, Any]:
    with suppress(OSError, ValueError):
        kept = json.loads(path.read_text(encoding="utf-8"))
        if isinstance(kept, dict):
            return kept
    return {}
