"""One network from pixels to probabilities, with all that a run is made of."""

import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final, NamedTuple

import numpy as np

from tlfeat.backbones.exported import convert_network
from tlfeat.backbones.keras_runtime import import_keras
from tlfeat.backbones.network_request import NetworkRequest
from tlfeat.backbones.openvino_package import import_openvino
from tlfeat.deploy.head_layers import head_layers
from tlfeat.deploy.networks import finetuned_network
from tlfeat.errors import TlfeatError
from tlfeat.features.forward import network_of
from tlfeat.features.recipe import Recipe
from tlfeat.heads.persist import LoadedHead
from tlfeat.runs.metrics import name_outputs
from tlfeat.runs.record import Run

_EXACT: Final = "float32"


class WholeNetwork(NamedTuple):
    """A network that answers, and what its answers are called."""

    model: Any  # (n, size, size, 3) of uint8 to probabilities (n, n_labels)
    labels: tuple[str, ...]
    is_of_keras: bool = True  # else it is OpenVINO's

    @property
    def takes_one(self) -> bool:
        """Whether it takes one picture at a time."""
        return not self.is_of_keras and not self.model.input(0).partial_shape[0].is_dynamic


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
        If the run computes in a short precision, or its head gives no probabilities.
    WeightsError
        If the weights are not those of the run.
    """
    rule = run.picture_rule
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
        return WholeNetwork(keras.Model(model.inputs[0], answers, name="whole"), labels)
    request = network_of(run.recipes, weights or run.weights)
    head = run.head()
    if not request.is_of_keras:
        return WholeNetwork(_of_openvino(request, run.recipes, head), head.classes, False)
    model = request.build()
    parts = []
    for recipe, part in zip(run.recipes, model.outputs, strict=True):
        part = keras.layers.Flatten()(part) if len(part.shape) > 2 else part
        if recipe.dtype != _EXACT:  # a head was trained on what the store has kept of it
            part = keras.ops.cast(keras.ops.cast(part, recipe.dtype), _EXACT)
        parts.append(part)
    features = parts[0] if len(parts) == 1 else keras.ops.concatenate(parts, axis=1)
    answers = head_layers(keras, head, features)
    return WholeNetwork(keras.Model(model.inputs[0], answers, name="whole"), head.classes)


def _of_openvino(request: NetworkRequest, recipes: Sequence[Recipe], head: LoadedHead) -> Any:
    """Put a head behind a network that OpenVINO reads and Keras does not."""
    openvino, keras = import_openvino(), import_keras()
    from openvino import opset13

    network = request.read()
    parts = []
    for recipe, result in zip(recipes, network.get_results(), strict=True):
        rows = opset13.reshape(result.input_value(0), np.array([0, -1]), special_zero=True)
        if recipe.dtype != _EXACT:
            rows = opset13.convert(opset13.convert(rows, "f16"), "f32")
        parts.append(rows)
    features = parts[0] if len(parts) == 1 else opset13.concat(parts, axis=1)
    columns = sum(math.prod(recipe.feature_shape) for recipe in recipes)
    given = keras.Input((columns,), name="features")
    top = convert_network(keras.Model(given, head_layers(keras, head, given), name="head"))
    top.get_parameters()[0].output(0).replace(features.output(0))
    answers = [result.input_value(0).get_node() for result in top.get_results()]
    return openvino.Model(answers, network.get_parameters(), "whole")
