"""The estimators that heads end in equal those that scikit-learn fits itself."""

from copy import deepcopy
from typing import Any

import numpy as np
import pytest
from sklearn.calibration import CalibratedClassifierCV
from sklearn.discriminant_analysis import LinearDiscriminantAnalysis
from sklearn.kernel_approximation import Nystroem
from sklearn.linear_model import LogisticRegression, RidgeClassifier
from sklearn.neighbors import KNeighborsClassifier, NearestCentroid
from sklearn.pipeline import make_pipeline
from sklearn.svm import SVC, LinearSVC

from tlfeat.heads.fit import fit_head
from tlfeat.heads.learner import Problem
from tlfeat.heads.matrix import Matrix
from tlfeat.heads.neighbours import Neighbours
from tlfeat.heads.rows import Rows
from tlfeat.heads.table import HEADS


def make_rows(n: int, d: int, k: int, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """Overlapping, uneven classes with correlated features, as pooled activations are."""
    rng = np.random.default_rng(seed)
    y = np.sort(rng.integers(0, k, n) * rng.integers(0, 2, n))
    y[:k] = np.arange(k)
    latent = rng.normal(size=(n, 30)) + rng.normal(size=(k, 30))[y]
    mix = rng.normal(size=(30, d))
    X = np.maximum(latent @ mix + 3 * rng.normal(size=(n, d)), 0)
    return X.astype(np.float32), y


def both(
    head: str, reference: Any, n: int, d: int, k: int, weight: str | None, **params: Any
) -> tuple[np.ndarray, np.ndarray]:
    """Give our estimator's and scikit-learn's scores of other rows, same scaler before both."""
    X, y = make_rows(n, d, k)
    fitted = fit_head(head, X, y, n_classes=k, params=params, search=False, class_weight=weight)
    scaler = fitted.pipeline[0]
    rows = scaler.transform(X).astype(np.float64)
    reference.fit(rows, y)
    other = scaler.transform(make_rows(200, d, k, seed=1)[0]).astype(np.float64)
    ours = untempered(fitted)
    if head == "nearest-centroid":
        return ours[-1].centroids_, reference.centroids_
    method = "decision_function" if hasattr(reference, "decision_function") else "predict_proba"
    return getattr(ours, method)(other), getattr(reference, method)(other)


def untempered(fitted: Any) -> Any:
    """Give the steps after the standardisation as they were before the temperature."""
    *before, last = (step for _, step in fitted.pipeline.steps[1:])
    if isinstance(last, CalibratedClassifierCV):
        return make_pipeline(*before, last.estimator.estimator)
    last = deepcopy(last)
    last.coef_ = last.coef_ * fitted.temperature
    last.intercept_ = last.intercept_ * fitted.temperature
    return make_pipeline(*before, last)


SHAPES = pytest.mark.parametrize(("n", "d", "k"), [(120, 200, 5), (300, 60, 4), (150, 80, 2)])
WEIGHTS = pytest.mark.parametrize("weight", [None, "balanced"])


@SHAPES
@WEIGHTS
def test_logistic_equals_scikit_learn(n: int, d: int, k: int, weight: str | None) -> None:
    for C in (1e-3, 0.1):
        reference = LogisticRegression(C=C, class_weight=weight, tol=1e-8, max_iter=10_000)
        ours, theirs = both("logistic", reference, n, d, k, weight, C=C)
        np.testing.assert_allclose(ours, theirs, atol=3e-3)


@SHAPES
@WEIGHTS
def test_svm_linear_equals_scikit_learn(n: int, d: int, k: int, weight: str | None) -> None:
    for C in (1e-4, 1e-2):
        reference = LinearSVC(C=C, class_weight=weight, tol=1e-8, max_iter=100_000)
        ours, theirs = both("svm-linear", reference, n, d, k, weight, C=C)
        np.testing.assert_allclose(ours, theirs, atol=2e-3)


@SHAPES
@WEIGHTS
def test_lda_equals_scikit_learn(n: int, d: int, k: int, weight: str | None) -> None:
    for shrinkage in (1e-3, 0.3, 1.0):
        priors = [1 / k] * k if weight else None
        reference = LinearDiscriminantAnalysis("lsqr", shrinkage=shrinkage, priors=priors)
        ours, theirs = both("lda", reference, n, d, k, weight, shrinkage=shrinkage)
        np.testing.assert_allclose(ours, theirs, rtol=1e-4, atol=1e-4)


@SHAPES
@WEIGHTS
def test_ridge_equals_scikit_learn(n: int, d: int, k: int, weight: str | None) -> None:
    for alpha in (1.0, 1e3):
        reference = RidgeClassifier(alpha, class_weight=weight)
        ours, theirs = both("ridge", reference, n, d, k, weight, alpha=alpha)
        np.testing.assert_allclose(ours, theirs, atol=1e-4)


@SHAPES
def test_nearest_centroid_equals_scikit_learn(n: int, d: int, k: int) -> None:
    for shrink in (0, 0.7):
        reference = NearestCentroid(shrink_threshold=shrink or None)
        ours, theirs = both("nearest-centroid", reference, n, d, k, None, shrink=shrink)
        np.testing.assert_allclose(ours, theirs, atol=1e-5)


@WEIGHTS
def test_svm_rbf_equals_scikit_learn(weight: str | None) -> None:
    reference = SVC(C=3, gamma=0.3 / 60, class_weight=weight, break_ties=True)
    ours, theirs = both("svm-rbf", reference, 200, 60, 4, weight, C=3, gamma=0.3 / 60)
    np.testing.assert_allclose(ours, theirs, atol=1e-6)


@WEIGHTS
@pytest.mark.parametrize("k", [2, 3, 7])
def test_svm_rbf_answers_as_its_pipeline_does(k: int, weight: str | None) -> None:
    X, y = make_rows(1200, 40, k)  # more rows than are answered at a time
    y[y == k - 1] = k  # a class that train lacks
    fitted = fit_head("svm-rbf", X, y, n_classes=k + 1, class_weight=weight, search=False)
    shares = fitted.scores(X)
    assert not shares[:, k - 1].any()
    present = np.delete(shares, k - 1, axis=1)
    np.testing.assert_allclose(present, fitted.pipeline.predict_proba(X), atol=1e-9)


def test_svm_nystroem_equals_scikit_learn() -> None:
    reference = make_pipeline(
        Nystroem(gamma=0.01, n_components=50, random_state=0),
        LinearSVC(C=0.1, tol=1e-8, max_iter=100_000),
    )
    ours, theirs = both(
        "svm-nystroem", reference, 200, 60, 4, None, C=0.1, gamma=0.01, components=50
    )
    np.testing.assert_allclose(ours, theirs, atol=5e-3)


@pytest.mark.parametrize("metric", ["cosine", "euclidean"])
@pytest.mark.parametrize("weights", ["uniform", "distance"])
def test_neighbours_in_a_search_vote_as_scikit_learn_counts_them(
    metric: str, weights: str
) -> None:
    X, y = make_rows(200, 60, 4)
    other = np.vstack([make_rows(100, 60, 4, seed=1)[0], X[:20]])  # some equal a training row
    wide = {"k": (1, 7, 200), "weights": (weights,), "metric": (metric,)}
    rows = Rows(Matrix(X, y, 4), held=other, standardised=False)
    learner = Neighbours(Problem(rows, {}, wide, False, 0))
    for k in wide["k"]:
        reference = KNeighborsClassifier(k, weights=weights, metric=metric).fit(X, y)
        ours = np.exp(learner.logits({"k": k, "weights": weights, "metric": metric}))
        theirs = reference.predict_proba(other)
        # float32 rounds distances of nearly 0, so equal rows may share their vote there
        clear = slice(None) if weights == "uniform" or k == 1 else slice(0, 100)
        np.testing.assert_allclose(ours[clear], theirs[clear], atol=1e-3)


# What the search scores must be what the finished pipeline says of the same rows.
@pytest.mark.parametrize("k", [2, 4])
@pytest.mark.parametrize("head", [head.name for head in HEADS])
def test_a_search_scores_a_setting_as_its_pipeline_does(head: str, k: int) -> None:
    X, y = make_rows(150, 40, k)
    other = make_rows(80, 40, k, seed=1)
    params = {"hidden": "16", "epochs": (2, 4)} if head.startswith("mlp") else {}
    fitted = fit_head(head, X, y, n_classes=k, validation=other, params=params)
    # the held scores have temperatures of their own, which change no order within a row
    ours, theirs = fitted.held_scores, fitted.scores(other[0])
    np.testing.assert_array_equal(ours.argmax(axis=1), theirs.argmax(axis=1))
    np.testing.assert_allclose(ours, theirs, atol=0.2)
