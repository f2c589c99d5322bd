"""The search for a head's settings: what is least bad on held rows, then the least log loss.

Errors are few and often equal, so the log loss decides between settings of a head that gives
probabilities; what is equal even then goes to the more regularised one.

A setting is one point of the grid. They are walked along the main regulariser from the most
regularised value on, the way in which a solution is the start of the next one. The first part
tries them all; on the others only those run that can still win.
"""

import time
from collections.abc import Mapping, Sequence
from functools import partial
from itertools import product
from typing import Any, Final, NamedTuple

import numpy as np

from tlfeat.heads.ground import Part
from tlfeat.heads.learner import Learner
from tlfeat.heads.objective import Badness, Judged, Objective
from tlfeat.heads.pool import Job
from tlfeat.heads.rows import Floats
from tlfeat.heads.settings import Grid

Values = tuple[Any, ...]  # one value for each key of the grid, in its order

# A setting is out when it loses to the best of the first part by more than so many standard
# errors of their difference, row by row.
_HOPELESS: Final = 2.0
# Bytes of held logits that are kept while a search goes on; beyond, those of the chosen setting
# are made again.
_KEPT: Final = 2**27


class Choice(NamedTuple):
    """What a search found."""

    setting: dict[str, Any]
    table: list[dict[str, Any]]  # setting, score (1 - badness), parts: on how many
    logits: Floats  # of the chosen setting on all held rows of the first draw, in their places
    seconds: float  # of a processor, all parts together
    learner: Learner | None  # of the only part, where there is one


class Search(NamedTuple):
    """What is searched, and how."""

    fixed: Mapping[str, Any]
    grid: Grid
    objective: Objective
    patience: int | None  # a walk ends after so many settings in a row that are not better
    learner: Any  # makes a learner for a part


def choose(search: Search, draws: Sequence[Sequence[Part]]) -> Job[Choice]:
    """Try the settings of a grid on every part and choose one.

    Parameters
    ----------
    search : Search
    draws : sequence of sequences of Part
        Each is one way to hold out: the folds of one draw, or the validation rows alone. The
        rows of a draw are 0 to n - 1 together; all draws count the same.

    Yields
    ------
    tasks : list of callables
        See `run_jobs`.
    """
    parts = [part for draw in draws for part in draw]
    n = sum(len(part.rows) for part in draws[0])
    n_classes = len(search.objective.counts)
    lines = _lines(search.grid)
    keeps = 4 * n * n_classes * sum(map(len, lines)) <= _KEPT
    alone = len(parts) == 1
    (first,) = yield [
        partial(_walk, search, parts[0], lines, search.patience, keeps=keeps, alone=alone)
    ]
    hopeful = _hopeful(first.judged, search)
    walks = [first]
    walks += yield [
        partial(_walk, search, part, hopeful, keeps=keeps and number < len(draws[0]))
        for number, part in enumerate(parts[1:], 1)
    ]
    tried = list(first.judged)
    left = [values for line in hopeful for values in line]
    badness = {
        values: search.objective.badness(
            [walk.judged[values] for walk in (walks if values in left else walks[:1])]
        )
        for values in tried
    }
    best = min(left, key=lambda values: (badness[values], _rank(search.grid, values)))
    kept = walks[: len(draws[0])]
    if not keeps:
        kept = yield [partial(_walk, search, part, [[best]], keeps=True) for part in draws[0]]
    together = np.empty((n, n_classes), dtype=np.float32)
    for part, walk in zip(draws[0], kept, strict=True):
        together[part.rows] = walk.logits[best]
    table = [
        {
            "setting": dict(zip(search.grid, values, strict=True)),
            "score": 1 - badness[values].value,
            "parts": len(parts) if values in left else 1,
        }
        for values in tried
    ]
    seconds = sum(walk.seconds for walk in (*walks, *([] if keeps else kept)))
    setting = dict(zip(search.grid, best, strict=True))
    return Choice(setting, table, together, seconds, first.learner)


def _hopeful(judged: Mapping[Values, Judged], search: Search) -> list[list[Values]]:
    """Give the walks of the other parts: what lost too clearly on the first is left out."""
    found = {values: search.objective.badness([one]) for values, one in judged.items()}
    best = judged[min(found, key=lambda values: (found[values], _rank(search.grid, values)))]
    left = []
    for values, one in judged.items():
        if one.losses is None or best.losses is None:
            left.append(values)
            continue
        worse = one.losses - best.losses  # (m,)
        if worse.mean() <= _HOPELESS * worse.std() / np.sqrt(len(worse)):
            left.append(values)
    lines: dict[tuple[Any, ...], list[Values]] = {}
    for values in left:
        lines.setdefault(values[1:], []).append(values)
    return list(lines.values())


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
    judged: dict[Values, Judged]  # by what was tried
    logits: dict[Values, Floats]  # of the part's rows, where they are kept
    seconds: float  # of the one processor that it was on
    learner: Learner | None  # where it is of use for the end


def _walk(
    search: Search,
    part: Part,
    lines: Sequence[Sequence[Values]],
    patience: int | None = None,
    *,
    keeps: bool,
    alone: bool = False,
) -> _Walk:
    """Score a part's rows with each setting, lines cut short where patience ends."""
    began = time.thread_time()
    learner = search.learner(part.made())
    judged: dict[Values, Judged] = {}
    kept: dict[Values, Floats] = {}
    for line in lines:
        least, since = Badness(np.inf, 0.0), 0
        for values in line:
            setting = {**search.fixed, **dict(zip(search.grid, values, strict=True))}
            logits = part.spread(learner.logits(setting))
            judged[values] = search.objective.judge(part.y, logits)
            if keeps:
                kept[values] = logits.astype(np.float32)
            badness = search.objective.badness([judged[values]])
            since = 0 if badness < least else since + 1
            least = min(least, badness)
            if patience is not None and since >= patience:
                break
    return _Walk(judged, kept, time.thread_time() - began, learner if alone else None)
