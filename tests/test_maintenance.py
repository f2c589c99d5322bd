"""The cache can be listed, checked and pruned, and nothing else is ever deleted."""

import os
from pathlib import Path

import numpy as np
import pytest
from store_writer import DIM, RECIPE, digests, rows

from tlfeat.errors import StoreError, UnknownName
from tlfeat.features import index
from tlfeat.features.maintenance import (
    LEFTOVER_SECONDS,
    Item,
    list_items,
    plan_prune,
    prune,
    verify,
    verify_all,
)
from tlfeat.features.store import DamagedEntry, Entry, FeatureStore
from tlfeat.watch import Watch

NOW = 2e9
DAY = 86400.0


def used_at(path: Path, when: float) -> None:
    os.utime(path, (when, when))


def add(store: FeatureStore, name: str, pictures: int, days_ago: float = 0) -> Entry:
    entry = store.entry({**RECIPE, "name": name}, name, (DIM,), "float32")
    numbers = range(pictures)
    entry.append(digests(*numbers), rows(*numbers))
    used_at(entry.path / "recipe.json", NOW - days_ago * DAY)
    return entry


def add_network(store: FeatureStore, key: str, days_ago: float = 0) -> Path:
    folder = store.root / "networks" / key
    folder.mkdir(parents=True)
    (folder / "network.bin").write_bytes(b"x" * 1000)
    (folder / "network.json").write_text("{}")
    used_at(folder / "network.json", NOW - days_ago * DAY)
    return folder


@pytest.fixture
def store(tmp_path: Path) -> FeatureStore:
    store = FeatureStore(tmp_path)
    add(store, "old", 10, days_ago=30)
    add(store, "new", 20, days_ago=1)
    add_network(store, "0f1e2d", days_ago=10)
    return store


def damage(entry: Entry) -> None:
    path = entry.path / "features.npy"
    data = bytearray(path.read_bytes())
    data[-1] ^= 1
    path.write_bytes(data)


def set_aside(entry: Entry) -> Path:
    damage(entry)
    with pytest.raises(DamagedEntry):
        entry.read(entry.digests())
    return entry.set_aside()


def listdir(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def names(items: list[Item]) -> list[str]:
    return [item.name for item in items]


# Listing


def test_items_are_listed_with_rows_and_bytes_the_longest_unused_first(
    store: FeatureStore,
) -> None:
    old, network, new = list_items(store)
    assert (old.kind, old.name, old.rows, old.problem) == ("features", "old", 10, None)
    assert (network.kind, network.name, network.rows) == ("network", "0f1e2d", None)
    assert (new.name, new.rows, new.last_used) == ("new", 20, NOW - DAY)
    assert network.bytes == 1002
    assert new.bytes == sum(path.stat().st_size for path in new.path.iterdir())


def test_a_cache_that_is_not_there_has_no_items(tmp_path: Path) -> None:
    assert list_items(FeatureStore(tmp_path / "none")) == []
    assert not (tmp_path / "none").exists()


def test_what_cannot_be_read_is_listed_with_its_problem(store: FeatureStore) -> None:
    (store.path_of("old") / "index.sqlite").write_bytes(b"no database at all" * 99)
    (old,) = [item for item in list_items(store) if item.name == "old"]
    assert (old.kind, old.rows) == ("features", None)
    assert old.problem
    assert old.problem.startswith("Store entry old is damaged: index.sqlite")


def test_what_was_set_aside_or_left_by_a_kill_is_told_apart(store: FeatureStore) -> None:
    set_aside(add(store, "bad", 3))
    (store.folder / ".new-17-abc").mkdir()
    unfinished = f".0f1e2d.{'a' * 32}"
    (store.root / "networks" / unfinished).mkdir()
    kinds = {item.name: item.kind for item in list_items(store)}
    assert kinds["bad.damaged"] == "damaged"
    assert kinds[".new-17-abc"] == kinds[unfinished] == "leftover"
    assert store.names() == ["new", "old"]


def test_folders_and_links_of_the_users_are_not_listed(
    store: FeatureStore, tmp_path: Path
) -> None:
    (store.folder / "holiday").mkdir()
    (store.folder / "holiday" / "beach.jpg").write_text("")
    (tmp_path / "networks" / "thesis").mkdir()
    (store.folder / "link").symlink_to(store.path_of("old"))
    assert sorted(names(list_items(store))) == ["0f1e2d", "new", "old"]


# Checking


class Counting(Watch):
    def __init__(self) -> None:
        self.total = self.steps = 0

    def start(self, what: str, total: int) -> None:
        self.total += total

    def step(self, n: int = 1) -> None:
        self.steps += n


def test_a_sound_entry_is_verified_row_by_row(store: FeatureStore) -> None:
    watch = Counting()
    found = verify(store.open("new"), watch)
    assert found.sound
    assert (found.rows, watch.total, watch.steps) == (20, 20, 20)


def test_verifying_is_not_using(store: FeatureStore) -> None:
    verify(store.open("old"))
    assert store.open("old").last_used == NOW - 30 * DAY


def test_each_bad_row_is_named(store: FeatureStore, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tlfeat.features.entry._CHUNK_BYTES", 7 * 4 * DIM)  # rows of a chunk: 7
    path = store.path_of("new") / "features.npy"
    table = np.load(path, mmap_mode="r+")
    table[[3, 7, 19], 0] += 1
    table.flush()
    found = verify(store.open("new"))
    assert (found.rows, found.bad_rows, found.problem) == (20, (3, 7, 19), None)
    assert not found.sound


def test_all_entries_are_verified_even_after_one_that_cannot_be_opened(
    store: FeatureStore,
) -> None:
    add(store, "a", 2)
    (store.path_of("a") / "recipe.json").write_text("{")
    recipe = store.path_of("old") / "recipe.json"
    recipe.write_text(recipe.read_text().replace("224", "225"))
    found = {each.name: each for each in verify_all(store)}
    assert [name for name, each in found.items() if each.sound] == ["new"]
    assert "recipe.json cannot be read" in str(found["a"].problem)
    assert "another recipe" in str(found["old"].problem)


# Planning


@pytest.mark.parametrize(
    ("wish", "planned"),
    [
        ({}, []),
        ({"names": ["old"]}, ["old"]),
        ({"names": ["n*", "0f*"]}, ["0f1e2d", "new"]),
        ({"unused_for": 20 * DAY}, ["old"]),
        ({"unused_for": 5 * DAY}, ["old", "0f1e2d"]),
        ({"max_bytes": 10**9}, []),
        ({"max_bytes": 0}, ["old", "0f1e2d", "new"]),
        ({"names": ["new"], "unused_for": 20 * DAY}, ["old", "new"]),
        ({"leftovers": True}, []),
    ],
)
def test_a_plan_is_what_was_wished_for_and_deletes_nothing(
    store: FeatureStore, wish: dict[str, object], planned: list[str]
) -> None:
    items = list_items(store)
    assert names(plan_prune(items, now=NOW, **wish)) == planned  # type: ignore[arg-type]
    assert list_items(store) == items


def test_to_make_room_what_is_worthless_goes_first_then_the_longest_unused(
    store: FeatureStore,
) -> None:
    set_aside(add(store, "bad", 3))
    items = list_items(store)
    total = sum(item.bytes for item in items)
    assert names(plan_prune(items, max_bytes=total - 1, now=NOW)) == ["bad.damaged"]
    bad = next(item for item in items if item.name == "bad.damaged")
    plan = plan_prune(items, max_bytes=total - bad.bytes - 1, now=NOW)
    assert sorted(names(plan)) == ["bad.damaged", "old"]


def test_a_folder_that_may_be_in_the_making_is_never_planned(store: FeatureStore) -> None:
    for name, age in [(".new-1", LEFTOVER_SECONDS / 2), (".new-2", LEFTOVER_SECONDS * 2)]:
        (store.folder / name).mkdir()
        used_at(store.folder / name, NOW - age)
    items = list_items(store)
    assert names(plan_prune(items, leftovers=True, now=NOW)) == [".new-2"]
    assert ".new-1" not in names(plan_prune(items, max_bytes=0, unused_for=0, now=NOW))


def test_a_name_that_nothing_has_is_an_error_with_the_nearest(store: FeatureStore) -> None:
    with pytest.raises(UnknownName, match=r"called 'odl'\. Did you mean 'old'\?"):
        plan_prune(list_items(store), names=["odl"])


# Pruning


def test_what_was_planned_is_deleted_and_the_rest_is_not(store: FeatureStore) -> None:
    plan = plan_prune(list_items(store), unused_for=5 * DAY, now=NOW)
    assert [each.kept for each in prune(plan)] == [None, None]
    assert names(list_items(store)) == ["new"]
    assert listdir(store.root / "networks") == []
    assert listdir(store.folder) == ["new"]
    assert verify(store.open("new")).sound


def test_leftovers_and_damaged_entries_can_be_deleted(store: FeatureStore) -> None:
    set_aside(add(store, "bad", 3))
    (store.folder / ".trash-x-1").mkdir()
    prune(plan_prune(list_items(store), leftovers=True))
    assert listdir(store.folder) == ["new", "old"]


def test_what_was_used_after_the_plan_was_made_stays(store: FeatureStore) -> None:
    plan = plan_prune(list_items(store), names=["old", "new"])
    used_at(store.path_of("old") / "recipe.json", NOW + 1)
    assert [(each.item.name, each.kept) for each in prune(plan)] == [
        ("old", "it was used since"),
        ("new", None),
    ]
    assert store.names() == ["old"]


def test_what_was_replaced_after_the_plan_was_made_stays(store: FeatureStore) -> None:
    plan = plan_prune(list_items(store), names=["old"])
    store.path_of("old").rename(store.path_of("elsewhere"))
    add(store, "old", 1, days_ago=40)
    assert [each.kept for each in prune(plan)] == ["it was replaced or deleted since"]
    assert store.open("old").rows == 1


def test_an_entry_that_is_being_written_to_is_not_deleted(
    store: FeatureStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(index, "BUSY_SECONDS", 0.0)
    writer = index.Index(store.path_of("old") / "index.sqlite", writing=True)
    try:
        with pytest.raises(StoreError, match="Another process has been writing"):
            prune(plan_prune(list_items(store), names=["old"]))
    finally:
        writer.close()
    assert verify(store.open("old")).sound


def test_rows_that_were_read_stay_readable_while_their_entry_is_deleted(
    store: FeatureStore,
) -> None:
    read = store.open("old").read(digests(*range(10)))
    used_at(store.path_of("old") / "recipe.json", NOW)
    prune(plan_prune(list_items(store), names=["old"]))
    assert np.array_equal(read, rows(*range(10)))


def test_an_entry_that_was_deleted_is_made_again(store: FeatureStore) -> None:
    entry = store.open("old")
    prune(plan_prune(list_items(store), names=["old"]))
    assert entry.missing(digests(1)) == digests(1)
    entry.append(digests(1), rows(1))
    assert np.array_equal(entry.read(digests(1)), rows(1))
