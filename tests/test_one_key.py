"""One picture has one key, whichever source it comes from: it is embedded once in all."""

import csv
import io
import tarfile
import zipfile

import h5py
import numpy as np
import pytest
from conftest import SIZE
from PIL import Image

from tlfeat.data.dataset import open_dataset
from tlfeat.data.digests import DigestIndex
from tlfeat.features.extract import embed
from tlfeat.features.settings import FeatureSettings
from tlfeat.where import Where


@pytest.fixture
def embedded(cache):
    """Give a function that embeds a dataset and says how many pictures were new."""

    def count(path):
        dataset = open_dataset(path, digests=DigestIndex(cache))
        request = FeatureSettings("efficientnet-lite0", size=SIZE).resolve()
        done = embed(dataset, [request], Where(cache))
        return len(dataset), done.embedded

    return count


def members(folder):
    return [(str(path.relative_to(folder)), path) for path in sorted(folder.glob("*/*.png"))]


def as_csv(folder, target):
    with target.open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["path", "label"])
        writer.writerows([path, path.parent.name] for _, path in members(folder))


def as_zip(folder, target):
    with zipfile.ZipFile(target, "w") as archive:
        for name, path in members(folder):
            archive.write(path, name)


def as_tar(folder, target):
    with tarfile.open(target, "w") as archive:
        for name, path in members(folder):
            archive.add(path, name)


def as_webdataset(folder, target):
    with tarfile.open(target, "w") as archive:
        for number, (_, path) in enumerate(members(folder)):
            for suffix, data in (("png", path.read_bytes()), ("cls", path.parent.name.encode())):
                member = tarfile.TarInfo(f"{number:06}.{suffix}")
                member.size = len(data)
                archive.addfile(member, io.BytesIO(data))


def test_files_of_a_folder_a_table_and_archives(embedded, make_pictures, tmp_path):
    folder = make_pictures(tmp_path / "folder", per_class=20)
    assert embedded(folder) == (60, 60)
    for name, write in {
        "table.csv": as_csv,
        "pictures.zip": as_zip,
        "pictures.tar": as_tar,
        "shard.tar": as_webdataset,
    }.items():
        write(folder, tmp_path / name)
        assert embedded(tmp_path / name) == (60, 0), name


def test_arrays_of_npz_and_hdf5(embedded, make_pictures, tmp_path):
    folder = make_pictures(tmp_path / "folder", per_class=20)
    pixels = np.stack([np.asarray(Image.open(path)) for _, path in members(folder)])
    labels = np.repeat([0, 1, 2], 20)
    np.savez(tmp_path / "arrays.npz", x_train=pixels, y_train=labels)
    assert embedded(tmp_path / "arrays.npz") == (60, 60)
    pair = tmp_path / "pair"
    pair.mkdir()
    with h5py.File(pair / "level_2_split_train_x.h5", "w") as file:
        file["x"] = pixels
    with h5py.File(pair / "level_2_split_train_y.h5", "w") as file:
        file["y"] = labels.reshape(-1, 1, 1, 1)
    assert embedded(pair) == (60, 0)
