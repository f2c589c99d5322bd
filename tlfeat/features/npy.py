"""A .npy file that grows at its end, and that plain NumPy opens at any moment.

The header is written by us and has one length for any number of rows: it is rewritten
in place, and it can be checked byte by byte. It may promise more rows than the index
knows (a writer was killed between the two), never more than the file holds.
"""

import mmap
import os
import re
from typing import Any

import numpy as np

_MAGIC = b"\x93NUMPY\x01\x00"
_DIGITS = 20  # room for any number of rows
_ALIGN = 64
_RETRIES = 5  # reads of a header that a writer may be rewriting at this very moment


def header(rows: int, shape: tuple[int, ...], dtype: np.dtype[Any]) -> bytes:
    """Give the header of a file of `rows` rows of this shape.

    Parameters
    ----------
    rows : int
    shape : tuple of int
        Of one row.
    dtype : dtype

    Returns
    -------
    header : bytes
        Of the same length for any `rows`.

    References
    ----------
    numpy/lib/format.py, version 1.0 of the format.
    """
    text = f"{{'descr': {dtype.str!r}, 'fortran_order': False, 'shape': {(rows, *shape)!r}, }}"
    room = len(text) - len(str(rows)) + _DIGITS
    length = -(-(len(_MAGIC) + 2 + room + 1) // _ALIGN) * _ALIGN - len(_MAGIC) - 2
    return _MAGIC + length.to_bytes(2, "little") + text.ljust(length - 1).encode("ascii") + b"\n"


def row_bytes(shape: tuple[int, ...], dtype: np.dtype[Any]) -> int:
    """Give the bytes of one row."""
    return int(np.prod(shape, dtype=np.int64)) * dtype.itemsize


def wide(dtype: np.dtype[Any]) -> np.dtype[Any]:
    """Give what rows are read as: at least float32, in this machine's byte order."""
    return np.result_type(dtype, np.float32)


def problem(fd: int, rows: int, shape: tuple[int, ...], dtype: np.dtype[Any]) -> str | None:
    """Say what is wrong with a file that should hold at least `rows` rows, or None."""
    length = len(header(0, shape, dtype))
    for _ in range(_RETRIES):
        found = os.pread(fd, length, 0)
        match = re.search(rb"'shape': \((\d{1,20}),", found)
        if match and found == header(promised := int(match[1]), shape, dtype):
            break
    else:
        return "the header of features.npy is not the one that was written"
    if promised < rows:
        return f"features.npy says {promised:,} rows, its index {rows:,}"
    held = (os.fstat(fd).st_size - length) // row_bytes(shape, dtype)
    if held < promised:
        return f"features.npy is cut short: {held:,} of {promised:,} rows"
    return None


def write_rows(fd: int, at: int, rows: np.ndarray) -> None:
    """Write `rows` as row `at` and following, then the header; synced in this order.

    Whatever lies at and after row `at` was never committed and is overwritten.
    """
    shape, dtype = rows.shape[1:], rows.dtype
    start = len(header(0, shape, dtype)) + at * row_bytes(shape, dtype)
    _write_all(fd, as_bytes(np.ascontiguousarray(rows)), start)
    os.fsync(fd)
    _write_all(fd, memoryview(header(at + len(rows), shape, dtype)), 0)
    os.fsync(fd)


def map_rows(
    fd: int, start: int, stop: int, shape: tuple[int, ...], dtype: np.dtype[Any]
) -> np.ndarray:
    """Give the rows from `start` to before `stop`, read-only and read from the disk as needed.

    Raises
    ------
    EOFError
        If the file ends before the rows do.
    """
    if stop <= start:
        return np.empty((0, *shape), dtype)
    first = len(header(0, shape, dtype)) + start * row_bytes(shape, dtype)
    page = first // mmap.ALLOCATIONGRANULARITY * mmap.ALLOCATIONGRANULARITY
    size = first - page + (stop - start) * row_bytes(shape, dtype)
    if os.fstat(fd).st_size < page + size:
        raise EOFError("features.npy is cut short")
    mapped = mmap.mmap(fd, size, access=mmap.ACCESS_READ, offset=page)
    return np.frombuffer(mapped, dtype, offset=first - page).reshape(stop - start, *shape)


def read_rows(fd: int, rows: np.ndarray, table: np.ndarray) -> None:
    """Read some rows into memory.

    Parameters
    ----------
    fd : int
    rows : ndarray of shape (n,), int64
        Row numbers, in ascending order. Of the file only what lies between first and last is
        mapped, and only meanwhile, so that few rows at a time take little memory.
    table : ndarray of shape (n, *shape)
        Gets the rows; of the file's own dtype.

    Raises
    ------
    EOFError
        If the file ends before a row does.
    """
    window = map_rows(fd, int(rows[0]), int(rows[-1]) + 1, table.shape[1:], table.dtype)
    np.take(window, rows - rows[0], axis=0, out=table, mode="clip")  # others are buffered


def as_bytes(rows: np.ndarray) -> memoryview:
    """Give the bytes of contiguous rows, not copied."""
    flat: Any = rows.reshape(-1).view(np.uint8)
    return memoryview(flat)


def _write_all(fd: int, data: memoryview, at: int) -> None:
    while data:
        done = os.pwrite(fd, data, at)
        data, at = data[done:], at + done
