"""Train a network end to end, and keep the run beside those of the heads."""

import random
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import closing, contextmanager, suppress
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np

from tlfeat.backbones.engines import Engine
from tlfeat.backbones.keras_runtime import import_keras
from tlfeat.backbones.model_files import ModelRequest
from tlfeat.backbones.table import Output
from tlfeat.data.dataset import Dataset
from tlfeat.errors import DataError, NetworkError, TlfeatError
from tlfeat.features.forward import opened
from tlfeat.files import file_digest, make_folder
from tlfeat.finetuning.assemble import LAST, Network
from tlfeat.finetuning.checkpoint import Arrays, State, epoch_file, load_state, resume_file
from tlfeat.finetuning.devices import open_devices
from tlfeat.finetuning.inputs import Given, TrainingData, TrainingSettings
from tlfeat.finetuning.loop import Training
from tlfeat.finetuning.outcome import (
    make_record,
    measure,
    save_model,
    with_h5,
    write_pictures,
)
from tlfeat.finetuning.pictures import Part, Pictures, part_rows
from tlfeat.finetuning.request import FinetuneRequest
from tlfeat.finetuning.settings import Effort
from tlfeat.finetuning.start import HeadStart, fit_start
from tlfeat.runs.identity import run_identity
from tlfeat.runs.record import MODEL, Run, finished_run, run_folder, write_record
from tlfeat.watch import Watch
from tlfeat.where import Where


@dataclass(frozen=True)
class FinetuneJob:
    """A run that is asked for: a network trained end to end, in a study."""

    dataset: Dataset
    request: FinetuneRequest
    study: Path
    given_name: str = ""
    stand_in: str | None = None  # what the run stands in for

    @cached_property
    def settings(self) -> dict[str, Any]:
        """All that decides the run beside the data, by the names of its record."""
        return self.request.decisive(len(self.dataset.classes))

    @cached_property
    def id(self) -> str:
        """SHA-256 of all that decides the run."""
        return run_identity("finetune", self.dataset, self.settings)

    @property
    def name(self) -> str:
        """What tables call it: as it was given, or made of its settings."""
        return self.given_name or self.request.name()

    @cached_property
    def folder(self) -> Path:
        """Of the run."""
        return run_folder(self.study, self.name, self.id)


def train_network(job: FinetuneJob, where: Where, effort: Effort = Effort()) -> Run:
    """Train a network end to end and keep the run; one that is finished stays as it is.

    Raises
    ------
    TlfeatError
        If anything asked for cannot be had, or an unfinished run is there and is not to be
        resumed.
    KeyboardInterrupt
        After Ctrl-C; `resume` goes on.
    """
    began = time.perf_counter()
    check_classes(job.dataset)
    if where.engine == "openvino" and job.request.precision != "float32":
        raise NetworkError(
            f"OpenVINO measures in float32 here and this run computes in {job.request.precision}: "
            "use --engine auto or tensorflow."
        )
    run = _finished(job, effort, where.watch)
    if run is not None:
        return with_h5(run, where.watch) if effort.h5 else run
    resumed = _resumed(job.folder, effort.resume, where.watch)
    keras = import_keras()
    with (
        _seeded(keras, job.request.seed),
        open_devices(effort.devices, where.watch) as (n_devices, scope),
    ):
        record = _train(job, where, effort, n_devices, scope, resumed, began)
    run = write_record(job.folder, record)
    resume_file(job.folder).unlink(missing_ok=True)
    with suppress(OSError):  # it has weights of epochs, or was never there
        resume_file(job.folder).parent.rmdir()
    return run


def _finished(job: FinetuneJob, effort: Effort, watch: Watch) -> Run | None:
    run = finished_run(job.folder, watch)
    if run is not None and effort.resume and effort.keep == "all" and _lacks_epochs(run):
        watch.note(f"{run.name} kept no epochs, and they are wanted: it is trained again.")
        return None
    return run


def _resumed(folder: Path, resume: bool, watch: Watch) -> tuple[State, Arrays] | None:
    """Read where the run was broken off; None where it begins."""
    there = resume_file(folder).exists()
    if there and not resume:
        raise TlfeatError(
            f"{folder} holds this very run, broken off: --resume goes on with it; remove the "
            "folder to begin anew."
        )
    resumed = load_state(folder) if resume else None
    if there and resumed is None:
        watch.note(f"{resume_file(folder)} is damaged, so the run begins anew.")
    return resumed


def _train(
    job: FinetuneJob,
    where: Where,
    effort: Effort,
    n_devices: int,
    scope: Any,
    resumed: tuple[State, Arrays] | None,
    began: float,
) -> dict[str, Any]:
    """Build, train, measure and save; give the record of it."""
    dataset, request, folder, watch = job.dataset, job.request, job.folder, where.watch
    pictures = Pictures(
        dataset,
        request.size,
        request.resize,
        memory=effort.memory,
        jobs=where.jobs,
        watch=watch,
    )
    parts = part_rows(pictures.samples, request.seed)
    start = None
    if request.starts_from_head and resumed is None:
        start = fit_start(
            dataset,
            pictures,
            parts,
            request.head_features,
            where,
            class_weight=request.head_class_weight,
        )
    with scope():
        network = request.network(len(dataset.classes), _read(start, resumed))
    data = _data(dataset, pictures, parts, network)
    settings = TrainingSettings(
        request.settings.phases,
        request.settings.changes,
        request.settings.loss,
        request.settings.batch,
        request.seed,
        weights=request.weights.name,
        size=request.size,
        resize=request.resize,
        cut_dtype=request.kept_dtype,
        cut_views=request.settings.cut_views,
        budget=request.settings.seconds,
        untouched=request.parent is None,
        devices=n_devices,
        keep=effort.keep,
        memory=effort.memory,
    )
    make_folder(folder)
    given = Given(network, request.row, data, settings, where, scope)
    state = Training(given, folder, start=start, began=began).run(resumed)
    file_bytes = save_model(network, folder, watch, h5=effort.h5)
    warnings = [request.weights.warning] if request.weights.warning else []
    warnings += write_pictures(network, folder, state, job.name, watch)
    model = folder / MODEL
    saved = ModelRequest(job.name, model, file_digest(model), request.size, request.precision)
    with _to_measure(saved, where) as engine:
        watch.finish()
        metrics, inference = measure(engine, data, folder, watch)
    return make_record(
        job.settings,
        data,
        network,
        state,
        metrics,
        inference,
        engine=engine.name,
        identity=job.id,
        name=job.name,
        weights=request.weights_name,
        stand_in=job.stand_in or request.stand_in,
        file_bytes=file_bytes,
        warnings=warnings,
    )


def _read(start: HeadStart | None, resumed: tuple[State, Arrays] | None) -> Sequence[Output]:
    """Give what of the backbone a new top reads."""
    if start is not None:
        return start.read
    return (resumed is not None and [Output(*one) for one in resumed[0].outputs]) or [LAST]


def _to_measure(saved: ModelRequest, where: Where) -> closing[Engine]:
    """Open the trained network; where that fails, training need not be done again."""
    try:
        return opened(saved, where)
    except NetworkError as error:
        raise NetworkError(
            f"{error} The network is trained: with --resume it is only measured."
        ) from error


def _lacks_epochs(run: Run) -> bool:
    last = len(run.history)
    return last > 0 and not epoch_file(run.path, last).exists()


def check_classes(dataset: Dataset) -> None:
    """Refuse a dataset that nothing can be told apart in."""
    if len(dataset.classes) < 2:
        raise DataError(
            f"{dataset.path} has {len(dataset.classes)} classes with labels: a network that "
            "tells classes apart needs two or more, a folder for each."
        )


def _data(
    dataset: Dataset, pictures: Pictures, parts: Mapping[str, Part], network: Network
) -> TrainingData:
    y = np.array([sample.label for sample in pictures.samples], np.int64)
    outputs = network.model.output_shape[-1]
    if outputs < len(dataset.classes):
        raise NetworkError(
            f"The network has {outputs} outputs and the data {len(dataset.classes)} classes: it "
            "needs a new top."
        )
    one_hot = np.eye(outputs, dtype=np.float32)[y]
    return TrainingData(dataset, pictures, parts, y, one_hot)


@contextmanager
def _seeded(keras: Any, seed: int) -> Iterator[None]:
    """Make everything inside a function of the seed; the caller's own luck is untouched."""
    import tensorflow as tf

    before, numpy_before = random.getstate(), np.random.get_state()  # noqa: NPY002
    keras.utils.set_random_seed(seed)
    tf.config.experimental.enable_op_determinism()
    try:
        yield
    finally:
        random.setstate(before)
        np.random.set_state(numpy_before)  # noqa: NPY002
