"""The search for a head's settings: fewest errors on held rows, then the least log loss.

Errors are few and often equal, so the log loss decides between settings of a head that gives
probabilities; what is equal even then goes to the more regularised one.

A setting is one point of the grid. They are walked along the main regulariser from the most
regularised value on, the way in which a solution is the start of the next one.
"""

import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from itertools import product
from typing import Any, NamedTuple

import numpy as np

from tlfeat.heads.learner import Floats, Ints, Learner
from tlfeat.heads.settings import Grid
from tlfeat.heads.threads import one_numeric_thread
from tlfeat.log_loss import log_losses

Values = tuple[Any, ...]  # one value for each key of the grid, in its order


class Held(NamedTuple):
    """Rows that a learner has not seen, and what is true of them."""

    rows: Ints  # their places in the whole
    y: Ints  # their class indexes
    learner: Callable[[], Learner]  # makes the learner, when its turn comes
    spread: Callable[[Floats], Floats]  # from the classes present to all classes


class Choice(NamedTuple):
    """What a search found."""

    setting: dict[str, Any]
    table: list[dict[str, Any]]  # setting, score (share of right ones); in the order of the walk
    scores: Floats  # of the chosen setting on all held rows of the first draw, in their places
    seconds: float  # of a processor, all parts together


def choose(
    draws: Sequence[Sequence[Held]],
    fixed: Mapping[str, Any],
    grid: Grid,
    *,
    n_classes: int,
    probabilities: bool,
    patience: int | None = None,
    jobs: int = 1,
) -> Choice:
    """Try the settings of a grid on every part and choose one.

    Parameters
    ----------
    draws : sequence of sequences of Held
        Each is one way to hold out: the folds of one draw, or the validation rows alone. The
        rows of a draw are 0 to n - 1 together; the errors of all draws are added up.
    fixed, grid
        From `plan_settings`.
    n_classes : int
    probabilities : bool
        Whether the head gives them, so that there is a log loss.
    patience : int, optional
        End a walk after so many settings in a row that are not better. The first part decides
        which settings are tried, since all parts must try the same.
    jobs : int
        Parts at a time.
    """
    from joblib import Parallel, delayed

    parts = [part for draw in draws for part in draw]
    first, *others = parts
    walks = [_walk(first, fixed, grid, _lines(grid), probabilities, patience)]
    tried = list(walks[0].scores)
    walks += Parallel(n_jobs=min(jobs, len(others) or 1), prefer="threads")(
        delayed(_walk)(part, fixed, grid, [tried], probabilities) for part in others
    )
    kept = [walk.scores for walk in walks]
    # Each draw holds out all n rows once, so a setting is wrong in `wrong` of n x draws cases.
    n = sum(len(part.rows) for part in draws[0])
    badness = {
        values: _total(
            _badness(part, scores[values], probabilities)
            for part, scores in zip(parts, kept, strict=True)
        )
        for values in tried
    }
    best = min(tried, key=lambda values: (badness[values], _rank(grid, values)))
    together = np.empty((n, n_classes), dtype=np.float32)
    for part, scores in zip(draws[0], kept, strict=False):
        together[part.rows] = scores[best]
    table = [
        {"setting": dict(zip(grid, values, strict=True)), "score": 1 - wrong / (n * len(draws))}
        for values, (wrong, _) in badness.items()
    ]
    seconds = sum(walk.seconds for walk in walks)
    return Choice(dict(zip(grid, best, strict=True)), table, together, seconds)


class _Badness(NamedTuple):
    """How bad a setting is on some rows; compared in this order."""

    errors: int
    loss: float  # sum of the rows' log losses; 0 where there are no probabilities


def _badness(part: Held, scores: Floats, probabilities: bool) -> _Badness:
    errors = int((scores.argmax(axis=1) != part.y).sum())
    if not probabilities:
        return _Badness(errors, 0.0)
    return _Badness(errors, float(log_losses(part.y, scores).sum()))


def _total(parts: Iterable[_Badness]) -> _Badness:
    every = list(parts)
    return _Badness(sum(one.errors for one in every), sum(one.loss for one in every))


def _lines(grid: Grid) -> list[list[Values]]:
    """Give the walks: the main regulariser runs, the other settings stand still."""
    if not grid:
        return [[()]]
    main, *others = grid.values()
    return [[(value, *rest) for value in main] for rest in product(*others)]


def _rank(grid: Grid, values: Values) -> tuple[int, ...]:
    """Give the places of values in the grid: the lower, the more regularised."""
    return tuple(places.index(value) for places, value in zip(grid.values(), values, strict=True))


class _Walk(NamedTuple):
    scores: dict[Values, Floats]  # of the part's rows, by what was tried
    seconds: float  # of the one processor that it was on


def _walk(
    part: Held,
    fixed: Mapping[str, Any],
    grid: Grid,
    lines: Sequence[Sequence[Values]],
    probabilities: bool,
    patience: int | None = None,
) -> _Walk:
    """Score a part's rows with each setting, lines cut short where patience ends."""
    with one_numeric_thread():
        began = time.thread_time()
        scores = _scores(part, fixed, grid, lines, probabilities, patience)
        return _Walk(scores, time.thread_time() - began)


def _scores(
    part: Held,
    fixed: Mapping[str, Any],
    grid: Grid,
    lines: Sequence[Sequence[Values]],
    probabilities: bool,
    patience: int | None,
) -> dict[Values, Floats]:
    learner = part.learner()
    scores: dict[Values, Floats] = {}
    for line in lines:
        least, since = _Badness(len(part.y) + 1, 0.0), 0
        for values in line:
            setting = {**fixed, **dict(zip(grid, values, strict=True))}
            scores[values] = part.spread(learner.scores(setting)).astype(np.float32)
            badness = _badness(part, scores[values], probabilities)
            since = 0 if badness < least else since + 1
            least = min(least, badness)
            if patience is not None and since >= patience:
                break
    return scores
