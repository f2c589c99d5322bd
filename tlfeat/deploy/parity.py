"""Whether an exported model says what its run says, found out from files in a process of its own.

The written predict.py is run, by the runtime of the format, on held pictures as files; what
`predict` says of the same files is what it must say.
"""

import json
import os
import subprocess
import sys
from collections import Counter
from collections.abc import Collection, Mapping, Sequence
from pathlib import Path
from typing import Any, Final

import numpy as np
from PIL import Image

from tlfeat.data.dataset import Dataset
from tlfeat.data.samples import Sample
from tlfeat.deploy.exported_model import SCRIPT, TOLERANCE, Parity
from tlfeat.deploy.predict import predict
from tlfeat.errors import TlfeatError
from tlfeat.runs.record import Run
from tlfeat.where import Where

_HELD_FIRST: Final = ("test", "validation", "train")
_LEAST: Final = 64  # pictures, where the set has as many
_MOST: Final = 1000  # of a file in a short precision, whose accuracy is stated


def held_samples(
    dataset: Dataset, precision: str, seed: int, skipped: Collection[str] = ()
) -> tuple[str, list[Sample]]:
    """Draw pictures, those first that the run has not learned from.

    Parameters
    ----------
    dataset : Dataset
    precision : str
        Of the file: one in a short precision is asked for more of them.
    seed : int
    skipped : collection of str
        Ids of those that cannot be used.

    Returns
    -------
    splits : str
        That they are of, in words.
    samples : list of Sample
        As many of each class as there can be.
    """
    there = [one for one in dataset.samples if one.split and one.id not in skipped]
    order = np.random.default_rng(seed).permutation(len(there))
    turn: Counter[tuple[str | None, int | None]] = Counter()
    ranked: list[tuple[int, int, Sample]] = []
    for i in order:
        one = there[i]
        turn[one.split, one.label] += 1  # each class gives its first before any gives its second
        ranked.append((_HELD_FIRST.index(str(one.split)), turn[one.split, one.label], one))
    ranked.sort(key=lambda one: one[:2])
    wanted = _LEAST
    if precision != "float32":
        wanted = min(_MOST, max(_LEAST, sum(one.split == ranked[0][2].split for one in there)))
    samples = [sample for *_, sample in ranked[:wanted]]
    return " and ".join(dict.fromkeys(str(one.split) for one in samples)), samples


def write_pictures(dataset: Dataset, samples: Sequence[Sample], folder: Path) -> list[Path]:
    """Write pictures as files: those that are files as they are, others as PNG."""
    paths = []
    for number, sample in enumerate(samples):
        picture = dataset.read(sample)
        path = folder / f"{number:04}.{'png' if isinstance(picture, np.ndarray) else 'picture'}"
        if isinstance(picture, np.ndarray):
            squeezed = picture[:, :, 0] if picture.shape[2:] == (1,) else picture
            Image.fromarray(np.ascontiguousarray(squeezed)).save(path)
        else:
            path.write_bytes(picture)
        paths.append(path)
    return paths


def compared(
    run: Run,
    folder: Path,
    files: Sequence[Path],
    truth: Sequence[str | None],
    split: str,
    weights: str | Path | None,
    where: Where,
) -> Parity:
    """Ask a run and what was exported of it for the same files.

    Parameters
    ----------
    run : Run
    folder : Path
        Of the exported model.
    files : sequence of Path
    truth : sequence of str or None
        The class of each.
    split : str
        What they are of.
    weights : str or Path, optional
        Of the run's network, where they were moved.
    where : Where

    Raises
    ------
    TlfeatError
        If the exported model's own script fails.
    """
    theirs = _asked(folder, files)
    n_labels = len(theirs[0]["probabilities"]) if theirs else 1
    said = list(
        predict(
            run,
            files,
            top=max(n_labels, len(run.dataset.classes)),
            weights=weights,
            engine=where.engine,
            cache=where.cache,
            jobs=where.jobs,
        )
    )
    same = near = right = run_right = 0
    worst = 0.0
    for mine, other, true in zip(said, theirs, truth, strict=True):
        if mine.label is None:
            raise TlfeatError(f"A held picture cannot be used any more: {mine.reason}")
        shares = dict(mine.top)
        worst = max(worst, _difference(shares, other["probabilities"]))
        best = sorted(shares.values())[-2:]
        same += mine.label == other["label"]
        near += mine.label != other["label"] and best[-1] - best[0] < TOLERANCE
        right += other["label"] == true
        run_right += mine.label == true
    n = len(files)
    labelled = None not in truth and n > 0
    return Parity(
        n,
        split,
        same,
        near,
        worst,
        right / n if labelled else None,
        run_right / n if labelled else None,
    )


def _difference(mine: Mapping[str, float], other: Mapping[str, float]) -> float:
    if set(mine) != set(other):
        return float("inf")
    return max(abs(mine[label] - other[label]) for label in mine)


def _asked(folder: Path, files: Sequence[Path]) -> list[dict[str, Any]]:
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
    if done.returncode:
        last = (done.stderr.strip().splitlines() or ["it ended without a word"])[-1]
        raise TlfeatError(
            f"The exported model does not run: its {SCRIPT} ended with: {last[:300]}. Nothing is "
            "left of it; try another format."
        )
    lines = [line for line in done.stdout.splitlines() if line.startswith("{")]
    if len(lines) != len(files):
        raise TlfeatError(f"The exported model's {SCRIPT} said nothing of some pictures.")
    return [json.loads(line) for line in lines]
