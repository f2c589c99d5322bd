"""Splits: nothing that belongs together is ever separated, and nothing moves without need."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tlfeat.data.splits import (
    assign_splits,
    choose_evenly,
    hash_share,
    name_splits,
    parse_splits,
)
from tlfeat.errors import DataError


def carve(digests, groups=None, splits=None, seed=0, labels=None):
    n = len(digests)
    return assign_splits(
        digests, labels or ["a"] * n, groups or [None] * n, splits or [None] * n, seed
    )


samples = st.lists(
    st.tuples(st.integers(0, 12).map(str), st.none() | st.integers(0, 6).map(str)), max_size=40
)


@given(samples, st.integers(0, 5))
def test_duplicates_and_groups_never_cross_a_split_of_ours(rows, seed):
    digests, groups = [d for d, _ in rows], [g for _, g in rows]
    splits = carve(digests, groups, seed=seed).splits
    for key in (digests, groups):
        sides = {}
        for value, split in zip(key, splits, strict=True):
            if value is not None:
                sides.setdefault(value, set()).add(split)
        assert all(len(side) == 1 for side in sides.values())


@given(samples, st.randoms())
def test_the_order_of_the_samples_does_not_matter(rows, random):
    shuffled = random.sample(rows, len(rows))
    one = dict(
        zip(rows, carve(*map(list, zip(*rows, strict=True))).splits if rows else [], strict=True)
    )
    two = carve(*map(list, zip(*shuffled, strict=True))).splits if rows else []
    assert all(one[row] == split for row, split in zip(shuffled, two, strict=True))


def test_a_growing_folder_keeps_its_old_split():
    digests = [f"{i:064x}" for i in range(3000)]
    small, large = carve(digests[:1000]).splits, carve(digests).splits
    assert large[:1000] == small
    assert large.count("test") == pytest.approx(600, abs=80)


def test_another_seed_carves_another_split():
    digests = [f"{i:064x}" for i in range(100)]
    assert carve(digests).splits != carve(digests, seed=1).splits


def test_the_hash_is_pinned():
    """A change here would move pictures of every dataset to the other side."""
    assert hash_share(0, "abc") == 0.34593190300956567


def test_the_sources_test_split_is_kept():
    result = carve(["1", "2", "3"], splits=["train", "test", "validation"])
    assert result.splits == ["train", "test", "validation"]
    assert result.rule == "source"


def test_a_test_split_is_carved_out_of_train_only():
    digests = [str(i) for i in range(200)]
    result = carve(digests, splits=["train", "validation"] * 100)
    assert result.splits[1::2] == ["validation"] * 100
    assert 5 < result.splits.count("test") < 40


def test_a_picture_that_is_in_validation_too_is_not_carved_out():
    digests = [str(i) for i in range(100)] * 2
    result = carve(digests, splits=["train"] * 100 + ["validation"] * 100)
    assert "test" not in result.splits
    assert any("100 pictures of train are also in validation" in note for note in result.notes)


def test_unlabelled_pictures_get_no_split():
    result = carve(["1", "2"], labels=["a", None], splits=["train", "test"])
    assert result.splits[1] is None


@given(st.lists(st.tuples(st.sampled_from("ab"), st.sampled_from("xyz")), max_size=60), st.data())
def test_the_limit_is_even_and_exact(keys, data):
    n = data.draw(st.integers(1, 70))
    ids = [str(i) for i in range(len(keys))]
    chosen = choose_evenly(keys, ids, n)
    assert len(chosen) == min(n, len(keys))
    taken = {key: sum(keys[i] == key for i in chosen) for key in keys}
    most = max(taken.values(), default=0)
    assert all(count >= most - 1 or count == keys.count(key) for key, count in taken.items())


def test_splits_of_unknown_names_must_be_named():
    with pytest.raises(DataError, match="none of them train; say which is which"):
        name_splits(["fold1", "fold2"], {})
    ours, notes = name_splits(["train", "unsupervised", None], {})
    assert ours == {"train": "train", "unsupervised": None, None: None}
    assert notes == ["1 picture of the split unsupervised is left out"]


@pytest.mark.parametrize(
    ("splits", "message"),
    [
        ({"trian": "a", "test": "b"}, "Did you mean 'train'"),
        ({"test": "b"}, "no train split"),
        ({"train": "a", "test": "a"}, "given both to train and test"),
    ],
)
def test_wrong_splits_are_refused(splits, message):
    with pytest.raises(DataError, match=message):
        parse_splits(splits)
