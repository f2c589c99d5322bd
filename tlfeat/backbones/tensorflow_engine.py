"""Run a network with TensorFlow, on a GPU where there is one."""

import contextlib
import os
from collections import deque
from collections.abc import Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import Any, Final

import numpy as np

from tlfeat.backbones.engine_base import EngineBase, Features, Pictures, Token
from tlfeat.backbones.exported import versions
from tlfeat.backbones.keras_runtime import import_keras
from tlfeat.backbones.network_request import Exportable

_BATCH: Final = {"CPU": 8, "GPU": 32}


def has_gpu() -> bool:
    """Say whether TensorFlow has a GPU; it is asked only where the driver is there."""
    if os.environ.get("CUDA_VISIBLE_DEVICES") in ("", "-1"):
        return False
    if not Path("/proc/driver/nvidia/version").exists() and not Path("/dev/kfd").exists():
        return False
    import_keras()
    import tensorflow as tf

    return bool(tf.config.list_physical_devices("GPU"))


class TensorFlowEngine(EngineBase):
    """One compiled function in a thread of its own, one batch ahead of the caller."""

    name = "tensorflow"
    _AHEAD = 2

    def __init__(self, request: Exportable, jobs: int | None) -> None:
        import_keras()
        import tensorflow as tf

        gpu = bool(tf.config.list_physical_devices("GPU"))
        super().__init__(request.size, request.outputs, _BATCH["GPU" if gpu else "CPU"])
        tf.config.experimental.enable_tensor_float_32_execution(False)
        if jobs:
            with contextlib.suppress(RuntimeError):  # already at work in this process
                tf.config.threading.set_intra_op_parallelism_threads(jobs)
        model = request.build()
        self.versions = versions("keras", "tensorflow")
        signature = [tf.TensorSpec((self.batch, *self.shape), tf.uint8)]

        def forward(pictures: Any) -> list[Any]:
            outputs = model(pictures, training=False)
            return list(outputs) if isinstance(outputs, list | tuple) else [outputs]

        self._model = model  # the function only leans on it
        self._forward = tf.function(forward, input_signature=signature)
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="tensorflow")

    def _embed(self, pictures: Pictures) -> Features:
        padded = np.zeros((self.batch, *self.shape), np.uint8)
        padded[: len(pictures)] = pictures
        return [np.array(output[: len(pictures)]) for output in self._forward(padded)]

    def run(self, batches: Iterable[tuple[Token, Pictures]]) -> Iterator[tuple[Token, Features]]:
        """Embed batches, in their order, a few of them at the same time."""
        flying: deque[tuple[Token, Future[Features]]] = deque()
        try:
            for token, pictures in batches:
                self.check(pictures)
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
        """Let go of the network."""
        self._thread.shutdown(cancel_futures=True)
        self._model = self._forward = None
