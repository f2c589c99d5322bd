"""What does a shorter precision cost in accuracy: the same heads on features in each.

    python benchmarks/bench_precision.py DATA...

Prints accuracy on test and, of the pictures that only one of the two is right on, how many are
whose: a difference of precision is a difference on the same pictures.
"""

import argparse
import tempfile
from pathlib import Path

import numpy as np

from tlfeat import compare
from tlfeat.runs.predictions import read_predictions
from tlfeat.runs.record import find_runs

HEADS = ("logistic", "lda")


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("data", nargs="+")
    parser.add_argument("--precision", nargs="+", default=["bfloat16", "int8"])
    parser.add_argument("--cache", help="where features are kept")
    options = parser.parse_args()
    print("| data | head | n | float32 | precision | right | only float32 | only it |")
    print("|---|---|---|---|---|---|---|---|")
    with tempfile.TemporaryDirectory() as scratch:
        for data in options.data:
            right = {
                precision: right_of(data, precision, options.cache or scratch, scratch)
                for precision in ("float32", *options.precision)
            }
            for precision in options.precision:
                for head in HEADS:
                    plain, other = right["float32"][head], right[precision][head]
                    print(
                        f"| {Path(data).name} | {head} | {len(plain)} | {100 * plain.mean():.1f} "
                        f"| {precision} | {100 * other.mean():.1f} | {(plain & ~other).sum()} "
                        f"| {(other & ~plain).sum()} |",
                        flush=True,
                    )


def right_of(data: str, precision: str, cache: str, reports: str) -> dict[str, np.ndarray]:
    """Train the heads on features in a precision; say which pictures of test each has right."""
    done = compare(
        data,
        heads=HEADS,
        features=["last:avg"],
        precision=precision,
        cache=cache,
        reports=reports,
    )
    runs = [
        run for run in find_runs(done.folder) if run.recipes[0].precision.startswith(precision)
    ]
    return {run.head_settings.name: read_predictions(run, "test").correct for run in runs}


if __name__ == "__main__":
    main()
