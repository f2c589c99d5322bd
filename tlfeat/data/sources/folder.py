"""A folder of pictures: class folders, with or without split folders, or no folders at all."""

import os
from collections import Counter
from collections.abc import Collection, Hashable
from operator import attrgetter
from pathlib import Path

from tlfeat.data.layout import (
    OTHER_SUFFIXES,
    PICTURE_SUFFIXES,
    find_places,
    is_clutter,
    looks_like_picture,
    suffix_of,
)
from tlfeat.data.names import be, counted, printable
from tlfeat.data.sources.base import (
    Listing,
    Picture,
    Row,
    SkippedRow,
    SourceOptions,
    Stamp,
    file_problem,
    read_file,
    refuse_columns,
    stamp_of,
)
from tlfeat.errors import DataError


class FolderSource:
    """Pictures under a folder; a locator is the path of a file.

    Links are followed, wherever they lead; a link back to a folder above itself is not.
    """

    kind = "folder"

    def __init__(self, path: Path, options: SourceOptions):
        refuse_columns(options, "a folder")
        self.path = path
        self.options = options

    def listing(self) -> Listing:
        """List the pictures, sorted by path."""
        walk = _Walk()
        walk.folder(str(self.path.resolve()), (), frozenset())
        return walk.listing(str(self.path), self.options.split_names)

    def read(self, locator: Hashable) -> Picture:
        """Read the bytes of one picture."""
        assert isinstance(locator, str)
        return read_file(locator)


class Tree:
    """What lies in a tree: pictures, problems, and counts of what was left aside."""

    def __init__(self) -> None:
        self.pictures: list[tuple[tuple[str, ...], str, Hashable, Stamp | None]] = []
        self.problems: list[tuple[tuple[str, ...], str, str]] = []
        self.ignored: Counter[str] = Counter()
        self.clutter = 0
        self.loops = 0
        self.empty = True
        self.without_pictures: list[str] = []

    def listing(self, place: str, split_names: Collection[str]) -> Listing:
        """Give the rows of what was found, with splits and labels from their folders.

        Raises
        ------
        DataError
            If there is no picture; it names the place.
        """
        if not self.pictures and not self.problems:
            if self.empty:
                raise DataError(f"The folder {place!r} is empty; pictures were expected.")
            seen = ", ".join(f"{n} {suffix}" for suffix, n in _commonest(self.ignored))
            raise DataError(
                f"No picture lies in {place!r} or below it"
                + (f" (only: {seen})" if seen else "")
                + "; expected files like CLASS/picture.jpg."
            )
        folders = [folder for folder, *_ in self.pictures]
        folders += [folder for folder, _, _ in self.problems]
        places, notes = find_places(folders, split_names)
        rows = [
            Row(printable("/".join((*folder, name))), at, place_.label, place_.split, None, stamp)
            for (folder, name, at, stamp), place_ in zip(self.pictures, places, strict=False)
        ]
        skipped = [
            SkippedRow(printable("/".join((*folder, name))), reason, place_.label, place_.split)
            for (folder, name, reason), place_ in zip(
                self.problems, places[len(self.pictures) :], strict=True
            )
        ]
        return Listing(rows, skipped, [*notes, *self.notes()])

    def leave_aside(self, suffix: str) -> None:
        """Count a file that is no picture by its suffix."""
        self.ignored["." + printable(suffix) if suffix else "without a suffix"] += 1

    def notes(self) -> list[str]:
        """Say what was left aside."""
        notes = []
        if self.clutter:
            notes.append(f"{self.clutter} hidden or system files and folders were ignored")
        if self.ignored:
            n = self.ignored.total()
            what = ", ".join(f"{count} {suffix}" for suffix, count in _commonest(self.ignored))
            notes.append(
                f"{counted(n, 'file')} that {be(n)} no picture{'' if n == 1 else 's'} "
                f"{be(n, 'was', 'were')} ignored: {what}"
            )
        if self.loops:
            notes.append(f"{counted(self.loops, 'link')} back to a folder above not followed")
        if self.without_pictures:
            names = ", ".join(self.without_pictures[:5])
            more = ", ..." if len(self.without_pictures) > 5 else ""
            notes.append(
                f"{counted(len(self.without_pictures), 'folder')} without pictures: {names}{more}"
            )
        return notes


class _Walk(Tree):
    """One pass over a tree on a disk."""

    def folder(self, path: str, parts: tuple[str, ...], above: frozenset[tuple[int, int]]) -> None:
        """Walk one folder; `above` holds (device, inode) of the folders that led here."""
        try:
            status = Path(path).stat()
            with os.scandir(path) as entries:
                listed = sorted(entries, key=attrgetter("name"))
        except OSError as error:
            if not parts:
                raise DataError(f"{path!r} cannot be listed: {error.strerror}.") from error
            self.problems.append((parts[:-1], parts[-1], f"cannot be listed: {error.strerror}"))
            return
        here = (status.st_dev, status.st_ino)
        if here in above:
            self.loops += 1
            return
        before = len(self.pictures) + len(self.problems)
        for entry in listed:
            self.empty = False
            if is_clutter(entry.name):
                self.clutter += 1
            elif self._is_dir(entry):
                self.folder(entry.path, (*parts, entry.name), above | {here})
            else:
                self._file(entry, parts)
        if parts and len(self.pictures) + len(self.problems) == before:
            self.without_pictures.append(printable("/".join(parts)))

    @staticmethod
    def _is_dir(entry: "os.DirEntry[str]") -> bool:
        try:
            return entry.is_dir()
        except OSError:  # a link that leads to itself
            return False

    def _file(self, entry: "os.DirEntry[str]", parts: tuple[str, ...]) -> None:
        suffix = suffix_of(entry.name)
        if suffix in OTHER_SUFFIXES:
            self.leave_aside(suffix)
            return
        try:
            status = entry.stat()
        except OSError as error:
            self.problems.append((parts, entry.name, f"cannot be read: {error.strerror}"))
            return
        problem = file_problem(status)
        if suffix not in PICTURE_SUFFIXES and (problem or not _sniff(entry.path)):
            self.leave_aside(suffix)
        elif problem:
            self.problems.append((parts, entry.name, problem))
        else:
            self.pictures.append((parts, entry.name, entry.path, stamp_of(entry.path, status)))


def _commonest(counts: Counter[str]) -> list[tuple[str, int]]:
    return sorted(counts.items(), key=lambda item: (-item[1], item[0]))[:4]


def _sniff(path: str) -> bool:
    """Look at the first bytes of a file whose name tells nothing."""
    try:
        with Path(path).open("rb", buffering=0) as file:
            return looks_like_picture(file.read(16))
    except OSError:
        return False
