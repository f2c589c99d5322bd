"""What is wrong with a dataset, told from its table alone: no picture is opened."""

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from typing import NamedTuple

from tlfeat.data.names import TRAIN, be, counted
from tlfeat.data.samples import Sample
from tlfeat.errors import DataError

_UNEVEN = 10  # times as many pictures


class Imbalance(NamedTuple):
    """The largest and the smallest class of a train split, with their pictures."""

    largest: str
    most: int
    smallest: str
    fewest: int


def uneven_classes(counts: Mapping[str, int]) -> Imbalance | None:
    """Give the largest and the smallest class, if they are far apart.

    Parameters
    ----------
    counts : mapping
        Class to pictures. Classes without any do not count: they have a note of their own.

    Returns
    -------
    imbalance : Imbalance or None
        None where the largest class has less than 10 times the pictures of the smallest.
    """
    there = {name: n for name, n in counts.items() if n}
    if not there:
        return None
    largest, smallest = max(there, key=there.__getitem__), min(there, key=there.__getitem__)
    if there[largest] < _UNEVEN * there[smallest]:
        return None
    return Imbalance(largest, there[largest], smallest, there[smallest])


def duplicates(samples: Sequence[Sample]) -> list[list[Sample]]:
    """Give the samples of each digest that occurs more than once."""
    if len({sample.digest for sample in samples}) == len(samples):
        return []
    by_digest: dict[str, list[Sample]] = {}
    for sample in samples:
        by_digest.setdefault(sample.digest, []).append(sample)
    return [same for same in by_digest.values() if len(same) > 1]


def conflicts(samples: Sequence[Sample]) -> list[list[Sample]]:
    """Give the samples of each digest that stands under two labels or more."""
    return [same for same in duplicates(samples) if len({s.label for s in same} - {None}) > 1]


def remarks(samples: Sequence[Sample], classes: Sequence[str], lost: Iterable[str]) -> list[str]:
    """Say what a user should know of a dataset before anything is trained on it.

    Parameters
    ----------
    samples : sequence of Sample
    classes : sequence of str
    lost : iterable of str
        Classes that have no picture that can be read.

    Returns
    -------
    notes : list of str
    """
    notes = [f"class {label} has no picture that can be read: it is left out" for label in lost]
    unlabelled = sum(sample.label is None for sample in samples)
    if 0 < unlabelled < len(samples):
        notes.append(f"{counted(unlabelled, 'picture')} without a label: not trained on")
    twice = duplicates(samples)
    if twice:
        n = len(twice)
        extra = sum(len(same) - 1 for same in twice)
        notes.append(
            f"{counted(n, 'picture')} {be(n, 'occurs', 'occur')} more than once "
            f"({counted(extra, 'extra sample')})"
        )
    clashes = conflicts(samples)
    if clashes:
        n = len(clashes)
        labelled = [(s.id, classes[s.label]) for s in clashes[0] if s.label is not None]
        example = " and ".join(f"{identity} ({label})" for identity, label in labelled[:2])
        notes.append(
            f"{counted(n, 'picture')} {be(n, 'stands', 'stand')} under two labels, for instance "
            f"{example}"
        )
    in_train = Counter(sample.label for sample in samples if sample.split == TRAIN)
    uneven = uneven_classes({name: in_train[i] for i, name in enumerate(classes)})
    if uneven is not None:
        notes.append(
            f"classes are uneven in train: {uneven.most:,} of {uneven.largest}, "
            f"{uneven.fewest:,} of {uneven.smallest}"
        )
    return notes


def nothing_readable(path: str, reasons: Sequence[str]) -> DataError:
    """Make the error for pictures none of which can be used, a reason each."""
    return DataError(
        f"None of the {counted(len(reasons), 'picture')} in {path!r} can be used"
        f"{commonest(reasons)}."
    )


def commonest(reasons: Sequence[str]) -> str:
    """Give the commonest of some reasons, as the end of a sentence.

    Examples
    --------
    >>> commonest(["torn", "torn"]), commonest(["torn", "torn", "empty"])
    (': torn', '; the commonest reason: torn')
    """
    (most, _), *others = Counter(reasons).most_common(2)
    return f"; the commonest reason: {most}" if others else f": {most}"
