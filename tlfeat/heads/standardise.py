"""Standardisation on train, with a floor for features that hardly vary."""

from typing import Any, Final

import numpy as np

from tlfeat.heads.learner import Floats

_FLOOR: Final = 0.1  # of the median deviation


def fit_scaler(X: Floats) -> Any:
    """Fit a `StandardScaler` whose divisors are never tiny.

    A feature that is nearly constant on train would be blown up elsewhere, and the folded
    weights of a linear head with it. So no divisor is below a tenth of the median deviation; a
    feature without any deviation is only centred, and divided by the median.

    Parameters
    ----------
    X : ndarray of shape (n, d)
    """
    from sklearn.preprocessing import StandardScaler

    scaler = StandardScaler().fit(X)
    deviations = np.sqrt(scaler.var_)
    # the mean of float32 numbers that are all equal can leave a variance of rounding
    varies = deviations > 1e-7 * np.maximum(np.abs(scaler.mean_), 1e-30)
    middle = float(np.median(deviations[varies])) if varies.any() else 1.0
    # z = (x - mean) / max(s, 0.1 median(s)), and (x - mean) / median(s) where s is 0
    scaler.scale_ = np.where(varies, np.maximum(deviations, _FLOOR * middle), middle)
    return scaler
