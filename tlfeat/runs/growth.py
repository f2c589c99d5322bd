"""What twice the train pictures would bring: a range, from what fewer have brought.

Errors at several sizes are read by several families of learning curves at once, see `FAMILIES`.
Each curve of each family that goes through them is weighed by how well it does, and what it says
of a larger size is spread by how little the measured errors pin it down, and by how much train
sets of one size differ. The range holds the middle 80% of all that.

What is foretold is the accuracy that would be measured on the very same judged pictures, so that
their own number is no part of the range.

References
----------
Viering and Loog (2022), The Shape of Learning Curves: A Review: the families and their names.
Hoeting et al. (1999), Bayesian Model Averaging: A Tutorial: the weights.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from itertools import product
from typing import Final, NamedTuple

import numpy as np
import numpy.typing as npt

from tlfeat.data.names import counted
from tlfeat.runs.shots import ShotCurve, ShotPoint

Double = npt.NDArray[np.float64]

LEVEL: Final = 0.8  # of the ranges
LEAST_SIZES: Final = 3
SPAN: Final = 2  # times that the whole must have the pictures of the smallest size
# Chosen on held pictures of train by benchmarks/bench_shots.py --judge held, never on test.
FALL: Final = 0.75  # the variance between draws falls with this power of their pictures
OWN: Final = 0.25  # part of the variance of a train set's luck that only the whole has
BEND: Final = 0.015  # what a family is off by at a size, for each time that this is half the whole


class Held(NamedTuple):
    """How often ranges held."""

    held: int
    of: int


# Counted on test by benchmarks/bench_shots.py, see docs/shots.md.
HELD: Final = Held(108, 139)
_DRAWS: Final = 256  # of each curve
_SHOWN: Final = 1.6449  # standard errors by which the last point must be above the first: 95%


class Family(NamedTuple):
    """A family of learning curves: error a + b shape(m, *parameters), b not below 0."""

    name: str
    shape: Callable[..., Double]  # of m, the pictures as a share of the whole train
    grid: Mapping[str, tuple[float, ...]]


# The parameters in which the error is not linear are tried on a grid; a and b are fitted. Slower
# ones (smaller exponents, a logarithm that never ends, Weibull's) foretold too much on held
# pictures: what these heads still get wrong falls about as the inverse of a power from 1/2 to 3/2.
FAMILIES: Final = (
    Family("power law", lambda m, c: m**-c, {"c": (0.5, 0.7, 1.0, 1.5)}),
    Family("exponential", lambda m, c: np.exp(-c * m), {"c": (1.2, 2.5, 5.0)}),
    Family(
        "Morgan-Mercer-Flodin",
        lambda m, c, d: 1 / (1 + c * m**d),
        {"c": (1.0, 3.0, 10.0), "d": (1.0, 1.5)},
    ),
)


@dataclass(frozen=True)
class Foresight:
    """The accuracy that more train pictures would give, on the same judged pictures.

    Attributes
    ----------
    pictures : int
        Of train.
    low, middle, high : float
        0 to 1; 80% are between low and high.
    families : dict of str to float
        What each family weighs; the sum is 1.
    """

    pictures: int
    low: float
    middle: float
    high: float
    families: Mapping[str, float]


def draw_spread(curve: ShotCurve) -> float | None:
    """Give the standard deviation of the accuracy between train sets as large as the whole.

    Draws of m of the n pictures overlap, so that their variance is too small by 1 - m / n; and it
    falls with m, see `FALL`. All sizes tell it together.

    Returns
    -------
    spread : float or None
        None where nothing was drawn twice.
    """
    total, freedom = 0.0, 0
    for point in curve.points:
        share, repeats = point.pictures / curve.n_train, len(point.accuracies)
        if repeats > 1 and share < 1:
            alone = float(np.var(point.accuracies, ddof=1)) / (1 - share)
            total += (repeats - 1) * alone * share**FALL
            freedom += repeats - 1
    return float(np.sqrt(total / freedom)) if freedom else None


def draw_interval(curve: ShotCurve, point: ShotPoint) -> tuple[float, float] | None:
    """Give where 80% of train sets as large as a point would be, on the same judged pictures.

    Parameters
    ----------
    curve : ShotCurve
    point : ShotPoint
        One of its own.

    Returns
    -------
    low, high : float, or None
        0 to 1; None where nothing was drawn twice.
    """
    from scipy.special import ndtri

    spread = draw_spread(curve)
    if spread is None:
        return None
    half = float(ndtri((1 + LEVEL) / 2)) * spread * (curve.n_train / point.pictures) ** (FALL / 2)
    return max(point.mean - half, 0.0), min(point.mean + half, 1.0)


def foresee(curve: ShotCurve, pictures: int | None = None) -> Foresight | str:
    """Give the range for more train pictures.

    Parameters
    ----------
    curve : ShotCurve
    pictures : int, optional
        Of train; twice as many as there are if None.

    Returns
    -------
    foresight : Foresight, or str
        A reason in words where the curve tells nothing.

    Raises
    ------
    ValueError
        If that is not more than the whole train.
    """
    pictures = 2 * curve.n_train if pictures is None else pictures
    if pictures <= curve.n_train:
        raise ValueError(f"pictures is {pictures}: wanted more than the {curve.n_train} of train.")
    spread = draw_spread(curve)
    reason = _why_not(curve, spread)
    if reason is not None or spread is None:
        return reason or "no size was drawn more than once"
    more = pictures / curve.n_train
    fits = _fits(curve, spread)
    said = np.array([fit.said(more) for fit in fits])
    weights = np.array([fit.weight for fit in fits])
    # A train set's own luck e, of standard deviation s at n pictures, is in every draw from it;
    # of k n pictures it is one part of k. So what is measured there lies about the curve's value
    # by the rest of it and by the luck of what is new: variance s^2 (1 - 1 / k).
    luck = spread * np.sqrt(1 - 1 / more)
    said = said + luck * _normal(2)[None, :]
    low, middle, high = _quantiles(said, weights)
    families: dict[str, float] = {}
    for fit in fits:
        families[fit.family.name] = families.get(fit.family.name, 0.0) + fit.weight
    ends = [float(np.clip(1 - end, 0, 1)) for end in (high, middle, low)]
    return Foresight(pictures, ends[0], ends[1], ends[2], families)


def family_lines(curve: ShotCurve, pictures: Sequence[int]) -> dict[str, Double]:
    """Give what each family says at some sizes, for a figure.

    Parameters
    ----------
    curve : ShotCurve
        That `foresee` has a range for.
    pictures : sequence of int
        Of train.

    Returns
    -------
    lines : dict of str to ndarray of shape (n_sizes,)
        Accuracies: the mean of a family's curves, by their weights.
    """
    spread = draw_spread(curve)
    if spread is None:
        return {}
    lines: dict[str, Double] = {}
    fits = _fits(curve, spread)
    for family in FAMILIES:
        mine = [fit for fit in fits if fit.family is family]
        means = [[fit.mean(n / curve.n_train) for n in pictures] for fit in mine]
        weights = np.array([fit.weight for fit in mine])
        weights = weights if weights.sum() > 0 else np.ones(len(mine))
        lines[family.name] = 1 - np.average(means, axis=0, weights=weights)
    return lines


def _why_not(curve: ShotCurve, spread: float | None) -> str | None:
    if not curve.has_whole:
        return "the whole train is no size of it: add all"
    if len(curve.points) < LEAST_SIZES:
        differ = counted(len(curve.points), "size")
        return f"{differ} with pictures of their own, and a curve needs {LEAST_SIZES}"
    if spread is None:
        return "no size was drawn more than once"
    first, last = curve.points[0], curve.points[-1]
    if last.pictures < SPAN * first.pictures:
        return (
            f"from {first.pictures:,} to {last.pictures:,} pictures is not even {SPAN} times as "
            "many, which tells nothing of as far a step again"
        )
    error = float(np.hypot(*_drawn_noise(curve, spread)[[0, -1]]))
    if last.mean - first.mean < _SHOWN * error:
        return (
            f"from {first.pictures:,} to {last.pictures:,} pictures the accuracy rises by no more "
            "than draws differ"
        )
    return None


def _drawn_noise(curve: ShotCurve, spread: float) -> Double:
    """Give the standard error of each point about the curve of this train set; (n_points,)."""
    m = np.array([point.pictures / curve.n_train for point in curve.points])
    repeats = np.array([len(point.accuracies) for point in curve.points])
    drawn = spread**2 / m**FALL * (1 - m) / repeats
    own = np.where(m < 1, 0.0, OWN * spread**2)
    grain = 1 / (12 * curve.n_judged**2)  # of a share of so many pictures
    noise: Double = np.sqrt(drawn + own + grain)
    return noise


class _Fit(NamedTuple):
    """One curve of a family, through the measured errors."""

    family: Family
    parameters: Mapping[str, float]
    ends: tuple[float, float]  # what its shape is at the smallest size, and at the whole
    best: Double  # a and b, (2,)
    root: Double  # of their covariance, (2, 2)
    weight: float  # among all fits; their sum is 1

    def height(self, m: float) -> float:
        """Give the shape at a size: 1 at the smallest, 0 at the whole."""
        at = float(self.family.shape(np.float64(m), **self.parameters))
        return (at - self.ends[1]) / (self.ends[0] - self.ends[1])

    def mean(self, m: float) -> float:
        """Give the error at a size."""
        return max(float(self.best[0] + max(self.best[1], 0.0) * self.height(m)), 0.0)

    def said(self, m: float) -> Double:
        """Give errors at a size, of a and b as far as these are left open; (_DRAWS,)."""
        a, b = self.best[:, None] + self.root @ np.stack([_normal(0), _normal(1)])
        errors: Double = np.maximum(a + np.maximum(b, 0) * self.height(m), 0)
        return errors


def _fits(curve: ShotCurve, spread: float) -> list[_Fit]:
    """Fit every curve of every family to the measured errors, and weigh them."""
    m = np.array([point.pictures / curve.n_train for point in curve.points])
    errors = np.array([1 - point.mean for point in curve.points])
    noise = np.hypot(_drawn_noise(curve, spread), BEND * np.log2(m))
    fits, logs = [], []
    for family in FAMILIES:
        grid = list(product(*family.grid.values()))
        for values in grid:
            parameters = dict(zip(family.grid, values, strict=True))
            shape = family.shape(m, **parameters)
            # u falls from 1 at the smallest size to 0 at the whole: a is the error of the whole,
            # b what was won on the way, in every family alike, so that one prior is fair to all.
            u = (shape - shape[-1]) / (shape[0] - shape[-1])
            # A (n, 2) of columns 1 and u, both over the noise; (a, b) = (A'A)^-1 A'e
            A = np.stack([np.ones(len(m)), u], axis=1) / noise[:, None]
            e = errors / noise
            covariance = np.linalg.inv(A.T @ A)
            best = covariance @ A.T @ e
            misfit = float(((e - A @ best) ** 2).sum())
            # the evidence with a flat prior on a and b, and one over the grid of a family
            logs.append(
                0.5 * (float(np.linalg.slogdet(covariance)[1]) - misfit) - np.log(len(grid))
            )
            ends = float(shape[0]), float(shape[-1])
            root = np.linalg.cholesky(covariance)
            fits.append(_Fit(family, parameters, ends, best, root, 0.0))
    weights = np.exp(np.array(logs) - max(logs))
    weights /= weights.sum()
    return [fit._replace(weight=float(w)) for fit, w in zip(fits, weights, strict=True)]


@cache
def _normal(column: int) -> Double:
    """Give one of three columns of evenly spread normal numbers; (_DRAWS,), always the same."""
    from scipy.special import ndtri

    # R3 of Roberts (2018): additive recurrence by the powers of the root of x^4 = x + 1
    root = 1.2207440846057596
    steps = np.arange(1, _DRAWS + 1) * root ** -(column + 1.0)
    normal: Double = ndtri((0.5 + steps) % 1)
    return normal


def _quantiles(said: Double, weights: Double) -> tuple[float, float, float]:
    """Give the ends and the middle of what is said, (n_curves, n_draws), by weight."""
    values = said.ravel()
    order = np.argsort(values)
    share = np.cumsum(np.repeat(weights / said.shape[1], said.shape[1])[order])
    ends = np.searchsorted(share, [(1 - LEVEL) / 2, 0.5, (1 + LEVEL) / 2])
    low, middle, high = values[order][np.minimum(ends, len(values) - 1)]
    return float(low), float(middle), float(high)
