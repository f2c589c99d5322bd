"""Zip, tar and webdataset archives as sources, damaged and hostile ones too."""

import bz2
import gzip
import json
import lzma
import stat
import tarfile
import zipfile

import pytest
from pictures import class_folder, png, write
from source_makers import add, as_tar, as_zip, files_of

from tlfeat.data.dataset import open_dataset
from tlfeat.data.sources import spool
from tlfeat.errors import DataError


def notes(dataset):
    return "\n".join(dataset.notes)


def test_a_compressed_tar_is_read_too(tmp_path):
    folder = class_folder(tmp_path / "set")
    wanted = open_dataset(folder).fingerprint
    for name, mode in (("a.tar.gz", "w:gz"), ("b.tar.xz", "w:xz"), ("c.tgz", "w:gz")):
        dataset = open_dataset(as_tar(folder, tmp_path / name, mode))
        assert (dataset.kind, dataset.fingerprint) == ("tar", wanted)
    assert open_dataset(tmp_path / "a.tar.gz").name == "a"


def test_a_tar_that_unpacks_to_far_too_much_is_refused_before_it_fills_the_disk(
    tmp_path, monkeypatch
):
    monkeypatch.setattr(spool, "FREE_BYTES", 2**22)
    head = tarfile.TarInfo("a/1.png")
    head.size = 2**30
    for name, packer in (("a.tar.gz", gzip), ("b.tar.bz2", bz2), ("c.tar.xz", lzma)):
        with packer.open(tmp_path / name, "wb") as file:
            file.write(head.tobuf() + bytes(2**24))
        with pytest.raises(DataError, match=r"unpacks to more than .* give it unpacked\.$"):
            open_dataset(tmp_path / name)


def test_a_zip_whose_members_claim_far_too_much_is_refused(tmp_path, monkeypatch):
    monkeypatch.setattr(spool, "FREE_BYTES", 2**22)
    with zipfile.ZipFile(tmp_path / "a.zip", "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("a/1.png", bytes(2**24))
    with pytest.raises(DataError, match=r"unpacks to more than .* give it unpacked\.$"):
        open_dataset(tmp_path / "a.zip")


def test_links_in_archives_are_never_followed(tmp_path):
    secret = write(tmp_path / "secret.png", png(1))
    folder = class_folder(tmp_path / "set")
    path = as_tar(folder, tmp_path / "a.tar")
    with tarfile.open(path, "a") as archive:
        for kind, name in (
            (tarfile.SYMTYPE, "s.png"),
            (tarfile.LNKTYPE, "h.png"),
            (tarfile.FIFOTYPE, "f.png"),
        ):
            info = tarfile.TarInfo(f"set/a/{name}")
            info.type, info.linkname = kind, str(secret)
            archive.addfile(info)
        add(archive, "../../escape.png", png(50))
    dataset = open_dataset(path)
    assert {(s.id, s.reason) for s in dataset.skipped} == {
        (f"set/a/{name}.png", "not a regular file") for name in "shf"
    }
    with zipfile.ZipFile(tmp_path / "b.zip", "w") as archive:
        archive.write(files_of(folder)[0], "a/0.png")
        info = zipfile.ZipInfo("a/s.png")
        info.create_system, info.external_attr = 3, (stat.S_IFLNK | 0o777) << 16
        archive.writestr(info, str(secret))
    dataset = open_dataset(tmp_path / "b.zip")
    assert [(s.id, s.reason) for s in dataset.skipped] == [("a/s.png", "not a regular file")]
    assert sorted(p.name for p in tmp_path.iterdir()) == ["a.tar", "b.zip", "secret.png", "set"]


def test_a_damaged_member_is_skipped(tmp_path):
    path = as_zip(class_folder(tmp_path / "set"), tmp_path / "a.zip")
    data = bytearray(path.read_bytes())
    data[data.index(b"IDAT") + 10] ^= 255  # the first member's checksum is wrong now
    path.write_bytes(data)
    dataset = open_dataset(path)
    assert len(dataset) == 5
    assert "Bad CRC-32" in dataset.skipped[0].reason


def test_a_cut_tar_gives_what_is_there(tmp_path):
    path = as_tar(class_folder(tmp_path / "set", each=20), tmp_path / "a.tar")
    path.write_bytes(path.read_bytes()[:20_000])
    dataset = open_dataset(path)
    assert 0 < len(dataset) < 40


@pytest.mark.parametrize("name", ["a.zip", "a.tar", "a.tar.gz"])
def test_rubbish_with_the_name_of_an_archive_is_one_sentence(tmp_path, name):
    head = {"a.zip": b"PK\x03\x04", "a.tar": b"", "a.tar.gz": b"\x1f\x8b"}[name]
    write(tmp_path / name, head + bytes(range(256)) * 4)
    with pytest.raises(DataError) as error:
        open_dataset(tmp_path / name)
    assert "\n" not in str(error.value)


def test_a_zip_bomb_is_skipped_by_its_header(tmp_path, monkeypatch):
    monkeypatch.setattr("tlfeat.data.sources.base.MAX_BYTES", 1000)
    with zipfile.ZipFile(tmp_path / "a.zip", "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("a/1.png", png(1))
        archive.writestr("a/bomb.png", bytes(10_000_000))
    dataset = open_dataset(tmp_path / "a.zip")
    assert len(dataset) == 1
    assert "more than" in dataset.skipped[0].reason


def test_a_compressed_file_that_is_no_archive_is_refused(tmp_path):
    write(tmp_path / "x.h5.gz", gzip.compress(b"something"))
    with pytest.raises(DataError, match="unpack it first"):
        open_dataset(tmp_path / "x.h5.gz")


def test_webdataset_shards_with_json_labels_and_splits_by_name(tmp_path):
    for shard, seed in (("train-000", 0), ("train-001", 10), ("val-000", 20)):
        with tarfile.open(tmp_path / f"{shard}.tar", "w") as archive:
            for i in range(4):
                add(archive, f"{i}.png", png(seed + i))
                add(archive, f"{i}.json", json.dumps({"label": "ab"[i % 2]}).encode())
                add(archive, f"{i}.txt", b"a caption")
    dataset = open_dataset(tmp_path)
    assert dataset.kind == "webdataset"
    assert dataset.classes == ("a", "b")
    counts = {s: sum(n.values()) for s, n in dataset.counts().items()}
    assert counts["validation"] == 4
    assert counts["train"] + counts["test"] == 8
    assert dataset.samples[0].id == "train-000.tar/0.png"


def test_mac_clutter_in_a_zip_is_ignored_and_counted(tmp_path):
    path = as_zip(class_folder(tmp_path / "set"), tmp_path / "a.zip")
    with zipfile.ZipFile(path, "a") as archive:
        archive.writestr("__MACOSX/a/._0.png", b"x")
        archive.writestr("a/Thumbs.db", b"x")
        archive.writestr("read.me", b"x")
    dataset = open_dataset(path)
    assert len(dataset) == 6
    assert "3 members were ignored: 1 .me, 2 hidden" in notes(dataset)
