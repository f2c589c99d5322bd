"""Networks that OpenVINO reads itself, ONNX and its own, made to take bytes and give features.

    uint8 pictures (n, size, size, 3) -> scaled, in the file's own layout -> network -> pooled

An activation is (n, channels, rows, columns), (n, rows, columns, channels), the tokens of a
transformer, (n, tokens, d), or (n, d). Pictures are squares, and so are their places: that tells
the channels.
"""

import math
from collections.abc import Sequence
from functools import cache
from pathlib import Path
from typing import Any, Final

import numpy as np

from tlfeat.backbones.cells import cell_weights
from tlfeat.backbones.network_facts import NetworkFacts, how_to_say
from tlfeat.backbones.openvino_package import import_openvino
from tlfeat.backbones.scaling import get_scaling
from tlfeat.backbones.table import Output, grid_side
from tlfeat.backbones.tokens import read_tokens
from tlfeat.backbones.understood import Understood
from tlfeat.errors import NetworkError, UnknownName, did_you_mean

_TYPES: Final = ("f32", "f16", "bf16", "u8")
_SPATIAL: Final = {"NCHW": (2, 3), "NHWC": (1, 2)}
_TRIED: Final = (3, 2)  # pictures at a time, to see whether a network takes several


def understood(path: Path, facts: NetworkFacts) -> Understood:
    """Read what a file says of itself.

    Raises
    ------
    NetworkError
        If it is no network that takes pictures.
    """
    stat = path.stat()
    layout, side, kind, parameters, shape, outputs = _told(
        path, facts.layout, stat.st_mtime_ns, stat.st_size, stat.st_ino
    )
    if kind == "u8" and (facts.scaling not in (None, "none") or facts.mean is not None):
        raise NetworkError(
            f"{path.name} takes bytes and scales them itself: "
            f"{how_to_say(path, 'scaling=none')} says so."
        )
    return Understood(side, parameters, f"{shape} of {kind}, {layout}", dict(outputs))


def input_of(path: Path, facts: NetworkFacts) -> tuple[str, int | None, str]:
    """Give the layout of a file's input, the side that it fixes, and the type of its numbers."""
    stat = path.stat()
    return _told(path, facts.layout, stat.st_mtime_ns, stat.st_size, stat.st_ino)[:3]


@cache
def _told(
    path: Path, layout: str | None, *changed: int
) -> tuple[str, int | None, str, int, str, tuple[tuple[str, str], ...]]:
    network = _read(path)
    if len(network.inputs) != 1:
        raise NetworkError(
            f"{path.name} has {len(network.inputs)} inputs: wanted one that takes pictures."
        )
    shape = [_length(one) for one in network.input(0).partial_shape]
    text = _text(network.input(0).partial_shape)
    if len(shape) != 4:
        raise NetworkError(
            f"{path.name} takes an input of shape {text}: wanted four axes, (batch, 3, height, "
            "width) or (batch, height, width, 3). Export it with a batch axis."
        )
    kind = network.input(0).element_type.get_type_name()
    if kind not in _TYPES:
        raise NetworkError(
            f"{path.name} takes pictures as {kind}: wanted one of {', '.join(_TYPES)}. Export it "
            "in float32."
        )
    if any(node.get_type_name() == "FakeQuantize" for node in network.get_ops()):
        raise NetworkError(
            f"{path.name} is quantised already, and would not compute in float32: export it "
            "before it is quantised; --precision int8 quantises it here."
        )
    found = _layout(path, shape, text, layout)
    rows, columns = (shape[axis] for axis in _SPATIAL[found])
    if rows is not None and columns is not None and rows != columns:
        raise NetworkError(f"{path.name} takes pictures of {rows}x{columns}: wanted squares.")
    parameters = sum(
        math.prod(node.get_output_shape(0))
        for node in network.get_ops()
        if node.get_type_name() == "Constant"
        and node.get_output_element_type(0).get_type_name() in ("f32", "f16", "bf16")
    )
    outputs = tuple((name, _text(one.partial_shape)) for name, one in _outputs(network).items())
    return found, rows or columns, kind, parameters, text, outputs


def _layout(path: Path, shape: Sequence[int | None], text: str, said: str | None) -> str:
    axes = (("NCHW", 1), ("NHWC", 3))
    can_be = [layout for layout, axis in axes if shape[axis] in (3, None)]
    is_sure = [layout for layout, axis in axes if shape[axis] == 3]
    if said is not None and said not in can_be:
        raise NetworkError(
            f"{path.name} takes an input of shape {text}, which is not {said}: "
            f"{how_to_say(path, 'layout=')} takes that back."
        )
    if said is not None or len(is_sure) == 1:
        return said or is_sure[0]
    if not can_be:
        raise NetworkError(
            f"{path.name} takes an input of shape {text}: wanted 3 channels, at the second axis "
            "or the last."
        )
    raise NetworkError(
        f"{path.name} takes an input of shape {text}, which does not tell where the channels "
        f"are: {how_to_say(path, 'layout=NCHW')} does, or NHWC."
    )


def _read(path: Path) -> Any:
    openvino = import_openvino()
    try:
        return openvino.Core().read_model(path)
    except Exception as error:  # whatever its readers raise
        said = " ".join(str(error).split())
        raise NetworkError(
            f"{path} cannot be read by OpenVINO ({said[-160:].lstrip('. ')}): wanted a whole "
            "network, ONNX or OpenVINO's own, with the files that its weights are in."
        ) from error


def _length(dimension: Any) -> int | None:
    return None if dimension.is_dynamic else int(dimension.get_length())


def _text(shape: Any) -> str:
    return f"({', '.join('any' if one.is_dynamic else str(one.get_length()) for one in shape)})"


def _outputs(network: Any) -> dict[str, Any]:
    """Give the outputs by their names, the shortest where there are several."""
    return {
        min(one.names, key=lambda name: (len(name), name)) if one.names else f"output{i}": one
        for i, one in enumerate(network.outputs)
    }


def openvino_network(path: Path, facts: NetworkFacts, size: int, outputs: Sequence[Output]) -> Any:
    """Make a file's network take bytes and give features.

    Parameters
    ----------
    path : Path
    facts : NetworkFacts
    size : int
        Side of the pictures in pixels.
    outputs : sequence of Output
        "last" is the output that the facts name, or the only one; others are names of outputs or
        of what any node gives.

    Returns
    -------
    network : openvino.Model
        From uint8 RGB of shape (n, size, size, 3) to float32 of shape (n, *feature_shape); n is 1
        where the file takes no more at a time.

    Raises
    ------
    NetworkError
        If it cannot be used so.
    UnknownName
        If nothing in it has such a name.
    """
    from openvino import opset13

    openvino = import_openvino()
    layout, side, kind = input_of(path, facts)
    if side not in (None, size):
        raise NetworkError(
            f"{path.name} takes pictures of {side}x{side} pixels and no others: leave size out."
        )
    network = _read(path)
    wanted = [output.layer for output in outputs]
    for layer in wanted:
        _found(path, network, facts, layer)
    takes_several = _set_size(path, network, facts, layout, size, wanted)
    network = _with_pixels(network, layout, kind, facts)
    results = []
    for output in outputs:
        activation = _found(path, network, facts, output.layer)
        pooled = _pooled(path, activation, facts, output)
        results.append(opset13.result(opset13.convert(pooled, "f32")))
    made = openvino.Model(results, network.get_parameters(), path.stem)
    if takes_several:
        made.reshape([-1, size, size, 3])
    return made


def _set_size(
    path: Path, network: Any, facts: NetworkFacts, layout: str, size: int, wanted: Sequence[str]
) -> bool:
    """Fix the side and a batch; say whether several pictures can go in at a time.

    The first axis of all that is wanted must be the picture, whatever the number of them.
    """
    for batches in (_TRIED, (1,)):
        if all(_fits(path, network, facts, layout, size, wanted, n) for n in batches):
            return batches is _TRIED
    raise NetworkError(
        f"{path.name} does not give a row a picture of {size}x{size} pixels at "
        f"{', '.join(wanted)}: the first axis must be the picture, for one picture at a time or "
        "for any number."
    )


def _fits(
    path: Path,
    network: Any,
    facts: NetworkFacts,
    layout: str,
    size: int,
    wanted: Sequence[str],
    batch: int,
) -> bool:
    try:
        network.reshape([batch, 3, size, size] if layout == "NCHW" else [batch, size, size, 3])
    except RuntimeError:
        return False
    return all(_first(_found(path, network, facts, layer)) == batch for layer in wanted)


def _first(activation: Any) -> int | None:
    shape = activation.partial_shape
    return _length(shape[0]) if shape.rank.is_static and len(shape) else None


def _with_pixels(network: Any, layout: str, kind: str, facts: NetworkFacts) -> Any:
    """Put the scaling of bytes before a network."""
    from openvino import Layout, Type
    from openvino.preprocess import ColorFormat, PrePostProcessor

    steps = PrePostProcessor(network)
    pixels = steps.input()
    pixels.tensor().set_element_type(Type.u8).set_layout(Layout("NHWC"))
    pixels.tensor().set_color_format(ColorFormat.RGB)
    pixels.model().set_layout(Layout(layout))
    scaling = get_scaling(facts.scaling_mode or "none")
    change = pixels.preprocess()
    if scaling.bgr:
        change.convert_color(ColorFormat.BGR)
    if kind != "u8":
        change.convert_element_type(Type.f32)
        change.mean([-o / s for o, s in zip(scaling.offset, scaling.scale, strict=True)])
        change.scale([1 / s for s in scaling.scale])
    return steps.build()


def _found(path: Path, network: Any, facts: NetworkFacts, layer: str) -> Any:
    """Find what an output or a layer gives."""
    outputs = _outputs(network)
    wanted = layer
    if layer == "last":
        if facts.output is None and len(outputs) > 1:
            shapes = ", ".join(f"{name} {_text(o.partial_shape)}" for name, o in outputs.items())
            raise NetworkError(
                f"{path.name} has {len(outputs)} outputs: {how_to_say(path, 'output=NAME')} says "
                f"which is its feature, one of {shapes}."
            )
        wanted = facts.output or next(iter(outputs))
    if wanted in outputs:
        return outputs[wanted].get_node().input_value(0)
    named = _named(network)
    if wanted not in named:
        raise UnknownName(
            f"{path.name} has no output or layer {wanted!r}.{did_you_mean(wanted, named)} "
            f"`tlfeat backbones {path} --layers` lists them."
        )
    return named[wanted]


def check_output(path: Path, facts: NetworkFacts) -> None:
    """Look for the output that the facts name.

    Raises
    ------
    UnknownName
        If nothing in the file has that name.
    """
    _found(path, _read(path), facts, "last")


def _named(network: Any) -> dict[str, Any]:
    """Give what nodes give, by its names."""
    found: dict[str, Any] = {}
    for node in network.get_ordered_ops():
        if node.get_type_name() in ("Constant", "Parameter", "Result"):
            continue
        for one in node.outputs():
            if one.partial_shape.rank.is_static and 2 <= len(one.partial_shape) <= 4:
                found |= dict.fromkeys(sorted(one.names), one)
    return found


def _pooled(path: Path, activation: Any, facts: NetworkFacts, output: Output) -> Any:
    """Pool an activation as an output has it."""
    from openvino import opset13

    shape = [int(one.get_length()) for one in activation.partial_shape]
    if len(shape) == 3 and output.pool != "none":
        return _of_tokens(path, activation, shape, facts, output)
    if len(shape) == 4:
        layout = _layout_of_places(path, shape, output.layer)
        if output.pool in ("avg", "max"):
            pool = opset13.reduce_mean if output.pool == "avg" else opset13.reduce_max
            return pool(activation, np.array(_SPATIAL[layout]))
        places = activation
        if layout == "NCHW":
            places = opset13.transpose(activation, np.array([0, 2, 3, 1]))
            shape = [shape[axis] for axis in (0, 2, 3, 1)]
        return places if output.pool == "none" else _cells(places, shape[1], output.pool)
    if output.pool in ("avg", "none") and len(shape) in (2, 3):  # (n, d) is pooled already
        return activation
    raise NetworkError(
        f"{output.layer} of {path.name} has the shape {tuple(shape[1:])}, which cannot be pooled "
        f"by {output.pool}."
    )


def _layout_of_places(path: Path, shape: Sequence[int], layer: str) -> str:
    """Tell the channels from the places, which are as many down as across."""
    first, last = shape[2] == shape[3], shape[1] == shape[2]
    if first == last:
        raise NetworkError(
            f"{layer} of {path.name} has the shape {tuple(shape[1:])}, which does not tell which "
            "axis is its channels: name another layer."
        )
    return "NCHW" if first else "NHWC"


def _cells(places: Any, side: int, pool: str) -> Any:
    """Average (n, side, side, channels) over cells, one after the other."""
    from openvino import opset13

    weights = opset13.constant(cell_weights(side, grid_side(pool)))
    x = opset13.einsum([weights, opset13.convert(places, "f32")], "ih,nhwc->niwc")
    x = opset13.einsum([weights, x], "jw,niwc->nijc")
    return opset13.reshape(x, np.array([0, -1]), special_zero=True)


def _of_tokens(
    path: Path, activation: Any, shape: Sequence[int], facts: NetworkFacts, output: Output
) -> Any:
    """Pool tokens (n, tokens, d): a square of patches, after those that stand for the whole."""
    from openvino import opset13

    first, side, taken = read_tokens(f"{output.layer} of {path.name}", shape[1], facts.tokens)
    if first == 0 and facts.tokens is None:  # it may be channels, too
        raise NetworkError(
            f"{output.layer} of {path.name} has the shape {tuple(shape[1:])}: if these are "
            f"{shape[1]} tokens of {shape[2]} numbers, {how_to_say(path, 'tokens=mean')} says so."
        )
    end = np.array([np.iinfo(np.int64).max])
    patches = opset13.slice(activation, np.array([first]), end, np.array([1]), np.array([1]))
    if output.pool == "max":
        return opset13.reduce_max(patches, np.array([1]))
    if output.pool != "avg":
        square = np.array([0, side, side, shape[2]])
        return _cells(opset13.reshape(patches, square, special_zero=True), side, output.pool)
    parts = []
    if "class" in taken:
        parts.append(opset13.gather(activation, np.array(0), np.array(1)))
    if "mean" in taken:
        parts.append(opset13.reduce_mean(patches, np.array([1])))
    return parts[0] if len(parts) == 1 else opset13.concat(parts, 1)


def file_feature_shape(
    path: Path, facts: NetworkFacts, size: int, layer: str, pool: str
) -> tuple[int, ...]:
    """Give the shape of one picture's features.

    Raises
    ------
    NetworkError, UnknownName
        As from `openvino_network`.
    """
    stat = path.stat()
    wanted = Output(layer, pool)
    return _shape_of(path, facts, size, wanted, stat.st_mtime_ns, stat.st_size, stat.st_ino)


@cache
def _shape_of(
    path: Path, facts: NetworkFacts, size: int, output: Output, *changed: int
) -> tuple[int, ...]:
    network = openvino_network(path, facts, size, [output])
    return tuple(int(one.get_length()) for one in list(network.output(0).partial_shape)[1:])


def file_layers(path: Path, facts: NetworkFacts, size: int) -> dict[str, tuple[int, ...]]:
    """List what nodes give for one picture, by name, "last" first; channels last."""
    layout, _, _ = input_of(path, facts)
    network = _read(path)
    several = _set_size(path, network, facts, layout, size, ["last"])
    found: dict[str, tuple[int, ...]] = {}
    for name, one in {"last": _found(path, network, facts, "last"), **_named(network)}.items():
        lengths = [_length(axis) for axis in one.partial_shape]
        if None in lengths or lengths[0] != (_TRIED[-1] if several else 1):
            continue  # its first axis is not the picture
        shape = [int(length or 0) for length in lengths[1:]]
        turned = len(shape) == 3 and shape[1] == shape[2] != shape[0]
        found[name] = tuple([*shape[1:], shape[0]] if turned else shape)
    return found
