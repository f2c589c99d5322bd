"""Pictures on a server: s3://, https:// and whatever else fsspec has a driver for.

Folders are told by the names of their objects, and mean what they mean on a disk; archives and
tables are those of the disk, read in place.
"""

import re
from collections.abc import Hashable, Iterable, Sequence
from functools import partial

from tlfeat.data.layout import (
    OTHER_SUFFIXES,
    PICTURE_SUFFIXES,
    is_clutter,
    looks_like_picture,
    suffix_of,
)
from tlfeat.data.sources import archive
from tlfeat.data.sources.base import (
    HEAD,
    Listing,
    Picture,
    Source,
    SourceOptions,
    refuse_columns,
    size_problem,
)
from tlfeat.data.sources.folder import Tree
from tlfeat.data.sources.kinds import of_stored_file
from tlfeat.data.sources.stored import ObjectFile, object_stamp
from tlfeat.errors import DataError
from tlfeat.remote.endpoint import RemoteObject, endpoint_of
from tlfeat.remote.fetchers import fetchers
from tlfeat.remote.reader import Reader
from tlfeat.remote.urls import is_web, without_secrets

_OF_GTSRB = re.compile(r"/Final_Training/Images/[^/]+/GT-[^/]*\.csv$")
_WANTED = "a folder of pictures, a CSV or TSV table, a zip or tar archive"


def open_url(url: str, options: SourceOptions) -> Source:
    """Find what lies at a URL.

    Raises
    ------
    DataError
        If nothing is there, it cannot be read, or holds no pictures in a way that is known.
    """
    endpoint, shown = endpoint_of(url), without_secrets(url)
    try:
        found = None if url.endswith("/") and not is_web(url) else endpoint.about(url)
        if found is not None:
            return _of_object(found, options)
        objects = endpoint.objects(url)
    except FileNotFoundError:
        raise DataError(f"Nothing lies at {shown!r}; expected {_WANTED}.") from None
    except OSError as error:
        raise DataError(f"{shown!r} cannot be read: {error.strerror or error}.") from error
    if not objects:
        raise DataError(f"Nothing lies at {shown!r}; expected {_WANTED}.")
    return _of_folder(url, objects, options)


def _of_object(found: RemoteObject, options: SourceOptions) -> Source:
    file = ObjectFile(found)
    head = file.read_at(0, HEAD)
    if is_web(found.url) and head.lstrip()[:1] == b"<":
        raise DataError(
            f"{file.shown!r} is a page: folders cannot be listed over HTTP; wanted a zip or tar "
            "archive, or a CSV or TSV table that lists pictures."
        )
    source = of_stored_file(file, head, options)
    if source is not None:
        return source
    raise DataError(
        f"{file.shown!r} is of a kind that is not read from a server; expected {_WANTED}. Fetch "
        "it first, and give its path."
    )


def _of_folder(url: str, objects: Sequence[RemoteObject], options: SourceOptions) -> Source:
    top = url.rstrip("/") + "/"
    if any(_OF_GTSRB.search(one.url) for one in objects):
        raise DataError(
            f"{without_secrets(url)!r} is GTSRB in its official folders, whose tables tell what "
            "must stay together; on a server they are not read. Fetch it, and give its path."
        )
    direct = {one.url.removeprefix(top): one for one in objects}
    if not any("/" in name for name in direct):
        shards = archive.shards_among(direct.keys())
        source = archive.of_shards([ObjectFile(direct[name]) for name in shards], options)
        if source is not None:
            return source
    return ObjectsSource(top, objects, options)


class ObjectsSource:
    """Pictures below a folder of a server; a locator is an object of it."""

    kind = "folder"

    def __init__(self, url: str, objects: Sequence[RemoteObject], options: SourceOptions):
        refuse_columns(options, "a folder")
        self.url = url
        self.options = options
        self._objects = objects
        self._reader = Reader()

    def __reduce__(self) -> tuple[type["ObjectsSource"], tuple[str, tuple[()], SourceOptions]]:
        return ObjectsSource, (self.url, (), self.options)  # to read, none needs to be listed

    def listing(self) -> Listing:
        """List the pictures, sorted by path."""
        tree = Tree()
        unknown: list[tuple[tuple[str, ...], str, RemoteObject]] = []
        for one in self._objects:
            tree.empty = False
            *folders, name = one.url.removeprefix(self.url).split("/")
            parts, suffix = tuple(folders), suffix_of(name)
            if any(map(is_clutter, (*parts, name))):
                tree.clutter += 1
            elif suffix in OTHER_SUFFIXES:
                tree.leave_aside(suffix)
            elif suffix not in PICTURE_SUFFIXES:
                unknown.append((parts, name, one))
            else:
                _judge(tree, parts, name, one)
        pictures = [fetchers().submit(partial(_looks_like_picture, one)) for *_, one in unknown]
        for (parts, name, one), is_picture in zip(unknown, pictures, strict=True):
            if is_picture.result():
                _judge(tree, parts, name, one)
            else:
                tree.leave_aside(suffix_of(name))
        tree.pictures.sort(key=lambda one: (*one[0], one[1]))
        return tree.listing(without_secrets(self.url), self.options.split_names)

    def read(self, locator: Hashable) -> Picture:
        """Read the bytes of one picture."""
        assert isinstance(locator, RemoteObject)
        return self._reader.read(locator)

    def expect(self, locators: Iterable[Hashable]) -> None:
        """Fetch these ahead of whoever reads them."""
        self._reader.expect([one for one in locators if isinstance(one, RemoteObject)])


def _judge(tree: Tree, parts: tuple[str, ...], name: str, one: RemoteObject) -> None:
    problem = size_problem(one.size) if one.size is not None else None
    if problem:
        tree.problems.append((parts, name, problem))
    else:
        tree.pictures.append((parts, name, one, object_stamp(one)))


def _looks_like_picture(one: RemoteObject) -> bool:
    """Look at the first bytes of an object whose name tells nothing."""
    if not one.size or size_problem(one.size):
        return False
    try:
        return looks_like_picture(endpoint_of(one.url).read(one.url, 0, min(16, one.size)))
    except OSError:
        return False
