"""Networks that OpenVINO reads itself, ONNX and its own, made to take bytes and give features.

    uint8 pictures (n, size, size, 3) -> scaled, in the file's own layout -> network -> pooled

An activation is (n, channels, rows, columns), (n, rows, columns, channels), the tokens of a
transformer, (n, tokens, d), or (n, d).
"""

import math
from collections.abc import Mapping, Sequence
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, NamedTuple

import numpy as np

from tlfeat.backbones.exported import import_openvino
from tlfeat.backbones.networks import cell_weights
from tlfeat.backbones.scaling import get_scaling
from tlfeat.backbones.table import Output, grid_side
from tlfeat.errors import NetworkError, UnknownName, did_you_mean, first_line

if TYPE_CHECKING:
    from tlfeat.backbones.network_files import NetworkFacts

_TYPES: Final = ("f32", "f16", "bf16", "u8")
_SPATIAL: Final = {"NCHW": (2, 3), "NHWC": (1, 2)}
_TRIED: Final = 2  # pictures at a time, to see whether a network takes several


class Understood(NamedTuple):
    """What a file says of its pictures."""

    shape: str  # of its input
    layout: str  # "NCHW" or "NHWC"
    size: int | None  # side of its pictures; None where it takes any
    type: str  # of its input
    parameters: int
    outputs: Mapping[str, str]  # name to shape


@cache
def _understood(path: Path, changed: int, layout: str | None) -> Understood:
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
    outputs = {_name(one, number): _text(one.partial_shape) for number, one in _numbered(network)}
    return Understood(text, found, rows or columns, kind, parameters, outputs)


def understood(path: Path, facts: "NetworkFacts") -> Understood:
    """Read what a file says of itself.

    Raises
    ------
    NetworkError
        If it is no network that takes pictures.
    """
    return _understood(path, path.stat().st_mtime_ns, facts.layout)


def _layout(path: Path, shape: Sequence[int | None], text: str, said: str | None) -> str:
    told = [
        layout for layout, axis in (("NCHW", 1), ("NHWC", 3)) if shape[axis] in (3, None)
    ]  # channels may be 3
    sure = [layout for layout, axis in (("NCHW", 1), ("NHWC", 3)) if shape[axis] == 3]
    if said is not None and said not in told:
        raise NetworkError(
            f"{path.name} takes an input of shape {text}, which is not {said}: leave layout out."
        )
    if said is not None or len(sure) == 1:
        return said or sure[0]
    if not told:
        raise NetworkError(
            f"{path.name} takes an input of shape {text}: wanted 3 channels, at the second axis "
            "or the last."
        )
    raise NetworkError(
        f"{path.name} takes an input of shape {text}, which does not tell where the channels are: "
        "say layout=NCHW or layout=NHWC."
    )


def _read(path: Path) -> Any:
    openvino = import_openvino()
    try:
        return openvino.Core().read_model(path)
    except Exception as error:  # whatever its readers raise
        said = " ".join(str(error).split())
        if "external" in said.lower():
            raise NetworkError(
                f"{path.name} keeps its weights in another file, which is not beside it: put that "
                f"there too ({_tail(said)})."
            ) from error
        raise NetworkError(
            f"{path} cannot be read by OpenVINO ({_tail(said)}): wanted a whole network, ONNX or "
            "OpenVINO's own with its .bin."
        ) from error


def _tail(said: str) -> str:
    """Give the end of what OpenVINO says, where the reason stands."""
    return said[-160:].lstrip(". ") if len(said) > 160 else said


def _length(dimension: Any) -> int | None:
    return None if dimension.is_dynamic else int(dimension.get_length())


def _text(shape: Any) -> str:
    return f"({', '.join('any' if one.is_dynamic else str(one.get_length()) for one in shape)})"


def _numbered(network: Any) -> list[tuple[int, Any]]:
    return list(enumerate(network.outputs))


def _name(output: Any, number: int = 0) -> str:
    return min(output.names, key=len) if output.names else f"output{number}"


def openvino_network(
    path: Path, facts: "NetworkFacts", size: int, outputs: Sequence[Output]
) -> Any:
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

    told = understood(path, facts)
    if told.size not in (None, size):
        raise NetworkError(
            f"{path.name} takes pictures of {told.size}x{told.size} pixels and no others: leave "
            "size out."
        )
    network = _read(path)
    _set_size(path, network, told.layout, size)
    network = _with_pixels(network, told, facts)
    results = []
    for output in outputs:
        node = _found(path, network, facts, output.layer)
        given = opset13.convert(_pooled(path, node, told.layout, facts, output), "f32")
        results.append(opset13.result(given))
    openvino = import_openvino()
    return openvino.Model(results, network.get_parameters(), path.stem)


def _set_size(path: Path, network: Any, layout: str, size: int) -> None:
    """Fix the side, and let the batch be of any length where the network takes several."""
    for batch in (_TRIED, 1):
        shape: list[int] = [batch, 3, size, size] if layout == "NCHW" else [batch, size, size, 3]
        try:
            network.reshape(shape)
        except RuntimeError as error:
            if batch == 1:
                raise NetworkError(
                    f"{path.name} does not take pictures of {size}x{size} pixels "
                    f"({_tail(first_line(error))})."
                ) from error
            continue
        if all(_batch_of(one) == batch for one in network.outputs):
            break
    if batch > 1:
        network.reshape([-1, *shape[1:]])


def _batch_of(output: Any) -> int | None:
    shape = output.partial_shape
    return _length(shape[0]) if shape.rank.is_static and len(shape) else None


def _with_pixels(network: Any, told: Understood, facts: "NetworkFacts") -> Any:
    """Put the scaling of bytes before a network."""
    from openvino import Layout, Type
    from openvino.preprocess import ColorFormat, PrePostProcessor

    scaling = get_scaling(facts.scaling_mode)
    steps = PrePostProcessor(network)
    pixels = steps.input()
    pixels.tensor().set_element_type(Type.u8).set_layout(Layout("NHWC"))
    pixels.tensor().set_color_format(ColorFormat.RGB)
    pixels.model().set_layout(Layout(told.layout))
    change = pixels.preprocess()
    if scaling.bgr:
        change.convert_color(ColorFormat.BGR)
    if told.type != "u8":
        change.convert_element_type(Type.f32)
        change.mean([-o / s for o, s in zip(scaling.offset, scaling.scale, strict=True)])
        change.scale([1 / s for s in scaling.scale])
    return steps.build()


def _found(path: Path, network: Any, facts: "NetworkFacts", layer: str) -> Any:
    """Find what an output or a layer gives."""
    outputs = {_name(one, number): one for number, one in _numbered(network)}
    wanted = layer
    if layer == "last":
        if facts.output is None and len(outputs) > 1:
            shapes = ", ".join(f"{name} {_text(o.partial_shape)}" for name, o in outputs.items())
            raise NetworkError(
                f"{path.name} has {len(outputs)} outputs: say output=NAME, one of {shapes}."
            )
        wanted = facts.output or next(iter(outputs))
    if wanted in outputs:
        return outputs[wanted].get_node().input_value(0)
    names = _named(network)
    if wanted not in names:
        raise UnknownName(
            f"{path.name} has no output or layer {wanted!r}.{did_you_mean(wanted, names)} "
            f"`tlfeat backbones {path} --layers` lists them."
        )
    return names[wanted]


def _named(network: Any) -> dict[str, Any]:
    """Give what nodes give, by its names."""
    found: dict[str, Any] = {}
    for node in network.get_ordered_ops():
        if node.get_type_name() in ("Constant", "Parameter", "Result"):
            continue
        for one in node.outputs():
            if one.partial_shape.rank.is_static and 2 <= len(one.partial_shape) <= 4:
                found |= dict.fromkeys(one.names, one)
    return found


def _pooled(path: Path, node: Any, layout: str, facts: "NetworkFacts", output: Output) -> Any:
    """Pool an activation as an output has it."""
    from openvino import opset13

    rank = len(node.partial_shape) if node.partial_shape.rank.is_static else 0
    if rank == 3 and output.pool != "none":
        return _of_tokens(path, node, facts, output)
    if rank == 2 and output.pool in ("avg", "none"):  # pooled already
        return node
    if rank != 4:
        if output.pool == "none" and rank >= 2:
            return node
        raise NetworkError(
            f"{output.layer} of {path.name} has the shape {_text(node.partial_shape)}, which "
            f"cannot be pooled by {output.pool}."
        )
    axes = list(_SPATIAL[layout])
    if output.pool in ("avg", "max"):
        pool = opset13.reduce_mean if output.pool == "avg" else opset13.reduce_max
        return pool(node, np.array(axes))
    places = node if layout == "NHWC" else opset13.transpose(node, np.array([0, 2, 3, 1]))
    return places if output.pool == "none" else _cells(places, grid_side(output.pool))


def _cells(places: Any, side: int) -> Any:
    """Average (n, rows, columns, channels) over side x side cells, one after the other."""
    from openvino import opset13

    shape = places.output(0).partial_shape if hasattr(places, "output") else places.partial_shape
    rows, columns = (cell_weights(int(shape[axis].get_length()), side) for axis in (1, 2))
    x = opset13.einsum([opset13.constant(rows), _in_float32(places)], "ih,nhwc->niwc")
    x = opset13.einsum([opset13.constant(columns), x], "jw,niwc->nijc")
    return opset13.reshape(x, np.array([0, -1]), special_zero=True)


def _in_float32(node: Any) -> Any:
    from openvino import opset13

    return opset13.convert(node, "f32")


def _of_tokens(path: Path, node: Any, facts: "NetworkFacts", output: Output) -> Any:
    """Pool tokens (n, tokens, d): a square of patches, after those that stand for the whole."""
    from openvino import opset13

    tokens = _length(node.partial_shape[1])
    if tokens is None:
        raise NetworkError(
            f"{output.layer} of {path.name} has the shape {_text(node.partial_shape)}: wanted a "
            "known number of tokens."
        )
    side = math.isqrt(tokens)
    first = tokens - side**2
    end = np.array([np.iinfo(np.int64).max])
    patches = opset13.slice(node, np.array([first]), end, np.array([1]), np.array([1]))
    if output.pool == "max":
        return opset13.reduce_max(patches, np.array([1]))
    if output.pool != "avg":
        d = int(node.partial_shape[2].get_length())
        square = opset13.reshape(patches, np.array([0, side, side, d]), special_zero=True)
        return _cells(square, grid_side(output.pool))
    taken = facts.tokens or ("class" if first else "mean")
    if "class" in taken and not first:
        raise NetworkError(
            f"{output.layer} of {path.name} has {tokens} tokens, a square of patches, and none "
            "for the class: say tokens=mean."
        )
    parts = []
    if "class" in taken:
        parts.append(opset13.gather(node, np.array(0), np.array(1)))
    if "mean" in taken:
        parts.append(opset13.reduce_mean(patches, np.array([1])))
    return parts[0] if len(parts) == 1 else opset13.concat(parts, 1)


@cache
def _shape_of(
    path: Path, facts: "NetworkFacts", size: int, output: Output, changed: int
) -> tuple[int, ...]:
    network = openvino_network(path, facts, size, [output])
    return tuple(int(one.get_length()) for one in list(network.output(0).partial_shape)[1:])


def file_feature_shape(
    path: Path, facts: "NetworkFacts", size: int, layer: str, pool: str
) -> tuple[int, ...]:
    """Give the shape of one picture's features.

    Raises
    ------
    NetworkError, UnknownName
        As from `openvino_network`.
    """
    return _shape_of(path, facts, size, Output(layer, pool), path.stat().st_mtime_ns)


def file_layers(path: Path, facts: "NetworkFacts", size: int) -> dict[str, tuple[int, ...]]:
    """List what nodes give for one picture, by name, "last" first; channels last."""
    told = understood(path, facts)
    network = _read(path)
    _set_size(path, network, told.layout, size)
    found: dict[str, tuple[int, ...]] = {}
    for name, one in {"last": _found(path, network, facts, "last"), **_named(network)}.items():
        lengths = [_length(axis) for axis in list(one.partial_shape)[1:]]
        if None not in lengths:
            shape = [int(length or 0) for length in lengths]
            turned = len(shape) == 3 and told.layout == "NCHW"
            found[name] = tuple([*shape[1:], shape[0]] if turned else shape)
    return found
