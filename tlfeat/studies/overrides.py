"""Changes to a study by dotted key: its own [quick] section, and --set KEY=VALUE.

`data.KEY`, `defaults.KEY`, `run.NAME.KEY` and `run.NAME.phase.N.KEY`. NAME is a run's name as it
is in the file, with its {keys}; the name of one run of a grid; or a pattern with `*`.
"""

import re
import tomllib
from collections.abc import Iterator, Mapping, MutableMapping, Sequence
from fnmatch import fnmatchcase
from typing import Any, NamedTuple

from tlfeat.errors import UnknownName, did_you_mean, nearest
from tlfeat.finetuning.plan import OLD_NAMES
from tlfeat.studies.schema import (
    DATA_KEYS,
    PHASE_KEYS,
    RUN_KEYS,
    Key,
    StudyError,
    check_value,
    is_grid,
    respelt,
    unknown_key,
)

_PLACES = ("data", "defaults", "run")
_MERGED = ("splits", "columns", "expected", "set")  # tables that are changed key by key


class Override(NamedTuple):
    """One change that is asked for."""

    place: str  # where it was asked for, for messages
    key: tuple[str, ...]
    value: Any

    @property
    def dotted(self) -> str:
        """The key as a user writes it."""
        return ".".join(self.key)


def read_setting(text: str) -> Override:
    """Read `KEY=VALUE` of a command line; a value is TOML where it can be, else text.

    Examples
    --------
    >>> read_setting("defaults.size=96")[1:]
    (('defaults', 'size'), 96)
    >>> read_setting("run.fine-{start}.start=[1, 2]")[1:]
    (('run', 'fine-{start}', 'start'), [1, 2])
    """
    key, equals, value = text.partition("=")
    if not equals or not key.strip() or not value.strip():
        raise StudyError(
            f"--set {text!r} cannot be read: wanted KEY=VALUE, such as "
            "defaults.backbone=efficientnet-lite0."
        )
    parts = re.findall(r"""'[^']*'|"[^"]*"|[^.'"]+""", key.strip())
    try:
        read = tomllib.loads(f"value = {value}")["value"]
    except tomllib.TOMLDecodeError:
        read = value.strip()
    names = (part.strip("'\" ") for part in parts)
    keys = tuple(OLD_NAMES.get(name, respelt(name)) for name in names)
    return Override(f"--set {text}", keys, respelt(read))


def quick_overrides(file: str, table: Any) -> list[Override]:
    """Give the changes of a file's section [quick]."""
    place = f"{file}: [quick]"
    if not isinstance(table, dict):
        raise StudyError(f"{file}: quick must be a table: write [quick].")
    return [Override(place, key, value) for key, value in _leaves(place, table)]


def _leaves(place: str, table: Mapping[str, Any]) -> Iterator[tuple[tuple[str, ...], Any]]:
    for top, values in table.items():
        if top not in _PLACES:
            raise unknown_key(place, top, _PLACES)
        if not isinstance(values, dict):
            raise StudyError(f"{place}: {top} alone is no key: name one of its keys, {top}.KEY.")
        for name, value in values.items():
            if top != "run":
                yield (top, name), value
            elif isinstance(value, dict):
                yield from (((top, name, *key), given) for key, given in _run_leaves(value))
            else:
                raise StudyError(
                    f"{place}: run.{name} is no key of a run: wanted run.NAME.KEY = value."
                )


def _run_leaves(run: Mapping[str, Any]) -> Iterator[tuple[tuple[str, ...], Any]]:
    for key, value in run.items():
        if key == "phase" and isinstance(value, dict):
            for number, phase in value.items():
                yield from (((key, number, name), given) for name, given in phase.items())
        else:
            yield (key,), value


def apply_overrides(
    study: MutableMapping[str, Any], overrides: Sequence[Override]
) -> tuple[list[str], list[Override]]:
    """Change a study as it was read.

    Parameters
    ----------
    study : dict
        With data, defaults and run; changed in place.
    overrides : sequence of Override
        Later ones win.

    Returns
    -------
    changes : list of str
        What was changed, as a user reads it.
    late : list of Override
        Those that name a run that no table [[run]] has; one of a grid may have it.

    Raises
    ------
    UnknownName, StudyError
        With the place, the key and the nearest known one.
    """
    changes: list[str] = []
    late: list[Override] = []
    for one in overrides:
        if not one.key or one.key[0] not in _PLACES:
            raise _unknown_place(one)
        if len(one.key) < 2:
            raise StudyError(
                f"{one.place}: {one.dotted} alone is no key: wanted {one.dotted}.KEY."
            )
        if one.key[0] == "run":
            runs = study["run"]
            names = [str(run.get("name", "")) for run in runs]
            chosen = [
                run for run, name in zip(runs, names, strict=True) if _matches(name, one.key[1])
            ]
            if chosen:
                changes += change_runs(one, chosen)
            else:
                late.append(one)
            continue
        known = DATA_KEYS if one.key[0] == "data" else RUN_KEYS
        name = one.key[1]
        if name not in known:
            raise unknown_key(one.place, name, known)
        value = _nested(one.key[2:], one.value)
        check_value(one.place, one.dotted, known[name], value, grids=False)
        changes.append(_change(study[one.key[0]], name, value, one.dotted))
    return [change for change in changes if change], late


def _unknown_place(one: Override) -> UnknownName:
    """Make the error for a key that begins with no place; perhaps the place was left out."""
    if one.key[:1] == ("head",) and len(one.key) > 1:
        return UnknownName(
            f"{one.place}: unknown key {one.dotted!r}: in a study a head's setting is "
            f"run.NAME.set.{one.dotted}."
        )
    if len(one.key) == 1 and nearest(one.dotted, _PLACES) is None:
        dotted = {name: f"data.{name}" for name in DATA_KEYS}
        dotted |= {name: f"defaults.{name}" for name, key in RUN_KEYS.items() if key.in_defaults}
        near = nearest(one.dotted, dotted)
        if near is not None:
            return UnknownName(
                f"{one.place}: unknown key {one.dotted!r}. Did you mean {dotted[near]!r}?"
            )
    return unknown_key(one.place, ".".join(one.key[:1]), _PLACES)


def change_runs(one: Override, runs: Sequence[MutableMapping[str, Any]]) -> list[str]:
    """Change a key in runs; those of a pattern that cannot have it are left alone.

    Returns
    -------
    changes : list of str
        One a run; empty where it was so already.
    """
    if len(one.key) < 3:
        raise StudyError(f"{one.place}: {one.dotted} alone is no key: wanted {one.dotted}.KEY.")
    name = one.key[2]
    pattern = "*" in one.key[1]
    changes = []
    for run in runs:
        key = RUN_KEYS.get(name)
        if key is None and name not in run:
            if pattern:
                continue
            known = {**RUN_KEYS, **dict.fromkeys(run)}
            raise unknown_key(f"{one.place}: run {run.get('name')!r}", name, known)
        if pattern and key is not None and not _belongs(key, run):
            continue
        dotted = f"run.{run.get('name')}.{'.'.join(one.key[2:])}"
        if name == "phase" and len(one.key) == 5:
            changes.append(_change(_phase(one, run), one.key[4], one.value, dotted))
            continue
        value = _nested(one.key[3:], one.value)
        if key is not None:
            check_value(one.place, one.dotted, key, value)
        phases = [
            phase
            for phase in run.get("phase", [])
            if name in PHASE_KEYS and name not in run and name in phase
        ]
        targets = phases or [run]
        texts = [_change(target, name, value, dotted) for target in targets]
        changes += list(dict.fromkeys(texts))
    if not changes:
        raise unknown_key(f"{one.place}: no run of {one.key[1]!r} has it", name, RUN_KEYS)
    return changes


def check_late(late: Sequence[Override], names: Sequence[str]) -> None:
    """Refuse changes to runs that are not there at all."""
    for one in late:
        if not any(_matches(name, one.key[1]) for name in names):
            raise UnknownName(
                f"{one.place}: there is no run {one.key[1]!r}."
                f"{did_you_mean(one.key[1], names)} There are {', '.join(names)}."
            )


def for_run(late: Sequence[Override], name: str) -> list[Override]:
    """Give the late changes that are meant for one run."""
    return [one for one in late if _matches(name, one.key[1])]


def _matches(name: str, wanted: str) -> bool:
    return name == wanted or ("*" in wanted and fnmatchcase(name, re.sub(r"\[", "[[]", wanted)))


def _belongs(key: Key, run: Mapping[str, Any]) -> bool:
    return key.of == "both" or (key.of == "head") == ("head" in run)


def _phase(one: Override, run: Mapping[str, Any]) -> MutableMapping[str, Any]:
    phases = run.get("phase", [])
    number, name = one.key[3], one.key[4]
    if not (number.isdigit() and 0 < int(number) <= len(phases)):
        raise StudyError(
            f"{one.place}: run {run.get('name')!r} has {len(phases)} phases: there is no phase "
            f"{number}."
        )
    if name not in PHASE_KEYS:
        raise unknown_key(one.place, name, PHASE_KEYS)
    check_value(one.place, one.dotted, RUN_KEYS[name], one.value)
    phase: MutableMapping[str, Any] = phases[int(number) - 1]
    return phase


def _nested(keys: Sequence[str], value: Any) -> Any:
    for key in reversed(keys):
        value = {key: value}
    return value


def _change(target: MutableMapping[str, Any], name: str, value: Any, dotted: str) -> str:
    before = target.get(name)
    if name in _MERGED and isinstance(value, dict) and isinstance(before, dict):
        value = {**before, **value}
    target[name] = value
    if value == before:
        return ""
    was = "" if before is None else f" (was {_said(name, before)})"
    return f"{dotted} = {_said(name, value)}{was}"


def _said(name: str, value: Any) -> str:
    key = RUN_KEYS.get(name)
    if key is not None and is_grid(key.kind, value):
        return ", ".join(str(one) for one in value)
    return str(value)
