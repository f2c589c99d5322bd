"""Probabilities that can be believed: scores divided by one number, fitted on held rows.

References
----------
Guo, Pleiss, Sun and Weinberger (2017), On calibration of modern neural networks, ICML; the share
of other classes as in Platt (1999), Probabilistic outputs for support vector machines.
"""

from typing import Final

import numpy as np

from tlfeat.heads.arrays import Double, Floats, Ints

_LEAST: Final = 0.01  # temperature, beside the deviation of the logits in a row
_MOST: Final = 100.0
_NUMBERS: Final = 400_000  # logits that are enough to fit one number
_STEPS: Final = 50


def tempered(logits: Floats, temperature: float) -> Double:
    """Give softmax(logits / temperature); (n, k). A class of minus infinity has none."""
    rising = logits.astype(np.float64) / temperature
    rising -= rising.max(axis=1, keepdims=True)
    np.exp(rising, out=rising)
    rising /= rising.sum(axis=1, keepdims=True)
    return rising


def fit_temperature(true: Ints, logits: Floats, *, most: int = _NUMBERS) -> float:
    """Find the temperature of the least log loss.

    Parameters
    ----------
    true : ndarray of shape (n,)
        Classes of held rows: never of those that are reported.
    logits : ndarray of shape (n, k)
        Minus infinity for classes that cannot be; rows of such a class say nothing.

    most : int
        Logits that are looked at; of more rows some are left out.

    Returns
    -------
    temperature : float
        Above 1 makes probabilities less sure. 1 where nothing can be said.
    """
    step = max(1, logits.size // most)
    true, logits = true[::step], logits[::step].astype(np.float64)
    of_true = logits[np.arange(len(true)), true]
    known = np.isfinite(of_true)
    of_true, logits = of_true[known], logits[known]
    finite = np.where(np.isfinite(logits), logits, 0.0)
    spread = float(finite.std(axis=1).mean()) if finite.size else 0.0
    if not spread > 0:
        return 1.0
    # Where all held rows are right, the least loss is that of no doubt at all. So each row counts
    # by a share of 1 / (n + 1) for any class alike, as one more row of a random class would.
    n, counts = len(of_true), np.isfinite(logits).sum(axis=1)
    of_true = (n * of_true + finite.sum(axis=1) / counts) / (n + 1)
    # b = 1 / T, p_i = softmax(b z_i): the loss is the mean of log sum_j exp(b z_ij) - b z_iy. It
    # is convex in b, with the slope mean(E_p z - z_y) and the curvature mean(Var_p z).
    least, greatest = 1 / (_MOST * spread), 1 / (_LEAST * spread)
    b = 1 / spread
    for _ in range(_STEPS):
        p = tempered(logits, 1 / b)
        mean = np.einsum("ij,ij->i", p, finite)
        slope = float((mean - of_true).mean())
        curvature = float((np.einsum("ij,ij,ij->i", p, finite, finite) - mean**2).mean())
        step_to = b - slope / curvature if curvature > 0 else (greatest if slope < 0 else least)
        new = min(max(step_to, b / 4, least), 4 * b, greatest)
        if abs(new - b) <= 1e-6 * b:
            break
        b = new
    return 1 / b
