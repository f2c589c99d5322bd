"""What share of `compare` does it take to look the pictures over?

    python benchmarks/bench_audit.py FOLDER

Default heads on `--features auto`, from an empty store with the network exported, round by round;
the check is timed inside each.
"""

import argparse
import shutil
import statistics
import tempfile
import time
from pathlib import Path

from side_by_side import measure

from tlfeat.data.dataset import open_dataset
from tlfeat.studies import execute
from tlfeat.studies.compare import compare

MOST = 0.1  # of the time of compare


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("data")
    parser.add_argument("--rounds", type=int, default=3)
    options = parser.parse_args()
    spent = []
    look_over = execute.look_over

    def timed(*given):
        began = time.perf_counter()
        found = look_over(*given)
        spent.append(time.perf_counter() - began)
        return found

    execute.look_over = timed
    with tempfile.TemporaryDirectory() as folder:
        cache, reports = Path(folder) / "cache", Path(folder) / "reports"

        def run():
            shutil.rmtree(cache / "features", ignore_errors=True)
            shutil.rmtree(reports, ignore_errors=True)
            dataset = open_dataset(options.data)
            compare(dataset, cache=cache, reports=reports)

        run()  # exports the network
        spent.clear()
        seconds = measure(options.rounds, compare=run)["compare"]
    shares = [one / all_of_it for one, all_of_it in zip(spent, seconds, strict=True)]
    share = statistics.median(shares)
    print(
        f"compare {statistics.median(seconds):.1f} s, of which looking the pictures over "
        f"{statistics.median(spent):.1f} s: {share:.2f} of it, wanted {MOST} at most"
    )
    raise SystemExit(share > MOST)


if __name__ == "__main__":
    main()
