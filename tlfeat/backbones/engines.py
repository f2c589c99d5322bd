"""Run a network over batches of pictures: OpenVINO on a CPU, TensorFlow on a GPU.

Both give the same numbers in float32 (compared whenever a network is exported) and take a fixed
batch, short ones padded, so that a feature does not depend on which pictures it came with. With an
exported network in the store, TensorFlow is not even imported.
"""

from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import Final

from tlfeat.backbones.engine_base import Engine
from tlfeat.backbones.exported import Exported, exported_network
from tlfeat.backbones.likeness import Likeness
from tlfeat.backbones.network_request import Exportable, NetworkRequest
from tlfeat.backbones.openvino_engine import check_processor, run_on_openvino
from tlfeat.backbones.openvino_package import CannotExportError
from tlfeat.backbones.precision import INT8, get_precision
from tlfeat.backbones.quantised import find_quantised
from tlfeat.backbones.tensorflow_engine import TensorFlowEngine, has_gpu
from tlfeat.errors import NetworkError

__all__ = ["ENGINES", "Engine", "Exportable", "NetworkRequest", "has_gpu", "open_engine"]

ENGINES: Final = ("auto", "openvino", "tensorflow")


def open_engine(
    request: Exportable,
    engine: str = "auto",
    cache: Path | None = None,
    jobs: int | None = None,
    on_note: Callable[[str], None] | None = None,
) -> Engine:
    """Make a network ready to run.

    Parameters
    ----------
    request : Exportable
    engine : {"auto", "openvino", "tensorflow"}, default "auto"
        "auto" is TensorFlow where there is a GPU or the precision is mixed, else OpenVINO, and
        TensorFlow again for a network that OpenVINO cannot take.
    cache : Path, optional
        The store; exported networks are kept in it.
    jobs : int, optional
        Threads of the forward pass; one a core if None. OpenVINO is told so for this network.
        TensorFlow has one number for the whole process, which it takes only before its first
        work, and keeps; a GPU is none of it. No recipe and no exported network depends on it.
    on_note : callable, optional
        Hears what a user should know, such as a fallback.

    Raises
    ------
    NetworkError
        If the network cannot run on the engine that was asked for, or the processor has not the
        precision.
    WeightsError
        If its weights do not fit.
    UnknownName
        If it has no such layer.
    """
    note = on_note or (lambda text: None)
    if engine not in ENGINES:
        raise NetworkError(f"Engine must be one of {', '.join(ENGINES)}. Got {engine!r} instead.")
    if request.precision.startswith(INT8):
        return _quantised(request, engine, cache, jobs)
    hint = get_precision(request.precision).hint
    if hint is None and (engine == "openvino" or not request.is_of_keras):
        raise NetworkError(
            f"OpenVINO does not compute in {request.precision} here: leave out --precision"
            f"{', or use --engine tensorflow' * request.is_of_keras}."
        )
    prefers_tensorflow = request.is_of_keras and (hint is None or has_gpu())
    if engine == "tensorflow" or (engine == "auto" and prefers_tensorflow):
        return TensorFlowEngine(request, jobs)
    check_processor(request.precision)
    try:
        with exported_network(request, cache, note) as exported:
            return _on_openvino(request, exported, jobs, note)
    except CannotExportError as error:
        if not request.is_of_keras:
            raise NetworkError(f"{request.name} cannot run on OpenVINO: {error}.") from error
        if engine == "openvino":
            raise NetworkError(
                f"{request.name} cannot run on OpenVINO ({error}): use --engine tensorflow."
            ) from error
        note(f"{request.name} runs on TensorFlow, not OpenVINO: {error}.")
        return TensorFlowEngine(request, jobs)


def _quantised(request: Exportable, engine: str, cache: Path | None, jobs: int | None) -> Engine:
    """Run a network that is quantised, which OpenVINO alone does."""
    if engine == "tensorflow":
        raise NetworkError(
            f"TensorFlow does not compute in {request.precision}: leave --engine out."
        )
    check_processor(request.precision)
    exported = find_quantised(request, cache)
    return run_on_openvino(
        lambda: exported.read(request.outputs),
        request.size,
        request.outputs,
        jobs,
        precision=request.precision,
    )


def _on_openvino(
    request: Exportable, exported: Exported, jobs: int | None, note: Callable[[str], None]
) -> Engine:
    """Run an exported network; say once what a shorter precision makes of its features."""

    def running(precision: str) -> Engine:
        return run_on_openvino(
            lambda: exported.read(request.outputs),
            request.size,
            request.outputs,
            jobs,
            precision=precision,
        )

    likeness = Likeness(exported, request.outputs, request.precision)
    if request.precision != "float32" and not likeness.is_known:
        with closing(running("float32")) as one, closing(running(request.precision)) as other:
            note(likeness.measure(request.name, one, other, request.size))
    return running(request.precision)
