"""The fine-tunes of a study: one after the other, or several at once on a cluster."""

from collections.abc import Callable, Generator, Mapping
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from contextlib import contextmanager
from functools import partial
from typing import TYPE_CHECKING, NamedTuple, TypeAlias

from tlfeat.cluster.calls import Caller
from tlfeat.cluster.join import Cluster, clustered
from tlfeat.data.dataset import Dataset
from tlfeat.errors import ClusterError, TlfeatError
from tlfeat.finetuning.settings import Effort
from tlfeat.runs.record import Run
from tlfeat.studies.plan import Study
from tlfeat.studies.planned import PlannedRun
from tlfeat.where import Where

if TYPE_CHECKING:
    from tlfeat.finetuning.train import FinetuneJob

    MakeJob: TypeAlias = Callable[[PlannedRun, str | None], FinetuneJob]
    Begin: TypeAlias = Callable[[FinetuneJob, Effort], Future[Run]]


_PART = "fine-tuning"  # of the work, as a watch hears of it: all runs, or one without a name


class Ended(NamedTuple):
    """What has become of the runs of a study, by their planned names."""

    done: dict[str, Run]
    refused: dict[str, str]  # name of a run to the reason


def part_names(study: Study, where: Where) -> list[str]:
    """Name the parts of the work, as a watch hears of them: each run, or several at once."""
    names = [planned.name or _PART for planned in study.order if planned.head is None]
    return [_PART] if names and where.cluster else names


def start_among(planned: PlannedRun, done: Mapping[str, Run]) -> str | None:
    """Give what a run starts from: as it was said, or where the run of that name is."""
    if planned.parent is None:
        return planned.start
    return str(done[planned.parent].path) + ("" if planned.epoch is None else f"@{planned.epoch}")


def finetune_all(
    study: Study, make_job: "MakeJob", where: Where, effort: Effort | None, ended: Ended
) -> None:
    """Train the fine-tunes of a study in their order, each once what it starts from is finished.

    Parameters
    ----------
    study : Study
        In one that joins its folder what goes wrong is raised, else the run is refused.
    make_job : callable
        Of a planned run, and of what it starts from.
    where : Where
    effort : Effort, optional
        As for `run_planned`.
    ended : Ended
        The runs that are there already; the others join them.

    Raises
    ------
    ClusterError
        If the cluster is lost.
    """
    waiting = [planned for planned in study.order if planned.head is None]
    if not waiting:
        return
    with clustered(where) as cluster:
        aside = _here(where) if cluster is None else _on(cluster, len(waiting), where)
        with aside as (begin, most):
            running: dict[Future[Run], PlannedRun] = {}
            while waiting or running:
                for planned in _ready(waiting, running, ended):
                    if len(running) < most:
                        waiting.remove(planned)
                        if cluster is None:
                            where.watch.part(planned.name or _PART)
                        how = effort or Effort(resume=True, keep=planned.keep)
                        running[_begun(planned, make_job, begin, how, ended)] = planned
                for future in wait(running, return_when=FIRST_COMPLETED).done:
                    _settle(running.pop(future), future, ended, raises=study.joins)


def _ready(
    waiting: list[PlannedRun], running: Mapping[Future[Run], PlannedRun], ended: Ended
) -> list[PlannedRun]:
    """Give the runs that can begin; refuse those whose parents never will be there."""
    coming = {planned.name for planned in (*waiting, *running.values())}
    for planned in tuple(waiting):
        if planned.parent is not None and planned.parent not in {*ended.done, *coming}:
            waiting.remove(planned)
            reason = f"{planned.parent}, which it starts from, is not finished."
            ended.refused[planned.name] = reason
    return [one for one in waiting if one.parent is None or one.parent in ended.done]


def _begun(
    planned: PlannedRun, make_job: "MakeJob", begin: "Begin", effort: Effort, ended: Ended
) -> Future[Run]:
    """Begin a run; one that cannot even begin has ended with the reason."""
    try:
        return begin(make_job(planned, start_among(planned, ended.done)), effort)
    except TlfeatError as error:
        failed: Future[Run] = Future()
        failed.set_exception(error)
        return failed


def _settle(planned: PlannedRun, future: Future[Run], ended: Ended, *, raises: bool) -> None:
    """Say what has become of a run."""
    try:
        ended.done[planned.name] = future.result()
    except ClusterError:
        raise
    except TlfeatError as error:
        if raises:
            raise
        ended.refused[planned.name] = str(error)


@contextmanager
def _here(where: Where) -> "Generator[tuple[Begin, int], None, None]":
    """Give what trains on this machine, and that it trains one run at a time."""
    from tlfeat.finetuning.train import train_network

    def begin(job: "FinetuneJob", effort: Effort) -> Future[Run]:
        future: Future[Run] = Future()
        future.set_result(train_network(job, where, effort))
        return future

    yield begin, 1


@contextmanager
def _on(cluster: Cluster, runs: int, where: Where) -> "Generator[tuple[Begin, int], None, None]":
    """Give what trains on a cluster, and how many runs at a time."""
    from tlfeat.finetuning.elsewhere import train_elsewhere

    share = max(1, cluster.cpus // runs)
    cpus, gpus = min(share, cluster.cpus_of_a_node), min(1, cluster.gpus)
    call = Caller(cluster, Dataset, cpus=cpus, gpus=gpus, own_process=True)
    train = partial(train_elsewhere, call, cpus, where=where)
    most = cluster.gpus or cluster.cpus // cpus
    pool = ThreadPoolExecutor(most, thread_name_prefix="finetune")

    def begin(job: "FinetuneJob", effort: Effort) -> Future[Run]:
        future = pool.submit(train, job, effort=effort)
        future.add_done_callback(lambda _: where.watch.step())
        return future

    where.watch.part(_PART)
    where.watch.start("training", runs)
    try:
        yield begin, most
    except BaseException:
        pool.shutdown(wait=False, cancel_futures=True)
        call.cancel()
        raise
    finally:
        pool.shutdown()
        where.watch.finish()
