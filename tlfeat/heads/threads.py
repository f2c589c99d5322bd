"""How many threads the numeric libraries may use while heads are fitted.

The limit of BLAS holds for the whole process, so heads that are fitted in several threads at
once share it: the first sets it, the last restores what was there. Without it, two heads at once
take ten times as long as one after the other, as the threads of one wait for those of the other.
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
def numeric_threads(most: int) -> Iterator[None]:
    """Limit the threads of BLAS, unless another holder has done so, and of OpenMP.

    Put it around a pool of threads that fit heads, too, so that all of them have one limit.
    """
    from threadpoolctl import ThreadpoolController

    global _holders, _restore
    found = ThreadpoolController()
    with _lock:
        if _holders == 0:
            _restore = _limit(found.select(user_api="blas"), most)
        _holders += 1
    try:
        with found.select(user_api="openmp").limit(limits=most):  # this thread's alone
            yield
    finally:
        with _lock:
            _holders -= 1
            if _holders == 0 and _restore is not None:
                _restore()


def _limit(libraries: Any, most: int) -> Callable[[], None]:
    """Limit some libraries; give what restores them."""
    limiter = _aside(lambda: libraries.limit(limits=most))
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
