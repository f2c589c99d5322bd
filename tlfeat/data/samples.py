"""The rows of a dataset: its pictures, and those that were left out."""

from collections.abc import Hashable
from typing import NamedTuple


class Sample(NamedTuple):
    """One picture of a dataset."""

    id: str  # unique: a path with "/", or "train[17]" for a row of an array
    locator: Hashable  # where the source finds it
    label: int | None  # position in Dataset.classes
    split: str | None  # train, validation or test; None for an unlabelled picture
    group: str | None  # pictures of one group stay on one side of a split
    digest: str  # SHA-256, the key of its features


class Skipped(NamedTuple):
    """One picture that was left out, with the reason."""

    id: str
    reason: str
    label: int | None
    split: str | None
