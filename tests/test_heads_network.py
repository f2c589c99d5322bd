"""The network head: its steps are scikit-learn's own, and so is its estimator."""

import warnings
from typing import Any

import numpy as np
import pytest
from sklearn.neural_network import MLPClassifier
from sklearn.neural_network._stochastic_optimizers import AdamOptimizer

from tlfeat.heads.fit import fit_head
from tlfeat.heads.learner import Problem
from tlfeat.heads.matrix import Matrix
from tlfeat.heads.network import Network, _Training
from tlfeat.heads.rows import Rows


def problem(k: int, *, balanced: bool = False, **settings: Any) -> Problem:
    random = np.random.default_rng(k)
    y = np.sort(random.integers(0, k, 60) * random.integers(0, 2, 60))
    y[:k] = np.arange(k)
    X = random.normal(size=(60, 6)) + random.normal(size=(k, 6))[y]
    fixed = {"hidden": "7-5", "learning_rate": 0.01, "batch": 60, **settings}
    return Problem(Rows(Matrix(X, y, k), held=X[:10]), fixed, {}, balanced, 0)


@pytest.mark.parametrize("balanced", [False, True])
@pytest.mark.parametrize("k", [2, 4])
def test_steps_are_those_that_scikit_learn_takes(k: int, balanced: bool) -> None:
    asked = problem(k, balanced=balanced)
    ours = _Training(asked, alpha=0.5)
    theirs = MLPClassifier((7, 5), alpha=0.5, batch_size=60, learning_rate_init=0.01)
    weights = asked.class_weights()[asked.y] if balanced else None
    theirs.partial_fit(asked.X, asked.y, classes=np.arange(k), sample_weight=weights)
    for layer, (kernel, bias) in enumerate(ours.layers):
        theirs.coefs_[layer][...] = kernel
        theirs.intercepts_[layer][...] = bias
    theirs._optimizer = AdamOptimizer([*theirs.coefs_, *theirs.intercepts_], 0.01)
    for _ in range(3):  # of all rows, so that their order does not matter
        ours.run_epoch()
        theirs.partial_fit(asked.X, asked.y, sample_weight=weights)
    for layer, (kernel, bias) in enumerate(ours.layers):
        np.testing.assert_allclose(kernel, theirs.coefs_[layer], atol=1e-6)
        np.testing.assert_allclose(bias, theirs.intercepts_[layer], atol=1e-6)
    shares = ours.estimator().predict_proba(asked.X)
    np.testing.assert_allclose(shares, theirs.predict_proba(asked.X), atol=1e-6)


def test_a_training_goes_on_where_it_stands() -> None:
    asked = problem(3, batch=20)
    walked, straight = Network(asked), Network(asked)
    for epochs in (2, 5, 9):
        logits = walked.logits({"alpha": 1.0, "epochs": epochs})
    np.testing.assert_array_equal(logits, straight.logits({"alpha": 1.0, "epochs": 9}))
    again = walked.logits({"alpha": 1.0, "epochs": 5})  # back: it begins anew
    np.testing.assert_array_equal(again, Network(asked).logits({"alpha": 1.0, "epochs": 5}))


def test_what_it_says_of_rows_is_what_its_estimator_says() -> None:
    asked = problem(4, batch=20)
    network = Network(asked)
    setting = {"alpha": 1.0, "epochs": 6}
    logits = network.logits(setting)
    model = network.finish(setting).steps[0][1]
    shares = np.exp(logits - logits.max(axis=1, keepdims=True))
    shares /= shares.sum(axis=1, keepdims=True)
    np.testing.assert_allclose(model.predict_proba(asked.held), shares, atol=1e-6)


def test_scikit_learn_can_fit_the_finished_estimator_again() -> None:
    asked = problem(3)
    fitted = fit_head(
        "mlp", asked.X, asked.y, n_classes=3, params={"epochs": 3, "hidden": "8"}, search=False
    )
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        again = fitted.pipeline[-1].set_params(max_iter=5).fit(asked.X, asked.y)
    assert again.score(asked.X, asked.y) > 0
    assert len(fitted.pipeline[-1].loss_curve_) == 5
