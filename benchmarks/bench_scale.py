"""How does the feature store grow, from 10,000 rows to a million and more?

    python benchmarks/bench_scale.py
    python benchmarks/bench_scale.py --rows 1000,10000 --width 64 --files 10000

Made-up features; each task runs in a process of its own, so that its memory is its own. With
--files, `tlfeat extract` also runs on a folder of so many small pictures that are all stored.
"""

import argparse
import json
import multiprocessing
import os
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from hashlib import sha256
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image
from side_by_side import median_ratio

from tlfeat.data.dataset import open_dataset
from tlfeat.data.digests import DigestIndex
from tlfeat.features.matrix import open_entry
from tlfeat.features.settings import FeatureSettings
from tlfeat.features.soundness import RACY_NS
from tlfeat.features.store import Entry, FeatureStore

NAME = "made-up"
BLOCK, COMMITS = 64, 100  # rows of one commit of an extraction, and how many are timed
FILL = 8192  # rows of one commit that only fills the store
BATCH = 10_000  # rows of one gather
ROUNDS = 5
MB = 1e6


def digests(start: int, stop: int) -> list[str]:
    return [sha256(str(number).encode()).hexdigest() for number in range(start, stop)]


def entry_in(root: Path, width: int, dtype: str) -> Entry:
    return FeatureStore(root).entry({"made": "up"}, NAME, (width,), dtype)


def seconds(run: Callable[[], object]) -> float:
    began = time.perf_counter()
    run()
    return time.perf_counter() - began


def resident() -> float:
    """Give the megabytes of memory that this process has now."""
    pages = int(Path("/proc/self/statm").read_text(encoding="ascii").split()[1])
    return pages * resource.getpagesize() / MB


def peak() -> float:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024 / MB


def fill(root: Path, rows: int, width: int, dtype: str) -> dict[str, float]:
    """Fill a store but for the last blocks, and time those."""
    entry = entry_in(root, width, dtype)
    random = np.random.default_rng(0)
    first = max(0, rows - BLOCK * COMMITS)
    for start in range(0, first, FILL):
        names = digests(start, min(start + FILL, first))
        entry.append(names, random.random((len(names), width), dtype=np.float32))
    took = []
    for start in range(first, rows, BLOCK):
        names = digests(start, min(start + BLOCK, rows))
        block = random.random((len(names), width), dtype=np.float32)
        took.append(seconds(lambda n=names, b=block: entry.append(n, b)) / len(names))
    return {"append_us": statistics.median(took) * 1e6}


def first_look(root: Path, rows: int, width: int, dtype: str) -> dict[str, float]:
    """Open the entry and look one picture up."""
    (name,) = digests(rows // 2, rows // 2 + 1)
    return {"seconds": seconds(lambda: entry_in(root, width, dtype).missing([name]))}


def look_up(root: Path, rows: int, width: int, dtype: str) -> dict[str, float]:
    """Look all pictures up, and a part of them that lies scattered."""
    entry, names = entry_in(root, width, dtype), digests(0, rows)
    entry.missing(names[:1])
    few = np.random.default_rng(1).choice(rows, min(BATCH, rows), replace=False)
    scattered = [names[place] for place in few]
    base = resident()
    each = [seconds(lambda: entry.missing(scattered)) / len(few) for _ in range(ROUNDS)]
    every = [seconds(lambda: entry.missing(names)) / rows for _ in range(ROUNDS)]
    return {
        "look_up_us": statistics.median(every) * 1e6,
        "scattered_us": statistics.median(each) * 1e6,
        "look_up_mb": peak() - base,
    }


def gather(root: Path, rows: int, width: int, dtype: str) -> dict[str, float]:
    """Read rows that lie scattered, in their order on the disk, beside plain NumPy."""
    entry = entry_in(root, width, dtype)
    few = np.sort(np.random.default_rng(1).choice(rows, min(BATCH, rows), replace=False))
    names = [sha256(str(number).encode()).hexdigest() for number in few]
    base = resident()
    batch = entry.read(names).nbytes / MB  # and its pages are in memory from now on
    beside = peak() - base - batch
    path = entry.path / "features.npy"
    ours, plain = [], []
    for _ in range(ROUNDS):
        ours.append(seconds(lambda: entry.read(names)))
        plain.append(seconds(lambda: np.load(path, mmap_mode="r")[few]))
    return {
        "gather_us": statistics.median(ours) / len(few) * 1e6,
        "gather_ratio": median_ratio(ours, plain),
        "gather_mb": beside,
    }


def verify(root: Path, rows: int, width: int, dtype: str) -> dict[str, float]:
    """Check every row."""
    entry, base = entry_in(root, width, dtype), resident()
    took = seconds(entry.bad_rows)
    return {"verify_us": took / rows * 1e6, "verify_mb": peak() - base}


def grow(rows: int, width: int, dtype: str) -> dict[str, float]:
    """Do all tasks on a store of so many rows."""
    with tempfile.TemporaryDirectory(prefix="tlfeat-scale-") as folder:
        asked = (Path(folder), rows, width, dtype)
        found = alone(fill, *asked)
        time.sleep(RACY_NS / 1e9)
        for name in ("first_s", "again_s"):  # the second process finds that the first one looked
            found[name] = alone(first_look, *asked)["seconds"]
        for task in (look_up, gather, verify):
            found |= alone(task, *asked)
        found["bytes"] = entry_in(Path(folder), width, dtype).bytes / rows
    return found


def alone(task: Callable[..., dict[str, float]], *arguments: Any) -> dict[str, float]:
    with multiprocessing.get_context("spawn").Pool(1) as pool:
        return pool.apply(task, arguments)


def warm_extract(files: int) -> dict[str, float]:
    """Make so many small pictures whose rows are stored, and extract them again."""
    with tempfile.TemporaryDirectory(prefix="tlfeat-scale-") as folder:
        pictures, cache = Path(folder, "pictures"), Path(folder, "cache")
        random = np.random.default_rng(0)
        for number in range(files):
            path = pictures / f"class-{number % 100}" / f"{number}.bmp"
            path.parent.mkdir(parents=True, exist_ok=True)
            Image.fromarray(random.integers(0, 256, (8, 8, 3), np.uint8)).save(path)
        time.sleep(RACY_NS / 1e9)  # or their digests would not be trusted
        dataset = open_dataset(pictures, digests=DigestIndex(cache))
        (recipe,) = FeatureSettings().resolve(cache).recipes
        entry = open_entry(FeatureStore(cache), recipe)
        names = list({sample.digest for sample in dataset.samples})
        for start in range(0, len(names), FILL):
            some = names[start : start + FILL]
            entry.append(some, random.random((len(some), *entry.shape), dtype=np.float32))
        command = [sys.executable, "-c", "from tlfeat_cli import main; main()", "extract"]
        command += [str(pictures), "--cache", str(cache), "--quiet"]
        took, quiet = [], subprocess.DEVNULL
        for _ in range(ROUNDS):
            before = os.times()
            took.append(seconds(lambda: subprocess.run(command, check=True, stdout=quiet)))
            after = os.times()
    used = after.children_user + after.children_system
    used -= before.children_user + before.children_system
    return {"files": files, "warm_s": statistics.median(took), "warm_processor_s": used}


COLUMNS = {
    "append_us": "append, us a row",
    "first_s": "first look-up ever, s",
    "again_s": "in the next process, s",
    "look_up_us": "look-up of all, us each",
    "scattered_us": f"of {BATCH:,}, us each",
    "gather_us": f"gather of {BATCH:,}, us a row",
    "gather_ratio": "beside NumPy, times",
    "verify_us": "verify, us a row",
    "look_up_mb": "memory: look-up, MB",
    "gather_mb": "gather, MB",
    "verify_mb": "verify, MB",
    "bytes": "disk, bytes a row",
}


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rows", default="10000,100000,1000000")
    parser.add_argument("--width", type=int, default=1280, help="numbers of a row")
    parser.add_argument("--dtype", default="float32", choices=["float32", "float16"])
    parser.add_argument("--files", type=int, default=0, help="of a folder to extract again")
    parser.add_argument("--json", type=Path, help="also write what is found to this file")
    options = parser.parse_args()
    sizes = [int(size) for size in options.rows.split(",")]
    found: dict[str, Any] = {str(n): grow(n, options.width, options.dtype) for n in sizes}
    few, *_, many = [found[str(n)] for n in (*sizes, sizes[-1])]
    print(f"{'rows':30}" + "".join(f"{n:>12,}" for n in sizes) + "      growth")
    for key, title in COLUMNS.items():
        values = "".join(f"{found[str(n)][key]:12.3g}" for n in sizes)
        print(f"{title:30}{values}{many[key] / few[key]:12.2f}")
    if options.files:
        found["extract"] = warm_extract(options.files)
        print("warm extract of {files:,} files: {warm_s:.1f} s".format(**found["extract"]))
    if options.json:
        options.json.write_text(json.dumps(found, indent=2), encoding="utf-8")


if __name__ == "__main__":
    main()
