"""study.toml: a study with every setting resolved, which is a study file again."""

from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

from tlfeat.data.dataset import Dataset
from tlfeat.runs.study import resolved_head, without_none
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
    pictures = {"size": run.size, "resize": run.resize, "precision": run.precision}
    weights = _found(run.weights, folder)
    if run.head is not None:
        return resolved_head(
            run.name,
            {**pictures, "resize": {"rule": run.resize}, "dtype": run.dtype},
            asdict(run.head) | {"name": run.head.head},
            backbone=run.backbone,
            weights=weights,
            features=run.features,
            seed=run.seed,
            stand_in=run.stand_in,
        )
    own = {"backbone": run.backbone, "weights": weights}
    values: dict[str, Any] = {
        "name": run.name,
        **(own if run.start is None else {"from": run.start}),
        **pictures,
        "seed": run.seed,
        "stand_in": run.stand_in,
    }
    if run.top is not None:
        values |= {
            "top": run.top.kind,
            "hidden": "-".join(str(size) for size in run.top.hidden) or None,
            "dropout": run.top.dropout,
        }
    values |= {
        "augment": [without_none(choice.as_dict()) for choice in run.augment] or None,
        "loss": run.loss,
        "batch": run.batch,
        "cut_dtype": run.cut_dtype,
        "keep": run.keep,
        "phase": [without_none(phase.as_dict()) for phase in run.phases],
    }
    return without_none(values)
