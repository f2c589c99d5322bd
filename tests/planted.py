"""Sets with something wrong in them, by a seed: copies across splits, swapped labels, films."""

import random
import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
from PIL import Image, ImageDraw, ImageFilter

EXACT, QUALITY, CUT = "exact", "quality", "cut"


class Copy(NamedTuple):
    """A picture of train and its copy in test, relative to the set."""

    kind: str
    train: str
    test: str


def plant_copies(
    root: Path, seed: int = 0, *, exact: int = 20, quality: int = 10, cut: int = 10
) -> list[Copy]:
    """Put copies of train pictures into the test folders: as they are, re-encoded, cut by 3%."""
    draw = random.Random(seed)
    train = sorted(path for path in (root / "train").rglob("*") if path.is_file())
    kinds = [EXACT] * exact + [QUALITY] * quality + [CUT] * cut
    planted = []
    for number, (kind, path) in enumerate(zip(kinds, draw.sample(train, len(kinds)), strict=True)):
        copy = root / "test" / path.parent.name / f"planted{number:02}.jpg"
        copy.parent.mkdir(parents=True, exist_ok=True)
        if kind == EXACT:
            shutil.copy(path, copy)
        else:
            image = Image.open(path).convert("RGB")
            if kind == CUT:
                image = _cut(image, draw)
            image.save(copy, quality=90 if kind == CUT else draw.randint(30, 90))
        planted.append(Copy(kind, str(path.relative_to(root)), str(copy.relative_to(root))))
    return planted


def _cut(image: Image.Image, draw: random.Random) -> Image.Image:
    width, height = image.size
    left, top = draw.uniform(0, 0.03) * width, draw.uniform(0, 0.03) * height
    box = tuple(map(int, (left, top, left + 0.97 * width, top + 0.97 * height)))
    part, scale = image.crop(box), draw.uniform(0.6, 1.4)
    return part.resize(
        (int(part.width * scale), int(part.height * scale)), Image.Resampling.BICUBIC
    )


def swap_labels(root: Path, n: int, seed: int = 0) -> list[str]:
    """Move pictures into folders of other classes; give where they are now."""
    draw = random.Random(seed)
    paths = sorted(path for path in root.rglob("*") if path.is_file() and path.parent != root)
    classes = sorted({path.parent.name for path in paths})
    moved = []
    for path in draw.sample(paths, n):
        wrong = draw.choice([name for name in classes if name != path.parent.name])
        to = path.parent.parent / wrong / f"swapped-{path.name}"
        to.parent.mkdir(parents=True, exist_ok=True)
        path.rename(to)
        moved.append(str(to.relative_to(root)))
    return moved


def photograph(seed: int, side: int = 96) -> Image.Image:
    """Draw something that is like no other: blobs of colour on a background, lit and blurred."""
    draw = random.Random(seed)
    image = Image.new("RGB", (side, side), tuple(draw.randint(0, 255) for _ in range(3)))
    pen = ImageDraw.Draw(image)
    for _ in range(14):
        x, y = draw.uniform(0, side), draw.uniform(0, side)
        w, h = draw.uniform(4, side / 2), draw.uniform(4, side / 2)
        colour = tuple(draw.randint(0, 255) for _ in range(3))
        shape = pen.ellipse if draw.random() < 0.5 else pen.rectangle
        shape((x - w / 2, y - h / 2, x + w / 2, y + h / 2), fill=colour)
    return image.filter(ImageFilter.GaussianBlur(0.8))


def film(seed: int, frames: int, mark: int) -> list[Image.Image]:
    """Draw the frames of one film: a camera that nears a sign before a background of its own.

    `mark` says which sign: it is all that films of one class share.
    """
    draw = random.Random(seed)
    scenery = photograph(seed, 160)
    light = draw.uniform(0.4, 1.2)
    x, y = draw.uniform(60, 100), draw.uniform(60, 100)
    pictures = []
    for number in range(frames):
        half = 46 - 2.4 * number + draw.uniform(-0.6, 0.6)
        view = scenery.crop((int(x - half), int(y - half), int(x + half), int(y + half)))
        view = view.resize((64, 64), Image.Resampling.BICUBIC)
        reach = 12 + 1.1 * number
        box = (32 - reach, 32 - reach, 32 + reach, 32 + reach)
        pen = ImageDraw.Draw(view)
        pen.ellipse(box, fill="white", outline=(200, 20, 20), width=3)
        pen.text((32, 32), "ABCDEFGH"[mark], fill="black", anchor="mm", font_size=int(reach))
        lit = np.asarray(view, dtype=np.float32) * light * draw.uniform(0.96, 1.04)
        pictures.append(Image.fromarray(np.clip(lit, 0, 255).astype(np.uint8)))
    return pictures


def write_films(root: Path, classes: int = 4, films: int = 3, frames: int = 8) -> dict[str, int]:
    """Write films into class folders whose names tell nothing; give the film of each picture."""
    film_of = {}
    for mark in range(classes):
        for number in range(films):
            seed = 100 * mark + number
            for frame, picture in enumerate(film(seed, frames, mark)):
                name = f"{random.Random(1000 * seed + frame).getrandbits(40):010x}.png"
                path = root / "ABCDEFGH"[mark] / name
                path.parent.mkdir(parents=True, exist_ok=True)
                picture.save(path)
                film_of[f"{path.parent.name}/{name}"] = seed
    return film_of


def photograph_folders(root: Path, train: int, test: int) -> Path:
    """Fill three class folders of two splits with photographs of their own."""
    splits = (("train", train), ("test", test))
    names = [f"{s}/{c}/{i}.jpg" for s, each in splits for c in "abc" for i in range(each)]
    write_photographs(root, names)
    return root


def write_photographs(root: Path, names: Sequence[str], first_seed: int = 0) -> None:
    """Write a photograph of its own under each name, as JPEG."""
    for seed, name in enumerate(names, first_seed):
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        photograph(seed).save(path, quality=92)
