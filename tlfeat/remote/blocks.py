"""A remote file that is read like one on disk: in blocks, ahead of whoever reads on.

An archive of a gigabyte is read from its beginning to its end, or a few members of it are looked
at. Blocks that follow each other are fetched before they are asked for, so that no latency is
waited for; each is fetched once.
"""

import io
import threading
from collections import OrderedDict
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any, Protocol

from tlfeat.remote.endpoint import Endpoint
from tlfeat.remote.kept import Kept

BLOCK = 2**20  # bytes of one request
AHEAD = 16  # blocks that are under way beyond the one that is read


class RemoteBlocks:
    """The bytes of one object, safe in threads.

    Parameters
    ----------
    endpoint : Endpoint
    url : str
    size : int
        Of the object, in bytes.
    """

    def __init__(self, endpoint: Endpoint, url: str, size: int) -> None:
        self.url, self.size = url, size
        self._endpoint = endpoint
        self._begin()

    def _begin(self) -> None:
        self._lock = threading.Lock()
        self._kept = Kept()
        self._coming: dict[int, Future[bytes]] = {}
        self._recent: OrderedDict[int, bytes] = OrderedDict()  # those that were not kept
        self._pool: ThreadPoolExecutor | None = None
        self._asked: set[int] = set()

    def __getstate__(self) -> dict[str, Any]:
        return {"url": self.url, "size": self.size, "_endpoint": self._endpoint}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__dict__.update(state)
        self._begin()

    def read_at(self, offset: int, size: int) -> bytes:
        """Read `size` bytes from `offset` on, fewer where the object ends before.

        Raises
        ------
        OSError
            If they cannot be read.
        DataError
            If the server does not answer.
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

    def _send_for(self, numbers: range) -> None:
        """Ask for blocks, and for those behind them where they are read one after the other."""
        with self._lock:
            goes_on = numbers[0] in self._asked or numbers[0] - 1 in self._asked
            self._asked.update(numbers)
            last = -(-self.size // BLOCK)
            ahead = range(numbers[0], min(last, numbers[-1] + 1 + AHEAD * goes_on))
            for number in ahead:
                if not self._is_here(number) and number not in self._coming:
                    self._coming[number] = self._in_pool(number)

    def _is_here(self, number: int) -> bool:
        return number in self._recent or number in self._kept

    def _in_pool(self, number: int) -> Future[bytes]:
        if self._pool is None:
            self._pool = ThreadPoolExecutor(AHEAD, thread_name_prefix="tlfeat-blocks")
        return self._pool.submit(self._fetch, number)

    def _fetch(self, number: int) -> bytes:
        start = number * BLOCK
        try:
            data = self._endpoint.read(self.url, start, min(start + BLOCK, self.size))
            self._kept.put(number, data)
        except BaseException:
            with self._lock:
                self._coming.pop(number, None)  # it is asked for again where it is wanted
            raise
        with self._lock:
            self._recent[number] = data
            while len(self._recent) > 2 * AHEAD:
                self._recent.popitem(last=False)
            self._coming.pop(number, None)
        return data

    def _part(self, number: int, start: int, stop: int) -> bytes:
        """Give the bytes of a block from `start` to before `stop`."""
        coming = self._coming.get(number)
        whole = self._recent.get(number) if coming is None else coming.result()
        if whole is None:
            kept = self._kept.get(number, start, stop)
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
