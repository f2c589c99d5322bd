"""Run the whole series, or the parts that are named: `python -m faults extract flips`."""

import os
import sys
import tempfile
from pathlib import Path

from faults.common import Scene
from faults.series import SERIES


def main(names: list[str]) -> int:
    """Print a line for each part; give 1 where anything is wrong."""
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    wrong = 0
    with tempfile.TemporaryDirectory(prefix="tlfeat-faults-") as scratch:
        networks = Path(scratch) / "networks"
        networks.mkdir()
        for part in SERIES:
            if names and part.name not in names:
                continue
            folder = Path(scratch) / part.name
            folder.mkdir()
            outcome = part.run(Scene(folder, networks), part.whole)
            print(outcome, flush=True)
            for one in outcome.wrong:
                print(f"  {one}", flush=True)
            wrong += len(outcome.wrong)
    return min(wrong, 1)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
