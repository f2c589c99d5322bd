"""study.toml: a study with every setting resolved, which is a study file again."""

from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import fields
from pathlib import Path
from typing import Any

from tlfeat.data.dataset import Dataset
from tlfeat.data.resize import Resize
from tlfeat.errors import TlfeatError
from tlfeat.features.settings import FeatureSettings
from tlfeat.finetuning.settings import FinetuneSettings
from tlfeat.runs.facts import ParentFacts
from tlfeat.runs.orders import HeadPlan
from tlfeat.runs.record import Run
from tlfeat.settings import said_values
from tlfeat.studies.plan import Study
from tlfeat.studies.planned import PlannedRun
from tlfeat.studies.schema import RUN_KEYS, SCHEMA
from tlfeat.where import location_of


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

    data: dict[str, Any] = {
        **study.data,
        "path": location_of(dataset),
        "layout": dataset.kind,
        **dataset.asked,
        "split_seed": dataset.split_seed,
        "fingerprint": dataset.fingerprint,
    }
    written: dict[str, Any] = {"schema": SCHEMA, "name": name}
    if study.table is not None:
        written["table"] = study.table
    runs = [_row(run, study.folder) for run in study.runs]
    return tomli_w.dumps({**written, "data": data, "run": runs})


def names_of(runs: Sequence[Run]) -> dict[str, str]:
    """Give each run's id with its name, with digits of the id where several have one name."""
    often = [run.name for run in runs]
    return {
        run.id: run.name if often.count(run.name) == 1 else f"{run.name}-{run.id[:8]}"
        for run in runs
    }


def start_of(parent: ParentFacts, names: Mapping[str, str]) -> str | None:
    """Give what a run starts from as a study file says it; None for a model elsewhere."""
    if parent.run is None or parent.run not in names:
        return None
    return names[parent.run] + ("" if parent.epoch is None else f"@{parent.epoch}")


def runs_of_folder(runs: Sequence[Run]) -> list[PlannedRun]:
    """Give finished runs as they would be planned, to be named in study.toml with others.

    Parameters
    ----------
    runs : sequence of Run
        Of one study.

    Returns
    -------
    planned : list of PlannedRun
        Without those that start from a model elsewhere, as a study names only its own, and
        those that this version could not make again.
    """
    names = names_of(runs)
    planned = []
    for run in runs:
        with suppress(TlfeatError):
            planned.append(_planned(run, names))
    return [run for run in planned if run is not None]


def _planned(run: Run, names: Mapping[str, str]) -> PlannedRun | None:
    if not run.is_finetune:
        head = run.head_settings
        asked = (head.params, head.search, head.class_weight, head.refit)
        plan = HeadPlan(head.name, *asked, seed=run.seed, metric=head.metric)
        return PlannedRun(names[run.id], run.feature_settings, run.stand_in, head=plan)
    start = None if run.parent is None else start_of(run.parent, names)
    if run.parent is not None and start is None:
        return None
    return PlannedRun(
        names[run.id],
        run.feature_settings,
        run.stand_in,
        training=FinetuneSettings.of_run(run),
        start=start,
    )


def _found(weights: str | Path, folder: Path | None) -> str:
    """Give where a weight file is, so that it is found from wherever study.toml lies."""
    for place in (Path(weights).expanduser(), (folder or Path()) / weights):
        if weights not in ("imagenet", "random") and place.is_file():
            return str(place.resolve())
    return str(weights)


def _row(run: PlannedRun, folder: Path | None) -> dict[str, Any]:
    said = {one.name: getattr(run.network, one.name) for one in fields(FeatureSettings)}
    said["weights"] = _found(said["weights"], folder)
    if isinstance(said["resize"], Resize):
        said["resize"] = said["resize"].rule
    if run.head is not None:
        return without_none(
            {"name": run.name, **said, "stand_in": run.stand_in, **_head(run.head)}
        )
    said = {name: value for name, value in said.items() if RUN_KEYS[name].of == "both"}
    if run.start is not None:
        del said["backbone"], said["weights"]
        said["from"] = run.start
    training = run.training
    top = {} if training.classifier is None else said_values(training.classifier)
    changes = [without_none(choice.as_dict()) for choice in training.changes]
    return without_none(
        {
            "name": run.name,
            **said,
            "stand_in": run.stand_in,
            **top,
            **said_values(training),
            "hidden": "-".join(str(size) for size in top.get("hidden", ())) or None,
            "augment": changes or None,
            "keep": run.keep,
            "phase": [without_none(phase.as_dict()) for phase in training.phases],
        }
    )


def _head(plan: HeadPlan) -> dict[str, Any]:
    given = {f"head.{key}": _plain(value) for key, value in plan.params.items()}
    return {
        "head": plan.head,
        "search": plan.search,
        "refit": plan.refit,
        "class_weight": plan.class_weight,
        "metric": plan.metric,
        "set": given or None,
    }


def _plain(value: Any) -> Any:
    return list(value) if isinstance(value, tuple) else value


def without_none(values: Mapping[str, Any]) -> dict[str, Any]:
    """Leave out what is None, which TOML has not, in tables in it too."""
    return {
        key: without_none(value) if isinstance(value, Mapping) else value
        for key, value in values.items()
        if value is not None
    }
