"""Run a study: what is not finished, in order of what starts from what; its tables, its page."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tlfeat.backbones.table import get_backbone
from tlfeat.backbones.weights import resolve_weights
from tlfeat.data.dataset import Dataset, open_dataset
from tlfeat.data.decode import Resize
from tlfeat.data.digests import DigestIndex
from tlfeat.errors import DataError, TlfeatError, WeightsError
from tlfeat.features.recipe import FeatureRequest, request_features
from tlfeat.features.store import FeatureStore
from tlfeat.files import write_text
from tlfeat.places import cache_folder, reports_folder
from tlfeat.report.page import write_report
from tlfeat.runs.orders import HeadOrder
from tlfeat.runs.record import Run, find_runs, write_record
from tlfeat.runs.results import write_results
from tlfeat.runs.study import STUDY_FILE, study_folder
from tlfeat.runs.train import train_heads
from tlfeat.studies.plan import Study
from tlfeat.studies.planned import PlannedRun
from tlfeat.studies.resolved import resolved_study
from tlfeat.studies.standins import data_stand_in, run_stand_in
from tlfeat.studies.tables import write_tables
from tlfeat.studies.weights import classifier_weights
from tlfeat.watch import SILENT, Watch

Progress = Callable[[int, int], None]


@dataclass(frozen=True)
class StudyResult:
    """What `run_study` gives.

    Attributes
    ----------
    folder : Path
        The study's folder.
    runs : list of Run
        Those that are finished, in the order of the file.
    refused : dict of str to str
        Name of a run that could not be trained or is left out, and why.
    fresh : int
        Runs that were not finished before.
    page : Path
        The study's tables and figures in one Markdown file.
    paragraph : str
        What won, by how much, at what cost.
    stand_ins : list of str
        What stands in for what.
    """

    folder: Path
    runs: list[Run]
    refused: dict[str, str]
    fresh: int
    page: Path
    paragraph: str
    stand_ins: list[str]


def open_data(
    study: Study,
    *,
    cache: str | Path | None = None,
    rehash: bool = False,
    jobs: int | None = None,
    progress: Progress | None = None,
) -> Dataset:
    """Open the dataset of a study and check that it is what the file asks for.

    Raises
    ------
    DataError
        If it is not there, of another layout, or of other pictures than the file says.
    """
    data = study.data
    path = str(data["path"])
    if study.folder is not None and not Path(path).expanduser().exists():
        beside = study.folder / path
        path = str(beside) if beside.exists() else path
    try:
        dataset = open_dataset(
            Path(path).expanduser() if Path(path).expanduser().exists() else path,
            splits=data.get("splits"),
            columns=data.get("columns"),
            split_seed=data.get("split_seed", 0),
            limit=data.get("limit"),
            digests=DigestIndex(cache_folder(cache)),
            rehash=rehash,
            jobs=jobs,
            progress=progress,
        )
    except DataError as error:
        raise DataError(
            f"{study.file}: [data] path = {path!r}: {error} Say where the pictures are, or name a "
            "stand-in, by --data PATH."
        ) from None
    layout = data.get("layout")
    if layout is not None and dataset.kind != layout:
        raise DataError(
            f"{study.file}: [data] layout = {layout!r}, and {path} is {dataset.kind!r}: "
            f"--set data.layout={dataset.kind} if that is meant."
        )
    wanted = data.get("fingerprint")
    if wanted is not None and dataset.fingerprint != wanted:
        raise DataError(
            f"{study.file}: {path} has not the pictures, labels and splits that the file says "
            f"(fingerprint {dataset.fingerprint[:12]}..., wanted {wanted[:12]}...): take the line "
            "fingerprint out to run on these."
        )
    return dataset


def check_weights(study: Study) -> None:
    """See that all weights are here or can be downloaded, before anything is computed.

    Raises
    ------
    WeightsError
        Naming the file that is missing, and how to name a stand-in.
    """
    looked_at = set()
    for run in study.runs:
        key = (run.backbone, run.weights, _has_imagenet_top(run))
        if run.start is not None or run.is_scratch or key in looked_at:
            continue
        looked_at.add(key)
        try:
            _weights(run, study.folder)
        except WeightsError as error:
            raise WeightsError(
                f"{study.file}: run {run.name!r}: {error} To run the study with a stand-in: "
                f"--set {run.backbone_key}=efficientnet-lite0"
            ) from None


@dataclass(frozen=True)
class _Where:
    """Where a study is run and how; nothing in it changes a number."""

    cache: str | Path | None
    reports: str | Path | None
    name: str
    jobs: int | None
    engine: str
    watch: Watch


def run_study(
    study: Study,
    dataset: Dataset | None = None,
    *,
    cache: str | Path | None = None,
    reports: str | Path | None = None,
    name: str | None = None,
    jobs: int | None = None,
    engine: str = "auto",
    retry_failed: bool = False,
    watch: Watch = SILENT,
) -> StudyResult:
    """Run what is not finished of a study, and write its tables and figures.

    Stopped anywhere, the same call goes on where it stopped.

    Parameters
    ----------
    study : Study
        From `read_study`.
    dataset : Dataset, optional
        From `open_data`; opened here if None.
    cache, reports, jobs, engine, retry_failed, watch
        As in `train`.
    name : str, optional
        Of the study's folder; the study's name if None.

    Returns
    -------
    result : StudyResult

    Raises
    ------
    TlfeatError
        If weights or the dataset cannot be had, or no run could be trained.
    """
    check_weights(study)
    table = dataset or open_data(study, cache=cache, jobs=jobs)
    store = FeatureStore(cache_folder(cache))
    requests = {
        run.name: _request(run, store, study.folder) for run in study.runs if run.head is not None
    }
    where = _Where(cache, reports, name or study.name, jobs, engine, watch)
    folder = study_folder(reports_folder(reports), table, where.name)
    before = {run.id for run in find_runs(folder)}
    resolved = resolved_study(study, table, folder.name)
    write_text(folder / STUDY_FILE, resolved)
    data_text = data_stand_in(study, table)
    refused: dict[str, str] = dict(study.left_out)
    done: dict[str, Run] = {}

    def keep(planned: PlannedRun, run: Run) -> None:
        stand_in = run_stand_in(planned, data_text)
        record = run.record
        if (record["name"], record["stand_in"]) != (planned.name, stand_in):
            run = write_record(run.path, {**record, "name": planned.name, "stand_in": stand_in})
        done[planned.name] = run
        write_text(folder / STUDY_FILE, resolved)  # a fine-tune writes its own list of runs there

    heads = [run for run in study.runs if run.head is not None]
    if heads:
        trained = train_heads(
            table,
            [HeadOrder(requests[run.name], run.head, run.name) for run in heads if run.head],
            store,
            folder,
            engine=engine,
            jobs=jobs,
            retry_failed=retry_failed,
            study_file=False,
            watch=watch,
        )
        refused |= trained.refused
        kept = [run for run in heads if run.name not in trained.refused]
        for planned, run in zip(kept, trained.runs, strict=True):
            keep(planned, run)
    for planned in study.order:
        if planned.head is not None:
            continue
        if planned.parent is not None and planned.parent not in done:
            refused[planned.name] = f"{planned.parent}, which it starts from, is not finished."
            continue
        watch.note(f"{planned.name} ({len(done) + len(refused) + 1} of {len(study.runs)})")
        try:
            keep(planned, _finetune(study, planned, table, done, where))
        except TlfeatError as error:
            refused[planned.name] = str(error)
    runs = [done[run.name] for run in study.runs if run.name in done]
    if not runs:
        raise TlfeatError(" ".join(dict.fromkeys(refused.values())))
    write_results(folder, runs)
    written = write_tables(folder, study, runs)
    write_report(folder, runs, dataset=table, cache=store.root, refused=refused, watch=watch)
    return StudyResult(
        folder,
        runs,
        refused,
        sum(run.id not in before for run in runs),
        written.page,
        written.paragraph,
        written.stand_ins,
    )


def _finetune(
    study: Study,
    planned: PlannedRun,
    dataset: Dataset,
    done: Mapping[str, Run],
    where: _Where,
) -> Run:
    from tlfeat.finetuning.train import finetune

    start = None
    if planned.parent is not None:
        at = f"@{planned.epoch}" if planned.epoch is not None else ""
        start = f"{done[planned.parent].path}{at}"
    return finetune(
        dataset,
        planned.backbone if start is None else None,
        planned.phases,
        weights=_weights(planned, study.folder) if start is None else None,
        start=start,
        size=planned.size,
        resize=Resize(rule=planned.resize) if planned.resize else None,
        top=planned.top,
        augment=planned.augment,
        loss=planned.loss,
        batch=planned.batch,
        precision=planned.precision,
        seed=planned.seed,
        cut_dtype=None if planned.cut_dtype == "none" else planned.cut_dtype,
        resume=True,
        keep=planned.keep,
        engine=where.engine,
        cache=where.cache,
        reports=where.reports,
        name=where.name,
        run_name=planned.name,
        redraw=False,
        jobs=where.jobs,
        watch=where.watch,
    )


def _weights(run: PlannedRun, folder: Path | None) -> str | Path:
    """Give what `finetune` takes as weights, seeing that it can be had."""
    if run.is_scratch:
        return "random"
    row = get_backbone(run.backbone)
    if run.weights == "imagenet" and _has_imagenet_top(run):
        return classifier_weights(row)
    given: str | Path = run.weights
    if given not in ("imagenet", "random"):
        given = Path(run.weights).expanduser()
        if folder is not None and not given.exists() and (folder / given).exists():
            given = folder / given
    resolve_weights(row, given, seed=run.seed)
    return given


def _has_imagenet_top(run: PlannedRun) -> bool:
    return run.top is not None and run.top.kind == "imagenet"


def _request(run: PlannedRun, store: FeatureStore, folder: Path | None) -> FeatureRequest:
    assert run.precision is not None  # only runs that start from others are without, at first
    return request_features(
        run.backbone,
        run.features,
        weights=_weights(run, folder),
        size=run.size,
        resize=Resize(rule=run.resize) if run.resize else None,
        precision=run.precision,
        dtype=run.dtype,
        seed=run.seed,
        cache=store.root,
    )


def as_json(result: StudyResult) -> dict[str, Any]:
    """Give a result as plain values, for scripts."""
    return {
        "folder": str(result.folder),
        "page": str(result.page),
        "words": result.paragraph,
        "stand_ins": result.stand_ins,
        "runs": [{"path": str(run.path), **run.record} for run in result.runs],
        "refused": result.refused,
    }
