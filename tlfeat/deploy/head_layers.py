"""Trained heads as layers of Keras, by the same algebra.

Only layers and operations that Keras itself has are used: what is saved loads without tlfeat.
Their numbers are float32, scikit-learn's partly float64.
"""

from collections.abc import Callable, Mapping
from itertools import combinations
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from tlfeat.errors import TlfeatError
from tlfeat.heads.trained import TrainedHead

_LEAST: Final = 1e-12  # what scikit-learn adds to a probability before it takes its logarithm
_NO_DISTANCE: Final = 1e-24  # squared: of a row that is the same

_Array = npt.NDArray[Any]


def head_layers(keras: Any, head: TrainedHead, x: Any) -> Any:
    """Put a head on features.

    Parameters
    ----------
    keras : module
    head : TrainedHead
    x : KerasTensor of shape (n, d)
        Features as the head was trained on, not standardised.

    Returns
    -------
    probabilities : KerasTensor of shape (n, n_classes)
        Of all classes of the dataset, in their order.

    Raises
    ------
    TlfeatError
        If the head gives scores, as those of before temperatures do, or is of no known kind.
    """
    if head.score_kind != "probability":
        raise TlfeatError(
            f"This {head.name} was trained before heads gave probabilities, and cannot be "
            "exported: train it again."
        )
    shares = _shares(keras, head.pipeline, x)
    labels = np.asarray(head.pipeline.classes_)
    if len(labels) == head.n_classes:
        return shares
    spread = np.zeros((len(labels), head.n_classes))  # train lacked some classes
    spread[np.arange(len(labels)), labels] = 1
    return _affine(keras, shares, spread)


def _affine(keras: Any, x: Any, weights: _Array, bias: _Array | None = None) -> Any:
    """Give x @ weights + bias; weights of shape (d, k)."""
    layer = keras.layers.Dense(weights.shape[1], use_bias=bias is not None)
    result = layer(x)
    learned = [weights] if bias is None else [weights, bias]
    layer.set_weights([np.asarray(part, np.float32) for part in learned])
    return result


def _kind(estimator: Any) -> str:
    return type(estimator).__name__


def _shares(keras: Any, estimator: Any, x: Any) -> Any:
    """Give what `predict_proba` does, (n, k)."""
    kind = _kind(estimator)
    if kind == "Pipeline":
        for _, step in estimator.steps[:-1]:
            x = _transformed(keras, step, x)
        return _shares(keras, estimator.steps[-1][1], x)
    if kind == "CalibratedClassifierCV":
        return _tempered(keras, estimator, x)
    if kind == "VotingClassifier":
        parts = [_shares(keras, one, x) for one in estimator.estimators_]
        weights = np.asarray(estimator.weights) / np.sum(estimator.weights)
        terms = [
            keras.layers.Rescaling(float(weight))(part)
            for part, weight in zip(parts, weights, strict=True)
        ]
        return terms[0] if len(terms) == 1 else keras.layers.Add()(terms)
    if kind == "KNeighborsClassifier":
        return _votes(keras, estimator, x)
    return keras.layers.Softmax()(_logits(keras, estimator, x, two=lambda z: (z - z, z)))


def _tempered(keras: Any, calibrated: Any, x: Any) -> Any:
    """Give softmax(logits / temperature), as scikit-learn's calibration does."""
    (inner,) = calibrated.calibrated_classifiers_
    (scaling,) = inner.calibrators
    estimator = inner.estimator.estimator  # within a FrozenEstimator
    if hasattr(estimator, "decision_function"):
        logits = _logits(keras, estimator, x, two=lambda z: (-z, z))
    else:
        logits = keras.ops.log(_shares(keras, estimator, x) + _LEAST)
    return keras.layers.Softmax()(keras.layers.Rescaling(float(scaling.beta_))(logits))


def _logits(keras: Any, estimator: Any, x: Any, two: Callable[[Any], tuple[Any, Any]]) -> Any:
    """Give the decision function; of two classes, what `two` makes of its one column."""
    make = _DECISIONS.get(_kind(estimator))
    if make is None:
        raise TlfeatError(f"There are no layers for a {_kind(estimator)} of scikit-learn.")
    z = make(keras, estimator, x)
    return z if z.shape[1] > 1 else keras.ops.concatenate(two(z), axis=1)


def _transformed(keras: Any, step: Any, x: Any) -> Any:
    """Give what a step before the estimator makes of features."""
    kind = _kind(step)
    if kind == "StandardScaler":
        scale = 1 / np.asarray(step.scale_, np.float64)
        offset = -np.asarray(step.mean_, np.float64) * scale
        return keras.layers.Rescaling(scale.tolist(), offset.tolist())(x)
    if kind == "Nystroem":
        near = _gaussian(keras, x, step.components_, step.gamma)
        return _affine(keras, near, step.normalization_.T)
    if kind == "ColumnTransformer":
        places = [
            np.asarray(step._transformer_to_input_indices[name])
            for name, how, _ in step.transformers_
            if how != "drop"
        ]
        parts = [x[:, int(p[0]) : int(p[-1]) + 1] for p in places if len(p)]
        return parts[0] if len(parts) == 1 else keras.ops.concatenate(parts, axis=1)
    raise TlfeatError(f"There are no layers for a {kind} of scikit-learn.")


def _linear(keras: Any, estimator: Any, x: Any) -> Any:
    return _affine(keras, x, estimator.coef_.T, np.ravel(estimator.intercept_))


def _perceptron(keras: Any, estimator: Any, x: Any) -> Any:
    layers = list(zip(estimator.coefs_, estimator.intercepts_, strict=True))
    for weights, bias in layers[:-1]:
        x = keras.layers.ReLU()(_affine(keras, x, weights, bias))
    return _affine(keras, x, *layers[-1])


def _squares(keras: Any, x: Any) -> Any:
    """Give |x|^2, (n, 1)."""
    return keras.ops.sum(keras.ops.square(x), axis=1, keepdims=True)


def _gaussian(keras: Any, x: Any, rows: _Array, gamma: float) -> Any:
    """Give exp(-gamma |x - r|^2) for each of some rows (s, d); (n, s)."""
    rows = np.asarray(rows, np.float64)
    # -|x - r|^2 = 2 x' r - |r|^2 - |x|^2, as in `tlfeat.heads.kernel`
    crossed = _affine(keras, x, 2 * gamma * rows.T, -gamma * np.einsum("ij,ij->i", rows, rows))
    power = crossed - keras.layers.Rescaling(float(gamma))(_squares(keras, x))
    return keras.ops.exp(keras.ops.minimum(power, 0.0))


def _machine(keras: Any, machine: Any, x: Any) -> Any:
    """Give the decisions of an `SVC`, one class against the rest, from those of pairs.

    Vectors stand by class; among a vector's k - 1 coefficients the row of a pair's other class is
    that class' number, without the vector's own (Chang and Lin 2011, LIBSVM, section 4.2).
    """
    near = _gaussian(keras, x, machine.support_vectors_, machine.gamma)
    k = len(machine.classes_)
    if k == 2:
        return _affine(keras, near, machine.dual_coef_.T, machine.intercept_)
    ends = np.cumsum(machine.n_support_)
    of_class = [
        _affine(
            keras, near[:, int(end - own) : int(end)], machine.dual_coef_[:, end - own : end].T
        )
        for own, end in zip(machine.n_support_, ends, strict=True)
    ]
    every = keras.ops.concatenate(of_class, axis=1)  # (n, k (k - 1)): class by class
    first, second = np.zeros((k, k), np.int32), np.zeros((k, k), np.int32)
    sign, bias = np.zeros((k, k)), np.zeros((k, k))
    for number, (i, j) in enumerate(combinations(range(k), 2)):
        for a, b, side in ((i, j, 1), (j, i, -1)):
            first[a, b], second[a, b] = i * (k - 1) + j - 1, j * (k - 1) + i
            sign[a, b], bias[a, b] = side, side * machine.intercept_[number]
    pairs = keras.ops.take(every, first.ravel(), axis=1)
    pairs = pairs + keras.ops.take(every, second.ravel(), axis=1)
    signed = keras.layers.Rescaling(sign.ravel().tolist(), bias.ravel().tolist())(pairs)
    table = keras.layers.Reshape((k, k))(signed)  # (n, k, k): how a class does against another
    won = keras.ops.sum(keras.ops.cast(table > 0, "float32"), axis=2)
    total = keras.ops.sum(table, axis=2)
    return won + total / (3 * (keras.ops.abs(total) + 1))  # as `_ovr_decision_function`


def _centroids(keras: Any, estimator: Any, x: Any) -> Any:
    width = np.asarray(estimator.within_class_std_dev_, np.float64)
    width = np.where(width == 0, 1, width)
    means = estimator.centroids_ / width
    x = keras.layers.Rescaling((1 / width).tolist())(x)
    # -|x - m|^2 but for |x|^2, which no share depends on
    bias = -np.einsum("ij,ij->i", means, means) + 2 * np.log(estimator.class_prior_)
    if len(means) == 2:
        return _affine(keras, x, 2 * (means[1:] - means[:1]).T, bias[1:] - bias[:1])
    return _affine(keras, x, 2 * means.T, bias)


def _votes(keras: Any, estimator: Any, x: Any) -> Any:
    """Give the shares of the votes of the nearest rows."""
    rows = np.asarray(estimator._fit_X, np.float64)
    if estimator.metric == "cosine":
        rows = rows / np.maximum(np.linalg.norm(rows, axis=1, keepdims=True), 1e-300)
        x = keras.layers.UnitNormalization(axis=1)(x)
    # -|x - r|^2 but for |x|^2, which does not change the order
    near = _affine(keras, x, 2 * rows.T, -np.einsum("ij,ij->i", rows, rows))
    _, places = keras.ops.top_k(near, estimator.n_neighbors)
    k = len(estimator.classes_)
    table = keras.layers.Embedding(len(rows), k)
    mine = table(places)  # (n, neighbours, k): one where the row is of the class
    table.set_weights([np.eye(k, dtype=np.float32)[np.ravel(estimator._y)]])
    if estimator.weights != "distance":
        return keras.ops.mean(mine, axis=1)
    # rounding leaves too little of a small difference of products: those few are taken apart
    kept = keras.layers.Embedding(*rows.shape)
    away = kept(places) - keras.ops.expand_dims(x, 1)  # (n, neighbours, d)
    kept.set_weights([rows.astype(np.float32)])
    squared = keras.ops.maximum(keras.ops.sum(keras.ops.square(away), axis=2), _NO_DISTANCE)
    half = keras.layers.Rescaling(0.5)
    distances = half(squared) if estimator.metric == "cosine" else keras.ops.sqrt(squared)
    weights = 1 / distances
    votes = keras.ops.sum(mine * keras.ops.expand_dims(weights, -1), axis=1)
    return votes / keras.ops.sum(weights, axis=1, keepdims=True)


_DECISIONS: Final[Mapping[str, Callable[[Any, Any, Any], Any]]] = {
    "LinearDiscriminantAnalysis": _linear,
    "LinearSVC": _linear,
    "LogisticRegression": _linear,
    "MLPClassifier": _perceptron,
    "NearestCentroid": _centroids,
    "RidgeClassifier": _linear,
    "SVC": _machine,
}
