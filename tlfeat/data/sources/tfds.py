"""TensorFlow Datasets: `tfds:NAME`, or the folder of a set that is prepared already.

A prepared set is read straight from its TFRecord files, in place and as the bytes that were
stored, so neither TensorFlow nor tensorflow_datasets is needed for it; they are imported only to
download and prepare one that is not here.

A TFRecord is length (8 bytes), checksum (4), a `tf.train.Example`, checksum (4). Of the Example
only two features are wanted, so its few wire rules are read right here.
"""

import importlib
import json
import mmap
import os
import re
import struct
import threading
from collections.abc import Hashable, Iterator
from pathlib import Path
from typing import Any

from tlfeat.data.names import label_name, printable
from tlfeat.data.sources.base import (
    Listing,
    Picture,
    Row,
    SkippedRow,
    SourceOptions,
    size_problem,
    stamp_of,
)
from tlfeat.errors import DataError, did_you_mean

_IMAGE = "tensorflow_datasets.core.features.image_feature.Image"
_LABEL = "tensorflow_datasets.core.features.class_label_feature.ClassLabel"
_FOOT = 4


def detect(path: Path, names: frozenset[str], options: SourceOptions) -> "TfdsSource | None":
    """Know the folder of one version of a prepared set."""
    if {"features.json", "dataset_info.json"} <= names:
        return TfdsSource(path, options)
    return None


def open_name(name: str, options: SourceOptions) -> "TfdsSource":
    """Open a set by name, from the data folder of TFDS, else by downloading it."""
    folder = Path(name).expanduser()
    if (folder / "features.json").is_file():
        return TfdsSource(folder.resolve(), options)
    root = Path(os.environ.get("TFDS_DATA_DIR", "~/tensorflow_datasets")).expanduser()
    here = find_prepared(root, name)
    if here is not None:
        return TfdsSource(here, options)
    try:
        tfds = importlib.import_module("tensorflow_datasets")
    except ImportError as error:
        raise DataError(
            f"{name!r} is not prepared in {str(root)!r}, and to download it the extra is needed: "
            "pip install 'tlfeat[tfds]'."
        ) from error
    try:
        builder = tfds.builder(name, data_dir=root)
        builder.download_and_prepare(file_format="tfrecord")
    except Exception as error:  # a registry, a network and a disk: anything may come
        raise DataError(
            f"TensorFlow Datasets cannot prepare {name!r}: {' '.join(str(error).split())[:300]}"
        ) from error
    return TfdsSource(Path(builder.data_dir), options)


def find_prepared(root: Path, name: str) -> Path | None:
    """Find NAME[/CONFIG][:VERSION] below a data folder; the newest version by default."""
    base, _, version = name.partition(":")
    if not base or ".." in Path(base).parts:
        return None
    found = [
        path.parent
        for path in (root / base).glob(f"{version or '*'}/features.json")
        if re.fullmatch(r"[0-9]+\.[0-9]+\.[0-9]+", path.parent.name)
    ]
    return max(found, key=lambda p: [int(n) for n in p.name.split(".")], default=None)


class TfdsSource:
    """A prepared set; a locator is (file, offset, length) of one picture's bytes."""

    kind = "tfds"

    def __init__(self, path: Path, options: SourceOptions):
        self.path = path
        self.options = options
        self._lock = threading.Lock()
        self._files: dict[str, int] = {}

    def __reduce__(self) -> tuple[Any, ...]:
        return TfdsSource, (self.path, self.options)  # another process opens it anew

    def listing(self) -> Listing:
        """List all splits, shard by shard."""
        info = _read_json(self.path / "dataset_info.json")
        if info.get("fileFormat", "tfrecord") != "tfrecord":
            raise DataError(
                f"{str(self.path)!r} is stored as {info['fileFormat']}; prepare it with "
                "download_and_prepare(file_format='tfrecord')."
            )
        image, label = self._features()
        names = self._class_names(label)
        rows: list[Row] = []
        skipped: list[SkippedRow] = []
        for split in info.get("splits", []):
            self._list_split(str(split["name"]), info, image, label, names, rows, skipped)
        return Listing(rows, skipped, (), names)

    def read(self, locator: Hashable) -> Picture:
        """Read the bytes of one picture."""
        assert isinstance(locator, tuple)
        path, offset, length = locator
        with self._lock:
            if path not in self._files:
                self._files[path] = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
            descriptor = self._files[path]
        data = os.pread(descriptor, length, offset)
        if len(data) != length:
            raise OSError("the file ends before its record does")
        return data

    def __del__(self) -> None:
        """Close what was opened."""
        for descriptor in self.__dict__.get("_files", {}).values():
            os.close(descriptor)

    def _features(self) -> tuple[str, str | None]:
        """Find the features of the picture and of the label by their types."""
        features = _read_json(self.path / "features.json")
        inner = features.get("featuresDict", {}).get("features", {})
        kinds = {name: feature.get("pythonClassName") for name, feature in inner.items()}
        chosen: dict[str, str | None] = {}
        for what, kind in (("image", _IMAGE), ("label", _LABEL)):
            asked = self.options.columns.get(what)
            fits = [name for name, its in kinds.items() if its == kind]
            if asked is not None and asked not in kinds:
                raise DataError(
                    f"{self.path.parent.name} has no feature {asked!r}; there are "
                    f"{', '.join(kinds)}." + did_you_mean(asked, kinds)
                )
            if asked is None and len(fits) > 1 and what not in fits:
                raise DataError(
                    f"{self.path.parent.name} has several features of {what}s: "
                    f"{', '.join(fits)}. Name one, as in {what}={fits[0]}."
                )
            chosen[what] = asked or (what if what in fits else next(iter(fits), None))
        if chosen["image"] is None:
            raise DataError(
                f"{self.path.parent.name} has no pictures; its features: {', '.join(kinds)}."
            )
        return chosen["image"], chosen["label"]

    def _class_names(self, label: str | None) -> tuple[str, ...] | None:
        path = self.path / f"{label}.labels.txt"
        if label is None or not path.is_file():
            return None
        return tuple(label_name(line) for line in path.read_text("utf-8").splitlines() if line)

    def _list_split(
        self,
        split: str,
        info: dict[str, Any],
        image: str,
        label: str | None,
        names: tuple[str, ...] | None,
        rows: list[Row],
        skipped: list[SkippedRow],
    ) -> None:
        shards = sorted(self.path.glob(f"{info['name']}-{split}.tfrecord*"))
        i = 0
        for shard in shards:
            status = shard.stat()
            for record in _records(shard):
                identity = f"{printable(split)}[{i}]"
                i += 1
                picture, value = _example(record.data, image, label)
                name = None
                if isinstance(value, bytes):
                    name = label_name(value.decode("utf-8", "surrogateescape"))
                elif value is not None and value >= 0:  # -1 stands for no label
                    name = names[value] if names and value < len(names) else str(value)
                problem = "no picture in the record" if picture is None else None
                if picture is not None:
                    problem = size_problem(picture[1])
                if picture is None or problem:
                    skipped.append(SkippedRow(identity, str(problem), name, split))
                    continue
                begin, length = record.offset + picture[0], picture[1]
                stamp = stamp_of(shard, status, f"{begin}")
                rows.append(Row(identity, (str(shard), begin, length), name, split, None, stamp))


class _Record:
    """One record: its bytes, without a copy, and where they begin in the file."""

    def __init__(self, data: memoryview, offset: int):
        self.data = data
        self.offset = offset


def _records(path: Path) -> Iterator[_Record]:
    if path.stat().st_size == 0:
        return
    with path.open("rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as mapped:
        at, end = 0, len(mapped)
        whole = memoryview(mapped)
        try:
            while at < end:
                head = whole[at : at + 8]
                length = struct.unpack("<Q", head)[0] if len(head) == 8 else end
                head.release()
                begin = at + 8 + _FOOT
                if begin + length + _FOOT > end:
                    raise DataError(f"{str(path)!r} is damaged: it ends within a record.")
                data = whole[begin : begin + length]
                try:
                    yield _Record(data, begin)
                finally:
                    data.release()
                at = begin + length + _FOOT
        finally:
            whole.release()


def _example(
    data: memoryview, image: str, label: str | None
) -> tuple[tuple[int, int] | None, int | bytes | None]:
    """Find (offset, length) of the picture's bytes, and the label's value, in an Example."""
    picture: tuple[int, int] | None = None
    value: int | bytes | None = None
    try:
        for begin, end in _fields(data, 0, len(data)).get(1, []):  # features
            for entry in _fields(data, begin, end).get(1, []):  # one of a map
                parts = _fields(data, *entry)
                key = bytes(data[slice(*parts[1][-1])]).decode("utf-8", "replace")
                if key in (image, label) and 2 in parts:
                    kinds = _fields(data, *parts[2][-1])
                    if key == image and 1 in kinds:
                        first = _fields(data, *kinds[1][-1]).get(1)
                        picture = (first[0][0], first[0][1] - first[0][0]) if first else None
                    elif key == label and 1 in kinds:
                        first = _fields(data, *kinds[1][-1]).get(1)
                        value = bytes(data[slice(*first[0])]) if first else None
                    elif key == label and 3 in kinds:
                        value = _first_integer(data, *kinds[3][-1])
    except (IndexError, KeyError, ValueError) as error:
        raise DataError(f"a record is no tf.train.Example ({error}).") from error
    return picture, value


def _fields(data: memoryview, at: int, end: int) -> dict[int, list[tuple[int, int]]]:
    """Find the length-delimited fields of a protobuf message, and varints as (begin, end)."""
    found: dict[int, list[tuple[int, int]]] = {}
    while at < end:
        tag, at = _varint(data, at)
        wire = tag & 7
        begin = at
        if wire == 2:
            length, begin = _varint(data, at)
            at = begin + length
        elif wire == 0:
            _, at = _varint(data, at)
        elif wire in (1, 5):
            at += 8 if wire == 1 else 4
        else:
            raise ValueError(f"wire type {wire}")
        if at > end:
            raise ValueError("a field ends too late")
        found.setdefault(tag >> 3, []).append((begin, at))
    return found


def _first_integer(data: memoryview, at: int, end: int) -> int | None:
    """Read the first value of an Int64List, packed or not."""
    values = _fields(data, at, end).get(1)
    if not values:
        return None
    number, _ = _varint(data, values[0][0])
    return number - 2**64 if number >= 2**63 else number


def _varint(data: memoryview, at: int) -> tuple[int, int]:
    number = shift = 0
    while True:
        byte = data[at]
        number |= (byte & 0x7F) << shift
        at, shift = at + 1, shift + 7
        if byte < 0x80:
            return number, at
        if shift > 63:
            raise ValueError("a number is too long")


def _read_json(path: Path) -> dict[str, Any]:
    try:
        found = json.loads(path.read_text("utf-8"))
    except (OSError, ValueError) as error:
        raise DataError(f"{str(path)!r} cannot be read: {error}.") from error
    if not isinstance(found, dict):
        raise DataError(f"{str(path)!r} does not describe a data set.")
    return found
