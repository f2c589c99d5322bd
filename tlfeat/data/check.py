"""What is wrong with a dataset, found without embedding any picture."""

from typing import NamedTuple

from tlfeat.data.ahead import chunks_ahead
from tlfeat.data.dataset import Dataset, Sample, Skipped
from tlfeat.data.decode import Resize, UndecodableImage, decode
from tlfeat.data.names import TEST, TRAIN
from tlfeat.watch import SILENT, Watch

_SIZE = 224  # pixels: what most networks see, so that a large JPEG is read at a fraction
_CHUNK = 64
_UNEVEN = 10  # times as many pictures


class Imbalance(NamedTuple):
    """The largest and the smallest class of a train split, with their pictures."""

    largest: str
    most: int
    smallest: str
    fewest: int


def leaked(dataset: Dataset) -> int:
    """Count the different test pictures that are in train too, byte for byte."""
    train = {sample.digest for sample in dataset.samples if sample.split == TRAIN}
    test = {sample.digest for sample in dataset.samples if sample.split == TEST}
    return len(train & test)


def imbalance(dataset: Dataset) -> Imbalance | None:
    """Give the largest and the smallest class of train, if they are far apart.

    Returns
    -------
    imbalance : Imbalance or None
        None where the largest class has less than 10 times the pictures of the smallest.
        Classes without train pictures do not count: they have a note of their own.
    """
    counts = {name: n for name, n in dataset.counts().get(TRAIN, {}).items() if n}
    if not counts:
        return None
    largest, smallest = max(counts, key=counts.__getitem__), min(counts, key=counts.__getitem__)
    if counts[largest] < _UNEVEN * counts[smallest]:
        return None
    return Imbalance(largest, counts[largest], smallest, counts[smallest])


def find_broken(
    dataset: Dataset, *, jobs: int | None = None, watch: Watch = SILENT
) -> list[Skipped]:
    """Decode every picture and give those that cannot be, with the reasons.

    Parameters
    ----------
    dataset : Dataset
    jobs : int, optional
        Threads; one a core if None.
    watch : Watch
        Hears of the progress.

    Returns
    -------
    broken : list of Skipped
        In the order of the dataset, without those in `dataset.skipped`.
    """

    def problem(sample: Sample) -> str:
        try:
            decode(dataset.read(sample), _SIZE, Resize())
        except UndecodableImage as error:
            return str(error)
        except OSError as error:
            return f"cannot be read: {error.strerror or error}"
        return ""

    def judged(sample: Sample) -> tuple[Sample, str]:
        return sample, problem(sample)

    broken = []
    watch.start("decoding", len(dataset))
    try:
        for chunk in chunks_ahead(judged, dataset.samples, length=_CHUNK, threads=jobs):
            broken += [Skipped(s.id, why, s.label, s.split) for s, why in chunk if why]
            watch.step(len(chunk))
    finally:
        watch.finish()
    return broken
