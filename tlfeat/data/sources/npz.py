"""NPZ files, read in place where they are not compressed."""

import threading
import zipfile
from pathlib import Path
from typing import Any, cast

import numpy as np
import numpy.typing as npt

from tlfeat.data.sources.spool import refuse_bomb, spool
from tlfeat.errors import DataError

_LOCAL_HEADER = 30


def is_npz(path: Path) -> bool:
    """Tell an NPZ file from another zip: it holds nothing but arrays."""
    try:
        with zipfile.ZipFile(path) as archive:
            names = archive.namelist()
    except (zipfile.BadZipFile, OSError, NotImplementedError, ValueError):
        return False
    return bool(names) and all(name.endswith(".npy") for name in names)


class NpzFile:
    """An NPZ file as an `ArrayFile`: compressed arrays unpack to a temporary file, once."""

    def __init__(self, path: Path):
        self.path = path
        self._lock = threading.Lock()
        self._arrays: dict[str, npt.NDArray[Any]] = {}

    def __reduce__(self) -> tuple[Any, ...]:
        return NpzFile, (self.path,)  # another process opens it anew

    def names(self) -> list[str]:
        """Name the arrays."""
        with zipfile.ZipFile(self.path) as archive:
            return [name.removesuffix(".npy") for name in archive.namelist()]

    def shape(self, name: str) -> tuple[tuple[int, ...], np.dtype[Any]]:
        """Give shape and dtype from the array's header."""
        self._refuse_bomb(name)
        shape, _, dtype, _ = self._header(name)
        return shape, dtype

    def whole(self, name: str) -> npt.NDArray[Any]:
        """Read one array; pickled objects are refused."""
        self._refuse_bomb(name)
        try:
            with np.load(self.path, allow_pickle=False) as arrays:
                return cast("npt.NDArray[Any]", arrays[name])
        except ValueError as error:
            raise DataError(
                f"{name!r} of {str(self.path)!r} cannot be read ({error}); save names as text, "
                "with astype(str)."
            ) from error

    def row(self, name: str, i: int) -> npt.NDArray[Any]:
        """Give a copy of one row."""
        with self._lock:
            if name not in self._arrays:
                self._arrays[name] = self._map(name)
            array = self._arrays[name]
        return np.array(array[i])

    def _refuse_bomb(self, name: str) -> None:
        with zipfile.ZipFile(self.path) as archive:
            info = archive.getinfo(name + ".npy")
        refuse_bomb(self.path, info.compress_size, info.file_size)

    def _header(self, name: str) -> tuple[tuple[int, ...], bool, np.dtype[Any], int]:
        try:
            with zipfile.ZipFile(self.path) as archive, archive.open(name + ".npy") as file:
                version = np.lib.format.read_magic(file)
                read = (
                    np.lib.format.read_array_header_1_0
                    if version == (1, 0)
                    else np.lib.format.read_array_header_2_0
                )
                shape, fortran, dtype = read(file)
                return shape, fortran, dtype, file.tell()
        except (ValueError, zipfile.BadZipFile) as error:
            raise DataError(f"{name!r} of {str(self.path)!r} cannot be read: {error}.") from error

    def _map(self, name: str) -> npt.NDArray[Any]:
        """Map one array into memory, from the file itself or an unpacked copy."""
        shape, fortran, dtype, start = self._header(name)
        order: Any = "F" if fortran else "C"
        with zipfile.ZipFile(self.path) as archive:
            info = archive.getinfo(name + ".npy")
            if info.compress_type == zipfile.ZIP_STORED:
                with self.path.open("rb") as file:
                    file.seek(info.header_offset)
                    local = file.read(_LOCAL_HEADER)
                    lengths = int.from_bytes(local[26:28], "little") + int.from_bytes(
                        local[28:30], "little"
                    )
                    begin = info.header_offset + _LOCAL_HEADER + lengths + start
                    return np.memmap(file, dtype, "r", begin, shape, order)
            with (
                archive.open(info) as packed,
                spool(packed, None, info.file_size, self.path) as unpacked,
            ):
                return np.memmap(unpacked, dtype, "r", start, shape, order)
