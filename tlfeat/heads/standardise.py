"""Standardisation on train, with a floor for features that hardly vary."""

from typing import Any, Final

import numpy as np
import numpy.typing as npt

Double = npt.NDArray[np.float64]

_FLOOR: Final = 0.1  # of the median deviation


def floored(mean: Double, variance: Double) -> Double:
    """Give what each feature is divided by: its deviation, but never a tiny one.

    A feature that is nearly constant on train would be blown up elsewhere, and the folded
    weights of a linear head with it. So no divisor is below a tenth of the median deviation; a
    feature without any deviation is only centred, and divided by the median.

    Parameters
    ----------
    mean, variance : ndarrays of shape (d,)

    Returns
    -------
    scale : ndarray of shape (d,)
    """
    deviations = np.sqrt(variance)
    # the mean of float32 numbers that are all equal can leave a variance of rounding
    varies = deviations > 1e-7 * np.maximum(np.abs(mean), 1e-30)
    middle = float(np.median(deviations[varies])) if varies.any() else 1.0
    # z = (x - mean) / max(s, 0.1 median(s)), and (x - mean) / median(s) where s is 0
    return np.where(varies, np.maximum(deviations, _FLOOR * middle), middle)


def make_scaler(mean: Double, variance: Double, scale: Double, n: int) -> Any:
    """Give a `StandardScaler` that was fitted to so many rows.

    Its own `fit` makes copies in double precision of all of them.
    """
    from sklearn.preprocessing import StandardScaler

    scaler = StandardScaler()
    scaler.mean_, scaler.var_, scaler.scale_ = mean, variance, scale
    scaler.n_features_in_ = len(mean)
    scaler.n_samples_seen_ = np.int64(n)
    return scaler
