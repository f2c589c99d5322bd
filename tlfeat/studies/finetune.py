"""Train a network end to end on the pictures of a dataset: a study of one run."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Unpack

from tlfeat.backbones.table import DEFAULT_BACKBONE
from tlfeat.data.dataset import Dataset, as_dataset
from tlfeat.data.resize import Resize
from tlfeat.errors import TlfeatError
from tlfeat.features.settings import FeatureSettings
from tlfeat.finetuning.choices import Choice
from tlfeat.finetuning.plan import Phase, read_phases
from tlfeat.finetuning.settings import Classifier, Effort, FinetuneSettings
from tlfeat.report.page import refresh_report
from tlfeat.runs.record import Run
from tlfeat.settings import explained, several
from tlfeat.studies.execute import run_planned
from tlfeat.studies.plan import Study
from tlfeat.studies.planned import PlannedRun
from tlfeat.where import Where, WhereOptions

Augmentation = str | Mapping[str, Any] | Choice
Augmentations = Sequence[Augmentation] | Augmentation


@explained(Where)
def finetune(
    dataset: Dataset | str | Path,
    backbone: str | None = None,
    phases: str | Phase | Mapping[str, Any] | Sequence[Phase | Mapping[str, Any]] | None = None,
    *,
    weights: str | Path | None = None,
    start: str | Path | None = None,
    size: int | None = None,
    resize: str | Resize = "squash",
    top: Classifier | None = None,
    augment: Augmentations = (),
    loss: str = "cross-entropy",
    batch: int = FinetuneSettings.batch,
    precision: str | None = None,
    seed: int = 0,
    cut_dtype: str | None = "float16",
    cut_views: int = 0,
    budget: str | None = None,
    refit: bool | None = None,
    resume: bool = False,
    keep: str = Effort.keep,
    h5: bool = False,
    devices: int = 1,
    memory: int = Effort.memory,
    run_name: str = "",
    **options: Unpack[WhereOptions],
) -> Run:
    """Train a network end to end on the pictures of a dataset and keep the run.

    Parameters
    ----------
    dataset : Dataset, str or Path
        What `open_dataset` gives, or takes.
    backbone : str, optional
        A name of `list_backbones`, or "plain-cnn", ten ReLU layers trained from nothing;
        efficientnet-lite0 if None.
    phases : str, Phase, mapping, or sequence of these, optional
        What is trained, one after the other, on one continuous curve; each phase with a new
        optimizer. A text is a mode. If None mode auto, or full where it starts from another run.
    weights : str or Path, optional
        "imagenet", which None means, "random", or a weight file. A scratch phase takes random
        ones.
    start : str or Path, optional
        A finished run's folder, RUN@EPOCH, or a `.keras` or `.h5` file, to start from instead
        of a backbone and its weights. The file of somebody else must take pixels of 0 to 255 and
        end in a softmax or in logits.
    size : int, optional
        Side in pixels of the square that the network sees; its own size if None.
    resize : {"squash", "crop", "pad"} or Resize
        How a picture becomes that square.
    top : Classifier, optional
        What stands on the backbone; if None one new dense layer, or what `start` has.
    augment : str, mapping, Choice, or sequence of these
        Random changes to the training pictures, see `AUGMENTATIONS`.
    loss : {"cross-entropy", "mse"}
    batch : int
        Pictures a step.
    precision : str, optional
        What is computed in, "float32" or "mixed"; if None that of `start`, which a run keeps, or
        float32.
    seed : int
        Of new weights, of the order of pictures, their changes, dropout, and folds.
    cut_dtype : {"float16", "float32", None}
        How activations below a partial phase's cut are kept in the store; None trains through
        the whole network each time, as augmentation does without `cut_views`.
    cut_views : int
        Changed copies of each training picture of which activations are kept below a cut; each
        epoch takes one of each picture. 0 keeps none.
    budget : str, optional
        The time that the run may take, such as "4m", everything included: of the phase's epochs
        as many are trained as fit into it, and in mode auto above a cut where few would.
    refit : bool, optional
        Train once more with what held rows have chosen, on these too; if None in mode auto, where
        the data have no validation split.
    resume : bool
        Go on where the same fine-tune was stopped.
    keep : str
        Which weights are kept; see `Effort`.
    h5 : bool
        Write the model as `.h5` too.
    devices : int
        GPUs that train side by side.
    memory : int
        Bytes for decoded pictures or activations.
    run_name : str
        What tables call the run; made from its settings if empty.
    **options
        cache, reports, name, engine, jobs, watch: see `Where`.

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

    Examples
    --------
    >>> run = tlfeat.finetune("garments", budget="1m", size=64)  # doctest: +SKIP
    >>> run.metrics["test"]["accuracy"]  # doctest: +SKIP
    """
    where = Where(**options)
    if start is not None and not (backbone is None and weights is None):
        raise TlfeatError(
            f"{start} brings its own network and weights: leave backbone and weights out."
        )
    if phases is None:
        phases = "auto" if start is None else "full"
    said: dict[str, Any] = {"size": size, "precision": precision, "weights": weights}
    said = {name: value for name, value in said.items() if value is not None}
    planned = PlannedRun(
        run_name,
        FeatureSettings(backbone or DEFAULT_BACKBONE, resize=resize, seed=seed, **said),
        training=FinetuneSettings(
            tuple(read_phases(phases)),
            top,
            several(augment),
            loss,
            batch,
            cut_dtype or "none",
            cut_views,
            budget,
            refit,
        ).checked(from_parent=start is not None),
        start=None if start is None else str(start),
        said=said,
    )
    dataset = as_dataset(dataset, where)
    effort = Effort(resume, keep, h5, devices, memory)
    ran = run_planned(Study((planned,), joins=True), dataset, where, effort=effort)
    refresh_report(ran.folder, dataset, cache=where.cache_folder, watch=where.watch)
    (run,) = ran.runs.values()
    return run
