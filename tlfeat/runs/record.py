"""A run on disk: one trained model with its metrics, timings, predictions and versions.

run.json is written last, by rename: a run folder without it is unfinished work, and
is done again.
"""

import hashlib
import json
import os
import platform
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from tlfeat.cores import usable_cores
from tlfeat.errors import TlfeatError

if TYPE_CHECKING:
    import pandas as pd

    from tlfeat.deploy.predict import Prediction
    from tlfeat.heads.persist import LoadedHead

SCHEMA = 1
RECORD = "run.json"
PREDICTIONS = "predictions.parquet"
HEAD = "head.skops"
_VERSIONED = ("tlfeat", "numpy", "scikit-learn", "pillow", "openvino", "tensorflow", "keras")


@dataclass(frozen=True)
class Run:
    """One finished run.

    Attributes
    ----------
    path : Path
        The run's folder.
    record : dict
        What run.json holds; docs/formats.md names every field.
    """

    path: Path
    record: Mapping[str, Any]

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

    def predictions(self) -> "pd.DataFrame":
        """Read the predictions: a row a sample, scores in the order of the classes."""
        import pandas as pd

        return pd.read_parquet(self.path / PREDICTIONS)

    def head(self) -> "LoadedHead":
        """Load the trained head; its `predict` and `scores` take features."""
        from tlfeat.heads.persist import load_head

        if self.record["kind"] != "head":
            raise TlfeatError(f"{self.path} has no head: load its model.keras with Keras.")
        return load_head(self.path / HEAD)

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
    """
    folder = Path(path)
    try:
        record = json.loads((folder / RECORD).read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise TlfeatError(
            f"No finished run at {folder}: a run's folder has a {RECORD}. "
            "`tlfeat train` prints where it put one."
        ) from None
    except (OSError, ValueError) as error:
        raise TlfeatError(f"{folder / RECORD} cannot be read: {error}") from None
    if record.get("schema") != SCHEMA:
        raise TlfeatError(
            f"{folder / RECORD} has schema {record.get('schema')!r} and this tlfeat reads "
            f"{SCHEMA}: use the version that wrote it, or train again."
        )
    return Run(folder, record)


def find_runs(study: Path) -> list[Run]:
    """Give the finished runs of a study folder, by name."""
    found = (study / "runs").glob(f"*/{RECORD}")
    return [load_run(path.parent) for path in sorted(found)]


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
            if load_run(found.parent).id == digest:
                return found.parent
    return folder


def write_record(folder: Path, record: Mapping[str, Any]) -> Run:
    """Finish a run: write run.json under another name, then rename it."""
    text = json.dumps({"schema": SCHEMA, **record}, indent=1, ensure_ascii=False, allow_nan=False)
    write_text(folder / RECORD, text + "\n")
    return load_run(folder)


def write_text(path: Path, text: str) -> None:
    """Write a file so that a reader sees the old text or the new, never a part."""
    path.parent.mkdir(parents=True, exist_ok=True)
    fresh = path.with_name(f".{path.name}.{os.getpid()}")
    fresh.write_text(text, encoding="utf-8")
    fresh.replace(path)


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
    fresh = path.with_name(f".{path.name}.{os.getpid()}")
    pq.write_table(pa.concat_tables(tables), fresh)
    fresh.replace(path)


def versions() -> dict[str, str]:
    """Give the versions of what computed a run, without importing any of it."""
    found = {"python": platform.python_version()}
    for name in _VERSIONED:
        try:
            found[name] = version(name)
        except PackageNotFoundError:
            continue
    return found


def machine() -> dict[str, Any]:
    """Say what computed a run."""
    return {
        "system": platform.system(),
        "processor": _processor(),
        "cores": usable_cores(),
    }


def _processor() -> str:
    try:
        for line in Path("/proc/cpuinfo").read_text().splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    except OSError:
        pass
    return platform.processor() or platform.machine()
