"""The modes of a phase: what each trains, and how where nothing else is said.

Reading it imports neither NumPy nor TensorFlow.
"""

from collections.abc import Mapping
from types import MappingProxyType
from typing import Final, NamedTuple


class Mode(NamedTuple):
    """What a phase trains, and how where nothing else is said."""

    name: str
    learning_rate: float
    summary: str
    optimizer: str = "adam"
    clip_norm: float | None = None
    label_smoothing: float = 0.0
    averages: bool = False  # the weights, along the steps and between start and end


_ROWS: Final = (
    Mode(
        "auto",
        1e-3,
        "the best logistic regression as the top first, then everything, and between the two "
        "what held rows choose",
        optimizer="adamw",
        clip_norm=1.0,
        label_smoothing=0.1,
        averages=True,
    ),
    Mode("scratch", 1e-3, "random weights, everything trained"),
    Mode("frozen", 1e-2, "the new top only: solved as a logistic regression, or in steps"),
    Mode("partial", 3e-4, "the new top and what lies above a cut"),
    Mode("full", 5e-4, "everything"),
    Mode("lp-ft", 3e-5, "a logistic regression as the top first, then everything"),
)
PARTED: Final = ("auto", "partial")  # modes that may have a cut
FROM_A_HEAD: Final = ("auto", "lp-ft")  # modes whose top begins as a logistic regression
MODES: Final[Mapping[str, Mode]] = MappingProxyType({row.name: row for row in _ROWS})
