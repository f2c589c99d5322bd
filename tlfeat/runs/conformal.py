"""Sets of classes that hold the true one as often as is stated: split conformal prediction.

Of held-out pictures, those that the head had not learned from, one minus the probability of the
true class is how strange the picture is; a class is in the set of a new picture where it would be
no stranger than all but a few of them (Sadinle, Lei and Wasserman 2019, arXiv 1609.00451). No
distribution is supposed, only that new pictures are drawn as the held-out ones were.
"""

import math

import numpy as np

from tlfeat.errors import TlfeatError
from tlfeat.runs.predictions import SplitPredictions


def least_probability(held: SplitPredictions, coverage: float) -> float:
    """Find the probability from which a class is in the set of a picture.

    Parameters
    ----------
    held : SplitPredictions
        Of held-out pictures, with scores that are probabilities.
    coverage : float
        Share of pictures whose set is to hold the true class.

    Returns
    -------
    least : float
        Sets of all classes of at least so much, and the likeliest in any case, hold the true
        one for a share `coverage` of pictures that are drawn as the held-out ones were, or more.

    Raises
    ------
    TlfeatError
        If there are too few held-out pictures for the coverage.
    """
    if held.scores is None:
        raise ValueError("Sets are of probabilities, and these predictions have none.")
    n = len(held)
    place = math.ceil((n + 1) * coverage - 1e-9)
    if place > n:
        raise TlfeatError(
            f"A coverage of {coverage:.4g} cannot be told from {n} held-out pictures: "
            f"{math.ceil(coverage / (1 - coverage))} are needed. State less."
        )
    of_true = held.scores[np.arange(n), held.true].astype(np.float64)
    return float(np.sort(of_true)[n - place])


def conformal_sets(scores: np.ndarray, least: float) -> np.ndarray:
    """Say which classes are in the set of each picture.

    Parameters
    ----------
    scores : ndarray of shape (n, n_classes)
        Probabilities.
    least : float
        From `least_probability`.

    Returns
    -------
    members : ndarray of shape (n, n_classes), bool
        At least one a row.
    """
    members: np.ndarray = scores >= least
    members[np.arange(len(scores)), scores.argmax(axis=1)] = True
    return members
