"""Several feature matrices of the same rows, and the best of them for a head.

Which is the best is found on held rows: all matrices are screened by linear discriminant analysis,
which is in closed form, and the head is searched in full on the best, and on the next where that
is not clearly worse. What is chosen on held rows flatters them, so the held probabilities of each
part come from the matrix that the other parts choose.
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, replace
from functools import partial
from typing import Any, Final, NamedTuple

import numpy as np

from tlfeat.heads.arrays import Floats, Ints
from tlfeat.heads.fitting import FittedHead, HeadOrder, fit_on
from tlfeat.heads.ground import Ground
from tlfeat.heads.objective import Judged, Objective
from tlfeat.heads.once import once
from tlfeat.heads.pool import Job, Shared
from tlfeat.heads.search import is_more, least_bad
from tlfeat.heads.table import SCREEN, check_settings

_FULL: Final = 2  # matrices at the most on which a head is searched in full
_CLEAR: Final = 2.0  # standard errors of the difference by which one is left out as clearly worse


class Candidate:
    """A feature matrix, and the heads that are fitted on it.

    Parameters
    ----------
    name : str
    ground : Ground
    parts : mapping of str to int
        Key and columns of each part of it, from left to right.
    """

    def __init__(self, name: str, ground: Ground, parts: Mapping[str, int]) -> None:
        self.name, self.ground, self.parts = name, ground, parts
        self._fitted: dict[str, Shared[FittedHead]] = {}

    def fitted(self, order: HeadOrder) -> Shared[FittedHead]:
        """Give the job that fits a head: one for all that ask."""
        asked = asdict(order) | {"params": check_settings(order.name, order.params)}
        key = json.dumps(asked, sort_keys=True, default=str)
        if key not in self._fitted:
            self._fitted[key] = Shared(fit_on(self.ground, order))
        return self._fitted[key]


class Grounds:
    """Feature matrices of the same rows.

    Parameters
    ----------
    candidates : sequence of Candidate
        With the same rows, classes and folds; the simplest first.
    """

    def __init__(self, candidates: Sequence[Candidate]) -> None:
        self.candidates = {one.name: one for one in candidates}
        self.ground = candidates[0].ground
        self._screened: dict[str, Shared[Screened]] = {}

    def judged(self, scores: Floats, rows: Ints, metric: str) -> tuple[Objective, Judged]:
        """Judge some of the held rows by their probabilities, (n_held, n_classes)."""
        y = self.ground.held_y[rows]
        objective = Objective(metric, np.bincount(y, minlength=self.ground.n_classes))
        return objective, objective.judge_probabilities(y, scores[rows])

    def screened(self, order: HeadOrder) -> Shared["Screened"]:
        """Give the job that finds the matrices which are worth a full search, see `Screened`.

        Of two all are. Of more, one on which linear discriminant analysis has the least log loss,
        and the next where that is not clearly worse: one job for all heads that ask.
        """
        closed = HeadOrder(
            SCREEN, class_weight=order.class_weight, seed=order.seed, metric=order.metric
        )
        key = json.dumps(asdict(closed), default=str)
        if key not in self._screened:
            self._screened[key] = Shared(_screen(self, closed))
        return self._screened[key]

    @once
    def crossed(self) -> list[tuple[Ints, Ints]]:
        """The held rows of each part, and those of the others, which choose for it."""
        parts = self.ground.parts_of_held
        numbers = np.unique(parts)
        if len(numbers) < 2:
            return [(np.arange(len(parts)), np.arange(len(parts)))]
        return [(np.flatnonzero(parts == i), np.flatnonzero(parts != i)) for i in numbers]

    @once
    def everything(self) -> Ints:
        """All held rows."""
        return np.arange(len(self.ground.held_y))


class Screened(NamedTuple):
    """Which matrices are worth a full search."""

    best: list[str]  # by all held rows
    crossed: list[list[str]]  # for each part of them, by the others
    table: Mapping[str, Mapping[str, float]]  # what each is worth, where there was a choice
    fits: Sequence[FittedHead]  # that told it

    @property
    def names(self) -> list[str]:
        """All that are searched: the best by all, and by any others of a part."""
        return list(dict.fromkeys(name for names in (self.best, *self.crossed) for name in names))


def _screen(grounds: Grounds, closed: HeadOrder) -> Job[Screened]:
    names = list(grounds.candidates)
    if len(names) <= _FULL:
        return Screened(names, [names for _ in grounds.crossed], {}, ())
    fits = yield [one.fitted(closed) for one in grounds.candidates.values()]
    screened: Screened = (yield [partial(_compared, grounds, closed.metric, fits)])[0]
    return screened


def _compared(grounds: Grounds, metric: str, fits: Sequence[FittedHead]) -> Screened:
    """Find the fit of the least log loss, and the next where that is not clearly worse."""
    judged = {
        name: grounds.judged(fit.held_scores, grounds.everything, metric)
        for name, fit in zip(grounds.candidates, fits, strict=True)
    }

    def best(rows: Ints) -> list[str]:
        losses = {name: one.log_losses[rows] for name, (_, one) in judged.items()}
        first, *others = sorted(losses, key=lambda name: losses[name].mean())
        near = [one for one in others if not is_more(losses[one], losses[first], _CLEAR)]
        return [first, *near][:_FULL]

    crossed = [best(others) for _, others in grounds.crossed]
    table = {name: worth(objective, one) for name, (objective, one) in judged.items()}
    return Screened(best(grounds.everything), crossed, table, fits)


def fit_best(grounds: Grounds, order: HeadOrder) -> Job[FittedHead]:
    """Fit a head on the matrix that is best for it, as a job of `run_jobs`.

    Yields
    ------
    tasks : list of callables and shared jobs
    """
    if len(grounds.candidates) == 1:
        (only,) = grounds.candidates.values()
        fitted: FittedHead = (yield [only.fitted(order)])[0]
        return replace(fitted, parts=tuple(only.parts), candidates=[about(only, {})])
    screened: Screened = (yield [grounds.screened(order)])[0]
    fits = yield [grounds.candidates[name].fitted(order) for name in screened.names]
    found = dict(zip(screened.names, fits, strict=True))
    best: FittedHead = (yield [partial(_best, grounds, order, screened, found)])[0]
    return best


def _best(
    grounds: Grounds, order: HeadOrder, screened: Screened, found: Mapping[str, FittedHead]
) -> FittedHead:
    """Choose one of some fits, with the held scores that others would have chosen."""

    def choose(names: Sequence[str], rows: Ints) -> str:
        in_order = [name for name in grounds.candidates if name in names]
        judged = {
            name: grounds.judged(found[name].held_scores, rows, order.metric) for name in in_order
        }
        objective, _ = judged[in_order[0]]
        return least_bad(objective, {name: [one] for name, (_, one) in judged.items()})

    chosen = choose(screened.best, grounds.everything)
    held = np.empty_like(found[chosen].held_scores)
    for (mine, others), names in zip(grounds.crossed, screened.crossed, strict=True):
        held[mine] = found[choose(names, others)].held_scores[mine]
    table = [about(candidate, screened.table) for candidate in grounds.candidates.values()]
    for row in table:
        if row["features"] in found:
            scores = found[row["features"]].held_scores
            row |= worth(*grounds.judged(scores, grounds.everything, order.metric))
    fit = found[chosen].seconds["fit"]
    search = spent([*screened.fits, *found.values()]) - fit
    return replace(
        found[chosen],
        held_scores=held,
        parts=tuple(grounds.candidates[chosen].parts),
        candidates=table,
        seconds={"search": search, "fit": fit},
    )


def about(candidate: Candidate, screened: Mapping[str, Mapping[str, float]]) -> dict[str, Any]:
    """Give what a record says of a matrix that was there to choose, and maybe screened."""
    columns, found = sum(candidate.parts.values()), screened.get(candidate.name)
    return {"features": candidate.name, "columns": columns, "screened": found}


def worth(objective: Objective, judged: Judged) -> dict[str, float]:
    """Give what held rows are worth for a record: by the metric, and their log loss."""
    bad = objective.badness([judged])
    return {"score": objective.score(bad), "log_loss": bad.log_loss}


def spent(fits: Sequence[FittedHead]) -> float:
    """Give the processor's seconds of some fits, each counted once."""
    return sum(sum(fit.seconds.values()) for fit in {id(fit): fit for fit in fits}.values())
