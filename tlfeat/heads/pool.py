"""One pool for the work of many heads: tasks side by side, each with one numeric thread.

A job is a generator. It yields lists of tasks, functions that wait for nothing, is sent their
results in the same order, and returns what it was for. Tasks of all jobs stand in one queue, so
that no core waits for the slowest head of a stage, and a busy neighbour costs its share alone.
"""

from collections.abc import Callable, Generator, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from typing import Any, TypeVar

from tlfeat.heads.threads import limit_openmp, one_numeric_thread

T = TypeVar("T")
Job = Generator[Sequence[Callable[[], Any]], list[Any], T]


def run_jobs(
    jobs: Sequence[Job[T]],
    workers: int,
    *,
    doing: Callable[[int], None] = lambda number: None,
    ended: Callable[[int], None] = lambda number: None,
) -> list[T | Exception]:
    """Run jobs to their ends.

    Parameters
    ----------
    jobs : sequence of generators
    workers : int
        Tasks at a time.
    doing, ended : callables
        Hear the number of a job whose task begins, and of one that has ended.

    Returns
    -------
    results : list
        What each job returned, or the error that ended it.
    """
    with one_numeric_thread(), ThreadPoolExecutor(workers, initializer=limit_openmp) as pool:
        run = _Run(jobs, pool, doing, ended)
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
    ) -> None:
        self.jobs, self.pool, self.doing, self.ended = jobs, pool, doing, ended
        self.results: dict[int, Any] = {}
        self.waiting: dict[int, list[Future[Any]]] = {}  # for the tasks of a job, in order

    def to_the_end(self) -> list[Any]:
        for number in range(len(self.jobs)):
            self._advance(number, None)
        while self.waiting:
            tasks = [task for batch in self.waiting.values() for task in batch if not task.done()]
            if tasks:
                wait(tasks, return_when=FIRST_COMPLETED)
            for number, batch in list(self.waiting.items()):
                if all(task.done() for task in batch):
                    self._advance(number, self.waiting.pop(number))
        return [self.results[number] for number in range(len(self.jobs))]

    def _do(self, number: int, task: Callable[[], Any]) -> Any:
        self.doing(number)
        return task()

    def _advance(self, number: int, batch: list[Future[Any]] | None) -> None:
        """Let a job go on until it waits for tasks, or ends."""
        try:
            answers = None if batch is None else [task.result() for task in batch]
            tasks = self.jobs[number].send(answers)  # type: ignore[arg-type]
            self.waiting[number] = [self.pool.submit(self._do, number, task) for task in tasks]
        except StopIteration as end:
            self.results[number] = end.value
        except Exception as error:
            self.results[number] = error
        if number in self.results:
            self.ended(number)
