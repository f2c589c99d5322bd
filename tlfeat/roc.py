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
        float((twice[positive] / (2 * n_others)).mean())
        for positive, twice, _, n_others in _against_the_rest(true, scores)
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
    for positive, others, class_rows, n_others in _against_the_rest(true, scores):
        above = others[positive] / (2 * n_others)
        below = 1 - class_rows[~positive] / (2 * (len(true) - n_others))
        parts = np.empty(len(true))
        parts[positive] = (above - above.mean()) / len(above)
        parts[~positive] = (below - below.mean()) / n_others
        yield ClassArea(positive, float(above.mean()), parts)


class _Ordered(NamedTuple):
    """How many rows of a class, and how many others, have a lower score than each row.

    Both are counted twice, so that equal ones, which count half, leave whole numbers.
    """

    positive: npt.NDArray[np.bool_]  # (n,), rows of the class
    others: npt.NDArray[np.int64]  # (n,)
    class_rows: npt.NDArray[np.int64]  # (n,)
    n_others: int


def _against_the_rest(true: npt.NDArray[Any], scores: npt.NDArray[Any]) -> Iterator[_Ordered]:
    """Order the rows by the scores of each class that occurs, but not everywhere."""
    if np.isnan(scores).any():  # no order has a place for it
        raise ValueError("A score is not a number.")
    for column in [1] if scores.shape[1] == 2 else range(scores.shape[1]):
        positive = true == column
        if 0 < np.count_nonzero(positive) < len(true):
            yield _ordered(positive, scores[:, column])


def _ordered(positive: npt.NDArray[np.bool_], scores: npt.NDArray[Any]) -> _Ordered:
    # One sort tells both counts (Sun and Xu 2014, Fast implementation of DeLong's algorithm):
    # a row in a run of equal scores from place a to place b has a rows below it and b - a like
    # it, so twice the count is a + b; the same of the class's rows alone.
    order = np.argsort(scores)
    ordered = scores[order]
    begins = np.flatnonzero(np.concatenate(([True], ordered[1:] != ordered[:-1])))
    ends = np.append(begins[1:], len(ordered))
    upto = np.concatenate(([0], np.cumsum(positive[order])))
    runs = ends - begins
    both, ours = np.repeat(begins + ends, runs), np.repeat(upto[begins] + upto[ends], runs)
    class_rows, others = np.empty_like(both), np.empty_like(both)
    class_rows[order], others[order] = ours, both - ours
    return _Ordered(positive, others, class_rows, len(positive) - int(upto[-1]))
