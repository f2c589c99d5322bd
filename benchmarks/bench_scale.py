"""How does the feature store grow, from 10,000 rows to a million and more?

    python benchmarks/bench_scale.py
    python benchmarks/bench_scale.py --rows 1000,10000 --width 64 --files 10000

Made-up features; each task runs in a process of its own, so that its memory is its own. Seconds
are the processor's, but for append and --files, which wait for the disk. With --files, `tlfeat
extract` also runs on a folder of so many small pictures that are all stored.
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
from collections.abc import Callable, Iterable, Sequence
from hashlib import sha256
from pathlib import Path
from typing import Any, NamedTuple

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


class Store(NamedTuple):
    """A store of so many made-up rows."""

    root: Path
    rows: int
    width: int
    dtype: str

    @property
    def entry(self) -> Entry:
        """The store's entry, as a process has it that knows nothing yet."""
        recipe = {"made": "up"}
        return FeatureStore(self.root).entry(recipe, NAME, (self.width,), self.dtype)

    def append(self, start: int, stop: int) -> float:
        """Add some rows; give the seconds that it took."""
        block = np.random.default_rng(start).random((stop - start, self.width), np.float32)
        names = digests(range(start, stop))
        return seconds(lambda: self.entry.append(names, block))

    @property
    def batch(self) -> list[int]:
        """Rows that lie scattered, in their order on the disk."""
        few = min(BATCH, self.rows)
        chosen = np.random.default_rng(1).choice(self.rows, few, replace=False)
        return sorted(chosen.tolist())


def digests(numbers: Iterable[int]) -> list[str]:
    return [sha256(str(number).encode()).hexdigest() for number in numbers]


def seconds(run: Callable[[], object], clock: Callable[[], float] = time.perf_counter) -> float:
    began = clock()
    run()
    return clock() - began


def busy(run: Callable[[], object]) -> float:
    """Give the seconds of the processor: what waits for no disk is measured beside others too."""
    return seconds(run, time.process_time)


def resident() -> float:
    """Give the megabytes of memory that this process has now."""
    pages = int(Path("/proc/self/statm").read_text(encoding="ascii").split()[1])
    return pages * resource.getpagesize() / MB


def peak() -> float:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024 / MB


def alone(task: Callable[..., Any], *arguments: Any) -> Any:
    """Do a task in a process of its own."""
    with multiprocessing.get_context("spawn").Pool(1) as pool:
        return pool.apply(task, arguments)


def fill(store: Store) -> None:
    for start in range(0, store.rows, FILL):
        store.append(start, min(start + FILL, store.rows))


def append(stores: Sequence[Store]) -> list[dict[str, float]]:
    """Add a block to each store in turn, as an extraction does."""
    entries = [store.entry for store in stores]
    took: list[list[float]] = [[] for _ in stores]
    for number in range(COMMITS):
        for place, (store, entry) in enumerate(zip(stores, entries, strict=True)):
            start = store.rows + number * BLOCK
            block = np.random.default_rng(start).random((BLOCK, store.width), np.float32)
            names = digests(range(start, start + BLOCK))
            took[place].append(seconds(lambda e=entry, n=names, b=block: e.append(n, b)))
    return [{"append_us": statistics.median(each) / BLOCK * 1e6} for each in took]


def first_look(store: Store) -> float:
    """Open an entry and look one picture up."""
    names = digests([store.rows // 2])
    return busy(lambda: store.entry.missing(names))


def look_up(stores: Sequence[Store]) -> list[dict[str, float]]:
    """Look all pictures of each store up in turn, and a part of them that lies scattered."""
    found = []
    every = [digests(range(store.rows)) for store in stores]
    few = [[names[row] for row in store.batch] for store, names in zip(stores, every, strict=True)]
    entries = [store.entry for store in stores]
    took: list[dict[str, list[float]]] = [{"look_up_us": [], "scattered_us": []} for _ in stores]
    for _ in range(ROUNDS):
        for place, entry in enumerate(entries):
            for key, names in (("look_up_us", every[place]), ("scattered_us", few[place])):
                one = busy(lambda e=entry, n=names: e.missing(n)) / len(names)
                took[place][key].append(one)
    for each in took:
        found.append({key: statistics.median(all_) * 1e6 for key, all_ in each.items()})
    return found


def gather(store: Store) -> dict[str, float]:
    """Read rows that lie scattered, beside plain NumPy."""
    entry, rows = store.entry, store.batch
    names, path = digests(rows), entry.path / "features.npy"
    ours, plain = [], []
    for _ in range(ROUNDS + 1):  # the first one warms the system's cache
        ours.append(busy(lambda: entry.read(names)))
        plain.append(busy(lambda: np.load(path, mmap_mode="r")[rows]))
    return {
        "gather_us": statistics.median(ours[1:]) / len(rows) * 1e6,
        "gather_ratio": median_ratio(ours[1:], plain[1:]),
    }


def verify(store: Store) -> dict[str, float]:
    entry = store.entry
    return {"verify_us": busy(entry.bad_rows) / store.rows * 1e6}


def memory(store: Store, task: str) -> float:
    """Give the megabytes that a task takes at its height, beside what it is given and gives."""
    entry = store.entry
    names = digests(range(store.rows) if task == "look_up" else store.batch)
    base = resident()
    if task == "look_up":
        entry.missing(names)
    elif task == "gather":
        base += entry.read(names).nbytes / MB
    else:
        entry.bad_rows()
    return max(0.0, peak() - base)


def grow(stores: Sequence[Store]) -> list[dict[str, float]]:
    """Do all tasks on all stores."""
    for store in stores:
        alone(fill, store)
    time.sleep(RACY_NS / 1e9)
    found: list[dict[str, float]] = [{} for _ in stores]
    for each, store in zip(found, stores, strict=True):
        for key in ("first", "again"):  # the second process knows that the first one looked
            each[f"{key}_s"] = alone(first_look, store)
        each |= alone(gather, store) | alone(verify, store)
        for task in ("look_up", "gather", "verify"):
            each[f"{task}_mb"] = alone(memory, store, task)
        each["bytes"] = store.entry.bytes / store.rows
    for task in (look_up, append):
        for each, more in zip(found, alone(task, stores), strict=True):
            each |= more
    return found


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
    with tempfile.TemporaryDirectory(prefix="tlfeat-scale-") as folder:
        stores = [
            Store(Path(folder, str(rows)), rows, options.width, options.dtype) for rows in sizes
        ]
        measured = grow(stores)
    print(f"{'rows':30}" + "".join(f"{rows:>12,}" for rows in sizes) + "      growth")
    for key, title in COLUMNS.items():
        values = [each[key] for each in measured]
        growth = f"{values[-1] / values[0]:12.2f}" if values[0] else ""
        print(f"{title:30}" + "".join(f"{value:12.3g}" for value in values) + growth)
    found: dict[str, Any] = dict(zip(map(str, sizes), measured, strict=True))
    if options.files:
        found["extract"] = warm_extract(options.files)
        print("warm extract of {files:,} files: {warm_s:.1f} s".format(**found["extract"]))
    if options.json:
        options.json.write_text(json.dumps(found, indent=2), encoding="utf-8")


if __name__ == "__main__":
    main()
