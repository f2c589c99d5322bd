"""The area under the ROC curve, one class against the rest, and what each row adds to it.

The area is the share of pairs, one row of the class and one of another, in which the former has
the higher score; equal ones count half. Rows put in order tell it for all pairs at once.
"""

from collections.abc import Iterator
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

Double = npt.NDArray[np.float64]


class ClassArea(NamedTuple):
    """The area of one class, and what it is made of."""

    positive: npt.NDArray[np.bool_]  # (n,), rows of the class
    area: float
    parts: Double  # (n,), by how much each row moves the area; they sum to 0


def roc_area(true: npt.NDArray[Any], scores: npt.NDArray[Any]) -> float | None:
    """Give the mean area over the classes that occur, but not everywhere.

    Parameters
    ----------
    true : ndarray of shape (n_samples,), int
    scores : ndarray of shape (n_samples, n_classes)
        Of two classes the second alone counts.

    Returns
    -------
    area : float or None
        None where there is no such class.

    Raises
    ------
    ValueError
        If a score is not a number.

    Examples
    --------
    >>> scores = np.array([[0.9, 0.1], [0.6, 0.4], [0.4, 0.6], [0.6, 0.4]])
    >>> roc_area(np.array([0, 0, 1, 1]), scores)
    0.875
    """
    areas = [
        float(_share_below(np.sort(theirs), ours).mean())
        for _, ours, theirs in _against_the_rest(true, scores)
    ]
    return float(np.mean(areas)) if areas else None


def class_areas(true: npt.NDArray[Any], scores: npt.NDArray[Any]) -> Iterator[ClassArea]:
    """Give the areas that `roc_area` is the mean of.

    Parameters
    ----------
    true : ndarray of shape (n_samples,), int
    scores : ndarray of shape (n_samples, n_classes)

    References
    ----------
    E. DeLong, D. DeLong and D. Clarke-Pearson (1988): a row of the class has the share of others
    below it, another the share of the class's rows above it, each less the mean of its kind.
    """
    for positive, ours, theirs in _against_the_rest(true, scores):
        above = _share_below(np.sort(theirs), ours)
        below = 1 - _share_below(np.sort(ours), theirs)
        parts = np.empty(len(true))
        parts[positive] = (above - above.mean()) / len(ours)
        parts[~positive] = (below - below.mean()) / len(theirs)
        yield ClassArea(positive, float(above.mean()), parts)


def _against_the_rest(
    true: npt.NDArray[Any], scores: npt.NDArray[Any]
) -> Iterator[tuple[npt.NDArray[np.bool_], npt.NDArray[Any], npt.NDArray[Any]]]:
    """Give each class's rows, their scores and those of the others."""
    if np.isnan(scores).any():  # no order has a place for it
        raise ValueError("A score is not a number.")
    for column in [1] if scores.shape[1] == 2 else range(scores.shape[1]):
        positive = true == column
        if 0 < np.count_nonzero(positive) < len(true):
            yield positive, scores[positive, column], scores[~positive, column]


def _share_below(ordered: npt.NDArray[Any], values: npt.NDArray[Any]) -> Double:
    """Share of `ordered` that is below each value; equal ones count half."""
    low, high = (np.searchsorted(ordered, values, side) for side in ("left", "right"))
    return np.asarray((low + high) / (2 * len(ordered)))
