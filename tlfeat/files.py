"""One way to write a file or a folder: under a name of its own, then renamed.

A reader sees the old file or the new one, never a part. What a kill leaves behind bears the
name of the process that made it, so the next writer in that folder clears it away, and never
what a living process is still at work on.
"""

import errno
import hashlib
import os
import platform
import re
import secrets
import shutil
import time
import tomllib
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from functools import cache, lru_cache
from pathlib import Path
from typing import Any

from tlfeat.errors import DamagedFile, TlfeatError, first_line

FULL = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EFBIG})
READ_ONLY = frozenset({errno.EROFS, errno.EACCES, errno.EPERM})
NEW = ".new-"

_TAG = """Signature: 8a477f597d28d172789f06886806bc55
# This folder is a cache of tlfeat: what is in it can be made again from the pictures.
# Backup programs may leave it out, see https://bford.info/cachedir/
"""

# machine, process, start of the process, and a number that no other file has
_OURS = re.compile(re.escape(NEW) + r"([0-9a-f]{8})-(\d+)-(\d+)-[0-9a-f]{8}(\..*)?")
# what earlier versions left: exported networks, models, states, epochs, texts
_OLDER = re.compile(
    r"\.[0-9a-f]{40}\.[0-9a-f]{32}|\.\d+-model\.(keras|h5)|\.fresh-epoch-\d+\.weights\.h5"
    r"|\.(resume\.npz|[a-z_]+\.(json|csv|parquet|toml|md|html|txt|tex))\.\d+"
)
_DAY = 86400.0  # seconds after which nobody is still writing, where the owner cannot be asked


@contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """Write a file as a whole: give another name for it, and rename it at the end of the block.

    Parameters
    ----------
    path : Path
        The file; replaced if it is there. Its folder is made.

    Yields
    ------
    fresh : Path
        In the same folder, with the same suffix; nothing of it is left if the block fails.

    Raises
    ------
    TlfeatError
        If the disk is full, or the file cannot be written for another reason of the disk's.
    """
    fresh = new_name(path)
    try:
        make_folder(path.parent, path)
        clear_abandoned(path.parent)
        try:
            yield fresh
        except OSError as error:
            if _is_about(error, fresh):
                raise cannot_write(path, error) from error
            raise
        except RuntimeError as error:  # HDF5's, where it closes a file on a full disk
            told = re.search(r"errno = (\d+)", str(error))
            if told is None:
                raise
            number = int(told[1])
            raise cannot_write(path, OSError(number, os.strerror(number))) from error
        try:
            fresh.replace(path)
        except OSError as error:
            raise cannot_write(path, error) from error
    finally:
        with suppress(OSError):
            fresh.unlink(missing_ok=True)


def make_folder(folder: Path, wanted: Path | None = None) -> None:
    """Make a folder, with those that it is in.

    Raises
    ------
    TlfeatError
        If it cannot be made; naming what is wanted in it, where that is given.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise cannot_write(wanted or folder, error) from error


def write_bytes(path: Path, data: bytes) -> None:
    """Write a file as a whole, see `replacing`."""
    with replacing(path) as fresh:
        fresh.write_bytes(data)


def write_text(path: Path, text: str) -> None:
    """Write a file of UTF-8 text as a whole, see `replacing`."""
    write_bytes(path, text.encode())


@contextmanager
def making_folder(path: Path) -> Iterator[Path]:
    """Make a folder as a whole: give another name for it, and rename it at the end of the block.

    Parameters
    ----------
    path : Path
        The folder. Where another process makes it meanwhile, the first one stays.

    Yields
    ------
    fresh : Path
        An empty folder beside it; nothing of it is left if the block fails.

    Raises
    ------
    OSError
        If the disk is full, or the folder cannot be made for another reason of the disk's.
    """
    fresh = new_name(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    clear_abandoned(path.parent)
    fresh.mkdir()
    try:
        yield fresh
        try:
            fresh.rename(path)
        except OSError as error:
            if error.errno not in (errno.EEXIST, errno.ENOTEMPTY) or not path.is_dir():
                raise
    finally:
        shutil.rmtree(fresh, ignore_errors=True)


def mark_cache(root: Path) -> None:
    """Make the cache folder, marked for backup programs and for git.

    Raises
    ------
    OSError
        If it cannot be written to.
    """
    root.mkdir(parents=True, exist_ok=True)
    for name, text in (("CACHEDIR.TAG", _TAG), (".gitignore", "*\n")):
        with suppress(FileExistsError), (root / name).open("x", encoding="ascii") as file:
            file.write(text)


def file_digest(path: Path, kind: str = "sha256") -> str:
    """Give the digest of a file, worked out again only when the file has changed.

    Parameters
    ----------
    path : Path
    kind : {"sha256", "md5"}

    Returns
    -------
    digest : str
        In hexadecimal.

    Raises
    ------
    OSError
        If the file cannot be read.
    """
    stat = path.stat()
    return _file_digest(path, kind, stat.st_size, stat.st_mtime_ns, stat.st_ctime_ns, stat.st_ino)


@lru_cache(maxsize=4096)
def _file_digest(path: Path, kind: str, *stamp: int) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(
            file, lambda: hashlib.new(kind, usedforsecurity=False)
        ).hexdigest()


def read_toml(path: Path) -> dict[str, Any]:
    """Read a TOML file, whatever lies there.

    Raises
    ------
    DamagedFile
        If there is none, it cannot be read, or is not TOML.
    """
    try:
        return tomllib.loads(path.read_bytes().decode("utf-8"))
    except (OSError, ValueError, RecursionError) as error:
        raise DamagedFile(
            f"{path} cannot be read as TOML ({first_line(error)}): mend it, or take it away."
        ) from None


def cannot_write(path: Path, error: OSError) -> TlfeatError:
    """Say why a file could not be written, and what to do."""
    if error.errno in FULL:
        return TlfeatError(
            f"{path} cannot be written: the disk is full. Free some space, then run again."
        )
    if error.errno in READ_ONLY:
        return TlfeatError(
            f"{path} cannot be written: its folder is read-only. Make it writable, or choose "
            "another folder."
        )
    return TlfeatError(
        f"{path} cannot be written ({error.strerror or error}): choose another place for it."
    )


def new_name(path: Path) -> Path:
    """Give a name beside `path` that says which process is at work on it."""
    process = os.getpid()
    name = f"{NEW}{_machine()}-{process}-{_start(process) or 0}-{secrets.token_hex(4)}"
    keras = ".weights.h5"  # Keras goes by both parts
    return path.with_name(name + (keras if path.name.endswith(keras) else path.suffix))


def clear_abandoned(folder: Path) -> None:
    """Delete what a process that lives no more was making in a folder.

    Where the owner cannot be asked, as on a disk that several machines share, what is older
    than a day is taken for abandoned.
    """
    with suppress(OSError), os.scandir(folder) as found:
        for entry in found:
            ours = _OURS.fullmatch(entry.name) or _OLDER.fullmatch(entry.name)
            if ours and is_abandoned(Path(entry.path)):
                if entry.is_dir(follow_symlinks=False):
                    shutil.rmtree(entry.path, ignore_errors=True)
                else:
                    Path(entry.path).unlink(missing_ok=True)


def is_abandoned(path: Path) -> bool:
    """Say whether nobody is at work any more on what `new_name` named."""
    named = _OURS.fullmatch(path.name)
    if named and named[1] == _machine():
        process, start = int(named[2]), int(named[3])
        found = _start(process)
        if found is not None and start:
            return found != start
        with suppress(PermissionError, OverflowError):
            try:
                os.kill(process, 0)
            except ProcessLookupError:
                return True
    with suppress(OSError):
        return time.time() - path.stat().st_mtime > _DAY
    return False


def _is_about(error: OSError, fresh: Path) -> bool:
    """Say whether an error of a block is of its writing, not of something that it read."""
    if error.filename is not None:
        return Path(os.fsdecode(error.filename)).name == fresh.name
    return error.errno in FULL | READ_ONLY | {errno.EIO}


@cache
def _machine() -> str:
    """Give eight digits that stand for the processes among which a number means one of them."""
    told = [platform.node()]
    with suppress(OSError):  # a container has processes of its own, a restart has new ones
        told.append(Path("/proc/sys/kernel/random/boot_id").read_text())
        told.append(str(Path("/proc/self/ns/pid").readlink()))
    return hashlib.sha256("\n".join(told).encode()).hexdigest()[:8]


def _start(process: int) -> int | None:
    """Give when a process began, in ticks since the machine did; 0 if it has ended.

    None where the system does not tell.
    """
    try:
        stat = Path(f"/proc/{process}/stat").read_bytes()
    except OSError:
        return None
    fields = stat.rpartition(b")")[2].split()  # behind the program's name, which may hold blanks
    return 0 if fields[0] in (b"Z", b"X") else int(fields[19])
