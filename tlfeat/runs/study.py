"""A study's folder: the runs on one dataset, and study.toml, which says what it is."""

import re
import tomllib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from tlfeat.data.dataset import Dataset
from tlfeat.errors import TlfeatError
from tlfeat.runs.record import Run, find_runs, write_text

SCHEMA = 1
STUDY_FILE = "study.toml"


def study_folder(reports: Path, dataset: Dataset, name: str | None = None) -> Path:
    """Choose the folder of the study of a dataset; nothing is written.

    Parameters
    ----------
    reports : Path
        Folder of all studies.
    dataset : Dataset
    name : str, optional
        The dataset's name if None. Where another dataset has taken it, "-2" is added,
        then "-3" and so on.

    Returns
    -------
    folder : Path
    """
    wanted = re.sub(r"[^\w.=-]+", "-", name or dataset.name).strip("-.") or "study"
    number = 1
    while True:
        folder = reports / (wanted if number == 1 else f"{wanted}-{number}")
        if not (folder / STUDY_FILE).exists() or _is_of(folder, dataset):
            return folder
        number += 1


def write_study(folder: Path, dataset: Dataset, runs: Sequence[Run]) -> None:
    """Write study.toml: the dataset and the runs, every setting resolved."""
    import tomli_w

    data: dict[str, Any] = {
        "path": _location(dataset),
        "kind": dataset.kind,
        "fingerprint": dataset.fingerprint,
        "split_seed": dataset.split_seed,
    }
    study = {
        "schema": SCHEMA,
        "name": folder.name,
        "data": data,
        "run": [_resolved(run) for run in runs],
    }
    write_text(folder / STUDY_FILE, tomli_w.dumps(study))


def comparable_runs(folder: Path, dataset: Dataset) -> list[Run]:
    """Give a study's finished runs on exactly this dataset and split."""
    return [
        run
        for run in find_runs(folder)
        if run.record["dataset"]["fingerprint"] == dataset.fingerprint
        and run.record["split"]["fingerprint"] == dataset.split_fingerprint
    ]


def _resolved(run: Run) -> dict[str, Any]:
    record = run.record
    if record["kind"] == "finetune":
        return _resolved_finetune(run)
    settings = {"name": run.name, "backbone": record["backbone"], "features": record["features"]}
    head = record["head"]
    settings |= {"head": head["name"], "search": head["search"], "seed": record["seed"]}
    if head["params"]:
        settings["set"] = {f"head.{key}": value for key, value in head["params"].items()}
    if head["class_weight"]:
        settings["class_weight"] = head["class_weight"]
    return settings


def _resolved_finetune(run: Run) -> dict[str, Any]:
    record = run.record
    recipe = record["recipes"][0]
    settings: dict[str, Any] = {
        "name": run.name,
        "backbone": record["backbone"],
        "size": recipe["size"],
        "batch": record["batch"],
        "loss": record["loss"],
        "top": record["top"],
        "seed": record["seed"],
    }
    if recipe["view"] != "plain":
        settings["augment"] = [_given(one) for one in recipe["view"]]
    if record["parent"]:
        settings["from"] = _given(record["parent"])
    measured = ("trainable", "trained_epochs")
    settings["phase"] = [
        _given({key: value for key, value in phase.items() if key not in measured})
        for phase in record["phases"]
    ]
    return settings


def _given(values: Mapping[str, Any]) -> dict[str, Any]:
    """Leave out what is None, which TOML has not."""
    return {
        key: _given(value) if isinstance(value, Mapping) else value
        for key, value in values.items()
        if value is not None
    }


def _is_of(folder: Path, dataset: Dataset) -> bool:
    try:
        data = tomllib.loads((folder / STUDY_FILE).read_text(encoding="utf-8"))["data"]
    except (OSError, tomllib.TOMLDecodeError, KeyError) as error:
        raise TlfeatError(
            f"{folder / STUDY_FILE} cannot be read ({error}): mend or remove it, or choose "
            "another --name."
        ) from None
    return bool(
        data.get("path") == _location(dataset) or data.get("fingerprint") == dataset.fingerprint
    )


def _location(dataset: Dataset) -> str:
    path = Path(dataset.path)
    return str(path.resolve()) if path.exists() else dataset.path
