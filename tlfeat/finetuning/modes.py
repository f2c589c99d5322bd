"""What a phase trains: which layers of the backbone lie above its cut, and which are frozen.

What could go wrong without any error: a batch normalisation that goes on counting below the
cut, a `trainable` set on a tensor, which does nothing, or a backbone meant to be frozen that
is not. So the flags are set layer by layer, and then looked at.
"""

import re
from collections.abc import Mapping
from types import MappingProxyType
from typing import Any, Final

from tlfeat.backbones.networks import find_layer, named_tensors
from tlfeat.backbones.table import Backbone
from tlfeat.errors import NetworkError, TlfeatError
from tlfeat.finetuning.assemble import Network, freeze_backbone
from tlfeat.finetuning.plan import NORMS, Phase

RATES: Final = ("rate", "drop_path_rate")  # of Dropout, and of ConvNeXt's StochasticDepth

# family -> what the names of a block's layers begin with; the block ends with the last of them
_BLOCKS: Final[Mapping[str, str]] = MappingProxyType(
    {
        "efficientnet-lite": r"b\d+(?=_|$)",
        "efficientnet": r"block\d+[a-z](?=_)",
        "mobilenet": r"conv_(?:pad|dw|pw)_(?P<n>\d+)|block_\d+(?=_)|expanded_conv(?:_\d+)?(?=_)",
        "resnet": r"conv\d_block\d+(?=_)",
        "densenet": r"conv\d_block\d+(?=_)",
        "vgg": r"block\d(?=_)",
        "xception": r"add(?:_\d+)?$|block14",
        "convnext": r"add(?:_\d+)?$",
        "inception": r"mixed\d+$|mixed_\w+$|block\d+_\d+_ac$",
        "nasnet": r"normal_concat_\d+$",
    }
)


def block_outputs(backbone: Backbone, base: Any) -> list[str]:
    """Name the layers that the blocks of a network end with, in order."""
    pattern = re.compile(_BLOCKS[backbone.family])
    ends: dict[str, str] = {}
    for name in named_tensors(base):
        found = pattern.match(name)
        if found:
            block = found.groupdict().get("n") or found[0]
            ends.pop(block, None)
            ends[block] = name
    return list(ends.values())


def find_cut(backbone: Backbone | None, base: Any, cut: str) -> tuple[str, Any]:
    """Find the activation that a partial phase begins to train after.

    Parameters
    ----------
    backbone : Backbone or None
        None where the network is not of the table: then a cut is a layer's name.
    base : keras.Model
    cut : str
        A stage, a layer's name, or the number of last blocks to train.

    Returns
    -------
    layer : str
        The name that the feature store knows it by.
    tensor : KerasTensor

    Raises
    ------
    UnknownName
        If the network has no such layer.
    TlfeatError
        If it has not so many blocks.
    """
    if backbone is None:
        tensors = {layer.name: layer.output for layer in base.layers[1:]}
        if cut not in tensors:
            raise TlfeatError(
                f"The network has no layer {cut!r} to cut at: name one of its layers, such as "
                f"{', '.join(list(tensors)[-6:-1])}."
            )
        return cut, tensors[cut]
    layer = cut
    if cut.isdigit():
        ends = block_outputs(backbone, base)
        if not 0 < int(cut) < len(ends):
            raise TlfeatError(
                f"{backbone.name} has {len(ends)} blocks: the last 1 to {len(ends) - 1} can be "
                f"trained, got {cut}; mode full trains all."
            )
        layer = ends[-int(cut) - 1]
    elif cut == "last":
        raise TlfeatError("Nothing of the backbone lies after `last`: use mode frozen.")
    return layer, find_layer(backbone, named_tensors(base), base, layer)


def layers_below(base: Any, tensor: Any) -> set[int]:
    """Give the ids of the layers that an activation is computed by."""
    import keras

    below = keras.Model(base.input, tensor)
    return {id(layer) for layer in below._flatten_layers(include_self=False, recursive=True)}


def set_trainable(network: Network, phase: Phase, backbone: Backbone | None) -> None:
    """Freeze and unfreeze the layers for a phase; the network is compiled after this.

    Raises
    ------
    TlfeatError
        If a phase trains parts that the network has not.
    NetworkError
        If a frozen backbone has a weight that would be trained.
    """
    import keras

    if phase.train is not None:
        _check_parts(network, phase, backbone)
    freeze_backbone(network)
    for layer in network.classifier:
        layer.trainable = layer is not network.standardise
    below = {id(layer) for layer in network.backbone_layers}
    if phase.mode != "frozen":
        below = set()
        if phase.cut_name is not None:
            below = layers_below(network.base, find_cut(backbone, network.base, phase.cut_name)[1])
        above = _layers_above(network, phase, backbone)
        network.base.trainable = True
        for layer in network.backbone_layers:
            is_norm = isinstance(layer, keras.layers.BatchNormalization)
            is_meant = phase.trains_norms if is_norm else phase.train != NORMS
            layer.trainable = is_meant and id(layer) not in below | above
        for layer in network.base._flatten_layers(include_self=False, recursive=True):
            if id(layer) in below | above:  # once more, as a container sets its children
                layer.trainable = False
    _drop_nothing(network, below)
    check_frozen(network, phase)


def _check_parts(network: Network, phase: Phase, backbone: Backbone | None) -> None:
    """Refuse to train parts alone that a network has not."""
    import keras

    name = "the network of this file" if backbone is None else backbone.name
    if phase.stages is None:
        kind = keras.layers.BatchNormalization
        if not any(isinstance(layer, kind) for layer in network.backbone_layers):
            raise TlfeatError(
                f"train = {phase.train}, and {name} has no batch normalisation: train stages, or "
                "take mode full."
            )
        return
    there = [] if backbone is None else [one for one in backbone.layers if one.startswith("stage")]
    first, last = phase.stages
    for stage in (first - 1, last):
        if stage and f"stage{stage}" not in there:
            has = f"has {', '.join(there)}" if there else "has no stages of a name"
            raise TlfeatError(
                f"train = {phase.train} needs stage{stage}, and {name} {has}: begin with stage1 "
                "where nothing is to stay as it is below, or give a cut."
            )


def _layers_above(network: Network, phase: Phase, backbone: Backbone | None) -> set[int]:
    """Give the ids of the layers after the last stage that is trained; none where that is open."""
    if phase.stages is None:
        return set()
    last = find_cut(backbone, network.base, f"stage{phase.stages[1]}")[1]
    up_to_it = layers_below(network.base, last)
    return {id(layer) for layer in network.backbone_layers} - up_to_it


def _drop_nothing(network: Network, below: set[int]) -> None:
    """Take the chance out of the layers below the cut; they are frozen in what they do too."""
    drop_as_built(network)
    for layer in network.backbone_layers:
        for name in RATES:
            if id(layer) in below and getattr(layer, name, None):
                network.rates.append((layer, name, getattr(layer, name)))
                setattr(layer, name, 0.0)


def drop_as_built(network: Network) -> None:
    """Give all layers that drop at random the rates that they were built with."""
    for layer, name, rate in network.rates:
        setattr(layer, name, rate)
    network.rates.clear()


def check_frozen(network: Network, phase: Phase) -> None:
    """Refuse to train a backbone that is meant to be frozen."""
    if phase.mode != "frozen":
        return
    loose = [
        weight.path
        for part in (network.base, *network.pooling)
        for weight in part.trainable_weights
    ]
    if loose:
        raise NetworkError(
            f"The backbone is meant to be frozen and {len(loose)} of its weights would be "
            f"trained, {loose[0]} first: freeze each layer itself (a tensor's `trainable` does "
            "nothing)."
        )


def count_parameters(network: Network) -> dict[str, int]:
    """Count all numbers that the network learned, and those that it is learning now."""
    import math

    def count(weights: Any) -> int:
        return sum(math.prod(weight.shape) for weight in weights)

    return {
        "total": count(network.model.weights),
        "trainable": count(network.model.trainable_weights),
    }
