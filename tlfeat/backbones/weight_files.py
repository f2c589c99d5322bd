"""Put the weights of a file into a network, or say which layers do not fit.

Layers are matched by name where the file has every name, else by order, as Keras does; layers
that the file has beyond the network's (a classifier, say) are left alone.
"""

from collections import Counter
from collections.abc import Iterator, Sequence
from itertools import pairwise
from pathlib import Path
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from tlfeat.backbones.layer_names import (
    fresh_names,
    is_automatic,
    kind_of,
    own_weights,
    weighted_layers,
)
from tlfeat.backbones.saved_layers import SavedLayer, SavedNetwork, read_saved
from tlfeat.backbones.table import Backbone
from tlfeat.errors import WeightsError, first_line

_IMAGENET_DEVIATION: Final = np.array((0.229, 0.224, 0.225), np.float32)
_NAMED: Final = 3  # layers, or shapes of one, that an error names


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
        saved = read_saved(path, model)
    except WeightsError:
        raise
    except Exception as error:  # h5py and Keras raise whatever a damaged file makes them
        reason = first_line(error)
        raise WeightsError(
            f"The weight file {path} cannot be read ({reason.rstrip('.')}): if it was "
            "downloaded, delete it and download it again."
        ) from error
    layers = weighted_layers(model)
    try:
        matched = _matched(layers, saved)
    except _MisfitError as misfit:
        raise WeightsError(
            f"The weight file {path} does not fit {backbone.name}: {misfit}."
        ) from None
    for layer, one in zip(layers, matched, strict=True):
        for weight, array in zip(own_weights(layer), one.arrays, strict=True):
            weight.assign(array)
        if hasattr(layer, "finalize_state"):  # a Normalization computes with what it makes then
            if hasattr(layer, "adapt_variance"):
                _fold_second_scaling(layer, saved.config)
            layer.finalize_state()


class _MisfitError(Exception):
    """Why a file does not fit, as the end of a sentence."""


def _matched(layers: list[Any], saved: SavedNetwork) -> list[SavedLayer]:
    """Find a saved layer for each of a network's, by name, or by order where names are lacking."""
    kinds = [kind_of(layer) for layer in layers]
    given = [layer.name for layer in layers]
    wanted = fresh_names(given, kinds, by_place=saved.numbered_by_place)
    automatic = {k for name, k in zip(given, kinds, strict=True) if is_automatic(name, k)}
    by_name = _by_name(saved, automatic)
    missing = [name for name in wanted if name not in by_name]
    matched = saved.order[: len(layers)] if missing else [by_name[name] for name in wanted]
    nearly_all = 2 * len(missing) <= len(layers)
    if len(matched) < len(layers):
        raise _MisfitError(_lacks(layers, saved, missing if nearly_all else given[len(matched) :]))
    misfits = list(_misfits(layers, matched))
    if misfits and missing and nearly_all:
        raise _MisfitError(_lacks(layers, saved, missing))
    if misfits:
        raise _MisfitError("; ".join(misfits[:_NAMED]) + _and_more(misfits))
    return matched


def _by_name(saved: SavedNetwork, automatic: set[str]) -> dict[str, SavedLayer]:
    """Give the layers of a file whose names are there once, as a fresh process has them."""
    names = [layer.name for layer in saved.layers]
    kinds = [next((k for k in automatic if is_automatic(name, k)), None) for name in names]
    fresh = fresh_names(names, kinds, by_place=saved.numbered_by_place)
    count = Counter(fresh)
    return {n: layer for n, layer in zip(fresh, saved.layers, strict=True) if count[n] == 1}


def _misfits(layers: list[Any], matched: list[SavedLayer]) -> Iterator[str]:
    for layer, one in zip(layers, matched, strict=True):
        wanted = [tuple(weight.shape) for weight in own_weights(layer)]
        if wanted != one.shapes:
            yield (
                f"layer {layer.name!r} wants the shapes {_listed(wanted)}, the file's "
                f"{one.name!r} has {_listed(one.shapes)}"
            )


def _lacks(layers: list[Any], saved: SavedNetwork, missing: list[str]) -> str:
    others = [repr(name) for name in missing[1:_NAMED]]
    then = f", then {', '.join(others)}{_and_more(missing)}" if others else ""
    return (
        f"it has {len(saved.layers)} layers with weights, the network {len(layers)}, and layer "
        f"{missing[0]!r} is the first one missing{then}"
    )


def _listed(shapes: list[tuple[int, ...]]) -> str:
    return f"[{', '.join(map(str, shapes[:_NAMED]))}{_and_more(shapes)}]"


def _and_more(some: Sequence[object]) -> str:
    return f" and {len(some) - _NAMED} more" if len(some) > _NAMED else ""


def _fold_second_scaling(norm: Any, config: Any) -> None:
    """Put what Keras adds to EfficientNet's scaling for its own weights into the Normalization.

    Keras' published files have ImageNet's deviation where the variance belongs. With
    `weights="imagenet"` Keras divides by the root of the deviation once more, in a Rescaling that
    it leaves out otherwise, as the networks here do. A file with the network's config tells
    whether it has that layer. One of weights alone does not: it needs the step where the variance
    is the deviation itself, which is what Keras published, and no variance of any pictures.
    """
    variance = np.asarray(norm.adapt_variance)
    if config is not None:
        norm.adapt_variance.assign(variance / np.square(_second_scaling(config)))
    elif np.allclose(variance, _IMAGENET_DEVIATION, rtol=1e-3):
        norm.adapt_variance.assign(variance * _IMAGENET_DEVIATION)


def _second_scaling(config: Any) -> npt.NDArray[np.float32]:
    """Give what a saved network multiplies with right after its Normalization; one if nothing."""
    for layers in _layer_lists(config):
        for first, second in pairwise(layers):
            if (first["class_name"], second["class_name"]) == ("Normalization", "Rescaling"):
                return np.asarray(second["config"]["scale"], np.float32)
    return np.ones((), np.float32)


def _layer_lists(config: Any) -> Iterator[list[Any]]:
    """Give the layers of a network, and of those inside it, as its config has them."""
    if isinstance(config, dict):
        inside = config.get("layers")
        if isinstance(inside, list):
            yield inside
    for part in config.values() if isinstance(config, dict) else config:
        if isinstance(part, dict | list):
            yield from _layer_lists(part)
