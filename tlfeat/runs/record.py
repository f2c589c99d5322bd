"""A run on disk: one trained model with its metrics, timings, predictions and versions.

run.json is written last, by rename: a run folder without it is unfinished work, and is done
again. It keeps the SHA-256 of the files beside it and of itself, so that nothing that was
changed is shown as a result.
"""

import re
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, NamedTuple, Self

from tlfeat.backbones.table import DEFAULT_BACKBONE, list_backbones
from tlfeat.errors import DamagedFile, HeadError, TlfeatError
from tlfeat.features.recipe import PictureRule, Recipe
from tlfeat.features.settings import AUTO, FeatureSettings
from tlfeat.files import cannot_write, file_digest
from tlfeat.parquet import read_parquet
from tlfeat.runs.facts import (
    DatasetFacts,
    HeadFacts,
    Parameters,
    ParentFacts,
    SplitFacts,
    known_fields,
    read_facts,
)
from tlfeat.runs.fields import as_today, problem_of
from tlfeat.runs.seal import SEAL, is_intact, read_record
from tlfeat.watch import SILENT, Watch

if TYPE_CHECKING:
    import pandas as pd

    from tlfeat.data.dataset import Dataset
    from tlfeat.heads.persist import LoadedHead

SCHEMA: Final = 3
UNSEALED: Final = 1  # the schema before records kept digests
RECORD: Final = "run.json"
PREDICTIONS: Final = "predictions.parquet"
HEAD: Final = "head.skops"
MODEL: Final = "model.keras"
MODEL_H5: Final = "model.h5"
HISTORY: Final = "history.csv"  # of a fine-tune: a row an epoch
NOVELTY: Final = "novelty.npz"  # of a head: what tells known from unknown pictures
KEPT: Final = (PREDICTIONS, HEAD, NOVELTY, MODEL, MODEL_H5, HISTORY)


@dataclass(frozen=True, repr=False)
class Run:
    """One finished run: what run.json says, a field for each thing, and the files beside it.

    `load_run` and `Run.of` make one.

    Examples
    --------
    >>> run = tlfeat.find_run("garments")  # doctest: +SKIP
    >>> run.name, run.metrics["test"]["accuracy"]  # doctest: +SKIP
    >>> predictions = run.predictions()  # doctest: +SKIP
    """

    path: Path  # the run's folder
    record: Mapping[str, Any]  # run.json as it is, to hand on; the fields below are its values
    id: str  # SHA-256 of all that decides the run
    name: str  # what tables call it
    kind: str  # "head" or "finetune"
    created: str  # ISO 8601, UTC
    backbone: str
    features: str  # SPEC of the feature matrix; "pixels" of a fine-tune
    weights_digest: str  # of what the network started from
    dataset: DatasetFacts
    split: SplitFacts
    parent: ParentFacts | None  # what a fine-tune starts from, where it is no backbone
    seed: int
    n_train: int  # pictures
    parameters: Parameters
    metrics: Mapping[str, Any]  # split to metrics, see `tlfeat.runs.metrics.evaluate`
    seconds: Mapping[str, float | None]  # extract, search, fit, predict; None where not measured
    ms_per_image: float | None  # of one of many pictures, from file to answer
    stand_in: str | None  # what its weights or pictures stand in for
    versions: Mapping[str, str]
    machine: Mapping[str, Any]
    warnings: Sequence[str]
    weights: str | None = None  # as the user calls them; None of a parent's, and of old records
    # Of a head that chose its features: the candidates, what each is worth, those left out
    auto: Mapping[str, Any] | None = None
    # Of a fine-tune; a head has none of these.
    phases: Sequence[Mapping[str, Any]] = ()
    top: Mapping[str, Any] = field(default_factory=dict)  # kind, hidden, dropout
    keeps_top: bool = False  # whether the classifier is that of its parent
    loss: str = ""
    batch: int = 0  # pictures a step
    cut_dtype: str | None = None  # of stored activations
    methods: Mapping[str, int] | None = None  # of choices whose numbers changed since the first
    later_settings: Mapping[str, Any] = field(
        default_factory=dict
    )  # unusual settings of later versions
    start: Mapping[str, Any] | None = None  # split to loss and accuracy before the first step
    history: Sequence[dict[str, Any]] = ()  # a row an epoch
    best_epoch: Mapping[str, int] = field(default_factory=dict)  # by accuracy and by loss
    refit: Mapping[str, Any] | None = None  # history of the training on the held rows too
    file_bytes: int | None = None  # of the model

    @classmethod
    def of(cls, path: Path, record: Mapping[str, Any], **more: Any) -> Self:
        """Make a run of its folder and its record, of today's schema and checked.

        Parameters
        ----------
        path : Path
        record : mapping
        more : Any
            Fields that a class made of this one has besides.
        """
        parent = record["parent"]
        parts = {
            "dataset": read_facts(DatasetFacts, record["dataset"]),
            "split": read_facts(SplitFacts, record["split"]),
            "parent": None if parent is None else read_facts(ParentFacts, parent),
            "parameters": read_facts(Parameters, record["parameters"]),
        }
        return cls(
            **{**known_fields(cls, record), **parts, "path": path, "record": record, **more}
        )

    def changed(self, **values: Any) -> "Run":
        """Give the run with other values in its record; nothing is written."""
        return Run.of(self.path, {**self.record, **values})

    def __repr__(self) -> str:
        test = self.metrics.get("test")
        result = "" if test is None else f", test accuracy {test['accuracy']:.3f}"
        return f"<Run {self.name} at {self.path}{result}>"

    @property
    def study(self) -> Path:
        """Folder of the study that it belongs to."""
        return self.path.parent.parent

    @property
    def is_finetune(self) -> bool:
        """Whether a network was trained end to end; else a head on features was."""
        return self.kind == "finetune"

    @property
    def recipes(self) -> tuple[Recipe, ...]:
        """Of the feature matrix, one for each part; a fine-tune has none."""
        return tuple(Recipe.from_dict(fields) for fields in self.record["recipes"])

    @property
    def pictures(self) -> PictureRule:
        """What its network sees of a picture."""
        return PictureRule.from_dict(self.record["pictures"])

    @property
    def picture_rule(self) -> PictureRule:
        """What its network sees of a picture, of a head as its recipes say it."""
        return self.recipes[0].pictures if self.recipes else self.pictures

    @property
    def engine(self) -> str | None:
        """What a fine-tune was measured by; None of a head, and before it was written down."""
        engine: str | None = self.record.get("engine")
        return engine

    @property
    def head_settings(self) -> HeadFacts:
        """What a head was asked to be, and what the search chose; a fine-tune has none."""
        return read_facts(HeadFacts, self.record["head"])

    @property
    def settings(self) -> Mapping[str, Any]:
        """What was asked of the head or the fine-tune, and what the search chose."""
        if not self.is_finetune:
            head = vars(self.head_settings)
            return {key: head[key] for key in head if key not in ("grid", "tried")}
        asked = ("phases", "top", "loss", "batch", "cut_dtype", "methods", "later_settings")
        return {key: getattr(self, key) for key in asked}

    @property
    def feature_settings(self) -> FeatureSettings:
        """What was said of its network and, of a head, of its features."""
        said: dict[str, Any] = {"backbone": self.backbone, "seed": self.seed}
        said["weights"] = self.weights or "imagenet"
        if self.is_finetune:
            return FeatureSettings.of_recipe(self.record["pictures"], **said)
        features = self.features if self.auto is None else AUTO
        return FeatureSettings.of_recipe(self.record["recipes"][0], features=features, **said)

    @property
    def network_features(self) -> FeatureSettings:
        """What gives the features of its own network, trained or not; of a fine-tune `last:avg`.

        Raises
        ------
        TlfeatError
            If the network is not one of the table.
        """
        if not self.is_finetune:
            return replace(self.feature_settings, features=self.features)
        if self.backbone not in [row.name for row in list_backbones()]:
            raise TlfeatError(
                f"{self.name} is a fine-tune of {self.backbone}, of which no layers are known: "
                f"features are of the networks of the table, such as {DEFAULT_BACKBONE}."
            )
        features = FeatureSettings.features
        return replace(
            self.feature_settings, features=features, weights=str(self.file(MODEL).resolve())
        )

    @property
    def gives_probabilities(self) -> bool:
        """Whether its scores are probabilities, so that there is a log loss."""
        return self.is_finetune or self.head_settings.score_kind == "probability"

    @property
    def is_checked(self) -> bool:
        """Whether run.json keeps digests; those of older versions do not."""
        return bool(self.record["schema"] != UNSEALED)

    @property
    def version(self) -> str:
        """What changes with whatever is in run.json: its own digest, else when it was made."""
        return str(self.record.get(SEAL) or self.created)

    @property
    def files(self) -> Mapping[str, str]:
        """Name to SHA-256 of the files beside run.json; none are known of older versions."""
        files: Mapping[str, str] = self.record.get("files") or {}
        return files

    def file(self, name: str) -> Path:
        """Give the path of a file of the run, seeing that it is as it was written.

        Parameters
        ----------
        name : str
            Such as "head.skops".

        Raises
        ------
        DamagedFile
            If it is not what it was; one that is gone, or that nobody wrote down, is let pass.
        """
        path = self.path / name
        wanted = self.files.get(name)
        if wanted is not None and path.exists():
            try:
                digest = file_digest(path)
            except OSError as error:
                raise DamagedFile(f"{path} cannot be read ({error.strerror}).") from None
            if digest != wanted:
                raise DamagedFile(
                    f"{path} is not as it was written (SHA-256 {digest[:12]}..., wanted "
                    f"{wanted[:12]}...): run the study again, which makes it anew."
                )
        return path

    def predictions(self) -> "pd.DataFrame":
        """Read the predictions: a row a sample, scores in the order of the classes."""
        with self.file(PREDICTIONS).open("rb") as file:
            frame: pd.DataFrame = read_parquet(file).to_pandas(use_threads=False)
        return frame

    def head(self) -> "LoadedHead":
        """Load the trained head; its `predict` and `scores` take features."""
        from tlfeat.heads.persist import load_head

        if self.is_finetune:
            raise TlfeatError(f"{self.path} has no head: load its {MODEL} with Keras.")
        head = load_head(self.file(HEAD))
        if (head.name, head.classes) != (self.head_settings.name, tuple(self.dataset.classes)):
            raise HeadError(f"{self.path / HEAD} is the head of another run than {RECORD} tells.")
        return head


def load_run(path: str | Path) -> Run:
    """Open a finished run.

    Parameters
    ----------
    path : str or Path
        A run's folder, as `tlfeat train` prints it.

    Returns
    -------
    run : Run

    Raises
    ------
    TlfeatError
        If there is no finished run, or one of a later schema.
    DamagedFile
        If run.json is not as it was written.

    Examples
    --------
    >>> path = tlfeat.find_run("garments").path  # doctest: +SKIP
    >>> tlfeat.load_run(path).name  # doctest: +SKIP
    """
    folder = Path(path)
    try:
        record = read_record(folder / RECORD)
    except (FileNotFoundError, NotADirectoryError):
        raise TlfeatError(
            f"No finished run at {folder}: a run's folder has a {RECORD}. "
            "`tlfeat train` prints where it put one."
        ) from None
    schema = record.get("schema")
    if isinstance(schema, int) and schema > SCHEMA and is_intact(record):
        raise TlfeatError(
            f"{folder / RECORD} has schema {schema} and this tlfeat reads {SCHEMA}: use the "
            "version that wrote it, or train again."
        )
    changed = (schema != UNSEALED or SEAL in record) and not is_intact(record)
    wrong = "its digest is of another text" if changed else problem_of(record)
    if wrong is not None:
        raise DamagedFile(
            f"{folder / RECORD} is not as it was written ({wrong}): run the study again, which "
            "makes it anew."
        )
    return Run.of(folder, as_today(record))


class FoundRuns(NamedTuple):
    """The finished runs of a study folder."""

    runs: list[Run]  # by name of their folders
    damaged: dict[str, str]  # name of a folder to what is wrong with it


def scan_runs(study: Path) -> FoundRuns:
    """Find the finished runs of a study folder, and those that are not as they were written.

    Raises
    ------
    TlfeatError
        If a run is of a later schema.
    """
    runs, damaged = [], {}
    for path in sorted((study / "runs").glob(f"*/{RECORD}")):
        try:
            run = load_run(path.parent)
            run.file(PREDICTIONS)
        except DamagedFile as error:
            damaged[path.parent.name] = str(error)
        else:
            runs.append(run)
    return FoundRuns(runs, damaged)


def find_runs(study: Path) -> list[Run]:
    """Give the finished runs of a study folder that are as they were written, by name."""
    return scan_runs(study).runs


def comparable_runs(folder: Path, dataset: "Dataset") -> list[Run]:
    """Give a study's finished runs on exactly this dataset and split."""
    return [
        run
        for run in find_runs(folder)
        if run.dataset.fingerprint == dataset.fingerprint
        and run.split.fingerprint == dataset.split_fingerprint
    ]


def finished_run(folder: Path, watch: Watch = SILENT) -> Run | None:
    """Give the run of a folder, if it is finished and all of it is as it was written.

    One that was changed counts as unfinished from now on: its record is kept under another
    name, and `watch` hears of it.

    Raises
    ------
    TlfeatError
        If the record cannot be renamed.
    """
    if not (folder / RECORD).exists():
        return None
    try:
        run = load_run(folder)
        for name in KEPT:
            run.file(name)
    except DamagedFile as error:
        watch.warn(str(error))
        aside = folder / f"{RECORD}.damaged"
        try:
            (folder / RECORD).replace(aside)
        except OSError as cannot:
            raise cannot_write(aside, cannot) from cannot
        return None
    return run


def as_text(value: Any) -> str:
    """Write a setting's value for a name: 1 for 1.0, 1e-05 for 0.00001.

    Examples
    --------
    >>> as_text(1.0), as_text((0.01, 1.0)), as_text("scale")
    ('1', '0.01,1', 'scale')
    """
    if isinstance(value, list | tuple):
        return ",".join(as_text(one) for one in value)
    return f"{value:g}" if isinstance(value, float) else str(value)


def run_folder(study: Path, name: str, digest: str) -> Path:
    """Give the folder of a run; one that is finished keeps the name it was given first."""
    folder = study / "runs" / f"{re.sub(r'[^A-Za-z0-9_.=-]+', '-', name)}-{digest[:8]}"
    if not (folder / RECORD).exists():
        for record in sorted((study / "runs").glob(f"*-{digest[:8]}/{RECORD}")):
            with suppress(DamagedFile):
                if load_run(record.parent).id == digest:
                    return record.parent
    return folder
