"""Chunks of work through the workers of a cluster, as Ray Data streams them.

    chunks --tasks, where there are GPUs--> prepared --actors--> results

A chunk is one pickled cell of a row. Ray Data keeps only so many on their way as are worked on,
restarts workers that died, and computes again what was lost with them.
"""

import logging
import pickle
from collections.abc import Callable, Generator, Iterable, Iterator, Sequence
from contextlib import contextmanager, suppress
from functools import partial
from queue import Empty, Full, Queue
from threading import Event, Thread
from typing import Any, Final, Generic, TypeVar

from tlfeat.cluster.join import Cluster
from tlfeat.cluster.trouble import errors_as_ours

T = TypeVar("T")
S = TypeVar("S")
R = TypeVar("R")

_CELL: Final = "chunk"
_LOOK: Final = 5.0  # seconds after which it is seen whether the cluster is still there
# What an actor holds of a CPU: so little that, with half of the nodes or more lost, all still
# find a place on the others.
_CPU_OF_ACTOR: Final = 0.25


class _Worker:
    """An actor of Ray Data."""

    def __init__(self, make: Callable[[], Callable[[Any], Any]]) -> None:
        self._work = make()

    def __call__(self, row: dict[str, Any]) -> dict[str, bytes]:
        return _through(self._work, row)


def _through(work: Callable[[Any], Any], row: dict[str, Any]) -> dict[str, bytes]:
    return {_CELL: pickle.dumps(work(pickle.loads(row[_CELL])), protocol=5)}  # noqa: S301


def streamed(
    cluster: Cluster,
    chunks: Sequence[T],
    prepare: Callable[[T], Iterable[S]],
    make: Callable[[], Callable[[Iterable[S]], R]],
) -> Generator[R, None, None]:
    """Work on chunks, each in its own time; give the results as they come.

    Parameters
    ----------
    cluster : Cluster
    chunks : sequence
        What `prepare` takes.
    prepare : callable
        Gives what a chunk is made of, one after the other. Done by tasks on CPUs where actors
        have a GPU each; else by the actors, one a CPU, which then need not be sent it.
    make : callable
        Called once in each actor, for the function that makes the result of that.

    Raises
    ------
    TlfeatError
        What `prepare` or `make` raised.
    ClusterError
        If the cluster is lost.
    """
    import pyarrow as pa

    ray = cluster.ray
    gpus = cluster.gpus
    workers = min(gpus or cluster.cpus, len(chunks))
    pool = ray.data.ActorPoolStrategy(size=workers)
    with errors_as_ours(ray), _quiet_data(ray):
        blocks = [pa.table({_CELL: [pickle.dumps(chunk, protocol=5)]}) for chunk in chunks]
        data = ray.data.from_blocks(blocks)
        if gpus:
            data = data.map(partial(_through, partial(_listed, prepare)), num_cpus=1)
            data = data.map(
                _Worker, fn_constructor_args=(make,), compute=pool, num_cpus=0, num_gpus=1
            )
        else:
            both = partial(_both, prepare, make)
            data = data.map(
                _Worker, fn_constructor_args=(both,), compute=pool, num_cpus=_CPU_OF_ACTOR
            )
        for row in _while_it_lives(data.iter_rows(), cluster.check):
            yield pickle.loads(row[_CELL])  # noqa: S301 - of our own workers


def _while_it_lives(rows: Iterable[T], check: Callable[[], None]) -> Generator[T, None, None]:
    """Give what Ray Data gives, which waits for ever where the cluster is gone."""
    puller = _Puller(rows)
    puller.start()
    try:
        while (row := puller.pulled(check)) is not None:
            yield row
    finally:
        puller.is_over.set()
        puller.join(_LOOK)  # with its next row it is at its end, if there is any


class _Puller(Thread, Generic[T]):
    """Takes rows in a thread, one ahead of who asks."""

    def __init__(self, rows: Iterable[T]) -> None:
        super().__init__(daemon=True, name="stream")
        self._rows, self.is_over = rows, Event()
        self._ready: Queue[T | BaseException | None] = Queue(1)

    def run(self) -> None:
        """Take rows until they end, fail, or nobody wants them."""
        try:
            for row in self._rows:
                self._hand_over(row)
                if self.is_over.is_set():
                    return
            self._hand_over(None)
        except BaseException as error:
            self._hand_over(error)

    def _hand_over(self, row: T | BaseException | None) -> None:
        while not self.is_over.is_set():
            with suppress(Full):
                self._ready.put(row, timeout=_LOOK)
                return

    def pulled(self, check: Callable[[], None]) -> T | None:
        """Give the next row, None after the last; look now and then whether any can come."""
        while True:
            try:
                row = self._ready.get(timeout=_LOOK)
            except Empty:
                check()
                continue
            if isinstance(row, BaseException):
                raise row
            return row


def _listed(prepare: Callable[[T], Iterable[S]], chunk: T) -> list[S]:
    return list(prepare(chunk))


def _both(
    prepare: Callable[[Any], Any], make: Callable[[], Callable[[Any], Any]]
) -> Callable[[Any], Any]:
    work = make()
    return lambda chunk: work(prepare(chunk))


@contextmanager
def _quiet_data(ray: Any) -> Iterator[None]:
    """Let Ray Data show no bars and no news of its own for now."""
    context, logger = ray.data.DataContext.get_current(), logging.getLogger("ray.data")
    quiet = {"enable_progress_bars": False, "print_on_execution_start": False}
    before = {name: getattr(context, name) for name in quiet}, logger.level
    vars(context).update(quiet)
    logger.setLevel(logging.ERROR)
    try:
        yield
    finally:
        vars(context).update(before[0])
        logger.setLevel(before[1])
