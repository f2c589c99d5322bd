"""One numeric thread a task, while heads are fitted: tasks run side by side, their BLAS does not.

Two threads of OpenBLAS in one task spin while the other waits for a core: beside busy processes,
or beside another task, one Cholesky then takes five to sixty times as long. The limit of BLAS
holds for the whole process, so tasks in several threads share it: the first sets it, the last
restores what was there. That of OpenMP holds for a thread.
"""

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, TypeVar

_T = TypeVar("_T")
_lock = threading.Lock()
_holders = 0
_restore: Callable[[], None] | None = None


@contextmanager
def one_numeric_thread() -> Iterator[None]:
    """Let BLAS, and OpenMP in this thread, use one thread.

    Each task holds it in its own thread; a pool of tasks holds it, too, so that the limit is
    not set and lifted between them.
    """
    from threadpoolctl import ThreadpoolController

    global _holders, _restore
    found = ThreadpoolController()
    with _lock:
        if _holders == 0:
            _restore = _limit(found.select(user_api="blas"))
        _holders += 1
    try:
        with found.select(user_api="openmp").limit(limits=1):
            yield
    finally:
        with _lock:
            _holders -= 1
            if _holders == 0 and _restore is not None:
                _restore()


def limit_openmp() -> None:
    """Let OpenMP in this thread use one thread from now on."""
    from threadpoolctl import ThreadpoolController

    ThreadpoolController().select(user_api="openmp").limit(limits=1)


def _limit(libraries: Any) -> Callable[[], None]:
    """Limit some libraries; give what restores them."""
    limiter = _aside(lambda: libraries.limit(limits=1))
    return lambda: _aside(limiter.restore_original_limits)


def _aside(call: Callable[[], _T]) -> _T:
    """Call in a thread of its own, which ends at once.

    threadpoolctl lets nobody but the thread that limited OpenBLAS, while it lives, change that.
    """
    result: list[_T] = []
    thread = threading.Thread(target=lambda: result.append(call()))
    thread.start()
    thread.join()
    return result[0]
