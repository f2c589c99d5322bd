"""What heads are worth with fewer train pictures: sizes, draws, and what was measured of them.

A shot is a picture a class. A draw puts the train pictures of each class into an order, made of
a seed and the pictures alone, and a size takes the first of it: larger sizes of one draw hold the
smaller ones. Pictures of one group (frames of a track, patches of a patient) are drawn together,
as their number tells little where they are alike: of the last group of a class all are taken or
none, by lot, so that a size is met in the mean. Each class has one group at least.
"""

import hashlib
import json
import math
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any, Final, NamedTuple

import numpy as np

from tlfeat.errors import TlfeatError
from tlfeat.files import write_text
from tlfeat.heads.arrays import Ints
from tlfeat.runs.ranked import RankedRun
from tlfeat.runs.record import Run

SHOTS: Final = "shots.json"
ALL: Final = "all"
METHOD: Final = 1  # raised when draws, or what is measured of them, change
SCHEMA: Final = 1
_MOST_REPEATS: Final = 10
_LEAST_REPEATS: Final = 3
_WORK: Final = 2.0  # train sets that the repeats of a size hold together, where there are more

Size = int | str  # pictures a class, or ALL


class ShotFit(NamedTuple):
    """One head, fitted to one draw."""

    shots: int
    repeat: int
    pictures: int  # of train, over all classes
    accuracy: float | None  # on the judged pictures, 0 to 1
    refused: str = ""  # why there is none


class ShotPoint(NamedTuple):
    """What a head is worth at one size."""

    size: Size
    pictures: int  # of train, over all classes
    accuracies: tuple[float, ...]  # one a draw

    @property
    def mean(self) -> float:
        """Of all draws."""
        return float(np.mean(self.accuracies))


@dataclass(frozen=True)
class ShotCurve:
    """What one run's head is worth at several sizes.

    Attributes
    ----------
    run : str
        Its id.
    name : str
    split : {"test", "validation"}
        What it is judged on: test, or validation where there is none.
    n_judged : int
        Pictures of that.
    n_train : int
        Pictures of the whole train.
    points : tuple of ShotPoint
        Smallest first; the last is of the whole train where that was asked for.
    refused : tuple of str
        Why there are draws without a figure.
    measured, asked : int
        Draws that are there, and those that the sizes ask for: fewer where it was broken off.
    """

    run: str
    name: str
    split: str
    n_judged: int
    n_train: int
    points: tuple[ShotPoint, ...]
    refused: tuple[str, ...] = ()
    measured: int = 0
    asked: int = 0

    @property
    def has_whole(self) -> bool:
        """Whether the whole train is one of its points."""
        return bool(self.points) and self.points[-1].size == ALL


def read_sizes(values: Sequence[int | str]) -> tuple[Size, ...]:
    """Read sizes as they are typed.

    Parameters
    ----------
    values : sequence of int or str
        Numbers of pictures a class, and "all".

    Returns
    -------
    sizes : tuple of int or "all"
        Smallest first, each once.

    Raises
    ------
    TlfeatError
        If one is neither, or there is none.

    Examples
    --------
    >>> read_sizes(["all", 20, "5", "20"])
    (5, 20, 'all')
    """
    found: set[Size] = set()
    for value in values:
        text = str(value).strip().lower()
        if text != ALL and not (text.isascii() and text.isdigit() and int(text) > 0):
            raise TlfeatError(
                f"shots {value!r} is no number of pictures a class: give whole numbers of 1 or "
                "more, and all, such as 5,10,20,50,all."
            )
        found.add(ALL if text == ALL else int(text))
    if not found:
        raise TlfeatError("shots is empty: give pictures a class, such as 5,10,20,50,all.")
    return tuple(sorted(found, key=lambda size: math.inf if size == ALL else int(size)))


def drawn_sizes(sizes: Sequence[Size], counts: Ints) -> dict[int, int]:
    """Give about how many pictures each size has that is smaller than the whole train.

    Parameters
    ----------
    sizes : sequence of int or "all"
    counts : ndarray of shape (n_classes,)
        Train pictures of each class; one that has fewer than a size gives all of them.

    Returns
    -------
    pictures : dict of int to int
    """
    drawn = {int(size): int(np.minimum(size, counts).sum()) for size in sizes if size != ALL}
    return {size: pictures for size, pictures in drawn.items() if pictures < counts.sum()}


def repeats_of(pictures: int, n_train: int) -> int:
    """Say how often a size is drawn: often where it is small, as it differs most and costs least.

    Examples
    --------
    >>> [repeats_of(n, 600) for n in (50, 200, 500)]
    [10, 6, 3]
    """
    return min(_MOST_REPEATS, max(_LEAST_REPEATS, int(_WORK * n_train / pictures)))


def class_counts(run: Run) -> Ints:
    """Give the train pictures of each class of a run; (n_classes,)."""
    return np.array([one["n"] for one in run.metrics["train"]["per_class"].values()])


def draws_of(sizes: Sequence[Size], counts: Ints) -> list[tuple[int, int]]:
    """List the draws that sizes ask for.

    Parameters
    ----------
    sizes : sequence of int or "all"
    counts : ndarray of shape (n_classes,)
        Train pictures of each class.

    Returns
    -------
    draws : list of tuple
        Pictures a class, and which draw of so many it is.
    """
    n = int(counts.sum())
    return [
        (shots, repeat)
        for shots, pictures in drawn_sizes(sizes, counts).items()
        for repeat in range(repeats_of(pictures, n))
    ]


def turns(y: Ints, groups: Ints, digests: Sequence[str], seed: int, repeat: int) -> Ints:
    """Give each picture its place in its class's order of a draw.

    Parameters
    ----------
    y, groups : ndarray of shape (n,), int
        Of the train pictures.
    digests : sequence of str
    seed, repeat : int
        Of the draw.

    Returns
    -------
    turn : ndarray of shape (n,), int
        0 for the first group of each class; a size of k is where it is less than k.
    """
    n = len(y)
    lots = np.fromiter((_lot(seed, repeat, digest) for digest in digests), np.float64, n)
    # the lot of a group is the least of its pictures'
    number = np.unique(groups, return_inverse=True)[1]
    lot = np.full(number.max(initial=-1) + 1, 1.0)
    np.minimum.at(lot, number, lots)
    order = np.lexsort((number, lot[number], y))
    turn = np.empty(n, dtype=np.int64)
    starts = np.flatnonzero(np.diff(y[order], prepend=-1) | np.diff(number[order], prepend=-1))
    for start, end in pairwise([*starts.tolist(), n]):
        mine = order[start:end]
        label = y[mine[0]]
        if start == 0 or y[order[start - 1]] != label:
            before = start
            turn[mine] = 0
            continue
        # c pictures of the class come before this group of g: it is there from c + u g on
        share = _lot(seed, repeat, f"{label} {min(digests[row] for row in mine)}")
        turn[mine] = start - before + int(share * (end - start))
    return turn


def _lot(seed: int, repeat: int, text: str) -> float:
    """Draw a number from 0 to 1 that is always the same."""
    said = hashlib.sha256(f"{seed} {repeat} {text}".encode()).digest()
    return int.from_bytes(said[:6], "big") / 2**48


@dataclass
class ShotFile:
    """shots.json of a study: which sizes were asked for last, and all fits that were made.

    Attributes
    ----------
    sizes : tuple of int or "all"
    fits : dict of str to list of ShotFit
        By the run's id, which says the dataset, the head and its seed.
    """

    sizes: tuple[Size, ...]
    fits: dict[str, list[ShotFit]]

    @classmethod
    def read(cls, folder: Path) -> "ShotFile | None":
        """Read the file of a study; None where there is none of this method.

        Raises
        ------
        TlfeatError
            If it is there and cannot be read.
        """
        path = folder / SHOTS
        if not path.exists():
            return None
        try:
            told = json.loads(path.read_text(encoding="utf-8"))
            if (told["schema"], told["method"]) != (SCHEMA, METHOD):
                return None
            fits = {str(run): [_fit(row) for row in rows] for run, rows in told["fits"].items()}
            return cls(read_sizes(told["shots"]), fits)
        except (OSError, ValueError, KeyError, TypeError, AttributeError, TlfeatError) as error:
            raise TlfeatError(
                f"{path} cannot be read ({type(error).__name__}): remove it, and `tlfeat compare "
                "--shots` measures again."
            ) from None

    def write(self, folder: Path) -> None:
        """Write it whole."""
        rows = {run: [list(fit) for fit in fits] for run, fits in self.fits.items()}
        told = {"schema": SCHEMA, "method": METHOD, "shots": list(self.sizes), "fits": rows}
        write_text(folder / SHOTS, json.dumps(told, allow_nan=False) + "\n")

    def curves(self, runs: Sequence[Run]) -> list[ShotCurve]:
        """Give the curves of those runs that were fitted at the sizes asked for last.

        Parameters
        ----------
        runs : sequence of Run
            A line of several seeds is known by the first.
        """
        found = []
        for run in runs:
            first = run.seeds[0] if isinstance(run, RankedRun) else run
            if first.id in self.fits:
                found.append(self._curve(first, run.name))
        return [curve for curve in found if curve.points]

    def _curve(self, run: Run, name: str) -> ShotCurve:
        split = "test" if "test" in run.metrics else "validation"
        n_train = int(run.metrics["train"]["n"])
        mine = [fit for fit in self.fits[run.id] if fit.shots in self.sizes]
        points: list[ShotPoint] = []
        for size in sorted({fit.shots for fit in mine}):
            at = [fit for fit in mine if fit.shots == size and fit.accuracy is not None]
            pictures = round(sum(fit.pictures for fit in at) / max(len(at), 1))
            # where groups are large, two sizes may be the same pictures, or all
            if at and (points[-1].pictures if points else 0) < pictures < n_train:
                right = tuple(fit.accuracy for fit in at if fit.accuracy is not None)
                points.append(ShotPoint(size, pictures, right))
        if ALL in self.sizes:
            points.append(ShotPoint(ALL, n_train, (float(run.metrics[split]["accuracy"]),)))
        n_judged = int(run.metrics[split]["n"])
        refused = tuple(dict.fromkeys(fit.refused for fit in mine if fit.refused))
        asked = set(draws_of(self.sizes, class_counts(run)))
        return ShotCurve(
            run.id,
            name,
            split,
            n_judged,
            n_train,
            tuple(points),
            refused,
            measured=len(asked & {(fit.shots, fit.repeat) for fit in mine}),
            asked=len(asked),
        )


def _fit(row: Sequence[Any]) -> ShotFit:
    shots, repeat, pictures, accuracy, refused = row
    if accuracy is not None and not 0 <= float(accuracy) <= 1:
        raise ValueError(accuracy)
    right = None if accuracy is None else float(accuracy)
    return ShotFit(int(shots), int(repeat), int(pictures), right, str(refused))
