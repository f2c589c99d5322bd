"""Sources: what each kind expects, and that one picture is one picture wherever it lies."""

import contextlib
import json
import os
import shutil

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pictures import class_folder, png, write, write_folder
from source_makers import (
    as_csv,
    as_hdf5,
    as_npz,
    as_parquet,
    as_tar,
    as_webdataset,
    as_zip,
    table,
)

from tlfeat.data.check import conflicts
from tlfeat.data.dataset import open_dataset
from tlfeat.data.decode import UndecodableImage, decode
from tlfeat.data.digests import DigestIndex
from tlfeat.data.sources import spool
from tlfeat.errors import DataError


def notes(dataset):
    return "\n".join(dataset.notes)


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
    assert len(conflicts(dataset.samples)) == 1


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
    import pyarrow as pa
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


def test_a_parquet_file_of_far_more_rows_than_bytes_is_refused(tmp_path, monkeypatch):
    monkeypatch.setattr(spool, "FREE_BYTES", 2**20)
    table = pa.table({"image": [png(1)] * 50_000, "label": ["a"] * 50_000})
    pq.write_table(table, tmp_path / "a.parquet")
    with pytest.raises(DataError, match="unpacks to more than"):
        open_dataset(tmp_path / "a.parquet")


def test_parquet_in_a_relative_folder_with_a_colon_is_no_address(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "set-1:2").mkdir()
    table = pa.table({"image": [png(0), png(1)], "label": ["a", "b"]})
    pq.write_table(table, tmp_path / "set-1:2" / "t.parquet")
    assert len(open_dataset("set-1:2/t.parquet")) == 2


def test_parquet_without_pictures_says_so(tmp_path):
    import pyarrow as pa
    import pyarrow.parquet as pq

    pq.write_table(pa.table({"a": [1]}), tmp_path / "t.parquet")
    with pytest.raises(DataError, match="no column of bytes; its columns are a"):
        open_dataset(tmp_path / "t.parquet")


def test_an_empty_cell_is_skipped(tmp_path):
    import pyarrow as pa
    import pyarrow.parquet as pq

    pq.write_table(
        pa.table({"image": [png(0), None, b""], "label": ["a", "b", "b"]}), tmp_path / "t.parquet"
    )
    dataset = open_dataset(tmp_path / "t.parquet")
    assert [s.reason for s in dataset.skipped] == [
        "cannot be read: empty cell",
        "cannot be read: zero bytes",
    ]


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


def test_every_source_decodes(tmp_path):
    folder = class_folder(tmp_path / "set")
    for make in (as_csv, as_zip, as_tar, as_webdataset, as_parquet):
        dataset = open_dataset(make(folder, tmp_path / make.__name__))
        assert all(decode(dataset.read(s), 8).shape == (8, 8, 3) for s in dataset.samples)


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
