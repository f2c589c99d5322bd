"""The head that a network begins as: a logistic regression of its frozen features.

A new top with random weights tears at the backbone for its first steps. One that starts as the
best linear reading of the features does not, so the network keeps what it knew.

References
----------
Kumar et al. (2022), Fine-tuning can distort pretrained features and underperform
out-of-distribution, ICLR.
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from tlfeat.backbones.table import Output
from tlfeat.cores import usable_cores
from tlfeat.data.dataset import Dataset
from tlfeat.features.candidates import Candidates
from tlfeat.features.settings import FeatureSettings
from tlfeat.finetuning.assemble import LAST
from tlfeat.finetuning.pictures import CHOOSING, Part, Pictures
from tlfeat.heads.pool import run_jobs
from tlfeat.runs.matrices import Matrices
from tlfeat.where import Where

_RIGHT: Final = "validation_accuracy"
_ABSENT: Final = -30.0  # log odds of a class that train has no picture of


@dataclass(frozen=True)
class HeadStart:
    """A logistic regression, folded into a dense layer.

    Attributes
    ----------
    outputs : tuple of Output
        What of the network it reads, from left to right.
    kernel : ndarray of shape (d, n_classes), float32
    bias : ndarray of shape (n_classes,), float32
    facts : mapping
        What the search chose, and its share of right answers on validation.
    search_seconds : float
    extract : mapping of str to float or None
        SPEC to the seconds that its features took; None where that was not measured here.
    """

    outputs: tuple[Output, ...]
    kernel: npt.NDArray[np.float32]
    bias: npt.NDArray[np.float32]
    facts: Mapping[str, Any]
    search_seconds: float
    extract: Mapping[str, float | None]

    @property
    def read(self) -> tuple[Output, ...]:
        """What the network's top reads: that, and the last activation, which training may use."""
        return self.outputs if LAST in self.outputs else (*self.outputs, LAST)


def fit_start(
    dataset: Dataset,
    pictures: Pictures,
    parts: Mapping[str, Part],
    network: FeatureSettings,
    where: Where,
    *,
    class_weight: str | None = None,
    settled: Mapping[str, Any] | None = None,
) -> HeadStart:
    """Fit the logistic regression that a network begins as.

    Parameters
    ----------
    dataset : Dataset
    pictures : Pictures
    parts : mapping of str to Part
        The rows of `pictures` that are trained on, and those that choose.
    network : FeatureSettings
        With its features, or "auto" for those that are best on the validation rows.
    where : Where
    class_weight : {None, "balanced"}
    settled : mapping, optional
        The facts of one that validation has chosen: then it is that, fitted on validation too.

    Raises
    ------
    HeadError
        If the data do not allow it.
    """
    from tlfeat.heads.fit import fit_any
    from tlfeat.heads.fitting import HeadOrder
    from tlfeat.heads.learner import import_types
    from tlfeat.heads.table import SCREEN, get_head

    params = dict(settled or {})
    features = params.pop("features", network.features)
    params.pop(_RIGHT, None)
    candidates = Candidates.of(replace(network, features=features), where.cache_folder)
    samples = tuple(
        pictures.samples[row]._replace(split=split)
        for split in CHOOSING
        for row in parts[split].rows
    )
    seen = replace(dataset, samples=samples)
    matrices = Matrices(seen, [candidates], where, retry_failed=False)
    for name in ("logistic", SCREEN):
        import_types(get_head(name))
    choice = matrices.choice(candidates)
    grounds = matrices.grounds(choice, network.seed)
    order = HeadOrder(
        "logistic",
        params,
        class_weight=class_weight,
        refit=settled is not None,
        seed=network.seed,
    )
    where.watch.doing("fitting the logistic regression that training starts from")
    (fitted,) = run_jobs([fit_any(grounds, order)], where.jobs or usable_cores())
    if isinstance(fitted, Exception):
        raise fitted
    kernel, bias = fold_logistic(fitted.pipeline, len(dataset.classes))
    request, matrix = matrices.joined(choice, fitted.parts)
    held = matrix.rows("validation")
    right = fitted.predict(matrix.X[held]) == matrix.y[held]
    each = matrices.seconds_an_image(request)
    spec = request.settings.features
    return HeadStart(
        tuple(Output(recipe.layer, recipe.pool) for recipe in request.recipes),
        kernel,
        bias,
        {"features": spec, _RIGHT: float(right.mean()), **fitted.chosen},
        sum(value or 0.0 for value in fitted.seconds.values()),
        {spec: None if each is None else each * len(samples)},
    )


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
