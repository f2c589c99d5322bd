"""Threads that wait for servers, and that nobody waits for.

Python joins the threads of its own pools when it ends, and first runs all that they have still to
do: with a server that is away, the end of a process would take a minute. What is fetched here is
only ever read, so these threads are left alone, and what they were to bring can be given up.
"""

from collections.abc import Callable
from concurrent.futures import Future, InvalidStateError
from contextlib import suppress
from functools import cache
from queue import SimpleQueue
from threading import Lock, Thread
from typing import Any, TypeVar

T = TypeVar("T")

AT_ONCE = 48  # requests under way: at 100 ms each, as many pictures as eight cores embed


class Fetchers:
    """A pool of daemon threads, begun as they are needed."""

    def __init__(self, threads: int) -> None:
        self._most, self._threads, self._lock = threads, 0, Lock()
        self._work: SimpleQueue[tuple[Future[Any], Callable[[], Any]]] = SimpleQueue()
        self._idle = 0

    def submit(self, work: Callable[[], T]) -> "Future[T]":
        """Have some work done; a future that is cancelled is given up even while it runs."""
        future: Future[T] = Future()
        self._work.put((future, work))
        with self._lock:
            if self._work.qsize() > self._idle and self._threads < self._most:
                self._threads += 1
                Thread(target=self._run, daemon=True, name="tlfeat-fetch").start()
        return future

    def _run(self) -> None:
        while True:
            with self._lock:
                self._idle += 1
            future, work = self._work.get()
            with self._lock:
                self._idle -= 1
            if future.cancelled():
                continue
            try:
                result = work()
            except BaseException as error:
                with suppress(InvalidStateError):  # it was given up meanwhile
                    future.set_exception(error)
            else:
                with suppress(InvalidStateError):
                    future.set_result(result)
            del future, work


@cache
def fetchers() -> Fetchers:
    """Give the pool of this process."""
    return Fetchers(AT_ONCE)
