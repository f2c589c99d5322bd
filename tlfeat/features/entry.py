"""One entry of the feature store: a matrix on disk, and the index that names its rows."""

import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager, suppress
from glob import escape
from pathlib import Path
from typing import Any

import numpy as np

from tlfeat.errors import StoreError
from tlfeat.features import disk, npy
from tlfeat.features.disk import DamagedEntry
from tlfeat.features.folder import (
    DAMAGED,
    FEATURES,
    INDEX,
    RECIPE,
    bytes_in,
    describe,
    identity,
    make_entry,
    move_away,
)
from tlfeat.features.index import Index, damaged, keys_of, row_checksums, sqlite_errors
from tlfeat.features.opened import Opened
from tlfeat.features.soundness import Soundness
from tlfeat.files import mark_cache

_ATTEMPTS = 5  # to open an entry that others make, set aside or prune meanwhile
_CHUNK_BYTES = 1 << 20  # of rows that are read and checked at a time, while caches hold them
_GONE = (0, 0)  # the identity of no folder


class Entry:
    """The features of one recipe, a row for each picture that was ever embedded.

    Any number of threads and processes may read and append at once. What is read counts
    as a use of the entry, which `last_used` tells and `tlfeat cache prune` goes by.
    """

    def __init__(
        self,
        root: Path,
        name: str,
        recipe: Mapping[str, Any],
        shape: Sequence[int],
        dtype: str,
    ) -> None:
        self.name = name
        self.path = root / "features" / name
        self.recipe = dict(recipe)
        self.shape = tuple(int(side) for side in shape)
        self.dtype = np.dtype(dtype).newbyteorder("<")
        if self.dtype.kind != "f" or any(side < 1 for side in self.shape):
            raise ValueError(f"Features are floats of some shape, got {dtype} of {self.shape}.")
        self.row_bytes = npy.row_bytes(self.shape, self.dtype)
        self._root = root
        self._soundness = Soundness(
            self.path, self.recipe, describe(self.recipe, self.shape, self.dtype)
        )
        self._suspect: tuple[int, int] | None = None  # the folder that was found damaged
        self._made_by: Mapping[str, Any] = {}  # if an append makes it
        self._allowed = False  # to write where it lies

    def __repr__(self) -> str:
        return f"Entry({self.name!r})"

    @property
    def exists(self) -> bool:
        """Whether anything was ever stored."""
        return self.path.is_dir()

    @property
    def rows(self) -> int:
        """Number of pictures whose features are stored."""
        if not self.exists:
            return 0
        with self._opened(thorough=False) as opened:
            return opened.count

    @property
    def bytes(self) -> int:
        """Size of the entry's folder."""
        return bytes_in(self.path)

    @property
    def last_used(self) -> float:
        """When rows were last read or added, in seconds since 1970; 0 if never."""
        try:
            return (self.path / RECIPE).stat().st_mtime
        except OSError:
            return 0.0

    def missing(
        self, digests: Sequence[str], retry_failed: bool = False, *, check: bool = False
    ) -> list[str]:
        """Give the pictures that are still to be embedded.

        Parameters
        ----------
        digests : sequence of str
            Image digests, in hexadecimal.
        retry_failed : bool
            Whether to give those as well that could not be read before.
        check : bool
            Whether to check the rows of those that are there against their checksums.

        Returns
        -------
        missing : list of str
            Each once, in the order of `digests`.

        Raises
        ------
        DamagedEntry
            If the entry is not as it was written.
        """
        if not self.exists:
            return list(dict.fromkeys(digests))
        with self._opened() as opened:
            keys = keys_of(digests)
            rows = opened.index.find(keys)
            lacking = self._lacking(opened, rows)
            absent = list(dict.fromkeys([digests[place] for place in lacking]))
            failed = {} if retry_failed else opened.index.failures(absent)
            if check:
                there = rows >= 0
                opened.check(keys[there], rows[there])
        if check and len(lacking) < len(digests):
            self._touch()
        return [digest for digest in absent if digest not in failed]

    def failures(self, digests: Sequence[str]) -> dict[str, str]:
        """Give why pictures could not be read: digest to reason, of those that could not."""
        if not self.exists:
            return {}
        with self._opened() as opened:
            return opened.index.failures(digests)

    def digests(self) -> list[str]:
        """Give the image digest of each row, in row order."""
        if not self.exists:
            return []
        with self._opened() as opened:
            return opened.index.digests()

    def append(
        self,
        digests: Sequence[str],
        rows: np.ndarray,
        failures: Mapping[str, str] | None = None,
        made_by: Mapping[str, Any] | None = None,
    ) -> int:
        """Store a block of features, all of it or nothing.

        Parameters
        ----------
        digests : sequence of str, n of them
            Image digests. Those that are there already are dropped.
        rows : ndarray of shape (n, *shape)
        failures : mapping of str to str, optional
            Digest to reason, of pictures that cannot be read.
        made_by : mapping of str to JSON values, optional
            `engine`, `versions` and `licence`, written beside the recipe of an entry that
            is made with these rows, and never compared.

        Returns
        -------
        stored : int
            Rows that were new.

        Raises
        ------
        StoreError
            If a row is not finite, the disk is full, the cache is read-only or on NFS.
            What was stored before stays as it was.
        DamagedEntry
            If the entry is not as it was written.
        """
        block = self._as_rows(digests, rows)
        failed = dict(failures or {})
        if not digests and not failed:
            return 0
        self._made_by = made_by or {}
        self._make()
        with disk.writing(self.path), self._opened(writing=True) as opened:
            index, count = opened.index, opened.count
            unique = list(dict.fromkeys([*digests, *failed]))
            there = np.flatnonzero(index.find(keys_of(unique)) >= 0)
            known = {unique[place] for place in there.tolist()}
            first: dict[str, int] = {}
            for place, digest in enumerate(digests):
                if digest not in known:
                    first.setdefault(digest, place)
            failed = {d: why for d, why in failed.items() if d not in known and d not in first}
            if not first and not failed:
                return 0
            new, keys = block[list(first.values())], keys_of(list(first))
            if first:
                npy.write_rows(opened.features, count, new)
            numbers = np.arange(count, count + len(new))
            index.add(count, keys, row_checksums(keys, numbers, npy.as_bytes(new)), failed)
            index.commit()
        self._touch()
        return len(first)

    def read(self, digests: Sequence[str]) -> np.ndarray:
        """Give the features of pictures, each row checked against its checksum.

        Parameters
        ----------
        digests : sequence of str, n of them
            Image digests; one may be there twice.

        Returns
        -------
        rows : ndarray of shape (n, *shape), float32, read-only
            Mapped from the disk where the rows lie in this order, else gathered.

        Raises
        ------
        StoreError
            If a picture is not stored.
        DamagedEntry
            If the entry is not as it was written.
        """
        if not digests:
            return self._read_only(np.empty((0, *self.shape), npy.wide(self.dtype)))
        with self._found(digests) as (opened, keys, rows):
            if npy.wide(self.dtype) == self.dtype and (np.diff(rows) == 1).all():
                opened.check(keys, rows)
                start, stop = int(rows[0]), int(rows[-1]) + 1
                return npy.map_rows(opened.features, start, stop, self.shape, self.dtype)
            return self._read_only(opened.read(keys, rows))

    def check(self, digests: Sequence[str]) -> None:
        """Check the rows of stored pictures against their checksums.

        Raises
        ------
        StoreError
            If a picture is not stored.
        DamagedEntry
            If the entry is not as it was written.
        """
        if not digests:
            return
        with self._found(digests) as (opened, keys, rows):
            opened.check(keys, rows)

    def bad_rows(self, step: Callable[[int], None] = lambda n: None) -> list[int]:
        """Check every row and give those that do not match their checksum.

        Parameters
        ----------
        step : callable
            Told how many more rows were checked.

        Raises
        ------
        DamagedEntry
            If more is wrong than the bytes of some rows.
        """
        if not self.exists:
            return []
        with self._opened() as opened:
            self._soundness.look_through(opened.index, opened.folder, anew=True)
            return opened.bad_rows(step)

    def set_aside(self) -> Path:
        """Rename a damaged entry, so that its pictures are embedded again.

        Returns
        -------
        aside : Path
            `<name>.damaged`, or `.damaged-2` and so on where that is taken. Where another
            process was faster, what it made; an entry that it has since begun is left alone.
        """
        suspect, self._suspect = self._suspect, None
        self._soundness.forget()
        aside = move_away(self.path, self._free_names(), suspect)
        if aside is not None:
            return aside
        for path in self.path.parent.glob(f"{escape(self.name)}{DAMAGED}*"):
            if suspect is not None and identity(path) == suspect:
                return path
        return self.path.with_name(self.name + DAMAGED)

    def _free_names(self) -> Iterator[Path]:
        yield self.path.with_name(f"{self.name}{DAMAGED}")
        number = 2
        while True:
            yield self.path.with_name(f"{self.name}{DAMAGED}-{number}")
            number += 1

    @staticmethod
    def _read_only(rows: np.ndarray) -> np.ndarray:
        # A mapped slice cannot be written to; what was gathered behaves the same.
        rows.flags.writeable = False
        return rows

    def _as_rows(self, digests: Sequence[str], rows: np.ndarray) -> np.ndarray:
        """Give the rows as they will be stored, or say why they cannot be."""
        rows = np.asarray(rows)
        if rows.shape != (len(digests), *self.shape) and (len(digests) or rows.size):
            raise ValueError(
                f"{len(digests)} digests of {self.name} need rows of shape "
                f"{(len(digests), *self.shape)}, got {rows.shape}."
            )
        with np.errstate(over="ignore"):
            block = np.ascontiguousarray(rows, dtype=self.dtype)
        if not np.isfinite(block).all():
            finite = np.isfinite(block).reshape(len(block), -1).all(axis=1)
            place = int(np.argmin(finite))
            why = "are not finite numbers"
            if np.isfinite(rows[place]).all():
                why = f"do not fit into {self.dtype.name}"
            raise StoreError(
                f"The features of picture {digests[place][:12]} for {self.name} {why}; "
                "they are not stored."
            )
        return block

    @contextmanager
    def _found(self, digests: Sequence[str]) -> Iterator[tuple[Opened, np.ndarray, np.ndarray]]:
        """Open the entry, and give where these pictures are in it."""
        if not self.exists:
            raise self._not_stored(len(set(digests)), digests)
        with self._opened() as opened:
            keys = keys_of(digests)
            rows = opened.index.find(keys)
            if lacking := self._lacking(opened, rows):
                raise self._not_stored(len({digests[place] for place in lacking}), digests)
            yield opened, keys, rows
        self._touch()

    def _lacking(self, opened: Opened, rows: np.ndarray) -> list[int]:
        """Give which pictures have no row, once no damage can have hidden one."""
        lacking: list[int] = np.flatnonzero(rows < 0).tolist()
        if lacking:
            self._soundness.look_through(opened.index, opened.folder)
        return lacking

    def _not_stored(self, lacking: int, digests: Sequence[str]) -> StoreError:
        return StoreError(
            f"{lacking:,} of {len(set(digests)):,} pictures are not in store entry {self.name}: "
            "extract them first."
        )

    def _touch(self) -> None:
        with suppress(OSError):  # a read-only cache keeps no date of use
            os.utime(self.path / RECIPE)

    def _make(self) -> None:
        """Make the entry, empty, unless it is there."""
        if not self._allowed:
            disk.refuse_nfs(self.path)
            self._allowed = True
        if not self.exists:
            with disk.writing(self._root):
                mark_cache(self._root)
            make_entry(self.path, {**self.recipe, **self._made_by}, self.shape, self.dtype)

    @contextmanager
    def _opened(self, *, writing: bool = False, thorough: bool = True) -> Iterator[Opened]:
        """Open both files of the entry, as a writer under the writers' lock.

        If `thorough`, the entry is checked as far as `Soundness` holds it to be needed.
        """
        folder = None
        try:
            with sqlite_errors(self.path / INDEX), ExitStack() as stack:
                features, index = self._open_pair(stack, writing)
                folder = identity(self.path)
                count, chunk = index.count(), max(1, _CHUNK_BYTES // self.row_bytes)
                opened = Opened(
                    self.path, folder, features, index, count, self.shape, self.dtype, chunk
                )
                if thorough:
                    self._soundness.check(index, folder)
                if writing:
                    self._soundness.look_through(index, folder)
                opened.check_header(count)
                yield opened
        except DamagedEntry:
            self._soundness.forget()
            self._suspect = folder or identity(self.path) or _GONE
            raise

    def _open_pair(self, stack: ExitStack, writing: bool) -> tuple[int, Index]:
        """Open features.npy and the index of one folder, though others may replace it."""
        lost = FEATURES
        for _ in range(_ATTEMPTS):
            if writing:
                self._make()
            with ExitStack() as opening:
                try:
                    lost = FEATURES
                    features = os.open(self.path / FEATURES, os.O_RDWR if writing else os.O_RDONLY)
                    opening.callback(os.close, features)
                    lost = INDEX
                    (self.path / INDEX).stat()
                    index = Index(self.path / INDEX, writing=writing)
                    opening.callback(index.close)
                    # Only a folder that still holds this very file is that of the index.
                    same = os.path.samestat(os.fstat(features), (self.path / FEATURES).stat())
                except FileNotFoundError:
                    continue
                except OSError as error:
                    if writing:
                        raise
                    raise StoreError(
                        f"{self.path} cannot be read ({error.strerror}): check its permissions."
                    ) from error
                if same:
                    stack.push(opening.pop_all())
                    return features, index
        if self.exists:
            raise damaged(self.path, f"{lost} is missing")
        raise StoreError(f"{self.path} was removed while it was in use: run again.")
