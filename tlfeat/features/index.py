"""The SQLite index of a store entry: which picture is which row, and which cannot be read.

It commits last, so it alone says what the entry holds. A connection is opened for each
piece of work and belongs to the thread that opened it. The file must never be opened by
other means in a process that may hold its lock: closing it would drop the lock.
"""

import json
import shutil
import sqlite3
import tempfile
import zlib
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from os import R_OK, W_OK, access
from pathlib import Path
from typing import Any

import numpy as np

from tlfeat.errors import StoreError
from tlfeat.features import disk

BUSY_SECONDS = 60.0  # to wait for another writer's block
KEY_BYTES = 32  # of a SHA-256
_BLOCK = 1 << 16  # digests or rows of one query

# One query looks up a block of keys that stand end to end in ?1, and answers in one line: neither
# SQLite nor Python goes through them one by one.
_KEYS = """WITH RECURSIVE at (byte) AS
(SELECT 1 UNION ALL SELECT byte + 32 FROM at WHERE byte + 32 < length(?1))
"""
_ROWS_OF = (
    f"{_KEYS} SELECT json_group_array(coalesce(row, -1)) FROM at "  # noqa: S608 - a constant
    "LEFT JOIN rows ON digest = substr(?1, byte, 32)"
)
_FAILED_OF = (
    f"{_KEYS} SELECT digest, reason, checksum FROM at "  # noqa: S608 - a constant
    "JOIN failures ON digest = substr(?1, byte, 32)"
)
_CHECKSUMS_OF = (
    "SELECT json_group_array(checksum) FROM json_each(?1) LEFT JOIN rows ON row = value"
)

# Table and index of digests hold the same lines, each in its own order: sums do not mind it.
_SUMS = "SELECT count(*), coalesce(min(row), 0), sum(row), sum(crc32(digest)) FROM rows "
_TABLE_SUMS = f"{_SUMS} NOT INDEXED"
_INDEX_SUMS = f"{_SUMS} INDEXED BY sqlite_autoindex_rows_1"

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

    def foreign(self) -> str | None:
        """Say why this is no index as we make them, or None; reads little of it."""
        ask = self._connection.execute
        # A file marked for write-ahead logging is not one of ours.
        if ask("PRAGMA journal_mode").fetchone()[0] not in ("delete", "memory"):
            return "index.sqlite is not as it was made"
        tables = [sql for (sql,) in ask("SELECT sql FROM sqlite_master WHERE sql IS NOT NULL")]
        if tables != list(_TABLES):
            return "index.sqlite has other tables than it was made with"
        return None

    def contradiction(self, *, exhaustive: bool = False) -> str | None:
        """Say what in the index contradicts the rest, or None; reads all of it.

        Parameters
        ----------
        exhaustive : bool
            Whether SQLite looks each digest up as well, which takes three times as long and finds
            no damage of a single place that the rest does not.
        """
        if self._connection.in_transaction:  # a writer's
            return self._contradiction(exhaustive)
        self._connection.execute("BEGIN")  # nobody commits between one look and the next
        try:
            return self._contradiction(exhaustive)
        finally:
            self._connection.rollback()

    def _contradiction(self, exhaustive: bool) -> str | None:
        ask = self._connection.execute
        pragma = "integrity_check" if exhaustive else "quick_check"
        (found,) = ask(f"PRAGMA {pragma}(1)").fetchone()
        if found != "ok":
            return f"index.sqlite contradicts itself ({found})"
        table = ask(_TABLE_SUMS).fetchone()
        if table[:2] != (self.count(), 0):
            return "index.sqlite lacks rows"
        if table != ask(_INDEX_SUMS).fetchone():
            return "index.sqlite contradicts itself (digests differ)"
        failures = ask("SELECT digest, reason, checksum FROM failures")
        if any(checksum != _reason_checksum(digest, why) for digest, why, checksum in failures):
            return "a line of index.sqlite does not match its checksum"
        return None

    def find(self, keys: np.ndarray) -> np.ndarray:
        """Give the row of each picture.

        Parameters
        ----------
        keys : ndarray of shape (n, 32), uint8
            From `keys_of`.

        Returns
        -------
        rows : ndarray of shape (n,), int64
            -1 where a picture is not stored.
        """
        rows = np.empty(len(keys), np.int64)
        # In the order of their first eight bytes, neighbours lie on one page of the index.
        order = np.argsort(keys[:, :8].copy().view(">u8")[:, 0])
        for places in _blocks(order):
            rows[places] = self._list(_ROWS_OF, keys[places].tobytes(), len(places))
        return rows

    def checksums(self, rows: np.ndarray) -> np.ndarray:
        """Give the checksums of stored rows.

        Parameters
        ----------
        rows : ndarray of shape (n,), int64
            Quickest in ascending order.

        Returns
        -------
        checksums : ndarray of shape (n,), uint32
        """
        checksums = np.empty(len(rows), np.uint32)
        for places in _blocks(np.arange(len(rows))):
            asked = json.dumps(rows[places].tolist())
            checksums[places] = _as_checksums(self._list(_CHECKSUMS_OF, asked, len(places)))
        return checksums

    def _list(self, query: str, asked: bytes | str, count: int) -> list[Any]:
        found: list[Any] = json.loads(self._connection.execute(query, (asked,)).fetchone()[0])
        if len(found) != count:
            raise sqlite3.DatabaseError("a row is there twice")
        return found

    def failures(self, digests: Sequence[str]) -> dict[str, str]:
        """Give why these pictures could not be read, those that could not."""
        reasons: dict[str, str] = {}
        if not self._connection.execute("SELECT EXISTS (SELECT 1 FROM failures)").fetchone()[0]:
            return reasons
        keys = keys_of(digests)
        for places in _blocks(np.arange(len(keys))):
            found = self._connection.execute(_FAILED_OF, (keys[places].tobytes(),))
            for digest, reason, checksum in found:
                if checksum != _reason_checksum(digest, reason):
                    raise sqlite3.DatabaseError("a reason does not match its checksum")
                reasons[digest.hex()] = reason
        return reasons

    def digests(self) -> list[str]:
        """Give the digest of each row, in row order."""
        found = self._connection.execute("SELECT digest FROM rows ORDER BY row")
        return [digest.hex() for (digest,) in found]

    def lines(self, start: int, stop: int) -> tuple[np.ndarray, np.ndarray]:
        """Give keys and checksums of the rows from `start` to before `stop`, in row order."""
        query = "SELECT digest, checksum FROM rows WHERE row >= ? AND row < ? ORDER BY row"
        found = self._connection.execute(query, (start, stop)).fetchall()
        keys = _as_keys(b"".join([digest for digest, _ in found]), len(found))
        return keys, _as_checksums([checksum for _, checksum in found])

    def add(
        self, start: int, keys: np.ndarray, checksums: np.ndarray, failures: Mapping[str, str]
    ) -> None:
        """Add rows from `start` on, and unreadable pictures; one with a row is not unreadable."""
        run = self._connection.executemany
        digests = [key.tobytes() for key in keys]
        run(
            "INSERT INTO rows (row, digest, checksum) VALUES (?, ?, ?)",
            zip(range(start, start + len(keys)), digests, checksums.tolist(), strict=True),
        )
        run("DELETE FROM failures WHERE digest = ?", [(digest,) for digest in digests])
        lines = ((bytes.fromhex(digest), reason) for digest, reason in failures.items())
        run(
            "INSERT OR REPLACE INTO failures (digest, reason, checksum) VALUES (?, ?, ?)",
            [(digest, reason, _reason_checksum(digest, reason)) for digest, reason in lines],
        )


def keys_of(digests: Sequence[str]) -> np.ndarray:
    """Give digests as the index has them.

    Parameters
    ----------
    digests : sequence of str, n of them
        Each of 64 hexadecimal digits.

    Returns
    -------
    keys : ndarray of shape (n, 32), uint8

    Raises
    ------
    ValueError
        If they are no such digests.
    """
    keys = np.empty((len(digests), KEY_BYTES), np.uint8)
    for start in range(0, len(digests), _BLOCK):
        block = digests[start : start + _BLOCK]
        if any(len(digest) != 2 * KEY_BYTES for digest in block):
            raise ValueError(f"A digest has {2 * KEY_BYTES} hexadecimal digits.")
        data = np.frombuffer(bytes.fromhex("".join(block)), np.uint8)
        keys[start : start + _BLOCK] = data.reshape(len(block), KEY_BYTES)
    return keys


def row_checksums(keys: np.ndarray, rows: np.ndarray, data: memoryview) -> np.ndarray:
    """Give the checksums that tie picture, row number and the row's bytes together.

    Parameters
    ----------
    keys : ndarray of shape (n, 32), uint8
    rows : ndarray of shape (n,), int64
    data : memoryview of bytes
        Of all n rows, end to end.

    Returns
    -------
    checksums : ndarray of shape (n,), uint32
    """
    numbers = rows.astype("<i8").view(np.uint8).reshape(-1, 8)
    heads = np.hstack([keys, numbers]).tobytes()
    head, width = KEY_BYTES + 8, len(data) // max(1, len(rows))
    crc = zlib.crc32
    found = [
        crc(data[n * width : (n + 1) * width], crc(heads[n * head : (n + 1) * head]))
        for n in range(len(rows))
    ]
    return np.array(found, np.uint32)


def _reason_checksum(digest: bytes, reason: str) -> int:
    return zlib.crc32(digest + reason.encode())


def _as_keys(data: bytes, count: int) -> np.ndarray:
    if len(data) != count * KEY_BYTES:
        raise sqlite3.DatabaseError("a digest is of another length")
    return np.frombuffer(data, np.uint8).reshape(count, KEY_BYTES)


def _as_checksums(found: list[Any]) -> np.ndarray:
    try:
        return np.array(found, np.uint32)
    except (OverflowError, TypeError, ValueError) as error:
        raise sqlite3.DatabaseError("a row has no checksum") from error


def _blocks(places: np.ndarray) -> Iterator[np.ndarray]:
    return (places[start : start + _BLOCK] for start in range(0, len(places), _BLOCK))


def _connect(path: Path, mode: str) -> sqlite3.Connection:
    connection = sqlite3.connect(
        f"{path.absolute().as_uri()}?mode={mode}",
        uri=True,
        timeout=BUSY_SECONDS,
        isolation_level=None,  # transactions are begun by us
    )
    try:
        connection.create_function("crc32", 1, zlib.crc32, deterministic=True)
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
            connection.create_function("crc32", 1, zlib.crc32, deterministic=True)
            source.backup(connection)
        finally:
            source.close()
    return connection
