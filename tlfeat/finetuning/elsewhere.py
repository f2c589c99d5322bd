"""A fine-tune on a worker of a cluster, whose folder comes back when it is finished.

Nothing but the worker's own disk is written there: it gets the files that the run starts from, and
where this machine's store is not its own too it has one for the moment.
"""

import io
import os
import platform
import shutil
import tarfile
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import NamedTuple, TypeAlias

from tlfeat.backbones.weights import put_imagenet_file
from tlfeat.cluster.calls import Caller
from tlfeat.cluster.parcels import new_worker_folder
from tlfeat.cores import usable_cores
from tlfeat.files import cannot_write, making_folder, mark_cache, new_name
from tlfeat.finetuning.checkpoint import resume_file
from tlfeat.finetuning.settings import Effort
from tlfeat.finetuning.train import FinetuneJob, kept_run, train_network
from tlfeat.runs.record import Run, load_run
from tlfeat.runs.writing import write_record
from tlfeat.watch import Watch
from tlfeat.where import Where

Place: TypeAlias = tuple[str, int, int]  # host, device and inode: of a folder, wherever it is seen


class _Answer(NamedTuple):
    """What a worker sends back."""

    folder: bytes  # of the run, as tar
    notes: list[str]


def train_elsewhere(
    call: Caller, cpus: int, job: FinetuneJob, where: Where, effort: Effort
) -> Run:
    """Train a network end to end on a worker; one that is finished stays as it is.

    Parameters
    ----------
    call : Caller
        Each call in a process of its own.
    cpus : int
        Cores that the worker may use.
    job, where, effort
        As for `train_network`.

    Raises
    ------
    ClusterError
        If the cluster is lost.
    TlfeatError
        As from `train_network`.
    """
    run = kept_run(job, effort, where.watch)
    if run is not None:
        return run
    mark_cache(where.cache_folder)
    cache = where.cache_folder.resolve()
    begun = _packed(job.folder) if resume_file(job.folder).exists() else None
    there = Where(cache=str(cache), engine=where.engine, jobs=cpus)
    # TensorFlow's sums go by its threads: with as many as here a run has the numbers of here
    answer = call(partial(_train, job, there, effort, begun, _place(cache), usable_cores()))
    for note in answer.notes:
        where.watch.note(f"{job.name}: {note}")
    try:
        with making_folder(job.folder) as fresh:
            _unpack(answer.folder, fresh)
            run = load_run(fresh)
            write_record(fresh, {**run.record, "weights": job.request.weights_name})
            _make_way(job.folder)
    except OSError as error:
        raise cannot_write(job.folder, error) from error
    return load_run(job.folder)


def _make_way(folder: Path) -> None:
    """Take away what a run went on from: aside first, so that no half of it is ever there."""
    if folder.exists():
        shutil.rmtree(folder.rename(new_name(folder)), ignore_errors=True)


def _train(
    job: FinetuneJob,
    where: Where,
    effort: Effort,
    begun: bytes | None,
    cache: Place | None,
    threads: int,
) -> _Answer:
    """Train on a worker, below a folder that goes with it."""
    os.environ["TF_NUM_INTRAOP_THREADS"] = os.environ["TF_NUM_INTEROP_THREADS"] = str(threads)
    request = job.request
    if request.row is not None and request.weights.kind == "imagenet":
        put_imagenet_file(request.row, request.weights)
    notes = _Notes()
    folder = new_worker_folder()
    try:
        mine = replace(job, study=folder / job.study.name)
        is_shared = _place(where.cache_folder) == cache
        own = str(where.cache) if is_shared else str(folder / "cache")
        if begun is not None:
            _unpack(begun, mine.folder)
        run = train_network(mine, replace(where, cache=own, watch=notes), effort)
        return _Answer(_packed(run.path), notes.told)
    except OSError as error:
        raise cannot_write(folder, error) from error
    finally:
        shutil.rmtree(folder, ignore_errors=True)


class _Notes(Watch):
    """Keeps what is to be told where the run was asked for."""

    def __init__(self) -> None:
        self.told: list[str] = []

    def note(self, text: str) -> None:
        """Keep a sentence."""
        self.told.append(text)


def _place(folder: Path) -> Place | None:
    try:
        status = folder.stat()
    except OSError:
        return None
    return platform.node(), status.st_dev, status.st_ino


def _packed(folder: Path) -> bytes:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as archive:
        archive.add(folder, arcname=".")
    return buffer.getvalue()


def _unpack(data: bytes, folder: Path) -> None:
    with tarfile.open(fileobj=io.BytesIO(data)) as archive:
        archive.extractall(folder, filter="data")
