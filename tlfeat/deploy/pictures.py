"""The pictures that a run is put to use on, however they were named."""

from collections.abc import Iterable, Iterator, Sequence
from functools import partial
from pathlib import Path

import numpy as np

from tlfeat.data.decode import UndecodableImage
from tlfeat.data.layout import (
    OTHER_SUFFIXES,
    PICTURE_SUFFIXES,
    looks_like_picture,
    suffix_of,
)
from tlfeat.data.names import printable
from tlfeat.data.sources import find_source
from tlfeat.data.sources.base import (
    MAX_BYTES,
    Picture,
    SourceOptions,
    damage_is_an_error,
    expect,
    read_picture,
)
from tlfeat.errors import DataError
from tlfeat.features.forward import Unread
from tlfeat.remote.endpoint import RemoteObject, endpoint_of
from tlfeat.remote.reader import AHEAD, Reader
from tlfeat.remote.urls import is_url, name_of, without_secrets


def listed(pictures: Iterable[str | Path | Picture]) -> Iterator[Unread]:
    """Turn what a caller named into pictures; a folder or a table gives many.

    Parameters
    ----------
    pictures : iterable of path, bytes or ndarray
        Picture files, or whatever `open_dataset` opens; uint8 arrays of shape
        (height, width, 3) and the bytes of picture files too.

    Yields
    ------
    picture : Unread
        In their order; one that cannot be used says why when it is read.
    """
    named: list[str] = []  # pictures at URLs, one after the other
    for number, picture in enumerate(pictures):
        url = "" if isinstance(picture, bytes | np.ndarray) else str(picture)
        is_named = is_url(url) and _is_one_picture(url)
        if is_named:
            named.append(url)
            if len(named) < AHEAD:
                continue
        yield from _on_server(named)
        named = []
        if isinstance(picture, bytes | np.ndarray):
            yield Unread(f"[{number}]", partial(_given, picture))
        elif not is_named:
            yield from _pictures_at(picture)
    yield from _on_server(named)


def _is_one_picture(url: str) -> bool:
    """Say whether a URL is of one picture, by its name; where that tells nothing, by asking."""
    suffix = suffix_of(name_of(url))
    if suffix in PICTURE_SUFFIXES:
        return True
    if url.endswith("/") or suffix in OTHER_SUFFIXES:
        return False
    try:
        endpoint = endpoint_of(url)
        found = endpoint.about(url)
        if not found or not found.size:
            return False
        return looks_like_picture(endpoint.read(url, 0, min(16, found.size)))
    except (OSError, DataError):  # it is said where it is read
        return False


def _on_server(urls: Sequence[str]) -> Iterator[Unread]:
    """Give pictures at URLs, fetched ahead."""
    if not urls:
        return
    reader = Reader(most=MAX_BYTES)
    places = [RemoteObject(url, None, "", None) for url in urls]
    reader.expect(places)
    for place in places:
        yield Unread(printable(without_secrets(place.url)), partial(reader.read, place))


def _given(picture: Picture) -> Picture:
    return picture


def _without(name: str, reason: str) -> Unread:
    """Give a picture that cannot be used, for a reason that is known before it is read."""

    def refuse() -> Picture:
        raise UndecodableImage(reason)

    return Unread(name, refuse)


def _pictures_at(picture: str | Path) -> Iterator[Unread]:
    path, name = Path(picture), printable(without_secrets(str(picture)))
    if is_url(str(picture)):
        yield from _pictures_in(str(picture), name)
        return
    try:
        is_picture = path.is_file() and not _is_dataset(path)
    except (OSError, ValueError) as error:
        yield _without(name, f"cannot be read: {error}")
        return
    if is_picture:
        yield Unread(name, path.read_bytes)
        return
    if not path.exists() and not str(picture).startswith(("digits", "tfds:", "hf:")):
        yield _without(name, "there is no such file")
        return
    yield from _pictures_in(str(picture), name)


def _pictures_in(place: str, name: str) -> Iterator[Unread]:
    """Give the pictures of the dataset at a place."""
    try:
        with damage_is_an_error(name):
            source = find_source(place, SourceOptions())
            listing = source.listing()
    except DataError as error:
        yield _without(name, str(error))
        return
    expect(source, (row.locator for row in listing.rows))
    if not listing.rows and not listing.skipped:
        yield _without(name, "there is no picture in it")
    given = name.rstrip("/")
    for row in listing.rows:
        yield Unread(f"{given}/{row.id}", partial(read_picture, source, row.locator))
    for skipped in listing.skipped:
        yield _without(f"{given}/{skipped.id}", skipped.reason)


def _is_dataset(path: Path) -> bool:
    """Say whether a file holds a table or an archive of pictures, rather than one picture."""
    if suffix_of(path.name) in PICTURE_SUFFIXES:
        return False
    try:
        with damage_is_an_error(str(path)):
            find_source(str(path), SourceOptions())
    except DataError:
        return False
    return True
