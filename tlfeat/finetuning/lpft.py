"""Linear probe, then everything: the top begins as the logistic regression of the features.

A new top with random weights tears at the backbone for its first steps. One that starts as the
best linear reading of the features does not, so the network keeps what it knew.

References
----------
Kumar et al., Fine-Tuning can Distort Pretrained Features and Underperform Out-of-Distribution,
ICLR 2022.
"""

from typing import Any, Final

import numpy as np
import numpy.typing as npt

_ABSENT: Final = -30.0  # log odds of a class that train has no picture of


def fold_logistic(
    pipeline: Any, n_classes: int
) -> tuple[npt.NDArray[np.float32], npt.NDArray[np.float32]]:
    """Fold a standardisation and a logistic regression into one dense layer.

    Parameters
    ----------
    pipeline : sklearn.pipeline.Pipeline
        Of a StandardScaler and a LogisticRegression, as the head `logistic` has it.
    n_classes : int
        Of the dataset; train may have lacked some.

    Returns
    -------
    kernel : ndarray of shape (d, n_classes), float32
    bias : ndarray of shape (n_classes,), float32
        softmax(X kernel + bias) are the pipeline's probabilities.
    """
    scaler, logistic = pipeline[0], pipeline[-1]
    # X (n, d) features, m and s (d,) their means and deviations, C (k, d), c (k,):
    #   logits = ((X - m) / s) C' + c = X (C / s)' + (c - (C / s) m) = X kernel + bias.
    # For two classes scikit-learn keeps the second one's log odds only: the first one's are 0.
    coefficients, intercepts = logistic.coef_, logistic.intercept_
    if len(logistic.classes_) == 2:
        coefficients = np.concatenate([np.zeros_like(coefficients), coefficients])
        intercepts = np.concatenate([np.zeros_like(intercepts), intercepts])
    folded = coefficients / scaler.scale_
    kernel = np.zeros((folded.shape[1], n_classes))
    bias = np.full(n_classes, _ABSENT)
    kernel[:, logistic.classes_] = folded.T
    bias[logistic.classes_] = intercepts - folded @ scaler.mean_
    return kernel.astype(np.float32), bias.astype(np.float32)
