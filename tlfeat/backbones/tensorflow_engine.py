"""Run a network with TensorFlow, on a GPU where there is one."""

import contextlib
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any, Final

import numpy as np

from tlfeat.backbones.engine_base import EngineBase, Features, Pictures, Token
from tlfeat.backbones.keras_runtime import has_gpu_driver, import_keras
from tlfeat.backbones.network_request import Exportable
from tlfeat.backbones.openvino_package import versions

_CPU_BATCH: Final = 8
_GPU_BATCHES: Final = (256, 128, 64, 32)  # the first that its memory has room for; not measured


def has_gpu() -> bool:
    """Say whether TensorFlow has a GPU; it is asked only where the driver is there."""
    if not has_gpu_driver():
        return False
    import_keras()
    import tensorflow as tf

    return bool(tf.config.list_physical_devices("GPU"))


class TensorFlowEngine(EngineBase):
    """One compiled function, called from a thread of its own.

    A GPU is given the next batch while it computes one: the call comes back at once, and the
    fetching of an answer waits.
    """

    name = "tensorflow"
    packages = ("keras", "tensorflow")
    _AHEAD = 2

    def __init__(self, request: Exportable, jobs: int | None) -> None:
        import_keras()
        import tensorflow as tf

        super().__init__(request.size, request.outputs, _CPU_BATCH)
        tf.config.experimental.enable_tensor_float_32_execution(False)
        if jobs:
            with contextlib.suppress(RuntimeError):  # already at work in this process
                tf.config.threading.set_intra_op_parallelism_threads(jobs)
        model = request.build()
        self.versions = versions(*self.packages)

        def forward(pictures: Any) -> list[Any]:
            outputs = model(pictures, training=False)
            return list(outputs) if isinstance(outputs, list | tuple) else [outputs]

        self._model = model  # the function only leans on it
        if tf.config.list_physical_devices("GPU"):
            self.device = "GPU"
            self.batch = self._largest(forward)
        self._forward = self._compiled(forward, self.batch)
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="tensorflow")

    def _compiled(self, forward: Callable[[Any], list[Any]], batch: int) -> Any:
        import tensorflow as tf

        signature = [tf.TensorSpec((batch, *self.shape), tf.uint8)]
        return tf.function(forward, input_signature=signature)

    def _largest(self, forward: Callable[[Any], list[Any]]) -> int:
        """Try batches, the largest first, until one has room."""
        import tensorflow as tf

        for batch in _GPU_BATCHES[:-1]:
            with contextlib.suppress(tf.errors.ResourceExhaustedError):
                for output in self._compiled(forward, batch)(self._padded(batch)):
                    np.array(output)
                return batch
        return _GPU_BATCHES[-1]

    def _padded(self, batch: int) -> Pictures:
        return np.zeros((batch, *self.shape), np.uint8)

    def _begin(self, pictures: Pictures) -> list[Any]:
        padded = self._padded(self.batch)
        padded[: len(pictures)] = pictures
        return [output[: len(pictures)] for output in self._forward(padded)]

    def run(self, batches: Iterable[tuple[Token, Pictures]]) -> Iterator[tuple[Token, Features]]:
        """Embed batches, in their order, a few of them at the same time."""
        flying: deque[tuple[Token, Future[list[Any]]]] = deque()

        def land() -> tuple[Token, Features]:
            token, begun = flying.popleft()
            return token, [np.array(output) for output in begun.result()]

        try:
            for token, pictures in batches:
                self.check(pictures)
                if len(flying) == self._AHEAD:
                    yield land()
                flying.append((token, self._thread.submit(self._begin, pictures)))
            while flying:
                yield land()
        finally:
            for _, future in flying:
                future.cancel()

    def close(self) -> None:
        """Let go of the network."""
        self._thread.shutdown(cancel_futures=True)
        self._model = self._forward = None
