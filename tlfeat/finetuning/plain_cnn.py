"""The plain network that transfer has to beat: ten ReLU layers, trained from nothing.

Eight 3x3 convolutions in four pairs with a pooling after each, and two dense layers. Made for
small pictures, 32x32 above all: the first dense layer grows with the picture.
"""

from typing import Any, Final

from tlfeat.backbones.table import Backbone
from tlfeat.errors import TlfeatError

NAME: Final = "plain-cnn"
SIZE: Final = 32
MIN_SIZE: Final = 16
_PAIRS: Final = (32, 64, 128, 256)
_DENSE: Final = (256, 128)


def check_size(row: Backbone | None, name: str, size: int | None) -> None:
    """Refuse pictures that are too small for a network, which is in no table where `row` is None.

    Raises
    ------
    TlfeatError
        Naming the least.
    """
    least = row.min_size if row else MIN_SIZE
    if size is not None and size < least:
        raise TlfeatError(f"size must be {least} or more for {name}. Got {size} instead.")


def build_plain_cnn(size: int, seed: int) -> Any:
    """Build it without its last layer.

    Parameters
    ----------
    size : int
        Side of the pictures in pixels.
    seed : int
        Of its weights.

    Returns
    -------
    model : keras.Model
        From pixels scaled to -1 to 1, (n, size, size, 3), to (n, 128).
    """
    import keras
    from keras import layers

    from tlfeat.backbones.keras_runtime import seeded_initialisers

    with seeded_initialisers(seed):
        pixels = x = keras.Input((size, size, 3), name="scaled_pixels")
        for number, filters in enumerate(_PAIRS, 1):
            for part in "ab":
                x = layers.Conv2D(
                    filters,
                    3,
                    padding="same",
                    activation="relu",
                    kernel_initializer="he_normal",
                    name=f"conv{number}{part}",
                )(x)
            x = layers.MaxPooling2D(name=f"pool{number}")(x)
        x = layers.Flatten(name="flatten")(x)
        for number, units in enumerate(_DENSE, 1):
            x = layers.Dense(
                units, activation="relu", kernel_initializer="he_normal", name=f"dense{number}"
            )(x)
    return keras.Model(pixels, x, name="backbone")
