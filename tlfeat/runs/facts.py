"""What run.json says of a run, part by part, as types: a field here for each that is read."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, fields
from typing import Any, TypeVar

T = TypeVar("T")


@dataclass(frozen=True)
class DatasetFacts:
    """The pictures that a run was trained and measured on."""

    source: str  # where they were, as the user said it
    kind: str  # of the layout, such as "folder"
    fingerprint: str  # of digests, labels, splits and groups
    classes: Sequence[str]
    counts: Mapping[str, Mapping[str, int]]  # split to class to pictures
    skipped: Sequence[Mapping[str, str]]  # id and reason of each picture that could not be used
    asked: Mapping[str, Any] = field(default_factory=dict)  # of `open_dataset`, where not usual


@dataclass(frozen=True)
class SplitFacts:
    """How pictures came into train, validation and test."""

    rule: str
    seed: int
    fingerprint: str  # of digests and splits


@dataclass(frozen=True)
class ParentFacts:
    """What a fine-tune starts from: another run, after an epoch or at its end, or a file."""

    sha256: str = ""  # of the weights
    run: str | None = None  # its id
    name: str | None = None
    epoch: int | None = None
    file: str | None = None


@dataclass(frozen=True)
class Parameters:
    """Numbers that a model is made of."""

    total: int
    trainable: int


@dataclass(frozen=True)
class HeadFacts:
    """A head: what was asked for, what the search chose, what it gives."""

    name: str
    params: Mapping[str, Any]  # that were given
    search: bool
    class_weight: str | None
    refit: bool
    grid: Mapping[str, Sequence[Any]]  # that was searched
    chosen: Mapping[str, Any]
    tried: Sequence[Mapping[str, Any]]  # a row a setting
    score_kind: str  # "probability" or "score"
    converged: bool = True
    metric: str = "accuracy"  # that the search made best; earlier versions knew no other
    temperature: float | None = None  # that its logits were divided by
    edges: Sequence[str] = ()  # settings whose best value is the first or last that was tried
    method: int = 1  # raised when a head's numbers change
    members: Mapping[str, int] = field(default_factory=dict)  # of an ensemble, with their methods


def known_fields(kind: type[Any], values: Mapping[str, Any]) -> dict[str, Any]:
    """Give those values that a type has fields for; another version may have written more."""
    return {one.name: values[one.name] for one in fields(kind) if one.name in values}


def read_facts(kind: type[T], values: Mapping[str, Any]) -> T:
    """Make a part of a record of its values in run.json, which were checked."""
    return kind(**known_fields(kind, values))
