"""What a disk may do to the feature store, turned into one sentence each.

Also the few steps that must survive a kill or a power cut: a file is synced before
anybody may rely on it, and a folder after a name in it changed.
"""

import fcntl
import os
import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tlfeat.errors import StoreError
from tlfeat.files import FULL, READ_ONLY

MOUNTS = Path("/proc/self/mounts")
NFS = frozenset({"nfs", "nfs3", "nfs4"})
ELSEWHERE = "choose another folder with --cache or TLFEAT_CACHE"


class DamagedEntry(StoreError):  # noqa: N818 - reads as a sentence where it is raised
    """A store entry whose files do not hold what was written to them."""


def disk_full(folder: Path) -> StoreError:
    """Say that there is no room left."""
    return StoreError(
        f"The disk is full: nothing more fits into {folder}. What was stored before is safe; "
        f"free some space and run again, or {ELSEWHERE}."
    )


def read_only(folder: Path) -> StoreError:
    """Say that the folder cannot be written to."""
    return StoreError(
        f"The cache {folder} is read-only: what it holds is used, but nothing can be added; "
        f"make it writable, or {ELSEWHERE}."
    )


def cannot_write(folder: Path, error: OSError) -> StoreError:
    """Say why a folder of the store could not be written to."""
    if error.errno in FULL:
        return disk_full(folder)
    if error.errno in READ_ONLY:
        return read_only(folder)
    if isinstance(error, NotADirectoryError | FileExistsError):
        return StoreError(
            f"The cache {folder} cannot be made: a file is in its place; {ELSEWHERE}."
        )
    return StoreError(
        f"Writing to {folder} failed ({error.strerror or error}): check the disk, or {ELSEWHERE}."
    )


@contextmanager
def writing(folder: Path) -> Iterator[None]:
    """Turn an OSError of this block into a StoreError about `folder`."""
    try:
        yield
    except OSError as error:
        raise cannot_write(folder, error) from error


def filesystem_of(path: Path, mounts: Path | None = None) -> str | None:
    """Give the type of the filesystem that holds `path`, or None where it is not known.

    Parameters
    ----------
    path : Path
        Need not exist yet.
    mounts : Path, optional
        The table of mounts; Linux' own if None. Other systems have none.
    """
    try:
        table = (MOUNTS if mounts is None else mounts).read_bytes()
    except OSError:
        return None
    wanted = path.resolve()
    best, kind = -1, None
    for line in table.splitlines():
        fields = line.split(b" ")
        if len(fields) < 3:
            continue
        # Blanks and the like are written as \040 in the table.
        name = re.sub(rb"\\([0-7]{3})", lambda octal: bytes([int(octal[1], 8) & 255]), fields[1])
        point = Path(os.fsdecode(name))
        # The last of several mounts on one point is the one that shows.
        if wanted.is_relative_to(point) and len(point.parts) >= best:
            best, kind = len(point.parts), fields[2].decode("ascii", "replace")
    return kind


def refuse_nfs(folder: Path) -> None:
    """Raise StoreError where `folder` is on NFS, whose locks cannot be trusted."""
    kind = filesystem_of(folder)
    if kind in NFS:
        raise StoreError(
            f"The cache {folder} is on a network disk ({kind}), where two writers could spoil "
            f"each other's rows: it can be read but not written; {ELSEWHERE}."
        )


def write_synced(path: Path, data: bytes) -> None:
    """Write a new file and wait until it is on the disk."""
    with path.open("xb") as file:
        file.write(data)
        file.flush()
        os.fsync(file.fileno())


def sync_folder(folder: Path) -> None:
    """Wait until the names in a folder are on the disk."""
    handle = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


@contextmanager
def folder_lock(folder: Path) -> Iterator[None]:
    """Be the only process that renames things in `folder`; a kill frees the lock."""
    handle = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        fcntl.flock(handle, fcntl.LOCK_EX)
        yield
    finally:
        os.close(handle)
