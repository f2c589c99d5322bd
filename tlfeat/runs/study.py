"""A study's folder: the runs on one dataset, and study.toml, which says what it is."""

import re
import tomllib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from tlfeat.data.dataset import Dataset
from tlfeat.errors import DamagedFile, first_line
from tlfeat.files import write_text
from tlfeat.runs.record import Run, find_runs

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


def write_study(
    folder: Path,
    dataset: Dataset,
    runs: Sequence[Run],
    asked: Sequence[Mapping[str, Any]] = (),
) -> None:
    """Write study.toml: the dataset and the runs, every setting resolved.

    It is a study file, which makes these runs again. A run that starts from a model elsewhere
    is left out: a study names only its own.

    Parameters
    ----------
    folder : Path
        The study's.
    dataset : Dataset
    runs : sequence of Run
        Those that are finished.
    asked : sequence of mapping
        Those that are not, as `resolved_head` gives them.
    """
    import tomli_w

    data: dict[str, Any] = {
        "path": _location(dataset),
        "layout": dataset.kind,
        **dataset.asked,
        "fingerprint": dataset.fingerprint,
    }
    named = [run.name for run in runs]
    names = {
        run.id: run.name if named.count(run.name) == 1 else f"{run.name}-{run.id[:8]}"
        for run in runs
    }
    study = {
        "schema": SCHEMA,
        "name": folder.name,
        "data": data,
        "run": [_resolved(run, names) for run in runs if _is_of_here(run, names)]
        + [dict(one) for one in asked if one["name"] not in names.values()],
    }
    write_text(folder / STUDY_FILE, tomli_w.dumps(study))


def read_toml(path: Path) -> dict[str, Any]:
    """Read a TOML file, whatever lies there.

    Raises
    ------
    DamagedFile
        If there is none, it cannot be read, or is not TOML.
    """
    try:
        return tomllib.loads(path.read_bytes().decode("utf-8"))
    except (OSError, ValueError, RecursionError) as error:
        raise DamagedFile(
            f"{path} cannot be read as TOML ({first_line(error)}): mend it, or take it away."
        ) from None


def comparable_runs(folder: Path, dataset: Dataset) -> list[Run]:
    """Give a study's finished runs on exactly this dataset and split."""
    return [
        run
        for run in find_runs(folder)
        if run.dataset.fingerprint == dataset.fingerprint
        and run.split.fingerprint == dataset.split_fingerprint
    ]


def _is_of_here(run: Run, names: Mapping[str, str]) -> bool:
    """Say whether a run starts from nothing, or from a run of this study."""
    return run.parent is None or run.parent.run in names


def _resolved(run: Run, names: Mapping[str, str]) -> dict[str, Any]:
    """Give a run as a study file has it, every setting said."""
    said: dict[str, Any] = {"seed": run.seed, "stand_in": run.stand_in}
    if not run.is_finetune:
        return resolved_head(
            names[run.id],
            run.recipes[0].as_dict(),
            run.settings,
            backbone=run.backbone,
            weights=run.weights,
            features=run.features,
            **said,
        )
    if run.parent is None:
        start = {"backbone": run.backbone, "weights": run.weights}
    else:
        epoch = "" if run.parent.epoch is None else f"@{run.parent.epoch}"
        start = {"from": names[str(run.parent.run)] + epoch}
    settings = {"name": names[run.id], **start, **_pictures(run.pictures.as_dict()), **said}
    return without_none(settings | _resolved_finetune(run))


def resolved_head(
    name: str,
    recipe: Mapping[str, Any],
    head: Mapping[str, Any],
    *,
    backbone: str,
    weights: str | None,
    features: str,
    seed: int,
    stand_in: str | None,
) -> dict[str, Any]:
    """Give a head's run as a study file has it.

    Parameters
    ----------
    name : str
    recipe : mapping
        The first of its recipes.
    head : mapping
        name, params, search, class_weight and refit.
    backbone, weights, features, seed, stand_in
        As in a record.

    Returns
    -------
    settings : dict
    """
    settings = {
        "name": name,
        "backbone": backbone,
        "weights": weights,
        **_pictures(recipe),
        "seed": seed,
        "stand_in": stand_in,
        "head": head["name"],
        "features": features,
        "dtype": recipe["dtype"],
        "search": head["search"],
        "refit": head["refit"],
        "class_weight": head["class_weight"],
        "set": {f"head.{key}": _plain(value) for key, value in head["params"].items()} or None,
    }
    return without_none(settings)


def _pictures(recipe: Mapping[str, Any]) -> dict[str, Any]:
    return {
        "size": recipe["size"],
        "resize": recipe["resize"]["rule"],
        "precision": recipe["precision"],
    }


def _plain(value: Any) -> Any:
    return list(value) if isinstance(value, tuple) else value


def _resolved_finetune(run: Run) -> dict[str, Any]:
    top, view = run.top, run.pictures.view
    measured = ("trainable", "trained_epochs")
    said = {
        "top": top["kind"],
        "hidden": "-".join(str(units) for units in top["hidden"]) or None,
        "dropout": top["dropout"],
    }
    return {
        **({} if run.keeps_top else said),
        "augment": None if isinstance(view, str) else [without_none(one) for one in view],
        "loss": run.loss,
        "batch": run.batch,
        "cut_dtype": run.cut_dtype or "none",
        "phase": [
            without_none({key: value for key, value in phase.items() if key not in measured})
            for phase in run.phases
        ],
    }


def without_none(values: Mapping[str, Any]) -> dict[str, Any]:
    """Leave out what is None, which TOML has not, in tables in it too."""
    return {
        key: without_none(value) if isinstance(value, Mapping) else value
        for key, value in values.items()
        if value is not None
    }


def _is_of(folder: Path, dataset: Dataset) -> bool:
    try:
        data = read_toml(folder / STUDY_FILE).get("data", {})
    except DamagedFile as error:
        raise DamagedFile(f"{error} Or choose another --name.") from None
    return isinstance(data, Mapping) and bool(
        data.get("path") == _location(dataset) or data.get("fingerprint") == dataset.fingerprint
    )


def _location(dataset: Dataset) -> str:
    path = Path(dataset.path)
    return str(path.resolve()) if path.exists() else dataset.path
