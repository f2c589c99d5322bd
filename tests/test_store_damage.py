"""Damage of an entry is found by any use, set aside and healed."""

import json
import os
import sqlite3
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from store_writer import DIM, NAME, RECIPE, digest, digests, entry_in, put, rows

from tlfeat.features import npy
from tlfeat.features.store import DamagedEntry, Entry, FeatureStore

SETTINGS = settings(
    max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)


def flip(path: Path, place: int, bit: int = 1) -> None:
    data = bytearray(path.read_bytes())
    data[place] ^= bit
    path.write_bytes(data)


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
