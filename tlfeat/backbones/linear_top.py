"""The top of a whole network where it is linear on averages, read from its exported graph.

From the softmax backwards a graph is followed to the averages that it reads: means over all
places of a layer, and grids of them. What stands between is tried out, not understood: what is
affine has its bias at zero and its weights at the unit vectors, and is checked elsewhere.
"""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from tlfeat.backbones.engine_base import Engine
from tlfeat.backbones.exported import exported_network, places_of
from tlfeat.backbones.model_files import ModelRequest
from tlfeat.backbones.openvino_engine import run_on_openvino
from tlfeat.backbones.openvino_package import import_openvino
from tlfeat.backbones.table import Output
from tlfeat.errors import NetworkError
from tlfeat.watch import Watch

_Floats = npt.NDArray[Any]

_LINEAR: Final = 1e-4  # |answer - affine| <= _LINEAR (1 + |answer|), where it is affine
_TRIED: Final = 16  # points at which that is seen
_BLOCK: Final = 512  # unit vectors that are tried at a time


@dataclass(frozen=True)
class LinearTop:
    """What is made of averages, as logits.

    Attributes
    ----------
    weights : tuple of ndarray of shape (n_classes, cells, cells, channels)
        Of each part that is read: a mean has one cell, a grid more.
    bias : ndarray of shape (n_classes,)
    """

    weights: tuple[_Floats, ...]
    bias: _Floats


@contextmanager
def opened_places(
    request: ModelRequest, cache: Path | None, jobs: int | None, watch: Watch
) -> Iterator[tuple[Engine, LinearTop]]:
    """Open a whole network, to give the places of what its top reads.

    Parameters
    ----------
    request : ModelRequest
    cache : Path or None
        The store, in which exported networks are kept.
    jobs : int, optional
        Threads.
    watch : Watch

    Yields
    ------
    engine : Engine
        Gives for each part of the top what it is the mean of, (n, rows, columns, channels), or
        the cells of a grid.
    top : LinearTop
        Of the probabilities' logits.

    Raises
    ------
    NetworkError
        If OpenVINO cannot take the network, or its top is not linear on averages.
    """
    watch.doing(f"loading {request.name}; the first time it is exported, too")
    with exported_network(request, cache, watch.note) as exported:
        network = exported.read(request.outputs)
        top = _top_of(network.clone(), request.name)
        places = import_openvino().Model(
            [_places(node) for node in _averages(network, request.name)],
            network.get_parameters(),
            network.get_friendly_name(),
        )
        outputs = tuple(Output(f"part {number}", "none") for number in range(len(top.weights)))
        engine = run_on_openvino(lambda: places, request.size, outputs, jobs)
    try:
        yield engine, top
    finally:
        engine.close()


def _top_of(network: Any, name: str) -> LinearTop:
    """Read the top of a network, which is cut for it.

    Raises
    ------
    NetworkError
        If it is not linear on averages.
    """
    openvino = import_openvino()
    from openvino import opset13

    parts = _averages(network, name)
    shapes = [tuple(part.output(0).partial_shape)[1:] for part in parts]
    sizes = [[int(str(side)) for side in shape] for shape in shapes]
    logits = _softmax(network, name).input_value(0).get_node()
    inputs = []
    for part, size in zip(parts, sizes, strict=True):
        free = opset13.parameter(openvino.PartialShape([-1, *size]), np.float32)
        for reader in part.output(0).get_target_inputs():
            reader.replace_source_output(free.output(0))
        inputs.append(free)
    top = openvino.Model([opset13.result(logits)], inputs, "top")
    compiled = openvino.Core().compile_model(top, "CPU", {"INFERENCE_PRECISION_HINT": "f32"})

    def answer(rows: _Floats) -> _Floats:
        columns = np.split(rows, np.cumsum([int(np.prod(size)) for size in sizes])[:-1], axis=1)
        given = [part.reshape(len(rows), *size) for part, size in zip(columns, sizes, strict=True)]
        logits: _Floats = np.array(compiled(given)[0], dtype=np.float64)
        return logits

    d = sum(int(np.prod(size)) for size in sizes)
    bias = answer(np.zeros((1, d), np.float32))[0]
    weights = np.vstack(
        [
            answer(np.eye(min(_BLOCK, d - start), d, start, dtype=np.float32))
            for start in range(0, d, _BLOCK)
        ]
    )
    weights -= bias
    tried = np.random.default_rng(0).normal(size=(_TRIED, d)).astype(np.float32)
    there = answer(tried)
    if not (np.abs(there - (tried @ weights + bias)) <= _LINEAR * (1 + np.abs(there))).all():
        raise _not_linear(name, "its top has hidden layers")
    of_parts = np.split(weights.T, np.cumsum([int(np.prod(size)) for size in sizes])[:-1], axis=1)
    cells = [size if len(size) == 3 else [1, 1, *size] for size in sizes]
    return LinearTop(
        tuple(
            part.reshape(len(bias), *shape) for part, shape in zip(of_parts, cells, strict=True)
        ),
        bias,
    )


def _averages(network: Any, name: str) -> Sequence[Any]:
    """Find the averages that the top reads, in the order of the graph."""
    found: dict[str, Any] = {}
    seen: set[str] = set()

    def follow(node: Any) -> None:
        if node.get_friendly_name() in seen:
            return
        seen.add(node.get_friendly_name())
        if node.get_type_name() == "Parameter":
            raise _not_linear(name, "its top reads places one by one, not averages")
        if _is_average(node):
            found[node.get_friendly_name()] = node
            return
        for number in range(node.get_input_size()):
            follow(node.input_value(number).get_node())

    follow(_softmax(network, name))
    return list(found.values())


def _softmax(network: Any, name: str) -> Any:
    node = network.outputs[0].get_node().input_value(0).get_node()
    if node.get_type_name() != "Softmax":
        raise _not_linear(name, f"it ends in {node.get_type_name()}, not in a softmax")
    return node


def _is_average(node: Any) -> bool:
    """Say whether a node is the mean of all places, or the cells of a square grid."""
    kind, shape = node.get_type_name(), node.output(0).partial_shape
    if kind == "ReduceMean" and shape.rank == 2:
        with suppress(LookupError):
            return places_of(node) is not None
        return False
    return bool(kind == "Einsum" and shape.rank == 4 and shape[1] == shape[2])


def _places(average: Any) -> Any:
    """Give what an average is made of as an output: the places of a mean, the cells of a grid."""
    from openvino import opset13

    if average.get_type_name() == "Einsum":
        return opset13.result(average)
    return places_of(average)


def _not_linear(name: str, why: str) -> NetworkError:
    return NetworkError(
        f"{name} has no maps: {why}. Maps are of tops that are linear on averages of layers."
    )
