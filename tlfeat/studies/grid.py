"""Grids: a run whose keys hold lists becomes a run for each combination.

The texts of a run may take up its other keys: `name = "heads-{head}"`, `from = "base@{start}"`.
"""

import copy
import re
from collections.abc import Iterator, Mapping
from itertools import product
from typing import Any

from tlfeat.errors import UnknownName, did_you_mean
from tlfeat.runs.record import as_text
from tlfeat.studies.schema import PHASE_KEYS, RUN_KEYS, is_grid

_TAKEN = re.compile(r"\{([^{}]*)\}")


def taken_keys(run: Mapping[str, Any], *, with_name: bool = False) -> set[str]:
    """Give the keys that the texts of a run take up.

    Parameters
    ----------
    run : mapping
        A table [[run]] as written.
    with_name : bool
        Count those of its name too.

    Examples
    --------
    >>> taken_keys({"name": "fine-{start}", "from": "transfer@{start}"})
    {'start'}
    """
    return {
        key
        for name, value in run.items()
        if with_name or name != "name"
        for text in _texts(value)
        for key in _TAKEN.findall(text)
    }


def expand(
    place: str, run: Mapping[str, Any], defaults: Mapping[str, Any]
) -> list[dict[str, Any]]:
    """Make a run of each combination of a run's grids, with its texts filled in.

    Parameters
    ----------
    place : str
        For messages.
    run : mapping
        A table [[run]] as written, checked.
    defaults : mapping
        Of the study; names may take up these too.

    Returns
    -------
    runs : list of dict
        Without lists but those that a key takes anyway; the first grid varies slowest.

    Raises
    ------
    UnknownName
        If a text takes up a key that the run does not have.

    Examples
    --------
    >>> [one["name"] for one in expand("", {"name": "h-{head}", "head": ["knn", "lda"]}, {})]
    ['h-knn', 'h-lda']
    """
    axes: list[tuple[int | None, str, list[Any]]] = [
        (None, name, value) for name, value in run.items() if _is_axis(name, value)
    ]
    for place_of, phase in enumerate(run.get("phase", [])):
        axes += [(place_of, name, value) for name, value in phase.items() if _is_axis(name, value)]
    found = []
    for values in product(*(axis[2] for axis in axes)):
        one = copy.deepcopy(dict(run))
        for (number, name, _), value in zip(axes, values, strict=True):
            (one if number is None else one["phase"][number])[name] = value
        known = {**defaults, **_phase_values(one), **one}
        filled = {name: _fill(place, value, known) for name, value in one.items()}
        free = set(filled) - set(RUN_KEYS)
        found.append({name: value for name, value in filled.items() if name not in free})
    return found


def grid_keys(run: Mapping[str, Any]) -> list[str]:
    """Name the keys of a run that hold a grid."""
    keys = [name for name, value in run.items() if _is_axis(name, value)]
    for phase in run.get("phase", []):
        keys += [name for name, value in phase.items() if _is_axis(name, value)]
    return list(dict.fromkeys(keys))


def _is_axis(name: str, value: Any) -> bool:
    key = RUN_KEYS.get(name)
    return is_grid(None if key is None else key.kind, value)


def _phase_values(run: Mapping[str, Any]) -> dict[str, Any]:
    """Give the settings of the phases that say the same, or that only one of them says."""
    said: dict[str, list[Any]] = {}
    for phase in run.get("phase", []):
        for name, value in phase.items():
            if value not in said.setdefault(name, []):
                said[name].append(value)
    return {
        name: values[0] for name, values in said.items() if len(values) == 1 and name in PHASE_KEYS
    }


def _fill(place: str, value: Any, known: Mapping[str, Any]) -> Any:
    if isinstance(value, dict):
        return {name: _fill(place, one, known) for name, one in value.items()}
    if isinstance(value, list):
        return [_fill(place, one, known) for one in value]
    if not isinstance(value, str):
        return value

    def named(match: re.Match[str]) -> str:
        key = match[1]
        if isinstance(known.get(key), str | int | float):
            return as_text(known[key])
        plain = [name for name, one in known.items() if isinstance(one, str | int | float)]
        raise UnknownName(
            f"{place}: {value!r} takes up {{{key}}}, which the run does not have."
            f"{did_you_mean(key, plain)}"
        )

    return _TAKEN.sub(named, value)


def _texts(value: Any) -> Iterator[str]:
    if isinstance(value, str):
        yield value
    elif isinstance(value, Mapping):
        for one in value.values():
            yield from _texts(one)
    elif isinstance(value, list):
        for one in value:
            yield from _texts(one)
