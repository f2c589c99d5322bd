"""Run a network over batches of pictures: OpenVINO on a CPU, TensorFlow on a GPU.

Both give the same numbers in float32 (compared whenever a network is exported) and take a fixed
batch, short ones padded, so that a feature does not depend on which pictures it came with. With an
exported network in the store, TensorFlow is not even imported.
"""

from collections.abc import Callable
from contextlib import closing
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Final, TypeVar

from tlfeat.backbones.engine_base import Engine
from tlfeat.backbones.exported import Exported, exported_network
from tlfeat.backbones.likeness import Likeness
from tlfeat.backbones.network_request import Exportable, NetworkRequest
from tlfeat.backbones.openvino_engine import OpenVINOEngine, check_processor, run_on_openvino
from tlfeat.backbones.openvino_package import CannotExportError, versions
from tlfeat.backbones.precision import INT8, get_precision
from tlfeat.backbones.quantised import find_quantised
from tlfeat.backbones.tensorflow_engine import TensorFlowEngine, has_gpu
from tlfeat.errors import NetworkError

__all__ = [
    "ENGINES",
    "Engine",
    "Exportable",
    "NetworkRequest",
    "Runnable",
    "has_gpu",
    "open_engine",
    "packed_network",
]

T = TypeVar("T")
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

    def opened(network: Runnable) -> Engine:
        network.compare(jobs, note)
        return network.open(jobs)

    return _settled(request, engine, cache, note, has_gpu, opened)


def packed_network(
    request: Exportable,
    engine: str,
    cache: Path,
    on_note: Callable[[str], None],
    *,
    on_gpu: bool,
) -> "Runnable":
    """Give a network with all that another machine needs to run it; it is tried out here.

    Parameters
    ----------
    request : Exportable
    engine, cache, on_note
        As for `open_engine`.
    on_gpu : bool
        Whether the other machine has a GPU.

    Raises
    ------
    NetworkError, WeightsError, UnknownName
        As from `open_engine`.
    """

    def packed(network: Runnable) -> Runnable:
        if network.exported is None:
            return network
        network.compare(1, on_note)
        network.open(1).close()
        return replace(network, exported=network.exported.packed())

    return _settled(request, engine, cache, on_note, lambda: on_gpu, packed)


@dataclass(frozen=True)
class Runnable:
    """A network, and what runs it.

    Attributes
    ----------
    request : Exportable
    exported : Exported or None
        For OpenVINO; None where TensorFlow builds the network and runs it.
    """

    request: Exportable
    exported: Exported | None

    @property
    def made_by(self) -> dict[str, Any]:
        """The engine, and the versions that the numbers come from."""
        runs = TensorFlowEngine if self.exported is None else OpenVINOEngine
        return {"engine": runs.name, "versions": versions(*runs.packages)}

    def open(self, jobs: int | None) -> Engine:
        """Make it ready to run, in so many threads.

        Raises
        ------
        CannotExportError
            If OpenVINO cannot load it.
        """
        if self.exported is None:
            return TensorFlowEngine(self.request, jobs)
        return self._on_openvino(self.exported, jobs, self.request.precision)

    def compare(self, jobs: int | None, note: Callable[[str], None]) -> None:
        """Say once what a shorter precision makes of the features."""
        request, exported = self.request, self.exported
        is_short = request.precision != "float32" and not request.precision.startswith(INT8)
        if exported is None or not is_short:
            return
        likeness = Likeness(exported, request.outputs, request.precision)
        if not likeness.is_known:
            with (
                closing(self._on_openvino(exported, jobs, "float32")) as one,
                closing(self._on_openvino(exported, jobs, request.precision)) as other,
            ):
                note(likeness.measure(request.name, one, other, request.size))

    def _on_openvino(self, exported: Exported, jobs: int | None, precision: str) -> Engine:
        outputs = self.request.outputs
        return run_on_openvino(
            lambda: exported.read(outputs), self.request.size, outputs, jobs, precision=precision
        )


def _settled(
    request: Exportable,
    engine: str,
    cache: Path | None,
    note: Callable[[str], None],
    has_gpu: Callable[[], bool],
    use: Callable[[Runnable], T],
) -> T:
    """Decide what runs a network and use it; with TensorFlow where OpenVINO cannot."""
    if engine not in ENGINES:
        raise NetworkError(f"Engine must be one of {', '.join(ENGINES)}. Got {engine!r} instead.")
    if request.precision.startswith(INT8):
        return use(_quantised(request, engine, cache))
    hint = get_precision(request.precision).hint
    if hint is None and (engine == "openvino" or not request.is_of_keras):
        raise NetworkError(
            f"OpenVINO does not compute in {request.precision} here: leave out --precision"
            f"{', or use --engine tensorflow' * request.is_of_keras}."
        )
    prefers_tensorflow = request.is_of_keras and (hint is None or has_gpu())
    if engine == "tensorflow" or (engine == "auto" and prefers_tensorflow):
        return use(Runnable(request, None))
    check_processor(request.precision)
    try:
        with exported_network(request, cache, note) as exported:
            return use(Runnable(request, exported))
    except CannotExportError as error:
        if not request.is_of_keras:
            raise NetworkError(f"{request.name} cannot run on OpenVINO: {error}.") from error
        if engine == "openvino":
            raise NetworkError(
                f"{request.name} cannot run on OpenVINO ({error}): use --engine tensorflow."
            ) from error
        note(f"{request.name} runs on TensorFlow, not OpenVINO: {error}.")
        return use(Runnable(request, None))


def _quantised(request: Exportable, engine: str, cache: Path | None) -> Runnable:
    """Find a network that is quantised, which OpenVINO alone runs."""
    if engine == "tensorflow":
        raise NetworkError(
            f"TensorFlow does not compute in {request.precision}: leave --engine out."
        )
    check_processor(request.precision)
    return Runnable(request, find_quantised(request, cache))
