"""The index of digests only saves time: damaged, old or strange, it gives no wrong digest."""

import random
import sqlite3
from contextlib import closing
from pathlib import Path

import pytest
from pictures import class_folder

from tlfeat.data import digests
from tlfeat.data.dataset import open_dataset
from tlfeat.data.digests import DigestIndex
from tlfeat.data.sources.base import SourceOptions
from tlfeat.data.sources.folder import FolderSource

SETS = 6  # pictures


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return class_folder(tmp_path / "set")


@pytest.fixture
def index_file(folder: Path, tmp_path: Path) -> Path:
    open_dataset(folder, digests=DigestIndex(tmp_path / "cache"))
    return tmp_path / "cache/files.sqlite"


def change(path: Path, *statements: str) -> None:
    with closing(sqlite3.connect(path)) as connection, connection:
        for statement in statements:
            connection.execute(statement)


def hashed(folder: Path, index_file: Path) -> int:
    """Open the set, compare it with one that no index was asked for, and say what was read."""
    index = DigestIndex(index_file.parent)
    assert open_dataset(folder, digests=index).samples == open_dataset(folder).samples
    return index.hashed


@pytest.mark.parametrize(
    "change_of_a_row",
    [
        "digest = (SELECT digest FROM files ORDER BY path DESC LIMIT 1)",  # another picture's
        "digest = 'no digest'",
        "digest = x'00ff'",
        "hashed_ns = hashed_ns + 1",
        "checksum = checksum + 1",
    ],
)
def test_a_row_that_does_not_hold_its_checksum_is_hashed_again(
    folder: Path, index_file: Path, change_of_a_row: str
) -> None:
    first = "path = (SELECT min(path) FROM files)"
    change(index_file, f"UPDATE files SET {change_of_a_row} WHERE {first}")
    assert hashed(folder, index_file) == 1
    assert hashed(folder, index_file) == 0


def test_an_index_of_before_the_checksums_is_hashed_once_more(
    folder: Path, index_file: Path
) -> None:
    change(
        index_file,
        "ALTER TABLE files RENAME TO new",
        "CREATE TABLE files (path BLOB NOT NULL, member TEXT NOT NULL, size INTEGER NOT NULL, "
        "mtime_ns INTEGER NOT NULL, ctime_ns INTEGER NOT NULL, inode INTEGER NOT NULL, "
        "hashed_ns INTEGER NOT NULL, digest TEXT NOT NULL, PRIMARY KEY (path, member)) "
        "WITHOUT ROWID",
        "INSERT INTO files SELECT path, CAST(member AS TEXT), size, mtime_ns, ctime_ns, inode, "
        f"hashed_ns, '{'0' * 64}' FROM new",
        "DROP TABLE new",
        "PRAGMA user_version = 0",
    )
    assert hashed(folder, index_file) == SETS
    assert hashed(folder, index_file) == 0


def test_a_key_out_of_its_order_hides_rows_for_one_run_only(
    folder: Path, index_file: Path
) -> None:
    """A scan ends at it, so rows behind it would be hashed in every run."""
    data = index_file.read_bytes()
    path = str(folder / "a/1.png").encode()
    assert data.count(path) == 1
    index_file.write_bytes(data.replace(path, path.replace(b"/a/1", b"/z/1")))
    assert hashed(folder, index_file) > 1
    hashed(folder, index_file)
    assert hashed(folder, index_file) == 0


def test_a_flipped_byte_anywhere_gives_no_wrong_digest_and_heals(
    folder: Path, index_file: Path
) -> None:
    sound = index_file.read_bytes()
    used = [at for at, byte in enumerate(sound) if byte or at < 100]
    chance = random.Random(0)
    for at in sorted(chance.sample(used, 150)):
        spoilt = bytearray(sound)
        spoilt[at] ^= chance.choice([1, 2, 4, 8, 16, 32, 64, 128, 255])
        index_file.write_bytes(spoilt)
        for _ in range(3):
            read = hashed(folder, index_file)
        assert read == 0, f"byte {at} is never mended"
        for left in index_file.parent.glob("files.*"):
            left.unlink()


def test_lines_of_other_files_cost_no_checksum(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    index = DigestIndex(tmp_path / "cache")
    for name in "abc":
        open_dataset(class_folder(tmp_path / name), digests=index)
    outer = [FolderSource(tmp_path / name, SourceOptions()).listing().rows for name in "ac"]
    checked: list[int] = []
    real = digests._checksum
    monkeypatch.setattr(
        digests, "_checksum", lambda line: checked.append(real(line)) or checked[-1]
    )
    before = index.hashed
    index.digests([row for rows in outer for row in rows], FolderSource.read)
    assert index.hashed == before
    assert len(checked) == 2 * SETS
