"""Train heads on features: one run a head, and none that is finished already."""

import time
from collections.abc import Iterable, Mapping, Sequence
from importlib import import_module
from typing import TYPE_CHECKING, Any, NamedTuple

from tlfeat.cores import usable_cores
from tlfeat.data.check import commonest
from tlfeat.data.dataset import Dataset
from tlfeat.data.names import counted
from tlfeat.errors import HeadError
from tlfeat.features.extract import embed, seconds_an_image
from tlfeat.features.matrix import Features, load_features
from tlfeat.features.settings import FeatureRequest
from tlfeat.features.store import FeatureStore
from tlfeat.files import make_folder
from tlfeat.heads.learner import learner_class
from tlfeat.heads.table import get_head
from tlfeat.heads.threads import one_numeric_thread
from tlfeat.runs.metrics import evaluate
from tlfeat.runs.orders import HeadJob, method_of
from tlfeat.runs.record import (
    HEAD,
    PREDICTIONS,
    Run,
    common_record,
    finished_run,
    load_run,
    write_predictions,
    write_record,
)
from tlfeat.where import Where

if TYPE_CHECKING:
    from tlfeat.heads.fit import FittedHead


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
) -> Trained:
    """Train heads on feature matrices, several at once; a run that is finished stays as it is.

    Parameters
    ----------
    dataset : Dataset
    jobs : sequence of HeadJob
    where : Where
    retry_failed : bool
        Try pictures again that could not be decoded before.

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
    refused = _train_all(dataset, todo, where, retry_failed) if todo else {}
    runs = [load_run(job.folder) for job in jobs if job.name not in refused]
    return Trained(runs, refused, len(todo) - len(refused))


def _train_all(
    dataset: Dataset, todo: Sequence[HeadJob], where: Where, retry_failed: bool
) -> dict[str, str]:
    """Embed what is missing, then train; give the names of runs that are refused, and why."""
    from joblib import Parallel, delayed

    matrices = _matrices(dataset, [job.request for job in todo], where, retry_failed)
    threads = where.jobs or usable_cores()
    at_once = min(threads, len(todo))
    tasks = (
        delayed(_train_one)(job, *matrices[job.request.key], threads // at_once) for job in todo
    )
    refused: dict[str, str] = {}
    where.watch.start("training", len(todo))
    try:
        parallel = Parallel(n_jobs=at_once, prefer="threads", return_as="generator_unordered")
        _import_all(job.plan.head for job in todo)
        with one_numeric_thread():
            for name, reason in parallel(tasks):
                if reason:
                    refused[name] = reason
                where.watch.step()
    finally:
        where.watch.finish()
    return refused


def _matrices(
    dataset: Dataset, requests: Iterable[FeatureRequest], where: Where, retry_failed: bool
) -> dict[tuple[str, ...], tuple[Features, float | None]]:
    """Give each feature matrix with the seconds that embedding one of its pictures took."""
    by_key = {request.key: request for request in requests}
    done = embed(dataset, list(by_key.values()), where, retry_failed=retry_failed)
    store = FeatureStore(where.cache_folder)
    matrices = {}
    for key, request in by_key.items():
        features = load_features(dataset, request, store, done.failures)
        _check_left(dataset, features)
        matrices[key] = features, seconds_an_image(store, request, features.digests)
    return matrices


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


def _check_left(dataset: Dataset, features: Features) -> None:
    """Refuse once, not head by head, what is left of too few classes."""
    rows = features.rows("train")
    there = len(set(features.y[rows].tolist()))
    if there < 2 and features.skipped:
        why = commonest([one.reason for one in features.skipped])
        raise HeadError(
            f"{dataset.path}: {there} of {len(features.classes)} classes has a train picture that "
            f"can be used, and a head needs two. {counted(len(features.skipped), 'picture')} left "
            f"out{why}."
        )


def _import_all(heads: Iterable[str]) -> None:
    """Import what training heads needs, before several threads would do it at once."""
    for name in ("pyarrow.parquet", "skops.io", "sklearn.metrics"):
        import_module(name)
    for head in heads:
        learner_class(get_head(head))


@one_numeric_thread()
def _train_one(
    job: HeadJob, features: Features, image_seconds: float | None, threads: int
) -> tuple[str, str]:
    """Train, measure and write one run; give its name and why it was refused, or ""."""
    from tlfeat.heads.fit import fit_head
    from tlfeat.heads.persist import save_head

    plan = job.plan
    train, test = features.rows("train"), features.rows("test")
    validation = features.rows("validation")
    X, y = features.X, features.y
    try:
        fitted = fit_head(
            plan.head,
            X[train],
            y[train],
            n_classes=len(features.classes),
            groups=features.groups[train],
            validation=(X[validation], y[validation]) if len(validation) else None,
            refit_on_validation=plan.refit,
            params=plan.params,
            search=plan.search,
            class_weight=plan.class_weight,
            seed=plan.seed,
            jobs=threads,
        )
    except HeadError as error:
        return job.name, str(error)

    scores = {"train": fitted.scores(X[train])}
    began = time.thread_time()
    if len(test):
        scores["test"] = fitted.scores(X[test])
    predict_seconds = time.thread_time() - began
    rows = {"train": train, "test": test, "validation": validation}
    folds: dict[str, Sequence[int | None]] = {}
    if fitted.validation_scores is not None:
        scores["validation"] = fitted.validation_scores
    elif fitted.out_of_fold_scores is not None and fitted.fold is not None:
        scores["validation"] = fitted.out_of_fold_scores
        rows["validation"] = train
        folds["validation"] = [int(fold) for fold in fitted.fold]
    metrics: dict[str, Any] = {
        split: evaluate(y[rows[split]], scores[split], features.classes, fitted.score_kind)
        for split in ("train", "validation", "test")
        if split in scores
    }
    make_folder(job.folder)
    save_head(fitted, job.folder / HEAD, classes=features.classes)
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
    record = _record(job, features, fitted, metrics, image_seconds, predict_seconds)
    write_record(job.folder, record)
    return job.name, ""


def _record(
    job: HeadJob,
    features: Features,
    fitted: "FittedHead",
    metrics: Mapping[str, Any],
    image_seconds: float | None,
    predict_seconds: float,
) -> dict[str, Any]:
    request, plan = job.request, job.plan
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
        head={
            "name": plan.head,
            **method_of(plan.head),
            "params": dict(plan.params),
            "search": plan.search,
            "class_weight": plan.class_weight,
            "refit": plan.refit,
            "grid": fitted.grid,
            "chosen": fitted.chosen,
            "tried": fitted.search_table,
            "converged": fitted.converged,
            "score_kind": fitted.score_kind,
            "temperature": fitted.temperature,
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
