"""Random cuts and RandAugment drawn for each picture: Keras' own layers draw once a batch.

A batch that is cut at one place, or changed by one operation, is one change where there should
be as many as pictures. This imports TensorFlow, so it is imported where it is used.
"""

from typing import Any

import keras
import tensorflow as tf


class PictureCrop(keras.layers.Layer):  # type: ignore[misc]
    """Cut a square of `size` pixels out of each picture, anywhere."""

    def __init__(self, size: int) -> None:
        super().__init__()
        self.size = size
        self.generator = keras.random.SeedGenerator()

    def call(self, pixels: Any) -> Any:
        """Give (n, size, size, 3) of (n, rows, columns, 3)."""
        n = tf.shape(pixels)[0]
        for axis in (1, 2):
            places = pixels.shape[axis] - self.size + 1
            first = keras.random.randint((n, 1), 0, places, seed=self.generator)
            lines = first + tf.range(self.size)  # (n, size)
            pixels = tf.gather(pixels, lines, axis=axis, batch_dims=1)
        return pixels


class PictureRandAugment(keras.layers.Layer):  # type: ignore[misc]
    """Change each picture by `num_ops` operations of Keras' RandAugment, drawn for it.

    An operation computes only those pictures that it was drawn for; Keras' layer computes all
    operations of all pictures and keeps one.

    References
    ----------
    Cubuk et al., RandAugment, NeurIPS 2020; keras/src/layers/preprocessing/image_preprocessing/
    rand_augment.py.
    """

    def __init__(self, num_ops: int, factor: float) -> None:
        super().__init__()
        self.num_ops = num_ops
        self.generator = keras.random.SeedGenerator()
        batchwise = keras.layers.RandAugment(value_range=(0, 255), factor=factor)
        self.operations = list(batchwise._flatten_layers(include_self=False, recursive=False))

    def call(self, pixels: Any) -> Any:
        """Give pictures of the same shape."""
        n, k = tf.shape(pixels)[0], len(self.operations)
        for _ in range(self.num_ops):
            drawn = keras.random.randint((n,), 0, k, seed=self.generator)
            places = tf.dynamic_partition(tf.range(n), drawn, k)
            parts = tf.dynamic_partition(pixels, drawn, k)
            pairs = zip(self.operations, parts, strict=True)
            pixels = tf.dynamic_stitch(places, [_apply(one, part) for one, part in pairs])
        return pixels


def _apply(operation: Any, pixels: Any) -> Any:
    if isinstance(operation, keras.layers.Equalization):  # it counts over all that it is given
        return tf.map_fn(operation, pixels)
    return operation(pixels, training=True)
