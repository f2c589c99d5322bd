"""Train a network end to end, and keep the run beside those of the heads."""

import random
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np

from tlfeat.backbones.keras_runtime import import_keras
from tlfeat.backbones.table import DEFAULT_BACKBONE
from tlfeat.data.dataset import Dataset, open_dataset
from tlfeat.data.decode import Resize
from tlfeat.data.digests import DigestIndex
from tlfeat.errors import DataError, NetworkError, TlfeatError
from tlfeat.features.store import FeatureStore
from tlfeat.files import make_folder
from tlfeat.finetuning.assemble import Network
from tlfeat.finetuning.checkpoint import epoch_file, load_state, resume_file
from tlfeat.finetuning.choices import Choice
from tlfeat.finetuning.devices import open_devices
from tlfeat.finetuning.loop import Data, How, Training
from tlfeat.finetuning.outcome import (
    make_record,
    measure,
    save_model,
    with_h5,
    write_pictures,
)
from tlfeat.finetuning.parents import find_parent
from tlfeat.finetuning.pictures import MEMORY, Pictures, part_rows
from tlfeat.finetuning.plan import (
    Phase,
    Top,
)
from tlfeat.finetuning.request import BATCH, FinetuneRequest
from tlfeat.places import cache_folder, reports_folder
from tlfeat.runs.identity import run_identity
from tlfeat.runs.record import Run, finished_run, run_folder, write_record
from tlfeat.runs.study import comparable_runs, study_folder, write_study
from tlfeat.watch import SILENT, Watch


def finetune(
    dataset: Dataset | str | Path,
    backbone: str | None = None,
    phases: str | Phase | Mapping[str, Any] | Sequence[Phase | Mapping[str, Any]] = "full",
    *,
    weights: str | Path | None = None,
    start: str | Path | None = None,
    size: int | None = None,
    resize: Resize | None = None,
    top: Top | None = None,
    augment: Sequence[str | Mapping[str, Any] | Choice] = (),
    loss: str = "cross-entropy",
    batch: int = BATCH,
    precision: str | None = None,
    seed: int = 0,
    cut_dtype: str | None = "float16",
    resume: bool = False,
    keep: str = "all",
    h5: bool = False,
    devices: int = 1,
    memory: int = MEMORY,
    engine: str = "auto",
    cache: str | Path | None = None,
    reports: str | Path | None = None,
    name: str | None = None,
    run_name: str | None = None,
    redraw: bool = True,
    jobs: int | None = None,
    watch: Watch = SILENT,
) -> Run:
    """Train a network end to end on the pictures of a dataset and keep the run.

    Parameters
    ----------
    dataset : Dataset, str or Path
        What `open_dataset` gives, or takes.
    backbone : str, optional
        A name of `list_backbones`, or "plain-cnn", ten ReLU layers trained from nothing;
        efficientnet-lite0 if None.
    phases : str, Phase, mapping, or sequence of these
        What is trained, one after the other, on one continuous curve; each phase with a new
        optimiser. A text is a mode.
    weights : str or Path, optional
        "imagenet", which None means, "random", or a weight file. A scratch phase takes random
        ones.
    start : str or Path, optional
        A finished run's folder, RUN@EPOCH, or a `.keras` or `.h5` file, to start from instead
        of a backbone and its weights. The file of somebody else must take pixels of 0 to 255 and
        end in a softmax or in logits.
    size : int, optional
        Side in pixels of the square that the network sees; its own size if None.
    resize : Resize, optional
        How a picture becomes that square.
    top : Top, optional
        What stands on the backbone; if None one new dense layer, or what `start` has.
    augment : sequence of str, mapping or Choice
        Random changes to the training pictures, see `AUGMENTATIONS`.
    loss : {"cross-entropy", "mse"}
    batch : int
        Pictures a step.
    precision : {"float32", "mixed"}, optional
        What is computed in; if None that of `start`, which a run keeps, or float32.
    seed : int
        Of new weights, of the order of pictures, their changes, dropout, and folds.
    cut_dtype : {"float16", "float32", None}
        How activations below a partial phase's cut are kept in the store; None trains through
        the whole network each time, as any augmentation does.
    resume : bool
        Go on with this very run where it was broken off.
    keep : {"all", "last"}
        Weights of every epoch, or only what `resume` needs.
    h5 : bool
        Save the model as `.h5` too.
    devices : int
        GPUs to train on (MirroredStrategy); 0 takes all.
    memory : int
        Bytes of decoded pictures, or of activations, that may be kept.
    engine, cache, reports, name, jobs, watch
        As in `train`.
    run_name : str, optional
        What tables call the run; made from its settings if None.
    redraw : bool
        Write the study's tables and page again, if it has a page.

    Returns
    -------
    run : Run
        The finished run; if the same one was finished before, that one.

    Raises
    ------
    TlfeatError
        If anything asked for cannot be had, or an unfinished run is there and `resume` is False.
    KeyboardInterrupt
        After Ctrl-C; `resume` goes on.
    """
    parent = None if start is None else find_parent(start)
    if start is not None and not (backbone is None and weights is None):
        raise TlfeatError(
            f"{start} brings its own network and weights: leave backbone and weights out."
        )
    weights = "imagenet" if weights is None else weights
    ask = FinetuneRequest.settle(
        backbone or DEFAULT_BACKBONE,
        phases,
        weights,
        parent,
        size,
        resize,
        top,
        augment,
        loss,
        batch,
        precision,
        seed,
    )
    if cut_dtype not in ("float16", "float32", None) or keep not in ("all", "last"):
        raise TlfeatError(
            "cut_dtype must be float16, float32 or None, and keep all or last. Got "
            f"{cut_dtype!r} and {keep!r} instead."
        )
    store = FeatureStore(cache_folder(cache))
    table = (
        dataset
        if isinstance(dataset, Dataset)
        else open_dataset(dataset, digests=DigestIndex(store.root))
    )
    _check_classes(table)
    study = study_folder(reports_folder(reports), table, name)
    settings = {
        **ask.settings(len(table.classes)),
        "cut_dtype": cut_dtype if ask.can_cut else None,
    }
    identity = run_identity("finetune", table, settings)
    called = run_name or ask.name()
    folder = run_folder(study, called, identity)
    run = finished_run(folder, watch)
    if run is not None:
        if not (resume and keep == "all" and _lacks_epochs(run)):
            return with_h5(run) if h5 else run
        watch.note(f"{run.name} kept no epochs, and they are wanted: it is trained again.")
    resumed = load_state(folder) if resume else None
    if resume and resumed is None and resume_file(folder).exists():
        watch.note(f"{resume_file(folder)} is damaged, so the run begins anew.")
    if not resume and resume_file(folder).exists():
        raise TlfeatError(
            f"{folder} holds this very run, broken off: --resume goes on with it; remove the "
            "folder to begin anew."
        )

    keras = import_keras()
    warnings = [ask.weights.warning] if ask.weights.warning else []
    with _seeded(keras, seed), open_devices(devices, watch) as (n_devices, scope):
        pictures = Pictures(table, ask.size, ask.resize, memory=memory, jobs=jobs, watch=watch)
        with scope():
            network = ask.network(len(table.classes))
        data = _data(table, pictures, network, seed)
        how = How(
            ask.phases,
            ask.augment,
            loss,
            batch,
            seed,
            weights="random" if ask.weights.kind == "random" else weights,
            size=ask.size,
            resize=ask.resize,
            cut_dtype=cut_dtype if ask.can_cut else None,
            untouched=parent is None,
            devices=n_devices,
            keep=keep,
            memory=memory,
            engine=engine,
            jobs=jobs,
        )
        make_folder(folder)
        training = Training(network, ask.row, data, how, store, folder, scope, watch)
        state = training.run(resumed)
        file_bytes = save_model(network, folder, h5=h5)
        warnings += write_pictures(network, folder, state, called, watch)
        predictor = training.predictor(network.model, pictures)
        metrics, inference = measure(predictor, data, batch, folder, watch)
    record = make_record(
        settings,
        data,
        network,
        state,
        metrics,
        inference,
        identity=identity,
        name=called,
        weights=ask.weights_name,
        stand_in=ask.stand_in,
        file_bytes=file_bytes,
        warnings=warnings,
    )
    run = write_record(folder, record)
    resume_file(folder).unlink(missing_ok=True)
    write_study(study, table, comparable_runs(study, table))
    if redraw:
        from tlfeat.report.page import refresh_report  # reports are made of runs, not runs of them

        refresh_report(study, table, cache=store.root, watch=watch)
    return run


def _lacks_epochs(run: Run) -> bool:
    last = len(run.history)
    return last > 0 and not epoch_file(run.path, last).exists()


def _check_classes(dataset: Dataset) -> None:
    if len(dataset.classes) < 2:
        raise DataError(
            f"{dataset.path} has {len(dataset.classes)} classes with labels: a network that "
            "tells classes apart needs two or more, a folder for each."
        )


def _data(dataset: Dataset, pictures: Pictures, network: Network, seed: int) -> Data:
    y = np.array([sample.label for sample in pictures.samples], np.int64)
    outputs = network.model.output_shape[-1]
    if outputs < len(dataset.classes):
        raise NetworkError(
            f"The network has {outputs} outputs and the data {len(dataset.classes)} classes: it "
            "needs a new top."
        )
    one_hot = np.eye(outputs, dtype=np.float32)[y]
    return Data(dataset, pictures, part_rows(pictures.samples, seed), y, one_hot)


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
