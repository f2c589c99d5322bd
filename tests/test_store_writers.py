"""Several writers at once, and writers that are killed, lose nothing that was committed."""

import os
import signal
import subprocess
import sys
import threading
from pathlib import Path

import numpy as np
import pytest
from store_writer import FEW, MANY, NAME, digests, entry_in, put, rows

from tlfeat.errors import StoreError
from tlfeat.features import index
from tlfeat.features.store import Entry


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
        assert [found.name for found in entry.path.parent.iterdir()] == [NAME]  # all is cleared


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
