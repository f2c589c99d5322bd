"""What a run said of each picture of a split, as arrays that line up between runs."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path

import numpy as np

from tlfeat.data.splits import components
from tlfeat.errors import TlfeatError
from tlfeat.runs.ranked import RankedRun
from tlfeat.runs.record import PREDICTIONS, Run

_FACTS = ("id", "digest", "group", "true", "predicted")


@dataclass(frozen=True)
class Outcome:
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
    def right(self) -> np.ndarray:
        """Which predictions are right; bool of shape (n_samples,)."""
        return np.asarray(self.true == self.predicted)

    @cached_property
    def units(self) -> np.ndarray | None:
        """Number of what each sample cannot be parted from, see `units_of`."""
        return units_of(self.digests, self.groups)


def units_of(digests: np.ndarray, groups: np.ndarray) -> np.ndarray | None:
    """Number what counts as one: samples of one group, and copies of one picture.

    Parameters
    ----------
    digests : ndarray of shape (n_samples,), str
    groups : ndarray of shape (n_samples,), str or None

    Returns
    -------
    units : ndarray of shape (n_samples,), int, or None
        None where every sample stands for itself.
    """
    first = components(digests.tolist(), groups.tolist())
    found, units = np.unique(first, return_inverse=True)
    return None if len(found) == len(first) else units.astype(np.int64)


def read_outcome(run: Run, split: str, *, scores: bool = True) -> Outcome:
    """Read a run's predictions on one split.

    Parameters
    ----------
    run : Run
    split : {"train", "validation", "test"}
    scores : bool
        Read the scores too.

    Returns
    -------
    outcome : Outcome
        Of no samples where the run has none of that split. Of a line of several seeds it is the
        first one's, with the share of all that is right.

    Raises
    ------
    TlfeatError
        If the predictions are gone, are not as they were written, or cannot be read.
    """
    if isinstance(run, RankedRun) and len(run.seeds) > 1:
        first, *others = [
            read_outcome(one, split, scores=scores and one is run.seeds[0]) for one in run.seeds
        ]
        same = aligned([first, *others])
        if same is None:
            raise TlfeatError(
                f"The {split} pictures of {run.name} are not the same for all seeds."
            )
        return replace(first, share=np.mean([one.right for one in same], axis=0))
    import pyarrow as pa

    path = run.file(PREDICTIONS)
    try:
        outcome = _read(path, split, scores)
        wrong = _problem(outcome, run)
    except (OSError, pa.ArrowException, KeyError, TypeError, ValueError) as error:
        outcome, wrong = None, type(error).__name__
    if outcome is None or wrong:
        raise TlfeatError(
            f"{path} cannot be read ({wrong}): remove the run's folder and run the study again."
        )
    return outcome


def _read(path: Path, split: str, scores: bool) -> Outcome:
    import pyarrow.parquet as pq

    names = pq.read_schema(path).names
    columns = [f"score_{i}" for i in range(sum(n.startswith("score_") for n in names))]
    wanted = [*_FACTS, *(columns if scores else ())]
    table = pq.read_table(path, columns=wanted, filters=[("split", "=", split)])
    facts = {name: table[name].to_numpy() for name in _FACTS}
    matrix = np.empty((len(table), len(columns)), dtype=np.float32) if scores else None
    if matrix is not None:
        for i, column in enumerate(columns):
            matrix[:, i] = table[column].to_numpy()
    return Outcome(
        facts["id"],
        facts["digest"],
        facts["group"],
        facts["true"].astype(np.int64),
        facts["predicted"].astype(np.int64),
        matrix,
    )


def _problem(outcome: Outcome, run: Run) -> str | None:
    """Say what makes predictions no predictions of this run."""
    k = len(run.dataset.classes)
    if len(outcome) and not (outcome.true.min() >= 0 and outcome.true.max() < k):
        return "classes that the dataset has not"
    if outcome.scores is not None and not np.isfinite(outcome.scores).all():
        return "scores that are not finite"
    if (
        outcome.scores is not None
        and not (outcome.scores.argmax(axis=1) == outcome.predicted).all()
    ):
        return "predictions that do not follow from the scores"
    return None


def aligned(outcomes: Sequence[Outcome]) -> list[Outcome] | None:
    """Bring outcomes into one order of samples.

    Parameters
    ----------
    outcomes : sequence of Outcome
        On one split.

    Returns
    -------
    aligned : list of Outcome, or None
        In the order of the first; None where they are not of the same samples.
    """
    if not outcomes:
        return []
    first = outcomes[0]
    found = []
    for outcome in outcomes:
        if len(outcome) == len(first) and (outcome.ids == first.ids).all():
            found.append(outcome)
            continue
        place = {identity: i for i, identity in enumerate(outcome.ids)}
        if len(place) != len(first) or not all(identity in place for identity in first.ids):
            return None
        order = np.array([place[identity] for identity in first.ids])
        found.append(
            Outcome(
                outcome.ids[order],
                outcome.digests[order],
                outcome.groups[order],
                outcome.true[order],
                outcome.predicted[order],
                None if outcome.scores is None else outcome.scores[order],
                None if outcome.share is None else outcome.share[order],
            )
        )
    return found
