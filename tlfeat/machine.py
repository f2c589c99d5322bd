"""What computes: times of one machine say nothing of another."""

import platform
from functools import cache
from pathlib import Path
from typing import Any

from tlfeat.cores import usable_cores


def machine() -> dict[str, Any]:
    """Say what computes here: system, processor, cores that this process may use."""
    return {"system": platform.system(), "processor": _processor(), "cores": usable_cores()}


@cache
def _processor() -> str:
    try:
        for line in Path("/proc/cpuinfo").read_text().splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    except OSError:
        pass
    return platform.processor() or platform.machine()
