"""A remote file that is read like one on disk: in blocks, ahead of whoever reads on.

An archive of a gigabyte is read from its beginning to its end, or a few members of it are looked
at. Blocks that follow each other are fetched before they are asked for, so that no latency is
waited for; each is fetched once, as long as there is room to keep it.
"""

import io
import threading
import time
import weakref
from collections import OrderedDict, deque
from concurrent.futures import Future
from functools import partial
from typing import Any, Protocol

from tlfeat.errors import DataError
from tlfeat.remote.endpoint import RemoteObject, endpoint_of
from tlfeat.remote.fetchers import fetchers
from tlfeat.remote.kept import Kept
from tlfeat.remote.urls import without_secrets

BLOCK = 2**20  # bytes of one request
AHEAD = 16  # blocks that are under way beyond the one that is read
_LOOK = 2.0  # seconds after which it is asked whether the object is still the same
_shared: "weakref.ref[Kept] | None" = None


def _shared_kept() -> Kept:
    """Give the one file of all blocks, which lives as long as any of their objects do."""
    global _shared
    kept = _shared() if _shared is not None else None
    if kept is None:
        kept = Kept()
        _shared = weakref.ref(kept)
    return kept


class RemoteBlocks:
    """The bytes of one object, safe in threads.

    Parameters
    ----------
    found : RemoteObject
        Its size must be known.
    """

    def __init__(self, found: RemoteObject) -> None:
        assert found.size is not None
        self.found, self.size = found, found.size
        self._lock = threading.Lock()
        self._kept = _shared_kept()
        self._coming: dict[int, Future[bytes]] = {}
        self._recent: OrderedDict[int, bytes] = OrderedDict()  # those that were not kept
        self._asked: deque[int] = deque(maxlen=8)  # the last blocks, each once
        self._looked = time.monotonic()

    def __reduce__(self) -> tuple[Any, ...]:
        return RemoteBlocks, (self.found,)

    def read_at(self, offset: int, size: int) -> bytes:
        """Read `size` bytes from `offset` on, fewer where the object ends before.

        Raises
        ------
        OSError
            If they cannot be read.
        DataError
            If the server does not answer, or the object is another than it was.
        """
        stop = min(offset + size, self.size)
        if offset >= stop:
            return b""
        numbers = range(offset // BLOCK, (stop - 1) // BLOCK + 1)
        self._send_for(numbers)
        return b"".join(
            self._part(number, max(0, offset - number * BLOCK), min(BLOCK, stop - number * BLOCK))
            for number in numbers
        )

    def _key(self, number: int) -> tuple[RemoteObject, int, int]:
        return self.found, BLOCK, number

    def _send_for(self, numbers: range) -> None:
        """Ask for blocks, and for those behind them where they are read one after the other."""
        with self._lock:
            goes_on = numbers[0] - 1 in self._asked
            self._asked.extend(number for number in numbers if number not in self._asked)
            last = -(-self.size // BLOCK)
            for number in range(numbers[0], min(last, numbers[-1] + 1 + AHEAD * goes_on)):
                here = number in self._recent or self._key(number) in self._kept
                if not here and number not in self._coming:
                    self._coming[number] = fetchers().submit(partial(self._fetch, number))

    def _fetch(self, number: int) -> bytes:
        start = number * BLOCK
        try:
            data = endpoint_of(self.found.url).read(
                self.found.url, start, min(start + BLOCK, self.size)
            )
            self._see_whether_it_changed()
            if not self._kept.put(self._key(number), data):
                with self._lock:
                    self._recent[number] = data
                    while len(self._recent) > 2 * AHEAD:
                        self._recent.popitem(last=False)
        finally:
            with self._lock:
                self._coming.pop(number, None)  # one that failed is asked for again
        return data

    def _see_whether_it_changed(self) -> None:
        """Ask now and then whether the object is still that whose members were listed."""
        with self._lock:
            if time.monotonic() - self._looked < _LOOK:
                return
            self._looked = time.monotonic()
        now = endpoint_of(self.found.url).about(self.found.url)
        if now is None or (now.etag, now.size) != (self.found.etag, self.found.size):
            raise DataError(
                f"{without_secrets(self.found.url)!r} was changed while it was read: run again."
            )

    def _part(self, number: int, start: int, stop: int) -> bytes:
        """Give the bytes of a block from `start` to before `stop`."""
        coming = self._coming.get(number)
        whole = self._recent.get(number) if coming is None else coming.result()
        if whole is None:
            kept = self._kept.get(self._key(number), start, stop)
            if kept is not None:
                return kept
            whole = self._fetch(number)
        return whole[start:stop]


class Bytes(Protocol):
    """Bytes that are read from anywhere."""

    @property
    def size(self) -> int:
        """How many there are."""
        ...

    def read_at(self, offset: int, size: int) -> bytes:
        """Read some of them."""
        ...


class RemoteFile(io.RawIOBase):
    """A position in the bytes of one object, for readers that want a file."""

    def __init__(self, data: Bytes) -> None:
        self._data, self._at = data, 0

    def readable(self) -> bool:
        """Say that it can be read."""
        return True

    def seekable(self) -> bool:
        """Say that it has positions."""
        return True

    def tell(self) -> int:
        """Give the position."""
        return self._at

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        """Move to a position."""
        start = {io.SEEK_SET: 0, io.SEEK_CUR: self._at, io.SEEK_END: self._data.size}[whence]
        self._at = max(0, start + offset)
        return self._at

    def readinto(self, buffer: Any) -> int:
        """Read as many bytes as the buffer holds."""
        data = self._data.read_at(self._at, len(buffer))
        buffer[: len(data)] = data
        self._at += len(data)
        return len(data)
