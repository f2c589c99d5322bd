"""What a run said of each picture of a split, as arrays that line up between runs."""

from collections.abc import Sequence
from dataclasses import dataclass, fields, replace
from functools import cached_property
from pathlib import Path

import numpy as np

from tlfeat.data.splits import components
from tlfeat.errors import TlfeatError
from tlfeat.parquet import open_parquet
from tlfeat.runs.ranked import RankedRun
from tlfeat.runs.record import PREDICTIONS, Run

_FACTS = ("id", "digest", "group", "true", "predicted")


@dataclass(frozen=True)
class SplitPredictions:
    """The predictions of one run on one split.

    Attributes
    ----------
    ids, digests : ndarray of shape (n_samples,), object
    groups : ndarray of shape (n_samples,), object
        The dataset's name of each sample's group, or None.
    true, predicted : ndarray of shape (n_samples,), int
    scores : ndarray of shape (n_samples, n_classes), float32, or None
        None where they were not asked for.
    share : ndarray of shape (n_samples,), float64, or None
        Of several seeds the share that is right; None for one run.
    """

    ids: np.ndarray
    digests: np.ndarray
    groups: np.ndarray
    true: np.ndarray
    predicted: np.ndarray
    scores: np.ndarray | None = None
    share: np.ndarray | None = None

    def __len__(self) -> int:
        return len(self.true)

    @property
    def correct(self) -> np.ndarray:
        """Which predictions are right; bool of shape (n_samples,)."""
        return np.asarray(self.true == self.predicted)

    @property
    def share_correct(self) -> np.ndarray:
        """How much of each prediction is right: all or nothing, or the share of the seeds."""
        return self.correct if self.share is None else self.share

    def ordered(self, order: np.ndarray) -> "SplitPredictions":
        """Give the same predictions in another order of samples."""
        columns = {column.name: getattr(self, column.name) for column in fields(self)}
        there = {name: values[order] for name, values in columns.items() if values is not None}
        return SplitPredictions(**there)

    @cached_property
    def clusters(self) -> np.ndarray | None:
        """Number of what each sample cannot be parted from, see `clusters_of`."""
        return clusters_of(self.digests, self.groups)


def clusters_of(digests: np.ndarray, groups: np.ndarray) -> np.ndarray | None:
    """Number what counts as one: samples of one group, and copies of one picture.

    Parameters
    ----------
    digests : ndarray of shape (n_samples,), str
    groups : ndarray of shape (n_samples,), str or None

    Returns
    -------
    clusters : ndarray of shape (n_samples,), int, or None
        None where every sample stands for itself.
    """
    first = components(digests.tolist(), groups.tolist())
    found, clusters = np.unique(first, return_inverse=True)
    return None if len(found) == len(first) else clusters.astype(np.int64)


def read_predictions(run: Run, split: str, *, scores: bool = True) -> SplitPredictions:
    """Read a run's predictions on one split.

    Parameters
    ----------
    run : Run
    split : {"train", "validation", "test"}
    scores : bool
        Read the scores too.

    Returns
    -------
    predictions : SplitPredictions
        Of no samples where the run has none of that split. Of a line of several seeds it is the
        first one's, with the share of all that is right.

    Raises
    ------
    TlfeatError
        If the predictions are gone, are not as they were written, or cannot be read.
    """
    if isinstance(run, RankedRun) and len(run.seeds) > 1:
        first, *others = [
            read_predictions(one, split, scores=scores and one is run.seeds[0])
            for one in run.seeds
        ]
        same = aligned([first, *others])
        if same is None:
            raise TlfeatError(
                f"The {split} pictures of {run.name} are not the same for all seeds."
            )
        return replace(first, share=np.mean([one.correct for one in same], axis=0))
    import pyarrow as pa

    path = run.file(PREDICTIONS)
    try:
        predictions = _read(path, split, scores)
        wrong = _problem(predictions, run)
    except (OSError, pa.ArrowException, KeyError, TypeError, ValueError) as error:
        predictions, wrong = None, type(error).__name__
    if predictions is None or wrong:
        raise TlfeatError(
            f"{path} cannot be read ({wrong}): remove the run's folder and run the study again."
        )
    return predictions


def _read(path: Path, split: str, scores: bool) -> SplitPredictions:
    import pyarrow.compute as pc

    with path.open("rb") as file:
        opened = open_parquet(file)
        names = opened.schema_arrow.names
        columns = [f"score_{i}" for i in range(sum(n.startswith("score_") for n in names))]
        wanted = [*_FACTS, "split", *(columns if scores else ())]
        table = opened.read(columns=wanted, use_threads=False)
    table = table.filter(pc.equal(table["split"], split))
    facts = {name: table[name].to_numpy() for name in _FACTS}
    matrix = np.empty((len(table), len(columns)), dtype=np.float32) if scores else None
    if matrix is not None:
        for i, column in enumerate(columns):
            matrix[:, i] = table[column].to_numpy()
    return SplitPredictions(
        facts["id"],
        facts["digest"],
        facts["group"],
        facts["true"].astype(np.int64),
        facts["predicted"].astype(np.int64),
        matrix,
    )


def _problem(predictions: SplitPredictions, run: Run) -> str | None:
    """Say what makes predictions no predictions of this run."""
    k = len(run.dataset.classes)
    if len(predictions) and not (predictions.true.min() >= 0 and predictions.true.max() < k):
        return "classes that the dataset has not"
    if predictions.scores is not None and not np.isfinite(predictions.scores).all():
        return "scores that are not finite"
    if (
        predictions.scores is not None
        and not (predictions.scores.argmax(axis=1) == predictions.predicted).all()
    ):
        return "predictions that do not follow from the scores"
    return None


def aligned(runs: Sequence[SplitPredictions]) -> list[SplitPredictions] | None:
    """Bring the predictions of runs into one order of samples.

    Parameters
    ----------
    runs : sequence of SplitPredictions
        On one split.

    Returns
    -------
    aligned : list of SplitPredictions, or None
        In the order of the first; None where they are not of the same samples.
    """
    same = []
    for predictions in runs:
        ids = runs[0].ids
        if len(predictions) == len(ids) and (predictions.ids == ids).all():
            same.append(predictions)
            continue
        place = {identity: i for i, identity in enumerate(predictions.ids)}
        if len(place) != len(ids) or not all(identity in place for identity in ids):
            return None
        same.append(predictions.ordered(np.array([place[identity] for identity in ids])))
    return same
