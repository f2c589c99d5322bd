"""HDF5 files, read in place: a few blocks of rows are in memory, never a whole array.

What could go wrong: HDF5 is not thread-safe, so one lock guards every call; and a compressed
chunk of many pictures would be unpacked again for each of them, so whole blocks are read and the
last few are kept.
"""

import os
import threading
from collections import OrderedDict
from pathlib import Path
from typing import Any, cast

import numpy as np
import numpy.typing as npt

from tlfeat.data.sources.base import MAX_BYTES
from tlfeat.data.sources.spool import refuse_bomb
from tlfeat.errors import DataError

_LOCK = threading.Lock()  # one for all files: the library beneath has one state
_BLOCKS = 4
_BLOCK_BYTES = 16 * 2**20
_BLOCK_ROWS = 64  # where the array is not chunked


class Hdf5File:
    """An HDF5 file as an `ArrayFile`."""

    def __init__(self, path: Path):
        self.path = path
        self._file: Any = None
        self._blocks: OrderedDict[tuple[str, int], npt.NDArray[Any]] = OrderedDict()
        self._rows: dict[str, int] = {}
        self._sound: set[str] = (
            set()
        )  # arrays that were looked at: it takes a walk over all chunks

    def __reduce__(self) -> tuple[Any, ...]:
        return Hdf5File, (self.path,)  # another process opens it anew

    def _open(self) -> Any:
        """Give the open file; the lock is held."""
        if self._file is None:
            import h5py

            try:
                self._file = h5py.File(self.path, "r")
            except OSError as error:
                raise DataError(f"{str(self.path)!r} cannot be read as HDF5: {error}.") from error
        return self._file

    def _array(self, name: str) -> Any:
        """Give one array, unless it claims far more than the file holds; the lock is held."""
        array = self._open()[os.fsencode(name)]
        if name in self._sound:
            return array
        if not array.is_virtual and not array.external:
            refuse_bomb(self.path, array.id.get_storage_size(), array.nbytes)
        if array.chunks:
            chunk = int(np.prod(array.chunks)) * array.dtype.itemsize
            if chunk > MAX_BYTES:
                raise DataError(
                    f"{name!r} of {str(self.path)!r} comes in blocks of {chunk / 2**20:,.0f} MiB, "
                    f"more than the {MAX_BYTES // 2**20} MiB that are read at once: save it in "
                    "smaller chunks."
                )
        self._sound.add(name)
        return array

    def names(self) -> list[str]:
        """Name the arrays at the top of the file."""
        import h5py

        with _LOCK:
            file = self._open()
            there = [name for name in file if isinstance(file.get(name), h5py.Dataset)]
        return [os.fsdecode(name) for name in there]  # h5py gives bytes that are no text as bytes

    def shape(self, name: str) -> tuple[tuple[int, ...], np.dtype[Any]]:
        """Give shape and dtype."""
        with _LOCK:
            array = self._array(name)
            return tuple(array.shape), array.dtype

    def whole(self, name: str) -> npt.NDArray[Any]:
        """Read one array, the labels for instance."""
        with _LOCK:
            try:
                return cast("npt.NDArray[Any]", self._array(name)[()])
            except OSError as error:
                raise DataError(
                    f"{name!r} of {str(self.path)!r} cannot be read: {error}."
                ) from error

    def row(self, name: str, i: int) -> npt.NDArray[Any]:
        """Give a copy of one row."""
        with _LOCK:
            array = self._array(name)
            rows = self._rows.setdefault(name, _block_rows(array))
            key = (name, i // rows)
            block = self._blocks.get(key)
            if block is None:
                block = array[key[1] * rows : (key[1] + 1) * rows]
                self._blocks[key] = block
                if len(self._blocks) > _BLOCKS:
                    self._blocks.popitem(last=False)
            else:
                self._blocks.move_to_end(key)
        return cast("npt.NDArray[Any]", block[i % rows].copy())


def _block_rows(array: Any) -> int:
    """Choose how many rows to read at once: a chunk's, but not too many bytes."""
    row_bytes = max(1, int(np.prod(array.shape[1:])) * array.dtype.itemsize)
    rows = array.chunks[0] if array.chunks else _BLOCK_ROWS
    return int(max(1, min(rows, _BLOCK_BYTES // row_bytes)))
