"""Full disks, read-only folders, network disks: one sentence, and nothing is lost."""

import errno
import os
import sqlite3
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from store_writer import digests, entry_in, put, rows

from tlfeat.errors import StoreError
from tlfeat.features import disk, index
from tlfeat.features.store import Entry


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
