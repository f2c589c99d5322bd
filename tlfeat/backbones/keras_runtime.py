"""Bring in Keras quietly, and only with the backend that the networks here were tried with."""

import logging
import os
import random
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from tlfeat.backbones.precision import get_precision
from tlfeat.errors import NetworkError
from tlfeat.interrupts import interruptible


def has_gpu_driver() -> bool:
    """Say whether TensorFlow may have a GPU, without importing it."""
    if os.environ.get("CUDA_VISIBLE_DEVICES") in ("", "-1"):
        return False
    return Path("/proc/driver/nvidia/version").exists() or Path("/dev/kfd").exists()


def import_keras() -> Any:
    """Import Keras on TensorFlow, without their chatter.

    A GPU's memory is taken as it is needed, not as a whole.

    Returns
    -------
    keras : module

    Raises
    ------
    NetworkError
        If Keras is set to another backend, or to channels first.
    """
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    backend = os.environ.get("KERAS_BACKEND") or "tensorflow"
    if backend == "tensorflow":
        if "tensorflow" not in sys.modules:  # else its user has settled what it says
            logging.getLogger("tensorflow").setLevel(logging.ERROR)
        with interruptible() as asked:  # what TensorFlow runs on its way in may lose Ctrl-C
            try:
                import keras
            except ImportError as error:
                raise NetworkError(
                    f"Keras cannot be imported ({error}): install tensorflow again."
                ) from error
            finally:
                asked.answer()
        backend = keras.backend.backend()
    if backend != "tensorflow":
        raise NetworkError(
            f"Keras is set to the backend {backend!r}, but tlfeat's networks need 'tensorflow': "
            "unset KERAS_BACKEND, or set it to tensorflow (~/.keras/keras.json counts too)."
        )
    if has_gpu_driver():
        _grow_as_needed()
    if keras.config.image_data_format() != "channels_last":
        raise NetworkError(
            "Keras is set to channels first, but tlfeat's networks need channels last: set "
            '"image_data_format": "channels_last" in ~/.keras/keras.json.'
        )
    return keras


def _grow_as_needed() -> None:
    import tensorflow as tf

    for gpu in tf.config.list_physical_devices("GPU"):
        with suppress(RuntimeError, ValueError):  # at work already, as its user has settled
            tf.config.experimental.set_memory_growth(gpu, True)


@contextmanager
def seeded_initialisers(seed: int) -> Iterator[None]:
    """Make the networks built inside start from `seed`; the caller's own luck is untouched.

    An initialiser without a seed draws one from Python's generator, and from then on is a
    function of that seed alone.
    """
    before = random.getstate()
    random.seed(seed)
    try:
        yield
    finally:
        random.setstate(before)


@contextmanager
def dtype_policy(keras: Any, precision: str) -> Iterator[None]:
    """Build layers for a precision inside, and put the user's policy back after."""
    before = keras.config.dtype_policy()
    keras.config.set_dtype_policy(get_precision(precision).policy)
    try:
        yield
    finally:
        keras.config.set_dtype_policy(before)
