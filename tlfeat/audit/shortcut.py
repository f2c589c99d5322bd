"""Whether classes can be told without looking: from the size, shape and light of a picture.

Where they can, a network may have learned the camera and not the thing.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
import numpy.typing as npt

from tlfeat.heads.fit import fit_head
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
    told : tuple of (int, float)
        Classes that are told far above chance, and the share of each that is right.
    alone : mapping of str to float
        What each number alone has right.
    """

    right: float
    low: float
    high: float
    chance: float
    told: tuple[tuple[int, float], ...]
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
        See `fit_head`.

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

    def right(names: Sequence[str]) -> npt.NDArray[np.bool_]:
        X = np.column_stack([columns[name][some] for name in names])
        fitted = fit_head(
            "svm-rbf", X, y, n_classes=n_classes, groups=groups, seed=seed, jobs=jobs
        )
        told: npt.NDArray[np.bool_] = fitted.held_scores.argmax(axis=1) == y
        return told

    told = right(NUMBERS)
    chance = float(np.bincount(y).max() / len(y))
    low, high = wilson(float(told.mean()), len(y))
    classes = []
    for label in np.unique(y):
        share = float(told[y == label].mean())
        if wilson(share, int(np.count_nonzero(y == label)))[0] > chance + _FAR * (1 - chance):
            classes.append((int(label), share))
    alone: dict[str, float] = {}
    found = Shortcut(float(told.mean()), float(low), float(high), chance, tuple(classes), alone)
    if found.is_far_above_chance or classes:
        alone |= {name: float(right([name]).mean()) for name in NUMBERS}
    return found
