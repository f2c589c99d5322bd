"""What it costs that pictures lie on both sides of a split: accuracy with them and without."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np

from tlfeat.errors import TlfeatError
from tlfeat.runs.caveats import learned_splits
from tlfeat.runs.predictions import read_predictions
from tlfeat.runs.record import Run
from tlfeat.runs.statistics import accuracy_interval


@dataclass(frozen=True)
class Cost:
    """A run's accuracy on test, with the pictures that it has seen and without.

    Attributes
    ----------
    run : str
        Its name.
    n, leaked : int
        Test pictures, and those of them that are one picture with one that was learned.
    right, without : float
        Share that is right of all, and of those that are not leaked; nan where all are.
    interval, interval_without : tuple of (float, float)
        95%; pictures that are one picture count as one.
    """

    run: str
    n: int
    leaked: int
    right: float
    without: float
    interval: tuple[float, float]
    interval_without: tuple[float, float]


def count_costs(
    runs: Sequence[Run], picture_of: Mapping[str, int], group_of: Mapping[str, int]
) -> list[Cost]:
    """Measure what leaks cost each run.

    Parameters
    ----------
    runs : sequence of Run
        On the dataset that was looked at.
    picture_of : mapping of str to int
        Digest to the number of the picture: copies share one.
    group_of : mapping of str to int
        Digest to the number of what it cannot be parted from: groups that the dataset tells, too.

    Returns
    -------
    costs : list of Cost
        Of the runs that have test predictions, in their order.
    """
    costs = []
    for run in runs:
        try:
            test = read_predictions(run, "test", scores=False)
            learned = [read_predictions(run, one, scores=False) for one in learned_splits(run)]
        except TlfeatError:
            continue
        if not len(test):
            continue
        groups = [str(group_of.get(digest, digest)) for digest in test.digests]
        test = replace(test, groups=np.array(groups, dtype=object))
        known = {picture_of.get(digest, digest) for part in learned for digest in part.digests}
        leaked = np.array([picture_of.get(digest, digest) in known for digest in test.digests])
        rest = test.ordered(np.flatnonzero(~leaked))
        nothing = (float("nan"), float("nan"))
        costs.append(
            Cost(
                run.name,
                len(test),
                int(leaked.sum()),
                float(test.share_correct.mean()),
                float(rest.share_correct.mean()) if len(rest) else float("nan"),
                accuracy_interval(test),
                accuracy_interval(rest) if len(rest) else nothing,
            )
        )
    return costs
