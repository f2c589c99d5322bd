"""A CSV or TSV table of pictures: path, label[, split][, group].

Paths are relative to the table, on a disk or on a server, or are URLs. Columns are found by their
usual names, or are named by the user; a table without a header is understood where its first
field is the path of a file.
"""

import csv
import io
from collections import Counter
from collections.abc import Hashable, Iterable, Sequence
from functools import partial
from pathlib import Path
from typing import NamedTuple

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
    one_line,
    read_file,
    size_problem,
    stamp_of,
)
from tlfeat.data.sources.stored import DiskFile, ObjectFile, StoredFile, object_stamp
from tlfeat.errors import DataError, did_you_mean
from tlfeat.remote.endpoint import RemoteObject, endpoint_of
from tlfeat.remote.fetchers import fetchers
from tlfeat.remote.reader import Reader
from tlfeat.remote.urls import beside, is_url, without_secrets

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


def detect_file(file: StoredFile, head: bytes, options: SourceOptions) -> "ManifestSource | None":
    """Take a text file for a table."""
    suffix = suffix_of(file.name)
    if b"\0" in head or not (suffix in _TABLE_SUFFIXES or suffix not in OTHER_SUFFIXES):
        return None
    return ManifestSource(file, options)


class ManifestSource:
    """The pictures that a table lists; a locator is the path of a file, or an object."""

    kind = "manifest"

    def __init__(self, file: StoredFile, options: SourceOptions):
        self.file = file
        self.options = options
        self._reader = Reader()

    def listing(self) -> Listing:
        """List the table's rows in their order."""
        lines = self._lines()
        columns, lines = self._columns(lines)
        rows: list[Row] = []
        skipped: list[SkippedRow] = []
        whole = [line for line in lines if len(line) > max(columns.values())]
        short = len(lines) - len(whole)
        taken: Counter[str] = Counter()
        places = self._places([line[columns["path"]].strip() for line in whole])
        for line, place in zip(whole, places, strict=True):
            field = {what: line[at].strip() for what, at in columns.items()}
            label = label_name(field["label"]) if field.get("label") else None
            split, group = field.get("split") or None, field.get("group") or None
            name = printable(without_secrets(field["path"]).removeprefix("./"))
            identity = unique(name, taken)
            if isinstance(place, str):
                skipped.append(SkippedRow(identity, place, label, split))
            else:
                rows.append(Row(identity, place.locator, label, split, group, place.stamp))
        if not rows and not skipped:
            raise DataError(f"The table {self.file.shown!r} lists no picture.")
        notes = [f"{short} lines of the table have too few fields: left out"] if short else []
        return Listing(rows, skipped, notes)

    def read(self, locator: Hashable) -> Picture:
        """Read the bytes of one picture."""
        if isinstance(locator, RemoteObject):
            return self._reader.read(locator)
        assert isinstance(locator, str)
        return read_file(locator)

    def expect(self, locators: Iterable[Hashable]) -> None:
        """Fetch those that are on servers ahead of whoever reads them."""
        self._reader.expect([one for one in locators if isinstance(one, RemoteObject)])

    def _lines(self) -> list[list[str]]:
        data = self.file.read_at(0, self.file.size)
        text = data.decode("utf-8-sig", "surrogateescape")
        first = text.split("\n", 1)[0]
        delimiter = max("\t,;|", key=first.count) if any(d in first for d in "\t,;|") else ","
        try:
            reader = csv.reader(io.StringIO(text, newline=""), delimiter=delimiter)
            lines = [line for line in reader if any(map(str.strip, line))]
        except csv.Error as error:
            raise DataError(f"The table {self.file.shown!r} cannot be read: {error}.") from error
        if not lines:
            raise DataError(f"The table {self.file.shown!r} is empty; expected path,label lines.")
        return lines

    def _columns(self, lines: list[list[str]]) -> tuple[dict[str, int], list[list[str]]]:
        """Find the columns; give their positions and the lines below the header."""
        header = [name.strip() for name in lines[0]]
        columns = find_columns(header, self.options, USUAL, f"The table {self.file.shown!r}")
        if "path" in columns:
            return columns, lines[1:]
        if not self.options.columns and isinstance(self._place(header[0]), _Place):
            order = ("path", "label", "split", "group")
            return {what: i for i, what in enumerate(order[: len(header)])}, lines
        raise DataError(
            f"The table {self.file.shown!r} has the columns {', '.join(map(printable, header))}; "
            "none is known to hold paths. Name them, as in path=COLUMN,label=COLUMN."
        )

    def _places(self, listed: Sequence[str]) -> "list[_Place | str]":
        """Find what a table lists; servers are asked for many at once."""
        if isinstance(self.file, DiskFile) and not any(map(is_url, listed)):
            return [self._place(one) for one in listed]
        asked = [fetchers().submit(partial(self._place, one)) for one in listed]
        return [place.result() for place in asked]

    def _place(self, listed: str) -> "_Place | str":
        """Find one listed picture, or say why it cannot be one."""
        if isinstance(self.file, DiskFile) and not is_url(listed):
            return _on_disk(self.file.path.parent / listed)
        if isinstance(self.file, ObjectFile):
            listed = beside(self.file.found.url, listed)
        return _on_server(listed)


class _Place(NamedTuple):
    """Where a listed picture lies."""

    locator: Hashable
    stamp: Stamp | None


def _on_disk(path: Path) -> _Place | str:
    try:
        status = path.stat()
    except (OSError, ValueError) as error:
        return f"cannot be read: {getattr(error, 'strerror', None) or error}"
    return file_problem(status) or _Place(str(path), stamp_of(path, status))


def _on_server(url: str) -> _Place | str:
    try:
        found = endpoint_of(url).about(url)
    except OSError as error:
        return f"cannot be read: {one_line(error)}"
    if found is None:
        return "not a regular file"
    problem = size_problem(found.size) if found.size is not None else None
    return problem or _Place(found, object_stamp(found))


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
