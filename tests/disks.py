"""Disks that refuse."""

import resource
from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def small_disk(room: int) -> Iterator[None]:
    """Let the system refuse files above some bytes, as a full disk does."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (room, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
