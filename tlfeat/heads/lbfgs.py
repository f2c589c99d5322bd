"""L-BFGS for smooth convex functions of many variables.

scipy's is made for bounds, and with fifty thousand variables spends most of its time on them.

References
----------
J. Nocedal and S. J. Wright (2006), Numerical Optimization, algorithms 7.4 and 7.5.
W. Hager and H. Zhang (2005): how to accept a step once rounding hides the decrease.
"""

from collections import deque
from collections.abc import Callable, Sequence
from typing import Final, NamedTuple

import numpy as np

from tlfeat.heads.arrays import Double, Single

_MEMORY: Final = 10  # pairs of steps and changes of the gradient
_DECREASE: Final = 1e-4  # share of the promised decrease that a step must give
_SLOPE: Final = 0.9  # share of the slope at most left after a step
_ROUNDING: Final = 1e-8  # of a sum of float32 losses, relative
_TRIALS: Final = 20  # step lengths

Objective = Callable[[Double], tuple[float, Double]]
Precondition = Callable[[Single], Single]


class Minimum(NamedTuple):
    """Where a minimisation ended."""

    x: Double
    iterations: int
    converged: bool


def minimise(
    objective: Objective,
    start: Double,
    precondition: Precondition,
    *,
    tolerance: float,
    most: int,
) -> Minimum:
    """Minimise a smooth convex function.

    Parameters
    ----------
    objective : callable
        Gives the value and the gradient (n,) at a point (n,).
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
    value, gradient = objective(x)
    pairs: deque[_Pair] = deque(maxlen=_MEMORY)
    for iteration in range(most):
        direction = _direction(gradient, pairs, precondition)
        decrement = np.sqrt(max(-float(gradient @ direction), 0.0))
        if decrement <= tolerance:
            return Minimum(x, iteration, True)
        found = _step(objective, x, value, gradient, direction)
        if found is None and pairs:
            pairs.clear()
            found = _step(objective, x, value, gradient, _direction(gradient, (), precondition))
        if found is None:
            return Minimum(x, iteration, bool(decrement <= 10 * tolerance))
        new_x, value, new_gradient = found
        step, change = new_x - x, new_gradient - gradient
        curvature = float(step @ change)
        if curvature > 0:
            pairs.append(_Pair(step.astype(np.float32), change.astype(np.float32), curvature))
        x, gradient = new_x, new_gradient
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


def _step(
    objective: Objective, x: Double, value: float, gradient: Double, direction: Double
) -> tuple[Double, float, Double] | None:
    """Find a step along a direction that decreases the value and flattens the slope."""
    slope = float(gradient @ direction)
    if not slope < 0:
        return None
    # Step t along p, f the value and g the gradient: wanted f(x + t p) <= f(x) + c1 t g'p and
    # g(x + t p)'p >= c2 g'p. Too long: halve the bracket; too short: double, then halve.
    length, shortest, longest = 1.0, 0.0, np.inf
    for _ in range(_TRIALS):
        new_x = x + length * direction
        new_value, new_gradient = objective(new_x)
        new_slope = float(new_gradient @ direction)
        lower = new_value <= value + _DECREASE * length * slope
        # Near the minimum a decrease is less than rounding: there the slope alone says it.
        level = new_value <= value + _ROUNDING * abs(value)
        if not (lower or (level and new_slope <= -_SLOPE * slope)):
            longest = length
        elif new_slope < _SLOPE * slope:
            shortest = length
        else:
            return new_x, new_value, new_gradient
        length = (shortest + longest) / 2 if longest < np.inf else 2 * length
    return None
