"""Pictures of a server, fetched ahead of whoever reads them, each once.

Whoever is going to read many says so (`expect`). While one is used, those behind it are on their
way, so that the latency of a request is waited for once and not for each picture.
"""

import threading
from collections.abc import Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any

from tlfeat.remote.endpoint import AT_ONCE, RemoteObject, endpoint_of
from tlfeat.remote.kept import Kept

AHEAD = 2 * AT_ONCE  # pictures that are fetched beyond the one that is read
AHEAD_BYTES = 256 * 2**20  # of them, in memory


class Reader:
    """Reads whole objects; safe in threads. A copy in another process starts anew."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._kept = Kept()
        self._pool: ThreadPoolExecutor | None = None
        self._order: Sequence[RemoteObject] = ()
        self._place: dict[RemoteObject, int] = {}
        self._sent = 0  # of the order, those that were sent for or are here
        self._coming: dict[RemoteObject, Future[bytes]] = {}

    def __reduce__(self) -> tuple[Any, ...]:
        return Reader, ()

    def expect(self, order: Sequence[RemoteObject]) -> None:
        """Hear what is going to be read, about in this order; what was expected before is not."""
        with self._lock:
            for future in self._coming.values():
                future.cancel()
            self._coming = {}
            self._order, self._sent = order, 0
            self._place = {one: at for at, one in enumerate(order)}
            self._send(0)

    def read(self, one: RemoteObject) -> bytes:
        """Give the bytes of an object.

        Raises
        ------
        OSError
            If it cannot be read.
        DataError
            If the server does not answer, or wants credentials that are not there.
        """
        with self._lock:
            coming = self._coming.pop(one, None)
            place = self._place.get(one)
            if place is not None:
                self._send(place + 1)
        if coming is not None and not coming.cancelled():
            return coming.result()
        found = self._kept.get(one)
        return self._fetch(one) if found is None else found

    def _send(self, start: int) -> None:
        """Send for what comes from a place of the order on, as far as the window reaches."""
        if start + AHEAD // 2 <= self._sent:
            return  # far enough ahead
        self._sent = max(self._sent, start)
        under_way = sum(one.size or 0 for one in self._coming)
        stop = min(start + AHEAD, len(self._order))
        while self._sent < stop and under_way < AHEAD_BYTES:
            one = self._order[self._sent]
            self._sent += 1
            if one in self._coming or one in self._kept:
                continue
            if self._pool is None:
                self._pool = ThreadPoolExecutor(AT_ONCE, thread_name_prefix="tlfeat-fetch")
            self._coming[one] = self._pool.submit(self._fetch, one)
            under_way += one.size or 0

    def _fetch(self, one: RemoteObject) -> bytes:
        endpoint = endpoint_of(one.url)
        if one.size is None or not one.ranges:
            data = endpoint.read_whole(one.url)
        else:
            data = endpoint.read(one.url, 0, one.size)
        self._kept.put(one, data)
        return data
