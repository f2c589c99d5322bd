"""What the benchmarks share: rounds in turn, medians, ratios."""

import statistics
import time
from collections.abc import Callable


def measure(rounds: int, **contenders: Callable[[], object]) -> dict[str, list[float]]:
    """Time each contender once a round, in turn; give the seconds by name."""
    seconds: dict[str, list[float]] = {name: [] for name in contenders}
    for number in range(rounds):
        for name, run in contenders.items():
            began = time.perf_counter()
            run()
            seconds[name].append(time.perf_counter() - began)
            print(f"round {number + 1}: {name} {seconds[name][-1]:.2f} s", flush=True)
    return seconds


def median_ratio(slow: list[float], fast: list[float]) -> float:
    """Give the median of slow / fast, pair by pair."""
    return statistics.median(s / f for s, f in zip(slow, fast, strict=True))
