"""Random changes to the training pictures, as a table over Keras' own layers.

Each picture is changed in its own way; Keras' layers that draw once a batch are not used. Each
batch brings its own seed, a function of the run's seed, the epoch and the batch's place: so a
run that was broken off and resumed sees the very pictures that it would have seen, and the work
can be done ahead of the training steps.
"""

from collections.abc import Callable, Mapping, Sequence
from functools import cache
from types import MappingProxyType
from typing import Any, Final

from tlfeat.errors import TlfeatError
from tlfeat.finetuning.choices import Choice, Row, Setting, read_choice

_FILL: Final = Setting("reflect", words=("reflect", "constant", "wrap", "nearest"))
MIXERS: Final = ("mixup", "cutmix")  # they mix pictures of a batch, labels too


def _flip(layers: Any, size: int, *, mode: str) -> list[Any]:
    return [layers.RandomFlip(mode)]


def _crop(layers: Any, size: int, *, height: int | None, width: int | None) -> list[Any]:
    from tlfeat.finetuning.picturewise import PictureCrop

    rows, columns = height or round(size * 1.15), width or round(size * 1.15)
    return [layers.Resizing(rows, columns, "bicubic"), PictureCrop(size)]


def _rotation(layers: Any, size: int, *, factor: float, fill_mode: str) -> list[Any]:
    return [layers.RandomRotation(factor, fill_mode=fill_mode)]


def _zoom(layers: Any, size: int, *, factor: float, fill_mode: str) -> list[Any]:
    return [layers.RandomZoom(factor, fill_mode=fill_mode)]


def _translation(
    layers: Any, size: int, *, height: float, width: float, fill_mode: str
) -> list[Any]:
    return [layers.RandomTranslation(height, width, fill_mode=fill_mode)]


def _contrast(layers: Any, size: int, *, factor: float) -> list[Any]:
    return [layers.RandomContrast(factor, value_range=(0, 255))]


def _randaugment(layers: Any, size: int, *, num_ops: int, factor: float) -> list[Any]:
    from tlfeat.finetuning.picturewise import PictureRandAugment

    return [PictureRandAugment(num_ops, factor)]


def _mixup(layers: Any, size: int, *, alpha: float) -> list[Any]:
    return [layers.MixUp(alpha)]


def _cutmix(layers: Any, size: int, *, factor: float) -> list[Any]:
    return [layers.CutMix(factor)]


_ROWS: Final = (
    Row(
        "flip",
        "mirror half of the pictures",
        {
            "mode": Setting(
                "horizontal", words=("horizontal", "vertical", "horizontal_and_vertical")
            )
        },
        _flip,
    ),
    Row(
        "crop",
        "enlarge to height x width (15% more), then cut the size trained on out of each, anywhere",
        {"height": Setting(None, 1, whole=True), "width": Setting(None, 1, whole=True)},
        _crop,
        method=2,  # before, one place for all pictures of a batch
    ),
    Row(
        "rotation",
        "turn by up to factor of a full turn either way",
        {"factor": Setting(0.04, 0, 0.5), "fill_mode": _FILL},
        _rotation,
    ),
    Row(
        "zoom",
        "shrink or enlarge by up to factor",
        {"factor": Setting(0.15, 0, 0.9), "fill_mode": _FILL},
        _zoom,
    ),
    Row(
        "translation",
        "move by up to this share of the height and the width",
        {"height": Setting(0.1, 0, 1), "width": Setting(0.1, 0, 1), "fill_mode": _FILL},
        _translation,
    ),
    Row(
        "contrast", "stronger or weaker by up to factor", {"factor": Setting(0.2, 0, 1)}, _contrast
    ),
    Row(
        "randaugment",
        "num_ops random changes of a list of eleven to each, of a strength of up to factor",
        {"num_ops": Setting(2, 1, 5), "factor": Setting(0.5, 0, 1)},
        _randaugment,
        method=2,  # before, the same operations for all pictures of a batch
    ),
    Row(
        "mixup",
        "blend each picture with another of the batch, and their labels",
        {"alpha": Setting(0.2, 0.001)},
        _mixup,
    ),
    Row(
        "cutmix",
        "paste a rectangle of another picture of the batch, and mix the labels by area",
        {"factor": Setting(1.0, 0.001, 1)},
        _cutmix,
    ),
)
AUGMENTATIONS: Final[Mapping[str, Row]] = MappingProxyType({row.name: row for row in _ROWS})


def check_crops(choices: Sequence[Choice], size: int) -> None:
    """Refuse to cut pictures out of smaller ones.

    Raises
    ------
    TlfeatError
        If a crop's height or width is below `size`.
    """
    for choice in choices:
        if choice.name != "crop":
            continue
        height, width = (choice.settings[side] or size for side in ("height", "width"))
        if min(height, width) < size:
            raise TlfeatError(
                f"Augmentation crop: pictures of {size} pixels cannot be cut from "
                f"{height}x{width}; height and width must be at least {size}."
            )


def build_augmentation(
    choices: Sequence[Choice], size: int
) -> Callable[[Any, Any, Any], tuple[Any, Any]] | None:
    """Build the changes that training pictures go through, in order.

    Parameters
    ----------
    choices : sequence of Choice
        From `AUGMENTATIONS`.
    size : int
        Side of the pictures in pixels; it stays the same.

    Returns
    -------
    augment : callable or None
        From pixels (n, size, size, 3), one-hot labels (n, k) and a seed (2,) of int32 to float
        pixels of the same shape, within 0 to 255, and labels. For use in `tf.data`. None where
        there is nothing to do.
    """
    if not choices:
        return None
    check_crops(choices, size)
    import keras
    import tensorflow as tf

    from tlfeat.backbones.keras_runtime import dtype_policy

    seeds = _batch_seeds_class()()
    with dtype_policy(keras, "float32"):
        steps = [
            (choice.name in MIXERS, layer)
            for choice in choices
            for layer in AUGMENTATIONS[choice.name].build(keras.layers, size, **choice.settings)
        ]
    for _, layer in steps:
        for part in layer._flatten_layers(include_self=True, recursive=True):
            if hasattr(part, "generator"):
                part.generator = seeds

    def augment(pixels: Any, labels: Any, seed: Any) -> tuple[Any, Any]:
        seeds.begin(seed)
        pixels = tf.cast(pixels, tf.float32)
        for mixes_labels, layer in steps:
            if mixes_labels:
                mixed = layer({"images": pixels, "labels": labels}, training=True)
                pixels, labels = mixed["images"], mixed["labels"]
            else:
                pixels = layer(pixels, training=True)
        pixels = tf.ensure_shape(tf.clip_by_value(pixels, 0.0, 255.0), (None, size, size, 3))
        return pixels, tf.cast(labels, tf.float32)

    # traced once, not once an epoch
    traced: Callable[[Any, Any, Any], tuple[Any, Any]] = tf.function(
        augment, reduce_retracing=True
    )
    return traced


@cache
def _batch_seeds_class() -> Any:
    import keras
    import tensorflow as tf

    class BatchSeeds(keras.random.SeedGenerator):  # type: ignore[misc]
        """Numbers drawn from the seed that came with the batch, none from a state."""

        def begin(self, seed: Any) -> None:
            self._seed, self._drawn = seed, 0

        def next(self, ordered: bool = True) -> Any:
            self._drawn += 1
            drawn = tf.stack([self._seed[0], self._seed[1] * 4096 + self._drawn])
            return tf.cast(drawn, self.state.dtype)

    return BatchSeeds


def read_augmentations(given: Sequence[Any]) -> tuple[Choice, ...]:
    """Read a list of augmentations."""
    return tuple(read_choice(one, AUGMENTATIONS, "augmentation") for one in given)
