"""Hugging Face image datasets: `hf:NAME[:CONFIG]`, or a folder made by `save_to_disk`.

The bytes of a picture are taken as they were stored, never decoded and encoded again, so one
picture has one digest whichever source it comes from.
"""

import importlib
import os
import threading
from collections.abc import Hashable, Mapping
from pathlib import Path
from typing import Any

from tlfeat.data.names import label_name, printable
from tlfeat.data.sources.base import (
    Listing,
    Picture,
    Row,
    SourceOptions,
    Stamp,
    read_file,
    size_problem,
    stamp_of,
)
from tlfeat.errors import DataError, did_you_mean


def detect(path: Path, names: frozenset[str], options: SourceOptions) -> "HfSource | None":
    """Know a folder made by `save_to_disk`."""
    if "dataset_dict.json" in names or {"state.json", "dataset_info.json"} <= names:
        return _from_disk(path, options)
    return None


def open_name(name: str, options: SourceOptions) -> "HfSource":
    """Open a set by its name on the hub; it is downloaded where it is not here yet."""
    folder = Path(name).expanduser()
    if folder.is_dir() and (
        (folder / "dataset_dict.json").is_file() or (folder / "state.json").is_file()
    ):
        return _from_disk(folder.resolve(), options)
    hf = _library()
    base, _, config = name.partition(":")
    try:
        found = hf.load_dataset(base, config or None)
    except Exception as error:  # a hub, a network and a disk: anything may come
        raise DataError(
            f"Hugging Face datasets cannot load {name!r}: {' '.join(str(error).split())[:300]}"
        ) from error
    return HfSource(name, found, options)


def _from_disk(path: Path, options: SourceOptions) -> "HfSource":
    hf = _library()
    try:
        found = hf.load_from_disk(str(path))
    except Exception as error:
        raise DataError(
            f"{str(path)!r} cannot be loaded: {' '.join(str(error).split())[:300]}"
        ) from error
    return HfSource(path.name, found, options)


def _library() -> Any:
    os.environ.setdefault("HF_HUB_DISABLE_TELEMETRY", "1")
    try:
        return importlib.import_module("datasets")
    except ImportError as error:
        raise DataError(
            "Hugging Face datasets need the extra: pip install 'tlfeat[hf]'."
        ) from error


class HfSource:
    """A set of Hugging Face's library; a locator is (split, row)."""

    kind = "hf"

    def __init__(self, name: str, found: Any, options: SourceOptions):
        self.name = name
        self.options = options
        self._lock = threading.Lock()
        parts = found if isinstance(found, Mapping) else {str(found.split or "all"): found}
        first = next(iter(parts.values()))
        self._image, self._label = self._columns(first)
        hf = _library()
        self._names = _class_names(first.features.get(self._label))
        self._parts = parts
        self._pictures = {
            split: part.select_columns([self._image]).cast_column(
                self._image, hf.Image(decode=False)
            )
            for split, part in parts.items()
        }

    def __reduce__(self) -> tuple[Any, ...]:
        return HfSource, (self.name, self._parts, self.options)  # another process opens it anew

    def listing(self) -> Listing:
        """List the rows split by split; no picture is touched."""
        rows: list[Row] = []
        for split, part in self._parts.items():
            values: list[Any] = [None] * len(part)
            if self._label is not None:
                values = list(part.select_columns([self._label]).with_format(None)[self._label])
            where = self._stamp(part)
            for i, value in enumerate(values):
                stamp = where._replace(member=f"{where.member}[{i}]") if where else None
                their = None if split == "all" else split
                rows.append(
                    Row(
                        f"{printable(split)}[{i}]",
                        (split, i),
                        self._name(value),
                        their,
                        None,
                        stamp,
                    )
                )
        return Listing(rows, (), (), self._names)

    def read(self, locator: Hashable) -> Picture:
        """Give the bytes of one picture, from the table or the file that it names."""
        assert isinstance(locator, tuple)
        split, i = locator
        with self._lock:
            cell = self._pictures[split][i][self._image]
        if cell is None:
            raise OSError("empty cell")
        if cell["bytes"] is None:
            return read_file(cell["path"])
        problem = size_problem(len(cell["bytes"]))
        if problem:
            raise OSError(problem)
        return bytes(cell["bytes"])

    def _columns(self, part: Any) -> tuple[str, str | None]:
        """Find the columns of the picture and of the label by their types."""
        hf = _library()
        chosen: dict[str, str | None] = {}
        for what, kind in (("image", hf.Image), ("label", hf.ClassLabel)):
            asked = self.options.columns.get(what)
            fits = [name for name, feature in part.features.items() if isinstance(feature, kind)]
            if asked is not None and asked not in part.features:
                raise DataError(
                    f"{self.name!r} has no column {asked!r}; there are "
                    f"{', '.join(part.features)}." + did_you_mean(asked, part.features)
                )
            if asked is None and len(fits) > 1 and what not in fits:
                raise DataError(
                    f"{self.name!r} has several columns of {what}s: {', '.join(fits)}. Name one, "
                    f"as in {what}={fits[0]}."
                )
            usual = what if what in fits or (what == "label" and what in part.features) else None
            chosen[what] = asked or usual or next(iter(fits), None)
        if chosen["image"] is None:
            raise DataError(
                f"{self.name!r} has no column of pictures; there are {', '.join(part.features)}."
            )
        return chosen["image"], chosen["label"]

    def _name(self, value: Any) -> str | None:
        if value is None or (isinstance(value, int) and value < 0 and self._names):
            return None
        if self._names is not None and isinstance(value, int):
            return self._names[value] if value < len(self._names) else None
        if isinstance(value, (str, int)):
            return label_name(str(value))
        raise DataError(
            f"{self.name!r}: the label {str(value)[:40]!r} is no name or whole number; one label "
            "a picture is wanted."
        )

    @staticmethod
    def _stamp(part: Any) -> Stamp | None:
        """Stamp the Arrow file behind a split; the library's fingerprint tells its rows apart."""
        files = part.cache_files
        if len(files) != 1:
            return None
        path = Path(files[0]["filename"]).absolute()
        return stamp_of(path, path.stat(), str(part._fingerprint))


def _class_names(feature: Any) -> tuple[str, ...] | None:
    names = getattr(feature, "names", None)
    return tuple(label_name(str(name)) for name in names) if names else None
