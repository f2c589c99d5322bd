"""What a network's file says of itself."""

from collections.abc import Mapping
from typing import NamedTuple


class Understood(NamedTuple):
    """What a file says of itself."""

    side: int | None  # of its pictures; None where it takes any
    parameters: int
    input: str
    outputs: Mapping[str, str]  # name to shape; empty where only building it would tell
