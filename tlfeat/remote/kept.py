"""What was fetched, kept in a nameless file for as long as whoever fetched it lives.

A picture is read for its digest, then to be embedded, then for a page: it is fetched for the first
of them. Nothing is left behind, whatever ends the process. All of a process have one account, so
that many archives do not fill the disk.
"""

import os
import shutil
import tempfile
import threading
import weakref
from collections.abc import Hashable
from contextlib import suppress
from typing import IO, Any

MOST_BYTES = 16 * 2**30  # of a process
_SHARE = 4  # of what the disk has left, a quarter at most


class _Account:
    """What all of this process keep."""

    def __init__(self) -> None:
        self._lock, self._used = threading.Lock(), 0

    def take(self, size: int) -> bool:
        """Say whether so many bytes more may be kept, and count them if so."""
        free = shutil.disk_usage(tempfile.gettempdir()).free
        with self._lock:
            room = min(MOST_BYTES, (free + self._used) // _SHARE)
            if self._used + size > room:
                return False
            self._used += size
            return True

    def give_back(self, sizes: list[int]) -> None:
        """Count bytes that are kept no more."""
        with self._lock:
            self._used -= sum(sizes)


_ACCOUNT = _Account()


class Kept:
    """Bytes by their keys; those that come first stay, until there is no more room.

    Safe in threads. A copy in another process starts empty.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._file: IO[bytes] | None = None
        self._end = 0
        self._at: dict[Hashable, tuple[int, int]] = {}
        self._sizes: list[int] = []
        weakref.finalize(self, _ACCOUNT.give_back, self._sizes)

    def __reduce__(self) -> tuple[Any, ...]:
        return Kept, ()

    def __contains__(self, key: Hashable) -> bool:
        return key in self._at

    def get(self, key: Hashable, start: int = 0, stop: int | None = None) -> bytes | None:
        """Give what was kept, or the part of it from `start` to before `stop`, or None."""
        place = self._at.get(key)
        if place is None or self._file is None:
            return None
        begin, length = place
        end = length if stop is None else min(stop, length)
        return os.pread(self._file.fileno(), end - start, begin + start)

    def put(self, key: Hashable, data: bytes) -> bool:
        """Keep bytes where there is room for them, and say whether they are kept."""
        if key in self._at:
            return True
        with suppress(OSError):  # no folder to write to, or a full disk: it is fetched again
            with self._lock:
                if not _ACCOUNT.take(len(data)):
                    return False
                self._sizes.append(len(data))
                if self._file is None:
                    self._file = tempfile.TemporaryFile(prefix="tlfeat-")  # noqa: SIM115
                    weakref.finalize(self, self._file.close)
                start, self._end = self._end, self._end + len(data)
            if os.pwrite(self._file.fileno(), data, start) == len(data):
                self._at[key] = start, len(data)
                return True
        return False
