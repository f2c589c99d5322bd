"""What was fetched, kept in a nameless file for as long as whoever fetched it lives.

A picture is read for its digest, then to be embedded, then for a page: it is fetched for the first
of them. Nothing is left behind, whatever ends the process.
"""

import os
import shutil
import tempfile
import threading
import weakref
from collections.abc import Hashable
from typing import IO, Any

MOST_BYTES = 16 * 2**30
_SHARE = 4  # of what the disk has left, a quarter at most


class Kept:
    """Bytes by their keys; those that come first stay, until there is no more room.

    Safe in threads. A copy in another process starts empty.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._file: IO[bytes] | None = None
        self._room = self._end = 0
        self._at: dict[Hashable, tuple[int, int]] = {}

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

    def put(self, key: Hashable, data: bytes) -> None:
        """Keep bytes, where there is room for them."""
        with self._lock:
            if self._file is None:
                self._file = tempfile.TemporaryFile(prefix="tlfeat-")  # noqa: SIM115 - as long as self
                weakref.finalize(self, self._file.close)
                free = shutil.disk_usage(tempfile.gettempdir()).free
                self._room = min(MOST_BYTES, free // _SHARE)
            if key in self._at or self._end + len(data) > self._room:
                return
            start, self._end = self._end, self._end + len(data)
        try:
            written = os.pwrite(self._file.fileno(), data, start)
        except OSError:  # the disk is full: it is fetched again where it is wanted
            self._room = 0
            return
        if written == len(data):
            self._at[key] = start, written
