"""What a pass over the pictures is for, and what comes of it, wherever it is done."""

from collections.abc import Generator, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Any, NamedTuple, TypeAlias

import numpy as np

from tlfeat.backbones.engines import NetworkRequest
from tlfeat.backbones.table import Output
from tlfeat.data.dataset import Dataset
from tlfeat.data.samples import Sample
from tlfeat.features.forward import Square, Unread
from tlfeat.features.settings import FeatureRequest
from tlfeat.features.store import Entry

# Digests, and of each output of a network their rows; a batch at a time.
Rows: TypeAlias = Iterable[tuple[list[str], list[np.ndarray]]]


@dataclass
class Sink:
    """One store entry that an output of a network goes to, and what it lacks."""

    entry: Entry
    output: Output
    missing: frozenset[str]


@dataclass
class Network:
    """One network and the entries that its outputs go to."""

    request: FeatureRequest
    sinks: list[Sink] = field(default_factory=list)

    @property
    def to_run(self) -> NetworkRequest:
        """What an engine is asked for."""
        request = self.request
        return NetworkRequest(
            request.backbone,
            request.size,
            request.weights,
            tuple(sink.output for sink in self.sinks),
            request.settings.precision,
        )

    def wants(self, digest: str) -> bool:
        """Say whether any entry lacks this picture."""
        return any(digest in sink.missing for sink in self.sinks)

    def wanted(self, squares: Iterable[Square]) -> Iterator[Square]:
        """Give the squares of the pictures that any entry lacks."""
        return (square for square in squares if self.wants(square.id))


class Chunk(NamedTuple):
    """What comes of some pictures.

    Attributes
    ----------
    digests, embedded : list of str
        Of all of them, and of those that could be decoded.
    failures, passing : dict of str to str
        Digest to reason: of pictures that never can be read, and of those that cannot this time.
    rows : sequence of iterables
        For each network those of the pictures that it lacks; to be taken once, in this order.
    waited : sequence of float or None
        Seconds before they could be taken, as if each network were alone; None where they tell
        nothing of this machine.
    """

    digests: list[str]
    embedded: list[str]
    failures: dict[str, str]
    passing: dict[str, str]
    rows: Sequence[Rows]
    waited: Sequence[float | None]

    @classmethod
    def of(
        cls, squares: Sequence[Square], rows: Sequence[Rows], waited: Sequence[float | None]
    ) -> "Chunk":
        """Give what comes of pictures that were decoded."""
        return cls(
            [one.id for one in squares],
            [one.id for one in squares if one.pixels is not None],
            {one.id: one.reason for one in squares if one.reason and not one.passing},
            {one.id: one.reason for one in squares if one.passing},
            rows,
            waited,
        )


class RowSource(NamedTuple):
    """Where rows come from."""

    chunks: Generator[Chunk, None, None]
    made_by: Sequence[Mapping[str, Any]]  # for each network: engine and versions


def unread_pictures(dataset: Dataset, samples: Sequence[Sample]) -> list[Unread]:
    """Give the pictures of samples, whose bytes must be those that their digest was made of.

    They are going to be read in this order.
    """
    dataset.expect(samples)
    return [
        Unread(one.digest, partial(dataset.read, one), "" if dataset.is_derived else one.digest)
        for one in samples
    ]
