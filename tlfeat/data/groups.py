"""Which pictures belong together: as the source tells, as a column or a file says, or not at all.

A file of groups (groups.csv) has a row a picture: its digest, its group or nothing, and the id by
which a person finds it. What it says of a picture is believed, whatever the source tells.
"""

import csv
import hashlib
import io
import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, NamedTuple

from tlfeat.data.names import counted, printable
from tlfeat.errors import DataError
from tlfeat.files import write_text

GROUPS: Final = "groups.csv"
AUTO_GROUPS: Final = "auto"
NO_GROUPS: Final = "none"
_HEADER: Final = ("digest", "group", "id")


class GroupRow(NamedTuple):
    """A row of a file of groups."""

    digest: str
    group: str  # "" where a picture is alone
    id: str


def groups_file(study: Path, asked: Mapping[str, Any]) -> Path:
    """Give the file in which a study keeps the groups that were found in a dataset.

    Parameters
    ----------
    study : Path
        The folder.
    asked : mapping
        How the dataset is opened. A part of a dataset has a file of its own, so that what was
        found in one never names the groups of the other.

    Returns
    -------
    path : Path
        groups.csv, or groups-<8 digits>.csv.
    """
    parted = {
        name: value
        for name, value in asked.items()
        if value and name not in ("groups", "split_seed")
    }
    if not parted:
        return study / GROUPS
    digest = hashlib.sha256(json.dumps(parted, sort_keys=True).encode()).hexdigest()
    return study / f"groups-{digest[:8]}.csv"


def read_groups(path: str | Path) -> dict[str, str]:
    """Read a file of groups.

    Parameters
    ----------
    path : str or Path

    Returns
    -------
    groups : dict of str to str
        Digest of every picture of the file to the name of its group, "" where it has none.

    Raises
    ------
    DataError
        If it cannot be read, or is no such file.
    """
    try:
        with Path(path).open(encoding="utf-8-sig", newline="") as file:
            rows = list(csv.reader(file))
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise DataError(f"The groups of {str(path)!r} cannot be read: {error}.") from error
    if not rows or tuple(rows[0]) != _HEADER or any(len(row) != len(_HEADER) for row in rows[1:]):
        raise DataError(
            f"{str(path)!r} is no file of groups: wanted columns {', '.join(_HEADER)}, as "
            "--groups auto writes them in a study's folder."
        )
    return {digest: printable(group) for digest, group, _ in rows[1:]}


def write_groups(path: Path, rows: Iterable[GroupRow]) -> None:
    """Write a file of groups.

    Raises
    ------
    TlfeatError
        If the disk is full, or refuses the file.
    """
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(_HEADER)
    writer.writerows(rows)
    write_text(path, text.getvalue())


@dataclass(frozen=True)
class Grouping:
    """What a dataset is told of its groups.

    Attributes
    ----------
    said : str or None
        "none", a column or a file, as it is asked for again; None where nothing was said.
    column : str or None
        The source's column that tells them.
    found : mapping of str to str or None
        Digest to group, from a file.
    """

    said: str | None = None
    column: str | None = None
    found: Mapping[str, str] | None = None

    @classmethod
    def of(cls, groups: str | Path | None) -> "Grouping":
        """Understand what was said of groups.

        Parameters
        ----------
        groups : str, Path or None
            "none", a file of groups (*.csv), or a column of the source.

        Returns
        -------
        grouping : Grouping

        Raises
        ------
        DataError
            If it is none of these, or the file cannot be read.
        """
        if groups is None:
            return cls()
        if not isinstance(groups, str | Path) or not str(groups):
            raise DataError(f"groups must be none, a column or a file of groups; got {groups!r}.")
        if groups == AUTO_GROUPS:
            raise DataError(
                "A dataset is opened before its groups can be found by what is in the pictures: "
                "tlfeat.find_groups(dataset) does it then."
            )
        if groups == NO_GROUPS:
            return cls(NO_GROUPS)
        if str(groups).lower() in (AUTO_GROUPS, NO_GROUPS):
            raise DataError(f"groups is {groups!r}: write {str(groups).lower()}.")
        if str(groups).lower().endswith(".csv"):
            return cls(str(Path(groups).absolute()), found=read_groups(groups))
        return cls(str(groups), column=str(groups))

    def columns(self, columns: Mapping[str, str] | None) -> dict[str, str]:
        """Give the names of the source's columns, with that of the groups.

        Raises
        ------
        DataError
            If another column is named for them.
        """
        named = dict(columns or {})
        if self.column is not None and named.setdefault("group", self.column) != self.column:
            raise DataError(
                f"Groups are to be told by {self.column!r}, and by {named['group']!r} of the "
                "columns: name one."
            )
        return named

    def group(self, told: str | None, digest: str) -> str | None:
        """Give the group of a picture of which the source tells one, or None."""
        if self.said == NO_GROUPS:
            return None
        return told if self.found is None else self.found[digest] or None

    def check(self, digests: Iterable[str]) -> None:
        """See that a file of groups knows all pictures.

        Raises
        ------
        DataError
            If it does not.
        """
        there = set(digests)
        unknown = 0 if self.found is None else len(there - self.found.keys())
        if unknown:
            raise DataError(
                f"{self.said} knows {len(there) - unknown:,} of "
                f"{counted(len(there), 'picture')}: it is of another dataset, or pictures were "
                "added. --groups auto finds groups anew."
            )
