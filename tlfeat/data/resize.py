"""How a picture becomes a square, as a user says it and a recipe keeps it; `decode` does it."""

from dataclasses import asdict, dataclass
from typing import Any

from tlfeat.errors import DataError, did_you_mean

DECODER = 1  # raised when the same rule gives other numbers
RULES = ("squash", "crop", "pad")
FILTERS = ("nearest", "box", "bilinear", "bicubic", "lanczos")


@dataclass(frozen=True)
class Resize:
    """How a picture becomes a square.

    Parameters
    ----------
    rule : {"squash", "crop", "pad"}
        "squash" scales both sides alike to the square; "crop" scales the shorter side to
        size + 32 and cuts out the centre; "pad" scales the longer side and fills up with grey.
    filter : {"nearest", "box", "bilinear", "bicubic", "lanczos"}
    antialias : bool
        Widen the filter where the picture shrinks.
    draft : bool
        Let JPEG decode at the smallest of 1, 1/2, 1/4, 1/8 that is at least twice the size.
    """

    rule: str = "squash"
    filter: str = "bicubic"
    antialias: bool = True
    draft: bool = True

    def __post_init__(self) -> None:
        for what, value, known in (("rule", self.rule, RULES), ("filter", self.filter, FILTERS)):
            if value not in known:
                raise DataError(
                    f"Unknown resize {what} {value!r}; there are {', '.join(known)}."
                    + did_you_mean(value, known)
                )

    def as_dict(self) -> dict[str, Any]:
        """Give the rule as it stands in a recipe."""
        return asdict(self)
