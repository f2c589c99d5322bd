"""Pictures through networks: read and decoded in threads, then forward, in bounded memory.

    pictures --threads--> chunks of squares --engine--> rows

While the engine works on one chunk the next is decoded. What is extracted, embedded again or
predicted goes this way, so that all three see the same numbers.
"""

from collections.abc import Callable, Generator, Iterable, Iterator, Sequence
from contextlib import closing
from functools import partial
from itertools import islice
from pathlib import Path
from typing import NamedTuple

import numpy as np

from tlfeat.backbones.engines import Engine, Exportable, NetworkRequest, open_engine
from tlfeat.backbones.network_files import find_network
from tlfeat.backbones.table import Output
from tlfeat.data.decode import UndecodableImage, decode
from tlfeat.data.digests import digest_of
from tlfeat.data.prefetch import chunks_ahead
from tlfeat.data.resize import Resize
from tlfeat.data.sources.base import Picture
from tlfeat.features.recipe import Recipe, find_weights
from tlfeat.where import Where

CHUNK_BYTES = 32 * 2**20  # of decoded squares that one engine sees at a time
CHUNK_PICTURES = 256


class Unread(NamedTuple):
    """A picture that is to be embedded, and how to read it.

    `read` raises OSError where the picture cannot be read this time, and UndecodableImage
    where it never can.
    """

    id: str
    read: Callable[[], Picture]
    digest: str = ""  # that the picture must have; any if empty


class Square(NamedTuple):
    """A picture as a network sees it, or the reason why there is none."""

    id: str
    pixels: np.ndarray | None
    reason: str = ""
    passing: bool = False  # the reason is not in the picture's bytes: it may be gone next time


class Forwarded(NamedTuple):
    """What a network makes of a picture, or the reason why there is nothing."""

    id: str
    features: tuple[np.ndarray, ...] | None  # float32, one for each output of the network
    reason: str = ""


def embedded_chunks(
    pictures: Iterable[Unread], request: Exportable, resize: Resize, where: Where
) -> Generator[list[Forwarded], None, None]:
    """Embed pictures with one network; nothing is stored.

    Parameters
    ----------
    pictures : iterable of Unread
        Taken as they are needed.
    request : Exportable
    resize : Resize
    where : Where
        Its cache keeps the exported network.

    Yields
    ------
    chunk : list of Forwarded
        In the order of the pictures.

    Raises
    ------
    NetworkError
        If the network cannot run on the engine that was asked for.
    WeightsError
        If its weights do not fit.
    """
    with opened(request, where) as engine:
        where.watch.finish()
        with decoded_chunks(pictures, request.size, resize, where.jobs) as chunks:
            for chunk in chunks:
                batches = forward(engine, chunk)
                rows = (row for _, outputs in batches for row in zip(*outputs, strict=True))
                yield [
                    Forwarded(one.id, None if one.pixels is None else next(rows), one.reason)
                    for one in chunk
                ]


def network_of(recipes: Sequence[Recipe], weights: str | Path | None = None) -> NetworkRequest:
    """Give the network that made features, from their recipes: the same but for the output.

    Parameters
    ----------
    recipes : sequence of Recipe
    weights : str or Path, optional
        A weight file, where the features were made with one.

    Raises
    ------
    WeightsError
        If the weights are not those of the recipes.
    """
    first = recipes[0]
    return NetworkRequest(
        backbone=find_network(first.backbone, weights or "imagenet", moved=True),
        size=first.size,
        weights=find_weights(first, weights),
        outputs=tuple(Output(recipe.layer, recipe.pool) for recipe in recipes),
        precision=first.precision,
    )


def opened(request: Exportable, where: Where) -> closing[Engine]:
    """Give a network ready to run, for a `with` that lets go of it."""
    where.watch.doing(f"loading {request.name}; the first time it is exported, too")
    engine = open_engine(
        request,
        where.engine,
        cache=where.cache_folder,
        jobs=where.jobs,
        on_note=where.watch.note,
    )
    return closing(engine)


def decoded_chunks(
    pictures: Iterable[Unread], size: int, resize: Resize, jobs: int | None
) -> closing[Generator[list[Square], None, None]]:
    """Give the squares of pictures, a chunk ahead, for a `with` that ends the threads."""
    square, length = partial(square_of, size=size, resize=resize), chunk_length(size)
    return closing(chunks_ahead(square, pictures, length=length, threads=jobs))


def square_of(picture: Unread, size: int, resize: Resize) -> Square:
    """Read and decode a picture, or say why that cannot be done."""
    try:
        data = picture.read()
        if picture.digest and digest_of(data) != picture.digest:
            return Square(picture.id, None, "changed while it was read: run again", True)
        return Square(picture.id, decode(data, size, resize))
    except UndecodableImage as error:
        return Square(picture.id, None, str(error))
    except OSError as error:
        reason = f"cannot be read: {error.strerror or error}"
        return Square(picture.id, None, reason, passing=True)


def chunk_length(size: int) -> int:
    """Give how many squares of a size are decoded at a time."""
    return max(16, min(CHUNK_PICTURES, CHUNK_BYTES // (3 * size * size)))


def forward(
    engine: Engine, squares: Iterable[Square]
) -> Iterator[tuple[list[str], list[np.ndarray]]]:
    """Run those squares that are there, and give the ids and the outputs of each batch."""

    def batches() -> Iterator[tuple[list[str], np.ndarray]]:
        there = ((square.id, square.pixels) for square in squares if square.pixels is not None)
        while batch := list(islice(there, engine.batch)):
            yield [id_ for id_, _ in batch], np.stack([pixels for _, pixels in batch])

    return engine.run(batches())
