"""The kinds of files that are read in the same way from a disk and from a server."""

from tlfeat.data.layout import looks_like_picture
from tlfeat.data.sources import archive, manifest
from tlfeat.data.sources.base import Source, SourceOptions
from tlfeat.data.sources.stored import StoredFile
from tlfeat.errors import DataError


def of_stored_file(file: StoredFile, head: bytes, options: SourceOptions) -> Source | None:
    """Know archives, then tables; `head` are the first bytes of the file.

    Raises
    ------
    DataError
        If it is one picture.
    """
    source = archive.detect_file(file, head, options)
    if source is not None:
        return source
    if looks_like_picture(head):
        raise DataError(
            f"{file.shown!r} is one picture; a dataset is a folder of them, or a table that lists "
            "them."
        )
    return manifest.detect_file(file, head, options)
