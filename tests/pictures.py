"""Small pictures that tests make, since the repository holds none."""

import io
import os
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from PIL import Image

COLOURS = {"blue": (40, 60, 200), "green": (50, 180, 70), "red": (200, 40, 50)}
OLD = 1_600_000_000  # a time of change long ago: digests of files this old are trusted


def noise(seed: int, height: int = 12, width: int = 10, bands: int = 3) -> npt.NDArray[np.uint8]:
    shape = (height, width) if bands == 1 else (height, width, bands)
    return np.random.default_rng(seed).integers(0, 256, shape, dtype=np.uint8)


def scene(width: int = 64, height: int = 48) -> npt.NDArray[np.uint8]:
    """Smooth colours, different in each corner: survives JPEG and shows every turn."""
    x, y = np.meshgrid(np.linspace(0, 1, width), np.linspace(0, 1, height))
    return np.stack([40 + 180 * x, 40 + 180 * y, 220 - 150 * x * y], axis=2).astype(np.uint8)


def encode(picture: npt.NDArray[np.uint8] | Image.Image, kind: str = "PNG", **how: Any) -> bytes:
    image = picture if isinstance(picture, Image.Image) else Image.fromarray(picture)
    file = io.BytesIO()
    image.save(file, kind, **how)
    return file.getvalue()


def png(seed: int, **size: int) -> bytes:
    return encode(noise(seed, **size))


def write(path: Path, data: bytes, *, old: bool = True) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(data)
    if old:
        os.utime(path, (OLD, OLD))
    return path


def write_folder(root: Path, names: Iterable[str], *, first_seed: int = 0) -> Path:
    """Write a different PNG under each name."""
    for seed, name in enumerate(names, first_seed):
        write(root / name, png(seed))
    return root


def colour_folders(folder: Path, per_class: int = 12, seed: int = 0, side: int = 40) -> Path:
    """Fill three class folders with coloured, noisy pictures, which a head tells apart."""
    for name, colour in COLOURS.items():
        (folder / name).mkdir(parents=True, exist_ok=True)
        for number in range(per_class):
            random = np.random.default_rng([seed, number, *colour])
            noisy = np.array(colour) + random.normal(0, 40, (side, side + 8, 3))
            picture = np.clip(noisy, 0, 255).astype(np.uint8)
            write(folder / name / f"{name}-{number:03}.png", encode(picture))
    return folder


def class_folder(root: Path, classes: str = "ab", each: int = 3, split: str = "") -> Path:
    names = [f"{c}/{i}.png" for c in classes for i in range(each)]
    first_seed = sum(map(ord, split)) * 1000
    return write_folder(
        root, (f"{split}/{n}" if split else n for n in names), first_seed=first_seed
    )
