"""A table of the pictures that an audit leaves: what is trained on when copies are out."""

import csv
import io
import os
from collections import Counter
from collections.abc import Mapping
from pathlib import Path
from typing import Final

from tlfeat.audit.audit import Audit
from tlfeat.audit.findings import ALIKE, COPIES
from tlfeat.audit.odd import BLANK
from tlfeat.data.names import SPLITS
from tlfeat.data.samples import Sample
from tlfeat.errors import DataError
from tlfeat.files import write_bytes

CONFLICT: Final = "under two labels"
COPY: Final = "a copy of one that is kept"
LEAK: Final = "one picture with one that is held out"


def left_out(audit: Audit) -> dict[str, str]:
    """Say which samples a clean table leaves out.

    Parameters
    ----------
    audit : Audit

    Returns
    -------
    reasons : dict of str to str
        Sample id to the reason. Copies under two labels all go, since nobody knows; of other
        copies the one that is held out furthest stays (test, then validation, then train);
        pictures that are one with a picture of a split held out further go; blank ones go.
        Labels in doubt stay: they are for a person to judge.
    """
    reasons: dict[str, str] = {one.id: "blank" for one in audit.of(BLANK)}
    for same in audit.together(*COPIES):
        labels = {sample.label for sample in same}
        kept = min(same, key=_held_out) if len(labels) == 1 else None
        for sample in same:
            if sample is not kept:
                reasons.setdefault(sample.id, COPY if kept else CONFLICT)
    for alike in audit.together(*ALIKE):
        furthest = min(map(_held_out, alike))
        for sample in alike:
            if _held_out(sample) > furthest:
                reasons.setdefault(sample.id, LEAK)
    return reasons


def write_clean(audit: Audit, path: str | Path) -> Mapping[str, int]:
    """Write the pictures that are left as a table that `open_dataset` takes; none is changed.

    Parameters
    ----------
    audit : Audit
    path : str or Path
        Of the table, *.csv. Pictures below its folder are named from there.

    Returns
    -------
    counts : mapping of str to int
        Reason to samples that were left out, and "kept".

    Raises
    ------
    DataError
        If the pictures are no files: rows of arrays or members of archives cannot be listed.
    TlfeatError
        If the table cannot be written.
    """
    path = Path(path)
    if path.suffix.lower() != ".csv":
        raise DataError(f"A clean table is a CSV; got {str(path)!r}: name it *.csv.")
    reasons = left_out(audit)
    kept = [sample for sample in audit.dataset.samples if sample.id not in reasons]
    sizes = Counter(audit.groups.get(sample.digest, "") for sample in kept)
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(["path", "label", "split", "group"])
    for sample in kept:
        group = audit.groups.get(sample.digest, "")
        writer.writerow(
            [
                _file_of(sample, path, audit.dataset.kind),
                audit.dataset.label_name(sample) or "",
                sample.split or "",
                group if sizes[group] > 1 else "",
            ]
        )
    write_bytes(path, text.getvalue().encode("utf-8", "surrogateescape"))
    return Counter(reasons.values()) + Counter(kept=len(kept))


def _held_out(sample: Sample) -> int:
    """Order splits by how far they are held out: test first."""
    return -SPLITS.index(sample.split) if sample.split is not None else 1


def _file_of(sample: Sample, table: Path, kind: str) -> str:
    if not isinstance(sample.locator, str) or not Path(sample.locator).is_file():
        raise DataError(
            f"A clean table lists files, and the pictures of this dataset ({kind}) are none: "
            "--write-clean is for folders and tables of pictures."
        )
    file, folder = Path(sample.locator).absolute(), table.absolute().parent
    return os.path.relpath(file, folder) if file.is_relative_to(folder) else str(file)
