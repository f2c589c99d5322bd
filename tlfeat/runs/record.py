"""A run on disk: one trained model with its metrics, timings, predictions and versions.

run.json is written last, by rename: a run folder without it is unfinished work, and is done
again. It keeps the SHA-256 of the files beside it and of itself, so that nothing that was
changed is shown as a result.
"""

import hashlib
import json
import re
from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from platform import python_version
from typing import TYPE_CHECKING, Any, Final, NamedTuple

import numpy as np

from tlfeat.errors import DamagedFile, HeadError, TlfeatError
from tlfeat.features.settings import FeatureSettings
from tlfeat.files import cannot_write, replacing, write_text
from tlfeat.runs.fields import problem_of
from tlfeat.runs.seal import SEAL, file_digest, is_intact, read_record, sealed
from tlfeat.watch import SILENT, Watch

if TYPE_CHECKING:
    import pandas as pd

    from tlfeat.deploy.predict import Prediction
    from tlfeat.heads.persist import LoadedHead

SCHEMA: Final = 2
UNSEALED: Final = 1  # the schema before records kept digests
RECORD: Final = "run.json"
PREDICTIONS: Final = "predictions.parquet"
HEAD: Final = "head.skops"
MODEL: Final = "model.keras"
MODEL_H5: Final = "model.h5"
HISTORY: Final = "history.csv"  # of a fine-tune: a row an epoch
_KEPT: Final = (PREDICTIONS, HEAD, MODEL, MODEL_H5, HISTORY)
_VERSIONED = ("tlfeat", "numpy", "scikit-learn", "pillow", "openvino", "tensorflow", "keras")


@dataclass(frozen=True)
class Run:
    """One finished run.

    Attributes
    ----------
    path : Path
        The run's folder.
    record : dict
        What run.json holds, see docs/runs.md.
    """

    path: Path
    record: Mapping[str, Any] = field(repr=False)

    def __repr__(self) -> str:
        test = self.metrics.get("test")
        result = "" if test is None else f", test accuracy {test['accuracy']:.3f}"
        return f"<Run {self.name} at {self.path}{result}>"

    @property
    def id(self) -> str:
        """SHA-256 of all that decides the run."""
        return str(self.record["id"])

    @property
    def name(self) -> str:
        """What tables call it."""
        return str(self.record["name"])

    @property
    def metrics(self) -> Mapping[str, Any]:
        """Split name to metrics, see `tlfeat.runs.metrics.evaluate`."""
        metrics: Mapping[str, Any] = self.record["metrics"]
        return metrics

    @property
    def side(self) -> int:
        """Side in pixels of the square that its network sees."""
        return int(self.record["recipes"][0]["size"])

    @property
    def feature_settings(self) -> FeatureSettings:
        """What was said of its network and, of a head, of its features."""
        record = self.record
        said = {"backbone": record["backbone"], "seed": record["seed"]}
        said["weights"] = record.get("weights") or "imagenet"
        if record["kind"] == "head":
            said["features"] = record["features"]
        return FeatureSettings.of_recipe(record["recipes"][0], **said)

    @property
    def gives_probabilities(self) -> bool:
        """Whether its scores are probabilities, so that there is a log loss."""
        return bool(self.record.get("head", {}).get("score_kind", "probability") == "probability")

    @property
    def is_checked(self) -> bool:
        """Whether run.json keeps digests; those of older versions do not."""
        return bool(self.record["schema"] != UNSEALED)

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
        wanted = self.record.get("files", {}).get(name)
        if wanted is not None and path.exists():
            try:
                found = file_digest(path)
            except OSError as error:
                raise DamagedFile(f"{path} cannot be read ({error.strerror}).") from None
            if found != wanted:
                raise DamagedFile(
                    f"{path} is not as it was written (SHA-256 {found[:12]}..., wanted "
                    f"{wanted[:12]}...): run the study again, which makes it anew."
                )
        return path

    def predictions(self) -> "pd.DataFrame":
        """Read the predictions: a row a sample, scores in the order of the classes."""
        import pandas as pd

        return pd.read_parquet(self.file(PREDICTIONS))

    def head(self) -> "LoadedHead":
        """Load the trained head; its `predict` and `scores` take features."""
        from tlfeat.heads.persist import load_head

        if self.record["kind"] != "head":
            raise TlfeatError(f"{self.path} has no head: load its {MODEL} with Keras.")
        head = load_head(self.file(HEAD))
        made = self.record["head"]["name"], tuple(self.record["dataset"]["classes"])
        if (head.name, head.classes) != made:
            raise HeadError(f"{self.path / HEAD} is the head of another run than {RECORD} tells.")
        return head

    def predict(
        self, pictures: "Iterable[str | Path | bytes | np.ndarray] | str | Path", **options: Any
    ) -> "list[Prediction]":
        """Predict pictures; `options` as in `tlfeat.deploy.predict.predict`."""
        from tlfeat.deploy.predict import predict

        return list(predict(self, pictures, **options))


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
    if schema != UNSEALED or SEAL in record:
        wrong = None if is_intact(record) else "its digest is of another text"
    else:
        wrong = None
    wrong = wrong or problem_of(record)
    if wrong is not None:
        raise DamagedFile(
            f"{folder / RECORD} is not as it was written ({wrong}): run the study again, which "
            "makes it anew."
        )
    return Run(folder, record)


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
    found = FoundRuns([], {})
    for path in sorted((study / "runs").glob(f"*/{RECORD}")):
        try:
            run = load_run(path.parent)
            run.file(PREDICTIONS)
        except DamagedFile as error:
            found.damaged[path.parent.name] = str(error)
        else:
            found.runs.append(run)
    return found


def find_runs(study: Path) -> list[Run]:
    """Give the finished runs of a study folder that are as they were written, by name."""
    return scan_runs(study).runs


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
        for name in _KEPT:
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


def run_id(settings: Mapping[str, Any]) -> str:
    """Digest what decides a run: never versions, never times."""
    text = json.dumps(settings, sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(text.encode()).hexdigest()


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
        for found in sorted((study / "runs").glob(f"*-{digest[:8]}/{RECORD}")):
            with suppress(DamagedFile):
                if load_run(found.parent).id == digest:
                    return found.parent
    return folder


def write_record(folder: Path, record: Mapping[str, Any]) -> Run:
    """Finish a run: write run.json, whole, with the digests of what lies beside it."""
    files = {name: file_digest(folder / name) for name in _KEPT if (folder / name).is_file()}
    record = sealed({**record, "schema": SCHEMA, "files": files})
    text = json.dumps(record, indent=1, ensure_ascii=False, allow_nan=False)
    write_text(folder / RECORD, text + "\n")
    return load_run(folder)


def write_predictions(path: Path, parts: Iterable[Mapping[str, Any]]) -> None:
    """Write predictions.parquet.

    Parameters
    ----------
    path : Path
        The file.
    parts : iterable of mapping
        Each with id, split, group, digest (sequences), fold (sequence of int or None),
        true (ndarray of int), scores (ndarray of shape (n, n_classes)); all of one length.
    """
    import pyarrow as pa
    import pyarrow.parquet as pq

    tables = []
    for part in parts:
        scores = np.asarray(part["scores"], dtype=np.float32)
        columns: dict[str, Sequence[Any] | np.ndarray] = {
            "id": pa.array(part["id"], pa.string()),
            "digest": pa.array(part["digest"], pa.string()),
            "split": pa.array(part["split"], pa.string()),
            "fold": pa.array(part["fold"], pa.int16()),
            "group": pa.array(part["group"], pa.string()),
            "true": pa.array(part["true"], pa.int32()),
            "predicted": pa.array(scores.argmax(axis=1), pa.int32()),
        }
        columns |= {f"score_{i}": scores[:, i] for i in range(scores.shape[1])}
        tables.append(pa.table(columns))
    with replacing(path) as fresh:
        pq.write_table(pa.concat_tables(tables), fresh)


def versions() -> dict[str, str]:
    """Give the versions of what computed a run, without importing any of it."""
    found = {"python": python_version()}
    for name in _VERSIONED:
        try:
            found[name] = version(name)
        except PackageNotFoundError:
            continue
    return found
