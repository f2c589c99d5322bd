"""Pictures in arrays: NPZ and HDF5, told apart by the names of the arrays.

Understood are x_train and y_train, train_images and train_labels (MedMNIST), x and y, images and
labels, in any order of the words; and HDF5 pairs with one array a file in PCam's layout,
`..._train_x.h5` and `..._train_y.h5`.
"""

import re
from collections.abc import Collection, Hashable, Sequence
from pathlib import Path
from typing import Any, NamedTuple, Protocol

import numpy as np
import numpy.typing as npt

from tlfeat.data.names import canonical_split, label_name, printable
from tlfeat.data.sources.base import (
    Listing,
    Picture,
    Row,
    SourceOptions,
    refuse_columns,
    size_problem,
    stamp_of,
)
from tlfeat.data.sources.spool import ROW_BYTES, refuse_bomb
from tlfeat.errors import DataError

_PICTURES = frozenset({"x", "images", "image", "data"})
_LABELS = frozenset({"y", "labels", "label", "target", "targets"})
_CLASSES = ("class_names", "label_names", "classes")
_HDF5_SUFFIXES = frozenset({".h5", ".hdf5", ".hdf"})
_HDF5_MAGIC = b"\x89HDF\r\n\x1a\n"


class ArrayFile(Protocol):
    """A file of named arrays, read in place."""

    path: Path

    def names(self) -> Sequence[str]:
        """Name the arrays."""
        ...

    def shape(self, name: str) -> tuple[tuple[int, ...], np.dtype[Any]]:
        """Give shape and dtype without reading the array."""
        ...

    def whole(self, name: str) -> npt.NDArray[Any]:
        """Read a small array whole."""
        ...

    def row(self, name: str, i: int) -> npt.NDArray[Any]:
        """Read one row; safe in threads."""
        ...


class Part(NamedTuple):
    """The pictures of one split, and their labels."""

    split: str | None
    pictures: str
    labels: str | None


def detect_file(path: Path, head: bytes, options: SourceOptions) -> "ArraySource | None":
    """Know NPZ and HDF5 files; one half of a pair stands for all pairs in its folder."""
    if head.startswith(_HDF5_MAGIC):
        if _pair_name(path, options.split_names) is not None:
            return _pairs(path.parent, [p.name for p in path.parent.iterdir()], options)
        from tlfeat.data.sources.hdf5 import Hdf5File

        return ArraySource("hdf5", [Hdf5File(path)], options)
    if head.startswith(b"PK"):
        from tlfeat.data.sources.npz import NpzFile, is_npz

        if is_npz(path):
            return ArraySource("npz", [NpzFile(path)], options)
    return None


def detect_folder(
    path: Path, names: frozenset[str], options: SourceOptions
) -> "ArraySource | None":
    """Know a folder of HDF5 pairs."""
    return _pairs(path, names, options)


def _pairs(folder: Path, names: Collection[str], options: SourceOptions) -> "ArraySource | None":
    paths = [folder / name for name in sorted(names)]
    halves = [path for path in paths if _pair_name(path, options.split_names) is not None]
    if not halves:
        return None
    from tlfeat.data.sources.hdf5 import Hdf5File

    return ArraySource("hdf5", [Hdf5File(path) for path in halves], options)


def _pair_name(path: Path, split_names: Collection[str]) -> tuple[str, str] | None:
    """Read (split, x or y) from a name like camelyonpatch_level_2_split_train_x.h5."""
    words = path.stem.lower().split("_")
    if path.suffix.lower() not in _HDF5_SUFFIXES or len(words) < 2 or words[-1] not in ("x", "y"):
        return None
    if canonical_split(words[-2]) is None and words[-2] not in split_names:
        return None
    return words[-2], words[-1]


def find_parts(names: Sequence[str], split_names: Collection[str]) -> tuple[list[Part], list[str]]:
    """Match arrays of pictures and of labels by their names; also give those left over.

    Examples
    --------
    >>> find_parts(["x_train", "y_train", "mean"], ())[0]
    [Part(split='train', pictures='x_train', labels='y_train')]
    """
    found: dict[str | None, dict[str, str]] = {}
    other = []
    for name in names:
        words = re.split(r"[^a-z0-9]+", name.lower())
        kinds = [word for word in words if word in _PICTURES | _LABELS]
        rest = [word for word in words if word not in _PICTURES | _LABELS and word]
        known = not rest or canonical_split(rest[0]) is not None or rest[0] in split_names
        if len(kinds) != 1 or len(rest) > 1 or not known:
            other.append(name)
            continue
        half = "pictures" if kinds[0] in _PICTURES else "labels"
        found.setdefault(rest[0] if rest else None, {})[half] = name
    parts = [
        Part(split, halves["pictures"], halves.get("labels"))
        for split, halves in found.items()
        if "pictures" in halves
    ]
    return parts, other


class ArraySource:
    """Pictures in arrays; a locator is (file, array, row)."""

    def __init__(self, kind: str, files: Sequence[ArrayFile], options: SourceOptions):
        refuse_columns(options, f"a {kind} file")
        self.kind = kind
        self.files = files
        self.options = options

    def listing(self) -> Listing:
        """List the rows split by split, in the arrays' order."""
        pairs: list[tuple[str | None, int, str, int | None, str | None]] = []
        names: tuple[str, ...] | None = None
        notes: list[str] = []
        if len(self.files) > 1 or _pair_name(self.files[0].path, self.options.split_names):
            pairs = self._file_pairs()
        else:
            file = self.files[0]
            there = file.names()
            parts, other = find_parts(there, self.options.split_names)
            if not parts:
                raise DataError(
                    f"{str(file.path)!r} holds the arrays {', '.join(map(printable, there))}; "
                    "expected x_train and y_train, train_images and train_labels, or x and y."
                )
            pairs = [(part.split, 0, part.pictures, 0, part.labels) for part in parts]
            for name in _CLASSES:
                if name in there:
                    names = tuple(map(label_name, map(str, file.whole(name).ravel().tolist())))
                    other.remove(name)
                    break
            if other:
                notes.append(f"not used: {', '.join(map(printable, other))}")
        rows: list[Row] = []
        for split, at, pictures, label_file, labels in pairs:
            rows += self._rows(split, at, pictures, label_file, labels, names)
        return Listing(rows, (), notes, names)

    def read(self, locator: Hashable) -> Picture:
        """Give one row as uint8; grey has two axes."""
        assert isinstance(locator, tuple)
        at, name, i = locator
        picture: npt.NDArray[np.uint8] = self.files[at].row(name, i)
        return picture[:, :, 0] if picture.ndim == 3 and picture.shape[2] == 1 else picture

    def _file_pairs(self) -> list[tuple[str | None, int, str, int | None, str | None]]:
        halves: dict[str, dict[str, int]] = {}
        for at, file in enumerate(self.files):
            name = _pair_name(file.path, self.options.split_names)
            assert name is not None
            if name[1] in halves.setdefault(name[0], {}):
                raise DataError(
                    f"{str(file.path.parent)!r} holds two files for {name[0]} {name[1]}; expected "
                    "one pair a split."
                )
            halves[name[0]][name[1]] = at
        pairs: list[tuple[str | None, int, str, int | None, str | None]] = []
        for split, half in halves.items():
            if "x" not in half:
                file = self.files[half["y"]]
                raise DataError(f"The pictures of {str(file.path)!r} (..._x.h5) are missing.")
            y = half.get("y")
            labels = None if y is None else _only_array(self.files[y], "y")
            pairs.append((split, half["x"], _only_array(self.files[half["x"]], "x"), y, labels))
        return pairs

    def _rows(
        self,
        split: str | None,
        at: int,
        pictures: str,
        label_file: int | None,
        labels: str | None,
        names: tuple[str, ...] | None,
    ) -> list[Row]:
        file = self.files[at]
        shape, dtype = file.shape(pictures)
        where = f"{pictures!r} of {file.path.name!r}"
        if dtype != np.uint8:
            raise DataError(
                f"{where} holds {dtype}; wanted uint8 from 0 to 255: for values from 0 to 1 save "
                "(255 * x).round().astype('uint8')."
            )
        if len(shape) not in (3, 4) or (len(shape) == 4 and shape[3] not in (1, 3, 4)):
            raise DataError(
                f"{where} has the shape {shape}; wanted (n, height, width) or "
                "(n, height, width, 3)."
            )
        status = file.path.stat()
        refuse_bomb(file.path, status.st_size, ROW_BYTES * shape[0])
        problem = size_problem(int(np.prod(shape[1:])))
        if problem:
            raise DataError(f"{where} has the shape {shape}: a picture has {problem}.")
        found: Sequence[str | None] = [None] * shape[0]
        if labels is not None and label_file is not None:
            found = decode_labels(self.files[label_file].whole(labels), labels, names)
        if len(found) != shape[0]:
            raise DataError(
                f"{where} holds {shape[0]} pictures, but {labels!r} {len(found)} labels."
            )
        name = printable(pictures)
        return [
            Row(
                f"{split or name}[{i}]",
                (at, pictures, i),
                label,
                split,
                None,
                stamp_of(file.path, status, f"{name}[{i}]"),
            )
            for i, label in enumerate(found)
        ]


def decode_labels(
    values: npt.NDArray[Any], name: str, names: Sequence[str] | None = None
) -> list[str]:
    """Turn an array of labels into class names: numbers, text, or one-hot rows.

    Raises
    ------
    DataError
        If a picture has several labels, or labels that are no names.
    """
    n = len(values) if values.ndim else 0
    if values.ndim > 1 and values.size == n:
        values = values.reshape(n)
    if values.ndim > 1:
        hot = values.reshape(n, -1)
        if hot.dtype.kind not in "biuf" or not (
            np.isin(hot, (0, 1)).all() and (hot.sum(axis=1) == 1).all()
        ):
            raise DataError(
                f"{name!r} has the shape {values.shape}: several labels a picture are not for "
                "tlfeat; wanted one number or name each, or one-hot rows."
            )
        values = hot.argmax(axis=1)
    if values.dtype.kind == "f" and (values == np.floor(values)).all():
        values = values.astype(np.int64)
    if values.dtype.kind in "biu":
        numbers = values.astype(np.int64).tolist()
        if names is not None and all(0 <= i < len(names) for i in numbers):
            return [names[i] for i in numbers]
        return [str(i) for i in numbers]
    if values.dtype.kind in "SUO":
        texts = [
            v.decode("utf-8", "surrogateescape") if isinstance(v, bytes) else v
            for v in values.tolist()
        ]
        if all(isinstance(text, str) for text in texts):
            return [label_name(text) for text in texts]
    raise DataError(f"{name!r} holds {values.dtype}; wanted whole numbers or names as labels.")


def _only_array(file: ArrayFile, usual: str) -> str:
    """Name the array of half a pair: the usual one, or the only one."""
    names = file.names()
    if usual in names or len(names) == 1:
        return usual if usual in names else names[0]
    raise DataError(
        f"{str(file.path)!r} holds {', '.join(map(printable, names)) or 'no array'}; expected one "
        f"array, {usual!r}."
    )
