"""study.toml: a study with every setting resolved, which is a study file again."""

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from tlfeat.data.dataset import Dataset
from tlfeat.studies.plan import Study
from tlfeat.studies.planned import PlannedRun
from tlfeat.studies.schema import SCHEMA
from tlfeat.studies.standins import data_stand_in, run_stand_in


def resolved_study(study: Study, dataset: Dataset, name: str) -> str:
    """Write a study as the TOML that would run it again as it is run now.

    Parameters
    ----------
    study : Study
    dataset : Dataset
        The pictures that it is run on.
    name : str
        Of its folder.

    Returns
    -------
    text : str
        Without grids, defaults and [quick]: all of them are settled.
    """
    import tomli_w

    path = Path(dataset.path)
    data: dict[str, Any] = {
        **study.data,
        "path": str(path.resolve()) if path.exists() else dataset.path,
        "layout": dataset.kind,
        "split_seed": dataset.split_seed,
        "fingerprint": dataset.fingerprint,
    }
    stand_in = data_stand_in(study, dataset)
    written: dict[str, Any] = {"schema": SCHEMA, "name": name}
    if study.table is not None:
        written["table"] = study.table
    runs = [replace(run, stand_in=run_stand_in(run, stand_in)) for run in study.runs]
    return tomli_w.dumps(
        {**written, "data": data, "run": [_resolved(run, study.folder) for run in runs]}
    )


def _found(weights: str, folder: Path | None) -> str:
    """Give where a weight file is, so that it is found from wherever study.toml lies."""
    for place in (Path(weights).expanduser(), (folder or Path()) / weights):
        if weights not in ("imagenet", "random") and place.is_file():
            return str(place.resolve())
    return weights


def _resolved(run: PlannedRun, folder: Path | None) -> dict[str, Any]:
    values: dict[str, Any] = {"name": run.name}
    if run.start is not None:
        values["from"] = run.start
    else:
        values |= {"backbone": run.backbone, "weights": _found(run.weights, folder)}
    values |= {
        "size": run.size,
        "resize": run.resize,
        "precision": run.precision,
        "seed": run.seed,
        "stand_in": run.stand_in,
    }
    if run.head is not None:
        plan = run.head
        values |= {
            "head": plan.head,
            "features": run.features,
            "dtype": run.dtype,
            "search": plan.search,
            "refit": plan.refit,
            "class_weight": plan.class_weight,
            "set": {f"head.{name}": _plain(value) for name, value in plan.params.items()} or None,
        }
        return _there(values)
    if run.top is not None:
        values |= {
            "top": run.top.kind,
            "hidden": "-".join(str(size) for size in run.top.hidden) or None,
            "dropout": run.top.dropout,
        }
    values |= {
        "augment": [_there(choice.as_dict()) for choice in run.augment] or None,
        "loss": run.loss,
        "batch": run.batch,
        "cut_dtype": run.cut_dtype,
        "keep": run.keep,
        "phase": [_there(phase.as_dict()) for phase in run.phases],
    }
    return _there(values)


def _plain(value: Any) -> Any:
    return list(value) if isinstance(value, tuple) else value


def _there(values: Mapping[str, Any]) -> dict[str, Any]:
    """Leave out what is None, which TOML has not."""
    return {
        name: _there(value) if isinstance(value, Mapping) else value
        for name, value in values.items()
        if value is not None
    }
