"""Pictures embedded by the workers of a cluster.

    chunks of locators --workers read, decode, embed--> rows --> `pipeline`, which writes them

A worker gets the source of the pictures, which reads them, and the networks as they were exported
here. With a GPU in the cluster other workers decode, and send it squares.
"""

import time
from collections.abc import Generator, Hashable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from typing import Any, Final, NamedTuple

import numpy as np

from tlfeat.backbones.engines import Runnable, packed_network
from tlfeat.cluster.join import Cluster
from tlfeat.cluster.parcels import Parcel, Received, Sender, fetched
from tlfeat.cluster.stream import streamed
from tlfeat.data.dataset import Dataset
from tlfeat.data.digests import digest_of
from tlfeat.data.resize import Resize
from tlfeat.data.samples import Sample
from tlfeat.data.sources.base import Source, expect, read_picture
from tlfeat.errors import ClusterError, TlfeatError, first_line
from tlfeat.features.forward import Square, Unread, chunk_length, forward, square_of
from tlfeat.features.wanted import Chunk, Network, RowSource
from tlfeat.where import Where

_MOST: Final = 64  # pictures of a chunk, as of a block of the store
_EACH: Final = 4  # chunks for each worker at the least, where there are so many pictures
_READERS: Final = 8  # threads of a worker: reading over a network is mostly waiting
_TRIED: Final = 20  # pictures, until one can be read here


class _Asked(NamedTuple):
    """A picture, where it is, and for each network whether it lacks it."""

    digest: str
    locator: Hashable
    wanted: tuple[bool, ...]


@dataclass(frozen=True)
class _Reading:
    """How pictures become squares."""

    source: Source
    is_derived: bool
    size: int
    resize: Resize

    def square(self, asked: _Asked) -> tuple[Square, tuple[bool, ...]]:
        """Read and decode a picture."""
        read = partial(read_picture, self.source, asked.locator)
        picture = Unread(asked.digest, read, "" if self.is_derived else asked.digest)
        return square_of(picture, self.size, self.resize), asked.wanted

    def trouble(self, digest: str, locator: Hashable) -> str:
        """Say why a picture cannot be read, or is another one; nothing if all is well."""
        try:
            data = read_picture(self.source, locator)
        except (OSError, TlfeatError) as error:
            return first_line(error)
        is_other = not self.is_derived and digest_of(data) != digest
        return "another picture lies there" if is_other else ""


def rows_of_cluster(
    cluster: Cluster,
    dataset: Dataset,
    samples: Sequence[Sample],
    networks: Sequence[Network],
    where: Where,
) -> RowSource:
    """Let a cluster's workers embed pictures with networks that see the same squares.

    Parameters
    ----------
    cluster : Cluster
    dataset, samples, networks, where
        As for `embed_pictures`.

    Raises
    ------
    ClusterError
        If the cluster cannot be used, or a node of it does not see the pictures.
    NetworkError, WeightsError
        If a network cannot run.
    """
    shared, ray = networks[0].request, cluster.ray
    reading = _Reading(dataset.source, dataset.is_derived, shared.size, shared.settings.rule)
    try:
        sent = ray.put(reading)
    except TypeError as error:
        raise ClusterError(
            f"{dataset.path} cannot be sent to the workers of a cluster ({error}): write its "
            "pictures to files that every node sees, or leave --cluster out."
        ) from error
    _check_nodes(cluster, reading, sent, samples)
    where.watch.doing("packing the networks; the first time they are exported, too")
    packed = [
        packed_network(
            network.to_run,
            where.engine,
            where.cache_folder,
            where.watch.note,
            on_gpu=cluster.gpus > 0,
        )
        for network in networks
    ]
    chunks = _chunks(samples, networks, shared.size, cluster.gpus or cluster.cpus)
    parcel = Sender(ray).pack(packed)
    threads = None if cluster.gpus else 1
    results = streamed(
        cluster, chunks, partial(_squares, sent), partial(_Embedder, parcel, threads)
    )
    return RowSource(_once(results, len(chunks), cluster), [one.made_by for one in packed])


def _check_nodes(
    cluster: Cluster, reading: _Reading, sent: Any, samples: Sequence[Sample]
) -> None:
    """Let every node read a picture that can be read here, before thousands of them fail."""
    for sample in samples[:_TRIED]:
        if reading.trouble(sample.digest, sample.locator):
            continue
        told = cluster.on_each_node(_trouble, [sent], sample.digest, sample.locator)
        lacking = {node: why for node, why in told.items() if why}
        if lacking:
            node, why = next(iter(lacking.items()))
            others = f" (and {len(lacking) - 1} more of {len(told)} nodes)" * (len(lacking) > 1)
            raise ClusterError(
                f"{node}{others} cannot read the picture {sample.id!r}: {why}. Put the pictures "
                "on a disk that all nodes share, at the same path on each, or into s3://."
            )
        return


def _trouble(sent: Sequence[Any], digest: str, locator: Hashable) -> str:
    reading: _Reading = fetched(sent[0])
    return reading.trouble(digest, locator)


def _chunks(
    samples: Sequence[Sample], networks: Sequence[Network], size: int, workers: int
) -> list[list[_Asked]]:
    """Part the pictures, so that every worker has some and a lost chunk is soon made again."""
    asked = [
        _Asked(one.digest, one.locator, tuple(net.wants(one.digest) for net in networks))
        for one in samples
    ]
    fair = -(-len(asked) // (_EACH * workers))
    length = max(1, min(_MOST, chunk_length(size), fair))
    return [asked[start : start + length] for start in range(0, len(asked), length)]


def _squares(sent: Any, chunk: Sequence[_Asked]) -> Iterator[tuple[Square, tuple[bool, ...]]]:
    """Read and decode a chunk on a worker; those behind while the first are embedded."""
    reading: _Reading = fetched(sent)
    expect(reading.source, (asked.locator for asked in chunk))
    with ThreadPoolExecutor(min(_READERS, len(chunk)), thread_name_prefix="decode") as pool:
        yield from pool.map(reading.square, chunk)


class _Embedder:
    """The networks of a worker, each decoded picture through all that lack it."""

    def __init__(self, parcel: Parcel, threads: int | None) -> None:
        networks: list[Runnable] = Received(parcel).thing
        self._engines = [network.open(threads) for network in networks]

    def __call__(self, squares: Iterable[tuple[Square, tuple[bool, ...]]]) -> Chunk:
        kept: list[tuple[Square, tuple[bool, ...]]] = []
        rows, seconds = [], []
        for number, engine in enumerate(self._engines):
            began = time.perf_counter()
            coming = kept if number else _noted(squares, kept)
            mine = (square for square, wanted in coming if wanted[number])
            rows.append(_joined(forward(engine, mine)))
            seconds.append(time.perf_counter() - began)
        return Chunk.of([square for square, _ in kept], rows, seconds)


def _noted(
    squares: Iterable[tuple[Square, tuple[bool, ...]]], kept: list[Any]
) -> Iterator[tuple[Square, tuple[bool, ...]]]:
    for one in squares:
        kept.append(one)
        yield one


def _joined(
    batches: Iterable[tuple[list[str], list[np.ndarray]]],
) -> list[tuple[list[str], list[np.ndarray]]]:
    """Make one batch of many; none of none."""
    ids, outputs = [], []
    for some, arrays in batches:
        ids += some
        outputs.append(arrays)
    return [(ids, [np.concatenate(parts) for parts in zip(*outputs, strict=True)])] if ids else []


def _once(
    results: Generator[Chunk, None, None], chunks: int, cluster: Cluster
) -> Generator[Chunk, None, None]:
    """Give each chunk once, however often it was made, with what it cost of this machine."""
    come: set[str] = set()  # the first digest of each
    is_here, workers = cluster.is_of_this_machine, cluster.cpus
    for chunk in results:
        if chunk.digests[0] not in come:
            come.add(chunk.digests[0])
            costs = [
                one / workers if is_here and one is not None else None for one in chunk.waited
            ]
            yield chunk._replace(waited=costs)
    if len(come) < chunks:
        raise ClusterError(
            f"{chunks - len(come)} of {chunks} pieces of work did not come back from the cluster. "
            "What came is kept: run again."
        )
