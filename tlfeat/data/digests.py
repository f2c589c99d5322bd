"""The digest of a picture, and the index that spares reading it again.

The digest is the key of everything that is stored: SHA-256 of a file's bytes, or of shape, dtype
and bytes for a picture in an array.

The index (cache/files.sqlite) maps a file's stamp to its digest. What could go wrong: a file is
changed and keeps its stamp. Size, times and inode make that rare; a file that was hashed within
2 s of its last change is never trusted, since a second change could share its times. A wrong
digest would give a picture the features of another, so each row has a checksum over all of its
fields; a row that does not hold it is not believed, nor is an index of before there were any.
The index is only ever a saving of time: damaged, locked or read-only, all still works.
"""

import contextlib
import hashlib
import sqlite3
import time
import zlib
from collections import deque
from collections.abc import Callable, Hashable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from itertools import islice
from pathlib import Path

import numpy as np

from tlfeat.cores import usable_cores
from tlfeat.data.sources.base import Picture, Row, Stamp, one_line
from tlfeat.files import mark_cache

Progress = Callable[[int, int], None]  # done, of how many

# Times of a younger file may not show a second change.
RACY_NS = 2_000_000_000
_CHUNK = 64  # pictures a task: small files would drown in the overhead of one task each
_COMMIT = 4096  # pictures a transaction: what an interrupted first run keeps

_VERSION = 1  # of the file; raised when its rows must not be believed any more
_TABLE = (
    "CREATE TABLE files (path BLOB NOT NULL, member BLOB NOT NULL, size INTEGER NOT NULL, "
    "mtime_ns INTEGER NOT NULL, ctime_ns INTEGER NOT NULL, inode INTEGER NOT NULL, "
    "hashed_ns INTEGER NOT NULL, digest BLOB NOT NULL, checksum INTEGER NOT NULL, "
    "PRIMARY KEY (path, member)) WITHOUT ROWID"
)
_COLUMNS = "path, member, size, mtime_ns, ctime_ns, inode, hashed_ns, digest, checksum"


def digest_of(picture: Picture) -> str:
    """Give the digest of a picture, 64 hexadecimal digits.

    Examples
    --------
    >>> digest_of(b"")[:8]
    'e3b0c442'
    >>> import numpy as np
    >>> digest_of(np.zeros((2, 3), np.uint8)) == digest_of(np.zeros((3, 2), np.uint8))
    False
    """
    if isinstance(picture, np.ndarray):
        digest = hashlib.sha256(f"{picture.shape}{picture.dtype.str}".encode())
        digest.update(np.ascontiguousarray(picture).data)
        return digest.hexdigest()
    return hashlib.sha256(picture).hexdigest()


class DigestIndex:
    """Digests of files by their stamps.

    Parameters
    ----------
    cache : Path or None
        The cache folder; None keeps nothing.
    """

    def __init__(self, cache: Path | None = None):
        self.cache = cache
        self.hashed = 0  # pictures that were read for their digest so far
        self.notes: list[str] = []
        self._looked_through = False

    @property
    def path(self) -> Path | None:
        """Where the index lies."""
        return self.cache / "files.sqlite" if self.cache else None

    def digests(
        self,
        rows: Sequence[Row],
        read: Callable[[Hashable], Picture],
        *,
        expect: Callable[[Iterable[Hashable]], object] = lambda locators: None,
        rehash: bool = False,
        jobs: int | None = None,
        progress: Progress | None = None,
    ) -> tuple[list[str | None], dict[int, str]]:
        """Find the digest of each row, reading only what is new or changed.

        Parameters
        ----------
        rows : sequence of Row
        read : callable
            Reads the picture at a locator; called from several threads.
        expect : callable
            Told the locators that are going to be read, in about this order.
        rehash : bool
            Read everything, whatever the index says.
        jobs : int, optional
            Threads; by default one a core, at most 8.
        progress : callable, optional
            Called with the number of pictures read so far and to read in all.

        Returns
        -------
        digests : list of str or None
            None where the picture could not be read.
        problems : dict
            From position to the reason, for those.
        """
        known = {} if rehash else self._load(rows)
        found: list[str | None] = [
            known.get(row.stamp) if row.stamp is not None else None for row in rows
        ]
        todo = [i for i, digest in enumerate(found) if digest is None]
        if not todo:
            return found, {}
        expect(rows[i].locator for i in todo)
        problems: dict[int, str] = {}
        fresh: list[tuple[Stamp, int, str]] = []
        started = time.time_ns()
        done = 0

        def work(positions: Sequence[int]) -> list[tuple[int, str | None, str]]:
            return [(i, *_hash(read, rows[i].locator)) for i in positions]

        workers = jobs or min(8, usable_cores())
        with ThreadPoolExecutor(workers, thread_name_prefix="tlfeat-digest") as pool:
            try:
                for finished in _in_order(pool, work, _chunks(todo), ahead=4 * workers):
                    for i, digest, problem in finished:
                        found[i] = digest
                        stamp = rows[i].stamp
                        if digest is None:
                            problems[i] = problem
                        elif stamp is not None:
                            fresh.append((stamp, started, digest))
                    done += len(finished)
                    self.hashed += len(finished)
                    if len(fresh) >= _COMMIT:
                        self._save(fresh)
                        fresh = []
                        started = time.time_ns()
                    if progress:
                        progress(done, len(todo))
            finally:
                expect(())  # whoever is interrupted waits for no server
                pool.shutdown(wait=True, cancel_futures=True)
                self._save(fresh)
        return found, problems

    def _load(self, rows: Sequence[Row]) -> Mapping[Stamp, str | None]:
        """Read what is known of the rows' files, in one scan of all between first and last."""
        known: dict[Stamp, str | None] = {row.stamp: None for row in rows if row.stamp is not None}
        if not known or self.path is None or not self.path.exists():
            return {}
        paths = {stamp.path for stamp in known}
        try:
            with contextlib.closing(self._connect(write=False)) as connection:
                if not _is_ours(connection):
                    return {}
                scan = connection.execute(
                    f"SELECT {_COLUMNS} FROM files "  # noqa: S608 - a constant
                    "WHERE path >= ? AND path <= ? AND hashed_ns - mtime_ns >= ?",
                    (min(paths), max(paths), RACY_NS),
                )
                for line in scan:
                    if line[0] in paths and line[-1] == _checksum(line[:-1]):
                        stamp = Stamp(line[0], line[1].decode(), *line[2:6])
                        if stamp in known:
                            known[stamp] = line[-2].hex()
        except sqlite3.OperationalError:
            return {}  # locked, or not ours to open: hash again
        except (sqlite3.DatabaseError, UnicodeDecodeError):
            self._set_aside()
            return {}
        return known

    def _save(self, fresh: Sequence[tuple[Stamp, int, str]]) -> None:
        if not fresh or self.path is None or self.cache is None:
            return
        for _ in range(2):  # a damaged index makes room for a new one
            try:
                mark_cache(self.cache)
                with contextlib.closing(self._connect(write=True)) as connection:
                    self._write(connection, fresh)
            except (OSError, sqlite3.OperationalError) as error:
                self._note(
                    f"digests were not kept for the next time: {self.path} cannot be written "
                    f"({error})"
                )
            except (sqlite3.DatabaseError, UnicodeDecodeError):
                self._set_aside()
                continue
            return

    def _write(
        self, connection: sqlite3.Connection, fresh: Sequence[tuple[Stamp, int, str]]
    ) -> None:
        run = connection.execute
        run("PRAGMA journal_mode = DELETE")  # a flipped byte can ask for another
        run("BEGIN IMMEDIATE")
        if not _is_ours(connection):
            if run("SELECT count(*) FROM sqlite_master WHERE name = 'files'").fetchone()[0]:
                self._note(
                    "the index of digests is of an older version, without checksums: its pictures "
                    "are read once more, none is embedded again for it"
                )
            run("DROP TABLE IF EXISTS files")
            run(_TABLE)
            run(f"PRAGMA user_version = {_VERSION}")
        elif not self._looked_through:
            # A key out of its order ends every scan early: what lies behind it is never found.
            (found,) = run("PRAGMA integrity_check(1)").fetchone()
            if found != b"ok":
                raise sqlite3.DatabaseError(found)
        self._looked_through = True
        lines = [
            (stamp.path, stamp.member.encode(), *stamp[2:], hashed, bytes.fromhex(digest))
            for stamp, hashed, digest in fresh
        ]
        connection.executemany(
            f"INSERT OR REPLACE INTO files ({_COLUMNS}) "  # noqa: S608 - a constant
            "VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)",
            [(*line, _checksum(line)) for line in lines],
        )
        run("COMMIT")

    def _connect(self, *, write: bool) -> sqlite3.Connection:
        assert self.path is not None
        mode = "rwc" if write else "ro"
        connection = sqlite3.connect(
            f"{self.path.absolute().as_uri()}?mode={mode}",
            uri=True,
            timeout=30,
            isolation_level=None,  # transactions are begun by us
        )
        connection.text_factory = bytes  # damaged text is no error, it only fails its checksum
        return connection

    def _note(self, text: str) -> None:
        if text not in self.notes:
            self.notes.append(text)

    def _set_aside(self) -> None:
        """Rename an index that is no database any more; the next one starts empty."""
        assert self.path is not None
        aside = self.path.with_suffix(f".damaged-{time.time_ns()}")
        with contextlib.suppress(OSError):
            self.path.rename(aside)
        self._note(f"the index of digests was damaged and is now {aside.name}")


def _is_ours(connection: sqlite3.Connection) -> bool:
    """Say whether the file has the table that this version makes."""
    (version,) = connection.execute("PRAGMA user_version").fetchone()
    table = connection.execute("SELECT sql FROM sqlite_master WHERE name = 'files'").fetchone()
    return bool(version == _VERSION and table == (_TABLE.encode(),))


def _checksum(fields: tuple[object, ...]) -> int:
    """Give the checksum over all fields of a row of the index."""
    return zlib.crc32(repr(fields).encode())


def _hash(read: Callable[[Hashable], Picture], locator: Hashable) -> tuple[str | None, str]:
    try:
        return digest_of(read(locator)), ""
    except OSError as error:
        return None, f"cannot be read: {one_line(error)}"


def _chunks(positions: Sequence[int]) -> Iterator[Sequence[int]]:
    for start in range(0, len(positions), _CHUNK):
        yield positions[start : start + _CHUNK]


def _in_order(
    pool: ThreadPoolExecutor,
    work: Callable[[Sequence[int]], list[tuple[int, str | None, str]]],
    tasks: Iterator[Sequence[int]],
    ahead: int,
) -> Iterator[list[tuple[int, str | None, str]]]:
    """Run tasks, at most `ahead` at once, and give their results in order."""
    running = deque(pool.submit(work, task) for task in islice(tasks, ahead))
    while running:
        yield running.popleft().result()
        running.extend(pool.submit(work, task) for task in islice(tasks, 1))
