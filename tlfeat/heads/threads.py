"""How many threads the numeric libraries may use while heads are fitted.

Their limit holds for the whole process. So heads that are fitted in several threads at once
share one limit: the first sets it, the last restores what was there.
"""

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

_lock = threading.Lock()
_holders = 0
_limit: Any = None


@contextmanager
def numeric_threads(most: int) -> Iterator[None]:
    """Limit the threads of BLAS and OpenMP, unless another holder has done so already."""
    from threadpoolctl import threadpool_limits

    global _holders, _limit
    with _lock:
        if _holders == 0:
            _limit = threadpool_limits(most)
        _holders += 1
    try:
        yield
    finally:
        with _lock:
            _holders -= 1
            if _holders == 0:
                _limit.restore_original_limits()
