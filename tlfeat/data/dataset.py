"""A dataset: a table of samples from any source, with splits, digests and a fingerprint."""

import gc
import hashlib
import json
from collections import Counter
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import cached_property, partial
from pathlib import Path
from typing import Any, Final

from tlfeat.data.check import nothing_readable, remarks
from tlfeat.data.digests import DigestIndex, Progress
from tlfeat.data.groups import Grouping
from tlfeat.data.names import SPLITS, as_path, location, printable, sort_labels
from tlfeat.data.samples import Sample, Skipped
from tlfeat.data.sources import find_source
from tlfeat.data.sources.base import (
    Listing,
    Picture,
    Row,
    SkippedRow,
    Source,
    SourceOptions,
    damage_is_an_error,
    expect,
    read_picture,
)
from tlfeat.data.splits import assign_splits, choose_evenly, name_splits, parse_splits
from tlfeat.errors import DataError
from tlfeat.remote.urls import is_url, name_of
from tlfeat.where import Where

_ByName = Mapping[str | None, int | None]  # a class's name to its number
OPENED_BY: Final = ("splits", "columns", "groups", "split_seed", "limit")  # change the table


@dataclass(frozen=True)
class Dataset:
    """A table of samples and a way to read them; `open_dataset` makes it.

    Examples
    --------
    >>> dataset = tlfeat.open_dataset("garments")  # doctest: +SKIP
    >>> len(dataset), dataset.classes  # doctest: +SKIP
    (36, ('blue', 'green', 'red'))
    """

    name: str
    path: str
    kind: str
    classes: tuple[str, ...]
    samples: tuple[Sample, ...]
    skipped: tuple[Skipped, ...]
    source: Source
    split_rule: str
    split_seed: int
    notes: tuple[str, ...]
    asked: Mapping[str, Any] = field(default_factory=dict)  # of open_dataset, where not usual
    is_derived: bool = False  # digests say what pictures are made of, and are not theirs
    given: str = field(default="", repr=False)  # `path` as it was given: it may hold a password

    def __len__(self) -> int:
        return len(self.samples)

    def __getstate__(self) -> dict[str, Any]:
        """Give what another process needs: not how it was named, which may hold a password."""
        return {**vars(self), "given": ""}

    def read(self, sample: Sample) -> Picture:
        """Give the bytes or the uint8 array of a sample; safe in threads.

        Raises
        ------
        OSError
            If it cannot be read (any more).
        """
        return read_picture(self.source, sample.locator)

    def expect(self, samples: Iterable[Sample]) -> None:
        """Say which samples are going to be read: those on a server are fetched ahead."""
        expect(self.source, (sample.locator for sample in samples))

    def label_name(self, sample: Sample) -> str | None:
        """Give the name of a sample's class, or None where it has no label."""
        return None if sample.label is None else self.classes[sample.label]

    @cached_property
    def fingerprint(self) -> str:
        """Hash of the sorted (digest, label, split, group), the same wherever the set lies."""
        return _hash_rows((s.digest, self.label_name(s), s.split, s.group) for s in self.samples)

    @cached_property
    def split_fingerprint(self) -> str:
        """Hash of the sorted (digest, split)."""
        return _hash_rows((s.digest, s.split) for s in self.samples)

    def counts(self) -> dict[str, dict[str, int]]:
        """Count the pictures of each split and class, classes without pictures included."""
        found = Counter((s.split, s.label) for s in self.samples)
        there = [split for split in SPLITS if any(key[0] == split for key in found)]
        return {
            split: {name: found[split, label] for label, name in enumerate(self.classes)}
            for split in there
        }

    @property
    def unlabelled(self) -> int:
        """How many samples have no label."""
        return sum(s.label is None for s in self.samples)


@contextmanager
def _collecting_later() -> Iterator[None]:
    """Let nobody look for cycles among rows of a table, over and over while it grows."""
    enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if enabled:
            gc.enable()


def open_dataset(
    path: str | Path,
    *,
    splits: Mapping[str, str] | None = None,
    split_seed: int = 0,
    limit: int | None = None,
    columns: Mapping[str, str] | None = None,
    groups: str | Path | None = None,
    digests: DigestIndex | None = None,
    rehash: bool = False,
    jobs: int | None = None,
    progress: Progress | None = None,
) -> Dataset:
    """Open a dataset from whatever holds it.

    Parameters
    ----------
    path : str or Path
        A folder, a file, a URL such as s3://BUCKET/FOLDER, or `digits`.
    splits : mapping, optional
        Which of the source's splits to use as train, validation and test, for instance
        {"train": "training", "test": "validation"}; "a+b" joins two; others are left out.
    split_seed : int
        Seed of the hash that carves out a test split where the source has none.
    limit : int, optional
        Use about so many pictures, spread evenly over splits and classes, the same each time.
    columns : mapping, optional
        Names of columns, from "path", "image", "label", "split", "group" to the source's own.
    groups : str or Path, optional
        What belongs together, beside copies: "none" leaves out what the source tells, a name is
        that of the column which tells it, and FILE.csv is what `find_groups` has written, which
        is believed whatever the source tells.
    digests : DigestIndex, optional
        The index of a cache folder; without one every picture is read for its digest.
    rehash : bool
        Read every picture for its digest whatever the index says.
    jobs : int, optional
        Threads that read.
    progress : callable, optional
        Called with (pictures read for their digest, of how many).

    Returns
    -------
    Dataset

    Raises
    ------
    DataError
        If there is nothing to open, or it cannot be told what it is.

    Examples
    --------
    >>> tlfeat.open_dataset("digits").classes[:3]  # doctest: +SKIP
    ('0', '1', '2')
    """
    _check_options(splits, columns, split_seed, limit)
    chosen = parse_splits(splits)
    grouping = Grouping.of(groups)
    index = digests or DigestIndex()
    source, listing = _found(str(path), chosen, grouping, columns, index.cache)
    ours, split_notes = name_splits((row.split for row in listing.rows), chosen)
    rows = _wanted_rows(listing.rows, ours, limit)
    if not rows and not listing.skipped:
        raise DataError(f"There is no picture in {location(path)!r}.")

    digest_of_row, problems = index.digests(
        rows,
        partial(read_picture, source),
        expect=partial(expect, source),
        rehash=rehash,
        jobs=jobs,
        progress=progress,
    )
    broken = [
        SkippedRow(rows[i].id, why, rows[i].label, rows[i].split) for i, why in problems.items()
    ]
    readable = _readable(rows, digest_of_row, grouping)
    if not readable:
        raise nothing_readable(location(path), [row.reason for row in (*broken, *listing.skipped)])

    splitting = assign_splits(
        [digest for _, digest in readable],
        [row.label for row, _ in readable],
        [row.group for row, _ in readable],
        [ours[row.split] for row, _ in readable],
        split_seed,
    )
    left_out = [*listing.skipped, *broken]
    used = {row.label for row, _ in readable if row.label is not None}
    classes = _class_names(listing.classes, used)
    number: _ByName = {None: None} | {label: i for i, label in enumerate(classes)}
    samples = _samples(readable, splitting.splits, number)
    lost = sort_labels({row.label for row in left_out if row.label is not None} - set(classes))
    return Dataset(
        name=default_name(path),
        path=location(path),
        kind=source.kind,
        classes=classes,
        samples=samples,
        skipped=_skipped(left_out, ours, number),
        source=source,
        split_rule=splitting.rule,
        split_seed=split_seed,
        notes=(
            *listing.notes,
            *split_notes,
            *splitting.notes,
            *remarks(samples, classes, lost),
            *index.notes,
        ),
        asked=_asked(splits, columns, grouping.said, split_seed, limit),
        given=str(path),
    )


def _asked(*values: Any) -> dict[str, Any]:
    """Name what was asked of `open_dataset`, where it is not usual."""
    return {
        option: dict(value) if isinstance(value, Mapping) else value
        for option, value in zip(OPENED_BY, values, strict=True)
        if value
    }


@_collecting_later()
def _found(
    path: str,
    chosen: Mapping[str, str],
    grouping: Grouping,
    columns: Mapping[str, str] | None,
    cache: Path | None,
) -> tuple[Source, Listing]:
    """Find the source, and list it."""
    named = grouping.columns(columns)
    try:
        with damage_is_an_error(location(path)):
            source = find_source(path, SourceOptions(frozenset(chosen), named, cache))
            return source, source.listing()
    except DataError as error:
        if grouping.column is None:
            raise
        raise DataError(
            f"{error} Groups are auto, none, a column of a table or a groups.csv; got "
            f"{grouping.column!r}."
        ) from None


def _wanted_rows(
    rows: Iterable[Row], ours: Mapping[str | None, str | None], limit: int | None
) -> list[Row]:
    """Give the rows of splits that are used; of each split and class alike, where limited."""
    wanted = [
        row if row.group is None else row._replace(group=printable(row.group))
        for row in rows
        if row.split is None or ours[row.split] is not None
    ]
    if limit is None:
        return wanted
    strata = [(ours[row.split], row.label) for row in wanted]
    return [wanted[i] for i in choose_evenly(strata, [row.id for row in wanted], limit)]


@_collecting_later()
def _readable(
    rows: Sequence[Row], digest_of_row: Sequence[str | None], grouping: Grouping
) -> list[tuple[Row, str]]:
    """Give the rows that could be read, in their groups, with their digests."""
    grouping.check(digest for digest in digest_of_row if digest is not None)
    return [
        (_regrouped(row, grouping.group(row.group, digest)), digest)
        for row, digest in zip(rows, digest_of_row, strict=True)
        if digest is not None
    ]


def _regrouped(row: Row, group: str | None) -> Row:
    return row if group == row.group else row._replace(group=group)


def _class_names(listed: Sequence[str] | None, used: Collection[str]) -> tuple[str, ...]:
    """Give the classes that have pictures: in the source's own order, then sorted."""
    known = [label for label in listed or () if label in used]
    return (*known, *sort_labels(set(used).difference(known)))


@_collecting_later()
def _samples(
    readable: Iterable[tuple[Row, str]], splits: Iterable[str | None], number: _ByName
) -> tuple[Sample, ...]:
    return tuple(
        Sample(row.id, row.locator, number[row.label], split, row.group, digest)
        for (row, digest), split in zip(readable, splits, strict=True)
    )


def _skipped(
    rows: Iterable[SkippedRow], ours: Mapping[str | None, str | None], number: _ByName
) -> tuple[Skipped, ...]:
    """Give what was left out, but for splits that are not used anyway."""
    return tuple(
        Skipped(row.id, row.reason, number.get(row.label), ours.get(row.split))
        for row in rows
        if row.split is None or row.split not in ours or ours[row.split] is not None
    )


def as_dataset(dataset: Dataset | str | Path, where: Where) -> Dataset:
    """Give a dataset, opened with the digests that the cache remembers where it is not yet."""
    if isinstance(dataset, Dataset):
        return dataset
    return open_dataset(dataset, digests=DigestIndex(where.cache_folder), jobs=where.jobs)


def _check_options(splits: object, columns: object, split_seed: object, limit: object) -> None:
    """Refuse options that are of another type: they may come from a file that was edited."""
    for name, value in (("splits", splits), ("columns", columns)):
        named = isinstance(value, Mapping) and all(
            isinstance(part, str) for pair in value.items() for part in pair
        )
        if value is not None and not named:
            raise DataError(f"{name} must give each of our names one of theirs; got {value!r}.")
    for name, value in (("split_seed", split_seed), ("limit", limit)):
        if value is not None and (not isinstance(value, int) or isinstance(value, bool)):
            raise DataError(f"{name} must be a whole number; got {value!r}.")
    if isinstance(limit, int) and limit < 1:
        raise DataError(f"The limit must be at least 1 picture; got {limit}.")


def default_name(path: str | Path) -> str:
    """Name a dataset after its folder or file.

    Examples
    --------
    >>> default_name("/data/clothing/"), default_name("digits"), default_name("hf:user/birds")
    ('clothing', 'digits', 'birds')
    """
    if is_url(str(path)):
        return printable(name_of(str(path))).split(".")[0] or "remote"
    absolute = as_path(str(path)).absolute()
    name = printable(absolute.name)
    if absolute.is_file():
        return name.split(".")[0] or name
    return name.rpartition(":")[2] or "root"


def _hash_rows(rows: Iterable[tuple[str | None, ...]]) -> str:
    encoded = sorted(json.dumps(row, ensure_ascii=True) for row in rows)
    return hashlib.sha256("\n".join(encoded).encode()).hexdigest()
