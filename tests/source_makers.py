"""One folder of pictures as a file of every kind."""

import csv
import io
import tarfile
import zipfile

import numpy as np
from pictures import noise


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
    import pyarrow as pa
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


def pictures_of(n, seed=0, **size):
    return np.stack([noise(seed + i, **size) for i in range(n)])


def as_npz(folder, path):
    with path.open("wb") as file:  # a path would get the suffix .npz
        np.savez(file, x=pictures_of(4), y=np.arange(4))
    return path


def as_hdf5(folder, path):
    import h5py

    with h5py.File(path, "w") as file:
        file.create_dataset("x", data=pictures_of(4), chunks=(2, 12, 10, 3), compression="gzip")
        file["y"] = np.arange(4)
    return path
