"""Find the pictures of a dataset that cannot be decoded, without embedding any."""

from pathlib import Path

from tlfeat.data.dataset import Dataset, as_dataset
from tlfeat.data.decode import UndecodableImage, decode
from tlfeat.data.prefetch import chunks_ahead
from tlfeat.data.resize import Resize
from tlfeat.data.samples import Sample, Skipped
from tlfeat.watch import SILENT, Watch
from tlfeat.where import Where

_SIZE = 224  # pixels: what most networks see, so that a large JPEG is read at a fraction
_CHUNK = 64


def find_broken(
    dataset: Dataset | str | Path, *, jobs: int | None = None, watch: Watch = SILENT
) -> list[Skipped]:
    """Decode every picture and give those that cannot be, with the reasons.

    Parameters
    ----------
    dataset : Dataset, str or Path
        What `open_dataset` gives, or takes.
    jobs : int, optional
        Threads; one a core if None.
    watch : Watch
        Hears of the progress.

    Returns
    -------
    broken : list of Skipped
        In the order of the dataset, without those in `dataset.skipped`.

    Examples
    --------
    >>> [one.reason for one in tlfeat.find_broken("garments")]  # doctest: +SKIP
    []
    """
    dataset = as_dataset(dataset, Where(jobs=jobs))

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
    dataset.expect(dataset.samples)
    watch.start("decoding", len(dataset))
    try:
        for chunk in chunks_ahead(judged, dataset.samples, length=_CHUNK, threads=jobs):
            broken += [Skipped(s.id, why, s.label, s.split) for s, why in chunk if why]
            watch.step(len(chunk))
    finally:
        watch.finish()
    return broken
