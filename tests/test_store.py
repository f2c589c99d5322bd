"""The store keeps what it was given, loses nothing that was committed, and says what is wrong."""

import errno
import json
import os
import random
import signal
import sqlite3
import subprocess
import sys
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from store_writer import DIM, FEW, MANY, NAME, RECIPE, digest, digests, entry_in, put, rows

from tlfeat.errors import StoreError
from tlfeat.features import disk, index, npy
from tlfeat.features.store import DamagedEntry, Entry, FeatureStore

SETTINGS = settings(
    max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)


@pytest.fixture
def entry(tmp_path: Path) -> Entry:
    entry = entry_in(tmp_path)
    put(entry, 0, 1, 2, 3, 4)
    return entry


def flip(path: Path, place: int, bit: int = 1) -> None:
    data = bytearray(path.read_bytes())
    data[place] ^= bit
    path.write_bytes(data)


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


# Damage


def healed(entry: Entry) -> Path:
    """Set a damaged entry aside and store its rows again, as the extraction does."""
    aside = entry.set_aside()
    assert entry.missing(digests(0, 1, 2, 3, 4)) == digests(0, 1, 2, 3, 4)
    put(entry, 0, 1, 2, 3, 4)
    assert np.array_equal(entry.read(digests(4, 0)), rows(4, 0))
    return aside


def test_a_flipped_byte_anywhere_in_the_features_is_found_and_healed(entry: Entry) -> None:
    path = entry.path / "features.npy"
    sound = path.read_bytes()
    for place in range(len(sound)):
        flip(path, place)
        with pytest.raises(DamagedEntry, match=f"Store entry {NAME} is damaged: .*features.npy"):
            entry.read(digests(0, 1, 2, 3, 4))
        path.write_bytes(sound)
    entry.read(digests(0, 1, 2, 3, 4))
    flip(path, len(sound) - 3)
    entry.read(digests(0, 1))  # row 4 alone is spoilt
    with pytest.raises(DamagedEntry, match=r"row 4 of features\.npy does not match"):
        entry.read(digests(4, 0))
    with pytest.raises(DamagedEntry, match="row 4"):
        entry.check(digests(4, 2))
    assert entry.bad_rows() == [4]
    healed(entry)


@SETTINGS
@given(place=st.integers(0, 2**30), bit=st.sampled_from([1, 2, 4, 8, 16, 32, 64, 128, 255]))
def test_a_flipped_byte_in_the_index_is_found_or_does_no_harm(
    place: int, bit: int, tmp_path_factory: pytest.TempPathFactory
) -> None:
    root = tmp_path_factory.mktemp("flip")
    entry = entry_in(root)
    entry.append(digests(*range(5)), rows(*range(5)), {digest(9): "a reason"})
    path = entry.path / "index.sqlite"
    # Half of the flips where they hurt most, in the file's header.
    size = path.stat().st_size
    flip(path, place % (100 if place % 2 else size), bit)
    entry = entry_in(root)
    try:
        assert entry.missing(digests(*range(12))) == digests(5, 6, 7, 8, 10, 11)
        assert entry.failures(digests(9)) == {digest(9): "a reason"}
        put(entry, 5)
        assert np.array_equal(entry.read(digests(*range(6))), rows(*range(6)))
    except DamagedEntry:
        healed(entry)


@pytest.mark.parametrize("table", ["rows", "failures"])
def test_a_flipped_byte_in_a_line_of_the_index_is_found(entry: Entry, table: str) -> None:
    entry.append([], np.empty((0, DIM)), {digest(9): "a reason"})
    path = entry.path / "index.sqlite"
    wanted = bytes.fromhex(digest(3)) if table == "rows" else b"a reason"
    data = path.read_bytes()
    places = [n for n in range(len(data)) if data.startswith(wanted, n)]
    assert places
    for place in places:
        flip(path, place)
        with pytest.raises(DamagedEntry, match=r"index\.sqlite"):
            entry_in(entry.path.parents[1]).missing(digests(0))
        path.write_bytes(data)


def test_a_row_that_changed_places_with_another_is_found(entry: Entry) -> None:
    """Digest and checksum alone would still agree with the bytes."""
    path = entry.path / "features.npy"
    table = np.load(path, mmap_mode="r+")
    table[[1, 2]] = table[[2, 1]]
    table.flush()
    connection = sqlite3.connect(entry.path / "index.sqlite")
    with connection:
        for old, new in ((1, -1), (2, 1), (-1, 2)):
            connection.execute("UPDATE rows SET row = ? WHERE row = ?", (new, old))
    connection.close()
    with pytest.raises(DamagedEntry, match="row 1 of"):
        entry.read(digests(1, 2))


def test_an_index_that_lost_a_row_is_damaged(entry: Entry) -> None:
    connection = sqlite3.connect(entry.path / "index.sqlite")
    with connection:
        connection.execute("DELETE FROM rows WHERE row = 2")
    connection.close()
    with pytest.raises(DamagedEntry, match="lacks rows"):
        entry_in(entry.path.parents[1]).missing(digests(0))


def spoil_by_cutting(entry: Entry) -> None:
    os.truncate(entry.path / "features.npy", 200)


def spoil_by_cutting_the_index(entry: Entry) -> None:
    os.truncate(entry.path / "index.sqlite", 5000)


def spoil_by_emptying_the_index(entry: Entry) -> None:
    os.truncate(entry.path / "index.sqlite", 0)


def spoil_by_text(entry: Entry) -> None:
    (entry.path / "index.sqlite").write_text("not a database" * 1000)


def spoil_by_removing_the_features(entry: Entry) -> None:
    (entry.path / "features.npy").unlink()


def spoil_by_removing_the_index(entry: Entry) -> None:
    (entry.path / "index.sqlite").unlink()


def spoil_by_removing_the_recipe(entry: Entry) -> None:
    (entry.path / "recipe.json").unlink()


def spoil_by_another_recipe(entry: Entry) -> None:
    (entry.path / "recipe.json").write_text(json.dumps({**RECIPE, "size": 240}))


def spoil_by_a_broken_recipe(entry: Entry) -> None:
    (entry.path / "recipe.json").write_bytes(b"\xff{")


SPOIL = [value for name, value in list(globals().items()) if name.startswith("spoil_")]


@pytest.mark.parametrize("spoil", SPOIL, ids=lambda spoil: spoil.__name__)
@pytest.mark.parametrize("use", ["missing", "read", "append"])
def test_a_spoilt_entry_is_found_by_any_use_and_healed(
    entry: Entry, spoil: Callable[[Entry], None], use: str
) -> None:
    spoil(entry)
    entry = entry_in(entry.path.parents[1])
    uses = {"append": lambda: put(entry, 5), "read": lambda: entry.read(digests(0))}
    uses["missing"] = lambda: entry.missing(digests(0))
    with pytest.raises(DamagedEntry, match=rf"^Store entry {NAME} is damaged: .*\.$"):
        uses[use]()
    assert healed(entry).name == f"{NAME}.damaged"


def test_damaged_entries_get_names_of_their_own_and_keep_their_files(entry: Entry) -> None:
    names = []
    for _ in range(3):
        spoil_by_cutting(entry)
        with pytest.raises(DamagedEntry):
            entry.read(digests(4))
        names.append(healed(entry).name)
    assert names == [f"{NAME}.damaged", f"{NAME}.damaged-2", f"{NAME}.damaged-3"]
    assert (entry.path.with_name(names[1]) / "features.npy").stat().st_size == 200
    assert FeatureStore(entry.path.parents[1]).names() == [NAME]


def test_an_entry_that_another_process_healed_is_not_set_aside_again(entry: Entry) -> None:
    spoil_by_cutting(entry)
    other = entry_in(entry.path.parents[1])
    for each in (entry, other):
        with pytest.raises(DamagedEntry):
            each.read(digests(4))
    aside = healed(entry)
    assert other.set_aside() == aside
    assert np.array_equal(other.read(digests(4)), rows(4))


def test_a_header_that_promises_rows_the_index_does_not_know_is_sound(entry: Entry) -> None:
    """As a writer leaves it that was killed before its commit."""
    with (entry.path / "features.npy").open("r+b") as file:
        npy.write_rows(file.fileno(), 5, rows(50, 51, 52))
    assert entry.rows == 5
    assert entry.missing(digests(50)) == digests(50)
    put(entry, 6)
    assert np.array_equal(entry.read(digests(4, 6)), rows(4, 6))
    assert np.array_equal(np.load(entry.path / "features.npy"), rows(0, 1, 2, 3, 4, 6))


# Full disks, read-only folders, network disks


def fail(code: int) -> Callable[..., Any]:
    def call(*_: object, **__: object) -> Any:
        raise OSError(code, os.strerror(code))

    return call


@pytest.mark.parametrize("call", ["pwrite", "fsync"])
@pytest.mark.parametrize("after", [0, 1])
def test_a_full_disk_is_one_sentence_and_loses_nothing(
    entry: Entry, monkeypatch: pytest.MonkeyPatch, call: str, after: int
) -> None:
    real, calls = getattr(os, call), iter(range(100))

    def full(*args: Any) -> Any:
        return real(*args) if next(calls) < after else fail(errno.ENOSPC)()

    with monkeypatch.context() as patch:
        patch.setattr(os, call, full)
        with pytest.raises(StoreError, match=r"^The disk is full: .*--cache or TLFEAT_CACHE\.$"):
            put(entry, 5, 6)
    assert np.array_equal(entry.read(digests(0, 1, 2, 3, 4)), rows(0, 1, 2, 3, 4))
    assert put(entry, 5, 6) == 2
    assert np.array_equal(entry.read(digests(*range(7))), rows(*range(7)))


def test_a_disk_that_takes_a_part_of_a_write_gets_the_rest(
    entry: Entry, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = os.pwrite
    monkeypatch.setattr(os, "pwrite", lambda fd, data, at: real(fd, data[:5], at))
    put(entry, 5, 6)
    assert np.array_equal(entry.read(digests(5, 6)), rows(5, 6))


def test_a_disk_that_is_full_for_the_index_loses_nothing(
    entry: Entry, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = index._connect

    def small(path: Path, mode: str) -> sqlite3.Connection:
        connection = real(path, mode)
        connection.execute("PRAGMA max_page_count = 1")  # no more than it has now
        return connection

    with monkeypatch.context() as patch:
        patch.setattr(index, "_connect", small)
        with pytest.raises(StoreError, match=r"^The disk is full"):
            put(entry, *range(5, 500))
    assert np.array_equal(entry.read(digests(0, 4)), rows(0, 4))
    assert entry.rows == 5
    put(entry, *range(5, 500))
    assert np.array_equal(entry.read(digests(*range(500))), rows(*range(500)))


class RefusingCommit(sqlite3.Connection):
    """A connection whose commits meet a full disk."""

    def execute(self, sql: str, *args: Any) -> sqlite3.Cursor:
        if sql == "COMMIT":
            error = sqlite3.OperationalError("database or disk is full")
            error.sqlite_errorcode = sqlite3.SQLITE_FULL
            raise error
        return super().execute(sql, *args)


def test_a_disk_that_fills_at_the_commit_loses_nothing(
    entry: Entry, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = sqlite3.connect
    with monkeypatch.context() as patch:
        patch.setattr(sqlite3, "connect", lambda *a, **k: real(*a, factory=RefusingCommit, **k))
        with pytest.raises(StoreError, match=r"^The disk is full"):
            put(entry, 5)
    assert entry.missing(digests(4, 5)) == digests(5)
    assert put(entry, 6) == 1
    assert np.array_equal(entry.read(digests(4, 6)), rows(4, 6))


@pytest.mark.parametrize("call", ["fsync", "rename"])
def test_a_disk_that_is_full_from_the_start_leaves_no_half_entry(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, call: str
) -> None:
    entry = entry_in(tmp_path)
    with monkeypatch.context() as patch:
        patch.setattr(os, call, fail(errno.ENOSPC))
        with pytest.raises(StoreError, match=r"^The disk is full"):
            put(entry, 0)
    assert list((tmp_path / "features").iterdir()) == []
    put(entry, 0)


def make_read_only(patch: pytest.MonkeyPatch) -> None:
    """Do what a read-only folder does, to root as well."""
    real = os.open

    def refusing(path: Any, flags: int, *args: Any, **kwargs: Any) -> int:
        if flags & (os.O_RDWR | os.O_WRONLY | os.O_CREAT):
            fail(errno.EROFS)()
        return real(path, flags, *args, **kwargs)

    patch.setattr(os, "open", refusing)
    for call in ("utime", "rename", "mkdir"):
        patch.setattr(os, call, fail(errno.EROFS))
    patch.setattr(index, "access", lambda path, mode: mode == os.R_OK)


def test_a_read_only_cache_serves_what_it_holds(
    entry: Entry, monkeypatch: pytest.MonkeyPatch
) -> None:
    entry = entry_in(entry.path.parents[1])
    with monkeypatch.context() as patch:
        make_read_only(patch)
        assert entry.missing(digests(4, 5)) == digests(5)
        assert np.array_equal(entry.read(digests(4, 0)), rows(4, 0))


def test_a_read_only_cache_refuses_rows_in_one_sentence(
    entry: Entry, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as patch:
        make_read_only(patch)
        for root in (tmp_path, tmp_path / "new"):
            with pytest.raises(StoreError, match=r"^The cache .* is read-only: .*TLFEAT_CACHE\.$"):
                put(entry_in(root), 5)
        with pytest.raises(StoreError, match="is read-only"):
            entry.set_aside()
    assert entry.rows == 5


def test_a_cache_that_is_a_file_is_one_sentence(tmp_path: Path) -> None:
    (tmp_path / "cache").write_text("")
    with pytest.raises(StoreError, match="a file is in its place"):
        put(entry_in(tmp_path / "cache"), 1)


MOUNTS = r"""/dev/sda1 / ext4 rw 0 0
server:/home /net/my\040files nfs4 rw 0 0
/dev/sdb1 /net/my\040files/local ext4 rw 0 0
server:/deep /net/my\040files/local/deep nfs rw 0 0
broken line
"""


@pytest.mark.parametrize(
    ("path", "kind"),
    [
        ("/data/cache", "ext4"),
        ("/net/my files/cache", "nfs4"),
        ("/net/my files/local/cache", "ext4"),
        ("/net/my files/local/deep", "nfs"),
        ("/net/my files2", "ext4"),
    ],
)
def test_the_filesystem_of_a_folder_is_that_of_the_nearest_mount(
    tmp_path: Path, path: str, kind: str
) -> None:
    (tmp_path / "mounts").write_text(MOUNTS)
    assert disk.filesystem_of(Path(path), tmp_path / "mounts") == kind


def test_where_no_mounts_are_told_the_filesystem_is_not_known(tmp_path: Path) -> None:
    assert disk.filesystem_of(tmp_path, tmp_path / "none") is None


def test_a_network_disk_is_read_but_not_written(
    entry: Entry, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    mounts = tmp_path / "mounts"
    mounts.write_text(f"server:/home {tmp_path} nfs4 rw 0 0\n")
    monkeypatch.setattr(disk, "MOUNTS", mounts)
    fresh = entry_in(tmp_path)
    assert np.array_equal(fresh.read(digests(2)), rows(2))
    with pytest.raises(StoreError, match=r"network disk \(nfs4\).*--cache or TLFEAT_CACHE\.$"):
        put(fresh, 5)


# Several at once


def test_threads_may_append_and_read_one_entry(entry: Entry) -> None:
    errors: list[BaseException] = []

    def work(start: int) -> None:
        try:
            for number in range(5 + start, 45, 2):
                put(entry, number, number + 1)
                assert np.array_equal(entry.read(digests(number)), rows(number))
        except BaseException as error:
            errors.append(error)

    threads = [threading.Thread(target=work, args=(start,)) for start in (0, 1, 0)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert errors == []
    assert entry.rows == len(set(entry.digests())) == 46
    assert np.array_equal(entry.read(digests(*range(46))), rows(*range(46)))


def test_a_writer_that_waits_for_an_entry_set_aside_writes_into_the_new_one(
    entry: Entry, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The index that it opened went away with the old folder, features and all."""
    real, calls = index.Index.__init__, iter(range(100))

    def slow(self: index.Index, path: Path, *, writing: bool = False) -> None:
        first = next(calls) == 0
        if first:
            entry_in(entry.path.parents[1]).set_aside()
            put(entry_in(entry.path.parents[1]), 9)
            path = entry.path.with_name(f"{NAME}.damaged") / path.name
        real(self, path, writing=writing)

    other = entry_in(entry.path.parents[1])
    with monkeypatch.context() as patch:
        patch.setattr(index.Index, "__init__", slow)
        put(other, 5)
    assert other.digests() == digests(9, 5)
    assert np.array_equal(other.read(digests(5, 9)), rows(5, 9))
    assert len(np.load(entry.path.with_name(f"{NAME}.damaged") / "features.npy")) == 5


def test_a_writer_that_waits_too_long_says_so(
    entry: Entry, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(index, "BUSY_SECONDS", 0.0)
    held = index.Index(entry.path / "index.sqlite", writing=True)
    try:
        assert entry.missing(digests(4, 5)) == digests(5)  # readers need not wait
        with pytest.raises(StoreError, match="Another process has been writing"):
            put(entry, 5)
    finally:
        held.close()
    assert put(entry, 5) == 1


# Kills


def start_writer(*arguments: str | Path) -> subprocess.Popen[str]:
    command = [sys.executable, str(Path(__file__).with_name("store_writer.py"))]
    command += [str(argument) for argument in arguments]
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


def finish(process: subprocess.Popen[str]) -> None:
    _, err = process.communicate(timeout=120)
    assert process.returncode == 0, err


def test_a_kill_at_any_step_of_making_an_entry_and_of_its_first_blocks_loses_nothing(
    tmp_path: Path,
) -> None:
    finish(start_writer("die", tmp_path))
    said = sorted(tmp_path.glob("*.said"))
    assert len(said) > 40
    for path in said:
        entry = entry_in(path.with_suffix(""))
        stored = entry.rows
        assert stored in (0, FEW // 2, FEW)
        assert stored >= FEW // 2 * len(path.read_text().split())
        assert np.array_equal(entry.read(digests(*range(stored))), rows(*range(stored)))
        put(entry, *range(FEW))
        assert np.array_equal(entry.read(digests(*range(FEW))), rows(*range(FEW)))
        assert np.array_equal(np.load(entry.path / "features.npy"), rows(*range(FEW)))


def test_kills_while_writing_lose_nothing_that_was_committed(tmp_path: Path) -> None:
    said = -16
    for lines in (1, 3, 5, 8, 12):
        process = start_writer("write", tmp_path)
        assert process.stdout
        for _ in range(lines):
            said = int(process.stdout.readline())
        process.kill()
        process.communicate(timeout=60)
        entry = entry_in(tmp_path)
        stored = entry.digests()
        assert stored == digests(*range(len(stored)))
        assert len(stored) >= said + 16
        assert np.array_equal(entry.read(stored), rows(*range(len(stored))))
    finish(start_writer("write", tmp_path))
    assert entry.digests() == digests(*range(MANY))
    assert np.array_equal(entry.read(digests(*range(MANY))), rows(*range(MANY)))


def test_processes_that_store_the_same_pictures_keep_one_copy(tmp_path: Path) -> None:
    for process in [start_writer("write", tmp_path) for _ in range(3)]:
        finish(process)
    entry = entry_in(tmp_path)
    assert sorted(entry.digests()) == sorted(digests(*range(MANY)))
    assert np.array_equal(entry.read(digests(*range(MANY))), rows(*range(MANY)))
    assert [path.name for path in entry.path.parent.iterdir()] == [NAME]


LEAVE_JOURNAL = """
import os, signal, sqlite3, sys
connection = sqlite3.connect(sys.argv[1], isolation_level=None)
connection.execute("PRAGMA cache_size = 1")  # pages go to the file before the commit
connection.execute("BEGIN IMMEDIATE")
for row in range(5, 5000):
    connection.execute("INSERT INTO rows VALUES (?, ?, 0)", (row, os.urandom(32)))
os.kill(os.getpid(), signal.SIGKILL)
"""


@pytest.fixture
def torn(entry: Entry) -> Entry:
    """An entry whose index a writer was killed in, half written and with its journal left."""
    command = [sys.executable, "-c", LEAVE_JOURNAL, str(entry.path / "index.sqlite")]
    assert subprocess.run(command, check=False).returncode == -signal.SIGKILL
    assert (entry.path / "index.sqlite-journal").stat().st_size > 0
    return entry_in(entry.path.parents[1])


@pytest.mark.parametrize("use", ["read", "append"])
def test_what_a_killed_writer_left_in_the_index_is_undone(torn: Entry, use: str) -> None:
    if use == "append":
        put(torn, 5)
        assert torn.rows == 6
    assert np.array_equal(torn.read(digests(4, 0)), rows(4, 0))
    assert not (torn.path / "index.sqlite-journal").exists()


def test_what_a_killed_writer_left_in_a_read_only_index_is_undone_in_a_copy(
    torn: Entry, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = (torn.path / "index.sqlite").read_bytes()
    with monkeypatch.context() as patch:
        patch.setattr(index, "access", lambda path, mode: mode == os.R_OK)
        assert torn.missing(digests(4, 5)) == digests(5)
        assert np.array_equal(torn.read(digests(4, 0)), rows(4, 0))
    assert (torn.path / "index.sqlite").read_bytes() == before
