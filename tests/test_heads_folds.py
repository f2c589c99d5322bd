"""Folds inside train."""

import warnings

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tlfeat.errors import HeadError
from tlfeat.heads.folds import assign_folds


@settings(max_examples=60, deadline=None)
@given(
    st.lists(st.tuples(st.integers(0, 4), st.integers(0, 12)), min_size=2, max_size=60),
    st.integers(0, 3),
)
def test_groups_are_never_torn_apart_whatever_they_look_like(
    rows: list[tuple[int, int]], seed: int
) -> None:
    y, groups = np.array(rows).T
    if len(set(groups)) < 2:
        with pytest.raises(HeadError, match="one group"):
            assign_folds(y, groups, seed=seed)
        return
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        fold = assign_folds(y, groups, seed=seed)
    assert fold.min() >= 0
    assert fold.max() < 5
    assert len(set(fold)) >= 2
    for group in set(groups):
        assert len(set(fold[groups == group])) == 1


def test_rows_that_are_alone_are_stratified() -> None:
    y = np.repeat([0, 1], [80, 20])
    fold = assign_folds(y)
    assert [int(y[fold == number].sum()) for number in range(5)] == [4] * 5
    np.testing.assert_array_equal(fold, assign_folds(y, np.arange(100)))


def test_a_few_duplicates_among_many_rows_stay_together() -> None:
    y = np.tile([0, 1], 200)
    groups = np.arange(400)
    groups[:40] = np.repeat(np.arange(10), 4)
    fold = assign_folds(y, groups)
    assert all(len(set(fold[groups == group])) == 1 for group in range(10))
    assert set(np.bincount(fold)) <= set(range(76, 85))


def test_the_seed_draws_other_folds_and_the_same_again() -> None:
    y = np.tile([0, 1, 2], 50)
    np.testing.assert_array_equal(assign_folds(y, seed=1), assign_folds(y, seed=1))
    assert (assign_folds(y, seed=1) != assign_folds(y, seed=2)).any()


def test_groups_can_be_texts() -> None:
    y = np.tile([0, 1], 10)
    groups = [f"track {i // 2}" for i in range(20)]
    assert len(set(assign_folds(y, groups))) == 5
