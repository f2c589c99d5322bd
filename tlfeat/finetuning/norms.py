"""Batch normalisations that are trained: what they subtract and divide by, over all of train.

While a network trains they use the mean and variance of each batch, and count running averages
for later, which take hundreds of steps to settle: until then a network that does well in its
training steps does badly everywhere else. So before a network is judged, mean and variance are
computed anew, by the weights as they are.

References
----------
Y. Wu and J. Johnson (2021), Rethinking "Batch" in BatchNorm, arXiv 2105.07576, section 3.
"""

from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any, Final

import numpy as np

from tlfeat.finetuning.checkpoint import assign, values_of

NORMS_METHOD: Final = 2  # 1 left the running averages as they were
# Of a training step's size: means of so many are within a fourteenth of how far batches lie apart.
MOST_BATCHES: Final = 200
_RATES: Final = ("rate", "drop_path_rate")  # of Dropout, and of ConvNeXt's StochasticDepth


class TrainedNorms:
    """The batch normalisations of a network that count while it trains.

    Parameters
    ----------
    layers : sequence of keras.Layer
        Of the network.
    model : keras.Model
        That is trained: the network, or what lies above a cut.
    shape : tuple of int
        Of one input row of it.
    """

    def __init__(self, layers: Sequence[Any], model: Any, shape: tuple[int, ...]) -> None:
        import keras
        import tensorflow as tf

        norms = [
            layer
            for layer in layers
            if isinstance(layer, keras.layers.BatchNormalization) and layer.trainable
        ]
        self._layers = layers
        self._norms = norms
        self._means = [layer.moving_mean for layer in norms]
        self._variances = [layer.moving_variance for layer in norms]
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

        counted = []
        for batch in batches:
            with self._plainly():
                self._count(tf.cast(batch, tf.float32))
            counted.append((values_of(self._means), values_of(self._variances)))
        # m_b and v_b the mean and variance of batch b, all of one size: over all their rows
        # the mean is the mean of the m_b, the variance that of the v_b and how far the m_b lie
        # apart.
        means = [np.stack(each) for each in zip(*(one for one, _ in counted), strict=True)]
        variances = [np.stack(each) for each in zip(*(one for _, one in counted), strict=True)]
        assign(self._means, [mean.mean(axis=0) for mean in means])
        assign(
            self._variances,
            [
                variance.mean(axis=0) + mean.var(axis=0)
                for mean, variance in zip(means, variances, strict=True)
            ],
        )

    @contextmanager
    def _plainly(self) -> Iterator[None]:
        """Let averages be those of one batch, and drop nothing; read when the graph is built."""
        there = [
            (layer, name, getattr(layer, name))
            for layer in self._layers
            for name in _RATES
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
