"""Metrics are of whole splits, by scikit-learn, and name the positive class."""

import numpy as np
import pytest
from sklearn import metrics as reference

from tlfeat.runs.metrics import METRICS, evaluate

RANDOM = np.random.default_rng(0)


def softmax(scores):
    exponents = np.exp(scores - scores.max(axis=1, keepdims=True))
    return exponents / exponents.sum(axis=1, keepdims=True)


def test_metrics_equal_scikit_learns():
    true = RANDOM.integers(0, 4, 200)
    scores = softmax(RANDOM.normal(size=(200, 4)) + 1.5 * np.eye(4)[true])
    predicted = scores.argmax(axis=1)
    found = evaluate(true, scores, "abcd", "probability")
    assert found["accuracy"] == reference.accuracy_score(true, predicted)
    assert found["balanced_accuracy"] == pytest.approx(
        reference.balanced_accuracy_score(true, predicted)
    )
    assert found["f1_macro"] == pytest.approx(reference.f1_score(true, predicted, average="macro"))
    assert found["log_loss"] == pytest.approx(reference.log_loss(true, scores))
    assert found["roc_auc"] == pytest.approx(
        reference.roc_auc_score(true, scores, multi_class="ovr")
    )
    assert set(METRICS) <= set(found)


def test_two_classes_name_the_positive_one_and_f1_lies_between_precision_and_recall():
    true = np.array([0, 0, 0, 1, 1, 1, 1, 0])
    p = np.array([0.1, 0.7, 0.2, 0.9, 0.8, 0.3, 0.6, 0.4])
    found = evaluate(true, np.column_stack([1 - p, p]), ["normal", "tumour"], "probability")
    assert found["positive"] == "tumour"
    assert found["precision"] == pytest.approx(3 / 4)
    assert found["recall"] == pytest.approx(3 / 4)
    assert found["f1"] == pytest.approx(3 / 4)
    assert found["roc_auc"] == pytest.approx(reference.roc_auc_score(true, p))


def test_the_log_loss_of_sure_mistakes_is_the_same_in_single_and_double_precision():
    true, scores = np.array([0, 1, 2, 0]), np.eye(3)[[0, 1, 2, 1]]
    single, double = (
        evaluate(true, scores.astype(kind), "abc", "probability")["log_loss"]
        for kind in (np.float32, np.float64)
    )
    assert single == double == pytest.approx(-np.log(1e-15) / 4)


def test_scores_have_no_log_loss():
    scores = RANDOM.normal(size=(30, 3))
    assert evaluate(RANDOM.integers(0, 3, 30), scores, "abc", "score")["log_loss"] is None


def test_a_class_that_does_not_occur_changes_no_mean():
    true = np.array([0, 0, 1, 1])
    scores = np.eye(4)[[0, 1, 1, 1]]
    found = evaluate(true, scores, "abcd", "probability")
    assert found["balanced_accuracy"] == pytest.approx(0.75)
    assert found["recall_macro"] == pytest.approx(0.75)
    assert found["per_class"]["d"] == {"precision": 0.0, "recall": 0.0, "f1": 0.0, "n": 0}


def test_one_class_alone_has_no_roc_auc():
    assert evaluate(np.zeros(5, int), RANDOM.normal(size=(5, 2)), "ab", "score")["roc_auc"] is None
