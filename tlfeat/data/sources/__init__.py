"""The sources, told apart by what they are, never by asking.

Adding a kind: a module with a source and its detector, and a line in a table below. A detector
gets the path and what one look at it showed, and gives a source or None; the first one wins.
"""

from collections.abc import Callable
from pathlib import Path

from tlfeat.data.names import as_path
from tlfeat.data.sources import archive, arrays, digits, folder, gtsrb, hf, parquet, tfds
from tlfeat.data.sources.base import HEAD, Source, SourceOptions
from tlfeat.data.sources.kinds import of_stored_file
from tlfeat.data.sources.remote import open_url
from tlfeat.data.sources.stored import DiskFile
from tlfeat.errors import DataError
from tlfeat.remote.urls import is_url

_BY_PREFIX: dict[str, Callable[[str, SourceOptions], Source]] = {
    "tfds:": tfds.open_name,
    "hf:": hf.open_name,
}
_BY_FOLDER: tuple[Callable[[Path, frozenset[str], SourceOptions], Source | None], ...] = (
    gtsrb.detect,
    hf.detect,
    tfds.detect,
    arrays.detect_folder,
    parquet.detect_folder,
    archive.detect_folder,
)
_BY_FILE: tuple[Callable[[Path, bytes, SourceOptions], Source | None], ...] = (
    arrays.detect_file,
    parquet.detect_file,
)
_KINDS = (
    "a folder of pictures, a CSV or TSV table, a zip or tar archive, Parquet, NPZ, HDF5, "
    "tfds:NAME, hf:NAME, digits, or an s3:// or https:// URL of the first three"
)


def find_source(target: str, options: SourceOptions) -> Source:
    """Find the source behind a path or a name.

    Raises
    ------
    DataError
        If nothing is there, or it is nothing that holds pictures.
    """
    if is_url(target):
        return open_url(target, options)
    path = as_path(target)
    if not _exists(path):
        for prefix, open_name in _BY_PREFIX.items():
            if target == prefix:
                raise DataError(f"{prefix} alone is no dataset: wanted {prefix}NAME.")
            if target.startswith(prefix):
                return open_name(target.removeprefix(prefix), options)
        if target == "digits":
            return digits.DigitsSource(options)
        raise DataError(f"Nothing lies at {target!r}; expected {_KINDS}.")
    path = path.resolve()
    if path.is_dir():
        return _find_folder(path, options)
    if not path.is_file():
        raise DataError(f"{target!r} is neither a file nor a folder; expected {_KINDS}.")
    return _find_file(path, options)


def _exists(path: Path) -> bool:
    try:
        return path.exists()
    except (OSError, ValueError):  # a name too long, or with a NUL
        return False


def _find_folder(path: Path, options: SourceOptions) -> Source:
    try:
        names = frozenset(entry.name for entry in path.iterdir())
    except OSError as error:
        raise DataError(f"{str(path)!r} cannot be listed: {error.strerror}.") from error
    for detect in _BY_FOLDER:
        source = detect(path, names, options)
        if source is not None:
            return source
    return folder.FolderSource(path, options)


def _find_file(path: Path, options: SourceOptions) -> Source:
    try:
        with path.open("rb") as opened:
            head = opened.read(HEAD)
    except OSError as error:
        raise DataError(f"{str(path)!r} cannot be read: {error.strerror}.") from error
    for detect in _BY_FILE:
        source = detect(path, head, options)
        if source is not None:
            return source
    source = of_stored_file(DiskFile(path), head, options)
    if source is not None:
        return source
    raise DataError(f"{str(path)!r} is a file of no known kind; expected {_KINDS}.")
