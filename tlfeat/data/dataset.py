"""A dataset: a table of samples from any source, with splits, digests and a fingerprint."""

import hashlib
import json
from collections import Counter
from collections.abc import Hashable, Iterable, Mapping
from dataclasses import dataclass, field
from functools import cached_property, partial
from pathlib import Path
from typing import Any, Final, NamedTuple

from tlfeat.data.check import nothing_readable, remarks
from tlfeat.data.digests import DigestIndex, Progress
from tlfeat.data.names import SPLITS, as_path, location, printable, sort_labels
from tlfeat.data.sources import find_source
from tlfeat.data.sources.base import (
    Picture,
    Source,
    SourceOptions,
    damage_is_an_error,
    read_picture,
)
from tlfeat.data.splits import assign_splits, choose_evenly, name_splits, parse_splits
from tlfeat.errors import DataError
from tlfeat.where import Where


class Sample(NamedTuple):
    """One picture of a dataset."""

    id: str  # unique: a path with "/", or "train[17]" for a row of an array
    locator: Hashable  # where the source finds it
    label: int | None  # position in Dataset.classes
    split: str | None  # train, validation or test; None for an unlabelled picture
    group: str | None  # pictures of one group stay on one side of a split
    digest: str  # SHA-256, the key of its features


class Skipped(NamedTuple):
    """One picture that was left out, with the reason."""

    id: str
    reason: str
    label: int | None
    split: str | None


OPENED_BY: Final = ("splits", "columns", "split_seed", "limit")  # what can change the table


@dataclass(frozen=True)
class Dataset:
    """A table of samples and a way to read them; `open_dataset` makes it."""

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

    def __len__(self) -> int:
        return len(self.samples)

    def read(self, sample: Sample) -> Picture:
        """Give the bytes or the uint8 array of a sample; safe in threads.

        Raises
        ------
        OSError
            If it cannot be read (any more).
        """
        return read_picture(self.source, sample.locator)

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

    def duplicates(self) -> dict[str, list[Sample]]:
        """Give the samples of each digest that occurs more than once."""
        if len({sample.digest for sample in self.samples}) == len(self):
            return {}
        by_digest: dict[str, list[Sample]] = {}
        for sample in self.samples:
            by_digest.setdefault(sample.digest, []).append(sample)
        return {digest: same for digest, same in by_digest.items() if len(same) > 1}

    def conflicts(self) -> dict[str, list[Sample]]:
        """Give the samples of each digest that stands under two labels or more."""
        return {
            digest: same
            for digest, same in self.duplicates().items()
            if len({s.label for s in same} - {None}) > 1
        }


def open_dataset(
    path: str | Path,
    *,
    splits: Mapping[str, str] | None = None,
    split_seed: int = 0,
    limit: int | None = None,
    name: str | None = None,
    columns: Mapping[str, str] | None = None,
    digests: DigestIndex | None = None,
    rehash: bool = False,
    jobs: int | None = None,
    progress: Progress | None = None,
) -> Dataset:
    """Open a dataset from whatever holds it.

    Parameters
    ----------
    path : str or Path
        A folder, a file, or `digits`.
    splits : mapping, optional
        Which of the source's splits to use as train, validation and test, for instance
        {"train": "training", "test": "validation"}; "a+b" joins two; others are left out.
    split_seed : int
        Seed of the hash that carves out a test split where the source has none.
    limit : int, optional
        Use about so many pictures, spread evenly over splits and classes, the same each time.
    name : str, optional
        By default the name of the folder or file.
    columns : mapping, optional
        Names of columns, from "path", "image", "label", "split", "group" to the source's own.
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
    """
    _check_options(splits, columns, split_seed, limit)
    chosen = parse_splits(splits)
    options = SourceOptions(frozenset(chosen), dict(columns or {}))
    with damage_is_an_error(str(path)):
        source = find_source(str(path), options)
        listing = source.listing()
    ours, notes = name_splits((row.split for row in listing.rows), chosen)
    rows = [
        row if row.group is None else row._replace(group=printable(row.group))
        for row in listing.rows
        if row.split is None or ours[row.split] is not None
    ]
    if not rows and not listing.skipped:
        raise DataError(f"There is no picture in {str(path)!r}.")
    if limit is not None:
        strata = [(ours[row.split], row.label) for row in rows]
        rows = [rows[i] for i in choose_evenly(strata, [row.id for row in rows], limit)]

    index = digests or DigestIndex()
    found, problems = index.digests(
        rows, partial(read_picture, source), rehash=rehash, jobs=jobs, progress=progress
    )
    good = [(row, digest) for row, digest in zip(rows, found, strict=True) if digest is not None]
    if not good:
        raise nothing_readable(
            str(path), [*problems.values(), *(row.reason for row in listing.skipped)]
        )
    splitting = assign_splits(
        [digest for _, digest in good],
        [row.label for row, _ in good],
        [row.group for row, _ in good],
        [ours[row.split] for row, _ in good],
        split_seed,
    )
    used = {row.label for row, _ in good if row.label is not None}
    known = [label for label in listing.classes or () if label in used]
    classes = (*known, *sort_labels(used.difference(known)))
    number = {label: i for i, label in enumerate(classes)}
    samples = tuple(
        Sample(
            row.id,
            row.locator,
            None if row.label is None else number[row.label],
            split,
            row.group,
            digest,
        )
        for (row, digest), split in zip(good, splitting.splits, strict=True)
    )
    broken = [(rows[i].id, reason, rows[i].label, rows[i].split) for i, reason in problems.items()]
    skipped = tuple(
        Skipped(identity, reason, number.get(label) if label else None, ours.get(split))
        for identity, reason, label, split in [*listing.skipped, *broken]
        if split is None or ours.get(split) is not None or split not in ours
    )
    lost = sort_labels({r[2] for r in [*listing.skipped, *broken] if r[2] is not None} - used)
    dataset = Dataset(
        name=name or default_name(path),
        path=location(path),
        kind=source.kind,
        classes=classes,
        samples=samples,
        skipped=skipped,
        source=source,
        split_rule=splitting.rule,
        split_seed=split_seed,
        notes=(),
        asked={
            option: dict(value) if isinstance(value, Mapping) else value
            for option, value in zip(OPENED_BY, (splits, columns, split_seed, limit), strict=True)
            if value
        },
    )
    notes = [*listing.notes, *notes, *splitting.notes, *remarks(dataset, lost), *index.notes]
    object.__setattr__(dataset, "notes", tuple(notes))
    return dataset


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
    absolute = as_path(str(path)).absolute()
    name = printable(absolute.name)
    if absolute.is_file():
        return name.split(".")[0] or name
    return name.rpartition(":")[2] or "root"


def _hash_rows(rows: Iterable[tuple[str | None, ...]]) -> str:
    encoded = sorted(json.dumps(row, ensure_ascii=True) for row in rows)
    return hashlib.sha256("\n".join(encoded).encode()).hexdigest()
