"""zip and tar archives, read in place; nothing is ever unpacked beside them.

The folders in an archive mean what they mean on disk. A tar with `.cls` or `.json` members beside
its pictures is a webdataset: each stem is one sample, and a folder of tar files is one set.

What could go wrong: links that lead out of an archive are never followed; a member's name is only
a name; a member that claims to unpack to gigabytes is skipped before it is touched.
"""

import json
import os
import tarfile
import threading
import weakref
import zipfile
import zlib
from collections import Counter
from collections.abc import Collection, Hashable, Iterable, Sequence
from pathlib import Path
from typing import IO, Any, NamedTuple, Protocol, cast

from tlfeat.data.layout import (
    OTHER_SUFFIXES,
    PICTURE_SUFFIXES,
    find_places,
    is_clutter,
    looks_like_picture,
    suffix_of,
)
from tlfeat.data.names import be, counted, label_name, printable
from tlfeat.data.sources.base import (
    Listing,
    Picture,
    Row,
    SkippedRow,
    SourceOptions,
    refuse_columns,
    size_problem,
)
from tlfeat.data.sources.contents import recall, remember
from tlfeat.data.sources.parquet import split_of_name
from tlfeat.data.sources.spool import refuse_bomb, spool
from tlfeat.data.sources.stored import DiskFile, StoredFile, read_all_at
from tlfeat.errors import DataError

_COMPRESSED = (b"\x1f\x8b", b"BZh", b"\xfd7zXZ\x00")
_LABEL_BYTES = 2**16  # a label file of more is none
_LABEL_KEYS = ("label", "cls", "class", "class_name", "category")


class Member(NamedTuple):
    """One file in an archive."""

    name: str
    key: Hashable  # how the archive finds it
    size: int
    problem: str | None = None


class Archive(Protocol):
    """An archive: its members, and the bytes of each."""

    file: StoredFile

    def members(self) -> list[Member]:
        """List the files, each name once; links and other things only with their problem."""
        ...

    def read(self, key: Hashable) -> bytes:
        """Read one file; safe in threads; OSError where it cannot be."""
        ...


def detect_file(file: StoredFile, head: bytes, options: SourceOptions) -> "ArchiveSource | None":
    """Know zip and tar files, compressed ones too."""
    if head.startswith(b"PK"):
        return ArchiveSource([ZipArchive(file)], options)
    if head[257:262] == b"ustar" or _is_tar(file, head):
        return ArchiveSource([TarArchive(file, head)], options)
    if head.startswith(_COMPRESSED):
        raise DataError(f"{file.shown!r} is compressed and no archive; unpack it first.")
    return None


def detect_folder(
    path: Path, names: frozenset[str], options: SourceOptions
) -> "ArchiveSource | None":
    """Know a folder that holds tar files and nothing else that could be pictures."""
    return of_shards([DiskFile(path / name) for name in shards_among(names)], options)


def shards_among(names: Collection[str]) -> list[str]:
    """Give the tar files among names, where nothing else of them could be pictures."""
    shards = sorted(n for n in names if n.endswith(".tar") and not is_clutter(n))
    others = any(not is_clutter(n) and suffix_of(n) not in OTHER_SUFFIXES for n in names)
    return [] if others else shards


def of_shards(files: Sequence[StoredFile], options: SourceOptions) -> "ArchiveSource | None":
    """Give the one set that tar files hold, or None where there are none."""
    return ArchiveSource([TarArchive(file, b"") for file in files], options) if files else None


class ArchiveSource:
    """Pictures in archives; a locator is (archive, key of the member)."""

    def __init__(self, archives: Sequence[Archive], options: SourceOptions):
        self.archives = archives
        self.kind = "zip" if isinstance(archives[0], ZipArchive) else "tar"
        self.options = options
        refuse_columns(options, f"a {self.kind} archive")

    def listing(self) -> Listing:
        """List the pictures of all archives."""
        rows: list[Row] = []
        skipped: list[SkippedRow] = []
        notes: list[str] = []
        ignored: Counter[str] = Counter()
        for at, archive in enumerate(self.archives):
            part = self._list_archive(at, archive, ignored)
            rows += part.rows
            skipped += part.skipped
            notes += [note for note in part.notes if note not in notes]
        if not rows and not skipped:
            raise DataError(f"No picture is in {self.archives[0].file.shown!r}.")
        if ignored:
            what = ", ".join(f"{n} {kind}" for kind, n in sorted(ignored.items()))
            notes.append(
                f"{counted(ignored.total(), 'member')} {be(ignored.total(), 'was', 'were')} "
                f"ignored: {what}"
            )
        return Listing(rows, skipped, notes)

    def read(self, locator: Hashable) -> Picture:
        """Read the bytes of one member."""
        assert isinstance(locator, tuple)
        at, key = locator
        return self.archives[at].read(key)

    def _list_archive(self, at: int, archive: Archive, ignored: Counter[str]) -> Listing:
        members, labels = self._contents(archive)
        found: list[tuple[tuple[str, ...], Member]] = []
        for member in members:
            parts = _parts(member.name)
            if not parts or any(map(is_clutter, parts)):
                ignored["hidden or of the system"] += 1
                continue
            suffix = suffix_of(parts[-1])
            if suffix in PICTURE_SUFFIXES or (
                suffix not in OTHER_SUFFIXES and self._sniff(archive, member)
            ):
                found.append((parts, member))
            elif member.problem:
                ignored[member.problem] += 1
            else:
                ignored["." + printable(suffix) if suffix else "without a suffix"] += 1
        places, notes = find_places([parts[:-1] for parts, _ in found], self.options.split_names)
        shard = f"{printable(archive.file.name)}/" if len(self.archives) > 1 else ""
        stem = archive.file.name.rpartition(".")[0] or archive.file.name
        shard_split = split_of_name(stem, self.options.split_names) if shard or labels else None
        if labels:
            self.kind = "webdataset"
            for name in [n for n in ignored if n in (".cls", ".json")]:
                del ignored[name]
            if any(_stem(member.name) in labels for _, member in found):
                notes = []
        stamp_of = archive.file.stamps()
        rows: list[Row] = []
        skipped: list[SkippedRow] = []
        for (parts, member), place in zip(found, places, strict=True):
            identity = shard + printable("/".join(parts))
            label = labels.get(_stem(member.name)) if labels else place.label
            split = place.split or shard_split
            problem = member.problem or size_problem(member.size)
            if problem:
                skipped.append(SkippedRow(identity, problem, label, split))
            else:
                stamp = stamp_of(printable(member.name))
                rows.append(Row(identity, (at, member.key), label, split, None, stamp))
        return Listing(rows, skipped, notes)

    def _contents(self, archive: Archive) -> tuple[list[Member], dict[str, str]]:
        """Give the members, and the labels that lie beside pictures in a webdataset."""
        if not isinstance(archive, TarArchive):
            return archive.members(), {}
        stamp = archive.file.stamps()("") if archive.file.is_far else None
        said = recall(self.options.cache, stamp)
        if said is not None:
            members, labels = said
            return [Member(name, tuple(at), *more) for name, at, *more in members], dict(labels)
        members = archive.members()
        labels = _sidecars(archive, members)
        if archive.is_whole:
            remember(self.options.cache, stamp, (members, labels))
        return members, labels

    @staticmethod
    def _sniff(archive: Archive, member: Member) -> bool:
        if member.problem or size_problem(member.size):
            return False
        try:
            return looks_like_picture(archive.read(member.key)[:16])
        except OSError:
            return False


class ZipArchive:
    """A zip archive."""

    def __init__(self, file: StoredFile):
        self.file = file
        self._lock = threading.Lock()
        self._zip: zipfile.ZipFile | None = None

    def __reduce__(self) -> tuple[type["ZipArchive"], tuple[StoredFile]]:
        return ZipArchive, (self.file,)

    def _open(self) -> zipfile.ZipFile:
        if self._zip is None:
            file = self.file.open()
            try:
                self._zip = zipfile.ZipFile(file)
                weakref.finalize(self, file.close)
            except (zipfile.BadZipFile, OSError) as error:
                file.close()
                raise DataError(f"{self.file.shown!r} cannot be read as zip: {error}.") from error
        return self._zip

    def members(self) -> list[Member]:
        """List the files; of two with one name the later one counts, as when unpacking."""
        found: dict[str, Member] = {}
        unpacked = sum(info.file_size for info in self._open().infolist())
        refuse_bomb(self.file.shown, self.file.size, unpacked)
        for at, info in enumerate(self._open().infolist()):
            if info.is_dir():
                continue
            problem = None
            if info.create_system == 3 and (info.external_attr >> 28) not in (0, 8):
                problem = "not a regular file"
            elif info.flag_bits & 1:
                problem = "encrypted"
            found[info.filename] = Member(
                info.filename.replace("\\", "/"), at, info.file_size, problem
            )
        return list(found.values())

    def read(self, key: Hashable) -> bytes:
        """Read one member."""
        assert isinstance(key, int)
        with self._lock:
            archive = self._open()
            try:
                return archive.read(archive.infolist()[key])
            except (
                zipfile.BadZipFile,
                zlib.error,
                NotImplementedError,
                RuntimeError,
                EOFError,
            ) as error:
                raise OSError(f"damaged member: {error}") from error


class TarArchive:
    """A tar archive; a compressed one is unpacked to a temporary file first."""

    def __init__(self, file: StoredFile, head: bytes):
        self.file = file
        self._compressed = head.startswith(_COMPRESSED)
        self._head = head
        self._lock = threading.Lock()
        self._unpacked: IO[bytes] | None = None
        self.is_whole = True  # so far as it was listed

    def __reduce__(self) -> tuple[type["TarArchive"], tuple[StoredFile, bytes]]:
        return TarArchive, (self.file, self._head)

    def members(self) -> list[Member]:
        """List the files; of two with one name the later one counts, as when unpacking."""
        found: dict[str, Member] = {}
        try:
            with (
                self._opened() as file,
                tarfile.open(fileobj=file, mode="r:", errors="surrogateescape") as archive,
            ):
                while (info := archive.next()) is not None:
                    cast("Any", archive).members = []  # it would keep every header
                    if info.isdir():
                        continue
                    plain = info.isreg() and not info.issparse()
                    problem = None if plain else "not a regular file"
                    found[info.name] = Member(
                        info.name, (info.offset_data, info.size), info.size, problem
                    )
        except (tarfile.TarError, OSError, ValueError, EOFError) as error:
            self.is_whole = False
            cannot_read = isinstance(error, OSError) and not isinstance(error, tarfile.TarError)
            if not found or cannot_read:  # one that is torn has those that were read
                raise DataError(f"{self.file.shown!r} cannot be read as tar: {error}.") from error
        return list(found.values())

    def read(self, key: Hashable) -> bytes:
        """Read one member; reading at an offset needs no lock."""
        assert isinstance(key, tuple)
        offset, size = key
        if self._compressed:
            data = read_all_at(self._unpack(), offset, size)
        else:
            data = self.file.read_at(offset, size)
        if len(data) < size:
            raise OSError("the archive ends before its member does")
        return data

    def _opened(self) -> IO[bytes]:
        """Open it unpacked, at its beginning."""
        if not self._compressed:
            return self.file.open()
        file = os.fdopen(os.dup(self._unpack().fileno()), "rb")
        file.seek(0)
        return file

    def _unpack(self) -> IO[bytes]:
        with self._lock:
            if self._unpacked is None:
                self._unpacked = _unpacked(self.file)
                weakref.finalize(self, self._unpacked.close)
            return self._unpacked


def _is_tar(file: StoredFile, head: bytes) -> bool:
    """Tell old tar files without a mark, and compressed ones."""
    if not head.startswith(_COMPRESSED) and ".tar" not in file.name.lower():
        return False
    try:
        with file.open() as opened, tarfile.open(fileobj=opened) as archive:
            return archive.next() is not None
    except (tarfile.TarError, OSError, EOFError, zlib.error):
        return False


def _unpacked(file: StoredFile) -> IO[bytes]:
    import bz2
    import gzip
    import lzma

    openers: dict[bytes, Any] = dict(
        zip(_COMPRESSED, (gzip.open, bz2.open, lzma.open), strict=True)
    )
    with file.open() as packed:
        head = packed.read(6)
        packed.seek(0)
        opener = next(opener for magic, opener in openers.items() if head.startswith(magic))
        with opener(packed, "rb") as stream:
            return spool(stream, packed, None, file.shown)


def _parts(name: str) -> tuple[str, ...]:
    """Split a member's name; what would lead upwards is only dropped, for nothing is unpacked."""
    return tuple(part for part in name.split("/") if part not in ("", ".", ".."))


def _stem(name: str) -> str:
    """Give what the members of one sample share: all up to the first dot of the file name."""
    folder, _, file = name.rpartition("/")
    return f"{folder}/{file.partition('.')[0]}"


def _sidecars(archive: Archive, members: Iterable[Member]) -> dict[str, str]:
    """Read the labels beside the pictures of a webdataset."""
    labels: dict[str, str] = {}
    pictures = {_stem(m.name) for m in members if suffix_of(m.name) in PICTURE_SUFFIXES}
    for member in members:
        suffix = suffix_of(member.name)
        stem = _stem(member.name)
        if suffix not in ("cls", "json") or stem not in pictures or stem in labels:
            continue
        if member.problem or member.size > _LABEL_BYTES:
            continue
        text = archive.read(member.key).decode("utf-8", "surrogateescape").strip()
        label = text if suffix == "cls" else _json_label(text)
        if label:
            labels[stem] = label_name(label)
    return labels


def _json_label(text: str) -> str | None:
    try:
        record = json.loads(text)
    except ValueError:
        return None
    if isinstance(record, dict):
        record = next((record[key] for key in _LABEL_KEYS if key in record), None)
    return str(record) if isinstance(record, (str, int)) else None
