"""A study as it will be run: read from its file, checked through and through, in order.

Nothing is computed in here and no picture is opened: a mistake costs no time.
"""

import copy
import re
import tomllib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from tlfeat.backbones.network_files import is_network_file
from tlfeat.errors import UnknownName, did_you_mean
from tlfeat.heads.metric import check_metric, usual_metric
from tlfeat.settings import several
from tlfeat.studies.grid import expand, grid_keys, taken_keys
from tlfeat.studies.overrides import (
    Override,
    apply_overrides,
    change_runs,
    check_late,
    for_run,
    quick_overrides,
    read_setting,
)
from tlfeat.studies.planned import PlannedRun, plan_run
from tlfeat.studies.schema import (
    SCHEMA,
    TABLES,
    TOP_KEYS,
    StudyError,
    check_data,
    check_defaults,
    check_run,
    respelt,
    unknown_key,
)


@dataclass(frozen=True)
class Study:
    """A study that is ready to run.

    Attributes
    ----------
    runs : tuple of PlannedRun
        In the order of the file.
    name : str
        With "-quick" where that section was used; the dataset's where it is empty.
    file : str
        What it was read from, for messages.
    folder : Path or None
        Of the file; paths in it are looked for there first.
    table : str or None
        Which tables to write: s1, s2 or curves.
    data : dict
        The table [data], see `tlfeat.studies.schema.DATA_KEYS`.
    named_data : str
        The path that the file names, whatever was given instead.
    changes : tuple of str
        What [quick] and --set changed.
    left_out : dict of str to str
        Runs that [quick] leaves nothing to start from, and why.
    joins : bool
        Whether its runs join those that are in its folder, as those of `compare` do, which has no
        file.
    metric : str or None
        What [defaults] say that ranks; None is what all heads' settings were chosen by.
    """

    runs: tuple[PlannedRun, ...]
    name: str = ""
    file: str = ""
    folder: Path | None = None
    table: str | None = None
    data: Mapping[str, Any] = field(default_factory=dict)
    named_data: str = ""
    changes: tuple[str, ...] = ()
    left_out: Mapping[str, str] = field(default_factory=dict)
    joins: bool = False
    metric: str | None = None

    @property
    def order(self) -> list[PlannedRun]:
        """The runs, each after the one that it starts from."""
        return _parents_first(self.runs, {run.name: run.parent for run in self.runs})


def _metric(file: str, defaults: Mapping[str, Any]) -> str | None:
    """Give what ranks, where [defaults] say anything of it."""
    metric: str | None = defaults.get("metric")
    if metric is None:
        weight = defaults.get("class_weight")
        return usual_metric(weight) if weight else None
    try:
        check_metric(metric)
    except UnknownName as error:
        raise StudyError(f"{file}: [defaults]: {error}") from None
    return metric


def read_study(
    path: str | Path,
    *,
    quick: bool = False,
    settings: Sequence[str] | str = (),
    data: str | None = None,
) -> Study:
    """Read a study file.

    Parameters
    ----------
    path : str or Path
        A study file; that of a study that comes with tlfeat is `path` of `list_studies`.
    quick : bool
        Use its section [quick].
    settings : str or sequence of str
        KEY=VALUE by dotted key; they win over [quick].
    data : str, optional
        Where the pictures are, instead of what the file says.

    Returns
    -------
    study : Study

    Raises
    ------
    TlfeatError
        If anything in the file or the settings is wrong, with its place and the nearest key.

    Examples
    --------
    >>> study = tlfeat.read_study(tlfeat.list_studies()[0].path, quick=True)  # doctest: +SKIP
    >>> [run.name for run in study.runs]  # doctest: +SKIP
    """
    path = Path(path)
    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise StudyError(f"The study file {path} cannot be read: {error}.") from None
    return parse_study(
        text, path.name, folder=path.parent, quick=quick, settings=several(settings), data=data
    )


def parse_study(
    text: str,
    file: str,
    *,
    folder: Path | None = None,
    quick: bool = False,
    settings: Sequence[str] = (),
    data: str | None = None,
) -> Study:
    """Read a study from the text of its file; parameters as in `read_study`."""
    try:
        written = respelt(tomllib.loads(text))
    except (tomllib.TOMLDecodeError, RecursionError) as error:
        raise StudyError(f"{file}: not TOML: {error}.") from None
    _check_top(file, written)
    named = _Tables(file, written)  # as the file has it: what is changed stands in for it
    tables = _Tables(file, written)
    overrides = quick_overrides(file, written.get("quick", {}))  # looked at, used or not
    apply_overrides(_Tables(file, written).changeable(), overrides)
    if quick and not overrides:
        raise StudyError(f"{file}: there is no section [quick] to use: run it without --quick.")
    used = [*(overrides if quick else []), *(read_setting(one) for one in settings)]
    changes, late = apply_overrides(tables.changeable(), used)
    tables.check()
    for table in (tables.defaults, *tables.run):
        _find_network(table, folder)
    runs: list[PlannedRun] = []
    for run, as_named in zip(tables.run, named.run, strict=True):
        runs += _runs_of(file, run, tables.defaults, {**named.defaults, **as_named}, late, changes)
    names = [run.name for run in runs]
    check_late(late, names)
    _check_names(file, runs, tables.run)
    linked, left_out = _link(file, runs, quick)
    _check_alike(file, linked)
    settled = dict(tables.data)
    if data is not None:
        settled = {**settled, "path": data}
        settled.pop("fingerprint", None)
    return Study(
        name=tables.name + ("-quick" if quick else ""),
        file=file,
        folder=folder,
        table=tables.table,
        data=settled,
        named_data=str(named.data["path"]),
        runs=tuple(linked),
        metric=_metric(file, tables.defaults),
        changes=tuple(change for change in changes if change),
        left_out=left_out,
    )


class _Tables:
    """The parts of a study file, each a copy that may be changed."""

    def __init__(self, file: str, written: Mapping[str, Any]) -> None:
        self.file = file
        self.name: str = written["name"]
        self.table: str | None = written.get("table")
        self.data: dict[str, Any] = copy.deepcopy(written["data"])
        self.defaults: dict[str, Any] = copy.deepcopy(written.get("defaults", {}))
        self.run: list[dict[str, Any]] = copy.deepcopy(written["run"])
        self.check()

    def changeable(self) -> dict[str, Any]:
        return {"data": self.data, "defaults": self.defaults, "run": self.run}

    def check(self) -> None:
        check_data(self.file, self.data)
        check_defaults(self.file, self.defaults)
        for number, run in enumerate(self.run, 1):
            named = isinstance(run.get("name"), str) and run["name"].strip()
            place = _place(self.file, run) if named else f"{self.file}: run number {number}"
            check_run(place, run, taken_keys(run))
            if not named:
                raise StudyError(f"{place} has no name: give it one, name = ...")


def _find_network(table: dict[str, Any], folder: Path | None) -> None:
    """Find the file of a network from the study's folder, where it is not found from here."""

    def found(name: Any) -> Any:
        if folder is None or not isinstance(name, str) or not is_network_file(name):
            return name
        there = folder / Path(name).expanduser()
        return str(there) if there.exists() and not Path(name).exists() else name

    if "backbone" in table:
        named = table["backbone"]
        is_grid = isinstance(named, list)
        table["backbone"] = [found(one) for one in named] if is_grid else found(named)


def _check_top(file: str, written: Mapping[str, Any]) -> None:
    for name in written:
        if name not in TOP_KEYS:
            raise unknown_key(file, name, TOP_KEYS)
    if written.get("schema") != SCHEMA:
        raise StudyError(
            f"{file}: schema is {written.get('schema')!r} and this tlfeat reads {SCHEMA}: write "
            f"schema = {SCHEMA}."
        )
    if not isinstance(written.get("name"), str) or not written["name"].strip():
        raise StudyError(f"{file}: the study has no name: write name = ... at the top.")
    table = written.get("table")
    if table is not None and table not in TABLES:
        hint = did_you_mean(str(table), TABLES)
        raise StudyError(f"{file}: unknown table {table!r}.{hint} There are {', '.join(TABLES)}.")
    if "data" not in written:
        raise StudyError(f"{file}: there is no [data]: say where the pictures are.")
    runs = written.get("run")
    if not isinstance(runs, list) or not all(isinstance(run, dict) for run in runs) or not runs:
        raise StudyError(f"{file}: there is no run: write tables [[run]], in double brackets.")


def _place(file: str, run: Mapping[str, Any]) -> str:
    return f"{file}: run {run['name']!r}"


def _runs_of(
    file: str,
    run: Mapping[str, Any],
    defaults: Mapping[str, Any],
    named: Mapping[str, Any],
    late: Sequence[Override],
    changes: list[str],
) -> list[PlannedRun]:
    """Give the runs of one table [[run]]."""
    found = []
    for one in expand(_place(file, run), run, defaults):
        for override in for_run(late, one["name"]):
            changes += change_runs(override, [one])
        place = _place(file, one)
        check_run(place, one, ())
        if keys := grid_keys(one):
            raise StudyError(f"{place}: {keys[0]} is a list, and this run is one of a grid.")
        found.append(plan_run(place, one, defaults, named))
    return found


def _check_names(
    file: str, runs: Sequence[PlannedRun], tables: Sequence[Mapping[str, Any]]
) -> None:
    names = [run.name for run in runs]
    for name in names:
        if names.count(name) < 2:
            continue
        lists = [key for table in tables if table["name"] == name for key in grid_keys(table)]
        if lists:
            raise StudyError(
                f"{file}: run {name!r} is {names.count(name)} runs of one name: put "
                f"{{{lists[0]}}} into its name."
            )
        raise StudyError(f"{file}: two runs have the name {name!r}: give one another name.")


def _check_alike(file: str, runs: Sequence[PlannedRun]) -> None:
    seen: list[tuple[str, PlannedRun]] = []
    for run in runs:
        bare = replace(run, name="", stand_in=None, backbone_key="")
        for name, other in seen:
            if bare == other:
                raise StudyError(
                    f"{file}: runs {name!r} and {run.name!r} differ in their names only: leave "
                    "one out, or change what should differ."
                )
        seen.append((run.name, bare))


def _link(
    file: str, runs: Sequence[PlannedRun], quick: bool
) -> tuple[list[PlannedRun], dict[str, str]]:
    """Check what each run starts from, and let it inherit the network."""
    by_name = {run.name: run for run in runs}
    parents = {
        run.name: _parent(f"{file}: run {run.name!r}", run, by_name)
        for run in runs
        if run.start is not None
    }
    _refuse_circles(file, {name: parent for name, (parent, _) in parents.items()})
    linked: dict[str, PlannedRun] = {}
    left_out: dict[str, str] = {}
    for run in _parents_first(runs, {name: parent for name, (parent, _) in parents.items()}):
        if run.name not in parents:
            linked[run.name] = run
            continue
        parent, epoch = parents[run.name]
        epochs = sum(phase.epochs for phase in by_name[parent].training.phases)
        if epoch is not None and not 0 < epoch <= epochs:
            reason = f"it starts after epoch {epoch} of {parent}, which has {epochs}"
            if not quick:
                raise StudyError(f"{file}: run {run.name!r}: from = {run.start!r}: {reason}.")
            left_out[run.name] = reason
        elif parent in left_out:
            left_out[run.name] = f"it starts from {parent}, which is left out"
        else:
            linked[run.name] = _child(file, run, linked[parent], epoch)
    needed = {parent for name, (parent, epoch) in parents.items() if epoch and name in linked}
    kept = [linked[run.name] for run in runs if run.name in linked]
    return [replace(run, keep="all") if run.name in needed else run for run in kept], left_out


def _parents_first(
    runs: Sequence[PlannedRun], parents: Mapping[str, str | None]
) -> list[PlannedRun]:
    """Give the runs, each after the one that it starts from."""
    by_name = {run.name: run for run in runs}
    done: dict[str, PlannedRun] = {}

    def add(run: PlannedRun) -> None:
        if run.name not in done:
            parent = parents.get(run.name)
            if parent is not None:
                add(by_name[parent])
            done[run.name] = run

    for run in runs:
        add(run)
    return list(done.values())


def _refuse_circles(file: str, parents: Mapping[str, str]) -> None:
    for name in parents:
        trail = [name]
        while (parent := parents.get(trail[-1])) is not None:
            if parent in trail:
                circle = " -> ".join([*trail[trail.index(parent) :], parent])
                raise StudyError(
                    f"{file}: run {name!r}: from goes round in a circle ({circle}): one of them "
                    "must start from a network."
                )
            trail.append(parent)


def _child(file: str, run: PlannedRun, parent: PlannedRun, epoch: int | None) -> PlannedRun:
    """Give a run with the network of the one that it starts from."""
    said = run.said
    if said.get("size", parent.side) != parent.side:
        raise StudyError(
            f"{file}: run {run.name!r}: size = {said['size']}, but it starts from "
            f"{parent.name}, whose network is made for {parent.side}: leave size out."
        )
    if said.get("precision", parent.network.precision) != parent.network.precision:
        raise StudyError(
            f"{file}: run {run.name!r}: precision = {said['precision']!r}, but it starts from "
            f"a saved model, and {parent.name} computes in {parent.network.precision}: leave "
            "precision out."
        )
    kept = {name: value for name, value in said.items() if name in ("size", "resize", "seed")}
    network = replace(parent.network, **{"seed": 0, **kept})
    return replace(
        run,
        parent=parent.name,
        epoch=epoch,
        network=network,
        said={},
        stand_in=parent.stand_in,
    )


def _parent(
    place: str, run: PlannedRun, by_name: Mapping[str, PlannedRun]
) -> tuple[str, int | None]:
    start = str(run.start)
    name, epoch = start, None
    match = re.fullmatch(r"(.+)@(.+)", start)
    if match and start not in by_name:
        name = match[1]
        if not match[2].isdigit():
            raise StudyError(
                f"{place}: from = {start!r}: after @ comes the number of an epoch, got "
                f"{match[2]!r}."
            )
        epoch = int(match[2])
    if name not in by_name:
        raise StudyError(
            f"{place}: from = {start!r}: there is no run {name!r}.{did_you_mean(name, by_name)} "
            f"There are {', '.join(by_name)}."
        )
    if by_name[name].head is not None:
        raise StudyError(
            f"{place}: from = {start!r}: {name} trains a head, and a fine-tune starts from a "
            "fine-tune: mode lp-ft starts from a head."
        )
    return name, epoch
