"""A head is an estimator like scikit-learn's own."""

from typing import Any

import numpy as np
import pytest
from sklearn.base import clone
from sklearn.datasets import load_digits
from sklearn.model_selection import GridSearchCV, cross_val_score
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.utils.estimator_checks import parametrize_with_checks

import tlfeat
from tlfeat.errors import TlfeatError
from tlfeat.heads.fit import fit_head

OTHERS = [
    tlfeat.HeadClassifier("lda"),
    tlfeat.HeadClassifier("ridge", search=False),
    tlfeat.HeadClassifier("svm-linear", search=False),
    tlfeat.HeadClassifier("knn", params={"k": 3}),
    tlfeat.HeadClassifier("mlp", params={"epochs": 60, "hidden": "16", "learning_rate": 0.02}),
]


def failing(estimator: Any) -> dict[str, str]:
    return {"check_class_weight_classifiers": "weights are none or balanced, no dict"}


@parametrize_with_checks([tlfeat.HeadClassifier(search=False)], expected_failed_checks=failing)
def test_scikit_learns_checks_pass(estimator: Any, check: Any) -> None:
    check(estimator)


@pytest.mark.slow
@parametrize_with_checks(OTHERS, expected_failed_checks=failing)
def test_scikit_learns_checks_pass_for_the_other_kinds_of_heads(
    estimator: Any, check: Any
) -> None:
    check(estimator)


@pytest.fixture(scope="module")
def digits() -> tuple[np.ndarray, np.ndarray]:
    X, y = load_digits(return_X_y=True)
    return X[:500], np.array([f"digit {label}" for label in y[:500]])


def test_it_gives_what_the_head_gives(digits: Any) -> None:
    X, y = digits
    model = tlfeat.HeadClassifier("lda").fit(X[:400], y[:400])
    codes = np.searchsorted(model.classes_, y[:400])
    fitted = fit_head("lda", X[:400], codes, n_classes=10)
    np.testing.assert_array_equal(model.predict_proba(X[400:]), fitted.scores(X[400:]))
    assert model.chosen_ == fitted.chosen
    assert model.temperature_ == fitted.temperature
    assert set(model.predict(X[400:])) <= set(y)
    assert model.score(X[400:], y[400:]) > 0.8


def test_it_is_cloned_searched_and_put_into_pipelines(digits: Any) -> None:
    X, y = digits
    model = tlfeat.HeadClassifier("ridge", params={"alpha": 10}, n_jobs=2)
    assert clone(model).get_params() == model.get_params()
    scores = cross_val_score(make_pipeline(StandardScaler(), model), X, y, cv=3)
    assert scores.mean() > 0.8
    search = GridSearchCV(tlfeat.HeadClassifier(), {"head": ["knn", "lda"]}, cv=3).fit(X, y)
    assert search.best_params_["head"] in ("knn", "lda")
    assert search.best_score_ > 0.85


def test_groups_stay_together_in_its_folds() -> None:
    random = np.random.default_rng(0)
    groups = np.repeat(np.arange(40), 6)
    y = random.integers(0, 2, 40)[groups]
    X = random.normal(size=(40, 30))[groups] + 0.05 * random.normal(size=(240, 30))
    model = tlfeat.HeadClassifier("knn", params={"k": 1})
    alone = model.fit(X, y).head_.held_scores
    together = clone(model).fit(X, y, groups=groups).head_.held_scores
    assert (alone.argmax(axis=1) == y).mean() > 0.95
    assert (together.argmax(axis=1) == y).mean() < 0.8


def test_a_head_that_there_is_not_is_said_when_it_is_fitted() -> None:
    with pytest.raises(TlfeatError, match="Unknown head 'logistik'"):
        tlfeat.HeadClassifier("logistik").fit(np.eye(4), [0, 1, 0, 1])
