"""Run an exported network with OpenVINO."""

from collections import deque
from collections.abc import Callable, Iterable, Iterator
from typing import Any, Final

import numpy as np

from tlfeat.backbones.engine_base import Engine, EngineBase, Features, Pictures, Token
from tlfeat.backbones.openvino_package import CannotExportError, import_openvino, versions
from tlfeat.backbones.precision import get_precision
from tlfeat.backbones.table import Output
from tlfeat.errors import NetworkError

_BATCH: Final = 2  # measured: 1 and 2 are a third faster than 4 and 8, and alike
_HINT: Final = "INFERENCE_PRECISION_HINT"


def check_processor(precision: str) -> None:
    """Refuse a precision that this processor has not: OpenVINO would emulate or forget it.

    Raises
    ------
    NetworkError
        If OpenVINO does not list it among what the processor can do.
    """
    wanted = get_precision(precision).capability
    if wanted is None:
        return
    there = import_openvino().Core().get_property("CPU", "OPTIMIZATION_CAPABILITIES")
    if wanted not in there:
        raise NetworkError(
            f"This processor does not compute in {precision} (OpenVINO lists "
            f"{', '.join(sorted(there))}): leave --precision out, or take a machine that has it."
        )


def run_on_openvino(
    read: Callable[[], Any],
    size: int,
    outputs: tuple[Output, ...],
    jobs: int | None,
    *,
    precision: str = "float32",
) -> Engine:
    """Make an exported network ready to run.

    Parameters
    ----------
    read : callable
        Gives the network.
    size : int
        Side of its pictures in pixels.
    outputs : tuple of Output
        What it gives.
    jobs : int, optional
    precision : str
        "float32", "bfloat16", or "int8:DIGITS", of a network that is quantised.

    Raises
    ------
    CannotExportError
        If OpenVINO cannot load it.
    NetworkError
        If it computes in another precision than was asked for.
    """
    try:
        return OpenVINOEngine(read(), size, outputs, jobs, precision)
    except RuntimeError as error:
        raise CannotExportError(
            f"OpenVINO cannot load it: {str(error).strip().splitlines()[0][:200]}"
        ) from error


class OpenVINOEngine(EngineBase):
    """A few requests in flight; their answers are given out in the order they were asked."""

    name = "openvino"
    packages = ("openvino", "keras", "tensorflow")

    def __init__(
        self,
        network: Any,
        size: int,
        outputs: tuple[Output, ...],
        jobs: int | None,
        precision: str,
    ) -> None:
        length = network.input(0).partial_shape[0]
        # a file of somebody's may take one picture at a time and no more
        super().__init__(size, outputs, _BATCH if length.is_dynamic else length.get_length())
        network.reshape([self.batch, *self.shape])
        hint = get_precision(precision).hint
        settings = self._settings(jobs) | {_HINT: hint}
        compiled = import_openvino().Core().compile_model(network, "CPU", settings)
        taken = compiled.get_property(_HINT).get_type_name()
        if taken != hint:
            raise NetworkError(
                f"OpenVINO was to compute in {precision} and computes in {taken}: leave "
                "--precision out."
            )
        self.versions = versions(*self.packages)
        # twice what the streams need, so that none waits while an answer is fetched
        count = 2 * int(compiled.get_property("OPTIMAL_NUMBER_OF_INFER_REQUESTS"))
        self._requests = [compiled.create_infer_request() for _ in range(count)]

    @staticmethod
    def _settings(jobs: int | None) -> dict[str, Any]:
        settings: dict[str, Any] = {
            "PERFORMANCE_HINT": "THROUGHPUT",
            # decoding wants the same cores, and so may another process
            "ENABLE_CPU_PINNING": False,
        }
        if jobs:
            settings["INFERENCE_NUM_THREADS"] = jobs
        return settings

    def run(self, batches: Iterable[tuple[Token, Pictures]]) -> Iterator[tuple[Token, Features]]:
        """Embed batches, in their order, a few of them at the same time."""
        free = list(self._requests)
        flying: deque[tuple[Token, Any, int]] = deque()

        def land() -> tuple[Token, Features]:
            token, answer, count = flying.popleft()
            answer.wait()
            features = [
                np.array(answer.get_output_tensor(i).data[:count], dtype=np.float32)
                for i in range(len(self.outputs))
            ]
            free.append(answer)
            return token, features

        try:
            for token, pictures in batches:
                self.check(pictures)
                while flying and (not free or flying[0][1].wait_for(0)):
                    yield land()
                ask = free.pop()
                room = ask.get_input_tensor().data
                room[: len(pictures)] = pictures
                room[len(pictures) :] = 0
                ask.start_async()
                flying.append((token, ask, len(pictures)))
            while flying:
                yield land()
        finally:
            for _, ask, _ in flying:  # the caller stopped early: nothing may fly on
                ask.wait()

    def close(self) -> None:
        """Let go of the network."""
        self._requests = []
