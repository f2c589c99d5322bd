"""Put the weights of a file into a network, or say which layer does not fit.

`.keras` and `.h5` files are read as a list of layers with their arrays, matched by name where the
file has every name, else by order, as Keras does; layers that the file has beyond the network's
(a classifier, say) are left alone. `.weights.h5` files go through Keras' own reader.
"""

from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from tlfeat.backbones.keras_runtime import import_keras
from tlfeat.backbones.table import Backbone
from tlfeat.errors import WeightsError, first_line

_IMAGENET_DEVIATION = (0.229, 0.224, 0.225)


class _Saved(NamedTuple):
    name: str
    arrays: list[npt.NDArray[Any]]


def load_weight_file(model: Any, backbone: Backbone, path: Path) -> None:
    """Fill a network from a Keras file.

    Parameters
    ----------
    model : keras.Model
        As its builder gives it.
    backbone : Backbone
        Its row.
    path : Path
        A `.keras`, `.h5` or `.weights.h5` file.

    Raises
    ------
    WeightsError
        If the file cannot be read, or a layer of it does not fit.
    """
    try:
        if path.name.endswith((".weights.h5", ".weights.hdf5")):
            _load_weights_only(model, backbone, path)
        else:
            saved = _read_whole(path) if path.suffix == ".keras" else _read_legacy(path)
            _assign(model, backbone, path, saved)
    except WeightsError:
        raise
    except Exception as error:  # h5py and Keras raise whatever a damaged file makes them
        reason = first_line(error)
        raise WeightsError(
            f"The weight file {path} cannot be read ({reason.rstrip('.')}): if it was "
            "downloaded, delete it and download it again."
        ) from error
    if backbone.family == "efficientnet":
        _finish_normalisation(model)


def _read_whole(path: Path) -> list[_Saved]:
    keras = import_keras()
    source = keras.saving.load_model(path, compile=False, safe_mode=True)
    layers = source._flatten_layers(include_self=False, recursive=True)
    return [
        _Saved(layer.name, [np.asarray(weight) for weight in _own_weights(layer)])
        for layer in layers
        if not _children(layer) and layer.weights
    ]


def _read_legacy(path: Path) -> list[_Saved]:
    import h5py

    with h5py.File(path, "r") as file:
        root = file.get("model_weights", file)
        if "layer_names" not in root.attrs:
            raise WeightsError(
                f"The weight file {path} is not a Keras .h5 file: name it .weights.h5 if "
                "`save_weights` wrote it."
            )
        saved = []
        for name in _names(root.attrs, "layer_names"):
            group = root[name]
            arrays = [np.asarray(group[part]) for part in _names(group.attrs, "weight_names")]
            if arrays:
                saved.append(_Saved(name, arrays))
        return saved


def _names(attributes: Any, key: str) -> list[str]:
    """Read a list of names; Keras cuts long ones into key0, key1, ..."""
    parts = [attributes[key]] if key in attributes else []
    while not parts or f"{key}{len(parts)}" in attributes:
        if f"{key}{len(parts)}" not in attributes:
            return []
        parts.append(attributes[f"{key}{len(parts)}"])
    return [n.decode() if isinstance(n, bytes) else str(n) for part in parts for n in part]


def _children(layer: Any) -> bool:
    return bool(layer._flatten_layers(include_self=False, recursive=True))


def _own_weights(layer: Any) -> list[Any]:
    """Give a layer's weights in the order of Keras' files, whether it is frozen or not."""
    return [*layer._trainable_variables, *layer._non_trainable_variables]


def _weighted(model: Any) -> list[Any]:
    layers = model._flatten_layers(include_self=False, recursive=True)
    return [layer for layer in layers if not _children(layer) and layer.weights]


def _assign(model: Any, backbone: Backbone, path: Path, saved: list[_Saved]) -> None:
    layers = _weighted(model)
    by_name = {one.name: one for one in saved}
    if len(saved) == len(layers) or not all(layer.name in by_name for layer in layers):
        matched = saved
    else:
        matched = [by_name[layer.name] for layer in layers]
    for number, layer in enumerate(layers):
        if number >= len(matched):
            raise WeightsError(
                f"{_misfit(backbone, path)}: it has {len(matched)} layers with weights, the "
                f"network {len(layers)}, and layer {layer.name!r} is the first one missing."
            )
        wanted = [tuple(weight.shape) for weight in _own_weights(layer)]
        found = [array.shape for array in matched[number].arrays]
        if wanted != found:
            raise WeightsError(
                f"{_misfit(backbone, path)}: layer {layer.name!r} wants the shapes {wanted}, "
                f"the file's {matched[number].name!r} has {found}."
            )
    for layer, one in zip(layers, matched, strict=False):
        for weight, array in zip(_own_weights(layer), one.arrays, strict=True):
            weight.assign(array)
        if hasattr(layer, "finalize_state"):
            layer.finalize_state()


def _load_weights_only(model: Any, backbone: Backbone, path: Path) -> None:
    """Read a file of `save_weights`, whose layers are named by kind and number."""
    import h5py

    with h5py.File(path, "r") as file:
        root = file.get("layers", {})
        seen: dict[str, int] = {}
        for layer in model.layers:
            kind = _snake(type(layer).__name__)
            seen[kind] = seen.get(kind, -1) + 1
            key = f"{kind}_{seen[kind]}" if seen[kind] else kind
            if _children(layer) or not layer.weights:
                continue
            stored = root[key]["vars"] if key in root and "vars" in root[key] else {}
            found = [tuple(stored[str(i)].shape) for i in range(len(stored))]
            wanted = [tuple(weight.shape) for weight in _own_weights(layer)]
            if found != wanted:
                raise WeightsError(
                    f"{_misfit(backbone, path)}: layer {layer.name!r} wants the shapes "
                    f"{wanted}, the file's {key!r} has {found or 'none'}."
                )
    model.load_weights(path)


def _snake(name: str) -> str:
    from keras.src.utils.naming import to_snake_case  # the rule that the files were named by

    return str(to_snake_case(name))


def _misfit(backbone: Backbone, path: Path) -> str:
    return f"The weight file {path} does not fit {backbone.name}"


def _finish_normalisation(model: Any) -> None:
    """Do the step of EfficientNet's scaling that Keras adds for its own weights only.

    With `weights="imagenet"` Keras divides by the root of ImageNet's deviation once more, in a
    layer that it leaves out otherwise. Weights that come from those carry ImageNet's numbers in
    their Normalization; fresh ones carry ones, and need nothing.
    """
    for layer in model.layers:
        if type(layer).__name__ != "Normalization":
            continue
        variance = np.asarray(layer.adapt_variance)
        if not np.allclose(variance, 1):
            layer.adapt_variance.assign(variance * np.asarray(_IMAGENET_DEVIATION, np.float32))
            layer.finalize_state()
