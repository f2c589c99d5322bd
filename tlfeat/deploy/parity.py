"""Whether an exported model says what its run says, found out from files in a process of its own.

The written predict.py is run, by the runtime of the format, on pictures of the run as files; what
`predict` says of the same files is what it must say.
"""

import io
import json
import os
import subprocess
import sys
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Final, NamedTuple

import numpy as np
from PIL import Image

from tlfeat.data.dataset import Dataset
from tlfeat.data.decode import FORMATS, UndecodableImage, decode
from tlfeat.data.sources.base import Picture
from tlfeat.deploy.exported_model import SCRIPT, TOLERANCE, Parity
from tlfeat.deploy.predict import predict
from tlfeat.errors import TlfeatError
from tlfeat.runs.predictions import read_predictions
from tlfeat.runs.record import Run
from tlfeat.where import Where

_LEAST: Final = 64  # pictures, where the set has as many
_MOST: Final = 1000  # held ones of a file in a short precision, whose accuracy is stated


class Known(NamedTuple):
    """A picture that a run was measured on."""

    digest: str
    split: str
    label: str  # its class


class Asked(NamedTuple):
    """A picture, as a file."""

    path: Path
    known: Known


def known_pictures(run: Run) -> list[Known]:
    """List the pictures of a run, those first that it has not learned from.

    Parameters
    ----------
    run : Run

    Returns
    -------
    pictures : list of Known
        Of test, then validation, then train; in each every class gives its first before any
        gives its second, in an order that the run's seed draws.
    """
    classes, ordered = run.dataset.classes, []
    by_split = {
        split: read_predictions(run, split, scores=False)
        for split in ("test", "validation", "train")
    }
    learned = set(by_split["train"].digests.tolist())
    rng = np.random.default_rng(run.seed)
    for split, rows in by_split.items():
        turn: Counter[int] = Counter()
        mine: list[tuple[int, Known]] = []
        for i in rng.permutation(len(rows)):
            if split == "validation" and rows.digests[i] in learned:
                continue  # out of fold
            true = int(rows.true[i])
            turn[true] += 1
            mine.append((turn[true], Known(str(rows.digests[i]), split, classes[true])))
        ordered += [one for _, one in sorted(mine, key=lambda pair: pair[0])]
    return ordered


def pictures_as_files(run: Run, dataset: Dataset, precision: str, folder: Path) -> list[Asked]:
    """Write pictures of a run as files: those that are files as they are, others as PNG.

    Parameters
    ----------
    run : Run
    dataset : Dataset
        That has its pictures; others are left alone.
    precision : str
        Of the exported model: one in a short precision is asked for all that are held.
    folder : Path

    Returns
    -------
    asked : list of Asked

    Raises
    ------
    TlfeatError
        If the dataset has not one of them.
    """
    known = known_pictures(run)
    held = sum(one.split != "train" for one in known)
    wanted = _LEAST if precision == "float32" else max(_LEAST, min(_MOST, held))
    samples = {sample.digest: sample for sample in dataset.samples}
    found: list[Asked] = []
    for one in known:
        if len(found) == wanted:
            break
        try:
            picture = dataset.read(samples[one.digest])
            decode(picture, run.picture_rule.size, run.picture_rule.resize)
            path = _written(picture, folder / f"{len(found):04}")
        except (KeyError, OSError, UndecodableImage):
            continue  # gone, changed or damaged since, or of a kind that needs a plug-in
        found.append(Asked(path, one))
    if not found:
        raise TlfeatError(
            f"Not one of the pictures that {run.name} was measured on is in {dataset.path}: say "
            "with --data where they are."
        )
    return found


def _written(picture: Picture, path: Path) -> Path:
    if isinstance(picture, np.ndarray):
        flat = picture[:, :, 0] if picture.shape[2:] == (1,) else picture
        Image.fromarray(np.ascontiguousarray(flat)).save(path.with_suffix(".png"))
        return path.with_suffix(".png")
    Image.open(io.BytesIO(picture), formats=FORMATS)
    path.write_bytes(picture)
    return path


def compared(
    run: Run,
    folder: Path,
    asked: Sequence[Asked],
    weights: str | Path | None,
    where: Where,
) -> Parity:
    """Ask a run and what was exported of it for the same files.

    Parameters
    ----------
    run : Run
    folder : Path
        Of the exported model.
    asked : sequence of Asked
    weights : str or Path, optional
        Of the run's network, where they were moved.
    where : Where

    Raises
    ------
    TlfeatError
        If the exported model's own script fails.
    """
    files = [one.path for one in asked]
    theirs = _answers(folder, files)
    mine = predict(
        run,
        files,
        top=sys.maxsize,
        weights=weights,
        engine=where.engine,
        cache=where.cache,
        jobs=where.jobs,
    )
    same = near = right = run_right = 0
    worst = 0.0
    for one, ours, other in zip(asked, mine, theirs, strict=True):
        shares = dict(ours.top)
        worst = max(worst, _difference(shares, other["probabilities"]))
        second, first = sorted(shares.values())[-2:]
        same += ours.label == other["label"]
        near += ours.label != other["label"] and first - second < TOLERANCE
        is_held = one.known.split != "train"
        right += is_held and other["label"] == one.known.label
        run_right += is_held and ours.label == one.known.label
    held = sum(one.known.split != "train" for one in asked)
    splits = dict.fromkeys(one.known.split for one in asked)
    return Parity(
        pictures=len(asked),
        splits=" and ".join(splits),
        held=held,
        same_label=same,
        near=near,
        greatest_difference=worst,
        accuracy=right / held if held else None,
        run_accuracy=run_right / held if held else None,
    )


def _difference(mine: Mapping[str, float], other: Mapping[str, float]) -> float:
    """Give the greatest difference; infinite where labels differ or a number is none."""
    if set(mine) != set(other) or not np.isfinite(list(other.values())).all():
        return float("inf")
    return max(abs(mine[label] - other[label]) for label in mine)


def _answers(folder: Path, files: Sequence[Path]) -> list[dict[str, Any]]:
    """Run the script of an exported model, in a process that has nothing of this one."""
    quiet = {"TF_CPP_MIN_LOG_LEVEL": "3", "PYTHONIOENCODING": "utf-8"}
    done = subprocess.run(
        [sys.executable, "-I", SCRIPT, *(str(path.resolve()) for path in files)],
        cwd=folder,
        env={**os.environ, **quiet},
        capture_output=True,
        encoding="utf-8",
        errors="replace",
        check=False,
    )
    said = list(_lines(done.stdout))
    failed = [str(one["reason"]) for one in said if one["label"] is None]
    if done.returncode or failed or len(said) != len(files):
        last = [*failed[:1], *done.stderr.strip().splitlines()[-1:], "it said too little"][0]
        raise TlfeatError(
            f"The exported model does not run: its {SCRIPT} ended with: {last[:300]}. Nothing is "
            "left of it; try another format."
        )
    return said


def _lines(text: str) -> Iterator[dict[str, Any]]:
    for line in text.splitlines():
        if line.startswith("{"):  # runtimes may chatter
            yield json.loads(line)
