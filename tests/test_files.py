"""A file is there as a whole or not at all, and what a kill leaves is cleared away."""

import errno
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from disks import small_disk

from tlfeat import files
from tlfeat.errors import TlfeatError
from tlfeat.files import (
    cannot_write,
    clear_abandoned,
    file_digest,
    making_folder,
    new_name,
    replacing,
    write_text,
)

WRITE_AND_DIE = """
import os, signal, sys
from pathlib import Path
from tlfeat.files import replacing
with replacing(Path(sys.argv[1])) as fresh:
    fresh.write_text("half")
    os.kill(os.getpid(), signal.SIGKILL)
"""


def die_while_writing(path: Path) -> Path:
    """Give what a killed writer of `path` leaves."""
    dead = subprocess.run([sys.executable, "-c", WRITE_AND_DIE, str(path)], check=False)
    assert dead.returncode == -signal.SIGKILL
    (left,) = path.parent.glob(".new-*")
    return left


def test_a_file_is_written_with_its_folders_and_replaced(tmp_path: Path) -> None:
    path = tmp_path / "a" / "b.txt"
    for text in ("old", "né\n"):
        write_text(path, text)
        assert path.read_bytes() == text.encode()
    assert list(path.parent.iterdir()) == [path]


def test_the_other_name_keeps_the_suffix_and_is_short(tmp_path: Path) -> None:
    path = tmp_path / f"{'x' * 240}.tar.keras"
    with replacing(path) as fresh:
        assert fresh.suffix == ".keras"
        fresh.write_text("x")
    assert path.read_text() == "x"


@pytest.mark.parametrize("failure", [ValueError, KeyboardInterrupt])
def test_a_block_that_fails_leaves_the_old_file_and_nothing_else(
    tmp_path: Path, failure: type[BaseException]
) -> None:
    path = tmp_path / "a.txt"
    path.write_text("old")

    def fail() -> None:
        with replacing(path) as fresh:
            fresh.write_text("new")
            raise failure

    with pytest.raises(failure):
        fail()
    assert path.read_text() == "old"
    assert list(tmp_path.iterdir()) == [path]


def test_a_full_disk_is_one_sentence_and_leaves_the_old_file(tmp_path: Path) -> None:
    path = tmp_path / "a.txt"
    path.write_text("old")
    with (
        small_disk(100),
        pytest.raises(TlfeatError, match=r"a\.txt cannot be written: the disk is full\. Free"),
    ):
        write_text(path, "x" * 1000)
    assert path.read_text() == "old"
    assert list(tmp_path.iterdir()) == [path]


@pytest.mark.parametrize("step", ["mkdir", "replace"])
@pytest.mark.parametrize("code", [errno.EROFS, errno.EACCES])
def test_a_read_only_folder_is_one_sentence(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, step: str, code: int
) -> None:
    def refuse(*_: object, **__: object) -> None:
        raise OSError(code, os.strerror(code))

    with monkeypatch.context() as patch:
        patch.setattr(Path, step, refuse)
        with pytest.raises(
            TlfeatError, match=r"b\.txt cannot be written: its folder is read-only"
        ):
            write_text(tmp_path / "a" / "b.txt", "")
    assert not list(tmp_path.rglob("*.txt"))


@pytest.mark.parametrize("place", ["file/b.txt", "folder"])
def test_a_place_that_is_taken_is_one_sentence(tmp_path: Path, place: str) -> None:
    (tmp_path / "file").write_text("")
    (tmp_path / "folder").mkdir()
    with pytest.raises(TlfeatError, match=r"cannot be written \(.*\): choose another place"):
        write_text(tmp_path / place, "")
    assert len(list(tmp_path.iterdir())) == 2


def test_an_error_of_what_is_read_meanwhile_stays_as_it_is(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError), replacing(tmp_path / "a"):
        (tmp_path / "source").read_bytes()


def test_a_folder_is_made_whole_or_not_at_all(tmp_path: Path) -> None:
    with pytest.raises(IsADirectoryError), making_folder(tmp_path / "new") as fresh:
        fresh.read_bytes()
    assert not list(tmp_path.iterdir())
    with making_folder(tmp_path / "new") as fresh:
        (fresh / "one").touch()
        assert not (tmp_path / "new").exists()
    assert [path.name for path in tmp_path.rglob("*")] == ["new", "one"]


def test_of_two_who_make_a_folder_the_first_one_stays(tmp_path: Path) -> None:
    with making_folder(tmp_path / "new") as fresh:
        (fresh / "second").touch()
        with making_folder(tmp_path / "new") as faster:
            (faster / "first").touch()
    assert [path.name for path in tmp_path.rglob("*")] == ["new", "first"]


def test_a_digest_is_that_of_the_file_as_it_is_now(tmp_path: Path) -> None:
    path = tmp_path / "file"
    path.write_bytes(b"")
    empty = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"
    assert file_digest(path) == file_digest(path) == empty
    assert file_digest(path, "md5") == "d41d8cd98f00b204e9800998ecf8427e"
    path.write_bytes(b"more")
    assert file_digest(path) != empty


def test_the_sentence_says_what_the_disk_says() -> None:
    said = cannot_write(Path("a"), OSError(errno.EIO, "Input/output error"))
    assert str(said) == "a cannot be written (Input/output error): choose another place for it."


# What a kill leaves


def test_the_next_writer_clears_what_a_killed_one_left(tmp_path: Path) -> None:
    left = die_while_writing(tmp_path / "a.txt")
    assert left.read_text() == "half"
    write_text(tmp_path / "other.txt", "whole")
    assert [path.name for path in tmp_path.iterdir()] == ["other.txt"]


def test_a_folder_that_a_killed_process_was_making_is_cleared(tmp_path: Path) -> None:
    left = die_while_writing(tmp_path / "a.txt")
    left.unlink()
    left.mkdir()
    (left / "network.bin").write_text("")
    clear_abandoned(tmp_path)
    assert list(tmp_path.iterdir()) == []


def test_what_a_living_process_makes_is_left_alone(tmp_path: Path) -> None:
    with replacing(tmp_path / "a") as fresh:
        fresh.write_text("a")
        os.utime(fresh, (0, 0))
        write_text(tmp_path / "b", "b")
        assert fresh.exists()


def test_a_number_that_another_process_got_since_is_no_owner(tmp_path: Path) -> None:
    machine, process, start = new_name(tmp_path / "a").name.removeprefix(".new-").split("-")[:3]
    old = tmp_path / f".new-{machine}-{process}-{int(start) - 1}-00000000"
    old.write_text("")
    clear_abandoned(tmp_path)
    assert not old.exists()


@pytest.mark.parametrize("told", [True, False])
def test_where_the_owner_cannot_be_asked_a_day_must_pass(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, told: bool
) -> None:
    """On another machine, or on one that does not tell when a process began."""
    if not told:
        monkeypatch.setattr(files, "_start", lambda process: None)
    name = new_name(tmp_path / "a").name
    path = tmp_path / (name.replace(name[5:13], "00000000", 1) if told else name)
    path.write_text("")
    clear_abandoned(tmp_path)
    assert path.exists()
    os.utime(path, (0, 0))
    clear_abandoned(tmp_path)
    assert not path.exists()


def test_other_names_are_never_cleared(tmp_path: Path) -> None:
    names = [".new-notes", ".new-1-2-3-4.txt", "new.txt", ".a.123"]
    for name in names:
        (tmp_path / name).write_text("")
        os.utime(tmp_path / name, (0, 0))
    clear_abandoned(tmp_path)
    assert sorted(path.name for path in tmp_path.iterdir()) == sorted(names)


@pytest.mark.parametrize(
    "name",
    [f".{'a' * 40}.{'b' * 32}", ".123-model.keras", ".fresh-epoch-0006.weights.h5",
     ".resume.npz.77", ".run.json.4242"],
)  # fmt: skip
def test_what_earlier_versions_left_goes_after_a_day(tmp_path: Path, name: str) -> None:
    left = tmp_path / name
    left.write_text("half")
    write_text(tmp_path / "other.txt", "x")
    assert left.exists()
    old = time.time() - 2 * 86400
    os.utime(left, (old, old))
    write_text(tmp_path / "other.txt", "x")
    assert not left.exists()
