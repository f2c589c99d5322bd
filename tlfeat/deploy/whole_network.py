"""One network of Keras from pixels to probabilities, with all that a run is made of."""

from pathlib import Path
from typing import Any, Final, NamedTuple

import numpy as np

from tlfeat.backbones.keras_runtime import import_keras
from tlfeat.deploy.head_layers import head_layers
from tlfeat.deploy.networks import finetuned_network
from tlfeat.errors import TlfeatError
from tlfeat.features.forward import network_of
from tlfeat.runs.metrics import name_outputs
from tlfeat.runs.record import Run

_EXACT: Final = "float32"


class WholeNetwork(NamedTuple):
    """A network that answers, and what its answers are called."""

    model: Any  # keras.Model: (n, size, size, 3) of uint8 to probabilities (n, n_labels)
    labels: tuple[str, ...]


def whole_network(run: Run, weights: str | Path | None = None) -> WholeNetwork:
    """Join all of a run in one network.

    Parameters
    ----------
    run : Run
    weights : str or Path, optional
        Where the weights of a head's network are now; where they were in training if None.

    Raises
    ------
    TlfeatError
        If the run computes in a short precision, its network is in a file that Keras does not
        read, or its head gives no probabilities.
    WeightsError
        If the weights are not those of the run.
    """
    rule = run.recipes[0].pictures if run.recipes else run.pictures
    if rule.precision != _EXACT:
        raise TlfeatError(
            f"{run.path} computes in {rule.precision}, and an exported file would not: train it "
            f"in {_EXACT}, and make the file smaller with --precision."
        )
    keras = import_keras()
    if run.is_finetune:
        model = finetuned_network(run, weights).build()
        answers = model.outputs[0]
        labels = name_outputs(run.dataset.classes, answers.shape[1])
        return WholeNetwork(_called(keras.Model(model.inputs[0], answers, name="whole")), labels)
    request = network_of(run.recipes, weights or run.weights)
    if not request.is_of_keras:
        raise TlfeatError(
            f"{request.name} is a network of another framework, which Keras cannot write: export "
            "it there, with its head beside it as head.skops."
        )
    model, head = request.build(), run.head()
    parts = []
    for recipe, part in zip(run.recipes, model.outputs, strict=True):
        part = keras.layers.Flatten()(part) if len(part.shape) > 2 else part
        if recipe.dtype != _EXACT:  # a head was trained on what the store has kept of it
            part = keras.ops.cast(keras.ops.cast(part, recipe.dtype), _EXACT)
        parts.append(part)
    features = parts[0] if len(parts) == 1 else keras.ops.concatenate(parts, axis=1)
    answers = head_layers(keras, head, features)
    whole = keras.Model(model.inputs[0], answers, name="whole")
    return WholeNetwork(_called(whole), head.classes)


def _called(model: Any) -> Any:
    """Call a network once, without which Keras does not export it."""
    model(np.zeros((1, *model.input_shape[1:]), np.uint8))
    return model
