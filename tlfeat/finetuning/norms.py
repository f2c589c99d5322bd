"""Batch normalisations that are trained: what they subtract and divide by, over all of train.

While a network trains they use the mean and variance of each batch, and count running averages
for later, which take hundreds of steps to settle: until then a network that does well in its
training steps does badly everywhere else. So before a network is judged, mean and variance are
computed anew, by the weights as they are.

References
----------
Y. Wu and J. Johnson (2021), Rethinking "Batch" in BatchNorm, arXiv 2105.07576, section 3.
"""

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import Any, Final

import numpy as np

from tlfeat.finetuning.checkpoint import assign, values_of
from tlfeat.finetuning.modes import RATES

NORMS_METHOD: Final = 2  # 1 left the running averages as they were
# Of a training step's size: means of so many are within a fourteenth of how far batches lie apart.
MOST_BATCHES: Final = 200


class TrainedNorms:
    """The batch normalisations of a network that count while it trains.

    Parameters
    ----------
    model : keras.Model
        That is trained: the network, or what lies above a cut.
    shape : tuple of int
        Of one input row of it.
    """

    def __init__(self, model: Any, shape: tuple[int, ...]) -> None:
        import keras
        import tensorflow as tf

        self._layers = list(model._flatten_layers(include_self=False, recursive=True))
        self._norms = [
            layer
            for layer in self._layers
            if isinstance(layer, keras.layers.BatchNormalization) and layer.trainable
        ]
        self._means = [layer.moving_mean for layer in self._norms]
        self._variances = [layer.moving_variance for layer in self._norms]
        self._count = tf.function(
            lambda inputs: model(inputs, training=True),
            input_signature=[tf.TensorSpec((None, *shape), tf.float32)],
        )

    def __bool__(self) -> bool:
        """Whether there is any."""
        return bool(self._norms)

    def settle(self, batches: Iterable[np.ndarray]) -> None:
        """Compute means and variances anew.

        Parameters
        ----------
        batches : iterable of ndarray of shape (n, *shape)
            Of training rows, in no order of theirs, each as large as a training step's.
        """
        import tensorflow as tf

        # m_b and v_b the mean and variance of each of B batches, all of one size. Over all their
        # rows the mean is m = sum(m_b) / B, and the variance that within batches and between them:
        # sum(v_b) / B + sum(m_b^2) / B - m^2.
        n = 0
        means = [np.zeros(variable.shape) for variable in self._means]
        squares = [np.zeros(variable.shape) for variable in self._means]
        variances = [np.zeros(variable.shape) for variable in self._variances]
        with self._plainly():
            for batch in batches:
                n += 1
                self._count(tf.cast(batch, tf.float32))
                for place, mean in enumerate(values_of(self._means)):
                    means[place] += mean
                    squares[place] += mean.astype(np.float64) ** 2
                for place, variance in enumerate(values_of(self._variances)):
                    variances[place] += variance
        assign(self._means, [mean / n for mean in means])
        assign(
            self._variances,
            [
                variance / n + np.maximum(square / n - (mean / n) ** 2, 0)
                for variance, square, mean in zip(variances, squares, means, strict=True)
            ],
        )

    @contextmanager
    def _plainly(self) -> Iterator[None]:
        """Let averages be those of one batch, and drop nothing; read when the graph is built."""
        there = [
            (layer, name, getattr(layer, name))
            for layer in self._layers
            for name in RATES
            if getattr(layer, name, None)
        ]
        there += [(layer, "momentum", layer.momentum) for layer in self._norms]
        for layer, name, _ in there:
            setattr(layer, name, 0.0)
        try:
            yield
        finally:
            for layer, name, value in there:
                setattr(layer, name, value)
