"""Pairs of runs: the tests equal their references, the words follow the adjusted ones."""

from itertools import product

import numpy as np
import pytest
from statsmodels.stats.contingency_tables import mcnemar
from statsmodels.stats.multitest import multipletests

from tlfeat.runs.paired import compare_pairs, difference_interval, mcnemar_p, sign_flip_p
from tlfeat.runs.predictions import SplitPredictions

RANDOM = np.random.default_rng(1)


def judged(right, groups=None):
    n = len(right)
    ids = np.arange(n).astype(str).astype(object)
    groups = np.full(n, None, dtype=object) if groups is None else groups
    return SplitPredictions(ids, ids, groups, np.zeros(n, int), np.where(right, 0, 1))


def test_mcnemar_equals_statsmodels():
    one, other = RANDOM.random(200) < 0.9, RANDOM.random(200) < 0.8
    table = [
        [(one & other).sum(), (one & ~other).sum()],
        [(~one & other).sum(), (~one & ~other).sum()],
    ]
    assert mcnemar_p(one, other) == pytest.approx(mcnemar(table, exact=True).pvalue)
    assert mcnemar_p(one, one) == 1


def test_sign_flips_by_group_equal_all_flips_by_hand():
    units = np.repeat(np.arange(8), 5)
    one, other = RANDOM.random(40) < 0.9, RANDOM.random(40) < 0.6
    sums = np.bincount(units, weights=one.astype(float) - other)
    flipped = np.array([np.dot(signs, sums) for signs in product((-1, 1), repeat=8)])
    wanted = (np.abs(flipped) >= abs(sums.sum())).mean()
    assert sign_flip_p(one, other, units) == pytest.approx(wanted)


def test_one_group_alone_shows_nothing():
    one, other = np.ones(50, bool), np.zeros(50, bool)
    assert sign_flip_p(one, other, np.zeros(50, int)) == 1


def test_copies_of_a_picture_do_not_make_a_difference_surer():
    one, other = RANDOM.random(20) < 0.9, RANDOM.random(20) < 0.6
    units = np.repeat(np.arange(20), 50)
    many = [np.repeat(each, 50) for each in (one, other)]
    assert mcnemar_p(*many) < 1e-6
    assert sign_flip_p(*many, units) > 0.01


def test_p_values_are_adjusted_and_words_follow_them():
    right = [RANDOM.random(120) < p for p in (0.9, 0.8, 0.5)]
    pairs = compare_pairs(["a", "b", "c"], [judged(one) for one in right])
    assert [(pair.one, pair.other) for pair in pairs] == [("a", "b"), ("a", "c"), ("b", "c")]
    wanted = multipletests([pair.p for pair in pairs], method="holm")[1]
    assert [pair.p_adjusted for pair in pairs] == pytest.approx(list(wanted))
    nearly = pairs[0]._replace(p=0.02, p_adjusted=0.06)
    assert nearly.words == "no difference shown"
    assert pairs[1].words == "a is better"
    assert pairs[1]._replace(difference=-0.1).words == "c is better"


def test_the_interval_of_a_difference_holds_the_truth():
    held = 0
    for _ in range(500):
        shared = RANDOM.random(150)
        one, other = shared < 0.85, (shared + RANDOM.normal(0, 0.1, 150)) < 0.8
        low, high = difference_interval(one, other)
        held += low <= 0.85 - TRUE_OTHER <= high
    assert held / 500 > 0.92


# The share of the second kind above, by a large sample.
TRUE_OTHER = float(
    ((np.random.default_rng(2).random(400_000) + RANDOM.normal(0, 0.1, 400_000)) < 0.8).mean()
)


def test_runs_that_agree_everywhere_leave_room_for_a_difference():
    one = np.ones(50, bool)
    low, high = difference_interval(one, one)
    assert low < 0 < high


def test_groups_widen_the_interval_of_a_difference():
    one, other = RANDOM.random(30) < 0.9, RANDOM.random(30) < 0.7
    units = np.repeat(np.arange(30), 20)
    many = [np.repeat(each, 20) for each in (one, other)]
    alone, grouped = difference_interval(*many), difference_interval(*many, units)
    assert np.ptp(grouped) > 3 * np.ptp(alone)
    pairs = compare_pairs(["a", "b"], [judged(each, units.astype(str)) for each in many])
    assert pairs[0].test == "sign-flip by group or copy"


def test_few_groups_never_give_a_difference_without_width():
    alike = np.ones(25, dtype=bool)
    units = np.repeat(np.arange(5), 5)
    low, high = difference_interval(alike, alike, units)
    assert low < -0.05
    assert high > 0.05
    one, other = np.arange(10) < 8, np.arange(10) < 6
    assert difference_interval(one, other, np.zeros(10, int)) == (-1, 1)
    # four groups that each part by a little: the test shows nothing, so neither does the interval
    units = np.repeat(np.arange(4), 100)
    one = np.ones(400, dtype=bool)
    other = one.copy()
    for group, lost in enumerate((3, 6, 4, 5)):
        other[100 * group : 100 * group + lost] = False
    assert sign_flip_p(one, other, units) > 0.05
    low, high = difference_interval(one, other, units)
    assert low < 0.045 < high
