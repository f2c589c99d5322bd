"""A new top: it begins at zero, on features that are standardised.

Features of a pretrained network are small, and some vary a hundred times as much as others. A top
with random weights answers at random for its first steps, and its rate is right for few of
its inputs. At zero it prefers no class, so the first loss is log k; and standardised inputs
may all have one rate.
"""

from typing import Final

import numpy as np

from tlfeat.finetuning.assemble import Network
from tlfeat.finetuning.pictures import Ints, Rows
from tlfeat.finetuning.predict import Predictor, check_finite
from tlfeat.heads.standardise import floored

TOP_METHOD: Final = 2  # 1 began with Glorot's random weights, on features as they are
_ENOUGH: Final = 512  # rows, of which a deviation is within 3% of that of all


def some_of(rows: Ints, seed: int) -> Ints:
    """Draw rows that are enough to standardise by; (at most 512,), rising."""
    chosen = np.random.default_rng([seed, len(rows)]).permutation(len(rows))[:_ENOUGH]
    return rows[np.sort(chosen)]


def standardise_top(network: Network, pictures: Rows, rows: Ints, batch: int) -> None:
    """Let a new top subtract the mean of each feature and divide by its deviation.

    Parameters
    ----------
    network : Network
        One with `standardise`.
    pictures : Rows
    rows : ndarray of shape (n,)
        Of training pictures.
    batch : int
        Pictures at a time.

    Raises
    ------
    NetworkError
        If the network's features are no numbers.
    """
    import keras

    layer = network.standardise
    assert layer is not None
    features = Predictor(keras.Model(network.model.input, layer.input), pictures.shape)
    seen = features(pictures, rows, batch)  # (n, d)
    check_finite(seen)
    mean, variance = seen.mean(axis=0, dtype=np.float64), seen.var(axis=0, dtype=np.float64)
    # it divides by (v + epsilon)^1/2
    layer.set_weights([mean, np.maximum(floored(mean, variance) ** 2 - layer.epsilon, 0)])
