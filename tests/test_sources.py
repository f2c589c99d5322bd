"""Sources: what each kind expects, and that one picture is one picture wherever it lies."""

import contextlib
import csv
import gzip
import io
import json
import os
import shutil
import stat
import tarfile
import threading
import zipfile

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pictures import class_folder, noise, png, write, write_folder

from tlfeat.data import DigestIndex, UndecodableImage, decode, open_dataset
from tlfeat.errors import DataError


def notes(dataset):
    return "\n".join(dataset.notes)


def table(path, lines, delimiter=","):
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("w", newline="", encoding="utf-8") as file:
        csv.writer(file, delimiter=delimiter).writerows(lines)
    return path


def files_of(folder):
    return sorted(p for p in folder.rglob("*.png"))


def as_csv(folder, path):
    lines = [(p.relative_to(path.parent).as_posix(), p.parent.name) for p in files_of(folder)]
    return table(path, [("path", "label"), *lines])


def as_zip(folder, path):
    with zipfile.ZipFile(path, "w") as archive:
        for p in files_of(folder):
            archive.write(p, p.relative_to(folder))
    return path


def as_tar(folder, path, mode="w"):
    with tarfile.open(path, mode) as archive:
        archive.add(folder, folder.name)
    return path


def add(archive, name, data):
    info = tarfile.TarInfo(name)
    info.size = len(data)
    archive.addfile(info, io.BytesIO(data))


def as_webdataset(folder, path):
    with tarfile.open(path, "w") as archive:
        for i, p in enumerate(files_of(folder)):
            add(archive, f"{i:05d}.png", p.read_bytes())
            add(archive, f"{i:05d}.cls", f"{ord(p.parent.name) - ord('a')}\n".encode())
    return path


def as_parquet(folder, path):
    pa = pytest.importorskip("pyarrow")
    import pyarrow.parquet as pq

    files = files_of(folder)
    pq.write_table(
        pa.table(
            {"image": [p.read_bytes() for p in files], "label": [p.parent.name for p in files]}
        ),
        path,
        row_group_size=7,
    )
    return path


@pytest.mark.parametrize("make", [as_csv, as_zip, as_tar, as_webdataset, as_parquet])
def test_the_same_pictures_have_the_same_keys_in_every_source(tmp_path, make):
    folder = class_folder(tmp_path / "set", classes="abc", each=20)
    one = open_dataset(folder)
    other = open_dataset(make(folder, tmp_path / "other"))
    assert other.kind == make.__name__.removeprefix("as_").replace("csv", "manifest")
    assert sorted(s.digest for s in other.samples) == sorted(s.digest for s in one.samples)
    assert {s.digest: s.split for s in other.samples} == {s.digest: s.split for s in one.samples}
    assert {s.digest: s.label for s in other.samples} == {s.digest: s.label for s in one.samples}
    if make is not as_webdataset:  # whose labels are numbers
        assert other.fingerprint == one.fingerprint


@pytest.mark.parametrize("make", [as_csv, as_zip, as_tar, as_webdataset, as_parquet])
def test_a_warm_open_of_any_file_reads_no_picture(tmp_path, make):
    path = make(class_folder(tmp_path / "set"), tmp_path / "other")
    os.utime(path, (1_600_000_000,) * 2)
    cold = open_dataset(path, digests=DigestIndex(tmp_path / "cache"))
    index = DigestIndex(tmp_path / "cache")
    assert open_dataset(path, digests=index).samples == cold.samples
    assert index.hashed == 0


# Tables


def test_a_table_gives_split_and_group_and_its_own_column_names(tmp_path):
    write_folder(tmp_path, [f"pics/{i}.png" for i in range(4)])
    lines = [("species", "photo", "part", "bird")]
    lines += [("owl", "pics/0.png", "train", "x"), ("owl", "pics/1.png", "test", "y")]
    lines += [("tit", "pics/2.png", "train", ""), ("", "pics/3.png", "train", "")]
    path = table(tmp_path / "birds.tsv", lines, "\t")
    columns = {"path": "photo", "label": "species", "split": "part", "group": "bird"}
    dataset = open_dataset(path, columns=columns)
    assert dataset.name == "birds"
    assert dataset.classes == ("owl", "tit")
    assert [(s.id, s.label, s.split, s.group) for s in dataset.samples] == [
        ("pics/0.png", 0, "train", "x"),
        ("pics/1.png", 0, "test", "y"),
        ("pics/2.png", 1, "train", None),
        ("pics/3.png", None, None, None),
    ]


def test_a_table_without_header_is_understood_by_its_first_path(tmp_path):
    write_folder(tmp_path, ["0.png", "1.png"])
    path = table(tmp_path / "list.csv", [("0.png", "a"), ("1.png", "b")])
    assert open_dataset(path).classes == ("a", "b")
    write(tmp_path / "list.txt", b"0.png\n1.png\n")
    assert open_dataset(tmp_path / "list.txt").unlabelled == 2


def test_missing_files_and_fifos_of_a_table_are_skipped(tmp_path):
    write(tmp_path / "0.png", png(0))
    os.mkfifo(tmp_path / "pipe.png")
    lines = [("path", "label"), ("0.png", "a"), ("gone.png", "a"), ("pipe.png", "a"), ("\0", "a")]
    path = write(tmp_path / "t.csv", "\n".join(map(",".join, lines[:-1])).encode())
    dataset = open_dataset(path)
    assert len(dataset) == 1
    assert [s.reason for s in dataset.skipped] == [
        "cannot be read: No such file or directory",
        "not a regular file",
    ]


def test_one_path_listed_twice_is_two_samples(tmp_path):
    write(tmp_path / "0.png", png(0))
    path = table(tmp_path / "t.csv", [("path", "label"), ("0.png", "a"), ("0.png", "b")])
    dataset = open_dataset(path)
    assert [s.id for s in dataset.samples] == ["0.png", "0.png#2"]
    assert len(dataset.conflicts()) == 1


def test_a_table_of_unknown_columns_says_what_to_do(tmp_path):
    path = table(tmp_path / "t.csv", [("foo", "bar"), ("1", "2")])
    with pytest.raises(DataError, match=r"the columns foo, bar.*path=COLUMN"):
        open_dataset(path)
    with pytest.raises(DataError, match=r"no column 'fo'.*Did you mean 'foo'"):
        open_dataset(path, columns={"path": "fo"})
    with pytest.raises(DataError, match="Columns can be named for path, label"):
        open_dataset(path, columns={"lable": "bar"})


def test_column_names_for_a_folder_are_refused(tmp_path):
    with pytest.raises(DataError, match="has no columns"):
        open_dataset(class_folder(tmp_path), columns={"path": "x"})


# Parquet


def test_parquet_as_hugging_face_publishes_it(tmp_path):
    pa = pytest.importorskip("pyarrow")
    import pyarrow.parquet as pq

    features = {"label": {"names": ["zebra", "ape"], "_type": "ClassLabel"}}
    metadata = {b"huggingface": json.dumps({"info": {"features": features}}).encode()}
    for split, seed in (("train", 0), ("test", 10)):
        cells = [{"bytes": png(seed + i), "path": None} for i in range(4)]
        rows = pa.table({"image": cells, "label": [0, 1, 1, -1]})
        path = tmp_path / f"data/{split}-00000-of-00001.parquet"
        path.parent.mkdir(exist_ok=True)
        pq.write_table(rows.replace_schema_metadata(metadata), path, row_group_size=2)
    dataset = open_dataset(tmp_path)
    assert dataset.kind == "parquet"
    assert dataset.classes == ("zebra", "ape")  # in the set's own order
    assert dataset.counts() == {s: {"zebra": 1, "ape": 2} for s in ("train", "test")}
    assert dataset.unlabelled == 2
    assert [dataset.read(s) for s in dataset.samples[:4]] == [png(i) for i in (10, 11, 12, 13)]


def test_parquet_without_pictures_says_so(tmp_path):
    pa = pytest.importorskip("pyarrow")
    import pyarrow.parquet as pq

    pq.write_table(pa.table({"a": [1]}), tmp_path / "t.parquet")
    with pytest.raises(DataError, match="no column of bytes; its columns are a"):
        open_dataset(tmp_path / "t.parquet")


def test_an_empty_cell_is_skipped(tmp_path):
    pa = pytest.importorskip("pyarrow")
    import pyarrow.parquet as pq

    pq.write_table(
        pa.table({"image": [png(0), None, b""], "label": ["a", "b", "b"]}), tmp_path / "t.parquet"
    )
    dataset = open_dataset(tmp_path / "t.parquet")
    assert [s.reason for s in dataset.skipped] == [
        "cannot be read: empty cell",
        "cannot be read: zero bytes",
    ]


# Arrays


def pictures_of(n, seed=0, **size):
    return np.stack([noise(seed + i, **size) for i in range(n)])


def write_pairs(folder, n=6, **how):
    h5py = pytest.importorskip("h5py")
    folder.mkdir(parents=True, exist_ok=True)
    for k, split in enumerate(("train", "valid", "test")):
        stem = f"{folder}/camelyonpatch_level_2_split_{split}"
        with h5py.File(f"{stem}_x.h5", "w") as file:
            file.create_dataset("x", data=pictures_of(n, 100 * k), **how)
        with h5py.File(f"{stem}_y.h5", "w") as file:
            file["y"] = (np.arange(n) % 2).astype(np.uint8).reshape(n, 1, 1, 1)
    return folder


@pytest.mark.parametrize("how", [{}, {"chunks": (4, 12, 10, 3), "compression": "gzip"}])
def test_hdf5_pairs_in_the_layout_of_pcam(tmp_path, how):
    dataset = open_dataset(write_pairs(tmp_path / "pcam", **how))
    assert (dataset.kind, dataset.name) == ("hdf5", "pcam")
    assert dataset.counts() == {s: {"0": 3, "1": 3} for s in ("train", "validation", "test")}
    first = {s.split: dataset.read(s) for s in dataset.samples if s.id.endswith("[5]")}
    assert (first["train"] == noise(5)).all()
    assert (first["test"] == noise(205)).all()


def test_one_file_of_a_pair_stands_for_all(tmp_path):
    folder = write_pairs(tmp_path / "pcam")
    one = open_dataset(folder / "camelyonpatch_level_2_split_train_x.h5")
    assert one.fingerprint == open_dataset(folder).fingerprint


def test_half_a_pair_is_an_error(tmp_path):
    folder = write_pairs(tmp_path / "pcam")
    (folder / "camelyonpatch_level_2_split_train_x.h5").unlink()
    with pytest.raises(DataError, match=r"_x\.h5.* missing"):
        open_dataset(folder)


def test_npz_and_hdf5_of_the_same_pictures_have_the_same_keys(tmp_path):
    h5py = pytest.importorskip("h5py")
    pairs = open_dataset(write_pairs(tmp_path / "pcam"))
    arrays = {}
    for k, split in enumerate(("train", "val", "test")):
        arrays[f"{split}_images"] = pictures_of(6, 100 * k)
        arrays[f"{split}_labels"] = (np.arange(6) % 2).astype(np.uint8).reshape(6, 1)
    np.savez(tmp_path / "a.npz", **arrays)
    np.savez_compressed(tmp_path / "b.npz", **arrays)
    with h5py.File(tmp_path / "c.h5", "w") as file:
        for name, array in arrays.items():
            file[name] = array
    for name in ("a.npz", "b.npz", "c.h5"):
        assert open_dataset(tmp_path / name).fingerprint == pairs.fingerprint, name


def test_npz_with_x_and_y_and_names(tmp_path):
    x = pictures_of(6, bands=1)
    y = np.eye(3)[[0, 1, 2, 0, 1, 2]]
    np.savez(
        tmp_path / "set.npz", x_train=x, y_train=y, class_names=["c", "b", "a"], mean=x.mean()
    )
    dataset = open_dataset(tmp_path / "set.npz")
    assert dataset.kind == "npz"
    assert dataset.classes == ("c", "b", "a")
    assert dataset.samples[4].id == "train[4]"
    assert (dataset.read(dataset.samples[4]) == x[4]).all()
    assert "not used: mean" in notes(dataset)


@pytest.mark.parametrize("order", ["C", "F"])
@pytest.mark.parametrize("save", [np.savez, np.savez_compressed])
def test_rows_of_npz_are_read_in_any_order(tmp_path, save, order):
    x = pictures_of(5)
    save(tmp_path / "set.npz", x=np.asarray(x, order=order), y=np.arange(5))
    dataset = open_dataset(tmp_path / "set.npz")
    assert all((dataset.read(s) == x[i]).all() for i, s in enumerate(dataset.samples))


@pytest.mark.parametrize(
    ("arrays", "message"),
    [
        ({"x": np.zeros((2, 4, 4, 3), np.float32), "y": [0, 1]}, r"float32; wanted uint8.*255"),
        ({"x": np.zeros((2, 3, 4, 5), np.uint8), "y": [0, 1]}, r"shape \(2, 3, 4, 5\)"),
        ({"x": np.zeros((2, 4, 4), np.uint8), "y": [0, 1, 2]}, "2 pictures, but 'y' 3 labels"),
        ({"x": np.zeros((2, 4, 4), np.uint8), "y": np.ones((2, 3))}, "several labels"),
        ({"x": np.zeros((2, 4, 4), np.uint8), "y": [0.5, 1]}, "wanted whole numbers or names"),
        ({"foo": np.zeros(3)}, "the arrays foo; expected x_train"),
        ({"x": np.zeros((2, 4, 4), np.uint8), "y": np.array(["a", 1], object)}, "cannot be read"),
    ],
)
def test_arrays_that_will_not_do_say_what_will(tmp_path, arrays, message):
    np.savez(tmp_path / "set.npz", **arrays)
    with pytest.raises(DataError, match=message):
        open_dataset(tmp_path / "set.npz")


def test_hdf5_is_read_in_blocks_and_from_threads(tmp_path, monkeypatch):
    h5py = pytest.importorskip("h5py")
    from tlfeat.data.sources import hdf5

    x = pictures_of(300)
    with h5py.File(tmp_path / "set.h5", "w") as file:
        file.create_dataset("x", data=x, chunks=(32, 12, 10, 3), compression="gzip")
        file["y"] = np.arange(300) % 3
    dataset = open_dataset(tmp_path / "set.h5")
    wrong = []

    def work(order):
        wrong.extend(i for i in order if (dataset.read(dataset.samples[i]) != x[i]).any())

    orders = [range(300), range(299, -1, -1), range(0, 300, 7)]
    threads = [threading.Thread(target=work, args=(order,)) for order in orders]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not wrong
    assert len(dataset.source.files[0]._blocks) <= hdf5._BLOCKS


def test_a_damaged_hdf5_file_is_one_sentence(tmp_path):
    folder = write_pairs(tmp_path / "pcam")
    path = folder / "camelyonpatch_level_2_split_train_x.h5"
    path.write_bytes(path.read_bytes()[:100])
    with pytest.raises(DataError, match="cannot be read as HDF5"):
        open_dataset(folder)


def test_pcam_of_the_real_pictures(shared_data):
    dataset = open_dataset(shared_data / "pcam")
    sizes = {s: sum(n.values()) for s, n in dataset.counts().items()}
    assert sizes == {"train": 800, "validation": 200, "test": 200}


# GTSRB


def write_gtsrb(root, tracks=3, frames=4, classes=(0, 14)):
    seed = 0
    for c in classes:
        folder = root / f"Final_Training/Images/{c:05d}"
        lines = [("Filename", "Width", "ClassId")]
        for track in range(tracks):
            for frame in range(frames):
                name = f"{track:05d}_{frame:05d}.ppm"
                write(folder / name, png(seed))
                seed += 1
                lines.append((name, 10, c))
        table(folder / f"GT-{c:05d}.csv", lines, ";")
    lines = [("Filename", "Width", "ClassId")]
    for i in range(4):
        write(root / f"Final_Test/Images/{i:05d}.ppm", png(1000 + i))
        lines.append((f"{i:05d}.ppm", 10, classes[i % 2]))
    table(root / "GT-final_test.csv", lines, ";")
    return root


def test_gtsrb_in_its_official_folders(tmp_path):
    dataset = open_dataset(write_gtsrb(tmp_path / "gtsrb"))
    assert dataset.kind == "gtsrb"
    assert dataset.classes == ("00000", "00014")
    assert dataset.counts() == {
        "train": {"00000": 12, "00014": 12},
        "test": {"00000": 2, "00014": 2},
    }
    assert {s.group for s in dataset.samples if s.split == "train"} == {
        f"{c}/{t:05d}" for c in dataset.classes for t in range(3)
    }


def test_tracks_never_cross_a_split_of_ours(tmp_path):
    root = write_gtsrb(tmp_path / "gtsrb", tracks=30, frames=3)
    shutil.rmtree(root / "Final_Test")
    dataset = open_dataset(root)
    sides = {}
    for sample in dataset.samples:
        sides.setdefault(sample.group, set()).add(sample.split)
    assert set(dataset.counts()) == {"train", "test"}
    assert all(len(side) == 1 for side in sides.values())


def test_gtsrb_without_the_truth_of_its_test_pictures(tmp_path):
    root = write_gtsrb(tmp_path / "gtsrb")
    (root / "GT-final_test.csv").unlink()
    assert "no GT-final_test.csv" in notes(open_dataset(root))


def test_gtsrb_of_the_real_pictures(shared_data):
    dataset = open_dataset(shared_data / "gtsrb")
    sizes = {s: sum(n.values()) for s, n in dataset.counts().items()}
    assert (sizes, len(dataset.classes)) == ({"train": 1935, "test": 860}, 43)
    assert len({s.group for s in dataset.samples} - {None}) == 43 * 3


# Archives


def test_a_compressed_tar_is_read_too(tmp_path):
    folder = class_folder(tmp_path / "set")
    wanted = open_dataset(folder).fingerprint
    for name, mode in (("a.tar.gz", "w:gz"), ("b.tar.xz", "w:xz"), ("c.tgz", "w:gz")):
        dataset = open_dataset(as_tar(folder, tmp_path / name, mode))
        assert (dataset.kind, dataset.fingerprint) == ("tar", wanted)
    assert open_dataset(tmp_path / "a.tar.gz").name == "a"


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


def test_every_source_decodes(tmp_path):
    folder = class_folder(tmp_path / "set")
    for make in (as_csv, as_zip, as_tar, as_webdataset, as_parquet):
        dataset = open_dataset(make(folder, tmp_path / make.__name__))
        assert all(decode(dataset.read(s), 8).shape == (8, 8, 3) for s in dataset.samples)


def as_npz(folder, path):
    with path.open("wb") as file:  # a path would get the suffix .npz
        np.savez(file, x=pictures_of(4), y=np.arange(4))
    return path


def as_hdf5(folder, path):
    h5py = pytest.importorskip("h5py")
    with h5py.File(path, "w") as file:
        file.create_dataset("x", data=pictures_of(4), chunks=(2, 12, 10, 3), compression="gzip")
        file["y"] = np.arange(4)
    return path


MAKERS = [as_csv, as_zip, as_tar, as_webdataset, as_parquet, as_npz, as_hdf5]


@pytest.mark.parametrize("make", MAKERS)
def test_a_damaged_file_of_any_kind_is_a_sentence_or_a_skip(tmp_path, make):
    path = make(class_folder(tmp_path / "set"), tmp_path / "other")
    whole = path.read_bytes()

    @settings(max_examples=40, deadline=None)
    @given(
        st.lists(st.tuples(st.integers(-400, 400), st.integers(0, 255)), min_size=1, max_size=5),
        st.none() | st.integers(0, len(whole)),
    )
    def damage(changes, end):
        data = bytearray(whole)
        for at, new in changes:
            data[at % len(data)] = new
        path.write_bytes(data[:end])
        try:
            dataset = open_dataset(path)
        except DataError as error:
            sentence = str(error)
            assert "\n" not in sentence
            return
        for sample in dataset.samples:
            with contextlib.suppress(OSError, UndecodableImage):
                decode(dataset.read(sample), 8)

    damage()
