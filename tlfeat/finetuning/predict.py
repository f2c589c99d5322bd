"""Prediction of whole splits, in a graph of its own.

Keras' `predict` builds a new graph after each `compile`, and another for the last, smaller batch;
that costs more than a small split takes.
"""

from typing import Any

import numpy as np
import numpy.typing as npt

from tlfeat.errors import NetworkError
from tlfeat.finetuning.pictures import Ints, Rows, split_order


class Predictor:
    """Predicts with a model as its weights are at the moment.

    Parameters
    ----------
    model : keras.Model
    shape : tuple of int
        Of one input row.
    """

    def __init__(self, model: Any, shape: tuple[int, ...]) -> None:
        import tensorflow as tf

        self._model = model  # kept, so that nothing else gets its id
        self._forward = tf.function(
            lambda inputs: model(inputs, training=False),
            input_signature=[tf.TensorSpec((None, *shape), tf.float32)],
        )

    def __call__(self, rows: Rows, order: Ints, batch: int) -> npt.NDArray[np.float32]:
        """Give the probabilities of some rows, (n, k), in their order."""
        import tensorflow as tf

        parts = split_order(order, batch)
        scores = [self._forward(tf.cast(part, tf.float32)).numpy() for part in rows.take(parts)]
        return np.concatenate(scores).astype(np.float32, copy=False)


def check_finite(scores: npt.NDArray[np.float32]) -> None:
    """Refuse the scores of a network that blew up.

    Raises
    ------
    NetworkError
        If one of them is not a number.
    """
    if not np.isfinite(scores).all():
        raise NetworkError(
            "The network's answers are not numbers any more: lower the learning rate, or clip the "
            "gradients."
        )
