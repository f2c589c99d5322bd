"""Train heads on features: one run a head, and none that is finished already."""

import time
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from importlib import import_module
from typing import TYPE_CHECKING, Any, Final, NamedTuple

import numpy as np

from tlfeat.cluster.calls import Caller
from tlfeat.cluster.join import Cluster, clustered
from tlfeat.cores import usable_cores
from tlfeat.data.dataset import Dataset
from tlfeat.errors import HeadError
from tlfeat.features.candidates import Candidates
from tlfeat.features.matrix import Features
from tlfeat.features.settings import FeatureRequest
from tlfeat.files import make_folder
from tlfeat.heads.learner import import_types
from tlfeat.heads.metric import usual_metric
from tlfeat.heads.table import SCREEN, get_head
from tlfeat.runs.matrices import Choice, Matrices
from tlfeat.runs.metrics import evaluate
from tlfeat.runs.orders import AUTO_METHODS, HeadJob, HeadPlan
from tlfeat.runs.record import HEAD, NOVELTY, PREDICTIONS, Run, finished_run, load_run
from tlfeat.runs.writing import common_record, write_predictions, write_record
from tlfeat.where import Where

if TYPE_CHECKING:
    from tlfeat.heads.fitting import FittedHead
    from tlfeat.heads.pool import Job


PARTS: Final = ("features", "heads")  # of the work, as a watch hears of them
_BLOCK: Final = 8192  # rows scored at a time


class Trained(NamedTuple):
    """What `train_heads` gives."""

    runs: list[Run]  # in the order asked for, those refused left out
    refused: dict[str, str]  # name of a run to the reason
    fresh: int  # runs that were not finished before


def train_heads(
    dataset: Dataset,
    jobs: Sequence[HeadJob],
    where: Where = Where(),
    *,
    retry_failed: bool = False,
    meanwhile: Callable[[], object] | None = None,
) -> Trained:
    """Train heads on feature matrices, several at once; a run that is finished stays as it is.

    Parameters
    ----------
    dataset : Dataset
    jobs : sequence of HeadJob
    where : Where
    retry_failed : bool
        Try pictures again that could not be decoded before.
    meanwhile : callable, optional
        Done while pictures are embedded, where any are.

    Returns
    -------
    trained : Trained
        A head that its data do not allow is refused; the others are trained.

    Raises
    ------
    HeadError
        If no head at all can be trained on the dataset.
    """
    check_classes(dataset)
    todo = [job for job in jobs if finished_run(job.folder, where.watch) is None]
    with clustered(where):  # one for embedding and for heads
        refused = _train_all(dataset, todo, where, retry_failed, meanwhile) if todo else {}
    runs = [load_run(job.folder) for job in jobs if job.name not in refused]
    return Trained(runs, refused, len(todo) - len(refused))


def _train_all(
    dataset: Dataset,
    todo: Sequence[HeadJob],
    where: Where,
    retry_failed: bool,
    meanwhile: Callable[[], object] | None,
) -> dict[str, str]:
    """Embed what is missing, then train; give the names of runs that are refused, and why."""
    from tlfeat.heads.pool import run_jobs

    features, training = PARTS

    def ahead() -> None:  # a second or two of it
        import_fitting(todo)
        if meanwhile is not None:
            meanwhile()

    where.watch.part(features)
    matrices = Matrices(
        dataset,
        [job.candidates for job in todo],
        where,
        retry_failed=retry_failed,
        meanwhile=ahead,
    )
    import_fitting(todo)
    trainings = [_train_one(job, matrices, matrices.choice(job.candidates)) for job in todo]
    said = [f"{job.plan.head} on {job.candidates.settings.features}" for job in todo]
    with clustered(where) as cluster:
        workers = cluster.cpus if cluster else where.jobs or usable_cores()
        call = _caller(cluster) if cluster else None
        where.watch.part(training)
        where.watch.start("training", len(todo))
        try:
            ended = run_jobs(
                trainings,
                workers,
                doing=lambda number: where.watch.now(said[number]),
                ended=lambda number: where.watch.step(),
                elsewhere=partial(_elsewhere, call) if call else None,
            )
        except BaseException:
            if call:
                call.cancel()
            raise
        finally:
            where.watch.finish()
    refused: dict[str, str] = {}
    for number, error in enumerate(ended):
        if isinstance(error, HeadError):
            refused[todo[number].name] = str(error)
        elif isinstance(error, Exception):
            raise error
    return refused


def _caller(cluster: Cluster) -> Caller:
    """Give what calls workers; each matrix is sent to the cluster once."""
    from tlfeat.heads.ground import Ground

    return Caller(cluster, Ground)


def _elsewhere(call: Caller, task: Callable[[], Any]) -> Any:
    """Do a head's task on a worker."""
    from tlfeat.heads.pool import alone

    return call(partial(alone, task))


def check_classes(dataset: Dataset) -> None:
    """Refuse a dataset that no head at all can be trained on."""
    labels = {sample.label for sample in dataset.samples}
    if labels <= {None}:
        raise HeadError(
            f"{dataset.path} has no labels, so no head can be trained on it: put the pictures "
            "of each class into a folder of its own."
        )
    if len(dataset.classes) < 2:
        raise HeadError(
            f"{dataset.path} has one class only, {dataset.classes[0]!r}: a head needs two or more."
        )


def import_fitting(todo: Sequence[HeadJob]) -> None:
    """Import what training heads needs, before several threads would do it at once."""
    for name in ("pyarrow.parquet", "skops.io", "sklearn.metrics"):
        import_module(name)
    chosen = any(len(job.candidates.requests) > 1 for job in todo)
    for head in [job.plan.head for job in todo] + ([SCREEN] if chosen else []):
        import_types(get_head(head))


def _train_one(job: HeadJob, matrices: Matrices, choice: Choice) -> "Job[None]":
    """Train, measure and write one run, as a job of `run_jobs`.

    Raises
    ------
    HeadError
        If its data do not allow the head.
    """
    fitted = yield from fit_planned(job.plan, matrices, choice)
    yield [partial(_write, job, matrices, choice, fitted)]


def fit_planned(plan: HeadPlan, matrices: Matrices, choice: Choice) -> "Job[FittedHead]":
    """Search and fit a head as it was asked for, as a job of `run_jobs`.

    Raises
    ------
    HeadError
        If its data do not allow the head.
    """
    from tlfeat.heads.fit import fit_any
    from tlfeat.heads.fitting import HeadOrder

    order = HeadOrder(
        plan.head,
        plan.params,
        plan.search,
        plan.class_weight,
        plan.refit,
        plan.seed,
        metric=plan.metric or usual_metric(plan.class_weight),
    )
    return (yield from fit_any(matrices.grounds(choice, plan.seed), order))


def _write(job: HeadJob, matrices: Matrices, choice: Choice, fitted: "FittedHead") -> None:
    """Measure a head on all splits and write its run."""
    from tlfeat.heads.novelty import save_novelty
    from tlfeat.heads.persist import save_head

    request, features = matrices.joined(choice, fitted.parts)
    X, y = features.X, features.y
    rows = {split: features.rows(split) for split in ("train", "validation", "test")}
    scores = {"train": score_rows(fitted, X, rows["train"])}
    began = time.thread_time()
    if len(rows["test"]):
        scores["test"] = score_rows(fitted, X, rows["test"])
    predict_seconds = time.thread_time() - began
    folds: dict[str, Sequence[int | None]] = {}
    scores["validation"] = fitted.held_scores
    if fitted.fold is not None:
        rows["validation"] = rows["train"]
        folds["validation"] = [int(fold) for fold in fitted.fold]
    metrics: dict[str, Any] = {
        split: evaluate(y[rows[split]], scores[split], features.classes, fitted.score_kind)
        for split in ("train", "validation", "test")
        if split in scores
    }
    make_folder(job.folder)
    save_head(fitted, job.folder / HEAD, classes=features.classes)
    novelty = matrices.novelty(request, features, fitted.fold, job.plan.seed)
    if novelty is not None:
        save_novelty(novelty, job.folder / NOVELTY)
    write_predictions(
        job.folder / PREDICTIONS,
        [
            {
                "id": [features.ids[row] for row in rows[split]],
                "digest": [features.digests[row] for row in rows[split]],
                "split": [split] * len(rows[split]),
                "fold": folds.get(split, [None] * len(rows[split])),
                "group": [features.group_names[row] for row in rows[split]],
                "true": y[rows[split]],
                "scores": scores[split],
            }
            for split in metrics
        ],
    )
    image_seconds = matrices.seconds_an_image(request)
    record = _record(job, request, features, fitted, metrics, image_seconds, predict_seconds)
    write_record(job.folder, record)


def score_rows(fitted: "FittedHead", X: np.ndarray, rows: np.ndarray) -> np.ndarray:
    """Score some rows of a matrix, which is never copied as a whole."""
    blocks = [rows[start : start + _BLOCK] for start in range(0, len(rows), _BLOCK)]
    return np.concatenate([fitted.scores(X[block]) for block in blocks])


def _record(
    job: HeadJob,
    request: FeatureRequest,
    features: Features,
    fitted: "FittedHead",
    metrics: Mapping[str, Any],
    image_seconds: float | None,
    predict_seconds: float,
) -> dict[str, Any]:
    plan = job.plan
    n_test = metrics["test"]["n"] if "test" in metrics else 0
    ms_per_image = None
    if image_seconds is not None and n_test:
        ms_per_image = 1000 * (image_seconds + predict_seconds / n_test)
    pictures = len(set(features.digests))
    extract_seconds = None if image_seconds is None else image_seconds * pictures
    warnings = list(fitted.warnings)
    if request.weights.warning:
        warnings.append(request.weights.warning)
    return common_record(
        job.dataset,
        features.skipped,
        metrics,
        id=job.id,
        name=job.name,
        kind="head",
        backbone=request.settings.backbone,
        features=request.settings.features,
        weights=request.settings.weights,
        weights_digest=request.weights.digest,
        pictures=request.recipes[0].pictures.as_dict(),
        recipes=[recipe.as_dict() for recipe in request.recipes],
        auto=_auto(job.candidates, fitted),
        head={
            "name": plan.head,
            **plan.methods,
            "params": dict(plan.params),
            "search": plan.search,
            "class_weight": plan.class_weight,
            "refit": plan.refit,
            "metric": plan.metric,
            "grid": fitted.grid,
            "chosen": fitted.chosen,
            "tried": fitted.search_table,
            "converged": fitted.converged,
            "score_kind": fitted.score_kind,
            "temperature": fitted.temperature,
            "edges": fitted.edges,
        },
        parent=None,
        seed=plan.seed,
        n_train=fitted.n_train,
        parameters={
            "total": request.backbone.parameters + fitted.n_parameters,
            "trainable": fitted.n_parameters,
        },
        seconds={"extract": extract_seconds, **fitted.seconds, "predict": predict_seconds},
        ms_per_image=ms_per_image,
        stand_in=job.stand_in or request.stand_in,
        warnings=warnings,
    )


def _auto(candidates: Candidates, fitted: "FittedHead") -> dict[str, Any] | None:
    """Give what a head chose its features from; None where they were named."""
    if not candidates.settings.is_auto:
        return None
    return {
        **AUTO_METHODS,
        "candidates": list(fitted.candidates),
        "left_out": dict(candidates.left_out),
    }
