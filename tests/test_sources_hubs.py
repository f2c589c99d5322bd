"""TFDS and Hugging Face: sets that the test writes with those libraries, or as they write them."""

import json
import os
import struct
import subprocess
import sys

import pytest
from pictures import noise, png, write

from tlfeat.data.dataset import open_dataset
from tlfeat.data.digests import DigestIndex
from tlfeat.errors import DataError

# TFDS


def message(number, body):
    """One length-delimited field of a protobuf message."""
    return bytes([number << 3 | 2]) + varint(len(body)) + body


def varint(number):
    out = bytearray()
    while number > 0x7F:
        out.append(number & 0x7F | 0x80)
        number >>= 7
    return bytes([*out, number])


def example(picture, label):
    features = [(b"image", message(1, message(1, picture)))]
    packed = varint(label & 2**64 - 1)
    features.append((b"label", message(3, message(1, packed))))
    features.append((b"name", message(1, message(1, b"x"))))
    entries = [message(1, message(1, key) + message(2, value)) for key, value in features]
    return message(1, b"".join(entries))


def write_tfds(root, splits):
    folder = root / "birds/1.0.0"
    kinds = "tensorflow_datasets.core.features"
    features = {
        "image": {"pythonClassName": f"{kinds}.image_feature.Image"},
        "label": {"pythonClassName": f"{kinds}.class_label_feature.ClassLabel"},
        "name": {"pythonClassName": f"{kinds}.text_feature.Text"},
    }
    write(folder / "features.json", json.dumps({"featuresDict": {"features": features}}).encode())
    info = {"name": "birds", "fileFormat": "tfrecord", "splits": [{"name": s} for s in splits]}
    write(folder / "dataset_info.json", json.dumps(info).encode())
    write(folder / "label.labels.txt", b"owl\ntit\n")
    for split, records in splits.items():
        shards = records[::2], records[1::2]
        for k, shard in enumerate(shards):
            data = b"".join(
                struct.pack("<QI", len(body := example(*r)), 0) + body + b"\0\0\0\0" for r in shard
            )
            write(folder / f"birds-{split}.tfrecord-{k:05d}-of-00002", data)
    return folder


def some(n, seed):
    return [(png(seed + i), i % 2) for i in range(n)]


def test_a_prepared_tfds_set_is_read_in_place(tmp_path, monkeypatch):
    write_tfds(tmp_path, {"train": [*some(6, 0), (png(90), -1)], "test": some(4, 50)})
    monkeypatch.setenv("TFDS_DATA_DIR", str(tmp_path))
    dataset = open_dataset("tfds:birds")
    assert (dataset.kind, dataset.name) == ("tfds", "birds")
    assert dataset.classes == ("owl", "tit")
    assert dataset.counts() == {"train": {"owl": 3, "tit": 3}, "test": {"owl": 2, "tit": 2}}
    assert dataset.unlabelled == 1
    stored = {dataset.read(s) for s in dataset.samples if s.split == "test"}
    assert stored == {png(50 + i) for i in range(4)}


def test_a_prepared_tfds_set_needs_neither_tensorflow_nor_tfds(tmp_path):
    folder = write_tfds(tmp_path, {"train": some(6, 0), "test": some(4, 50)})
    code = (
        "import sys; from tlfeat.data.dataset import open_dataset; open_dataset(sys.argv[1]); "
        "print([m for m in sys.modules if m in ('tensorflow', 'tensorflow_datasets')])"
    )
    done = subprocess.run([sys.executable, "-c", code, folder], capture_output=True, text=True)
    assert (done.stdout, done.stderr) == ("[]\n", "")


def test_a_warm_open_of_a_tfds_set_reads_no_picture_again(tmp_path):
    folder = write_tfds(tmp_path, {"train": some(6, 0), "test": some(4, 50)})
    open_dataset(folder, digests=DigestIndex(tmp_path / "cache"))
    index = DigestIndex(tmp_path / "cache")
    open_dataset(folder, digests=index)
    assert index.hashed == 0


@pytest.mark.parametrize("damage", ["cut", "rubbish"])
def test_damaged_records_are_one_sentence(tmp_path, damage):
    folder = write_tfds(tmp_path, {"train": some(6, 0)})
    shard = next(folder.glob("*.tfrecord*"))
    data = shard.read_bytes()
    shard.write_bytes(data[:-20] if damage == "cut" else data[:12] + b"\xff" * (len(data) - 12))
    with pytest.raises(DataError, match=r"ends within a record|no tf.train.Example"):
        open_dataset(folder)


def test_a_tfds_set_that_is_not_here_names_the_extra(tmp_path, monkeypatch):
    monkeypatch.setenv("TFDS_DATA_DIR", str(tmp_path))
    monkeypatch.setitem(sys.modules, "tensorflow_datasets", None)
    with pytest.raises(DataError, match=r"tlfeat\[tfds\]"):
        open_dataset("tfds:birds")


def test_what_tfds_itself_writes_is_read(tmp_path):
    pytest.importorskip("tensorflow_datasets", reason="the extra tfds is not installed")
    script = write(
        tmp_path / "prepare.py",
        b"""
import sys
import numpy as np
import tensorflow_datasets as tfds

class Birds(tfds.core.GeneratorBasedBuilder):
    VERSION = tfds.core.Version("1.0.0")
    def _info(self):
        return tfds.core.DatasetInfo(builder=self, features=tfds.features.FeaturesDict({
            "image": tfds.features.Image(shape=(None, None, 3), encoding_format="png"),
            "label": tfds.features.ClassLabel(names=["tit", "owl"])}))
    def _split_generators(self, manager):
        return {"train": self._generate_examples(0), "test": self._generate_examples(100)}
    def _generate_examples(self, seed):
        for i in range(6):
            rng = np.random.default_rng(seed + i)
            picture = rng.integers(0, 256, (12, 10, 3), dtype=np.uint8)
            yield i, {"image": picture, "label": i % 2}

Birds(data_dir=sys.argv[1]).download_and_prepare()
""",
    )
    environment = os.environ | {"TF_CPP_MIN_LOG_LEVEL": "3", "NO_GCE_CHECK": "true"}
    done = subprocess.run(
        [sys.executable, script, tmp_path / "data"],
        capture_output=True,
        text=True,
        env=environment,
    )
    assert done.returncode == 0, done.stderr
    from tlfeat.data.decode import decode

    dataset = open_dataset(tmp_path / "data/birds/1.0.0")
    assert dataset.classes == ("tit", "owl")
    assert dataset.counts() == {s: {"tit": 3, "owl": 3} for s in ("train", "test")}
    got = {decode(dataset.read(s), 12).tobytes() for s in dataset.samples if s.split == "train"}
    assert got == {decode(noise(i), 12).tobytes() for i in range(6)}


# Hugging Face


@pytest.fixture(scope="module")
def hf():
    return pytest.importorskip("datasets", reason="the extra hf is not installed")


def hf_part(hf, n, seed, names=("zebra", "ape")):
    rows = {
        "image": [{"bytes": png(seed + i), "path": None} for i in range(n)],
        "label": [i % 2 for i in range(n)],
    }
    features = hf.Features({"image": hf.Image(), "label": hf.ClassLabel(names=list(names))})
    return hf.Dataset.from_dict(rows, features=features)


@pytest.mark.parametrize("prefix", ["", "hf:"])
def test_a_hugging_face_set_saved_to_disk(tmp_path, hf, prefix):
    parts = {"train": hf_part(hf, 6, 0), "test": hf_part(hf, 4, 50)}
    hf.DatasetDict(parts).save_to_disk(tmp_path / "birds")
    dataset = open_dataset(f"{prefix}{tmp_path}/birds")
    assert (dataset.kind, dataset.name) == ("hf", "birds")
    assert dataset.classes == ("zebra", "ape")
    assert dataset.counts() == {"train": {"zebra": 3, "ape": 3}, "test": {"zebra": 2, "ape": 2}}
    assert [dataset.read(s) for s in dataset.samples[:3]] == [png(i) for i in range(3)]


def test_a_hugging_face_set_without_splits(tmp_path, hf):
    hf_part(hf, 40, 0).save_to_disk(tmp_path / "birds")
    dataset = open_dataset(tmp_path / "birds")
    assert set(dataset.counts()) == {"train", "test"}


def test_a_hugging_face_set_is_loaded_by_name(tmp_path, hf, monkeypatch):
    """By the library's own loader; the name is a folder, since a test opens no connection."""
    for c in ("owl", "tit"):
        for i in range(3):
            write(tmp_path / f"birds/train/{c}/{i}.png", png(ord(c[0]) * 10 + i))
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    loaded = hf.load_dataset(
        "imagefolder", data_dir=str(tmp_path / "birds"), cache_dir=str(tmp_path / "hf")
    )
    monkeypatch.setattr(
        hf, "load_dataset", lambda name, config: {("me/birds", "v2"): loaded}[name, config]
    )
    dataset = open_dataset("hf:me/birds:v2")
    folder = open_dataset(tmp_path / "birds")
    assert dataset.classes == ("owl", "tit")
    assert {s.digest for s in dataset.samples} == {s.digest for s in folder.samples}


def test_a_warm_open_of_a_hugging_face_set_reads_no_picture(tmp_path, hf):
    hf_part(hf, 6, 0).save_to_disk(tmp_path / "birds")
    for path in (tmp_path / "birds").iterdir():
        os.utime(path, (1_600_000_000,) * 2)
    open_dataset(tmp_path / "birds", digests=DigestIndex(tmp_path / "cache"))
    index = DigestIndex(tmp_path / "cache")
    open_dataset(tmp_path / "birds", digests=index)
    assert index.hashed == 0


def test_hugging_face_columns_are_found_by_type_or_named(tmp_path, hf):
    part = hf_part(hf, 4, 0).rename_columns({"image": "photo", "label": "fine"})
    two = part.add_column("coarse", [0, 1, 0, 1]).cast_column(
        "coarse", hf.ClassLabel(names=["x", "y"])
    )
    two.save_to_disk(tmp_path / "two")
    with pytest.raises(DataError, match="several columns of labels: fine, coarse"):
        open_dataset(tmp_path / "two")
    assert open_dataset(tmp_path / "two", columns={"label": "coarse"}).classes == ("x", "y")
    with pytest.raises(DataError, match=r"no column 'corse'.*Did you mean"):
        open_dataset(tmp_path / "two", columns={"label": "corse"})


def test_a_hub_that_cannot_be_reached_is_one_sentence(hf, monkeypatch):
    def fail(*_):
        raise ConnectionError("no route\nto host")

    monkeypatch.setattr(hf, "load_dataset", fail)
    with pytest.raises(DataError, match="cannot load 'me/birds': no route to host"):
        open_dataset("hf:me/birds")


def test_without_the_library_the_extra_is_named(monkeypatch):
    monkeypatch.setitem(sys.modules, "datasets", None)
    with pytest.raises(DataError, match=r"tlfeat\[hf\]"):
        open_dataset("hf:me/birds")
