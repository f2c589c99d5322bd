"""Arrays in NPZ and HDF5 files as sources of pictures."""

import threading

import h5py
import numpy as np
import pytest
from pictures import noise
from source_makers import pictures_of

from tlfeat.data.dataset import open_dataset
from tlfeat.data.sources import spool
from tlfeat.errors import DataError


def notes(dataset):
    return "\n".join(dataset.notes)


def write_pairs(folder, n=6, **how):
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


@pytest.mark.parametrize("part", ["x", "y", "rows"])
@pytest.mark.parametrize("kind", ["npz", "h5"])
def test_arrays_that_unpack_to_far_too_much_are_refused(tmp_path, monkeypatch, kind, part):
    monkeypatch.setattr(spool, "FREE_BYTES", 2**20)
    x = np.zeros((10_000, 1, 1) if part == "rows" else (20, 400, 400), np.uint8)
    y = np.zeros(10**7 if part == "y" else len(x), np.uint8)
    if kind == "npz":
        np.savez_compressed(tmp_path / "a.npz", x=x, y=y)
    else:
        with h5py.File(tmp_path / "a.h5", "w") as file:
            file.create_dataset("x", data=x, compression="gzip")
            file.create_dataset("y", data=y, compression="gzip")
    with pytest.raises(DataError, match=r"unpacks to more than .* give it unpacked\.$"):
        open_dataset(tmp_path / f"a.{kind}")


def test_an_hdf5_file_that_claims_what_it_does_not_hold_is_refused(tmp_path):
    with h5py.File(tmp_path / "a.h5", "w") as file:
        file.create_dataset("x", (10**9, 64, 64, 3), np.uint8, chunks=(1, 64, 64, 3))
    with pytest.raises(DataError, match="unpacks to more than"):
        open_dataset(tmp_path / "a.h5")


@pytest.mark.parametrize(
    ("shape", "chunks", "message"),
    [
        ((2, 30_000, 30_000), (1, 100, 100), "a picture has 858 MiB, more than the 512 MiB"),
        ((900, 1000, 1000), (900, 1000, 1000), "in blocks of 858 MiB, more than the 512 MiB"),
    ],
)
def test_pictures_and_blocks_too_large_for_memory_are_refused(
    tmp_path, monkeypatch, shape, chunks, message
):
    monkeypatch.setattr(spool, "FREE_BYTES", 2**40)
    with h5py.File(tmp_path / "a.h5", "w") as file:
        file.create_dataset("x", shape, np.uint8, chunks=chunks)
    with pytest.raises(DataError, match=message):
        open_dataset(tmp_path / "a.h5")


def test_hdf5_is_read_in_blocks_and_from_threads(tmp_path, monkeypatch):
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


def test_the_chunks_of_an_hdf5_array_are_walked_over_once(tmp_path, monkeypatch):
    pixels = np.random.default_rng(0).integers(0, 256, (300, 8, 8, 3), np.uint8)
    with h5py.File(tmp_path / "set.h5", "w") as file:
        file.create_dataset("x", data=pixels, chunks=(1, 8, 8, 3), compression="gzip")
        file["y"] = np.arange(300) % 3
    walks = []
    monkeypatch.setattr(
        "tlfeat.data.sources.hdf5.refuse_bomb", lambda *arguments: walks.append(arguments)
    )
    assert len(open_dataset(tmp_path / "set.h5")) == 300
    assert len(walks) <= 4  # of two arrays, opened twice at the most
