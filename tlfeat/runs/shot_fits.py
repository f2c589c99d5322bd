"""Fit heads to draws of the train pictures, from features that are in the store.

All that a run decided is decided again on each draw: the best of its feature matrices, its
settings, its temperature, on the same validation pictures or on folds of the draw. The test
pictures only count what is right. The whole train is not fitted: that is the run itself.
"""

from collections.abc import Iterator, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Final, NamedTuple

import numpy as np

from tlfeat.cores import usable_cores
from tlfeat.data.dataset import Dataset
from tlfeat.errors import HeadError, TlfeatError
from tlfeat.features.matrix import Features
from tlfeat.runs.matrices import Choice, Matrices
from tlfeat.runs.orders import HeadJob, HeadPlan
from tlfeat.runs.record import finished_run
from tlfeat.runs.shots import (
    ALL,
    ShotFile,
    ShotFit,
    Size,
    class_counts,
    drawn_sizes,
    draws_of,
    read_sizes,
    turns,
)
from tlfeat.runs.train import fit_planned, import_fitting, score_rows
from tlfeat.where import Where

if TYPE_CHECKING:
    from tlfeat.heads.arrays import Ints
    from tlfeat.heads.fitting import FittedHead
    from tlfeat.heads.pool import Job
    from tlfeat.runs.record import Run

_LONG: Final = 30.0  # seconds, beyond which it is said how long it will take
_LEAST_SECONDS: Final = 0.03  # of a fit, however small


class _Draw(NamedTuple):
    """One draw of one size."""

    seed: int
    repeat: int
    shots: int
    pictures: int  # about


class _Rows:
    """The rows of train that a draw holds, of each matrix; drawn once for all heads on it."""

    def __init__(self, draw: _Draw) -> None:
        self.draw = draw
        self._found: dict[int, Ints] = {}  # by the matrix, which lives longer

    def __call__(self, features: Features) -> "Ints":
        if id(features) not in self._found:
            train, draw = features.rows("train"), self.draw
            digests = [features.digests[row] for row in train]
            y, groups = features.y[train], features.groups[train]
            turn = turns(y, groups, digests, draw.seed, draw.repeat)
            self._found[id(features)] = train[turn < draw.shots]
        return self._found[id(features)]


def check_shots(dataset: Dataset, plans: Sequence[HeadPlan]) -> None:
    """Refuse what no sizes can be compared on.

    Raises
    ------
    TlfeatError
        If there are neither test nor validation pictures, or a head learns the latter too.
    """
    if not any(sample.split in ("test", "validation") for sample in dataset.samples):
        raise TlfeatError(
            f"{dataset.name} has neither test nor validation pictures, so each size would be "
            "judged on pictures of its own: leave out shots, or give it a test split."
        )
    if any(plan.refit for plan in plans):
        raise TlfeatError(
            "shots are of train pictures, and with refit a head learns the validation pictures "
            "too: leave one of the two out."
        )


def measure_shots(
    dataset: Dataset, jobs: Sequence[HeadJob], sizes: Sequence[int | str], where: Where = Where()
) -> ShotFile:
    """Measure heads at several sizes of train; what was measured before is read.

    Broken off anywhere, the same call goes on where it stopped. Everything is done on this
    machine: a draw takes less than it would to be sent.

    Parameters
    ----------
    dataset : Dataset
    jobs : sequence of HeadJob
        Of one study, with finished runs.
    sizes : sequence of int or str
        Pictures a class, and "all", see `read_sizes`.
    where : Where

    Returns
    -------
    file : ShotFile
        Whose `curves` are those of the runs.

    Raises
    ------
    TlfeatError
        If a size cannot be read, or as `check_shots` says.
    """
    asked = read_sizes(sizes)
    check_shots(dataset, [job.plan for job in jobs])
    runs = [_finished(job, where) for job in jobs]
    before = _before(jobs[0].study, where)
    file = ShotFile(asked, {} if before is None else before.fits)
    todo = _todo(file, asked, jobs, runs)
    _note_whole(asked, runs, where)
    for job in jobs:
        file.fits.setdefault(job.id, [])
    if todo:
        _fit_all(dataset, file, todo, replace(where, cluster=None))
    if before is None or todo or before.sizes != asked:
        file.write(jobs[0].study)
    return file


def _note_whole(sizes: Sequence[Size], runs: "Sequence[Run]", where: Where) -> None:
    """Say which sizes no class has pictures for, as nothing is drawn of them."""
    most = max((int(class_counts(run).max()) for run in runs), default=0)
    if large := [str(size) for size in sizes if size != ALL and int(size) >= most]:
        where.watch.note(
            f"The largest class has {most:,} train pictures: {', '.join(large)} a class would be "
            "all, and is left out."
        )


def _finished(job: HeadJob, where: Where) -> "Run":
    run = finished_run(job.folder, where.watch)
    if run is None:
        raise TlfeatError(f"{job.name} is not finished: train it before shots are drawn for it.")
    return run


def _before(folder: Path, where: Where) -> ShotFile | None:
    try:
        return ShotFile.read(folder)
    except TlfeatError as error:
        where.watch.warn(f"{error} It is measured again now.")
        return None


class _Todo(NamedTuple):
    """A draw, and the heads that are to be fitted to it."""

    draw: _Draw
    jobs: list[HeadJob]
    seconds: float  # of a processor, about


def _todo(
    file: ShotFile, sizes: Sequence[Size], jobs: Sequence[HeadJob], runs: "Sequence[Run]"
) -> list[_Todo]:
    """List what is not measured, the draws of the smallest size first."""
    found: dict[_Draw, list[HeadJob]] = {}
    seconds: dict[_Draw, float] = {}
    for job, run in zip(jobs, runs, strict=True):
        there = {(fit.shots, fit.repeat) for fit in file.fits.get(run.id, ())}
        for draw in _draws(sizes, run, job.plan.seed):
            if (draw.shots, draw.repeat) in there:
                continue
            found.setdefault(draw, []).append(job)
            whole = (run.seconds.get("search") or 0.0) + (run.seconds.get("fit") or 0.0)
            share = draw.pictures / run.metrics["train"]["n"]
            seconds[draw] = seconds.get(draw, 0.0) + max(whole * share, _LEAST_SECONDS)
    order = sorted(found, key=lambda draw: (draw.shots, draw.seed, draw.repeat))
    return [_Todo(draw, found[draw], seconds[draw]) for draw in order]


def _draws(sizes: Sequence[Size], run: "Run", seed: int) -> Iterator[_Draw]:
    counts = class_counts(run)
    pictures = drawn_sizes(sizes, counts)
    for shots, repeat in draws_of(sizes, counts):
        yield _Draw(seed, repeat, shots, pictures[shots])


def _fit_all(dataset: Dataset, file: ShotFile, todo: Sequence[_Todo], where: Where) -> None:
    """Fit what is to be done, a draw at a time; each is written down when it is measured."""
    jobs = list({job.id: job for one in todo for job in one.jobs}.values())
    workers = where.jobs or usable_cores()
    seconds = sum(one.seconds for one in todo) / min(workers, len(jobs))
    fits = sum(len(one.jobs) for one in todo)
    if seconds > _LONG:
        where.watch.note(
            f"{fits:,} fits to parts of train: about {seconds:,.0f} s. Ctrl-C keeps what is done."
        )
    import_fitting(jobs)
    # every picture is in the store, or known to be broken: nothing is embedded
    matrices = Matrices(dataset, [job.candidates for job in jobs], where, retry_failed=False)
    judged = _Judged(matrices)
    where.watch.start("fitting parts of train", fits)
    try:
        for one in todo:
            for run, fit in _fit_draw(one, file, judged, workers, where).items():
                file.fits[run].append(fit)
            file.write(jobs[0].study)
    finally:
        where.watch.finish()


class _Judged:
    """The rows that heads are judged on, of each joined matrix once."""

    def __init__(self, matrices: Matrices) -> None:
        self.matrices = matrices
        self._rows: dict[tuple[str, ...], tuple[np.ndarray, Ints]] = {}

    def right(self, choice: Choice, fitted: "FittedHead") -> float:
        """Give the share that a head is right on."""
        if not len(choice.first.rows("test")):
            validation = choice.first.y[choice.first.rows("validation")]
            return float((fitted.held_scores.argmax(axis=1) == validation).mean())
        if fitted.parts not in self._rows:
            _, features = self.matrices.joined(choice, fitted.parts)
            rows = features.rows("test")
            self._rows[fitted.parts] = features.X[rows], features.y[rows]
        X, y = self._rows[fitted.parts]
        scores = score_rows(fitted, X, np.arange(len(y)))
        return float((scores.argmax(axis=1) == y).mean())


def _fit_draw(
    one: _Todo, file: ShotFile, judged: _Judged, workers: int, where: Where
) -> dict[str, ShotFit]:
    """Give the fit of each head to a draw, by the id of its run.

    Where groups are large, a draw may be that of a smaller size once more: it is not fitted again.
    """
    from tlfeat.heads.pool import run_jobs

    draw = one.draw
    part = judged.matrices.learning_from(_Rows(draw))
    fits: dict[str, ShotFit] = {}
    fitting: dict[str, Job[float]] = {}
    for job in one.jobs:
        choice = part.choice(job.candidates)
        n = len(part.train_rows(choice.first))
        fits[job.id] = ShotFit(draw.shots, draw.repeat, n, None)
        same = [f for f in file.fits[job.id] if (f.repeat, f.pictures) == (draw.repeat, n)]
        if same:
            fits[job.id] = same[0]._replace(shots=draw.shots)
        else:
            fitting[job.id] = _fit_one(job, part, choice, judged)
    where.watch.now(f"{draw.shots} a class")
    ended = run_jobs(list(fitting.values()), workers)
    for name, right in zip(fitting, ended, strict=True):
        if isinstance(right, HeadError):
            fits[name] = fits[name]._replace(refused=str(right))
        elif isinstance(right, Exception):
            raise right
        else:
            fits[name] = fits[name]._replace(accuracy=right)
    where.watch.step(len(fits))
    return fits


def _fit_one(job: HeadJob, part: Matrices, choice: Choice, judged: _Judged) -> "Job[float]":
    """Fit a head to a draw and count what is right, as a job of `run_jobs`."""
    fitted = yield from fit_planned(job.plan, part, choice)
    (right,) = yield [partial(judged.right, choice, fitted)]
    return float(right)
