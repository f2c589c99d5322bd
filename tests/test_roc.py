"""The area under the ROC curve, beside scikit-learn's."""

import numpy as np
import pytest
from sklearn.metrics import roc_auc_score

from tlfeat.roc import class_areas, roc_area


def _rows(n_classes, n=300, levels=7):
    """Give classes and scores of few levels, so that many are equal."""
    luck = np.random.default_rng(0)
    true = luck.integers(0, n_classes, n)
    scores = luck.integers(0, levels, (n, n_classes)).astype(np.float32)
    scores[np.arange(n), true] += luck.integers(0, 3, n)
    return true, scores


@pytest.mark.parametrize("n_classes", [2, 3, 11])
def test_area_is_that_of_scikit_learn_where_scores_are_equal_too(n_classes):
    true, scores = _rows(n_classes)
    columns = [1] if n_classes == 2 else range(n_classes)
    theirs = [roc_auc_score(true == column, scores[:, column]) for column in columns]
    assert [one.area for one in class_areas(true, scores)] == pytest.approx(theirs, abs=1e-12)
    assert roc_area(true, scores) == pytest.approx(np.mean(theirs), abs=1e-12)


def test_classes_that_are_nowhere_or_everywhere_are_left_out():
    true, scores = _rows(3)
    wide = np.hstack([scores, np.zeros((len(scores), 2), np.float32)])
    assert roc_area(true, wide) == roc_area(true, scores)
    assert roc_area(np.zeros(5, int), np.eye(5)) is None
    assert list(class_areas(np.zeros(5, int), np.eye(5))) == []


def test_scores_that_are_no_numbers_are_refused():
    true, scores = _rows(3)
    scores[4, 1] = np.nan
    with pytest.raises(ValueError, match="not a number"):
        roc_area(true, scores)


def test_parts_say_what_leaving_a_row_out_changes():
    """To first order: without a row its part is taken away, the others weigh n / (n - 1)."""
    true, scores = _rows(3)
    n, before = len(true), list(class_areas(true, scores))
    for row in (0, 17, 123):
        rest = np.arange(n) != row
        after = class_areas(true[rest], scores[rest])
        for one, two in zip(before, after, strict=True):
            assert two.area - one.area == pytest.approx(-one.parts[row], abs=2e-4)
            assert one.parts.sum() == pytest.approx(0, abs=1e-12)
