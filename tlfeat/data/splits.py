"""Splits: those of the source are kept, a missing test split is carved out of train.

What could go wrong: the same picture, or two frames of one scene, on both sides of a split makes
every number too good. So pictures that share a digest or a group are joined first, and whole
components move. The choice hangs on the digest or the group alone: it is the same when the
folder moves, and when it grows.
"""

import hashlib
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from typing import NamedTuple

from tlfeat.data.names import (
    SPLITS,
    TEST,
    TRAIN,
    VALIDATION,
    be,
    canonical_split,
    counted,
    printable,
)
from tlfeat.errors import DataError, did_you_mean

TEST_SHARE = 0.2


class Splitting(NamedTuple):
    """The split of each sample, by what rule, and what there is to say about it."""

    splits: list[str | None]
    rule: str
    notes: list[str]


def parse_splits(splits: Mapping[str, str] | None) -> dict[str, str]:
    """Turn {"train": "training+extra", "test": "validation"} into source name -> our name.

    Raises
    ------
    DataError
        If a name of ours is unknown, train is missing, or a source's split is named twice.
    """
    found: dict[str, str] = {}
    for ours, theirs in (splits or {}).items():
        if ours not in SPLITS:
            raise DataError(
                f"Unknown split {ours!r}; the splits are {', '.join(SPLITS)}."
                + did_you_mean(ours, SPLITS)
            )
        for name in filter(None, (part.strip() for part in theirs.split("+"))):
            if found.setdefault(name.lower(), ours) != ours:
                raise DataError(
                    f"The split {name!r} is given both to {found[name.lower()]} and {ours}."
                )
    if found and TRAIN not in found.values():
        raise DataError("The splits name no train split; say train=NAME,test=NAME.")
    return found


def name_splits(
    names: Iterable[str | None], chosen: Mapping[str, str]
) -> tuple[dict[str | None, str | None], list[str]]:
    """Give each of the source's splits our name, or None for one that is left out.

    Parameters
    ----------
    names : iterable of str or None
        The source's name of the split of each row.
    chosen : mapping
        From `parse_splits`; empty where nothing was said.

    Returns
    -------
    ours : dict
        Source name to our name; rows under None are to be left out, but for the name None.
    notes : list of str

    Raises
    ------
    DataError
        If a chosen split is not there, or none that is there can be told to be train.
    """
    counts = Counter(names)
    there = sorted(name for name in counts if name is not None)
    ours: dict[str | None, str | None] = {None: None}
    if chosen:
        by_canonical = {canonical_split(name) or name.lower(): name for name in there}
        lower = {name.lower(): name for name in there}
        ours.update(dict.fromkeys(there))
        for theirs, our in chosen.items():
            name = lower.get(theirs) or by_canonical.get(canonical_split(theirs) or theirs)
            if name is None:
                raise DataError(
                    f"There is no split {theirs!r} to use for {our}; "
                    + (
                        f"there are {', '.join(map(printable, there))}."
                        if there
                        else "there are none."
                    )
                )
            ours[name] = our
    else:
        ours.update({name: canonical_split(name) for name in there})
        unknown = [name for name in there if ours[name] is None]
        if unknown and TRAIN not in ours.values():
            raise DataError(
                f"The splits are called {', '.join(map(printable, there))}, none of them train; "
                f"say which is which, as in train={printable(unknown[0])},test=NAME."
            )
    notes = [
        f"{counted(counts[name], 'picture')} of the split {printable(name)} "
        f"{be(counts[name])} left out"
        for name in there
        if ours[name] is None
    ]
    return ours, notes


def assign_splits(
    digests: Sequence[str],
    labels: Sequence[str | None],
    groups: Sequence[str | None],
    splits: Sequence[str | None],
    seed: int,
) -> Splitting:
    """Give every labelled sample a split; unlabelled ones get none.

    Parameters
    ----------
    digests, labels, groups, splits : sequences of length n_samples
        `splits` holds our names, or None where the source says nothing.
    seed : int
        Another seed carves out another test split.

    Returns
    -------
    Splitting
    """
    has_splits = any(split is not None for split in splits)
    labelled = [label is not None for label in labels]
    result: list[str | None] = [
        (split if has_splits else TRAIN) if use else None
        for split, use in zip(splits, labelled, strict=True)
    ]
    notes = _leaks(digests, result)
    if not any(labelled):
        return Splitting(
            result, "none", [*notes, "no picture has a label: there is nothing to split"]
        )
    lost = sum(use and split is None for use, split in zip(labelled, result, strict=True))
    if lost:
        notes.append(f"{counted(lost, 'labelled picture')} without a split {be(lost)} not used")
    if TEST in result:
        return Splitting(result, "source", notes + _left_out(labels, result))

    roots = components(digests, groups)
    stuck = {
        root for root, split in zip(roots, result, strict=True) if split not in (TRAIN, None)
    }  # its copy in the source's own validation split cannot be moved: it stays in train
    keys = _keys(digests, groups, roots)
    share = {root: hash_share(seed, key) for root, key in keys.items()}
    for i, root in enumerate(roots):
        if result[i] == TRAIN and root not in stuck and share[root] < TEST_SHARE:
            result[i] = TEST
    rule = (
        f"hash-{TEST_SHARE:g}" if not has_splits else f"source, test hash-{TEST_SHARE:g} of train"
    )
    count = sum(split == TEST for split in result)
    notes.append(
        f"no test split: {count} of {count + sum(s == TRAIN for s in result)} train pictures were "
        "carved out as test, by hash"
    )
    return Splitting(result, rule, notes + _left_out(labels, result))


def hash_share(seed: int, key: str) -> float:
    """Hash a key to a number from 0 up to 1, evenly spread."""
    digest = hashlib.sha256(f"{seed}\0{key}".encode()).digest()
    return int.from_bytes(digest[:8], "big") / 2**64


def choose_evenly(
    keys: Sequence[tuple[str | None, str | None]], ids: Sequence[str], n: int
) -> list[int]:
    """Choose n positions, as evenly as can be over the different keys, the same ones each time.

    Examples
    --------
    >>> choose_evenly([("train", "a")] * 3 + [("train", "b")], ["w", "x", "y", "z"], 2)
    [1, 3]
    """
    if n >= len(ids):
        return list(range(len(ids)))
    strata: dict[tuple[str | None, str | None], list[int]] = {}
    for i, key in enumerate(keys):
        strata.setdefault(key, []).append(i)
    rank = [0] * len(ids)
    for members in strata.values():
        members.sort(key=lambda i: hashlib.sha256(ids[i].encode()).digest())
        for place, i in enumerate(members):
            rank[i] = place
    order = {
        key: place
        for place, key in enumerate(sorted(strata, key=lambda k: (k[0] or "", k[1] or "")))
    }
    ranked = sorted(range(len(ids)), key=lambda i: (rank[i], order[keys[i]]))
    return sorted(ranked[:n])


def components(digests: Sequence[str], groups: Sequence[str | None]) -> list[int]:
    """Join samples that share a picture or a group, directly or in a chain: they never part.

    Returns
    -------
    first : list of int
        For each sample the place of the first of those that it is joined with.

    Examples
    --------
    >>> components(["a", "b", "a", "c"], [None, "g", "g", None])
    [0, 0, 0, 3]
    """
    parent = list(range(len(digests)))
    if len(set(digests)) == len(digests) and not any(group is not None for group in groups):
        return parent

    def find(i: int) -> int:
        while parent[i] != i:
            parent[i] = parent[parent[i]]
            i = parent[i]
        return i

    first: dict[tuple[str, str], int] = {}
    for i, (digest, group) in enumerate(zip(digests, groups, strict=True)):
        for key in [("digest", digest)] + ([("group", group)] if group is not None else []):
            j = first.setdefault(key, i)
            if j != i:
                a, b = find(i), find(j)
                parent[max(a, b)] = min(a, b)
    return [find(i) for i in range(len(parent))]


def _keys(
    digests: Sequence[str], groups: Sequence[str | None], roots: Sequence[int]
) -> dict[int, str]:
    """Give each component the smallest of its keys: no order of the samples changes it."""
    keys: dict[int, str] = {}
    for digest, group, root in zip(digests, groups, roots, strict=True):
        key = digest if group is None else f"group {group}"
        keys[root] = min(keys.get(root, key), key)
    return keys


def _leaks(digests: Sequence[str], splits: Sequence[str | None]) -> list[str]:
    """Count the pictures that lie in two of the source's own splits."""
    if len(set(digests)) == len(digests):
        return []
    where: dict[str, set[str]] = {}
    for digest, split in zip(digests, splits, strict=True):
        if split is not None:
            where.setdefault(digest, set()).add(split)
    pairs: Counter[tuple[str, str]] = Counter()
    for found in where.values():
        if len(found) > 1:
            ordered = [split for split in SPLITS if split in found]
            pairs.update((a, b) for i, a in enumerate(ordered) for b in ordered[i + 1 :])
    return [
        f"leak: {counted(n, 'picture')} of {a} {be(n)} also in {b}"
        for (a, b), n in sorted(pairs.items())
    ]


def _left_out(labels: Sequence[str | None], splits: Sequence[str | None]) -> list[str]:
    """Name the classes that a split lacks."""
    classes = {label for label in labels if label is not None}
    notes = []
    for split in (TRAIN, VALIDATION, TEST):
        here = {label for label, s in zip(labels, splits, strict=True) if s == split}
        missing = sorted(classes - here)
        if missing and (here or split != VALIDATION):
            names = ", ".join(missing[:10]) + (", ..." if len(missing) > 10 else "")
            notes.append(
                f"{len(missing)} of {len(classes)} classes {be(len(missing), 'has', 'have')} no "
                f"{split} pictures: {names}"
            )
    if len(classes) == 1:
        notes.append(f"there is one class only ({next(iter(classes))}): no head can be trained")
    return notes
