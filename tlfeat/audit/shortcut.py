"""Whether classes can be told without looking: from the size, shape and light of a picture.

Where they can, a network may have learned the camera and not the thing.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
import numpy.typing as npt

from tlfeat.heads.fit import score_out_of_fold
from tlfeat.runs.statistics import wilson

NUMBERS: Final = ("size", "shape", "brightness", "contrast", "border")
_ROWS: Final = 4_000  # as many as are looked at: an RBF kernel of all would be no cheap check
_FAR: Final = 0.25  # of the way from chance to all right


@dataclass(frozen=True)
class Shortcut:
    """How well five numbers that show nothing of a picture tell the classes.

    Attributes
    ----------
    right : float
        Share that is right out of fold.
    low, high : float
        Its 95% interval.
    chance : float
        The share of the commonest class.
    told : tuple of (int, float, float)
        Classes that are told far above chance, the share of each that is right, and the share of
        other pictures that are called so.
    alone : mapping of str to float
        What each number alone has right.
    """

    right: float
    low: float
    high: float
    chance: float
    told: tuple[tuple[int, float, float], ...]
    alone: Mapping[str, float]

    @property
    def is_far_above_chance(self) -> bool:
        """Whether the interval begins a quarter of the way from chance to all right."""
        return self.low > self.chance + _FAR * (1 - self.chance)


def find_shortcut(
    numbers: Mapping[str, npt.NDArray[np.floating]],
    y: npt.NDArray[np.int64],
    groups: npt.NDArray[np.int64],
    n_classes: int,
    *,
    seed: int = 0,
    jobs: int = 1,
) -> Shortcut:
    """Train a head on five numbers of each picture: size, shape, brightness, contrast, border.

    Parameters
    ----------
    numbers : mapping of str to ndarray of shape (n_pictures,)
        As `Looks.numbers` gives them.
    y : ndarray of shape (n_pictures,), int
        Labels, none absent.
    groups : ndarray of shape (n_pictures,), int
        Pictures of one group are never in two folds.
    n_classes : int
    seed, jobs : int
        See `score_out_of_fold`.

    Returns
    -------
    shortcut : Shortcut

    Raises
    ------
    HeadError
        If there is one class, or one group, only.
    """
    columns = {
        "size": np.log(numbers["width"] * numbers["height"]),
        "shape": np.log(numbers["width"] / numbers["height"]),
        "brightness": numbers["brightness"],
        "contrast": numbers["contrast"],
        "border": numbers["border"],
    }
    some = np.sort(np.random.default_rng(seed).permutation(len(y))[:_ROWS])
    y, groups = y[some], groups[some]

    def said_of(names: Sequence[str]) -> npt.NDArray[np.int64]:
        X = np.column_stack([columns[name][some] for name in names])
        held = score_out_of_fold(
            "svm-rbf", X, y, n_classes=n_classes, groups=groups, seed=seed, jobs=jobs
        )
        called: npt.NDArray[np.int64] = held.argmax(axis=1)
        return called

    called = said_of(NUMBERS)
    told = called == y
    chance = float(np.bincount(y).max() / len(y))
    low, high = wilson(float(told.mean()), len(y))
    alone: dict[str, float] = {}
    found = Shortcut(
        float(told.mean()), float(low), float(high), chance, _told_apart(y, called), alone
    )
    if found.is_far_above_chance or found.told:
        alone |= {name: float((said_of([name]) == y).mean()) for name in NUMBERS}
    return found


def _told_apart(
    y: npt.NDArray[np.int64], called: npt.NDArray[np.int64]
) -> tuple[tuple[int, float, float], ...]:
    """Give the classes that are told from the rest: called so far oftener than others are.

    Youden's index, the difference of the two shares, is 0 for whoever always says the same.
    """
    classes = []
    for label in np.unique(y):
        mine = y == label
        hits, others = float((called[mine] == label).mean()), 0.0
        if not mine.all():
            others = float((called[~mine] == label).mean())
        least = wilson(hits, int(mine.sum()))[0]
        if least - wilson(others, int((~mine).sum()))[1] > _FAR:
            classes.append((int(label), hits, others))
    return tuple(classes)
