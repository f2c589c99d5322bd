"""Weight files as Keras 2 wrote them, and weights that no initialiser gives."""

from pathlib import Path

import h5py
import numpy as np
from golden import settle_batch_norms


def save_legacy(model, path: Path, names=None) -> None:
    """Write the weights of a model alone, as `save_weights` of Keras 2 did to an .h5 file.

    A layer is a group; of a layer that has layers inside, the trainable weights of all of them
    come first. `names` has other names for some layers, as another process gives them.
    """
    names = names or {}
    with h5py.File(path, "w") as file:
        called = [names.get(layer.name, layer.name) for layer in model.layers]
        file.attrs["layer_names"] = [name.encode() for name in called]
        file.attrs["backend"], file.attrs["keras_version"] = b"tensorflow", b"2.11.0"
        for layer, name in zip(model.layers, called, strict=True):
            group, saved = file.create_group(name), {}
            for kind in ("_trainable_variables", "_non_trainable_variables"):
                for leaf in _leaves(layer):
                    called_leaf = name if leaf is layer else leaf.name
                    for variable in getattr(leaf, kind):
                        saved[f"{called_leaf}/{_OLD.get(variable.name, variable.name)}:0"] = (
                            np.asarray(variable)
                        )
            group.attrs["weight_names"] = [key.encode() for key in saved]
            for key, array in saved.items():
                group.create_dataset(key, data=array)


_OLD = {"variable": "Variable"}  # the scale of ConvNeXt's blocks


def _leaves(layer) -> list:
    inside = getattr(layer, "layers", [])
    return [leaf for part in inside for leaf in _leaves(part)] if inside else [layer]


def shake(model, pixels: np.ndarray, seed: int = 7) -> None:
    """Give every weight of a model a value of its own, so that a load that does nothing shows.

    Kernels stay as large as they were.
    """
    rng = np.random.default_rng(seed)
    for variable in model.weights:
        if "int" in str(variable.dtype):
            variable.assign(np.full(variable.shape, 3))
        elif variable.name in ("gamma", "variance", "moving_variance", "variable"):
            variable.assign(rng.uniform(0.5, 1.5, variable.shape))
        elif len(variable.shape) > 1:
            spread = float(np.asarray(variable).std())
            variable.assign(rng.normal(0, spread, variable.shape))
        else:
            variable.assign(rng.normal(0, 0.2, variable.shape))
    finish(model)
    settle(model, pixels)


def settle(model, pixels: np.ndarray) -> None:
    """Set batch normalisations from `pixels`, so that numbers neither vanish nor explode.

    A channel that hardly varies is not blown up, nor are the last digits of what it holds.
    """
    settle_batch_norms(model, pixels)
    for layer in model._flatten_layers(include_self=False, recursive=True):
        if type(layer).__name__ == "BatchNormalization":
            variance = np.asarray(layer.moving_variance)
            layer.moving_variance.assign(np.maximum(variance, 0.3 * variance.mean()))


def finish(model) -> None:
    """Let every Normalization compute with the weights that it was given."""
    for layer in model._flatten_layers(include_self=False, recursive=True):
        if type(layer).__name__ == "Normalization":
            layer.finalize_state()
