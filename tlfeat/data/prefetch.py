"""Do small pieces of work in threads, a chunk ahead of whoever takes the results."""

from collections.abc import Callable, Generator, Iterable
from concurrent.futures import ThreadPoolExecutor
from itertools import islice
from typing import TypeVar

from tlfeat.cores import usable_cores

T = TypeVar("T")
R = TypeVar("R")


def chunks_ahead(
    work: Callable[[T], R], items: Iterable[T], *, length: int, threads: int | None = None
) -> Generator[list[R], None, None]:
    """Apply a function to items in threads and give the results chunk by chunk.

    While one chunk is used the next is worked on, and no more than that: memory holds two
    chunks however many items there are.

    Parameters
    ----------
    work : callable
        What it raises is raised here.
    items : iterable
        Taken as they are needed, in this thread.
    length : int
        Items of a chunk.
    threads : int, optional
        One a core if None.

    Yields
    ------
    results : list
        In the order of the items.

    Examples
    --------
    >>> list(chunks_ahead(abs, [-1, -2, -3], length=2))
    [[1, 2], [3]]
    """
    rest = iter(items)
    with ThreadPoolExecutor(threads or usable_cores(), thread_name_prefix="prefetch") as pool:
        try:
            ahead = [pool.submit(work, item) for item in islice(rest, length)]
            while ahead:
                ready, ahead = ahead, [pool.submit(work, item) for item in islice(rest, length)]
                yield [future.result() for future in ready]
        finally:
            pool.shutdown(wait=False, cancel_futures=True)
