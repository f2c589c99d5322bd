"""How many processor cores this process may use."""

import os


def usable_cores() -> int:
    """Give the cores that this process may run on, at least 1."""
    if hasattr(os, "sched_getaffinity"):  # Linux: respects taskset and containers' cpusets
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1
