"""Networks with fresh weights, made so that their numbers say something."""

import numpy as np

from tlfeat.backbones.keras_runtime import import_keras
from tlfeat.backbones.scaling import scaling_layers


def scaled_pixels(pictures: np.ndarray, mode: str) -> np.ndarray:
    """Scale pixels as a network does that has this scaling inside."""
    pixels = import_keras().ops.convert_to_tensor(pictures, "float32")
    return np.asarray(scaling_layers(pixels, mode))


def settle_batch_norms(model, pixels: np.ndarray) -> None:
    """Set every batch normalisation from some pixels, so that numbers neither vanish nor explode.

    With fresh weights a deep network gives features of 1e-21, which agree with anything.
    """
    layers = model._flatten_layers(include_self=False, recursive=True)
    norms = [layer for layer in layers if type(layer).__name__ == "BatchNormalization"]
    # in training mode they would drop whole blocks from what the norms see
    drops = [layer for layer in layers if type(layer).__name__ == "Dropout"]
    before = [(layer.momentum, layer.trainable) for layer in norms]
    rates = [layer.rate for layer in drops]
    for layer in drops:
        layer.rate = 0
    for layer in norms:
        layer.momentum, layer.trainable = 0.0, True
    model(pixels, training=True)
    for layer, (momentum, trainable) in zip(norms, before, strict=True):
        layer.momentum, layer.trainable = momentum, trainable
    for layer, rate in zip(drops, rates, strict=True):
        layer.rate = rate
