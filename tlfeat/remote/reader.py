"""Pictures of a server, fetched ahead of whoever reads them, each once.

Whoever is going to read many says so (`expect`). While one is used, those behind it are on their
way, so that the latency of a request is waited for once and not for each picture.
"""

import threading
from collections.abc import Iterable, Sequence
from concurrent.futures import CancelledError, Future
from errno import EFBIG, EIO, EISDIR
from functools import partial
from typing import Any

from tlfeat.remote.endpoint import RemoteObject, endpoint_of
from tlfeat.remote.fetchers import AT_ONCE, fetchers
from tlfeat.remote.kept import Kept

AHEAD = 2 * AT_ONCE  # pictures that are fetched beyond the one that is read
AHEAD_BYTES = 256 * 2**20  # of them, in memory


class Reader:
    """Reads whole objects; safe in threads. A copy in another process starts anew.

    Parameters
    ----------
    most : int, optional
        Bytes of an object whose size is not known before it is asked for; more is not read.
    """

    def __init__(self, most: int | None = None) -> None:
        self._most = most
        self._lock = threading.Lock()
        self._kept = Kept()
        self._order: Sequence[RemoteObject] = ()
        self._place: dict[RemoteObject, int] = {}
        self._sent = 0  # of the order, those that were sent for or are here
        self._coming: dict[RemoteObject, Future[bytes]] = {}

    def __reduce__(self) -> tuple[Any, ...]:
        return Reader, (self._most,)

    def expect(self, order: Iterable[RemoteObject]) -> None:
        """Hear what is going to be read, about in this order; what was expected before is not.

        Whoever waits for what is not expected any more has an OSError.
        """
        with self._lock:
            for future in self._coming.values():
                future.cancel()
            self._coming = {}
            self._order, self._sent = list(dict.fromkeys(order)), 0
            self._place = {one: at for at, one in enumerate(self._order)}
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
            coming = self._coming.get(one)
            if coming is None and one not in self._kept:
                coming = self._coming[one] = fetchers().submit(partial(self._fetch, one))
            place = self._place.get(one)
            if place is not None:
                self._send(place + 1)
        if coming is None:
            found = self._kept.get(one)
            return self._fetch(one) if found is None else found
        try:
            return coming.result()
        except CancelledError:
            raise OSError(EIO, "it was given up while it was fetched") from None
        finally:
            with self._lock:
                if self._coming.get(one) is coming:
                    del self._coming[one]

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
            self._coming[one] = fetchers().submit(partial(self._fetch, one))
            under_way += one.size or 0

    def _fetch(self, one: RemoteObject) -> bytes:
        endpoint = endpoint_of(one.url)
        found: RemoteObject | None = one
        if one.size is None:
            found = endpoint.about(one.url)
        if found is None:
            raise OSError(EISDIR, "it is a folder")
        if self._most is not None and (found.size or 0) > self._most:
            raise OSError(EFBIG, f"it is larger than the {self._most:,} bytes that are read")
        data = endpoint.read_object(found)
        self._kept.put(one, data)
        return data
