"""One head on one matrix: choose its settings on held rows, then train it on all of train."""

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Any, NamedTuple

import numpy as np

from tlfeat.errors import HeadError
from tlfeat.heads.arrays import Floats, Ints
from tlfeat.heads.ground import Ground
from tlfeat.heads.learner import Finished, Learner, Problem, learner_class
from tlfeat.heads.metric import check_metric
from tlfeat.heads.objective import Objective
from tlfeat.heads.pool import Job, Portable, Sparing, in_turn
from tlfeat.heads.rows import Rows
from tlfeat.heads.search import Choice, Search, choose
from tlfeat.heads.settings import Grid, plan_settings
from tlfeat.heads.table import Head, check_class_weight, get_head
from tlfeat.heads.temperature import fit_temperature, tempered
from tlfeat.heads.trained import TrainedHead


@dataclass(frozen=True)
class FittedHead(TrainedHead):
    """A trained head and how it came to be."""

    grid: Grid  # what the search tried, by setting
    chosen: Mapping[str, Any]
    search_table: list[dict[str, Any]]  # setting, score (share of right ones), log_loss, parts
    edges: list[str]  # settings whose best value is the first or last that was tried
    temperature: float  # that its logits were divided by
    converged: bool
    seconds: Mapping[str, float]  # search, fit: of a processor, whatever else it was doing
    warnings: list[str]
    n_train: int  # rows that the pipeline was trained on
    n_parameters: int  # numbers that it learned, without the standardisation
    # probabilities of the validation rows by a head that was trained on train only, or of the rows
    # of train out of fold; (n_held, n_classes)
    held_scores: Floats
    fold: Ints | None  # (n_train,), where there is no validation
    # where there are several matrices: the keys of the parts that it takes, from left to right,
    # and what each matrix was found to be worth
    parts: tuple[str, ...] = ()
    candidates: Sequence[Mapping[str, Any]] = ()


@dataclass(frozen=True)
class HeadOrder:
    """A head that is asked for, see `fit_head`."""

    name: str
    params: Mapping[str, Any] = field(default_factory=dict)
    search: bool = True
    class_weight: str | None = None
    refit: bool = False
    seed: int = 0
    kernel_budget: int = 2**30
    metric: str = "accuracy"


def fit_on(ground: Ground, order: HeadOrder) -> Job[FittedHead]:
    """Choose a head's settings and train it, as a job of `run_jobs`.

    Parameters
    ----------
    ground : Ground
        Shared by all heads on the same rows.
    order : HeadOrder

    Yields
    ------
    tasks : list of callables

    Raises
    ------
    HeadError
        If the data, a setting or the budget do not allow it.
    """
    if ground.validation is None:
        return (yield from _stages(ground, order))
    # one part, so one stage after the other, each on what the one before has made
    fitted: FittedHead = (yield [Portable(_alone, ground, order)])[0]
    return fitted


def _alone(ground: Ground, order: HeadOrder) -> FittedHead:
    return in_turn(_stages(ground, order))


def judge_on(ground: Ground, order: HeadOrder) -> Job[Floats]:
    """Say what a head makes of rows that it has not seen, as a job; see `fit_on`.

    That is what `fit_on` has as `held_scores`. The ground has no validation rows.
    """
    choice = yield from _chosen(ground, order, _planned(ground, order))
    assert choice is not None
    y, logits = ground.held_y, choice.logits
    return cross_tempered(y, logits, ground.parts_of_held, fit_temperature(y, logits))


class _Plan(NamedTuple):
    head: Head
    fixed: dict[str, Any]
    grid: Grid
    make: Callable[..., Learner]  # of rows, and of what others have reached
    refit: bool  # on the validation rows too


def _planned(ground: Ground, order: HeadOrder) -> _Plan:
    head = get_head(order.name)
    fixed, wanted = plan_settings(head.name, head.settings, order.params, order.search)
    check_class_weight(head, order.class_weight)
    check_metric(order.metric)
    _refuse_one_class(head, ground)
    refit = ground.validation is not None and order.refit
    grid = learner_class(head).check(fixed, wanted, *_rows_of(ground, refit), order.kernel_budget)
    return _Plan(head, fixed, grid, partial(_learner, head, fixed, grid, order), refit)


def _chosen(ground: Ground, order: HeadOrder, plan: _Plan) -> Job[Choice | None]:
    """Judge settings on held rows; None where nothing is to be chosen nor to be known of them."""
    head, grid, on_folds = plan.head, plan.grid, ground.validation is None
    if not (on_folds or grid or plan.refit):
        return None
    main = next((one for one in head.settings if one.name in grid), None)
    outward = main is not None and head.outward and main.name not in order.params
    search = Search(
        plan.fixed,
        grid,
        Objective(order.metric, ground.held_counts),
        head.patience,
        plan.make,
        main.beyond if main and outward else lambda values: None,
        head.within,
    )
    if on_folds and ground.matrix.is_tall:
        yield [Sparing(ground.matrix.part_sums, i) for i in range(len(ground.parts))]
    return (yield from choose(search, ground.parts))


def _stages(ground: Ground, order: HeadOrder) -> Job[FittedHead]:
    plan = _planned(ground, order)
    choice = yield from _chosen(ground, order, plan)
    head, grid = plan.head, plan.grid
    chosen = choice.setting if choice is not None else {}
    setting = {**plan.fixed, **chosen}
    (end,) = yield [Portable(_end, ground, plan.refit, plan.make, choice, setting)]
    trouble = end.done.trouble
    settings = {**setting, "class_weight": order.class_weight}
    trained = TrainedHead(head.name, end.pipeline, settings, "probability", ground.n_classes)
    return FittedHead(
        **vars(trained),
        grid=grid,
        chosen=chosen,
        search_table=choice.table if choice is not None and grid else [],
        edges=choice.edges if choice is not None else [],
        temperature=end.temperature,
        converged=not trouble,
        seconds={"search": choice.seconds if choice else 0.0, "fit": end.seconds},
        warnings=[f"{head.name} did not converge: {trouble}."] if trouble else [],
        n_train=end.n_train,
        n_parameters=end.done.n_parameters,
        held_scores=end.held,
        fold=ground.fold if ground.validation is None else None,
    )


def _rows_of(ground: Ground, refit: bool) -> tuple[int, int]:
    """Give the rows of the smallest and of the largest set to be fitted."""
    n = len(ground.y)
    if ground.validation is not None:
        return n, n + (len(ground.validation[1]) if refit else 0)
    return n - int(np.bincount(ground.fold).max()), n


def _refuse_one_class(head: Head, ground: Ground) -> None:
    n_present = len(np.unique(ground.y))
    if n_present < 2:
        raise HeadError(
            f"{len(ground.y)} training rows of {n_present} of {ground.n_classes} classes: "
            f"{head.name} needs training rows of two classes or more."
        )


def _learner(
    head: Head,
    fixed: Mapping[str, Any],
    grid: Grid,
    order: HeadOrder,
    rows: Rows,
    reached: Sequence[Any] = (),
) -> Learner:
    problem = Problem(rows, fixed, grid, order.class_weight is not None, order.seed, reached)
    return learner_class(head)(problem) if len(rows.labels) > 1 else _OneClass(problem)


class _End(NamedTuple):
    """A head that is trained, and what was found out about it."""

    pipeline: Any
    done: Finished
    n_train: int
    temperature: float
    held: Floats  # probabilities of the held rows, (m, n_classes)
    seconds: float  # of a processor


def _end(
    ground: Ground,
    refit: bool,
    make: Callable[..., Learner],
    choice: Choice | None,
    setting: Mapping[str, Any],
) -> _End:
    """Fit on all rows, with probabilities that held rows say can be believed."""
    from sklearn.pipeline import Pipeline

    began = time.thread_time()
    if ground.validation is None or refit:
        assert choice is not None
        rows = ground.whole(refit=refit)
        learner, logits = make(rows, reached=choice.reached), choice.logits
        done = learner.finish(setting)
    else:
        part = ground.held_out
        learner = choice.learner if choice and choice.learner else make(part.made())
        done = learner.finish(setting)
        logits = part.spread(learner.logits(setting))
    y = ground.held_y
    temperature = fit_temperature(y, logits)
    done = learner.temper(done, temperature)
    rows = learner.problem.rows
    pipeline = Pipeline([("standardise", rows.scaler()), *done.steps])
    held = cross_tempered(y, logits, ground.parts_of_held, temperature)
    return _End(pipeline, done, rows.n, temperature, held, time.thread_time() - began)


def cross_tempered(y: Ints, logits: Floats, part: Ints, usual: float) -> Floats:
    """Give probabilities of held rows, each part's with the temperature of the others.

    A temperature that was fitted to the very rows would flatter them.
    """
    held = np.empty(logits.shape, dtype=np.float32)
    for one in np.unique(part):
        mine = part == one
        others = fit_temperature(y[~mine], logits[~mine]) if not mine.all() else usual
        held[mine] = tempered(logits[mine], others)
    return held


class _OneClass(Learner):
    """What a fold can say whose training rows have one class only."""

    def logits(self, setting: Mapping[str, Any]) -> Floats:
        return np.zeros((self.problem.rows.n_held, 1), dtype=np.float32)

    def finish(self, setting: Mapping[str, Any]) -> Finished:
        raise AssertionError("only folds can have one class, and a fold is never finished")
