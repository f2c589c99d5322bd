"""What an audit finds, a line each, as a table keeps it."""

import csv
import io
from collections.abc import Sequence
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
