"""One device, or several that each take a share of every batch (MirroredStrategy).

Written for several GPUs and tested on virtual CPU devices; no speed was measured.
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext
from typing import Any

from tlfeat.errors import TlfeatError
from tlfeat.watch import Watch


@contextmanager
def open_devices(wanted: int, watch: Watch) -> Iterator[tuple[int, Callable[[], Any]]]:
    """Choose what a network is trained on.

    Parameters
    ----------
    wanted : int
        Number of devices: 1 for TensorFlow's own choice, 0 for all GPUs.
    watch : Watch
        Hears which they are, where they are several.

    Yields
    ------
    number : int
        Of devices.
    scope : callable
        Gives the context to build and compile models in.

    Raises
    ------
    TlfeatError
        If there are not so many.
    """
    if wanted == 1:
        yield 1, nullcontext
        return
    import tensorflow as tf

    gpus = tf.config.list_logical_devices("GPU")
    # without a GPU, processors that the caller has parted into several virtual ones
    devices = gpus or tf.config.list_logical_devices("CPU")
    if wanted < 0 or wanted > len(devices) or (wanted == 0 and not gpus):
        kind = "GPUs" if gpus else "processors and no GPU"
        raise TlfeatError(
            f"{wanted or 'All'} devices were asked for and TensorFlow sees {len(devices)} {kind}: "
            "ask for no more than there are."
        )
    chosen = [device.name for device in devices[: wanted or None]]
    strategy = tf.distribute.MirroredStrategy(
        chosen, cross_device_ops=None if gpus else tf.distribute.ReductionToOneDevice()
    )
    watch.note(f"Each batch is shared by {len(chosen)} devices: {', '.join(chosen)}.")
    yield len(chosen), strategy.scope
