"""Labels that are likely wrong, by what the other pictures say of each."""

from typing import Final, NamedTuple

import numpy as np
import numpy.typing as npt

_HALF: Final = 0.5  # by how much another class must be likelier


class Doubt(NamedTuple):
    """Samples whose labels are likely wrong, the likeliest first.

    Attributes
    ----------
    rows : ndarray of shape (n_doubts,), int
    looks_like : ndarray of shape (n_doubts,), int
        The class that each is more likely of.
    probability : ndarray of shape (n_doubts,)
        Of that class.
    own : ndarray of shape (n_doubts,)
        Of the class that the label says.
    """

    rows: npt.NDArray[np.int64]
    looks_like: npt.NDArray[np.int64]
    probability: npt.NDArray[np.float64]
    own: npt.NDArray[np.float64]


def doubt_labels(
    probabilities: npt.NDArray[np.floating],
    y: npt.NDArray[np.int64],
    judged: npt.NDArray[np.bool_] | None = None,
) -> Doubt:
    """Find labels that are likely wrong by confident learning.

    Parameters
    ----------
    probabilities : ndarray of shape (n_samples, n_classes)
        Out of fold: no row by a head that has seen it.
    y : ndarray of shape (n_samples,), int
        The labels.
    judged : ndarray of shape (n_classes,), bool, optional
        Classes that the head knew of whatever was held out; all if None. Pictures of others are
        not in doubt, and none is said to look like them.

    Returns
    -------
    doubt : Doubt

    References
    ----------
    Northcutt, Jiang and Chuang (2021), Confident learning: estimating uncertainty in dataset
    labels, Journal of Artificial Intelligence Research 70. A picture counts for a class if its
    probability reaches the mean of those that are labelled so; it is in doubt if the likeliest
    class that it counts for is another than its label, and likelier. Where classes are easy
    that mean is near 1 and hardly anything counts: a picture that counts for nothing is in
    doubt as well if another class is likelier by a half. Ranked by the margin.
    """
    p = np.asarray(probabilities, dtype=np.float64)
    known = np.ones(p.shape[1], bool) if judged is None else judged
    p = np.where(known, p, 0.0)
    rows = np.arange(len(y))
    usual = np.array(
        [
            p[y == label, label].mean() if known[label] and (y == label).any() else np.inf
            for label in range(p.shape[1])
        ]
    )
    counts = np.where(p >= usual, p, -np.inf)
    counted = np.isfinite(counts).any(axis=1)
    best = np.where(counted, counts.argmax(axis=1), p.argmax(axis=1))
    margin = p[rows, y] - p[rows, best]
    likelier = np.where(counted, margin < 0, margin < -_HALF)
    doubted = np.flatnonzero(likelier & known[y])
    margin = margin[doubted]
    doubted = doubted[np.argsort(margin, kind="stable")]
    return Doubt(doubted, best[doubted], p[doubted, best[doubted]], p[doubted, y[doubted]])
