"""How near a network's features in a shorter precision are to those in float32, on this machine.

    cache/networks/<key>/bfloat16-<outputs>.json

Measured once for what is taken of a network, a processor and a version, on pictures made by
code, and said then: the numbers of a shorter precision are the processor's own.
"""

import json
from collections.abc import Sequence
from contextlib import suppress
from hashlib import sha256
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from tlfeat.backbones.engine_base import Engine
from tlfeat.backbones.exported import Exported, sample_pictures
from tlfeat.backbones.openvino_package import versions
from tlfeat.backbones.table import Output
from tlfeat.errors import NetworkError, TlfeatError
from tlfeat.files import write_text
from tlfeat.machine import machine

_PICTURES: Final = 8

Rows = Sequence[npt.NDArray[Any]]


def least_cosine(ours: Rows, theirs: Rows) -> float:
    """Give the least cosine between rows of two engines, over all outputs.

    Parameters
    ----------
    ours, theirs : sequence of ndarray of shape (n, *feature_shape)
        One for each output.

    Returns
    -------
    cosine : float
        Two rows of zeros are alike; nan where a number is not finite.

    Examples
    --------
    >>> least_cosine([np.array([[3.0, 4.0], [1.0, 0.0]])], [np.array([[6.0, 8.0], [1.0, 1.0]])])
    0.7071067811865475
    """
    least = 1.0
    for a, b in zip(ours, theirs, strict=True):
        one, other = (x.reshape(len(x), -1).astype(np.float64) for x in (a, b))
        lengths = np.linalg.norm(one, axis=1) * np.linalg.norm(other, axis=1)
        alike = (one == other).all(axis=1)
        cosines = np.where(alike, 1.0, (one * other).sum(axis=1) / np.where(alike, 1.0, lengths))
        least = float(np.minimum(least, cosines.min(initial=1.0)))
    return least


class Likeness:
    """What is known, and kept beside an exported network, of one of its shorter precisions."""

    def __init__(self, exported: Exported, outputs: tuple[Output, ...], precision: str) -> None:
        wanted = sha256(json.dumps([list(one) for one in outputs]).encode()).hexdigest()
        self._file = exported.folder / f"{precision}-{wanted[:8]}.json"
        self._facts = {
            "outputs": [list(one) for one in outputs],
            "processor": machine()["processor"],
            "versions": versions("openvino"),
        }
        self._precision = precision

    @property
    def is_known(self) -> bool:
        """Whether it was measured with these outputs, versions, and on such a processor."""
        with suppress(OSError, ValueError, AttributeError):
            kept = json.loads(self._file.read_text(encoding="utf-8"))
            return all(kept.get(name) == value for name, value in self._facts.items())
        return False

    def measure(self, name: str, float32: Engine, shorter: Engine, size: int) -> str:
        """Compare two engines of one network, and keep what comes of it.

        Parameters
        ----------
        name : str
            What the sentence calls the network.
        float32, shorter : Engine
        size : int
            Side of the pictures in pixels.

        Returns
        -------
        sentence : str

        Raises
        ------
        NetworkError
            If it gives numbers that are not finite.
        """
        pictures = sample_pictures(size, _PICTURES)
        cosine = least_cosine(_rows(float32, pictures), _rows(shorter, pictures))
        if not np.isfinite(cosine):
            raise NetworkError(
                f"{name} gives numbers in {self._precision} that are not finite: leave "
                "--precision out."
            )
        record = {**self._facts, "pictures": _PICTURES, "least_cosine": cosine}
        with suppress(TlfeatError):  # a store that cannot be written: measured the next time, too
            write_text(self._file, json.dumps(record, indent=2) + "\n")
        return (
            f"{name} computes in {self._precision} here: on {_PICTURES} pictures made by code its "
            f"features have a cosine of at least {cosine:.4f} with those in float32."
        )


def _rows(engine: Engine, pictures: npt.NDArray[np.uint8]) -> Rows:
    starts = range(0, len(pictures), engine.batch)
    batches = ((start, pictures[start : start + engine.batch]) for start in starts)
    parts = [features for _, features in engine.run(batches)]
    return [np.concatenate(rows) for rows in zip(*parts, strict=True)]
