"""The store keeps what it was given and gives it back."""

import json
import os
import random
import sqlite3
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from store_writer import DIM, NAME, RECIPE, digest, digests, entry_in, put, rows

from tlfeat.errors import StoreError
from tlfeat.features import npy
from tlfeat.features.store import Entry, FeatureStore

SETTINGS = settings(
    max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)


# What is stored and given back


def test_rows_come_back_as_they_were_stored(entry: Entry) -> None:
    assert np.array_equal(entry.read(digests(0, 1, 2, 3, 4)), rows(0, 1, 2, 3, 4))


def test_rows_come_back_in_the_order_asked_for_even_twice(entry: Entry) -> None:
    assert np.array_equal(entry.read(digests(3, 0, 3)), rows(3, 0, 3))


def test_rows_that_lie_in_order_are_mapped_and_not_copied(entry: Entry) -> None:
    assert not entry.read(digests(1, 2, 3)).flags.owndata


@pytest.mark.parametrize("numbers", [(1, 2), (2, 1), ()])
def test_what_is_read_cannot_be_changed_by_mistake(entry: Entry, numbers: tuple[int]) -> None:
    assert not entry.read(digests(*numbers)).flags.writeable


def test_numpy_opens_the_features_file_at_any_time(entry: Entry) -> None:
    assert np.array_equal(np.load(entry.path / "features.npy"), rows(0, 1, 2, 3, 4))
    put(entry, *range(5, 1000))
    mapped = np.load(entry.path / "features.npy", mmap_mode="r")
    assert mapped.shape == (1000, DIM)


def test_a_picture_is_stored_once(entry: Entry) -> None:
    assert put(entry, 4, 5, 5) == 1
    assert entry.rows == 6
    assert np.array_equal(entry.read(digests(5, 4)), rows(5, 4))


def test_missing_gives_each_unknown_picture_once_and_in_order(entry: Entry) -> None:
    assert entry.missing(digests(9, 1, 7, 9)) == digests(9, 7)


def test_many_lookups_and_few_agree(tmp_path: Path) -> None:
    entry = entry_in(tmp_path)
    put(entry, *range(2000))
    assert entry.missing(digests(*range(1990, 2005))) == digests(*range(2000, 2005))
    assert entry.missing(digests(*range(2005))) == digests(*range(2000, 2005))
    some = random.Random(0).sample(range(2000), 700)
    assert np.array_equal(entry.read(digests(*some)), rows(*some))


def test_an_entry_that_was_never_written_is_empty_and_leaves_no_trace(tmp_path: Path) -> None:
    entry = entry_in(tmp_path / "cache")
    assert entry.missing(digests(1, 2)) == digests(1, 2)
    assert entry.failures(digests(1)) == {}
    assert (entry.rows, entry.digests(), entry.bytes, entry.last_used) == (0, [], 0, 0.0)
    assert not (tmp_path / "cache").exists()


def test_reading_a_picture_that_is_not_there_is_an_error(entry: Entry, tmp_path: Path) -> None:
    with pytest.raises(StoreError, match=r"1 of 2 pictures are not in"):
        entry.read(digests(1, 99))
    with pytest.raises(StoreError, match="extract them first"):
        entry_in(tmp_path / "other").read(digests(1))


def test_float16_rows_are_given_as_float32(tmp_path: Path) -> None:
    entry = entry_in(tmp_path, dtype="float16")
    put(entry, 0, 1, 2)
    assert np.load(entry.path / "features.npy").dtype == np.float16
    read = entry.read(digests(0, 1, 2))
    assert read.dtype == np.float32
    assert np.array_equal(read, rows(0, 1, 2).astype(np.float16).astype(np.float32))


def test_features_of_any_shape_are_kept(tmp_path: Path) -> None:
    entry = FeatureStore(tmp_path).entry(RECIPE, NAME, (3, 2, 5), "float32")
    block = np.random.default_rng(0).random((4, 3, 2, 5), dtype=np.float32)
    entry.append(digests(0, 1, 2, 3), block)
    assert np.array_equal(entry.read(digests(2, 0)), block[[2, 0]])


@pytest.mark.parametrize("bad", [np.nan, np.inf])
def test_a_row_that_is_not_finite_is_refused_and_nothing_of_its_block_stored(
    entry: Entry, bad: float
) -> None:
    block = rows(5, 6)
    block[1, 3] = bad
    with pytest.raises(StoreError, match=rf"{digest(6)[:12]}.* not finite"):
        entry.append(digests(5, 6), block)
    assert entry.rows == 5


def test_a_number_too_large_for_float16_is_refused(tmp_path: Path) -> None:
    with pytest.raises(StoreError, match="do not fit into float16"):
        entry_in(tmp_path, dtype="float16").append(digests(0), np.full((1, DIM), 1e6))


def test_rows_of_another_shape_are_a_mistake_of_the_caller(entry: Entry) -> None:
    with pytest.raises(ValueError, match=r"need rows of shape \(1, 8\), got \(1, 9\)"):
        entry.append(digests(5), np.zeros((1, 9)))


# Pictures that cannot be read


def test_an_unreadable_picture_is_remembered_and_not_asked_again(entry: Entry) -> None:
    entry.append([], np.empty((0, DIM)), {digest(7): "truncated"})
    assert entry.missing(digests(6, 7)) == digests(6)
    assert entry.missing(digests(6, 7), retry_failed=True) == digests(6, 7)
    assert entry.failures(digests(6, 7, 1)) == {digest(7): "truncated"}
    assert entry.rows == 5


def test_a_picture_that_could_be_read_at_last_is_no_failure(entry: Entry) -> None:
    entry.append([], np.empty((0, DIM)), {digest(7): "disk trouble"})
    put(entry, 7)
    assert entry.failures(digests(7)) == {}
    assert np.array_equal(entry.read(digests(7)), rows(7))


def test_a_stored_picture_does_not_become_a_failure(entry: Entry) -> None:
    entry.append(digests(8), rows(8), {digest(1): "late", digest(8): "same block"})
    assert entry.failures(digests(1, 8)) == {}


# Against a model: whatever is appended, in whatever blocks


@SETTINGS
@given(
    blocks=st.lists(
        st.tuples(
            st.lists(st.integers(0, 20), max_size=8), st.lists(st.integers(0, 20), max_size=3)
        ),
        max_size=6,
    ),
    asked=st.lists(st.integers(0, 20), max_size=12),
)
def test_the_store_does_what_a_dictionary_would(
    blocks: list[tuple[list[int], list[int]]],
    asked: list[int],
    tmp_path_factory: pytest.TempPathFactory,
) -> None:
    entry = entry_in(tmp_path_factory.mktemp("model"))
    stored: dict[int, None] = {}
    failed: set[int] = set()
    for good, bad in blocks:
        new = set(good) - set(stored)
        assert entry.append(digests(*good), rows(*good), dict.fromkeys(digests(*bad), "?")) == len(
            new
        )
        stored |= dict.fromkeys(good)
        failed = (failed | set(bad)) - set(stored)
    assert entry.digests() == digests(*stored)
    unknown = [n for n in dict.fromkeys(asked) if n not in stored]
    assert entry.missing(digests(*asked), retry_failed=True) == digests(*unknown)
    assert entry.missing(digests(*asked)) == digests(*(n for n in unknown if n not in failed))
    assert entry.failures(digests(*asked)).keys() == set(digests(*failed & set(asked)))
    there = [n for n in asked if n in stored]
    assert np.array_equal(entry.read(digests(*there)), rows(*there))
    entry.check(digests(*there))


# The files


def test_the_cache_is_marked_when_first_written(tmp_path: Path) -> None:
    root = tmp_path / "a" / "cache"
    put(entry_in(root), 1)
    tag = (root / "CACHEDIR.TAG").read_text()
    assert tag.startswith("Signature: 8a477f597d28d172789f06886806bc55\n")
    assert (root / ".gitignore").read_text() == "*\n"


def test_marks_that_the_user_changed_stay_as_they_are(tmp_path: Path) -> None:
    (tmp_path / ".gitignore").write_text("mine\n")
    put(entry_in(tmp_path), 1)
    assert (tmp_path / ".gitignore").read_text() == "mine\n"


def test_an_entry_holds_its_three_files_and_nothing_else(entry: Entry) -> None:
    assert sorted(path.name for path in entry.path.iterdir()) == [
        "features.npy",
        "index.sqlite",
        "recipe.json",
    ]
    assert [path.name for path in entry.path.parent.iterdir()] == [NAME]


def test_the_index_can_be_read_by_plain_sqlite(entry: Entry) -> None:
    connection = sqlite3.connect(entry.path / "index.sqlite")
    found = connection.execute("SELECT lower(hex(digest)) FROM rows ORDER BY row").fetchall()
    connection.close()
    assert [text for (text,) in found] == digests(0, 1, 2, 3, 4)


def test_who_made_an_entry_is_written_beside_the_recipe_and_not_compared(tmp_path: Path) -> None:
    put(entry_in(tmp_path, {**RECIPE, "engine": "openvino", "versions": {"keras": "3"}}), 1)
    recipe = json.loads((tmp_path / "features" / NAME / "recipe.json").read_text())
    assert recipe["engine"] == "openvino"
    assert "created" in recipe
    assert {field: recipe[field] for field in RECIPE} == RECIPE
    assert entry_in(tmp_path, {**RECIPE, "engine": "tensorflow"}).missing(digests(1)) == []


def test_the_header_has_one_length_for_any_number_of_rows() -> None:
    for shape in [(1280,), (4, 4, 192), (1,) * 12]:
        lengths = {len(npy.header(10**power, shape, np.dtype("<f2"))) for power in range(20)}
        assert len(lengths) == 1
        assert lengths.pop() % 64 == 0


def test_an_entry_is_found_again_as_it_lies_on_the_disk(entry: Entry, tmp_path: Path) -> None:
    store = FeatureStore(tmp_path)
    assert store.names() == [NAME]
    found = store.open(NAME)
    assert (found.shape, found.dtype, found.digests()) == ((DIM,), np.float32, entry.digests())
    assert np.array_equal(found.read(digests(2)), rows(2))
    with pytest.raises(StoreError, match="no entry 'other'"):
        store.open("other")


def test_reading_counts_as_use(entry: Entry) -> None:
    os.utime(entry.path / "recipe.json", (1, 1))
    entry.missing(digests(1))
    assert entry.last_used == 1
    entry.read(digests(1))
    assert entry.last_used > 1
