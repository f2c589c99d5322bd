"""Both files of a store entry while they are open, and their rows, never read unchecked."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from tlfeat.errors import StoreError
from tlfeat.features import npy
from tlfeat.features.index import Index, damaged, row_checksums


@dataclass(frozen=True)
class Opened:
    """features.npy and the index of one folder, at one moment."""

    path: Path
    folder: tuple[int, int] | None  # its identity
    features: int  # file descriptor of features.npy
    index: Index
    count: int  # committed rows
    shape: tuple[int, ...]  # of one row
    dtype: np.dtype[Any]
    chunk: int  # rows that are read and checked at a time

    def check_header(self, count: int) -> None:
        """See that features.npy holds so many rows.

        Raises
        ------
        DamagedEntry
            If it does not.
        """
        wrong = npy.problem(self.features, count, self.shape, self.dtype)
        if wrong:
            raise damaged(self.path, wrong)

    def checked_rows(
        self, keys: np.ndarray, rows: np.ndarray
    ) -> Iterator[tuple[np.ndarray, np.ndarray]]:
        """Read rows in the order of the disk, a chunk at a time, and check each.

        Parameters
        ----------
        keys : ndarray of shape (n, 32), uint8
            Of the pictures.
        rows : ndarray of shape (n,), int64
            Where they are; one may be there twice.

        Yields
        ------
        places : ndarray of shape (n_chunk,), int64
            Which of `rows` they are.
        table : ndarray of shape (n_chunk, *shape)

        Raises
        ------
        DamagedEntry
            If a row does not match its checksum.
        """
        # Rows that were committed since `count` was asked for are read as well.
        self.check_header(max(self.count, 1 + int(rows.max(initial=-1))))
        order = np.argsort(rows, kind="stable")
        checksums = self.index.checksums(rows[order])
        for start in range(0, len(order), self.chunk):
            places = order[start : start + self.chunk]
            numbers, wanted = rows[places], checksums[start : start + self.chunk]
            table = self._read(numbers)
            wrong = numbers[row_checksums(keys[places], numbers, npy.as_bytes(table)) != wanted]
            if len(wrong):
                what = f"row {wrong[0]} of features.npy does not match its checksum"
                raise damaged(self.path, what)
            yield places, table

    def check(self, keys: np.ndarray, rows: np.ndarray) -> None:
        """Check rows against their checksums, see `checked_rows`."""
        for _ in self.checked_rows(keys, rows):
            pass

    def bad_rows(self, step: Callable[[int], None]) -> list[int]:
        """Give all rows that do not match their checksum; see `Entry.bad_rows`."""
        bad: list[int] = []
        for start in range(0, self.count, self.chunk):
            rows = np.arange(start, min(start + self.chunk, self.count))
            keys, checksums = self.index.lines(start, start + len(rows))
            data = npy.as_bytes(self._read(rows))
            bad += rows[row_checksums(keys, rows, data) != checksums].tolist()
            step(len(rows))
        return bad

    def _read(self, rows: np.ndarray) -> np.ndarray:
        try:
            return npy.read_rows(self.features, rows, self.shape, self.dtype)
        except EOFError as error:
            raise damaged(self.path, str(error)) from error
        except OSError as error:
            raise StoreError(
                f"{self.path} cannot be read ({error.strerror}): check the disk."
            ) from error
