"""A table of the pictures that an audit leaves: what is trained on when copies are out."""

import csv
import io
import os
from collections import Counter
from collections.abc import Mapping
from pathlib import Path
from typing import Final, NamedTuple

from tlfeat.audit.audit import Audit
from tlfeat.audit.findings import ALIKE, COPIES
from tlfeat.audit.odd import BLANK
from tlfeat.data.dataset import Dataset
from tlfeat.data.names import SPLITS, TRAIN, VALIDATION, label_name
from tlfeat.data.samples import Sample
from tlfeat.errors import DataError
from tlfeat.files import write_bytes
from tlfeat.remote.endpoint import RemoteObject
from tlfeat.remote.urls import without_secrets

CONFLICT: Final = "under two labels"
COPY: Final = "a copy of one that is kept"
LEAK: Final = "one picture with one that is held out"
UNREAD: Final = "without features"


class Cleaned(NamedTuple):
    """What a clean table holds.

    Attributes
    ----------
    kept : int
        Samples.
    left_out : mapping of str to int
        Reason to samples.
    emptied : tuple of str
        Classes that have no train picture any more.
    """

    kept: int
    left_out: Mapping[str, int]
    emptied: tuple[str, ...]


def check_table(dataset: Dataset, path: str | Path) -> None:
    """See that a clean table can be written, before anything is computed.

    Raises
    ------
    DataError
        If `path` is no CSV's or there is such a file, the pictures are no files, or a name would
        not be read as it was written.
    """
    path = Path(path)
    if path.suffix.lower() != ".csv":
        raise DataError(f"A clean table is a CSV; got {str(path)!r}: name it *.csv.")
    if path.exists():
        raise DataError(f"{path} is there already and is not overwritten: name another file.")
    for sample in dataset.samples:
        if not isinstance(sample.locator, str | RemoteObject):
            raise DataError(
                f"A clean table lists files, and the pictures of this dataset ({dataset.kind}) "
                "are none: it can be had of folders and tables of pictures."
            )
        place = _file_of(sample, path)
        if without_secrets(place) != place:
            raise DataError(
                f"A clean table lists where pictures are, and the URL of {sample.id} has a "
                "signature or a password, which are written nowhere."
            )
        label = dataset.label_name(sample) or ""
        for name in (place, label, sample.group or ""):
            if name != name.strip() or label_name(label) != label:
                raise DataError(
                    f"A table would not be read as it was written: {name!r} of {sample.id} begins "
                    "or ends with a space, or is escaped. Rename it first."
                )


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
        pictures that are one with a picture that is kept and held out further go, where the
        source has the splits; blank ones and those that could not be read go. Labels in doubt
        stay: they are for a person to judge.
    """
    data = audit.dataset
    reasons = {one.id: UNREAD for one in data.samples if one.digest not in audit.groups}
    reasons |= {one.id: BLANK for one in audit.of(BLANK)}
    for same in audit.together(*COPIES):
        labels = {sample.label for sample in same} - {None}
        kept = min(same, key=lambda one: (one.label is None, _held_out(one.split)))
        for sample in same:
            if len(labels) > 1:
                reasons.setdefault(sample.id, CONFLICT)
            elif sample is not kept:
                reasons.setdefault(sample.id, COPY)
    for alike in audit.together(*ALIKE):
        left = [sample for sample in alike if sample.id not in reasons]
        furthest = min((_held_out(_split_of(one, data)) for one in left), default=0)
        for sample in left:
            if _held_out(_split_of(sample, data)) > furthest:
                reasons[sample.id] = LEAK
    return reasons


def write_clean(audit: Audit, path: str | Path) -> Cleaned:
    """Write the pictures that are left as a table that `open_dataset` takes; none is changed.

    Splits that the source has are written; those that we carve out are not, so that they are
    carved anew, with scenes on one side.

    Parameters
    ----------
    audit : Audit
    path : str or Path
        Of the table, *.csv. Pictures below its folder are named from there.

    Returns
    -------
    cleaned : Cleaned

    Raises
    ------
    DataError
        As from `check_table`.
    TlfeatError
        If the table cannot be written.

    Examples
    --------
    >>> audit = tlfeat.audit_dataset("garments")  # doctest: +SKIP
    >>> tlfeat.write_clean(audit, "garments-clean.csv").kept  # doctest: +SKIP
    """
    data, path = audit.dataset, Path(path)
    check_table(data, path)
    reasons = left_out(audit)
    kept = [sample for sample in data.samples if sample.id not in reasons]
    sizes = Counter(audit.groups[sample.digest] for sample in kept)
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(["path", "label", "split", "group"])
    for sample in kept:
        group = audit.groups[sample.digest]
        writer.writerow(
            [
                _file_of(sample, path),
                data.label_name(sample) or "",
                _split_of(sample, data) or "",
                group if sizes[group] > 1 else "",
            ]
        )
    write_bytes(path, text.getvalue().encode("utf-8", "surrogateescape"))
    before, after = (
        {data.label_name(one) for one in some if one.split not in (None, VALIDATION, "test")}
        for some in (data.samples, kept)
    )
    emptied = tuple(name for name in data.classes if name in before - after)
    return Cleaned(len(kept), Counter(reasons.values()), emptied)


def _split_of(sample: Sample, dataset: Dataset) -> str | None:
    """Give the split that the source has for a sample; None where we made it."""
    if dataset.split_rule == "source" or sample.split is None:
        return sample.split
    if dataset.split_rule.startswith("source"):  # test was carved out of its train
        return VALIDATION if sample.split == VALIDATION else TRAIN
    return None


def _held_out(split: str | None) -> int:
    """Order splits by how far they are held out: test first."""
    return -SPLITS.index(split) if split is not None else 1


def _file_of(sample: Sample, table: Path) -> str:
    if isinstance(sample.locator, RemoteObject):
        return sample.locator.url
    file, folder = Path(str(sample.locator)), table.absolute().parent
    return os.path.relpath(file, folder) if file.is_relative_to(folder) else str(file)
