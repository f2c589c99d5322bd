"""The search for a head's settings: fewest errors on held rows, then the most regularised.

A setting is one point of the grid. They are walked along the main regulariser from the most
regularised value on, the way in which a solution is the start of the next one.
"""

from collections.abc import Callable, Mapping, Sequence
from itertools import product
from typing import Any, NamedTuple

import numpy as np

from tlfeat.heads.learner import Floats, Ints, Learner
from tlfeat.heads.settings import Grid

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


def choose(
    draws: Sequence[Sequence[Held]],
    fixed: Mapping[str, Any],
    grid: Grid,
    *,
    n_classes: int,
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
    patience : int, optional
        End a walk after so many settings in a row without fewer errors. The first part decides
        which settings are tried, since all parts must try the same.
    jobs : int
        Parts at a time.
    """
    from joblib import Parallel, delayed

    parts = [part for draw in draws for part in draw]
    first, *others = parts
    kept = [_walk(first, fixed, grid, _lines(grid), patience)]
    tried = list(kept[0])
    kept += Parallel(n_jobs=min(jobs, len(others) or 1), prefer="threads")(
        delayed(_walk)(part, fixed, grid, [tried]) for part in others
    )
    n = sum(len(part.rows) for part in draws[0])
    errors = {
        values: sum(
            _count_errors(part, scores[values]) for part, scores in zip(parts, kept, strict=True)
        )
        for values in tried
    }
    ranks = {values: _rank(grid, values) for values in errors}
    best = min(errors, key=lambda values: (errors[values], ranks[values]))
    together = np.empty((n, n_classes), dtype=np.float32)
    for part, scores in zip(draws[0], kept, strict=False):
        together[part.rows] = scores[best]
    table = [
        {"setting": dict(zip(grid, values, strict=True)), "score": 1 - wrong / (n * len(draws))}
        for values, wrong in errors.items()
    ]
    return Choice(dict(zip(grid, best, strict=True)), table, together)


def _count_errors(part: Held, scores: Floats) -> int:
    return int((scores.argmax(axis=1) != part.y).sum())


def _lines(grid: Grid) -> list[list[Values]]:
    """Give the walks: the main regulariser runs, the other settings stand still."""
    if not grid:
        return [[()]]
    main, *others = grid.values()
    return [[(value, *rest) for value in main] for rest in product(*others)]


def _rank(grid: Grid, values: Values) -> tuple[int, ...]:
    """Give the places of values in the grid: the lower, the more regularised."""
    return tuple(places.index(value) for places, value in zip(grid.values(), values, strict=True))


def _walk(
    part: Held,
    fixed: Mapping[str, Any],
    grid: Grid,
    lines: Sequence[Sequence[Values]],
    patience: int | None = None,
) -> dict[Values, Floats]:
    """Score a part's rows with each setting, lines cut short where patience ends."""
    learner = part.learner()
    scores: dict[Values, Floats] = {}
    for line in lines:
        fewest, since = len(part.y) + 1, 0
        for values in line:
            setting = {**fixed, **dict(zip(grid, values, strict=True))}
            scores[values] = part.spread(learner.scores(setting)).astype(np.float32)
            errors = _count_errors(part, scores[values])
            since = 0 if errors < fewest else since + 1
            fewest = min(fewest, errors)
            if patience is not None and since >= patience:
                break
    return scores
