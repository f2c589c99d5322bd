"""Parquet files with the bytes of pictures in a column, as Hugging Face publishes them.

The column is binary, or a struct with `bytes` (and `path`). Labels are names or numbers; class
names in Hugging Face's metadata are used. Without a split column, the split is read from the
name of the file, `train-00000-of-00001.parquet`.
"""

import json
import re
import threading
from collections import OrderedDict
from collections.abc import Collection, Hashable, Sequence
from pathlib import Path
from typing import Any

from tlfeat.data.layout import is_clutter
from tlfeat.data.names import canonical_split, label_name, printable
from tlfeat.data.sources.base import (
    Listing,
    Picture,
    Row,
    SkippedRow,
    SourceOptions,
    size_problem,
    stamp_of,
)
from tlfeat.data.sources.manifest import USUAL, find_columns
from tlfeat.data.sources.spool import ROW_BYTES, refuse_bomb
from tlfeat.errors import DataError
from tlfeat.parquet import open_parquet

_USUAL = {
    "image": ("image", "img", "picture", "photo", "bytes", "image_bytes", "data"),
    **{what: USUAL[what] for what in ("label", "split", "group")},
}
_KEPT = 2  # groups of rows in memory


def detect_file(path: Path, head: bytes, options: SourceOptions) -> "ParquetSource | None":
    """Know a Parquet file."""
    return ParquetSource(path.parent, [path], options) if head.startswith(b"PAR1") else None


def detect_folder(
    path: Path, names: frozenset[str], options: SourceOptions
) -> "ParquetSource | None":
    """Know a folder of Parquet files, or one with such a folder `data`."""
    for folder in (path, path / "data"):
        if folder.is_dir():
            found = sorted(p for p in folder.glob("*.parquet") if not is_clutter(p.name))
            if found:
                return ParquetSource(folder, found, options)
    return None


class ParquetSource:
    """Pictures in Parquet files; a locator is (file, group of rows, row in it)."""

    kind = "parquet"

    def __init__(self, folder: Path, paths: Sequence[Path], options: SourceOptions):
        self.folder = folder
        self.paths = list(paths)
        self.options = options
        self._lock = threading.Lock()
        self._files: dict[int, Any] = {}
        self._image: dict[int, str] = {}
        self._groups: OrderedDict[tuple[int, int], Any] = OrderedDict()

    def __reduce__(self) -> tuple[Any, ...]:
        made_of = self.folder, self.paths, self.options  # another process opens the files anew
        return ParquetSource, made_of, {"_image": self._image}

    def listing(self) -> Listing:
        """List the rows file by file; only labels, splits and groups are read."""
        rows: list[Row] = []
        skipped: list[SkippedRow] = []
        classes: tuple[str, ...] | None = None
        for at, path in enumerate(self.paths):
            classes = self._list_file(at, path, rows, skipped) or classes
        return Listing(rows, skipped, (), classes)

    def read(self, locator: Hashable) -> Picture:
        """Give the bytes of one picture."""
        assert isinstance(locator, tuple)
        at, group, row = locator
        value = self._group(at, group)[row].as_py()
        data, path = (
            (value.get("bytes"), value.get("path")) if isinstance(value, dict) else (value, None)
        )
        if data is None:
            raise OSError(
                f"the bytes are not in the table, only the path {printable(str(path))}"
                if path
                else "empty cell"
            )
        problem = size_problem(len(data))
        if problem:
            raise OSError(problem)
        return bytes(data)

    def _open(self, at: int) -> Any:
        if at not in self._files:
            path = self.paths[at]
            facts = (file := open_parquet(path.absolute())).metadata
            groups = (facts.row_group(group) for group in range(facts.num_row_groups))
            unpacked = sum(group.total_byte_size for group in groups)
            refuse_bomb(path, path.stat().st_size, max(unpacked, ROW_BYTES * facts.num_rows))
            self._files[at] = file
        return self._files[at]

    def _group(self, at: int, group: int) -> Any:
        """Read the pictures of one group of rows, or give the ones that are still there."""
        with self._lock:
            column = self._groups.get((at, group))
            if column is None:
                table = self._open(at).read_row_group(
                    group, columns=[self._image[at]], use_threads=False
                )
                column = self._groups[at, group] = table.column(0)
                if len(self._groups) > _KEPT:
                    self._groups.popitem(last=False)
            else:
                self._groups.move_to_end((at, group))
            return column

    def _list_file(
        self, at: int, path: Path, rows: list[Row], skipped: list[SkippedRow]
    ) -> tuple[str, ...] | None:
        file = self._open(at)
        schema = file.schema_arrow
        header = list(schema.names)
        what = f"The table {str(path)!r}"
        columns = find_columns(header, self.options, _USUAL, what)
        if "image" not in self.options.columns:
            columns["image"] = _image_column(schema, columns.get("image"), what)
        self._image[at] = header[columns["image"]]
        wanted = [
            w
            for w in ("label", "split", "group")
            if columns.get(w, columns["image"]) != columns["image"]
        ]
        cells = file.read(columns=[header[columns[w]] for w in wanted], use_threads=False)
        values = {w: cells.column(header[columns[w]]).to_pylist() for w in wanted}
        n = file.metadata.num_rows
        names = _class_names(schema, header[columns["label"]]) if "label" in values else None
        file_split = split_of_name(path.stem, self.options.split_names)
        status = path.stat()
        i = 0
        for group in range(file.num_row_groups):
            for row in range(file.metadata.row_group(group).num_rows):
                split = values["split"][i] if "split" in values else file_split
                label = _label(values["label"][i], names) if "label" in values else None
                member = values["group"][i] if "group" in values else None
                identity = f"{printable(path.stem)}[{i}]"
                rows.append(
                    Row(
                        identity,
                        (at, group, row),
                        label,
                        None if split is None else str(split),
                        None if member is None else str(member),
                        stamp_of(path, status, str(i)),
                    )
                )
                i += 1
        assert i == n
        return names


def split_of_name(stem: str, split_names: Collection[str]) -> str | None:
    """Read the split from the name of a file.

    Examples
    --------
    >>> split_of_name("train-00000-of-00002", ()), split_of_name("birds", ())
    ('train', None)
    """
    words = [word for word in re.split(r"[^a-z]+", stem.lower()) if word]
    found = [word for word in words if canonical_split(word) or word in split_names]
    return found[0] if found else None


def _image_column(schema: Any, usual: int | None, what: str) -> int:
    """Find the column of pictures: by its type, and by its name where several have it."""
    fits = [i for i, field in enumerate(schema) if _holds_bytes(field.type)]
    if usual in fits:
        return usual
    if len(fits) == 1:
        return fits[0]
    raise DataError(
        f"{what} has {'no column' if not fits else 'several columns'} of bytes; its columns are "
        f"{', '.join(map(printable, schema.names))}. Name the one of pictures, as in image=COLUMN."
    )


def _holds_bytes(kind: Any) -> bool:
    import pyarrow.types as types

    if types.is_struct(kind):
        return any(f.name == "bytes" and _holds_bytes(f.type) for f in kind)
    return bool(types.is_binary(kind) or types.is_large_binary(kind))


def _class_names(schema: Any, column: str) -> tuple[str, ...] | None:
    """Read a column's class names from Hugging Face's metadata."""
    try:
        info = json.loads(schema.metadata[b"huggingface"])
        names = info["info"]["features"][column]["names"]
        return tuple(label_name(str(name)) for name in names)
    except (KeyError, TypeError, ValueError):
        return None


def _label(value: Any, names: tuple[str, ...] | None) -> str | None:
    if value is None or value == "":
        return None
    if names is not None and isinstance(value, int):
        return names[value] if 0 <= value < len(names) else None
    if isinstance(value, (str, int, bool)):
        return label_name(str(int(value) if isinstance(value, bool) else value))
    raise DataError(f"The label {str(value)[:40]!r} is no name or whole number.")
