"""L-BFGS for smooth convex functions of many variables that cost little along a line.

scipy's is made for bounds, and with fifty thousand variables spends most of its time on them. A
loss of linear scores costs two products of matrices at a new point, but none at another one of the
same line: the scores of a step are there. So steps are near the best of their lines, which takes
fewer of them.

References
----------
J. Nocedal and S. J. Wright (2006), Numerical Optimization, algorithms 7.4 and 7.5.
"""

from abc import ABC, abstractmethod
from collections import deque
from collections.abc import Callable, Sequence
from typing import Final, NamedTuple

import numpy as np

from tlfeat.heads.arrays import Double, Single

_MEMORY: Final = 10  # pairs of steps and changes of the gradient
_SLOPE: Final = 0.3  # share of the slope at most left after a step, up or down
_ROUNDING: Final = 1e-8  # of a sum of float32 losses, relative
_TRIALS: Final = 20  # step lengths
_LONGER: Final = 1.5  # times a length that was too short, at the least
_FARTHER: Final = 10.0  # and at the most
_INSIDE: Final = 0.01  # share of what is between a short and a long one, from either

Precondition = Callable[[Single], Single]


class Descent(ABC):
    """A smooth convex function f, a point x (n,) at which it stands, and a line through x."""

    @abstractmethod
    def begin(self, x: Double) -> tuple[float, Double]:
        """Stand at a point; give the value and the gradient (n,) there."""

    @abstractmethod
    def face(self, direction: Double) -> None:
        """Take the line along p (n,) through x."""

    @abstractmethod
    def look(self, length: float) -> tuple[float, float]:
        """Give the value f(x + t p), and its slope by t."""

    @abstractmethod
    def go(self, length: float) -> Double:
        """Stand at x + t p; give the gradient (n,) there."""


class Minimum(NamedTuple):
    """Where a minimisation ended."""

    x: Double
    iterations: int
    converged: bool


def minimise(
    descent: Descent,
    start: Double,
    precondition: Precondition,
    *,
    tolerance: float,
    most: int,
) -> Minimum:
    """Minimise a smooth convex function.

    Parameters
    ----------
    descent : Descent
    start : ndarray of shape (n,)
    precondition : callable
        Multiplies a gradient by a fixed positive definite matrix: the more it resembles the
        inverse of the second derivative, the fewer iterations. It only guides, so single
        precision will do.
    tolerance : float
        Of the Newton decrement (g' H g)^1/2, with the estimate H of the inverse second
        derivative.
    most : int
        Iterations.

    Returns
    -------
    minimum : Minimum
        Converged, too, where rounding ends the descent within ten times the tolerance.
    """
    x = start
    value, gradient = descent.begin(x)
    pairs: deque[_Pair] = deque(maxlen=_MEMORY)
    for iteration in range(most):
        direction = _direction(gradient, pairs, precondition)
        decrement = np.sqrt(max(-float(gradient @ direction), 0.0))
        if decrement <= tolerance:
            return Minimum(x, iteration, True)
        found = _length(descent, value, gradient, direction)
        if found is None and pairs:
            pairs.clear()
            direction = _direction(gradient, (), precondition)
            found = _length(descent, value, gradient, direction)
        if found is None:
            return Minimum(x, iteration, bool(decrement <= 10 * tolerance))
        length, value = found
        step, new_gradient = length * direction, descent.go(length)
        change = new_gradient - gradient
        curvature = float(step @ change)
        if curvature > 0:
            pairs.append(_Pair(step.astype(np.float32), change.astype(np.float32), curvature))
        x, gradient = x + step, new_gradient
    return Minimum(x, most, False)


class _Pair(NamedTuple):
    """A step and what it changed; in single precision, since pairs only guide."""

    step: Single
    change: Single  # of the gradient
    curvature: float  # step' change


def _direction(gradient: Double, pairs: Sequence[_Pair], precondition: Precondition) -> Double:
    """Multiply the gradient by minus the estimate of the inverse second derivative."""
    # -H g for the estimate H (n, n) of the inverse second derivative, without making H: it is
    # the preconditioner, updated by every pair, s a step and y the change of the gradient on it.
    # From the newest pair to the oldest, then back.
    direction = -gradient.astype(np.float32)
    weights = []
    for step, change, curvature in reversed(pairs):
        weight = np.float32(step @ direction / curvature)
        direction -= weight * change
        weights.append(weight)
    direction = precondition(direction)
    for (step, change, curvature), weight in zip(pairs, reversed(weights), strict=True):
        direction += (weight - np.float32(change @ direction / curvature)) * step
    return direction.astype(np.float64)


def _length(
    descent: Descent, value: float, gradient: Double, direction: Double
) -> tuple[float, float] | None:
    """Find how far to go along a direction; give the value there too."""
    at_start = float(gradient @ direction)
    if not at_start < 0:
        return None
    descent.face(direction)
    # The slope rises, from less than 0. Wanted is about where it is 0: the straight line through
    # the slopes at two lengths says where, through those at both sides of it once both are known.
    length, short, long, former = 1.0, (0.0, at_start), None, (0.0, at_start)
    for _ in range(_TRIALS):
        there, slope = descent.look(length)
        # near the minimum a decrease is less than rounding
        if abs(slope) <= -_SLOPE * at_start and there <= value + _ROUNDING * abs(value):
            return length, there
        if slope < 0:
            former, short = short, (length, slope)
        else:
            long = length, slope
        if long is None:
            length = min(max(_crossing(former, short), _LONGER * length), _FARTHER * length)
        else:
            length, margin = _crossing(short, long), _INSIDE * (long[0] - short[0])
            length = min(max(length, short[0] + margin), long[0] - margin)
    return None


def _crossing(one: tuple[float, float], other: tuple[float, float]) -> float:
    """Give the length at which the straight line through two slopes is 0; 0 where it is level."""
    rise = other[1] - one[1]
    return one[0] - one[1] * (other[0] - one[0]) / rise if rise > 0 else 0.0
