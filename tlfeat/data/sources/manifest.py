"""A CSV or TSV table of pictures: path, label[, split][, group].

Paths are relative to the table. Columns are found by their usual names, or are named by the
user; a table without a header is understood where its first field is the path of a file.
"""

import csv
import io
import os
from collections import Counter
from collections.abc import Hashable, Iterable, Sequence
from pathlib import Path

from tlfeat.data.layout import OTHER_SUFFIXES, suffix_of
from tlfeat.data.names import label_name, printable
from tlfeat.data.sources.base import (
    Listing,
    Picture,
    Row,
    SkippedRow,
    SourceOptions,
    Stamp,
    file_problem,
    read_file,
    stamp_of,
)
from tlfeat.errors import DataError, did_you_mean

# What is wanted, and the names by which it usually goes. A group is never guessed from another
# name, nor is a split: a column `set` may mean anything.
USUAL = {
    "path": (
        "path",
        "file",
        "filename",
        "file_name",
        "filepath",
        "file_path",
        "image",
        "image_path",
    ),
    "label": ("label", "class", "class_name", "category", "target", "classid", "class_id"),
    "split": ("split",),
    "group": ("group",),
}
_TABLE_SUFFIXES = frozenset({"csv", "tsv", "txt", "tab", ""})


def detect_file(path: Path, head: bytes, options: SourceOptions) -> "ManifestSource | None":
    """Take a text file for a table."""
    suffix = suffix_of(path.name)
    if b"\0" in head or not (suffix in _TABLE_SUFFIXES or suffix not in OTHER_SUFFIXES):
        return None
    return ManifestSource(path, options)


class ManifestSource:
    """The pictures that a table lists; a locator is the path of a file."""

    kind = "manifest"

    def __init__(self, path: Path, options: SourceOptions):
        self.path = path
        self.options = options

    def listing(self) -> Listing:
        """List the table's rows in their order."""
        lines = self._lines()
        columns, lines = self._columns(lines)
        rows: list[Row] = []
        skipped: list[SkippedRow] = []
        short = 0
        taken: Counter[str] = Counter()
        for line in lines:
            if len(line) <= max(columns.values()):
                short += 1
                continue
            field = {what: line[at].strip() for what, at in columns.items()}
            label = label_name(field["label"]) if field.get("label") else None
            split, group = field.get("split") or None, field.get("group") or None
            identity = unique(printable(field["path"].removeprefix("./")), taken)
            stamp = self._stamp(field["path"])
            if isinstance(stamp, str):
                skipped.append(SkippedRow(identity, stamp, label, split))
            else:
                rows.append(Row(identity, os.fsdecode(stamp.path), label, split, group, stamp))
        if not rows and not skipped:
            raise DataError(f"The table {str(self.path)!r} lists no picture.")
        notes = [f"{short} lines of the table have too few fields: left out"] if short else []
        return Listing(rows, skipped, notes)

    def read(self, locator: Hashable) -> Picture:
        """Read the bytes of one picture."""
        assert isinstance(locator, str)
        return read_file(locator)

    def _lines(self) -> list[list[str]]:
        text = self.path.read_bytes().decode("utf-8-sig", "surrogateescape")
        first = text.split("\n", 1)[0]
        delimiter = max("\t,;|", key=first.count) if any(d in first for d in "\t,;|") else ","
        try:
            reader = csv.reader(io.StringIO(text, newline=""), delimiter=delimiter)
            lines = [line for line in reader if any(map(str.strip, line))]
        except csv.Error as error:
            raise DataError(f"The table {str(self.path)!r} cannot be read: {error}.") from error
        if not lines:
            raise DataError(f"The table {str(self.path)!r} is empty; expected path,label lines.")
        return lines

    def _columns(self, lines: list[list[str]]) -> tuple[dict[str, int], list[list[str]]]:
        """Find the columns; give their positions and the lines below the header."""
        header = [name.strip() for name in lines[0]]
        columns = find_columns(header, self.options, USUAL, f"The table {str(self.path)!r}")
        if "path" in columns:
            return columns, lines[1:]
        first = self._stamp(header[0])
        if not self.options.columns and isinstance(first, Stamp):
            order = ("path", "label", "split", "group")
            return {what: i for i, what in enumerate(order[: len(header)])}, lines
        raise DataError(
            f"The table {str(self.path)!r} has the columns {', '.join(map(printable, header))}; "
            "none is known to hold paths. Name them, as in path=COLUMN,label=COLUMN."
        )

    def _stamp(self, path: str) -> Stamp | str:
        """Give the stamp of a listed file, or why it cannot be a picture."""
        full = self.path.parent / path
        try:
            status = full.stat()
        except (OSError, ValueError) as error:
            return f"cannot be read: {getattr(error, 'strerror', None) or error}"
        return file_problem(status) or stamp_of(full, status)


def unique(identity: str, taken: Counter[str]) -> str:
    """Make an id unique among those taken before: the second `a.png` becomes `a.png#2`."""
    taken[identity] += 1
    if taken[identity] == 1:
        return identity
    return unique(f"{identity}#{taken[identity]}", taken)


def find_columns(
    header: Sequence[str],
    options: SourceOptions,
    usual: dict[str, tuple[str, ...]],
    what: str,
) -> dict[str, int]:
    """Find the position of each wanted column, by the user's name for it or a usual one.

    Raises
    ------
    DataError
        If a column that the user names is not there, or wanted by no source of this kind.
    """
    found: dict[str, int] = {}
    for wanted, name in options.columns.items():
        if wanted not in usual:
            raise DataError(
                f"Columns can be named for {', '.join(usual)}; got {wanted!r}."
                + did_you_mean(wanted, usual)
            )
        if name not in header:
            raise DataError(
                f"{what} has no column {name!r}; there are {', '.join(map(printable, header))}."
                + did_you_mean(name, header)
            )
        found[wanted] = header.index(name)
    lower = [name.lower() for name in header]
    for wanted, names in usual.items():
        if wanted not in found:
            at = _first(names, lower)
            if at is not None and at not in found.values():
                found[wanted] = at
    return found


def _first(names: Iterable[str], header: Sequence[str]) -> int | None:
    return next((header.index(name) for name in names if name in header), None)
