"""Writing a run: its record, last and whole, and its predictions."""

import json
from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from datetime import UTC, datetime
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from platform import python_version
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from tlfeat.files import file_digest, replacing, write_text
from tlfeat.machine import machine
from tlfeat.runs.record import KEPT, RECORD, SCHEMA, Run, load_run
from tlfeat.runs.seal import sealed

if TYPE_CHECKING:
    from tlfeat.data.dataset import Dataset
    from tlfeat.data.samples import Skipped

_VERSIONED: Final = (
    "tlfeat",
    "numpy",
    "scikit-learn",
    "pillow",
    "openvino",
    "tensorflow",
    "keras",
)


def common_record(
    dataset: "Dataset",
    skipped: "Sequence[Skipped]",
    metrics: Mapping[str, Any],
    *,
    held_out: str | None = None,
    **facts: Any,
) -> dict[str, Any]:
    """Give what run.json holds of every run.

    Parameters
    ----------
    dataset : Dataset
    skipped : sequence of Skipped
        Pictures that could not be used.
    metrics : mapping
        Split to what `evaluate` gives.
    held_out : str, optional
        Which pictures a fine-tune chose by.
    facts : Any
        The other fields of `Run`, by name, and what is of one kind of run alone.
    """
    warnings = list(facts.pop("warnings"))
    if "test" not in metrics:
        warnings.append("The dataset has no test pictures: nothing is reported on test.")
    return {
        **facts,
        "created": datetime.now(UTC).isoformat(timespec="seconds"),
        "dataset": {
            "source": dataset.path,
            "kind": dataset.kind,
            "fingerprint": dataset.fingerprint,
            "classes": list(dataset.classes),
            "counts": dataset.counts(),
            "asked": dict(dataset.asked),
            "skipped": [{"id": one.id, "reason": one.reason} for one in skipped],
        },
        "split": {
            "rule": dataset.split_rule,
            "seed": dataset.split_seed,
            "fingerprint": dataset.split_fingerprint,
            **({} if held_out is None else {"validation": held_out}),
        },
        "metrics": metrics,
        "versions": versions(),
        "machine": machine(),
        "warnings": warnings,
    }


def write_record(folder: Path, record: Mapping[str, Any]) -> Run:
    """Finish a run: write run.json, whole, with the digests of what lies beside it."""
    files = {name: file_digest(folder / name) for name in KEPT if (folder / name).is_file()}
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
    with replacing(path) as fresh, fresh.open("wb") as file:  # a path may be taken for a URI
        pq.write_table(pa.concat_tables(tables), file)


def versions() -> dict[str, str]:
    """Give the versions of what computed a run, without importing any of it."""
    installed = {"python": python_version()}
    for name in _VERSIONED:
        with suppress(PackageNotFoundError):
            installed[name] = version(name)
    return installed
