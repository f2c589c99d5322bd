"""The pass over the pictures: decode, forward and write, each while the others work.

    pictures --threads--> chunks of squares --engines--> rows --one thread--> store

A picture is decoded once for all networks of its size, and one forward pass gives all
the layers that are asked of a network. While the engines work on one chunk the next is
decoded. Rows are committed in small blocks, so whatever ends the work, at most the last
block is done again.
"""

import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import ExitStack, closing
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import NamedTuple

import numpy as np

from tlfeat.backbones.engines import Engine, NetworkRequest, open_engine
from tlfeat.backbones.table import Output
from tlfeat.data.ahead import chunks_ahead
from tlfeat.data.dataset import Dataset
from tlfeat.data.decode import UndecodableImage, decode
from tlfeat.data.digests import digest_of
from tlfeat.data.samples import Sample
from tlfeat.errors import NetworkError
from tlfeat.features.costs import keep_costs
from tlfeat.features.settings import FeatureRequest
from tlfeat.features.store import Entry, FeatureStore
from tlfeat.watch import Watch
from tlfeat.where import Where

BLOCK_ROWS = 64  # rows of one commit, at most
BLOCK_SECONDS = 2.0  # between two commits, at most
CHUNK_BYTES = 32 * 2**20  # of decoded squares that one engine sees at a time
CHUNK_PICTURES = 256
_LONG = 10  # seconds from which the cost is estimated aloud
_MINUTES = 100  # seconds from which it is said in minutes


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

    def wants(self, digest: str) -> bool:
        """Say whether any entry lacks this picture."""
        return any(digest in sink.missing for sink in self.sinks)


class _Square(NamedTuple):
    """A picture as a network sees it, or the reason why there is none."""

    digest: str
    pixels: np.ndarray | None
    failure: str = ""
    passing: bool = False  # the reason is not in the picture's bytes, so it is not stored


def embed_pictures(
    dataset: Dataset,
    samples: Sequence[Sample],
    networks: Sequence[Network],
    store: FeatureStore,
    where: Where,
) -> dict[str, str]:
    """Embed some pictures with networks that see the same squares.

    Parameters
    ----------
    dataset : Dataset
        Reads the pictures.
    samples : sequence of Sample
        A sample for each distinct picture that some network wants.
    networks : sequence of Network
        All of one size and resize rule.
    store : FeatureStore
        Keeps the exported networks too.
    where : Where

    Returns
    -------
    unread : dict of str to str
        Digest to reason, for pictures that could not be read this time.

    Raises
    ------
    NetworkError
        If a network gives numbers that are not finite.
    StoreError
        If the store cannot be written.
    """
    size, resize = networks[0].request.size, networks[0].request.resize
    watch = where.watch

    def square(sample: Sample) -> _Square:
        try:
            data = dataset.read(sample)
        except OSError as error:
            return _Square(sample.digest, None, f"cannot be read: {error.strerror}", True)
        if digest_of(data) != sample.digest:
            return _Square(sample.digest, None, "changed while it was read: run again", True)
        try:
            return _Square(sample.digest, decode(data, size, resize))
        except UndecodableImage as error:
            return _Square(sample.digest, None, str(error))

    unread: dict[str, str] = {}
    with ExitStack() as stack:
        engines = [_open(network, store, where) for network in networks]
        for running in engines:
            stack.callback(running.close)
        for network, running in zip(networks, engines, strict=True):
            for sink in network.sinks:
                sink.entry.recipe |= {
                    "engine": running.name,
                    "versions": running.versions,
                    "created": datetime.now(UTC).isoformat(timespec="seconds"),
                    "licence": network.request.backbone.licence,
                }
        watch.start("embedding", len(samples) * len(networks))
        stack.callback(watch.finish)
        blocks = [stack.enter_context(_Blocks(network)) for network in networks]
        chunks = stack.enter_context(
            closing(chunks_ahead(square, samples, length=chunk_length(size), threads=where.jobs))
        )
        estimate = _Estimate(networks, len(samples), watch)

        began = time.perf_counter()
        for chunk in chunks:
            waited = time.perf_counter() - began
            unread |= {one.digest: one.failure for one in chunk if one.passing}
            undecoded = {
                one.digest: one.failure for one in chunk if one.failure and not one.passing
            }
            squares = [one for one in chunk if one.pixels is not None]
            for network, running, block in zip(networks, engines, blocks, strict=True):
                began = time.perf_counter()
                block.fail(undecoded)
                watch.step(len(chunk) - len(squares))
                for digests, outputs in running.run(_batches(network, squares, running.batch)):
                    block.add(digests, outputs)
                    watch.step(len(digests))
                block.cost([one.digest for one in squares], waited + time.perf_counter() - began)
            estimate.hear(len(chunk))
            began = time.perf_counter()
    return unread


def _open(network: Network, store: FeatureStore, where: Where) -> Engine:
    request = network.request
    where.watch.doing(f"loading {request.backbone.name}; the first time it is exported, too")
    return open_engine(
        NetworkRequest(
            backbone=request.backbone,
            size=request.size,
            weights=request.weights,
            outputs=tuple(sink.output for sink in network.sinks),
            precision=request.precision,
        ),
        where.engine,
        cache=store.root,
        on_note=where.watch.note,
    )


def chunk_length(size: int) -> int:
    """Give how many decoded squares of a size are worked on at a time."""
    return max(16, min(CHUNK_PICTURES, CHUNK_BYTES // (3 * size * size)))


def _batches(
    network: Network, squares: Sequence[_Square], length: int
) -> Iterator[tuple[list[str], np.ndarray]]:
    wanted = [one for one in squares if network.wants(one.digest)]
    for start in range(0, len(wanted), length):
        part = wanted[start : start + length]
        yield (
            [one.digest for one in part],
            np.stack([one.pixels for one in part if one.pixels is not None]),
        )


class _Blocks:
    """Gathers the rows of one network and commits them block by block in a thread.

    On the way out, whatever the reason, the rows that are there are committed.
    """

    def __init__(self, network: Network) -> None:
        self._network = network
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="store")
        self._pending: Future[None] | None = None
        self._begin()

    def _begin(self) -> None:
        self._digests: list[str] = []
        self._outputs: list[list[np.ndarray]] = []
        self._failures: dict[str, str] = {}
        self._costs: list[tuple[list[str], float]] = []
        self._since = time.monotonic()

    def __enter__(self) -> "_Blocks":
        return self

    def __exit__(self, *exc: object) -> None:
        try:
            self._commit()
            self._settle()
        finally:
            self._thread.shutdown()

    def fail(self, failures: dict[str, str]) -> None:
        """Take pictures that could not be decoded, with the reasons."""
        self._failures.update(failures)

    def cost(self, digests: list[str], seconds: float) -> None:
        """Take what decoding and forward of some pictures took, as if the network were alone."""
        self._costs.append((digests, seconds))

    def add(self, digests: list[str], outputs: list[np.ndarray]) -> None:
        """Take the rows of one batch, an array for each output of the network."""
        for output, rows in zip(self._network.sinks, outputs, strict=True):
            finite = np.isfinite(rows.reshape(len(rows), -1)).all(axis=1)
            if not finite.all():
                raise NetworkError(
                    f"{self._network.request.backbone.name} gives numbers at "
                    f"{output.output.layer} that are not finite for the picture with digest "
                    f"{digests[int(np.argmin(finite))][:12]}: check the weights, or use "
                    "--precision float32."
                )
        if len(self._digests) + len(digests) > BLOCK_ROWS:
            self._commit()
        self._digests += digests
        self._outputs.append(outputs)
        if time.monotonic() - self._since >= BLOCK_SECONDS:
            self._commit()

    def _commit(self) -> None:
        self._settle()
        if self._digests or self._failures or self._costs:
            outputs = [np.concatenate(parts) for parts in zip(*self._outputs, strict=True)]
            self._pending = self._thread.submit(
                self._append, self._digests, outputs, self._failures, self._costs
            )
        self._begin()

    def _append(
        self,
        digests: list[str],
        outputs: list[np.ndarray],
        failures: dict[str, str],
        costs: list[tuple[list[str], float]],
    ) -> None:
        for number, sink in enumerate(self._network.sinks):
            mine = [row for row, digest in enumerate(digests) if digest in sink.missing]
            failed = {d: reason for d, reason in failures.items() if d in sink.missing}
            if mine:
                rows = outputs[number][mine]
                sink.entry.append([digests[row] for row in mine], rows, failed)
            elif failed:
                empty = np.empty((0, *sink.entry.shape), np.float32)
                sink.entry.append([], empty, failed)
            for embedded, seconds in costs:
                keep_costs(sink.entry.path, embedded, seconds)

    def _settle(self) -> None:
        pending, self._pending = self._pending, None
        if pending is not None:
            pending.result()


class _Estimate:
    """Says once, early in a long run, how long the rest takes and what all of it fills.

    The first chunk is not counted: with it the network warms up.
    """

    def __init__(
        self,
        networks: Sequence[Network],
        images: int,
        watch: Watch,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._bytes = sum(
            len(sink.missing) * sink.entry.row_bytes for net in networks for sink in net.sinks
        )
        self._left, self._watch, self._clock = images, watch, clock
        self._began: float | None = None
        self._told = False

    def hear(self, images: int) -> None:
        self._left -= images
        if self._told or not self._left:
            return
        if self._began is None:
            self._began = self._clock()
            return
        self._told = True
        seconds = (self._clock() - self._began) / images * self._left
        if seconds >= _LONG:
            short = seconds < _MINUTES
            about = f"{seconds:.0f} s" if short else f"{seconds / 60:.0f} min"
            self._watch.note(
                f"{self._left:,} more pictures to embed: about {about}, and "
                f"{self._bytes / 1e6:,.0f} MB in all. Ctrl-C keeps what is done."
            )
