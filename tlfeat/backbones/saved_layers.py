"""Read a weight file of Keras as layers with their arrays, whichever of the layouts it has.

| layout | written by | names | order | the network's config |
|---|---|---|---|---|
| `.keras` | `save` | yes | yes | yes |
| legacy `.h5` | `save`, and `save_weights` of Keras 2 | yes | yes | if `save` wrote it |
| `.weights.h5` | `save_weights` | if Keras is new | within a kind of layer | no |

The two HDF5 layouts are told apart by what is in the file: Keras 2 wrote its own into whatever
ended in `.h5`.
"""

import json
import zipfile
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from tlfeat.backbones.keras_runtime import import_keras
from tlfeat.backbones.layer_names import kind_of, own_weights, weighted_layers
from tlfeat.errors import WeightsError


class SavedLayer(NamedTuple):
    """A layer of a file."""

    name: str
    arrays: list[npt.NDArray[Any]]  # those that train, then the others

    @property
    def shapes(self) -> list[tuple[int, ...]]:
        """The arrays' shapes."""
        return [array.shape for array in self.arrays]


@dataclass(frozen=True)
class SavedNetwork:
    """What a file holds.

    Attributes
    ----------
    layers : list of SavedLayer
        Those with weights.
    order : list of SavedLayer
        The same in the order of the network that they are wanted for, as far as it is known.
    config : object
        The network that was saved, as Keras describes it; None in a file of weights alone.
    numbered_by_place : bool
        Automatic names count as they stand, since Keras reads such files by order: what it
        publishes is older than its names.
    """

    layers: list[SavedLayer]
    order: list[SavedLayer] = field(default_factory=list)
    config: Any = None
    numbered_by_place: bool = False


def read_saved(path: Path, model: Any) -> SavedNetwork:
    """Read a `.keras` or HDF5 file; `model` is the network that it is wanted for."""
    if path.suffix == ".keras":
        return _read_whole(path)
    import h5py

    with h5py.File(path, "r") as file:
        root = file.get("model_weights", file)
        if _names(root.attrs, "layer_names"):
            return _read_legacy(root, file.attrs.get("model_config"))
        if "layers" in file:
            return _read_weights(file, model)
    raise WeightsError(
        f"The weight file {path} is not one that Keras wrote: it must come from `save` or "
        "`save_weights` of a Keras network."
    )


def _read_whole(path: Path) -> SavedNetwork:
    source = import_keras().saving.load_model(path, compile=False, safe_mode=True)
    layers = [
        SavedLayer(layer.name, [np.asarray(weight) for weight in own_weights(layer)])
        for layer in weighted_layers(source)
    ]
    with zipfile.ZipFile(path) as archive:
        return SavedNetwork(layers, layers, json.loads(archive.read("config.json")))


def _read_legacy(root: Any, config: str | bytes | None) -> SavedNetwork:
    layers = [
        layer
        for name in _names(root.attrs, "layer_names")
        for layer in _legacy_group(name, root[name])
    ]
    parsed = None if config is None else json.loads(config)
    return SavedNetwork(layers, layers, parsed, numbered_by_place=parsed is None)


def _legacy_group(name: str, group: Any) -> list[SavedLayer]:
    """Part the weights of a layer that has layers inside, whose own names come before theirs."""
    arrays: dict[str, list[npt.NDArray[Any]]] = {}
    for part in _names(group.attrs, "weight_names"):
        arrays.setdefault(part.rpartition("/")[0], []).append(np.asarray(group[part]))
    if len(arrays) == 1:  # the group's name is the layer's; the weights' may be an older one
        return [SavedLayer(name, *arrays.values())]
    return [SavedLayer(path.rpartition("/")[2], inside) for path, inside in arrays.items()]


def _names(attributes: Any, key: str) -> list[str]:
    """Read a list of names; Keras cuts long ones into key0, key1, ..."""
    parts = [attributes[key]] if key in attributes else []
    while not parts or f"{key}{len(parts)}" in attributes:
        if f"{key}{len(parts)}" not in attributes:
            return []
        parts.append(attributes[f"{key}{len(parts)}"])
    return [n.decode() if isinstance(n, bytes) else str(n) for part in parts for n in part]


def _read_weights(file: Any, model: Any) -> SavedNetwork:
    """Read layers/conv2d_3/vars/0, ...: the fourth Conv2D of the network, its first weight."""
    found: dict[str, SavedLayer] = {}
    networks = [""]

    def visit(path: str, item: Any) -> None:
        place, _, last = path.rpartition("/")
        if last == "layers" and place:
            networks.append(f"{place}/")
        elif last == "vars" and len(item):
            arrays = [np.asarray(item[str(number)]) for number in range(len(item))]
            found[place] = SavedLayer(str(item.attrs.get("name", place)), arrays)

    file["layers"].visititems(lambda path, item: visit(f"layers/{path}", item))
    keys = list(_keys(model))
    for network in networks:  # the one that is wanted may lie inside another
        order = [found[network + key] for key in keys if network + key in found]
        if len(order) == len(keys):
            return SavedNetwork(list(found.values()), order)
    return SavedNetwork(list(found.values()))


def _keys(model: Any, network: str = "") -> Iterator[str]:
    """Give the places of a network's weighted layers, in their order, in a `.weights.h5` file."""
    seen: dict[str, int] = {}
    for layer in model.layers:
        kind = kind_of(layer)
        seen[kind] = seen.get(kind, -1) + 1
        key = f"{network}layers/{kind}_{seen[kind]}" if seen[kind] else f"{network}layers/{kind}"
        if getattr(layer, "layers", []):
            yield from _keys(layer, f"{key}/")
        elif layer.weights:
            yield key
