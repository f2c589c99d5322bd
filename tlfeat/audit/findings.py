"""What an audit finds, a line each, as a table keeps it."""

import csv
import io
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Final, NamedTuple

from tlfeat.audit.odd import KINDS
from tlfeat.files import write_text

BYTES, PIXELS, NEAR, SCENE = "same bytes", "same pixels", "near-duplicate", "same scene"
COPIES: Final = (BYTES, PIXELS)
ALIKE: Final = (BYTES, PIXELS, NEAR)  # that are one picture
PAIRS: Final = (*ALIKE, SCENE)
LABEL: Final = "label"
ORDER: Final = (*PAIRS, LABEL, *KINDS)

# What a picture is said to be, the gravest first.
LEAKED, TWO_LABELS, DOUBTED = "copy across splits", "copy under two labels", "label in doubt"
SHARED, COPY, OF_SCENE, ODD = "scene across splits", "copy", "of a scene", "odd"
GRAVITY: Final = (LEAKED, TWO_LABELS, DOUBTED, SHARED, COPY, OF_SCENE, ODD)


class Finding(NamedTuple):
    """One thing that is wrong, or may be, with a picture or with two.

    `score` is, of two pictures, how alike they are in deviations of what is usual (none where
    their bytes or pixels are the same); of a label how much likelier another class is, 0 to 1; of
    an odd picture what is odd about it.
    """

    finding: str
    id: str
    digest: str
    split: str
    label: str
    other: str = ""
    other_digest: str = ""
    other_split: str = ""
    other_label: str = ""
    score: float | None = None
    note: str = ""

    @property
    def is_pair(self) -> bool:
        """Whether it is of two pictures."""
        return self.finding in PAIRS

    @property
    def is_across(self) -> bool:
        """Whether its two pictures lie in different splits."""
        return self.is_pair and _differ(self.split, self.other_split)

    @property
    def is_conflict(self) -> bool:
        """Whether one picture has two labels."""
        return self.finding in ALIKE and _differ(self.label, self.other_label)

    @property
    def word(self) -> str:
        """What it makes of its pictures, one of `GRAVITY`."""
        if self.finding == SCENE:
            return SHARED if self.is_across else OF_SCENE
        if self.is_pair:
            return LEAKED if self.is_across else TWO_LABELS if self.is_conflict else COPY
        return DOUBTED if self.finding == LABEL else ODD


def by_picture(findings: Iterable[Finding]) -> dict[str, list[str]]:
    """Say of each picture the gravest that was found of it.

    Parameters
    ----------
    findings : iterable of Finding

    Returns
    -------
    found : dict of str to list of str
        Word of `GRAVITY`, the gravest first, to the digests of the pictures, each there once.
    """
    gravest: dict[str, int] = {}
    for one in findings:
        rank = GRAVITY.index(one.word)
        for digest in (one.digest, one.other_digest) if one.is_pair else (one.digest,):
            gravest[digest] = min(rank, gravest.get(digest, rank))
    words = {word: [d for d, rank in gravest.items() if GRAVITY[rank] == word] for word in GRAVITY}
    return {word: digests for word, digests in words.items() if digests}


def _differ(one: str, other: str) -> bool:
    """Say whether two names are there and differ: a picture without a label contradicts none."""
    return bool(one and other) and one != other


def in_order(findings: Sequence[Finding]) -> tuple[Finding, ...]:
    """Sort findings by kind; of pairs first those across splits, then those of two labels."""

    def key(one: Finding) -> tuple[int, bool, bool]:
        return ORDER.index(one.finding), not one.is_across, not one.is_conflict

    return tuple(sorted(findings, key=key))


def write_findings(path: Path, findings: Sequence[Finding]) -> None:
    """Write findings as CSV, a line each."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(Finding._fields)
    for one in findings:
        score = "" if one.score is None else f"{one.score:.4g}"
        writer.writerow(one._replace(score=score))  # type: ignore[arg-type]
    write_text(path, text.getvalue())
