"""What an engine is, and what those for OpenVINO and TensorFlow share."""

from collections.abc import Iterable, Iterator
from typing import Protocol, TypeVar

import numpy as np
import numpy.typing as npt

from tlfeat.backbones.table import Output

Token = TypeVar("Token")
Pictures = npt.NDArray[np.uint8]
Features = list[npt.NDArray[np.float32]]


class Engine(Protocol):
    """Something that runs a network."""

    @property
    def name(self) -> str:
        """One of "openvino" and "tensorflow"."""

    @property
    def device(self) -> str:
        """What computes: "CPU" or "GPU"."""

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


class EngineBase:
    """What both engines share: their facts, and what a batch must be."""

    name = ""
    device = "CPU"

    def __init__(self, size: int, outputs: tuple[Output, ...], batch: int) -> None:
        self.shape = (size, size, 3)
        self.outputs = outputs
        self.batch = batch

    def check(self, pictures: Pictures) -> None:
        """Raise ValueError for a batch that is not as it must be."""
        fits = pictures.dtype == np.uint8 and pictures.shape[1:] == self.shape
        if not fits or not 1 <= len(pictures) <= self.batch:
            raise ValueError(
                f"A batch must be uint8 of shape (1 to {self.batch}, "
                f"{', '.join(map(str, self.shape))}). Got {pictures.dtype} of shape "
                f"{pictures.shape} instead."
            )

    def close(self) -> None:
        """Let go of the network."""
