"""Train a network end to end, and keep the run beside those of the heads."""

import random
import shutil
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import closing, contextmanager, suppress
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from tlfeat.backbones.engines import Engine
from tlfeat.backbones.keras_runtime import import_keras
from tlfeat.backbones.model_files import ModelRequest
from tlfeat.backbones.table import Output
from tlfeat.data.dataset import Dataset
from tlfeat.errors import DataError, NetworkError, TlfeatError
from tlfeat.features.forward import opened
from tlfeat.files import file_digest, make_folder, replacing
from tlfeat.finetuning.assemble import LAST, Network
from tlfeat.finetuning.checkpoint import (
    Arrays,
    State,
    epoch_file,
    judged_file,
    load_state,
    resume_file,
)
from tlfeat.finetuning.devices import open_devices
from tlfeat.finetuning.inputs import Given, RefitRows, TrainingData, TrainingSettings
from tlfeat.finetuning.loop import Training
from tlfeat.finetuning.outcome import (
    make_record,
    measure,
    save_model,
    with_h5,
    without_optimizer,
    write_pictures,
)
from tlfeat.finetuning.pictures import CHOOSING, Part, Pictures, part_rows
from tlfeat.finetuning.plan import Phase
from tlfeat.finetuning.refit import Settled, refit_folder
from tlfeat.finetuning.request import FinetuneRequest
from tlfeat.finetuning.settings import Effort
from tlfeat.finetuning.start import HeadStart, fit_start
from tlfeat.runs.identity import run_identity
from tlfeat.runs.record import MODEL, Run, finished_run, run_folder
from tlfeat.runs.writing import write_record
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
        return self.request.decisive(len(self.dataset.classes), refits=self.refits)

    @cached_property
    def refits(self) -> bool:
        """Whether all is trained once more, on the held rows too."""
        labelled = (sample for sample in self.dataset.samples if sample.label is not None)
        splits = {sample.split for sample in labelled}
        return self.request.settings.refits(splits_validation="validation" in splits)

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
    run = kept_run(job, effort, where.watch)
    if run is not None:
        return run
    resumed = _resumed(job.folder, where.watch) if effort.resume else None
    keras = import_keras()
    with (
        _seeded(keras, job.request.seed),
        open_devices(effort.devices, where.watch) as (n_devices, scope),
    ):
        pictures = Pictures(
            job.dataset,
            job.request.size,
            job.request.resize,
            memory=effort.memory,
            jobs=where.jobs,
            watch=where.watch,
        )
        parts = part_rows(pictures.samples, job.request.seed)
        making = _Making(job, where, effort, n_devices, scope, began, pictures, parts)
        record = _made(making, resumed)
    run = write_record(job.folder, record)
    _tidy(job.folder)
    return run


def kept_run(job: FinetuneJob, effort: Effort, watch: Watch) -> Run | None:
    """Give the run if it is finished, with all that is wanted of it.

    Raises
    ------
    TlfeatError
        If it is there unfinished and is not to be resumed.
    """
    run = finished_run(job.folder, watch)
    if run is not None and effort.resume and effort.keep == "all" and _lacks_epochs(run):
        watch.note(f"{run.name} kept no epochs, and they are wanted: it is trained again.")
        return None
    if run is not None:
        _tidy(job.folder)
        return with_h5(run, watch) if effort.h5 else run
    if resume_file(job.folder).exists() and not effort.resume:
        raise TlfeatError(
            f"{job.folder} holds this very run, broken off: --resume goes on with it; remove the "
            "folder to begin anew."
        )
    return None


def _tidy(folder: Path) -> None:
    """Remove what a finished run would have gone on from."""
    resume_file(folder).unlink(missing_ok=True)
    with suppress(OSError):  # it has weights, or was never there
        resume_file(folder).parent.rmdir()
    shutil.rmtree(refit_folder(folder), ignore_errors=True)  # run.json has its history


def _resumed(folder: Path, watch: Watch) -> tuple[State, Arrays] | None:
    """Read where the run was broken off; None where it begins."""
    resumed = load_state(folder)
    if resumed is None and resume_file(folder).exists():
        watch.note(f"{resume_file(folder)} is damaged, so the run begins anew.")
    return resumed


class Trained(NamedTuple):
    """A training that has ended."""

    network: Network
    data: TrainingData
    state: State
    held: npt.NDArray[np.float32] | None  # probabilities of the held rows, before a refit


@dataclass(frozen=True)
class _Making:
    """What the trainings of a run have in common."""

    job: FinetuneJob
    where: Where
    effort: Effort
    n_devices: int
    scope: Callable[[], Any]
    began: float
    pictures: Pictures
    parts: Mapping[str, Part]

    def trained(self, resumed: tuple[State, Arrays] | None) -> Trained:
        """Train on train, judged by the held rows."""
        job = self.job
        if resumed is None:
            shutil.rmtree(refit_folder(job.folder), ignore_errors=True)
        rows = sum(len(self.parts[name].rows) for name in CHOOSING)
        refit = RefitRows(rows, bool(job.request.settings.refit)) if job.refits else None
        settings = replace(self._settings(job.request.settings.phases), refit=refit)
        return self._train(job.folder, settings, self.parts, resumed)

    def trained_again(self, first: State) -> Trained:
        """Train on the held rows too, as they have chosen."""
        import keras

        folder, settled = refit_folder(self.job.folder), Settled.of(first)
        phases = settled.phases(self.job.request.settings.phases, first.plan)
        rows = np.sort(np.concatenate([self.parts[name].rows for name in CHOOSING]))
        settings = replace(self._settings(phases), budget=None, settled=settled, keep="last")
        keras.utils.set_random_seed(self.job.request.seed)  # the luck that the first one had
        return self._train(folder, settings, {"train": Part(rows)}, load_state(folder))

    def _train(
        self,
        folder: Path,
        settings: TrainingSettings,
        parts: Mapping[str, Part],
        resumed: tuple[State, Arrays] | None,
    ) -> Trained:
        job, request, where = self.job, self.job.request, self.where
        start = None
        if request.starts_from_head and resumed is None:
            start = fit_start(
                job.dataset,
                self.pictures,
                self.parts,
                request.head_features,
                where,
                class_weight=request.head_class_weight,
                settled=None if settings.settled is None else settings.settled.head,
            )
        with self.scope():
            network = request.network(len(job.dataset.classes), _read(start, resumed))
        data = _data(job.dataset, self.pictures, parts, network)
        make_folder(folder)
        given = Given(network, request.row, data, settings, where, self.scope)
        training = Training(given, folder, start=start, began=self.began)
        state = training.run(resumed)
        held = None
        if settings.refit is not None and (state.may_refit or Settled.of(state).is_head):
            held = training.held_scores()
            with replacing(judged_file(folder)) as fresh:
                without_optimizer(network).save_weights(fresh)
        return Trained(network, data, state, held)

    def _settings(self, phases: tuple[Phase, ...]) -> TrainingSettings:
        request = self.job.request
        return TrainingSettings(
            phases,
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
            refit=None,
            settled=None,
            untouched=request.parent is None,
            devices=self.n_devices,
            keep=self.effort.keep,
            memory=self.effort.memory,
        )


def _made(making: _Making, resumed: tuple[State, Arrays] | None) -> dict[str, Any]:
    """Train, measure and save; give the record of it."""
    job, where = making.job, making.where
    folder, watch, request = job.folder, where.watch, job.request
    network, data, state, held = making.trained(resumed)
    refit = None
    if held is not None:
        del network  # room for the second one
        network, _, refit, _ = making.trained_again(state)
    file_bytes = save_model(network, folder, watch, h5=making.effort.h5)
    warnings = [request.weights.warning] if request.weights.warning else []
    warnings += write_pictures(network, folder, state, job.name, watch)
    model = folder / MODEL
    saved = ModelRequest(job.name, model, file_digest(model), request.size, request.precision)
    with _to_measure(saved, where) as engine:
        watch.finish()
        metrics, inference = measure(engine, data, folder, watch, held=held)
    return make_record(
        job.settings,
        data,
        network,
        state,
        metrics,
        inference,
        refit=refit,
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
