"""Both files of a store entry while they are open, and their rows, never read unchecked."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

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

    def read(self, keys: np.ndarray, rows: np.ndarray) -> np.ndarray:
        """Read rows, each checked against its checksum.

        Parameters
        ----------
        keys : ndarray of shape (n, 32), uint8
            Of the pictures.
        rows : ndarray of shape (n,), int64
            Where they are; one may be there twice.

        Returns
        -------
        table : ndarray of shape (n, *shape)
            At least float32, in this machine's byte order.

        Raises
        ------
        DamagedEntry
            If a row does not match its checksum.
        """
        wide = npy.wide(self.dtype)
        table = np.empty((len(rows), *self.shape), wide)
        if wide == self.dtype and (np.diff(rows) > 0).all():
            self.check(keys, rows, table)  # read to where they belong
        else:
            for places, chunk in self._checked(keys, rows):
                table[places] = chunk
        return table

    def check(self, keys: np.ndarray, rows: np.ndarray, table: np.ndarray | None = None) -> None:
        """Check rows against their checksums; `table` keeps them, if they are in ascending order.

        Raises
        ------
        DamagedEntry
            If a row does not match its checksum.
        """
        for _ in self._checked(keys, rows, table):
            pass

    def bad_rows(self, step: Callable[[int], None]) -> list[int]:
        """Give all rows that do not match their checksum; see `Entry.bad_rows`."""
        bad: list[int] = []
        for start in range(0, self.count, self.chunk):
            rows = np.arange(start, min(start + self.chunk, self.count))
            keys, checksums = self.index.lines(start, start + len(rows))
            chunk = np.empty((len(rows), *self.shape), self.dtype)
            bad += rows[self._read(keys, rows, chunk) != checksums].tolist()
            step(len(rows))
        return bad

    def _checked(
        self, keys: np.ndarray, rows: np.ndarray, table: np.ndarray | None = None
    ) -> Iterator[tuple[np.ndarray, np.ndarray]]:
        """Read rows in the order of the disk, a chunk at a time; give each with its places."""
        # Rows that were committed since `count` was asked for are read as well.
        self.check_header(max(self.count, 1 + int(rows.max(initial=-1))))
        order = np.argsort(rows, kind="stable")
        checksums = self.index.checksums(rows[order])
        for start in range(0, len(order), self.chunk):
            part = slice(start, start + self.chunk)
            places, numbers = order[part], rows[order[part]]
            chunk = (
                np.empty((len(places), *self.shape), self.dtype) if table is None else table[part]
            )
            wrong = numbers[self._read(keys[places], numbers, chunk) != checksums[part]]
            if len(wrong):
                what = f"row {wrong[0]} of features.npy does not match its checksum"
                raise damaged(self.path, what)
            yield places, chunk

    def _read(self, keys: np.ndarray, rows: np.ndarray, chunk: np.ndarray) -> np.ndarray:
        """Read rows into a chunk; give the checksums that they have."""
        try:
            npy.read_rows(self.features, rows, chunk)
        except EOFError as error:
            raise damaged(self.path, str(error)) from error
        return row_checksums(keys, rows, npy.as_bytes(chunk))
