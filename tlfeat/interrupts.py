"""Ctrl-C where it must wait: in the middle of a step, or while a library calls Python back.

Libraries in C++ turn the exception of a callback into one of their own, or never come back from
it. So there Ctrl-C is noted, and answered where it does no harm.
"""

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any


class Asked:
    """Whether Ctrl-C was pressed."""

    def __init__(self) -> None:
        self.stop = False

    def answer(self) -> None:
        """Stop, if that was asked for."""
        if self.stop:
            raise KeyboardInterrupt


@contextmanager
def interruptible() -> Iterator[Asked]:
    """Let the first Ctrl-C wait until somebody asks for it, and the second act at once.

    Off the main thread, where no Ctrl-C arrives, nothing is changed.
    """
    asked = Asked()
    if threading.current_thread() is not threading.main_thread():
        yield asked
        return
    before = signal.getsignal(signal.SIGINT)

    def hear(number: int, frame: Any) -> None:
        asked.stop = True
        signal.signal(signal.SIGINT, before)

    signal.signal(signal.SIGINT, hear)
    try:
        yield asked
    finally:
        signal.signal(signal.SIGINT, before)
