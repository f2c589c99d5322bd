"""The SQLite index of a store entry: which picture is which row, and which cannot be read.

It commits last, so it alone says what the entry holds. A connection is opened for each
piece of work and belongs to the thread that opened it. The file must never be opened by
other means in a process that may hold its lock: closing it would drop the lock.
"""

import shutil
import sqlite3
import tempfile
import zlib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from os import R_OK, W_OK, access
from pathlib import Path
from typing import Any, NamedTuple

from tlfeat.errors import StoreError
from tlfeat.features import disk

BUSY_SECONDS = 60.0  # to wait for another writer's block
_BATCH = 500  # digests of one query; old SQLite takes 999 at most
_SCAN = 8  # one scan of all rows beats look-ups of more than an eighth of them

_TABLES = (
    "CREATE TABLE about (key TEXT PRIMARY KEY, value TEXT NOT NULL)",
    "CREATE TABLE rows (row INTEGER PRIMARY KEY, "
    "digest BLOB NOT NULL UNIQUE CHECK (typeof(digest) = 'blob'), "
    "checksum INTEGER NOT NULL CHECK (typeof(checksum) = 'integer'))",
    "CREATE TABLE failures (digest BLOB PRIMARY KEY, reason TEXT NOT NULL, "
    "checksum INTEGER NOT NULL)",
)

# SQLite's primary result codes (sqlite.org/rescode.html) that do not mean damage.
_BUSY, _READONLY, _IOERR, _FULL, _CANTOPEN, _PROTOCOL = 5, 8, 10, 13, 14, 15
_FILE_ERRORS = {_READONLY, _IOERR, _CANTOPEN, _PROTOCOL}


class Stored(NamedTuple):
    """Where a picture's features lie."""

    row: int
    checksum: int


@contextmanager
def sqlite_errors(path: Path) -> Iterator[None]:
    """Turn errors of the index at `path` into StoreError, or DamagedEntry where it is spoilt."""
    folder = path.parent
    try:
        yield
    except UnicodeDecodeError as error:  # in the text of a table's definition
        raise damaged(folder, "index.sqlite cannot be read") from error
    except sqlite3.Error as error:
        extended = getattr(error, "sqlite_errorcode", None) or 0
        code = extended & 0xFF
        if code == _BUSY:
            raise StoreError(
                f"Another process has been writing to {folder} for more than "
                f"{BUSY_SECONDS:.0f} seconds: wait for it to end, then run again."
            ) from error
        if code == _FULL:
            raise disk.disk_full(folder) from error
        # A spoilt version byte in the file also makes SQLite call it read-only.
        if code == _READONLY and not (extended == code and access(path, W_OK)):
            raise disk.read_only(folder) from error
        if code == _IOERR or (code in _FILE_ERRORS - {_READONLY} and path.exists()):
            raise StoreError(
                f"The index of {folder} cannot be used ({error}): check the disk and its "
                f"permissions, or {disk.ELSEWHERE}."
            ) from error
        raise damaged(folder, f"index.sqlite cannot be read ({error})") from error


def damaged(folder: Path, what: str) -> disk.DamagedEntry:
    """Say what is wrong with the store entry at `folder`."""
    # What SQLite says may quote spoilt bytes.
    said = " ".join("".join(letter if letter.isprintable() else " " for letter in what).split())
    return disk.DamagedEntry(f"Store entry {folder.name} is damaged: {said}.")


def create(path: Path, about: Mapping[str, str]) -> None:
    """Make a new, empty index that remembers a few words about its entry."""
    with sqlite_errors(path):
        connection = _connect(path, "rwc")
        try:
            connection.execute("BEGIN IMMEDIATE")
            for table in _TABLES:
                connection.execute(table)
            connection.executemany("INSERT INTO about VALUES (?, ?)", about.items())
            connection.execute("COMMIT")
        finally:
            connection.close()


class Index:
    """One connection to an index, for one piece of work in one thread."""

    def __init__(self, path: Path, *, writing: bool = False) -> None:
        """Open the index; as a writer, wait until no other writer is at work."""
        if writing:
            self._connection = _connect(path, "rw")
            try:
                self._connection.execute("BEGIN IMMEDIATE")
            except sqlite3.Error:
                self._connection.close()
                raise
        else:
            self._connection = _connect_reader(path)

    def close(self) -> None:
        """Close the connection; what was not committed is undone."""
        self._connection.close()

    def commit(self) -> None:
        """Make what was added last."""
        self._connection.execute("COMMIT")

    def count(self) -> int:
        """Give the number of committed rows."""
        (last,) = self._connection.execute("SELECT max(row) FROM rows").fetchone()
        if not isinstance(last, int | None):
            raise sqlite3.DatabaseError("row numbers are no numbers")
        return 0 if last is None else last + 1

    def about(self) -> dict[str, str]:
        """Give what was said when the index was made."""
        return dict(self._connection.execute("SELECT key, value FROM about"))

    def problem(self) -> str | None:
        """Say what is wrong with the index, or None; reads all of it."""
        ask = self._connection.execute
        # A file marked for write-ahead logging is not one of ours.
        if ask("PRAGMA journal_mode").fetchone()[0] not in ("delete", "memory"):
            return "index.sqlite is not as it was made"
        tables = [sql for (sql,) in ask("SELECT sql FROM sqlite_master WHERE sql IS NOT NULL")]
        if tables != list(_TABLES):
            return "index.sqlite has other tables than it was made with"
        (found,) = ask("PRAGMA integrity_check(1)").fetchone()
        if found != "ok":
            return f"index.sqlite contradicts itself ({found})"
        if ask("SELECT coalesce(min(row), 0), count(*) FROM rows").fetchone() != (0, self.count()):
            return "index.sqlite lacks rows"
        for digest, reason, checksum in ask("SELECT digest, reason, checksum FROM failures"):
            if checksum != _reason_checksum(digest, reason):
                return "a line of index.sqlite does not match its checksum"
        return None

    def find(self, digests: Sequence[str]) -> dict[str, Stored]:
        """Give where these pictures are, those that are stored."""
        columns = "digest, row, checksum FROM rows"
        many = len(digests) * _SCAN > self.count()
        return {d: Stored(row, sum_) for d, row, sum_ in self._select(columns, digests, many)}

    def failures(self, digests: Sequence[str]) -> dict[str, str]:
        """Give why these pictures could not be read, those that could not."""
        columns = "digest, reason, checksum FROM failures"
        found = self._select(columns, digests, len(digests) > _BATCH)
        return {digest: reason for digest, reason, _ in found}

    def digests(self) -> list[str]:
        """Give the digest of each row, in row order."""
        found = self._connection.execute("SELECT digest FROM rows ORDER BY row")
        return [digest.hex() for (digest,) in found]

    def entries(self, start: int, stop: int) -> list[tuple[str, Stored]]:
        """Give digest and place of the rows from `start` to before `stop`, in row order."""
        query = "SELECT digest, row, checksum FROM rows WHERE row >= ? AND row < ? ORDER BY row"
        found = self._connection.execute(query, (start, stop))
        return [(digest.hex(), Stored(row, checksum)) for digest, row, checksum in found]

    def add(self, stored: Mapping[str, Stored], failures: Mapping[str, str]) -> None:
        """Add rows and unreadable pictures; a picture with a row is not unreadable."""
        run = self._connection.executemany
        run(
            "INSERT INTO rows (digest, row, checksum) VALUES (?, ?, ?)",
            [(key(digest), at.row, at.checksum) for digest, at in stored.items()],
        )
        run("DELETE FROM failures WHERE digest = ?", [(key(digest),) for digest in stored])
        lines = ((key(digest), reason) for digest, reason in failures.items())
        run(
            "INSERT OR REPLACE INTO failures (digest, reason, checksum) VALUES (?, ?, ?)",
            [(digest, reason, _reason_checksum(digest, reason)) for digest, reason in lines],
        )

    def _select(
        self, columns: str, digests: Sequence[str], scan: bool
    ) -> Iterator[tuple[str, Any, Any]]:
        wanted = dict.fromkeys(digests)
        if scan:
            for digest, *rest in self._connection.execute(f"SELECT {columns}"):
                if (text := digest.hex()) in wanted:
                    yield text, rest[0], rest[1]
            return
        for keys in _batches([key(digest) for digest in wanted]):
            marks = ", ".join("?" * len(keys))
            query = f"SELECT {columns} WHERE digest IN ({marks})"
            for digest, *rest in self._connection.execute(query, keys):
                yield digest.hex(), rest[0], rest[1]


def key(digest: str) -> bytes:
    """Give the form in which a digest is stored."""
    return bytes.fromhex(digest)


def row_checksum(digest: bytes, row: int, data: bytes | memoryview) -> int:
    """Give the checksum that ties a picture, a row number and the row's bytes together."""
    return zlib.crc32(data, zlib.crc32(digest + row.to_bytes(8, "little")))


def _reason_checksum(digest: bytes, reason: str) -> int:
    return zlib.crc32(digest + reason.encode())


def _batches(keys: Sequence[bytes]) -> Iterable[Sequence[bytes]]:
    return (keys[start : start + _BATCH] for start in range(0, len(keys), _BATCH))


def _connect(path: Path, mode: str) -> sqlite3.Connection:
    connection = sqlite3.connect(
        f"{path.absolute().as_uri()}?mode={mode}",
        uri=True,
        timeout=BUSY_SECONDS,
        isolation_level=None,  # transactions are begun by us
    )
    try:
        # The first look at the file also undoes what a killed writer left half done.
        connection.execute("SELECT count(*) FROM sqlite_master").fetchone()
        if mode != "ro":
            connection.execute("PRAGMA synchronous = FULL")
    except sqlite3.Error:
        connection.close()
        raise
    return connection


def _connect_reader(path: Path) -> sqlite3.Connection:
    # Read-write where that is allowed: a journal left by a killed writer must be rolled back.
    try:
        return _connect(path, "rw" if access(path.parent, W_OK) else "ro")
    except sqlite3.OperationalError as error:
        code = getattr(error, "sqlite_errorcode", 0) & 0xFF
        if code not in _FILE_ERRORS or not access(path, R_OK) or not _out_of_reach(path.parent):
            raise
    return _connect_copy(path)


def _out_of_reach(folder: Path) -> bool:
    return not access(folder, W_OK) or disk.filesystem_of(folder) in disk.NFS


def _connect_copy(path: Path) -> sqlite3.Connection:
    """Read an index where it lies beyond our reach: its journal is rolled back in a copy."""
    with tempfile.TemporaryDirectory(prefix="tlfeat-") as folder:
        copy = Path(folder) / path.name
        shutil.copyfile(path, copy)
        journal = path.with_name(f"{path.name}-journal")
        if journal.exists():
            shutil.copyfile(journal, copy.with_name(journal.name))
        source = _connect(copy, "rw")
        try:
            connection = sqlite3.connect(":memory:", isolation_level=None)
            source.backup(connection)
        finally:
            source.close()
    return connection
