"""Models in Keras' files, read without running code of their own; backbones that they are."""

import re
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

from tlfeat.backbones.hub import load_preset
from tlfeat.backbones.keras_runtime import import_keras
from tlfeat.backbones.network_facts import NetworkFacts, how_to_say
from tlfeat.backbones.understood import Understood
from tlfeat.errors import NetworkError, UnknownName, WeightsError, did_you_mean, first_line

_INPUT: Final = re.compile(r'"batch_shape": \[([^\]]*)\]')


def understood(path: Path) -> Understood:
    """Read what a file says of itself, without building it.

    Raises
    ------
    NetworkError
        If it is no .keras file, or takes no pictures of three channels.
    """
    import h5py

    total = 0

    def add(name: str, item: Any) -> None:
        nonlocal total
        if isinstance(item, h5py.Dataset) and not name.startswith("optimizer"):
            total += item.size

    try:
        with zipfile.ZipFile(path) as file:
            text = file.read("config.json").decode()
            with file.open("model.weights.h5") as weights:
                h5py.File(weights).visititems(add)
    except (OSError, KeyError, ValueError, zipfile.BadZipFile) as error:
        raise NetworkError(
            f"{path} cannot be read ({error}): wanted a whole model as Keras saves it."
        ) from error
    read = _INPUT.search(text)
    shape = [] if read is None else [part.strip() for part in read[1].split(",")]
    if len(shape) != 4 or shape[3] != "3" or shape[1] != shape[2]:
        wanted = ", ".join("any" if part == "null" else part for part in shape)
        raise NetworkError(
            f"{path.name} takes an input of shape ({wanted}): wanted (batch, side, side, 3)."
        )
    side = None if shape[1] == "null" else int(shape[1])
    return Understood(side, total, f"({', '.join(shape).replace('null', 'any')}), NHWC", {})


def load_model(path: Path) -> Any:
    """Read a whole model of Keras, without running code of its own.

    Raises
    ------
    WeightsError
        If it cannot be read.
    """
    keras = import_keras()
    try:
        return keras.saving.load_model(path, compile=False, safe_mode=True)
    except Exception as error:  # Keras raises whatever a damaged or unsafe file makes it
        reason = first_line(error)
        raise WeightsError(
            f"The model file {path} cannot be loaded ({reason.rstrip('.')}): wanted a whole "
            "network of Keras, .keras or .h5, without code of its own."
        ) from error


def load_file(path: Path, facts: NetworkFacts, size: int) -> Any:
    """Load a network of a file, or of the folder of a preset.

    Raises
    ------
    NetworkError
        If it takes something else than squares of three channels, or computes in another
        precision than float32.
    """
    model = load_preset(path) if path.is_dir() else load_model(path)
    if facts.layout == "NCHW":
        raise NetworkError(f"{path.name} is of Keras, which has channels last: leave layout out.")
    if len(model.inputs) != 1:
        raise NetworkError(
            f"{path.name} has {len(model.inputs)} inputs: wanted one that takes pictures."
        )
    shape, dtype = tuple(model.inputs[0].shape), model.inputs[0].dtype
    if shape[1:] != (size, size, 3) and shape[1:] != (None, None, 3):
        raise NetworkError(
            f"{path.name} takes an input of shape {shape} and no pictures of {size}x{size} "
            "pixels: leave size out."
        )
    if dtype != "float32" and facts.scaling != "none":
        raise NetworkError(
            f"{path.name} takes pictures as {dtype} and scales them itself: "
            f"{how_to_say(path, 'scaling=none')} says so."
        )
    others = {layer.compute_dtype for layer in model.layers} - {"float32", dtype}
    if others:
        raise NetworkError(
            f"{path.name} computes in {', '.join(sorted(others))}: wanted float32, which "
            "--precision then says another one of."
        )
    return model


def file_tensors(model: Any) -> Mapping[str, Any]:
    """Give what each layer puts out in a model, by the names that are in its file."""
    found = {}
    for layer in model.layers:
        nodes = [node for node in layer._inbound_nodes if node.output_tensors]
        if type(layer).__name__ != "InputLayer" and nodes:
            outputs = nodes[-1].output_tensors
            if len(outputs) == 1:
                found[layer.name] = outputs[0]
    return found


def file_layer(
    path: Path, facts: NetworkFacts, layers: Mapping[str, Any], model: Any, layer: str
) -> Any:
    """Find what a layer puts out; "last" is the one that the facts name, or the only output.

    Raises
    ------
    NetworkError
        If there are several outputs, and nothing says which.
    UnknownName
        If there is no such layer.
    """
    name = facts.output if layer == "last" else layer
    if name is None:
        if len(model.outputs) > 1:
            raise NetworkError(
                f"{path.name} has {len(model.outputs)} outputs: {how_to_say(path, 'output=NAME')} "
                "says which layer is its feature."
            )
        return model.outputs[0]
    if name not in layers:
        raise UnknownName(
            f"{path.name} has no layer {name!r}.{did_you_mean(name, layers)} "
            f"`tlfeat backbones {path} --layers` lists them."
        )
    return layers[name]
