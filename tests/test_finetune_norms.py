"""Batch normalisations that are trained know all of train before a network is judged."""

import numpy as np
import pytest

from tlfeat.backbones.keras_runtime import import_keras
from tlfeat.finetuning.norms import TrainedNorms

BATCHES = np.random.default_rng(0).normal(3, 2, (5, 8, 4, 4, 3)).astype(np.float32)


@pytest.fixture
def layers():
    keras = import_keras()
    return [
        keras.layers.BatchNormalization(momentum=0.99, name="first"),
        keras.layers.Dropout(0.5),
        keras.layers.BatchNormalization(momentum=0.9, name="second"),
    ]


def model_of(layers):
    keras = import_keras()
    inputs = x = keras.Input((4, 4, 3))
    for layer in layers:
        x = layer(x)
    return keras.Model(inputs, x)


def test_means_and_variances_are_those_of_all_rows(layers):
    first, dropout, second = layers
    norms = TrainedNorms(model_of(layers), (4, 4, 3))
    assert norms
    norms.settle(iter(BATCHES))
    rows = BATCHES.reshape(-1, 3)
    np.testing.assert_allclose(first.moving_mean, rows.mean(axis=0), rtol=1e-4)
    np.testing.assert_allclose(first.moving_variance, rows.var(axis=0), rtol=1e-3)
    # what the second sees is normalised by each batch, and nothing of it was dropped
    np.testing.assert_allclose(second.moving_mean, 0, atol=1e-4)
    np.testing.assert_allclose(second.moving_variance, 1, rtol=1e-2)
    assert (first.momentum, dropout.rate, second.momentum) == (0.99, 0.5, 0.9)


def test_what_is_frozen_is_left_alone(layers):
    layers[0].trainable = False
    norms = TrainedNorms(model_of(layers), (4, 4, 3))
    norms.settle(BATCHES)
    np.testing.assert_array_equal(layers[0].moving_mean, 0)
    assert np.abs(np.asarray(layers[2].moving_mean)).min() > 1
    layers[2].trainable = False
    assert not TrainedNorms(model_of(layers), (4, 4, 3))


def test_training_goes_on_as_if_nobody_had_looked(layers):
    """Nothing that is trained changes: neither a weight, nor what is dropped next."""
    model = model_of(layers)
    norms = TrainedNorms(model, (4, 4, 3))
    seed = np.asarray(layers[1].seed_generator.state.value).copy()
    before = [np.asarray(weight.value).copy() for weight in model.trainable_weights]
    norms.settle(BATCHES)
    for weight, value in zip(model.trainable_weights, before, strict=True):
        np.testing.assert_array_equal(weight.value, value)
    np.testing.assert_array_equal(layers[1].seed_generator.state.value, seed)
