"""The pass over the pictures: decode, forward and write, each while the others work.

    pictures --threads--> chunks of squares --engines--> rows --one thread--> store

A picture is decoded once for all networks of its size, and one forward pass gives all
the layers that are asked of a network. Rows are committed in small blocks, so whatever
ends the work, at most the last block is done again.
"""

import time
from collections.abc import Callable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import dataclass, field
from functools import partial

import numpy as np

from tlfeat.backbones.engines import Engine, NetworkRequest
from tlfeat.backbones.table import Output
from tlfeat.data.dataset import Dataset
from tlfeat.data.samples import Sample
from tlfeat.errors import NetworkError
from tlfeat.features.costs import keep_costs
from tlfeat.features.forward import Square, Unread, decoded_chunks, forward, opened
from tlfeat.features.settings import FeatureRequest
from tlfeat.features.store import Entry
from tlfeat.watch import Watch
from tlfeat.where import Where

BLOCK_ROWS = 64  # rows of one commit, at most
BLOCK_SECONDS = 2.0  # between two commits, at most
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


def embed_pictures(
    dataset: Dataset,
    samples: Sequence[Sample],
    networks: Sequence[Network],
    where: Where,
    meanwhile: Callable[[], object] | None = None,
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
    where : Where
    meanwhile : callable, optional
        As for `embed`.

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
    pictures = [
        Unread(one.digest, partial(dataset.read, one), "" if dataset.is_derived else one.digest)
        for one in samples
    ]
    shared, watch = networks[0].request, where.watch
    dataset.expect(samples)
    unread: dict[str, str] = {}
    with ExitStack() as stack:
        engines = [stack.enter_context(opened(network.to_run, where)) for network in networks]
        if meanwhile is not None:
            aside = ThreadPoolExecutor(1, thread_name_prefix="meanwhile")
            stack.enter_context(aside).submit(meanwhile)
        watch.start("embedding", len(samples) * len(networks))
        stack.callback(watch.finish)
        blocks = [
            stack.enter_context(_Blocks(network, engine, watch))
            for network, engine in zip(networks, engines, strict=True)
        ]
        chunks = stack.enter_context(
            decoded_chunks(pictures, shared.size, shared.settings.rule, where.jobs)
        )
        estimate = _Estimate(networks, len(samples), watch)

        first = began = time.perf_counter()
        all_waited = 0.0
        for chunk in chunks:
            waited = time.perf_counter() - began
            all_waited += waited
            unread |= {square.id: square.reason for square in chunk if square.passing}
            for block in blocks:
                block.embed(chunk, waited)
            estimate.hear(len(chunk))
            began = time.perf_counter()
        if any(engine.device == "GPU" for engine in engines):
            _say_who_waited(all_waited, time.perf_counter() - first, watch)
    return unread


def _say_who_waited(waited: float, seconds: float, watch: Watch) -> None:
    """Say that a GPU waited for pictures, where a long run spent most of its time so."""
    if seconds >= _LONG and waited > seconds / 2:
        watch.note(
            f"For {waited:.0f} of {seconds:.0f} s the GPU waited for pictures to be decoded: more "
            "cores, or smaller pictures, would be faster."
        )


class _Blocks:
    """Embeds with one network and commits the rows block by block in a thread.

    On the way out, whatever the reason, the rows that are there are committed.
    """

    def __init__(self, network: Network, engine: Engine, watch: Watch) -> None:
        self._network, self._engine, self._watch = network, engine, watch
        self._made_by = {
            "engine": engine.name,
            "versions": engine.versions,
            "licence": network.request.backbone.licence,
        }
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

    def embed(self, chunk: Sequence[Square], waited: float) -> None:
        """Take a chunk of pictures, and the seconds that its decoding was waited for.

        What it took is kept as if the network were alone.
        """
        began = time.perf_counter()
        squares = [square for square in chunk if square.pixels is not None]
        self._failures |= {s.id: s.reason for s in chunk if s.reason and not s.passing}
        self._watch.step(len(chunk) - len(squares))
        wanted = (square for square in squares if self._network.wants(square.id))
        for digests, outputs in forward(self._engine, wanted):
            self._add(digests, outputs)
            self._watch.step(len(digests))
        seconds = waited + time.perf_counter() - began
        self._costs.append(([square.id for square in squares], seconds))

    def _add(self, digests: list[str], outputs: list[np.ndarray]) -> None:
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
            rows = outputs[number][mine] if mine else np.empty((0, *sink.entry.shape), np.float32)
            sink.entry.append([digests[row] for row in mine], rows, failed, self._made_by)
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
