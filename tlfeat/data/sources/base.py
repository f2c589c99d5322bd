"""What a source of pictures gives: rows, and the bytes or the array of each.

A source only says what is there. Digests, splits and checks are the same for all of them and
live elsewhere.
"""

import contextlib
import lzma
import os
import stat
import struct
import tarfile
import zipfile
import zlib
from collections.abc import Hashable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from types import MappingProxyType
from typing import NamedTuple, Protocol, TypeAlias

import numpy as np
import numpy.typing as npt

from tlfeat.data.names import printable
from tlfeat.errors import DataError

Picture: TypeAlias = bytes | npt.NDArray[np.uint8]

# A picture of more bytes than this is skipped: no photograph has them, and each is read whole.
MAX_BYTES = 512 * 2**20
HEAD = 512  # bytes that tell what a file is: a tar file does so only at 257


class Stamp(NamedTuple):
    """What says that the bytes behind a row are those of last time, without reading them."""

    path: bytes  # absolute path of the file
    member: str  # row or member inside that file, else ""
    size: int
    mtime_ns: int
    ctime_ns: int
    inode: int


class Row(NamedTuple):
    """One picture as the source has it."""

    id: str
    locator: Hashable
    label: str | None
    split: str | None  # the source's own word for it, not yet ours
    group: str | None
    stamp: Stamp | None


class SkippedRow(NamedTuple):
    """One thing that should have been a picture and cannot be read, with the reason."""

    id: str
    reason: str
    label: str | None
    split: str | None


@dataclass(frozen=True)
class Listing:
    """All that a source holds, in an order that is the same every time."""

    rows: Sequence[Row]
    skipped: Sequence[SkippedRow] = ()
    notes: Sequence[str] = ()
    classes: tuple[str, ...] | None = None  # in the source's own order, where it has one


@dataclass(frozen=True)
class SourceOptions:
    """What a user can say about a source.

    Attributes
    ----------
    split_names : frozenset of str
        The source's names of splits beyond the usual ones, in lower case.
    columns : mapping
        What is wanted ("path", "image", "label", "split", "group") to the source's own name.
    cache : Path, optional
        Where what is slow to find out is remembered.
    """

    split_names: frozenset[str] = frozenset()
    columns: Mapping[str, str] = field(default_factory=lambda: MappingProxyType({}))
    cache: Path | None = None


class Source(Protocol):
    """Rows, and a thread-safe way to read one."""

    kind: str

    def listing(self) -> Listing:
        """List all rows; raise DataError where nothing can be listed."""
        ...

    def read(self, locator: Hashable) -> Picture:
        """Give one picture; raise OSError where it cannot be read."""
        ...


def stamp_of(path: str | Path, status: os.stat_result, member: str = "") -> Stamp:
    """Make the stamp of a file, or of a member of it, from its stat."""
    return Stamp(
        os.fsencode(path),
        member,
        status.st_size,
        status.st_mtime_ns,
        status.st_ctime_ns,
        status.st_ino,
    )


def file_problem(status: os.stat_result) -> str | None:
    """Say why a file cannot be a picture, as far as its stat tells."""
    if not stat.S_ISREG(status.st_mode):
        return "not a regular file"
    return size_problem(status.st_size)


def size_problem(size: int) -> str | None:
    """Say why so many bytes cannot be a picture."""
    if size == 0:
        return "zero bytes"
    if size > MAX_BYTES:
        return f"{size / 2**20:,.0f} MiB, more than the {MAX_BYTES // 2**20} MiB that is read"
    return None


def read_file(path: str) -> bytes:
    """Read a regular file whole; anything else, a FIFO for instance, is an OSError at once."""
    descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    with os.fdopen(descriptor, "rb", buffering=0) as file:
        problem = file_problem(os.fstat(descriptor))
        if problem:
            raise OSError(problem)
        return file.readall()


# What readers of foreign files raise on damaged ones. TypeError, AttributeError and the like are
# not among them: those are defects of ours and keep their traceback.
_DAMAGE = (
    *(OSError, ValueError, RuntimeError, LookupError, EOFError, MemoryError, struct.error),
    *(zlib.error, lzma.LZMAError, zipfile.BadZipFile, tarfile.TarError),
)


@contextlib.contextmanager
def damage_is_an_error(path: str) -> Iterator[None]:
    """Turn what a reader raises on a damaged file into a sentence."""
    try:
        yield
    except _DAMAGE as error:
        raise DataError(f"{path!r} is damaged or cannot be read: {one_line(error)}.") from error


def read_picture(source: Source, locator: Hashable) -> Picture:
    """Read one picture; whatever the reader raises on a damaged file is an OSError."""
    try:
        return source.read(locator)
    except OSError:
        raise
    except _DAMAGE as error:
        raise OSError(f"damaged: {one_line(error)}") from error


def expect(source: Source, locators: Iterable[Hashable]) -> None:
    """Tell a source which pictures are going to be read, about in which order.

    One that reads over a network fetches them ahead; the others need not know.
    """
    hears = getattr(source, "expect", None)
    if hears is not None:
        hears(locators)


def one_line(error: Exception) -> str:
    """Give the message of an error on one printable line, not too long."""
    text = error.strerror if isinstance(error, OSError) else None
    return printable(" ".join((text or str(error)).split()) or type(error).__name__)[:200]


def refuse_columns(options: SourceOptions, kind: str) -> None:
    """Refuse column names for a source that has no columns."""
    if options.columns:
        raise DataError(
            f"Column names were given ({', '.join(options.columns.values())}), but {kind} has no "
            "columns: leave them out."
        )
