"""The search for a head's settings on held rows.

Errors are few and chance moves them, so they only say which settings are as good as the best:
within a standard error of it. Among these the least log loss decides, once a temperature has made
the most of the scores; what is equal even then goes to the more regularised one. On out-of-fold
rows of five sets this chose settings whose errors and log loss on other rows were lower than
those with the fewest errors, and one draw of the folds was as good as three.

A setting is one point of the grid. They are walked along the main regulariser from the most
regularised value on, the way in which a solution is the start of the next one. The first part
tries them all, and goes on outward where the best lies at the edge of the grid; on the others
only those run that can still win.
"""

import time
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from itertools import product, zip_longest
from typing import Any, Final, NamedTuple

import numpy as np

from tlfeat.heads.ground import Part
from tlfeat.heads.learner import Learner
from tlfeat.heads.objective import Badness, Judged, Objective
from tlfeat.heads.pool import Job
from tlfeat.heads.rows import Double, Floats, Rows
from tlfeat.heads.settings import Grid

Values = tuple[Any, ...]  # one value for each key of the grid, in its order

# A setting is out when it loses to the best of the first part by more than so many standard
# errors of their difference, row by row.
_HOPELESS: Final = 2.0
# Bytes of held logits that are kept while a search goes on; beyond, those of the chosen setting
# are made again.
_KEPT: Final = 2**27
_DIGITS: Final = 5  # of a log loss that count
_OUTWARD: Final = 4  # values beyond either edge of a grid


class Choice(NamedTuple):
    """What a search found."""

    setting: dict[str, Any]
    table: list[dict[str, Any]]  # setting, score (1 - badness), log_loss, parts: on how many
    edges: list[str]  # settings whose best value is the first or last that was tried
    logits: Floats  # of the chosen setting on all held rows, in their places
    seconds: float  # of a processor, all parts together
    learner: Learner | None  # of the only part, where there is one


class Search(NamedTuple):
    """What is searched, and how."""

    fixed: Mapping[str, Any]
    grid: Grid
    objective: Objective
    patience: int | None  # a walk ends after so many settings in a row of no less log loss
    learner: Callable[[Rows], Learner]
    # the value of the main regulariser beyond the last of some, None where there is none
    outward: Callable[[Sequence[Any]], Any] = lambda values: None

    def setting(self, values: Values) -> dict[str, Any]:
        """Give what was chosen from the grid by its names."""
        return dict(zip(self.grid, values, strict=True))


def choose(search: Search, parts: Sequence[Part]) -> Job[Choice]:
    """Try the settings of a grid on every part and choose one.

    Parameters
    ----------
    search : Search
    parts : sequence of Part
        The folds, or the validation rows alone. Their rows are 0 to n - 1 together.

    Yields
    ------
    tasks : list of callables
        See `run_jobs`.
    """
    n = sum(len(part.rows) for part in parts)
    n_classes = len(search.objective.counts)
    lines = _lines(search.grid)
    keeps = 4 * n * n_classes * sum(map(len, lines)) <= _KEPT
    (first,) = yield [
        partial(_walk, search, parts[0], lines, keeps, explores=True, stays=len(parts) == 1)
    ]
    left = _hopeful(search, first.judged)
    others = [partial(_walk, search, part, [left], keeps) for part in parts[1:]]
    walks = [first, *(yield others)]
    badness = {
        values: search.objective.badness([walk.judged[values] for walk in walks])
        for values in left
    }
    best = least_bad(badness)
    if not keeps:
        walks = yield [partial(_walk, search, part, [[best]], True) for part in parts]
    together = np.empty((n, n_classes), dtype=np.float32)
    for part, walk in zip(parts, walks, strict=True):
        together[part.rows] = walk.logits[best]
    return Choice(
        search.setting(best),
        _table(search, first.judged, badness, len(parts)),
        _edges(search.grid, best, list(first.judged)),
        together,
        sum(walk.seconds for walk in walks),
        first.learner,
    )


def least_bad(badness: Mapping[Values, Badness]) -> Values:
    """Choose: of those within a standard error of the best the one of the least log loss.

    Parameters
    ----------
    badness : mapping
        The more regularised come first.
    """
    best = min(badness.values(), key=lambda one: (one.value, one.log_loss))
    good = [values for values in badness if badness[values].value <= best.value + best.error]
    return min(good, key=lambda values: round(badness[values].log_loss, _DIGITS))


def _hopeful(search: Search, judged: Mapping[Values, Judged]) -> list[Values]:
    """Give the settings that can still win after the first part.

    One cannot that is clearly worse than the best, or clearly has more log loss than one that is
    as good: by the mean of the differences row by row, in standard errors of it.
    """
    badness = {values: search.objective.badness([one]) for values, one in judged.items()}
    fewest = judged[min(badness, key=lambda values: badness[values].value)]
    chosen = judged[least_bad(badness)]
    if fewest.values is None:
        return list(judged)
    return [
        values
        for values, one in judged.items()
        if not _clearly(one.values, fewest.values)
        and not _clearly(one.log_losses, chosen.log_losses)
    ]


def _clearly(more: Double | None, less: Double | None) -> bool:
    """Say whether some rows' values (m,) are on the mean larger than others of the same rows."""
    if more is None or less is None:
        return False
    away = more - less
    return bool(away.mean() > _HOPELESS * away.std() / np.sqrt(len(away)))


def _lines(grid: Grid) -> list[list[Values]]:
    """Give the walks: the main regulariser runs, the other settings stand still."""
    if not grid:
        return [[()]]
    main, *others = grid.values()
    return [[(value, *rest) for value in main] for rest in product(*others)]


def _table(
    search: Search,
    first: Mapping[Values, Judged],
    badness: Mapping[Values, Badness],
    n_parts: int,
) -> list[dict[str, Any]]:
    """Give a row for each setting that was tried."""
    rows = []
    for values, one in first.items():
        bad = badness.get(values) or search.objective.badness([one])
        rows.append(
            {
                "setting": search.setting(values),
                "score": -bad.value if search.objective.metric == "log-loss" else 1 - bad.value,
                "log_loss": bad.log_loss,
                "parts": n_parts if values in badness else 1,
            }
        )
    return rows


def _edges(grid: Grid, best: Values, tried: Sequence[Values]) -> list[str]:
    """Name the settings whose best number is the least or the most that was tried."""
    edges = []
    for place, name in enumerate(grid):
        values = [one[place] for one in tried]
        if all(isinstance(value, int | float) for value in values) and len(set(values)) > 1:
            edges += [name] if best[place] in (min(values), max(values)) else []
    return edges


class _Walk(NamedTuple):
    judged: dict[Values, Judged]  # by what was tried, the more regularised first
    logits: dict[Values, Floats]  # of the part's rows, where they are kept
    seconds: float  # of the one processor that it was on
    learner: Learner | None  # where it is of use for the end


def _walk(
    search: Search,
    part: Part,
    lines: Sequence[Sequence[Values]],
    keeps: bool,
    *,
    explores: bool = False,
    stays: bool = False,
) -> _Walk:
    """Score a part's rows with the settings of some lines.

    One that explores cuts lines short where patience ends, and draws them out where the best is
    their first or last.
    """
    began = time.thread_time()
    learner = search.learner(part.made())
    judged: dict[Values, Judged] = {}
    kept: dict[Values, Floats] = {}

    def loss(values: Values) -> float:
        logits = part.spread(learner.logits({**search.fixed, **search.setting(values)}))
        judged[values] = search.objective.judge(part.y, logits)
        if keeps:
            kept[values] = logits.astype(np.float32)
        return float(judged[values].log_losses.mean())

    if explores:
        walked = [_explore(search, line, loss) for line in lines]
        order = [
            values for column in zip_longest(*walked) for values in column if values is not None
        ]
    else:
        order = [values for line in lines for values in line]
        for values in order:
            loss(values)
    seconds = time.thread_time() - began
    ordered = {values: judged[values] for values in order}
    return _Walk(ordered, kept, seconds, learner if stays else None)


def _explore(
    search: Search, line: Sequence[Values], loss: Callable[[Values], float]
) -> list[Values]:
    """Walk a line as far as it pays; give what was tried, the more regularised first."""
    losses: dict[Values, float] = {}
    for values in line:
        losses[values] = loss(values)
        if search.patience is not None and _since_least(losses) >= search.patience:
            break
    tried, rest = list(losses), line[0][1:]
    for _ in ("last", "first"):  # beyond the one, then beyond the other
        for _ in range(_OUTWARD):
            if len(tried) < 2 or losses[tried[-1]] >= losses[tried[-2]]:
                break
            beyond = search.outward([values[0] for values in tried])
            if beyond is None:
                break
            tried.append((beyond, *rest))
            losses[tried[-1]] = loss(tried[-1])
        tried.reverse()
    return tried


def _since_least(losses: Mapping[Values, float]) -> int:
    """Give how many came after the least."""
    every = list(losses.values())
    return len(every) - 1 - every.index(min(every))
