"""The one way in which runs come to be: a plan, its study.toml, then run after run.

`compare`, `train`, `finetune` and `run_study` all end here. study.toml is written before the
first run, with all that will be in it, and a run.json when its run is finished, with the name
and the stand-in that it keeps.
"""

from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from tlfeat.audit.groups import keep_groups
from tlfeat.backbones.precision import INT8
from tlfeat.cluster.join import clustered
from tlfeat.data.dataset import Dataset
from tlfeat.data.groups import AUTO_GROUPS, groups_file
from tlfeat.errors import TlfeatError
from tlfeat.features.calibrate import calibrated
from tlfeat.features.candidates import Candidates
from tlfeat.features.settings import FeatureSettings
from tlfeat.files import write_text
from tlfeat.finetuning.parents import find_parent
from tlfeat.finetuning.request import FinetuneRequest
from tlfeat.finetuning.settings import Effort
from tlfeat.report.page import INDEX, PART, import_drawing, write_page
from tlfeat.report.trust import look_over
from tlfeat.runs.orders import HeadJob
from tlfeat.runs.record import Run, comparable_runs, finished_run
from tlfeat.runs.results import write_results
from tlfeat.runs.train import PARTS, check_classes, train_heads
from tlfeat.runs.writing import write_record
from tlfeat.studies.finetunes import Ended, finetune_all, part_names, start_among
from tlfeat.studies.plan import Study
from tlfeat.studies.planned import PlannedRun
from tlfeat.studies.resolved import names_of, resolved_study, runs_of_folder, start_of
from tlfeat.studies.standins import data_stand_in, run_stand_in
from tlfeat.studies.weights import weights_of
from tlfeat.where import STUDY_FILE, Where

if TYPE_CHECKING:
    from tlfeat.finetuning.train import FinetuneJob

    Job = HeadJob | FinetuneJob


class Ran(NamedTuple):
    """What `run_planned` gives."""

    folder: Path
    runs: dict[str, Run]  # by planned name, in the order of the study
    refused: dict[str, str]  # name of a run to the reason
    fresh: int  # runs that were not finished before
    network: FeatureSettings  # by whose features the pictures are looked over
    heads: tuple[HeadJob, ...]  # that are finished, in the order of the study

    def report(
        self, runs: Sequence[Run], dataset: Dataset, where: Where, metric: str | None
    ) -> None:
        """Write the tables of some runs and the page of them, ranked by a metric."""
        where.watch.doing("looking the pictures over")
        with ThreadPoolExecutor(1) as aside:  # the pictures are looked over beside the page
            looking = aside.submit(look_over, self.folder, dataset, self.network, where)
            write_results(self.folder, runs, metric)
            write_page(
                self.folder,
                runs,
                dataset=dataset,
                cache=where.cache_folder,
                refused=self.refused,
                metric=metric,
                watch=where.watch,
                looked=looking.result,
            )


def run_planned(
    study: Study,
    dataset: Dataset,
    where: Where,
    *,
    effort: Effort | None = None,
    retry_failed: bool = False,
    with_page: bool = False,
) -> Ran:
    """Run what is not finished of a study.

    Parameters
    ----------
    study : Study
        One that joins its folder leaves the runs there in study.toml, and their names as they
        are; a mistake in it is raised, where another study refuses the one run.
    dataset : Dataset
    where : Where
        With the study's name.
    effort : Effort, optional
        How fine-tunes are gone about; if None they go on where they were broken off and keep what
        each is to keep.
    retry_failed : bool
        Try pictures again that could not be decoded before.
    with_page : bool
        A page will be drawn: what draws it is imported while pictures are embedded.

    Returns
    -------
    ran : Ran
        A run that its data do not allow is refused; the others are trained.
    """
    with clustered(where):  # one for all that follows
        return _run_planned(study, dataset, where, effort, retry_failed, with_page)


def _run_planned(
    study: Study,
    dataset: Dataset,
    where: Where,
    effort: Effort | None,
    retry_failed: bool,
    with_page: bool,
) -> Ran:
    folder = where.study_folder(dataset)
    study = replace(study, runs=_with_data_stand_in(study, dataset))
    study = replace(study, runs=_with_calibrated(study, dataset, where))
    _check_names(study.runs)
    jobs: dict[str, Job] = {}
    for planned in study.runs:
        if planned.head is not None:
            jobs[planned.name] = _head_job(study, planned, dataset, folder, where)
        elif study.joins:  # in others it may start from a run that is yet to be made
            jobs[planned.name] = _finetune_job(
                study, planned, planned.start, dataset=dataset, folder=folder
            )
    heads = [job for job in jobs.values() if isinstance(job, HeadJob)]
    page = [PART] if with_page or (folder / INDEX).exists() else []  # it is drawn by who called
    where.watch.parts([*(PARTS if heads else ()), *part_names(study, where), *page])
    _check_dataset(dataset, heads)
    if not study.joins:
        _rename_finished(study, jobs, dataset, folder, where)
    there = comparable_runs(folder, dataset)
    listed = replace(study, runs=_joined(study, jobs, there)) if study.joins else study
    _keep_groups(folder, dataset)
    write_text(folder / STUDY_FILE, resolved_study(listed, dataset, folder.name))
    refused = dict(study.left_out)
    done: dict[str, Run] = {}
    networks = (_network(study, run) for run in study.runs if run.head is not None)
    network = next(networks, FeatureSettings())
    if heads:
        trained = train_heads(
            dataset,
            heads,
            where,
            retry_failed=retry_failed,
            meanwhile=import_drawing if with_page else None,
        )
        refused |= trained.refused
        names = [job.name for job in heads if job.name not in trained.refused]
        done = dict(zip(names, trained.runs, strict=True))
    make_job = partial(_finetune_job, study, dataset=dataset, folder=folder)
    finetune_all(study, make_job, where, effort, Ended(done, refused))
    runs = {run.name: done[run.name] for run in study.runs if run.name in done}
    before = {run.id for run in there}
    fresh = sum(run.id not in before for run in runs.values())
    finished = tuple(job for job in heads if job.name not in refused)
    return Ran(folder, runs, refused, fresh, network, finished)


def _check_names(runs: Sequence[PlannedRun]) -> None:
    """Refuse two networks in files of one name: their runs would be taken for each other."""
    networks: dict[str, FeatureSettings] = {}
    for run in runs:
        other = networks.setdefault(run.name, run.network)
        if other.weights != run.network.weights:
            raise TlfeatError(
                f"Two runs would be called {run.name}, of {other.weights} and "
                f"{run.network.weights}: give the files two names."
            )


def _keep_groups(folder: Path, dataset: Dataset) -> None:
    """Keep groups that were found where another study was meant."""
    if dataset.asked.get("groups") == AUTO_GROUPS:
        file = groups_file(folder, dataset.asked)
        if not file.exists():
            keep_groups(file, dataset, {one.digest: one.group or "" for one in dataset.samples})


def _check_dataset(dataset: Dataset, heads: Sequence[HeadJob]) -> None:
    """Refuse what nothing can be trained on before anything is written."""
    if heads:
        check_classes(dataset)
    else:
        from tlfeat.finetuning.train import check_classes as check_outputs

        check_outputs(dataset)


def _with_data_stand_in(study: Study, dataset: Dataset) -> tuple[PlannedRun, ...]:
    """Give the runs with what the pictures stand in for, too."""
    stand_in = data_stand_in(study, dataset)
    return tuple(replace(run, stand_in=run_stand_in(run, stand_in)) for run in study.runs)


def _with_calibrated(study: Study, dataset: Dataset, where: Where) -> tuple[PlannedRun, ...]:
    """Give the runs with the quantised network that int8 means for this dataset."""
    return tuple(
        run
        if run.head is None or run.network.precision != INT8
        else replace(run, network=calibrated(_network(study, run), dataset, where))
        for run in study.runs
    )


def _network(study: Study, planned: PlannedRun) -> FeatureSettings:
    return replace(planned.network, weights=weights_of(planned, study.folder))


def _joined(
    study: Study, jobs: "Mapping[str, Job]", there: Sequence[Run]
) -> tuple[PlannedRun, ...]:
    """Give the runs of a folder and those that are asked for beside them, no two of one name."""
    names = names_of(there)
    listed = runs_of_folder(there)
    for planned in study.runs:
        job = jobs[planned.name]
        if job.id in names:
            continue
        again = f"-{job.id[:8]}" if job.name in names.values() else ""
        planned = replace(planned, name=f"{job.name}{again}")
        if not isinstance(job, HeadJob) and job.request.parent is not None:
            planned = replace(planned, start=start_of(job.request.parent.facts, names))
            if planned.start is None:
                continue
        listed.append(planned)
    return tuple(listed)


def _head_job(
    study: Study, planned: PlannedRun, dataset: Dataset, folder: Path, where: Where
) -> HeadJob:
    assert planned.head is not None
    candidates = Candidates.of(_network(study, planned), where.cache_folder)
    return HeadJob(dataset, candidates, planned.head, folder, planned.name, planned.stand_in)


def _finetune_job(
    study: Study, planned: PlannedRun, start: str | None, *, dataset: Dataset, folder: Path
) -> "FinetuneJob":
    from tlfeat.finetuning.train import FinetuneJob

    parent = None if start is None else find_parent(start)
    network = planned.network
    if not study.joins:
        network = replace(network, weights=weights_of(planned, study.folder))
    request = FinetuneRequest.settle(
        network, planned.training, parent, precision=planned.said.get("precision")
    )
    return FinetuneJob(dataset, request, folder, planned.name, planned.stand_in)


def _rename_finished(
    study: Study, jobs: "Mapping[str, Job]", dataset: Dataset, folder: Path, where: Where
) -> None:
    """Let runs that are finished have the names and stand-ins of a study before it is written."""
    there: dict[str, Run] = {}
    for planned in study.order:
        if planned.parent is not None and planned.parent not in there:
            continue
        with suppress(TlfeatError):  # it is refused when its turn comes, with the reason
            job = jobs.get(planned.name) or _finetune_job(
                study, planned, start_among(planned, there), dataset=dataset, folder=folder
            )
            run = finished_run(job.folder, where.watch)
            if run is None:
                continue
            usual = job.candidates if isinstance(job, HeadJob) else job.request
            stand_in = job.stand_in or usual.stand_in
            if (run.name, run.stand_in) != (job.name, stand_in):
                named = {**run.record, "name": job.name, "stand_in": stand_in}
                run = write_record(run.path, named)
            there[planned.name] = run
