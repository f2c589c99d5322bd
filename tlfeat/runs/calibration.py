"""Does a run know when it is unsure? Reliability, calibration error, temperature."""

from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from tlfeat.log_loss import probabilities
from tlfeat.runs.statistics import wilson

if TYPE_CHECKING:
    import pandas as pd

BINS = 15
_TEMPERATURES = (0.02, 50.0)


class Calibration(NamedTuple):
    """How well the probabilities of a run can be believed, on test."""

    error: float  # expected calibration error, 0 to 1
    temperature: float | None  # fitted on validation; None where there is none to fit on
    error_after: float | None  # the same after dividing the logits by it
    bins: "pd.DataFrame"  # what `reliability` gives


def calibrate(
    true: np.ndarray,
    scores: np.ndarray,
    validation: tuple[np.ndarray, np.ndarray] | None = None,
) -> Calibration:
    """Measure the calibration of probabilities on test; fit a temperature on validation only.

    Parameters
    ----------
    true : ndarray of shape (n_samples,), int
    scores : ndarray of shape (n_samples, n_classes)
        Probabilities.
    validation : tuple of ndarray, optional
        True classes and probabilities of the validation split.

    Returns
    -------
    calibration : Calibration
    """
    bins = reliability(true, scores)
    temperature = after = None
    if validation is not None and len(validation[0]):
        temperature = fit_temperature(*validation)
        after = calibration_error(reliability(true, temper(scores, temperature)))
    return Calibration(calibration_error(bins), temperature, after, bins)


def reliability(true: np.ndarray, scores: np.ndarray, n_bins: int = BINS) -> "pd.DataFrame":
    """Count how often predictions of each confidence are right.

    Parameters
    ----------
    true : ndarray of shape (n_samples,), int
    scores : ndarray of shape (n_samples, n_classes)
        Probabilities; the largest of a row is the confidence in the prediction.
    n_bins : int
        Bins of equal width from 0 to 1, each with its upper edge.

    Returns
    -------
    bins : DataFrame
        A row for each bin with samples: from, to, n, confidence (mean), accuracy, and the
        95% interval low, high of the accuracy.

    References
    ----------
    Guo, Pleiss, Sun and Weinberger (2017), On calibration of modern neural networks, ICML;
    bins as in sklearn.calibration.calibration_curve.
    """
    import pandas as pd

    confidence = np.clip(scores.max(axis=1).astype(np.float64), 0, 1)
    correct = scores.argmax(axis=1) == true
    edges = np.linspace(0, 1, n_bins + 1)
    place = np.searchsorted(edges[1:-1], confidence)
    n = np.bincount(place, minlength=n_bins)
    there = np.flatnonzero(n)
    sums = [
        np.bincount(place, weights=values, minlength=n_bins)[there] / n[there]
        for values in (confidence, correct)
    ]
    low, high = wilson(sums[1], n[there])
    return pd.DataFrame(
        {
            "from": edges[there],
            "to": edges[there + 1],
            "n": n[there],
            "confidence": sums[0],
            "accuracy": sums[1],
            "low": low,
            "high": high,
        }
    )


def calibration_error(bins: "pd.DataFrame") -> float:
    """Give the expected calibration error: the mean gap of the bins, by their samples.

    Parameters
    ----------
    bins : DataFrame
        What `reliability` gives.

    Returns
    -------
    error : float
        0 to 1.

    References
    ----------
    Naeini, Cooper and Hauskrecht (2015), Obtaining well calibrated probabilities using
    Bayesian binning, AAAI.
    """
    # sum over bins of n_b / n |accuracy_b - confidence_b|
    gaps = (bins["accuracy"] - bins["confidence"]).abs()
    return float((gaps * bins["n"]).sum() / max(bins["n"].sum(), 1))


def temper(scores: np.ndarray, temperature: float) -> np.ndarray:
    """Divide the logits of probabilities by a temperature.

    Parameters
    ----------
    scores : ndarray of shape (n_samples, n_classes)
        Probabilities.
    temperature : float
        Above 1 makes them less sure.

    Returns
    -------
    probabilities : ndarray of shape (n_samples, n_classes), float64
    """
    from scipy.special import softmax

    logits = np.log(probabilities(scores))
    return np.asarray(softmax(logits / temperature, axis=1))


def fit_temperature(true: np.ndarray, scores: np.ndarray) -> float:
    """Find the temperature of the least log loss.

    Parameters
    ----------
    true : ndarray of shape (n_samples,), int
        Of validation: never of the split that is reported.
    scores : ndarray of shape (n_samples, n_classes)
        Probabilities.

    Returns
    -------
    temperature : float
        0.02 to 50.

    References
    ----------
    Guo, Pleiss, Sun and Weinberger (2017), as above; scipy.optimize.minimize_scalar.
    """
    from scipy.optimize import minimize_scalar
    from scipy.special import logsumexp

    # Z (n, k) logits, T the temperature: the loss is the mean over rows of
    # log sum_j exp(z_j / T) - z_true / T, minimised over log T, in which T and 1 / T are as far.
    logits = np.log(probabilities(scores))
    of_true = logits[np.arange(len(true)), true]

    def loss(log_temperature: float) -> float:
        factor = np.exp(-log_temperature)
        return float((logsumexp(logits * factor, axis=1) - of_true * factor).mean())

    found = minimize_scalar(loss, bounds=np.log(_TEMPERATURES), method="bounded")
    return float(np.exp(found.x))
