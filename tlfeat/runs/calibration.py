"""Does a run know when it is unsure? Reliability, calibration error, temperature."""

from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from tlfeat.heads.temperature import fit_temperature, tempered
from tlfeat.log_loss import probabilities
from tlfeat.runs.statistics import wilson

if TYPE_CHECKING:
    import pandas as pd

BINS = 15
LEAST_IN_BIN = 10  # predictions: fewer tell nothing of how often such are right


class Calibration(NamedTuple):
    """How well the probabilities of a run can be believed, on test."""

    temperature: float | None  # fitted on held rows; None where there are none to fit on
    is_used: bool  # whether the run's probabilities have it
    before: "pd.DataFrame"  # what `reliability` gives without the temperature
    after: "pd.DataFrame | None"  # and with it

    @property
    def bins(self) -> "pd.DataFrame":
        """The bins of the probabilities that the run gives."""
        return self.after if self.is_used and self.after is not None else self.before


def calibrate(
    true: np.ndarray,
    scores: np.ndarray,
    validation: tuple[np.ndarray, np.ndarray] | None = None,
    *,
    used: float | None = None,
) -> Calibration:
    """Measure the calibration of probabilities on test, without a temperature and with one.

    Parameters
    ----------
    true : ndarray of shape (n_samples,), int
    scores : ndarray of shape (n_samples, n_classes)
        Probabilities.
    validation : tuple of ndarray, optional
        True classes and probabilities of validation, to fit a temperature on.
    used : float, optional
        The temperature that the probabilities have already; then none is fitted.

    Returns
    -------
    calibration : Calibration
    """
    bins = reliability(true, scores)
    if used is not None:
        return Calibration(used, True, reliability(true, temper(scores, 1 / used)), bins)
    if validation is None or not len(validation[0]):
        return Calibration(None, False, bins, None)
    held, shares = validation
    temperature = fit_temperature(held, np.log(probabilities(shares)))
    after = reliability(true, temper(scores, temperature))
    return Calibration(temperature, False, bins, after)


def reliability(
    true: np.ndarray, scores: np.ndarray, n_bins: int = BINS, least: int = LEAST_IN_BIN
) -> "pd.DataFrame":
    """Count how often predictions of each confidence are right, in bins of equal mass.

    Bins of equal width would hold nearly all predictions of a good run in the last of them, and
    a handful in the others.

    Parameters
    ----------
    true : ndarray of shape (n_samples,), int
    scores : ndarray of shape (n_samples, n_classes)
        Probabilities; the largest of a row is the confidence in the prediction.
    n_bins : int
        At most; the same confidence is never in two of them.
    least : int
        Predictions that each bin has, where there are as many.

    Returns
    -------
    bins : DataFrame
        A row for each bin: from, to (the least and the largest confidence in it), n, confidence
        (mean), accuracy, and the 95% interval low, high of the accuracy.

    References
    ----------
    Nguyen and O'Connor (2015), Posterior calibration and exploratory analysis for natural
    language processing models, EMNLP: adaptive bins; as sklearn.calibration.calibration_curve
    with strategy="quantile".
    """
    import pandas as pd

    confidence = np.clip(scores.max(axis=1).astype(np.float64), 0, 1)
    correct = scores.argmax(axis=1) == true
    order = np.argsort(confidence, kind="stable")
    confidence, correct = confidence[order], correct[order]
    starts = _bin_starts(confidence, max(1, min(n_bins, len(confidence) // least)))
    n = np.diff([*starts, len(confidence)])
    sums = [np.add.reduceat(values, starts) / n for values in (confidence, correct.astype(float))]
    low, high = wilson(sums[1], n)
    return pd.DataFrame(
        {
            "from": confidence[starts],
            "to": confidence[starts + n - 1],
            "n": n,
            "confidence": sums[0],
            "accuracy": sums[1],
            "low": low,
            "high": high,
        }
    )


def _bin_starts(confidence: np.ndarray, n_bins: int) -> np.ndarray:
    """Give where bins of equal mass begin among sorted confidences, none inside a tie."""
    starts = np.arange(n_bins) * len(confidence) // n_bins
    # moved back to where their confidence is met first
    return np.unique(np.searchsorted(confidence, confidence[starts], side="left"))


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
    return tempered(np.log(probabilities(scores)), temperature)
