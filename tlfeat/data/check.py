"""What is wrong with a dataset, told from its table alone: no picture is opened."""

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, NamedTuple

from tlfeat.data.names import TEST, TRAIN, be, counted
from tlfeat.errors import DataError

if TYPE_CHECKING:
    from tlfeat.data.dataset import Dataset

_UNEVEN = 10  # times as many pictures


class Imbalance(NamedTuple):
    """The largest and the smallest class of a train split, with their pictures."""

    largest: str
    most: int
    smallest: str
    fewest: int


def leaked(dataset: "Dataset") -> int:
    """Count the different test pictures that are in train too, byte for byte."""
    train = {sample.digest for sample in dataset.samples if sample.split == TRAIN}
    test = {sample.digest for sample in dataset.samples if sample.split == TEST}
    return len(train & test)


def imbalance(dataset: "Dataset") -> Imbalance | None:
    """Give the largest and the smallest class of train, if they are far apart.

    Returns
    -------
    imbalance : Imbalance or None
        None where the largest class has less than 10 times the pictures of the smallest.
        Classes without train pictures do not count: they have a note of their own.
    """
    return uneven_classes(dataset.counts().get(TRAIN, {}))


def uneven_classes(counts: Mapping[str, int]) -> Imbalance | None:
    """Give the largest and the smallest class, as `imbalance` does, from their counts."""
    there = {name: n for name, n in counts.items() if n}
    if not there:
        return None
    largest, smallest = max(there, key=there.__getitem__), min(there, key=there.__getitem__)
    if there[largest] < _UNEVEN * there[smallest]:
        return None
    return Imbalance(largest, there[largest], smallest, there[smallest])


def remarks(dataset: "Dataset", lost: Iterable[str]) -> list[str]:
    """Say what a user should know of a dataset before anything is trained on it.

    Parameters
    ----------
    dataset : Dataset
    lost : iterable of str
        Classes that have no picture that can be read.

    Returns
    -------
    notes : list of str
    """
    notes = []
    for label in lost:
        notes.append(f"class {label} has no picture that can be read: it is left out")
    if 0 < dataset.unlabelled < len(dataset):
        notes.append(f"{counted(dataset.unlabelled, 'picture')} without a label: not trained on")
    twice = dataset.duplicates()
    if twice:
        n = len(twice)
        extra = sum(len(same) - 1 for same in twice.values())
        notes.append(
            f"{counted(n, 'picture')} {be(n, 'occurs', 'occur')} more than once "
            f"({counted(extra, 'extra sample')})"
        )
    conflicts = dataset.conflicts()
    if conflicts:
        n = len(conflicts)
        same = next(iter(conflicts.values()))
        example = " and ".join(f"{s.id} ({dataset.label_name(s)})" for s in same[:2])
        notes.append(
            f"{counted(n, 'picture')} {be(n, 'stands', 'stand')} under two labels, for instance "
            f"{example}"
        )
    uneven = imbalance(dataset)
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
