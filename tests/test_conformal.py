"""Sets of classes that hold the true one as often as is stated."""

import numpy as np
import pytest

from tlfeat.errors import TlfeatError
from tlfeat.runs.conformal import conformal_sets, least_probability
from tlfeat.runs.predictions import SplitPredictions


def predictions(scores, true):
    none = np.full(len(true), None, dtype=object)
    return SplitPredictions(none, none, none, np.array(true), scores.argmax(axis=1), scores)


def test_the_worked_example():
    of_true = np.array([0.9, 0.8, 0.7, 0.6, 0.5, 0.4, 0.3, 0.2, 0.1])
    held = predictions(np.column_stack([of_true, 1 - of_true]), [0] * 9)
    # ceil(10 x 0.8) = 8 of the nine are to be held: all but the least likely
    assert least_probability(held, 0.8) == pytest.approx(0.2)
    assert least_probability(held, 0.9) == pytest.approx(0.1)
    assert least_probability(held, 0.5) == pytest.approx(0.5)
    with pytest.raises(TlfeatError, match="9 held-out pictures: 19 are needed"):
        least_probability(held, 0.95)


def test_the_likeliest_is_always_in():
    scores = np.array([[0.5, 0.3, 0.2], [0.4, 0.35, 0.25], [0.9, 0.06, 0.04]])
    members = conformal_sets(scores, 0.6)
    assert members.tolist() == [[True, False, False]] * 3
    assert conformal_sets(scores, 0.3).sum(axis=1).tolist() == [2, 2, 1]


@pytest.mark.parametrize("coverage", [0.8, 0.9])
def test_as_many_sets_hold_the_class_as_is_stated(coverage):
    random = np.random.default_rng(0)
    shares = []
    for _ in range(200):
        scores = random.dirichlet(np.full(5, 0.5), 200)
        true = np.array([random.choice(5, p=row) for row in scores])
        least = least_probability(predictions(scores[:100], true[:100]), coverage)
        members = conformal_sets(scores[100:], least)
        shares.append(members[np.arange(100), true[100:]].mean())
    assert np.mean(shares) >= coverage - 0.01
    assert np.mean(shares) <= coverage + 0.03
