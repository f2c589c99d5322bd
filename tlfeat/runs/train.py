"""Train heads on features: one run a head, and none that is finished already."""

import time
from collections.abc import Iterable, Mapping, Sequence
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from tlfeat.cores import usable_cores
from tlfeat.data.check import commonest
from tlfeat.data.dataset import Dataset, open_dataset
from tlfeat.data.digests import DigestIndex
from tlfeat.data.names import counted
from tlfeat.errors import HeadError
from tlfeat.features.extract import embed, seconds_an_image
from tlfeat.features.matrix import Features, load_features
from tlfeat.features.recipe import request_features
from tlfeat.features.store import FeatureStore
from tlfeat.files import make_folder
from tlfeat.heads.learner import learner_class
from tlfeat.heads.table import get_head
from tlfeat.heads.threads import one_numeric_thread
from tlfeat.places import cache_folder, reports_folder
from tlfeat.runs.metrics import evaluate
from tlfeat.runs.orders import HeadJob, HeadOrder, HeadPlan, matrix_key, method_of, weights_name
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
from tlfeat.runs.study import comparable_runs, study_folder, write_study
from tlfeat.watch import SILENT, Watch

if TYPE_CHECKING:
    from tlfeat.heads.fit import FittedHead


class Trained(NamedTuple):
    """What `train_heads` gives."""

    runs: list[Run]  # in the order asked for, those refused left out
    refused: dict[str, str]  # name of a run to the reason
    fresh: int  # runs that were not finished before


def train(
    dataset: Dataset | str | Path,
    backbone: str = "efficientnet-lite0",
    head: str = "logistic",
    *,
    features: str = "last:avg",
    weights: str | Path = "imagenet",
    size: int | None = None,
    precision: str = "float32",
    dtype: str = "float32",
    params: Mapping[str, Any] | None = None,
    search: bool = True,
    class_weight: str | None = None,
    refit: bool = False,
    seed: int = 0,
    engine: str = "auto",
    cache: str | Path | None = None,
    reports: str | Path | None = None,
    name: str | None = None,
    jobs: int | None = None,
    watch: Watch = SILENT,
) -> Run:
    """Train one head on frozen features and keep the run.

    Parameters
    ----------
    dataset : Dataset, str or Path
        What `open_dataset` gives, or takes.
    backbone, features, weights, size, precision, dtype, engine, cache
        As in `extract`.
    head : str
        A name of `list_heads`.
    params : mapping, optional
        Settings of the head that are given, not searched.
    search : bool
        Choose the other settings on validation; the head's defaults if False.
    class_weight : {None, "balanced"}
        "balanced" gives every class the same total weight.
    refit : bool
        After the choice, train on train and validation together.
    seed : int
        Of folds, of heads that draw numbers, and of random weights.
    reports : str or Path, optional
        Folder of all studies; $TLFEAT_REPORTS or ./reports if None.
    name : str, optional
        Of the study; the dataset's if None.
    jobs : int, optional
        Threads; one a core if None.
    watch : Watch
        Hears of the progress.

    Returns
    -------
    run : Run
        The finished run; if the same one was finished before, that one.

    Raises
    ------
    TlfeatError
        If the dataset, backbone, weights, features, head or a setting cannot be used.
    """
    plan = HeadPlan(head, params or {}, search, class_weight, refit, seed).checked()
    store = FeatureStore(cache_folder(cache))
    request = request_features(
        backbone,
        features,
        weights=weights,
        size=size,
        precision=precision,
        dtype=dtype,
        seed=seed,
        cache=store.root,
    )
    table = (
        dataset
        if isinstance(dataset, Dataset)
        else open_dataset(dataset, digests=DigestIndex(store.root))
    )
    folder = study_folder(reports_folder(reports), table, name)
    done = train_heads(
        table, [HeadOrder(request, plan)], store, folder, engine=engine, jobs=jobs, watch=watch
    )
    for reason in done.refused.values():
        raise HeadError(reason)
    from tlfeat.report.page import refresh_report  # reports are made of runs, not runs of reports

    refresh_report(folder, table, cache=store.root, watch=watch)
    return done.runs[0]


def train_heads(
    dataset: Dataset,
    orders: Sequence[HeadOrder],
    store: FeatureStore,
    folder: Path,
    *,
    engine: str = "auto",
    jobs: int | None = None,
    retry_failed: bool = False,
    study_file: bool = True,
    watch: Watch = SILENT,
) -> Trained:
    """Train heads on feature matrices, several at once; keep the runs in a study.

    Parameters
    ----------
    dataset : Dataset
    orders : sequence of HeadOrder
        A run that is finished is not done again, whatever its name was.
    store : FeatureStore
    folder : Path
        The study's folder, from `study_folder`.
    engine : {"auto", "openvino", "tensorflow"}
    jobs : int, optional
        Heads at a time, and threads that decode; one a core if None.
    retry_failed : bool
        Try pictures again that could not be decoded before.
    study_file : bool
        Write study.toml: before anything is trained, so that a study that is stopped knows what
        it lacks, and after it.
    watch : Watch
        Hears of the progress.

    Returns
    -------
    trained : Trained
        A head that its data do not allow is refused; the others are trained.
    """
    from joblib import Parallel, delayed

    _check_classes(dataset)
    wanted = [HeadJob(dataset, order, folder) for order in orders]
    todo = [job for job in wanted if finished_run(job.folder, watch) is None]
    refused: dict[str, str] = {}
    if study_file and todo:
        asked = [job.resolved() for job in todo]
        write_study(folder, dataset, comparable_runs(folder, dataset), asked)
    if todo:
        needed = list({job.features: job.request for job in todo}.values())
        done = embed(
            dataset,
            needed,
            store,
            engine=engine,
            jobs=jobs,
            retry_failed=retry_failed,
            watch=watch,
        )
        matrices = {
            matrix_key(request): load_features(dataset, request, store, done.failures)
            for request in needed
        }
        for features in matrices.values():
            _check_left(dataset, features)
        costs = {
            key: seconds_an_image(store, request, matrices[key].digests)
            for request in needed
            for key in [matrix_key(request)]
        }
        threads = jobs or usable_cores()
        at_once = min(threads, len(todo))
        watch.start("training", len(todo))
        try:
            parallel = Parallel(n_jobs=at_once, prefer="threads", return_as="generator_unordered")
            tasks = (
                delayed(_train_one)(
                    job,
                    matrices[job.features],
                    costs[job.features],
                    threads // at_once,
                )
                for job in todo
            )
            _import_all(job.plan.head for job in todo)
            with one_numeric_thread():
                for name, reason in parallel(tasks):
                    if reason:
                        refused[name] = reason
                    watch.step()
        finally:
            watch.finish()
    runs = [load_run(job.folder) for job in wanted if job.name not in refused]
    if study_file:
        asked = [job.resolved() for job in wanted if job.name in refused]
        write_study(folder, dataset, comparable_runs(folder, dataset), asked)
    return Trained(runs, refused, len(todo) - len(refused))


def _check_classes(dataset: Dataset) -> None:
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


def _train_one(
    job: HeadJob, features: Features, image_seconds: float | None, threads: int
) -> tuple[str, str]:
    """Train, measure and write one run; give its name and why it was refused, or ""."""
    with one_numeric_thread():
        return _train(job, features, image_seconds, threads)


def _train(
    job: HeadJob, features: Features, image_seconds: float | None, threads: int
) -> tuple[str, str]:
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
    dataset, request, plan = job.dataset, job.request, job.plan
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
        dataset,
        features.skipped,
        metrics,
        id=job.id,
        name=job.name,
        kind="head",
        backbone=request.backbone.name,
        features=request.spec,
        weights=weights_name(request),
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
        stand_in=request.stand_in,
        warnings=warnings,
    )
