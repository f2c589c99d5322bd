"""One pool for the work of many heads."""

import threading
from typing import Any

import pytest
from threadpoolctl import threadpool_info

from tlfeat.heads.pool import Shared, run_jobs


def test_jobs_share_a_pool_and_each_gets_its_own_answers() -> None:
    def adding(n: int) -> Any:
        first = yield [lambda i=i: i for i in range(n)]
        second = yield []
        assert second == []
        (total,) = yield [lambda: sum(first)]
        return total

    assert run_jobs([adding(n) for n in range(6)], 3) == [0, 0, 1, 3, 6, 10]


def test_a_job_that_fails_leaves_the_others() -> None:
    def failing() -> Any:
        yield [lambda: 1 / 0]

    def fine() -> Any:
        (answer,) = yield [lambda: 7]
        return answer

    ended: list[int] = []
    error, answer = run_jobs([failing(), fine()], 2, ended=ended.append)
    assert isinstance(error, ZeroDivisionError)
    assert answer == 7
    assert sorted(ended) == [0, 1]


def test_a_task_has_one_numeric_thread_and_begins_in_a_worker() -> None:
    seen: list[Any] = []

    def job() -> Any:
        yield [lambda: seen.append((threading.get_ident(), threadpool_info()))]

    run_jobs([job()], 2)
    ((thread, libraries),) = seen
    assert thread != threading.get_ident()
    assert {library["num_threads"] for library in libraries} == {1}


def test_a_shared_job_is_done_once_for_all_that_wait_for_it() -> None:
    done: list[str] = []

    def inner(name: str) -> Any:
        (told,) = yield [lambda: done.append(name) or name]
        return told

    def outer(*wanted: Shared[str]) -> Any:
        before = yield [lambda: "mine"]
        return before + (yield wanted)

    one, two = Shared(inner("one")), Shared(inner("two"))
    answers = run_jobs([outer(one), outer(one, two), outer(two, one)], 2)
    assert answers == [["mine", "one"], ["mine", "one", "two"], ["mine", "two", "one"]]
    assert sorted(done) == ["one", "two"]


def test_a_shared_job_that_fails_ends_those_that_wait_for_it() -> None:
    def failing() -> Any:
        yield [lambda: 1 / 0]

    def outer(wanted: Shared[Any]) -> Any:
        yield [wanted]
        return "never"

    def fine() -> Any:
        return (yield [lambda: 7])

    shared = Shared(failing())
    first, second, third = run_jobs([outer(shared), outer(shared), fine()], 2)
    assert isinstance(first, ZeroDivisionError)
    assert first is second
    assert third == [7]


def test_what_stops_a_task_stops_the_pool() -> None:
    def stopping() -> Any:
        yield [interrupt]

    def interrupt() -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        run_jobs([stopping()], 2)


def test_tasks_of_earlier_jobs_come_first() -> None:
    done: list[str] = []
    gate = threading.Event()

    def early() -> Any:
        yield []  # goes on when all jobs have begun
        yield [lambda: done.append("early")]

    def blocking() -> Any:
        yield [lambda: gate.wait(30)]  # the one worker

    def wide() -> Any:
        yield [lambda: done.append("wide")] * 3

    def opening() -> Any:
        yield []  # goes on after the first job has
        gate.set()

    run_jobs([early(), blocking(), wide(), opening()], 1)
    assert done == ["early", "wide", "wide", "wide"]


def test_a_watch_that_fails_ends_its_job_and_not_the_wait() -> None:
    def job() -> Any:
        yield [lambda: 1]

    def doing(number: int) -> None:
        raise OSError("the terminal is gone")

    (error,) = run_jobs([job()], 1, doing=doing)
    assert isinstance(error, OSError)
