"""One pool for the work of many heads: tasks side by side, each with one numeric thread.

A job is a generator. It yields lists of tasks, functions that wait for nothing, and of shared
jobs, is sent their results in the same order, and returns what it was for. Tasks of all jobs stand
in one queue, so that no core waits for the slowest head of a stage, and a busy neighbour costs its
share alone. Those of earlier jobs come first, so that one with many stages, one after the other,
is not the last to begin each of them.
"""

from collections.abc import Callable, Generator, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from functools import partial
from itertools import count
from queue import PriorityQueue
from threading import BoundedSemaphore
from typing import Any, Generic, TypeVar

from tlfeat.cores import usable_cores
from tlfeat.heads.threads import limit_openmp, one_numeric_thread

T = TypeVar("T")
Job = Generator[Sequence["Callable[[], Any] | Shared[Any]"], list[Any], T]


class Portable(partial[T]):
    """A task that another process can do as well: what matters of it is what it returns."""


class Sparing(partial[T]):
    """A task that spares others of this process some time, and is for nothing else."""


def in_turn(job: Job[T]) -> T:
    """Run a job that yields no shared jobs to its end, task after task, in this thread."""
    answers: list[Any] | None = None
    while True:
        try:
            wanted = job.send(answers)  # type: ignore[arg-type]
        except StopIteration as end:
            result: T = end.value
            return result
        answers = [task() for task in wanted]  # type: ignore[operator]


def alone(task: Callable[[], T]) -> T:
    """Do one task in a process of its own, in which nobody has limited the threads."""
    with one_numeric_thread():
        return task()


class Shared(Generic[T]):
    """A job that others wait for: it is done once, for all that yield it.

    Parameters
    ----------
    job : generator
    """

    def __init__(self, job: Job[T]) -> None:
        self.job = job
        self.result: Future[T] = Future()
        self.is_begun = False


def run_jobs(
    jobs: Sequence[Job[T]],
    workers: int,
    *,
    doing: Callable[[int], None] = lambda number: None,
    ended: Callable[[int], None] = lambda number: None,
    elsewhere: Callable[[Portable[Any]], Any] | None = None,
) -> list[T | Exception]:
    """Run jobs to their ends.

    Parameters
    ----------
    jobs : sequence of generators
        Those of many long stages first, as `DEFAULT_HEADS` has them, end sooner.
    workers : int
        Tasks at a time.
    doing, ended : callables
        Hear the number of a job whose task begins, and of one that has ended.
    elsewhere : callable, optional
        Does the tasks that can be done in another process, and waits for them.

    Returns
    -------
    results : list
        What each job returned, or the error that ended it.
    """
    with one_numeric_thread(), ThreadPoolExecutor(workers, initializer=limit_openmp) as pool:
        run = _Run(jobs, pool, doing, ended, elsewhere)
        try:
            return run.to_the_end()
        except BaseException:
            pool.shutdown(cancel_futures=True)
            raise


class _Run:
    """Jobs on their way."""

    def __init__(
        self,
        jobs: Sequence[Job[Any]],
        pool: ThreadPoolExecutor,
        doing: Callable[[int], None],
        ended: Callable[[int], None],
        elsewhere: Callable[[Portable[Any]], Any] | None,
    ) -> None:
        self.jobs = [Shared(job) for job in jobs]
        self.pool, self.doing, self.ended = pool, doing, ended
        self.elsewhere = elsewhere
        self.here = BoundedSemaphore(usable_cores())  # of tasks that cannot go elsewhere
        # of a job that waits: the number of the one that it is for, and what it waits for
        self.waiting: dict[Shared[Any], tuple[int, list[Future[Any]]]] = {}
        # what no thread has begun: by the number of the job and in the order of asking
        self.queue: PriorityQueue[tuple[int, int, Callable[[], Any], Future[Any]]] = (
            PriorityQueue()
        )
        self.asked = count()

    def to_the_end(self) -> list[Any]:
        for number, job in enumerate(self.jobs):
            self._result_of(number, job)
        while self.waiting:
            while ready := [job for job in self.waiting if not self._pending(job)]:
                for job in ready:
                    number, batch = self.waiting.pop(job)
                    self._advance(number, job, batch)
            wait(set().union(*map(self._pending, self.waiting)), return_when=FIRST_COMPLETED)
        return [job.result.exception() or job.result.result() for job in self.jobs]

    def _pending(self, job: Shared[Any]) -> set[Future[Any]]:
        """Give what a job still waits for."""
        return {one for one in self.waiting[job][1] if not one.done()}

    def _result_of(self, number: int, job: Shared[Any]) -> Future[Any]:
        """Give what a job will return; it begins for the first that asks."""
        if not job.is_begun:
            job.is_begun = True
            self._advance(number, job, None)
        return job.result

    def _do_next(self) -> None:
        """Do what comes first in the queue."""
        number, _, task, result = self.queue.get_nowait()
        try:
            self.doing(number)
            result.set_result(self._done(task))
        except BaseException as error:
            result.set_exception(error)

    def _done(self, task: Callable[[], Any]) -> Any:
        """Do a task, here or elsewhere; what would spare none of those here is left out."""
        if self.elsewhere is None:
            return task()
        if isinstance(task, Portable):
            return self.elsewhere(task)
        if isinstance(task, Sparing):
            return None
        with self.here:
            return task()

    def _advance(self, number: int, job: Shared[Any], batch: Sequence[Future[Any]] | None) -> None:
        """Let a job go on until it waits for others, or ends.

        An error of what it waited for is raised where it waits.
        """
        errors = [error for one in batch or () if (error := one.exception()) is not None]
        try:
            if errors:
                wanted = job.job.throw(errors[0])
            else:
                answers = None if batch is None else [one.result() for one in batch]
                wanted = job.job.send(answers)  # type: ignore[arg-type]
            self.waiting[job] = number, [self._started(number, one) for one in wanted]
        except StopIteration as end:
            job.result.set_result(end.value)
        except Exception as error:
            job.result.set_exception(error)
        if job.result.done() and job is self.jobs[number]:
            self.ended(number)

    def _started(self, number: int, wanted: Callable[[], Any] | Shared[Any]) -> Future[Any]:
        if isinstance(wanted, Shared):
            return self._result_of(number, wanted)
        result: Future[Any] = Future()
        self.queue.put((number, next(self.asked), wanted, result))
        self.pool.submit(self._do_next)
        return result
