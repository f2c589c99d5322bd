"""The search for a head's settings on held rows.

Errors are few and chance moves them, so they only say which settings are as good as the best:
within a standard error of it. Among these the log loss decides, once a temperature has made the
most of the scores: the most regularised is chosen whose log loss is the least, or above it by half
a standard error of the difference at most. docs/heads.md has what was tried beside this.

A setting is one point of the grid. They are walked along the main regulariser from the most
regularised value on, the way in which a solution is the start of the next one. The first part
tries them all, and goes on outward where the best lies at the edge of the grid; on the others
only those run that can still win.
"""

import time
from collections.abc import Callable, Hashable, Mapping, Sequence
from itertools import product, zip_longest
from typing import Any, Final, NamedTuple, TypeVar

import numpy as np

from tlfeat.heads.arrays import Double, Floats
from tlfeat.heads.ground import Part
from tlfeat.heads.learner import Learner
from tlfeat.heads.objective import Judged, Objective
from tlfeat.heads.pool import Job, Portable
from tlfeat.heads.rows import Rows
from tlfeat.heads.settings import Grid

K = TypeVar("K", bound=Hashable)
Values = tuple[Any, ...]  # one value for each key of the grid, in its order

# A setting is out when it loses to the best of the first part by more than so many standard
# errors of their difference, row by row.
_HOPELESS: Final = 2.0
_FAR: Final = 2  # places along the main regulariser
_AS_GOOD: Final = 0.5  # standard errors by which log losses may differ
# Bytes of held logits that are kept while a search goes on; beyond, those of the chosen setting
# are made again.
_KEPT: Final = 2**27
_OUTWARD: Final = 4  # values beyond either edge of a grid


class Choice(NamedTuple):
    """What a search found."""

    setting: dict[str, Any]
    table: list[dict[str, Any]]  # setting, score (1 - badness), log_loss, parts: on how many
    edges: list[str]  # settings whose best value is the first or last that was tried
    logits: Floats  # of the chosen setting on all held rows, in their places
    seconds: float  # of a processor, all parts together
    learner: Learner | None  # of the only part, where there is one
    reached: list[Any]  # by the chosen setting on each part; see `Learner.reached`


class Search(NamedTuple):
    """What is searched, and how."""

    fixed: Mapping[str, Any]
    grid: Grid
    objective: Objective
    patience: int | None  # a walk ends after so many settings in a row of no less log loss
    learner: Callable[[Rows], Learner]
    # the value of the main regulariser beyond the last of some, None where there is none
    outward: Callable[[Sequence[Any]], Any] = lambda values: None
    within: float = 1.0  # standard errors of the fewest errors within which a setting is as good

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
        Portable(_walk, search, parts[0], lines, keeps, explores=True, stays=len(parts) == 1)
    ]
    left = _hopeful(search, first.judged)
    others = [Portable(_walk, search, part, _as_lines(left), keeps) for part in parts[1:]]
    walks = [first, *(yield others)]
    seconds = sum(walk.seconds for walk in walks)
    judged = {values: [walk.judged[values] for walk in walks] for values in left}
    best = least_bad(search.objective, judged, search.within)
    if not keeps:
        walks = yield [Portable(_walk, search, part, [[best]], True) for part in parts]
        seconds += sum(walk.seconds for walk in walks)
    together = np.empty((n, n_classes), dtype=np.float32)
    for part, walk in zip(parts, walks, strict=True):
        together[part.rows] = walk.kept[best].logits
    return Choice(
        search.setting(best),
        _table(search, {values: [one] for values, one in first.judged.items()} | judged),
        _edges(search.grid, best, list(first.judged)),
        together,
        seconds,
        first.learner,
        [walk.kept[best].reached for walk in walks],
    )


def least_bad(
    objective: Objective, judged: Mapping[K, Sequence[Judged]], within: float = 1.0
) -> K:
    """Choose a setting, or something else that was judged on the same rows.

    Parameters
    ----------
    objective : Objective
    judged : mapping
        What each setting is worth on the same parts; the more regularised, or simpler, come first.
    within : float
        Standard errors of the best within which one is as good.
    """
    badness = {values: objective.badness(parts) for values, parts in judged.items()}
    best = min(badness.values(), key=lambda one: (one.value, one.log_loss))
    most = best.value + within * best.error
    good = [values for values in badness if badness[values].value <= most]
    losses = {
        values: np.concatenate([part.log_losses for part in judged[values]]) for values in good
    }
    least = losses[min(good, key=lambda values: badness[values].log_loss)]
    return next(one for one in good if not is_more(losses[one], least, _AS_GOOD))


def _hopeful(search: Search, judged: Mapping[Values, Judged]) -> list[Values]:
    """Give the settings that can still win after the first part.

    One cannot that is far from what the first part chooses, or clearly worse than the best, or
    clearly has more log loss than one that is as good.
    """
    alone = {values: [one] for values, one in judged.items()}
    badness = {values: search.objective.badness(alone[values]) for values in alone}
    fewest = judged[min(badness, key=lambda values: badness[values].value)]
    best = least_bad(search.objective, alone, search.within)
    main = list(dict.fromkeys(values[0] for values in judged if values))
    return [
        values
        for values, one in judged.items()
        if values == best
        or not (
            abs(main.index(values[0]) - main.index(best[0])) > _FAR
            or is_more(one.values, fewest.values, _HOPELESS)
            or is_more(one.log_losses, judged[best].log_losses, _HOPELESS)
        )
    ]


def is_more(more: Double | None, less: Double | None, errors: float) -> bool:
    """Say whether some rows' values (m,) lie above others of the same rows, on the mean.

    By more than so many standard errors of the mean difference; to five digits all the same.
    """
    if more is None or less is None:
        return False
    away = more - less
    return bool(away.mean() > max(errors * away.std() / np.sqrt(len(away)), 1e-5))


def _lines(grid: Grid) -> list[list[Values]]:
    """Give the walks: the main regulariser runs, the other settings stand still."""
    if not grid:
        return [[()]]
    main, *others = grid.values()
    return [[(value, *rest) for value in main] for rest in product(*others)]


def _as_lines(settings: Sequence[Values]) -> list[list[Values]]:
    """Put settings together that differ in the main regulariser alone."""
    lines: dict[Values, list[Values]] = {}
    for values in settings:
        lines.setdefault(values[1:], []).append(values)
    return list(lines.values())


def _table(search: Search, judged: Mapping[Values, Sequence[Judged]]) -> list[dict[str, Any]]:
    """Give a row for each setting that was tried."""
    rows = []
    for values, parts in judged.items():
        bad = search.objective.badness(parts)
        rows.append(
            {
                "setting": search.setting(values),
                "score": search.objective.score(bad),
                "log_loss": bad.log_loss,
                "parts": len(parts),
            }
        )
    return rows


def _edges(grid: Grid, best: Values, tried: Sequence[Values]) -> list[str]:
    """Name the settings whose best number is the least or the most of three or more."""
    edges = []
    for place, name in enumerate(grid):
        values = [one[place] for one in tried]
        if all(isinstance(value, int | float) for value in values) and len(set(values)) > 2:
            edges += [name] if best[place] in (min(values), max(values)) else []
    return edges


class _Kept(NamedTuple):
    logits: Floats  # of the part's rows
    reached: Any  # see `Learner.reached`


class _Walk(NamedTuple):
    judged: dict[Values, Judged]  # by what was tried, the more regularised first
    kept: dict[Values, _Kept]  # nothing where that is too much
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
    kept: dict[Values, _Kept] = {}

    def loss(values: Values) -> Double:
        logits = part.spread(learner.logits({**search.fixed, **search.setting(values)}))
        judged[values] = search.objective.judge(part.y, logits)
        if keeps:
            kept[values] = _Kept(logits.astype(np.float32), learner.reached())
        return judged[values].log_losses

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
    search: Search, line: Sequence[Values], loss: Callable[[Values], Double]
) -> list[Values]:
    """Walk a line as far as it pays; give what was tried, the more regularised first."""
    losses: dict[Values, Double] = {}
    tried: list[Values] = []
    best, since = line[0], -1  # the first is no better than itself

    def visit(values: Values) -> bool:
        """Try a setting; say whether it is better than the best so far."""
        nonlocal best
        losses[values] = loss(values)
        tried.append(values)
        is_better = is_more(losses[best], losses[values], _AS_GOOD)
        best = values if is_better else best
        return is_better

    for values in line:
        since = 0 if visit(values) else since + 1
        if search.patience is not None and since >= search.patience:
            break
    for _ in ("last", "first"):  # beyond the one, then beyond the other
        for _ in range(_OUTWARD):
            if len(tried) < 2 or tried[-1] != best:
                break
            beyond = search.outward([values[0] for values in tried])
            if beyond is None:
                break
            visit((beyond, *line[0][1:]))
        tried.reverse()
    return tried
