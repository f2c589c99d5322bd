"""Datasets: what is understood of a folder, what is said about it, what a warm run spares."""

import gc
import os
import shutil
import threading
from pathlib import Path

import h5py
import numpy as np
import pytest
from pictures import class_folder, png, write, write_folder

from tlfeat.data.check import conflicts
from tlfeat.data.dataset import open_dataset
from tlfeat.data.digests import DigestIndex
from tlfeat.data.sources.folder import FolderSource
from tlfeat.errors import DataError


def notes(dataset):
    return "\n".join(dataset.notes)


def test_class_folders_with_splits_of_any_usual_name(tmp_path):
    for split in ("Training", "valid", "TESTING"):
        class_folder(tmp_path, split=split)
    dataset = open_dataset(tmp_path)
    assert dataset.kind == "folder"
    assert dataset.classes == ("a", "b")
    assert dataset.counts() == {s: {"a": 3, "b": 3} for s in ("train", "validation", "test")}
    assert dataset.split_rule == "source"
    first = dataset.samples[0]
    assert (first.id, first.split, dataset.label_name(first)) == ("TESTING/a/0.png", "test", "a")


def test_class_folders_without_splits_get_a_test_split(tmp_path):
    dataset = open_dataset(class_folder(tmp_path, each=40))
    assert set(dataset.counts()) == {"train", "test"}
    assert "carved out" in notes(dataset)


def test_named_splits_take_the_place_of_the_usual_names(tmp_path):
    for split in ("training", "validation", "extra"):
        class_folder(tmp_path, split=split)
    dataset = open_dataset(tmp_path, splits={"train": "training", "test": "validation"})
    assert {s: sum(n.values()) for s, n in dataset.counts().items()} == {"train": 6, "test": 6}
    assert not any(s.id.startswith("extra") and s.split for s in dataset.samples)
    joined = open_dataset(tmp_path, splits={"train": "training+extra", "test": "validation"})
    assert sum(joined.counts()["train"].values()) == 12


def test_a_split_that_is_not_there_is_an_error_that_names_those_that_are(tmp_path):
    class_folder(tmp_path, split="train")
    with pytest.raises(DataError, match=r"no split 'dev' to use for validation; there are train"):
        open_dataset(tmp_path, splits={"train": "train", "validation": "dev"})


def test_a_picture_keeps_its_fingerprint_when_the_folder_moves(tmp_path):
    here = open_dataset(class_folder(tmp_path / "here", each=10))
    shutil.copytree(tmp_path / "here", tmp_path / "there")
    there = open_dataset(tmp_path / "there")
    assert here.fingerprint == there.fingerprint
    assert here.split_fingerprint == there.split_fingerprint
    (tmp_path / "there/a/0.png").rename(tmp_path / "there/b/moved.png")
    assert open_dataset(tmp_path / "there").fingerprint != here.fingerprint


def test_wrapping_folders_are_looked_through(tmp_path):
    write_folder(tmp_path, ["flowers/images/rose/1.png", "flowers/images/tulip/deep/2.png"])
    assert open_dataset(tmp_path).classes == ("rose", "tulip")


def test_a_class_may_be_called_test(tmp_path):
    write_folder(tmp_path, ["test/1.png", "cat/2.png"])
    assert open_dataset(tmp_path).classes == ("cat", "test")


def test_an_unlabelled_folder_has_samples_without_label_and_split(tmp_path):
    dataset = open_dataset(write_folder(tmp_path, ["1.png", "2.png"]))
    assert [(s.label, s.split) for s in dataset.samples] == [(None, None)] * 2
    assert dataset.classes == ()
    assert "no picture has a label" in notes(dataset)


def test_pictures_outside_the_split_folders_are_told_and_not_trained_on(tmp_path):
    class_folder(tmp_path, split="train")
    class_folder(tmp_path, split="test")
    write(tmp_path / "overview.png", png(99))
    dataset = open_dataset(tmp_path)
    assert [s.split for s in dataset.samples if s.id == "overview.png"] == [None]
    assert "1 picture lies outside the split folders" in notes(dataset)


def test_one_picture_under_two_labels_is_reported_and_kept(tmp_path):
    class_folder(tmp_path, each=2)
    shutil.copy(tmp_path / "a/0.png", tmp_path / "b/copy.png")
    dataset = open_dataset(tmp_path)
    (same,) = conflicts(dataset.samples)
    assert {s.id for s in same} == {"a/0.png", "b/copy.png"}
    assert "1 picture stands under two labels" in notes(dataset)
    assert len({s.split for s in same}) == 1


def test_pictures_shared_by_the_sources_own_splits_are_counted_as_a_leak(tmp_path):
    class_folder(tmp_path, split="train")
    class_folder(tmp_path, split="test")
    shutil.copy(tmp_path / "train/a/0.png", tmp_path / "test/a/copy.png")
    assert "leak: 1 picture of train is also in test" in notes(open_dataset(tmp_path))


def test_broken_files_are_counted_and_left_out(tmp_path):
    class_folder(tmp_path)
    write(tmp_path / "a/empty.jpg", b"")
    (tmp_path / "a/gone.jpg").symlink_to(tmp_path / "nowhere.jpg")
    os.mkfifo(tmp_path / "b/pipe.jpg")
    dataset = open_dataset(tmp_path)
    assert {(s.id, s.reason, s.label) for s in dataset.skipped} == {
        ("a/empty.jpg", "zero bytes", 0),
        ("a/gone.jpg", "cannot be read: No such file or directory", 0),
        ("b/pipe.jpg", "not a regular file", 1),
    }
    assert len(dataset) == 6


def test_files_that_are_no_pictures_are_ignored_and_counted(tmp_path):
    class_folder(tmp_path)
    for name in ("._0.png", ".DS_Store", "Thumbs.db", "__MACOSX/a/0.png"):
        write(tmp_path / "a" / name, b"x")
    write(tmp_path / "labels.txt", b"x")
    write(tmp_path / "a/LICENSE", b"free")
    write(tmp_path / "a/nosuffix", png(77))
    dataset = open_dataset(tmp_path)
    assert len(dataset) == 7
    assert "4 hidden or system files and folders were ignored" in notes(dataset)
    assert "2 files that are no pictures were ignored: 1 .txt, 1 without a suffix" in notes(
        dataset
    )


def test_links_are_followed_but_not_round_in_circles(tmp_path):
    class_folder(tmp_path / "elsewhere", classes="x")
    class_folder(tmp_path / "set")
    (tmp_path / "set/x").symlink_to(tmp_path / "elsewhere/x")
    (tmp_path / "set/a/up").symlink_to(tmp_path / "set")
    (tmp_path / "set/b/self").symlink_to(tmp_path / "set/b/self")
    dataset = open_dataset(tmp_path / "set")
    assert dataset.classes == ("a", "b", "x")
    assert len(dataset) == 9
    assert "1 link back to a folder above" in notes(dataset)


def test_names_of_any_bytes_give_different_printable_ids(tmp_path):
    names = [b"a/two\nlines.png", b"a/caf\xe9.png", b"a/caf\\xe9.png", "b/🙈.png".encode()]
    for seed, name in enumerate(names):
        write(tmp_path / os.fsdecode(name), png(seed))
    dataset = open_dataset(tmp_path)
    ids = {s.id for s in dataset.samples}
    assert ids == {r"a/two\nlines.png", r"a/caf\xe9.png", r"a/caf\\xe9.png", "b/🙈.png"}
    assert all(dataset.read(s) for s in dataset.samples)


def test_accents_typed_in_two_ways_are_one_class(tmp_path):
    write_folder(tmp_path, ["train/café/1.png", "test/cafe\u0301/2.png"])
    assert len(open_dataset(tmp_path).classes) == 1


def test_the_limit_takes_evenly_and_always_the_same(tmp_path):
    for split in ("train", "test"):
        class_folder(tmp_path, classes="abc", each=8, split=split)
    first, second = (open_dataset(tmp_path, limit=12) for _ in range(2))
    assert first.samples == second.samples
    assert first.counts() == {s: dict.fromkeys("abc", 2) for s in ("train", "test")}
    assert len(open_dataset(tmp_path, limit=1000)) == 48


def test_the_limit_comes_before_hashing(tmp_path):
    index = DigestIndex()
    open_dataset(class_folder(tmp_path, each=20), limit=4, digests=index)
    assert index.hashed == 4


def test_groups_and_arrays_whose_names_are_no_text_are_written_as_text(tmp_path):
    write_folder(tmp_path, ["1.png", "2.png", "3.png"])
    table = b"path,label,group\n1.png,a,caf\xe9\n2.png,b,caf\xe9\n3.png,b,caf\xc3\xa9\n"
    (tmp_path / "t.csv").write_bytes(table)
    samples = open_dataset(tmp_path / "t.csv").samples
    assert [sample.group for sample in samples] == ["caf\\xe9", "caf\\xe9", "café"]
    with h5py.File(tmp_path / "a.h5", "w") as file:
        file[b"images\xe9"] = np.zeros((2, 4, 4), np.uint8)
    digests = DigestIndex(tmp_path / "cache")
    found = open_dataset(tmp_path / "a.h5", digests=digests)
    assert [sample.id for sample in found.samples] == ["images\\xe9[0]", "images\\xe9[1]"]


def test_one_class_only_is_opened_and_said(tmp_path):
    write_folder(tmp_path, ["train/a/1.png", "test/a/2.png"])
    assert "one class only (a)" in notes(open_dataset(tmp_path))


def test_classes_without_train_or_test_pictures_are_named(tmp_path):
    write_folder(tmp_path, ["train/a/1.png", "train/b/2.png", "test/a/3.png", "test/c/4.png"])
    dataset = open_dataset(tmp_path)
    assert "1 of 3 classes has no train pictures: c" in notes(dataset)
    assert "1 of 3 classes has no test pictures: b" in notes(dataset)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda p: p / "nothing", "Nothing lies at"),
        (lambda p: p, "is empty"),
        (
            lambda p: write(p / "a/notes.txt", b"x").parents[1],
            r"No picture lies .* \(only: 1 .txt\)",
        ),
        (lambda p: write(p / "model.bin", b"\0\1\2\3"), "no known kind"),
        (lambda p: write(p / "a/1.jpg", b"").parents[1], "None of the 1 picture.*zero bytes"),
    ],
)
def test_what_cannot_be_opened_is_one_sentence(tmp_path, make, message):
    with pytest.raises(DataError, match=message) as error:
        open_dataset(make(tmp_path))
    assert "\n" not in str(error.value)


def test_a_warm_open_reads_no_picture(tmp_path):
    folder = class_folder(tmp_path / "set")
    cold = open_dataset(folder, digests=DigestIndex(tmp_path / "cache"))
    index = DigestIndex(tmp_path / "cache")
    warm = open_dataset(folder, digests=index)
    assert index.hashed == 0
    assert warm.samples == cold.samples
    assert (tmp_path / "cache/CACHEDIR.TAG").exists()


def test_a_changed_picture_is_read_again(tmp_path):
    folder = class_folder(tmp_path / "set")
    before = open_dataset(folder, digests=DigestIndex(tmp_path / "cache"))
    write(folder / "a/1.png", png(500))
    index = DigestIndex(tmp_path / "cache")
    after = open_dataset(folder, digests=index)
    assert index.hashed == 1
    digest = {s.id: s.digest for s in before.samples}
    assert {s.id for s in after.samples if s.digest != digest[s.id]} == {"a/1.png"}


def test_a_file_changed_in_the_last_moments_is_not_trusted(tmp_path):
    folder = class_folder(tmp_path / "set")
    write(folder / "a/1.png", png(500), old=False)
    for _ in range(2):
        index = DigestIndex(tmp_path / "cache")
        open_dataset(folder, digests=index)
    assert index.hashed == 1


def test_rehash_reads_everything(tmp_path):
    folder = class_folder(tmp_path / "set")
    open_dataset(folder, digests=DigestIndex(tmp_path / "cache"))
    index = DigestIndex(tmp_path / "cache")
    open_dataset(folder, digests=index, rehash=True)
    assert index.hashed == 6


def test_a_cache_that_cannot_be_written_costs_only_time(tmp_path, monkeypatch):
    folder = class_folder(tmp_path / "set")
    (tmp_path / "cache").write_text("a file where the folder should be")
    dataset = open_dataset(folder, digests=DigestIndex(tmp_path / "cache"))
    assert len(dataset) == 6
    assert "digests were not kept" in notes(dataset)


def test_a_damaged_index_is_set_aside(tmp_path):
    folder = class_folder(tmp_path / "set")
    write(tmp_path / "cache/files.sqlite", b"not a database" * 100)
    assert len(open_dataset(folder, digests=DigestIndex(tmp_path / "cache"))) == 6
    assert len(list((tmp_path / "cache").glob("files.damaged-*"))) == 1
    index = DigestIndex(tmp_path / "cache")
    open_dataset(folder, digests=index)
    assert index.hashed == 0


def test_progress_counts_the_pictures_that_are_read(tmp_path):
    seen = []
    open_dataset(class_folder(tmp_path, each=50), progress=lambda *at: seen.append(at))
    assert seen[-1] == (100, 100)
    assert seen == sorted(seen)


def test_reading_is_safe_in_threads(tmp_path):
    dataset = open_dataset(class_folder(tmp_path, each=20))
    results: list[bytes] = []

    def work():
        for sample in dataset.samples:
            results.append(dataset.read(sample))

    threads = [threading.Thread(target=work) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(results) == 4 * 40
    assert len(set(results)) == 40


def test_a_picture_that_vanishes_after_opening_is_an_oserror(tmp_path):
    dataset = open_dataset(class_folder(tmp_path))
    Path(dataset.samples[0].locator).unlink()
    with pytest.raises(FileNotFoundError):
        dataset.read(dataset.samples[0])


def test_the_real_folders_are_understood(shared_data):
    clothing = open_dataset(shared_data / "clothing")
    assert {s: sum(n.values()) for s, n in clothing.counts().items()} == {
        "train": 600,
        "validation": 146,
        "test": 372,
    }
    monkeys = open_dataset(
        shared_data / "monkeys", splits={"train": "training", "test": "validation"}
    )
    assert {s: sum(n.values()) for s, n in monkeys.counts().items()} == {"train": 400, "test": 272}


@pytest.mark.parametrize(
    "options",
    [{"limit": "many"}, {"limit": True}, {"split_seed": 1.5}, {"splits": ["a"]},
     {"columns": {"path": 3}}],
)  # fmt: skip
def test_options_of_another_type_are_one_sentence(pictures, options):
    with pytest.raises(DataError, match=next(iter(options))):
        open_dataset(pictures, **options)


def test_nobody_looks_for_cycles_while_a_table_is_made(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each look goes through all rows so far: half of the time, from 100,000 pictures on."""
    looked, real = [], FolderSource.listing
    monkeypatch.setattr(
        FolderSource, "listing", lambda self: looked.append(gc.isenabled()) or real(self)
    )
    open_dataset(class_folder(tmp_path / "set"))
    assert gc.isenabled()
    with pytest.raises(DataError):
        open_dataset(tmp_path / "cache")
    assert gc.isenabled()
    assert looked == [False]
