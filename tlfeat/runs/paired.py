"""Is one run better than another? Paired tests on the same test pictures.

Two runs are right and wrong on the same pictures, so only the pictures count on which they
part. Every pair of a study is tested, so the p-values are corrected for their number, and
words follow the corrected ones alone.
"""

import math
from collections.abc import Sequence
from itertools import combinations
from statistics import NormalDist
from typing import NamedTuple

import numpy as np

from tlfeat.errors import TlfeatError
from tlfeat.runs.predictions import SplitPredictions, aligned, read_predictions
from tlfeat.runs.record import Run
from tlfeat.runs.statistics import LEVEL

ALPHA = 1 - LEVEL
MCNEMAR = "exact McNemar"
SIGN_FLIP = "sign-flip by group or copy"
SIGN_FLIP_SEEDS = "sign-flip by picture"  # of the share of seeds that is right
_FLIPS = 9_999  # random sign flips; all of them are tried where there are fewer


class Pair(NamedTuple):
    """Two runs on one test split."""

    one: str
    other: str
    n: int
    only_one: float  # pictures that only the first gets right; of several seeds, the sum of shares
    only_other: float
    difference: float  # accuracy of the first minus that of the second
    low: float  # 95% interval of the difference, not adjusted for the number of pairs
    high: float
    test: str
    p: float
    p_adjusted: float  # Holm, over all pairs of the table

    @property
    def shown(self) -> bool:
        """Whether the adjusted test shows a difference."""
        return self.p_adjusted < ALPHA

    @property
    def words(self) -> str:
        """What may be said of the two."""
        if not self.shown:
            return "no difference shown"
        better = self.one if self.difference > 0 else self.other
        return f"{better} is better"


def compare_pairs(names: Sequence[str], predictions: Sequence[SplitPredictions]) -> list[Pair]:
    """Test every pair of runs on the same test pictures.

    Parameters
    ----------
    names : sequence of str
    predictions : sequence of SplitPredictions
        In the same order of samples, see `tlfeat.runs.predictions.aligned`.

    Returns
    -------
    pairs : list of Pair
        In the order of `names`.

    References
    ----------
    statsmodels.stats.contingency_tables.mcnemar, exact; with groups
    scipy.stats.permutation_test of the sum of each group's differences, whose signs are
    flipped; statsmodels.stats.multitest.multipletests, Holm.
    """
    from statsmodels.stats.multitest import multipletests

    found = []
    for i, j in combinations(range(len(names)), 2):
        found.append(_pair(names[i], names[j], predictions[i], predictions[j]))
    if not found:
        return []
    adjusted = multipletests([pair.p for pair in found], method="holm")[1]
    return [
        pair._replace(p_adjusted=float(value)) for pair, value in zip(found, adjusted, strict=True)
    ]


def _pair(name: str, other_name: str, first: SplitPredictions, second: SplitPredictions) -> Pair:
    one, other = _correct(first), _correct(second)
    clusters, test = first.clusters, SIGN_FLIP
    if clusters is None and one.dtype == other.dtype == bool:
        test, p = MCNEMAR, mcnemar_p(one, other)
    else:
        if clusters is None:
            clusters, test = np.arange(len(one)), SIGN_FLIP_SEEDS
        p = sign_flip_p(one, other, clusters)
    low, high = difference_interval(one, other, clusters)
    difference = one.astype(float) - other
    return Pair(
        name,
        other_name,
        len(one),
        float(np.maximum(difference, 0).sum()),
        float(np.maximum(-difference, 0).sum()),
        float(difference.mean()),
        low,
        high,
        test,
        p,
        p,
    )


def _correct(predictions: SplitPredictions) -> np.ndarray:
    """Give which predictions are right; of seeds that are not alike, the share that is."""
    share = predictions.share
    if share is None or np.isin(share, (0, 1)).all():
        return predictions.correct
    return share


def pairs_on_test(runs: Sequence[Run]) -> list[Pair]:
    """Test every pair of runs on their test pictures.

    Parameters
    ----------
    runs : sequence of Run

    Returns
    -------
    pairs : list of Pair
        None where predictions are gone, or are not of the same pictures.
    """
    try:
        read = [read_predictions(run, "test", scores=False) for run in runs]
    except TlfeatError:
        return []
    same = aligned(read)
    if not same or not len(same[0]):
        return []
    return compare_pairs([run.name for run in runs], same)


def mcnemar_p(one: np.ndarray, other: np.ndarray) -> float:
    """Give the two-sided p-value of the exact McNemar test.

    Parameters
    ----------
    one, other : ndarray of shape (n_samples,), bool
        Which predictions are right.

    Returns
    -------
    p : float
    """
    from statsmodels.stats.contingency_tables import mcnemar

    # Only the b + c pictures on which one of the two is right count: if neither is better, b is
    # binomial, of b + c with a half.
    table = [
        [np.count_nonzero(one & other), np.count_nonzero(one & ~other)],
        [np.count_nonzero(~one & other), np.count_nonzero(~one & ~other)],
    ]
    return min(float(mcnemar(table, exact=True).pvalue), 1.0)


def sign_flip_p(one: np.ndarray, other: np.ndarray, clusters: np.ndarray) -> float:
    """Give the two-sided p-value of flipping the sign of each group's difference.

    Parameters
    ----------
    one, other : ndarray of shape (n_samples,), bool
    clusters : ndarray of shape (n_samples,), int
        Number of each sample's group.

    Returns
    -------
    p : float
    """
    from scipy.stats import permutation_test

    # D_g (groups,), the sum of one - other in a group: if neither is better, its sign is as
    # likely to be the other. p is the share of flips whose sum is as far from 0 as that of D.
    by_group = np.bincount(clusters, weights=one.astype(float) - other)
    by_group = by_group[by_group != 0]  # a flip changes nothing there
    if len(by_group) < 2:  # a single one is equally far from nothing either way
        return 1.0
    done = permutation_test(
        (by_group,),
        lambda values, axis: values.sum(axis=axis),
        permutation_type="samples",
        vectorized=True,
        n_resamples=_FLIPS,
        batch=max(1, 4_000_000 // len(by_group)),
        rng=np.random.default_rng(0),
    )
    return float(done.pvalue)


def difference_interval(
    one: np.ndarray, other: np.ndarray, clusters: np.ndarray | None = None
) -> tuple[float, float]:
    """Give the 95% interval of the difference of two accuracies on the same samples.

    Parameters
    ----------
    one, other : ndarray of shape (n_samples,), bool
    clusters : ndarray of shape (n_samples,), int, optional
        Number of each sample's group: then Student's interval of the groups' differences.

    Returns
    -------
    low, high : float
        Not adjusted for the number of pairs that are looked at.

    References
    ----------
    Bonett and Price (2012), Adjusted Wald confidence interval for a difference of binomial
    proportions based on paired data, J. Educational and Behavioral Statistics 37;
    recommended by Fagerland, Lydersen and Laake (2014), Statistics in Medicine 33.
    """
    if clusters is not None:
        return _group_interval(one, other, clusters)
    # b and c pictures that only the one and only the other gets right, each plus one, of n + 2:
    # d = b/n - c/n, and d -+ z ((b/n + c/n - d^2) / n)^1/2.
    n = len(one) + 2
    gained = (np.count_nonzero(one & ~other) + 1) / n
    lost = (np.count_nonzero(other & ~one) + 1) / n
    middle = gained - lost
    z = NormalDist().inv_cdf(1 - ALPHA / 2)
    half = z * math.sqrt((gained + lost - middle**2) / n)
    return max(-1.0, float(middle - half)), min(1.0, float(middle + half))


def _group_interval(
    one: np.ndarray, other: np.ndarray, clusters: np.ndarray
) -> tuple[float, float]:
    """Give Student's interval of the groups' differences, with one more for either run.

    As Bonett and Price add a picture that only the one gets right and one that only the other
    does: where groups agree, or a rare difference was not seen, there still is an interval.
    Such a group counts as its pictures would if they were independent: by the root of their
    number.
    """
    from scipy.stats import t

    sizes = np.bincount(clusters)
    groups = len(sizes)
    if groups < 2:
        return -1.0, 1.0
    root = math.sqrt(float(sizes.mean()))
    sums = np.append(np.bincount(clusters, weights=one.astype(float) - other), [root, -root])
    sizes = np.append(sizes, [root, root])
    # D_g the sums of differences and n_g the sizes of G groups: d = sum D_g / sum n_g, a ratio,
    # whose variance is G / (G - 1) sum (D_g - d n_g)^2 / (sum n_g)^2.
    middle = float(sums.sum() / sizes.sum())
    spread = float(((sums - middle * sizes) ** 2).sum()) * (groups + 2) / (groups + 1)
    half = float(t.ppf(1 - ALPHA / 2, groups - 1)) * math.sqrt(spread) / float(sizes.sum())
    return max(-1.0, middle - half), min(1.0, middle + half)
