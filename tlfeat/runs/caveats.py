"""What a reader must know before a table of runs is believed: leaks, stand-ins, other clocks."""

from collections.abc import Sequence
from typing import Final

import numpy as np

from tlfeat.data.names import printable
from tlfeat.errors import TlfeatError
from tlfeat.runs.predictions import read_predictions
from tlfeat.runs.ranked import RankedRun
from tlfeat.runs.record import Run
from tlfeat.runs.statistics import known_intervals

_FAR: Final = 0.05  # of accuracy, from which held rows are said to be far above test
_BROAD: Final = 0.2  # of accuracy, from which test tells little: what 80 pictures give


def doubts(ranked: Sequence[RankedRun]) -> list[str]:
    """Say why figures on these pictures are not to be trusted, if they are not.

    Parameters
    ----------
    ranked : sequence of RankedRun
        Best by validation first; the sentences are of the best.

    Returns
    -------
    sentences : list of str
        Test pictures that were trained on, held rows far above test, a best run that is not
        shown to beat always naming one class, and few test pictures.
    """
    best = ranked[0]
    found = (
        leaked_test(best),
        held_above_test(best),
        no_better_than_one_class(best),
        few_test_pictures(best),
    )
    return [text for text in found if text is not None]


def no_better_than_one_class(run: RankedRun) -> str | None:
    """Say that a run is not shown to beat always naming the largest class of train."""
    counts = run.dataset.counts
    train, test = counts.get("train", {}), counts.get("test", {})
    low, high = known_intervals(run).get("test", {}).get("accuracy", (np.nan, np.nan))
    if not train or not sum(test.values()) or not np.isfinite(low):
        return None
    largest = max(train, key=lambda name: train[name])
    always = test.get(largest, 0) / sum(test.values())
    if low > always:
        return None
    return (
        f"{run.name} is not shown to be better than always naming {printable(largest)}: "
        f"{100 * low:.1f} to {100 * high:.1f}% right on test, against {100 * always:.1f}%."
    )


def few_test_pictures(run: RankedRun) -> str | None:
    """Say that the interval of the test accuracy is so wide that it tells little."""
    test = run.metrics.get("test")
    low, high = known_intervals(run).get("test", {}).get("accuracy", (np.nan, np.nan))
    if test is None or not high - low > _BROAD:
        return None
    return (
        f"The {test['n']:,} test pictures tell little: of the best run they say that "
        f"{100 * low:.0f} to {100 * high:.0f}% is right on others of the kind."
    )


def learned_splits(run: Run) -> list[str]:
    """Name the splits whose pictures a run was trained on, at first or after the choices."""
    refitted = run.refit is not None if run.is_finetune else run.head_settings.refit
    return ["train", "validation"] if refitted else ["train"]


def leaked_test(run: RankedRun) -> str | None:
    """Say how many test pictures are in train too, and what is right without them."""
    learned = learned_splits(run)
    try:
        test = read_predictions(run, "test", scores=False)
        parts = [read_predictions(run, split, scores=False).digests for split in learned]
    except TlfeatError:
        return None
    known = np.isin(test.digests.astype(np.str_), np.concatenate(parts).astype(np.str_))
    n = int(np.count_nonzero(known))
    if not n:
        return None
    text = f"{n:,} of {len(test):,} test pictures are in train too, the same bytes"
    if n == len(test):
        return f"{text}: what is right on test tells nothing."
    correct = 100 * test.share_correct[~known].mean()
    return f"{text}: without them {run.name} has {correct:.1f}% right."


def held_above_test(run: RankedRun) -> str | None:
    """Say that held rows are far above test, and why that may be."""
    test, held = run.metrics.get("test"), run.metrics.get("validation")
    if test is None or held is None:
        return None
    ends = known_intervals(run)
    clear = bool(ends) and ends["validation"]["accuracy"][0] > ends["test"]["accuracy"][1]
    if not clear or held["accuracy"] - test["accuracy"] < _FAR:
        return None
    return (
        f"Held rows are far above test, {100 * held['accuracy']:.1f} against "
        f"{100 * test['accuracy']:.1f}% right: pictures of one scene may lie on both sides of the "
        "held rows, which `tlfeat audit` tells, or test pictures are of another kind."
    )


def timed_by_keras(runs: Sequence[Run]) -> str | None:
    """Say which fine-tunes are of a version that predicted through Keras, which takes longer."""
    slow = [run.name for run in runs if run.is_finetune and run.engine is None]
    if not slow:
        return None
    return (
        f"ms/image of {', '.join(slow)} was measured in Keras, by an older tlfeat, and is longer "
        "than it would be now."
    )


def stand_in_lines(runs: Sequence[Run]) -> list[str]:
    """Say what stands in for what in some runs, as few lines as it takes.

    Parameters
    ----------
    runs : sequence of Run
        Those of one table or figure.

    Returns
    -------
    lines : list of str
        None where nothing stands in.
    """
    names: dict[str, list[str]] = {}
    for run in runs:
        for part in str(run.stand_in or "").split("; "):
            if part:
                names.setdefault(part, []).append(run.name)
    lines = []
    for part, of in names.items():
        if len(of) == len(runs):
            who = "Stand-in"
        elif 2 * len(of) > len(runs):
            others = [run.name for run in runs if run.name not in of]
            who = f"Stand-in (all but {', '.join(others)})"
        else:
            who = f"Stand-in ({', '.join(of)})"
        lines.append(f"{who}: {part}.")
    return lines
