"""Run a network over batches of pictures: OpenVINO on a CPU, TensorFlow on a GPU.

Both give the same numbers (compared whenever a network is exported) and take a fixed batch,
short ones padded, so that a feature does not depend on which pictures it came with. With an
exported network in the store, TensorFlow is not even imported.
"""

import contextlib
import os
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import Any, Final, Protocol, TypeVar

import numpy as np
import numpy.typing as npt

from tlfeat.backbones.exported import (
    CannotExportError,
    Exportable,
    NetworkRequest,
    exported_network,
    import_openvino,
    versions,
)
from tlfeat.backbones.keras_runtime import import_keras
from tlfeat.backbones.table import Output
from tlfeat.errors import NetworkError

__all__ = ["ENGINES", "Engine", "Exportable", "NetworkRequest", "open_engine"]

ENGINES: Final = ("auto", "openvino", "tensorflow")
_OPENVINO_BATCH: Final = 2  # measured: 1 and 2 are a third faster than 4 and 8, and alike
_TENSORFLOW_BATCH: Final = {"CPU": 8, "GPU": 32}

Token = TypeVar("Token")
Pictures = npt.NDArray[np.uint8]
Features = list[npt.NDArray[np.float32]]


class Engine(Protocol):
    """Something that runs a network."""

    @property
    def name(self) -> str:
        """One of "openvino" and "tensorflow"."""

    @property
    def outputs(self) -> tuple[Output, ...]:
        """What each array of a result is."""

    @property
    def batch(self) -> int:
        """The most pictures that a batch may have."""

    @property
    def versions(self) -> dict[str, str]:
        """The packages that the numbers come from."""

    def run(self, batches: Iterable[tuple[Token, Pictures]]) -> Iterator[tuple[Token, Features]]:
        """Embed batches, in their order, a few of them at the same time.

        Parameters
        ----------
        batches : iterable of (token, ndarray of shape (n, size, size, 3), uint8)
            RGB, n from 1 to `batch`; pulled only as fast as they are worked on.

        Yields
        ------
        token : object
            As it came.
        features : list of ndarray of shape (n, *feature_shape), float32
            One for each of `outputs`.
        """

    def close(self) -> None:
        """Let go of the network."""


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
        If the network cannot run on the engine that was asked for.
    WeightsError
        If its weights do not fit.
    UnknownName
        If it has no such layer.
    """
    note = on_note or (lambda text: None)
    if engine not in ENGINES:
        raise NetworkError(f"Engine must be one of {', '.join(ENGINES)}. Got {engine!r} instead.")
    if request.precision not in ("float32", "mixed"):
        raise NetworkError(
            f"Precision must be float32 or mixed. Got {request.precision!r} instead."
        )
    if engine == "openvino" and request.precision != "float32":
        raise NetworkError(
            "OpenVINO computes in float32 here: leave out --precision, or use --engine tensorflow."
        )
    prefers_tensorflow = request.precision != "float32" or has_gpu()
    if engine == "tensorflow" or (engine == "auto" and prefers_tensorflow):
        return _TensorFlowEngine(request, jobs)
    try:
        with exported_network(request, cache, note) as exported:
            return run_on_openvino(
                lambda: exported.read(request.outputs), request.size, request.outputs, jobs
            )
    except CannotExportError as error:
        if engine == "openvino":
            raise NetworkError(
                f"{request.name} cannot run on OpenVINO ({error}): use --engine tensorflow."
            ) from error
        note(f"{request.name} runs on TensorFlow, not OpenVINO: {error}.")
        return _TensorFlowEngine(request, jobs)


def run_on_openvino(
    read: Callable[[], Any], size: int, outputs: tuple[Output, ...], jobs: int | None
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

    Raises
    ------
    CannotExportError
        If OpenVINO cannot load it.
    """
    try:
        return _OpenVINOEngine(read(), size, outputs, jobs)
    except RuntimeError as error:
        raise CannotExportError(
            f"OpenVINO cannot load it: {str(error).strip().splitlines()[0][:200]}"
        ) from error


def has_gpu() -> bool:
    """Say whether TensorFlow has a GPU; it is asked only where the driver is there."""
    if os.environ.get("CUDA_VISIBLE_DEVICES") in ("", "-1"):
        return False
    if not Path("/proc/driver/nvidia/version").exists() and not Path("/dev/kfd").exists():
        return False
    import_keras()
    import tensorflow as tf

    return bool(tf.config.list_physical_devices("GPU"))


class _Base:
    """What both engines share: their facts, and what a batch must be."""

    name = ""

    def __init__(self, size: int, outputs: tuple[Output, ...], batch: int) -> None:
        self._shape = (size, size, 3)
        self.outputs = outputs
        self.batch = batch

    def _check(self, pictures: Pictures) -> None:
        fits = pictures.dtype == np.uint8 and pictures.shape[1:] == self._shape
        if not fits or not 1 <= len(pictures) <= self.batch:
            raise ValueError(
                f"A batch must be uint8 of shape (1 to {self.batch}, "
                f"{', '.join(map(str, self._shape))}). Got {pictures.dtype} of shape "
                f"{pictures.shape} instead."
            )

    def close(self) -> None:
        """Let go of the network."""


class _OpenVINOEngine(_Base):
    """A few requests in flight; their answers are given out in the order they were asked."""

    name = "openvino"

    def __init__(
        self, network: Any, size: int, outputs: tuple[Output, ...], jobs: int | None
    ) -> None:
        super().__init__(size, outputs, _OPENVINO_BATCH)
        network.reshape([self.batch, *self._shape])
        compiled = import_openvino().Core().compile_model(network, "CPU", self._settings(jobs))
        self.versions = versions("openvino", "keras", "tensorflow")
        # twice what the streams need, so that none waits while an answer is fetched
        count = 2 * int(compiled.get_property("OPTIMAL_NUMBER_OF_INFER_REQUESTS"))
        self._requests = [compiled.create_infer_request() for _ in range(count)]

    @staticmethod
    def _settings(jobs: int | None) -> dict[str, Any]:
        settings: dict[str, Any] = {
            "PERFORMANCE_HINT": "THROUGHPUT",
            "INFERENCE_PRECISION_HINT": "f32",
            # decoding wants the same cores, and so may another process
            "ENABLE_CPU_PINNING": False,
        }
        if jobs:
            settings["INFERENCE_NUM_THREADS"] = jobs
        return settings

    def run(self, batches: Iterable[tuple[Token, Pictures]]) -> Iterator[tuple[Token, Features]]:
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
                self._check(pictures)
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
        self._requests = []


class _TensorFlowEngine(_Base):
    """One compiled function in a thread of its own, one batch ahead of the caller."""

    name = "tensorflow"
    _AHEAD = 2

    def __init__(self, request: Exportable, jobs: int | None) -> None:
        import_keras()
        import tensorflow as tf

        gpu = bool(tf.config.list_physical_devices("GPU"))
        super().__init__(request.size, request.outputs, _TENSORFLOW_BATCH["GPU" if gpu else "CPU"])
        tf.config.experimental.enable_tensor_float_32_execution(False)
        if jobs:
            with contextlib.suppress(RuntimeError):  # already at work in this process
                tf.config.threading.set_intra_op_parallelism_threads(jobs)
        model = request.build()
        self.versions = versions("keras", "tensorflow")
        signature = [tf.TensorSpec((self.batch, *self._shape), tf.uint8)]

        def forward(pictures: Any) -> list[Any]:
            outputs = model(pictures, training=False)
            return list(outputs) if isinstance(outputs, list | tuple) else [outputs]

        self._model = model  # the function only leans on it
        self._forward = tf.function(forward, input_signature=signature)
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="tensorflow")

    def _embed(self, pictures: Pictures) -> Features:
        padded = np.zeros((self.batch, *self._shape), np.uint8)
        padded[: len(pictures)] = pictures
        return [np.array(output[: len(pictures)]) for output in self._forward(padded)]

    def run(self, batches: Iterable[tuple[Token, Pictures]]) -> Iterator[tuple[Token, Features]]:
        flying: deque[tuple[Token, Future[Features]]] = deque()
        try:
            for token, pictures in batches:
                self._check(pictures)
                while flying and (len(flying) >= self._AHEAD or flying[0][1].done()):
                    first, future = flying.popleft()
                    yield first, future.result()
                flying.append((token, self._thread.submit(self._embed, pictures)))
            while flying:
                first, future = flying.popleft()
                yield first, future.result()
        finally:
            for _, future in flying:
                future.cancel()

    def close(self) -> None:
        self._thread.shutdown(cancel_futures=True)
        self._model = self._forward = None
