"""A file that holds pictures, wherever it is stored: on a disk or on a server.

Archives and tables are read through this, so that they are the same on both.
"""

import hashlib
import io
import os
import tempfile
import threading
import weakref
from collections.abc import Callable
from functools import cached_property, partial
from pathlib import Path
from typing import IO, Protocol

from tlfeat.data.sources.base import Stamp, stamp_of
from tlfeat.remote import blocks
from tlfeat.remote.blocks import RemoteBlocks, RemoteFile
from tlfeat.remote.endpoint import RemoteObject, endpoint_of
from tlfeat.remote.urls import key_of, name_of, without_secrets


class StoredFile(Protocol):
    """One file, read from many threads."""

    is_far: bool  # passing over all of it takes long

    @property
    def name(self) -> str:
        """The name of the file, without what it lies in."""
        ...

    @property
    def shown(self) -> str:
        """Where it lies, as messages name it."""
        ...

    @property
    def size(self) -> int:
        """Its size in bytes."""
        ...

    def stamps(self) -> Callable[[str], Stamp | None]:
        """Give what makes the stamps of its members, as it is now.

        A stamp is None where nothing would tell that the file has changed.
        """
        ...

    def open(self) -> IO[bytes]:
        """Open it for reading, with positions."""
        ...

    def read_at(self, offset: int, size: int) -> bytes:
        """Read some bytes, fewer where the file ends before; OSError where it cannot be."""
        ...


class DiskFile:
    """A file on a disk."""

    is_far = False

    def __init__(self, path: Path) -> None:
        self.path = path
        self.name, self.shown = path.name, str(path)
        self._begin()

    def _begin(self) -> None:
        self._lock = threading.Lock()
        self._file: IO[bytes] | None = None

    def __reduce__(self) -> tuple[type["DiskFile"], tuple[Path]]:
        return DiskFile, (self.path,)

    @property
    def size(self) -> int:
        """Its size in bytes."""
        return self.path.stat().st_size

    def stamps(self) -> Callable[[str], Stamp]:
        """Give what makes the stamps of its members, as it is now."""
        return partial(stamp_of, self.path, self.path.stat())

    def open(self) -> IO[bytes]:
        """Open it for reading."""
        return self.path.open("rb")

    def read_at(self, offset: int, size: int) -> bytes:
        """Read some bytes; reading at an offset needs no lock."""
        with self._lock:
            if self._file is None:
                self._file = self.open()
                weakref.finalize(self, self._file.close)
        return read_all_at(self._file, offset, size)


class ObjectFile:
    """An object of a server."""

    is_far = True

    def __init__(self, found: RemoteObject) -> None:
        self.found = found
        self.name, self.shown = name_of(found.url), without_secrets(found.url)
        self._begin()

    def _begin(self) -> None:
        self._lock = threading.Lock()
        self._whole: IO[bytes] | None = None

    @cached_property
    def _blocks(self) -> RemoteBlocks | None:
        """Give the blocks of the object, where the server gives parts of it."""
        url, size = self.found.url, self.found.size
        if size is None or not self.found.ranges:
            return None
        if size > blocks.BLOCK and not endpoint_of(url).gives_parts(url):
            return None
        return RemoteBlocks(self.found)

    def __reduce__(self) -> tuple[type["ObjectFile"], tuple[RemoteObject]]:
        return ObjectFile, (self.found,)

    @property
    def size(self) -> int:
        """Its size in bytes."""
        if self.found.size is not None:
            return self.found.size
        return os.fstat(self._fetched().fileno()).st_size

    def stamps(self) -> Callable[[str], Stamp | None]:
        """Give what makes the stamps of its members, as it was found."""
        return partial(object_stamp, self.found)

    def open(self) -> IO[bytes]:
        """Open it for reading, with blocks ahead."""
        return io.BufferedReader(RemoteFile(self), 2**16)

    def read_at(self, offset: int, size: int) -> bytes:
        """Read some bytes."""
        if self._blocks is None:
            return read_all_at(self._fetched(), offset, size)
        return self._blocks.read_at(offset, size)

    def _fetched(self) -> IO[bytes]:
        """Give the whole object in a nameless file, from a server that gives no parts."""
        with self._lock:
            if self._whole is None:
                self._whole = tempfile.TemporaryFile(prefix="tlfeat-")  # noqa: SIM115 - as long as self
                weakref.finalize(self, self._whole.close)
                endpoint_of(self.found.url).fetch(self.found.url, self._whole)
            return self._whole


def object_stamp(found: RemoteObject, member: str = "") -> Stamp | None:
    """Make the stamp of an object, or of a member of it; None where it could change unseen.

    What the server calls the version of the bytes (their ETag) stands for the inode; with one, no
    time can be too young to be believed.
    """
    if found.size is None or not (found.etag or found.modified_ns):
        return None
    version = hashlib.sha256(found.etag.encode("utf-8", "replace")).digest()
    moment = found.modified_ns or 0
    return Stamp(
        key_of(found.url).encode("utf-8", "surrogateescape"),
        member,
        found.size,
        0 if found.etag else moment,
        moment,
        int.from_bytes(version[:8], "big") >> 1 if found.etag else 0,
    )


def read_all_at(file: IO[bytes], offset: int, size: int) -> bytes:
    """Read `size` bytes of an open file from `offset` on, fewer where it ends before."""
    parts = []
    while size:
        part = os.pread(file.fileno(), size, offset)
        if not part:
            break
        parts.append(part)
        offset, size = offset + len(part), size - len(part)
    return b"".join(parts)
