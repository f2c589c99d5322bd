"""Draw what a model will see: some training pictures, plain and changed."""

from collections.abc import Sequence
from pathlib import Path
from typing import Final

import numpy as np

from tlfeat.backbones.keras_runtime import import_keras
from tlfeat.data.dataset import Dataset, as_dataset
from tlfeat.data.decode import UndecodableImage, decode
from tlfeat.data.resize import Resize
from tlfeat.errors import DataError
from tlfeat.finetuning.augment import build_augmentation, read_augmentations
from tlfeat.settings import several
from tlfeat.where import Where

_COLUMNS: Final = 8  # pictures
_ROWS: Final = 5  # the plain one first
_GAP: Final = 4  # pixels


def draw_augmented(
    dataset: Dataset | str | Path,
    augment: Sequence[object] | str,
    size: int,
    path: str | Path,
    *,
    resize: Resize | None = None,
    seed: int = 0,
) -> Path:
    """Draw training pictures as the model will see them.

    Parameters
    ----------
    dataset : Dataset, str or Path
        What `open_dataset` gives, or takes.
    augment : str or sequence
        As in `finetune`.
    size : int
        Side in pixels.
    path : str or Path
        The picture to write: a column a picture, the plain one on top, and below it as it
        comes in four epochs.
    resize : Resize, optional
    seed : int
        As in `finetune`.

    Returns
    -------
    path : Path

    Raises
    ------
    DataError
        If no training picture can be decoded.

    Examples
    --------
    >>> tlfeat.draw_augmented("garments", ["flip", "crop"], 96, "seen.png")  # doctest: +SKIP
    """
    from PIL import Image

    choices = read_augmentations(several(augment))
    dataset = as_dataset(dataset, Where())
    import_keras()
    wanted = [s for s in dataset.samples if s.label is not None and s.split == "train"]
    order = np.random.default_rng(seed).permutation(len(wanted))
    squares, labels = [], []
    for row in order:
        sample = wanted[row]
        try:
            squares.append(decode(dataset.read(sample), size, resize or Resize()))
        except (OSError, UndecodableImage):
            continue
        labels.append(sample.label)
        if len(squares) == _COLUMNS:
            break
    if not squares:
        raise DataError(f"{dataset.path} has no training picture that can be decoded.")
    pixels = np.stack(squares)
    one_hot = np.eye(len(dataset.classes), dtype=np.float32)[labels]
    change = build_augmentation(choices, size)
    step = size + _GAP
    rows = _ROWS if change is not None else 1
    sheet = np.full((rows * step - _GAP, len(pixels) * step - _GAP, 3), 255, np.uint8)
    for row in range(rows):
        seen = pixels
        if row and change is not None:
            changed, _ = change(pixels, one_hot, np.array([seed, row], np.int32))
            seen = np.rint(changed).astype(np.uint8)
        for column, picture in enumerate(seen):
            top, left = row * step, column * step
            sheet[top : top + size, left : left + size] = picture
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(sheet).save(path)
    return path
