"""The pass over the pictures: decode, forward and write, each while the others work.

    pictures --threads--> chunks of squares --engines--> rows --one thread--> store

On a cluster its workers give the rows, see `elsewhere`; what is written is written here alone.
A picture is decoded once for all networks of its size, and one forward pass gives all
the layers that are asked of a network. Rows are committed in small blocks, so whatever
ends the work, at most the last block is done again.
"""

import time
from collections.abc import Callable, Generator, Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import ExitStack, closing, contextmanager
from typing import Any

import numpy as np

from tlfeat.backbones.engines import Engine
from tlfeat.cluster.join import clustered
from tlfeat.data.dataset import Dataset
from tlfeat.data.samples import Sample
from tlfeat.errors import NetworkError
from tlfeat.features.costs import keep_costs
from tlfeat.features.elsewhere import rows_of_cluster
from tlfeat.features.forward import decoded_chunks, forward, opened
from tlfeat.features.wanted import Chunk, Network, Rows, RowSource, unread_pictures
from tlfeat.watch import Watch
from tlfeat.where import Where

BLOCK_ROWS = 64  # rows of one commit, at most
BLOCK_SECONDS = 2.0  # between two commits, at most
_LONG = 10  # seconds from which the cost is estimated aloud
_MINUTES = 100  # seconds from which it is said in minutes


def embed_pictures(
    dataset: Dataset,
    samples: Sequence[Sample],
    networks: Sequence[Network],
    where: Where,
    *,
    steps: tuple[int, int],
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
    steps : tuple of (before, all)
        Of the embedding that this is a part of, a step a picture and network: those that are
        done, and their number.
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
    unread: dict[str, str] = {}
    with ExitStack() as stack:
        stack.callback(dataset.expect, ())  # whoever is interrupted waits for no server
        source = stack.enter_context(_rows_from(dataset, samples, networks, where))
        if meanwhile is not None:
            aside = ThreadPoolExecutor(1, thread_name_prefix="meanwhile")
            stack.enter_context(aside).submit(meanwhile)
        before, every = steps
        where.watch.start("embedding", every)
        where.watch.step(before)
        stack.callback(where.watch.finish)
        blocks = [
            stack.enter_context(_Blocks(network, made_by, where.watch))
            for network, made_by in zip(networks, source.made_by, strict=True)
        ]
        estimate = _Estimate(networks, len(samples), where.watch)
        for chunk in stack.enter_context(closing(source.chunks)):
            unread |= chunk.passing
            for block, rows, waited in zip(blocks, chunk.rows, chunk.waited, strict=True):
                block.take(chunk, rows, waited)
            estimate.hear(len(chunk.digests))
    return unread


@contextmanager
def _rows_from(
    dataset: Dataset, samples: Sequence[Sample], networks: Sequence[Network], where: Where
) -> Iterator[RowSource]:
    """Open what gives the rows: the workers of a cluster where one is asked for, or this machine.

    A cluster is let go of at the end, if nothing around shares it.
    """
    with clustered(where) as cluster:
        if cluster is not None:
            yield rows_of_cluster(cluster, dataset, samples, networks, where)
            return
        with ExitStack() as stack:
            engines = [stack.enter_context(opened(network.to_run, where)) for network in networks]
            yield RowSource(
                _rows_of_here(dataset, samples, networks, engines, where),
                [{"engine": one.name, "versions": one.versions} for one in engines],
            )


def _rows_of_here(
    dataset: Dataset,
    samples: Sequence[Sample],
    networks: Sequence[Network],
    engines: Sequence[Engine],
    where: Where,
) -> Generator[Chunk, None, None]:
    """Decode in threads; a chunk's rows are computed as they are taken."""
    shared = networks[0].request
    pictures = unread_pictures(dataset, samples)
    first = began = time.perf_counter()
    all_waited = 0.0
    with decoded_chunks(pictures, shared.size, shared.settings.rule, where.jobs) as chunks:
        for squares in chunks:
            waited = time.perf_counter() - began
            all_waited += waited
            rows = [
                forward(engine, network.wanted(squares))
                for network, engine in zip(networks, engines, strict=True)
            ]
            yield Chunk.of(squares, rows, [waited] * len(networks))
            began = time.perf_counter()
    if any(engine.device == "GPU" for engine in engines):
        _say_who_waited(all_waited, time.perf_counter() - first, where.watch)


def _say_who_waited(waited: float, seconds: float, watch: Watch) -> None:
    """Say that a GPU waited for pictures, where a long run spent most of its time so."""
    if seconds >= _LONG and waited > seconds / 2:
        watch.note(
            f"For {waited:.0f} of {seconds:.0f} s the GPU waited for pictures to be decoded: more "
            "cores, or smaller pictures, would be faster."
        )


class _Blocks:
    """Takes the rows of one network and commits them block by block in a thread.

    On the way out, whatever the reason, the rows that are there are committed.
    """

    def __init__(self, network: Network, made_by: Mapping[str, Any], watch: Watch) -> None:
        self._network, self._watch = network, watch
        self._made_by = {**made_by, "licence": network.request.backbone.licence}
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

    def take(self, chunk: Chunk, rows: Rows, waited: float | None) -> None:
        """Take a chunk's rows, and the seconds that were waited for them before.

        What they took is kept as if the network were alone; nothing where `waited` is None.
        """
        began = time.perf_counter()
        self._failures |= chunk.failures
        self._watch.step(len(chunk.digests) - len(chunk.embedded))
        for digests, outputs in rows:
            self._add(digests, outputs)
            self._watch.step(len(digests))
        if waited is not None:
            self._costs.append((chunk.embedded, waited + time.perf_counter() - began))

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
