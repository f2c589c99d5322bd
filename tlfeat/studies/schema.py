"""The keys of a study file, as a table: what each takes, and which runs have it.

Everything that can be wrong with a key is answered in here, with the place where it stands and
the nearest key that is known.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Final, Literal

from tlfeat.data.names import SPLITS
from tlfeat.errors import TlfeatError, UnknownName, did_you_mean
from tlfeat.features.settings import FeatureSettings
from tlfeat.finetuning.plan import OLD_NAMES, Phase
from tlfeat.finetuning.settings import Classifier, Effort, FinetuneSettings
from tlfeat.settings import Kind as SettingKind
from tlfeat.settings import settings_of

SCHEMA: Final = 1
TABLES: Final = ("s1", "s2", "curves")
TOP_KEYS: Final = ("schema", "name", "table", "data", "defaults", "run", "quick")

Kind = SettingKind | Literal["table", "phases"]
Of = Literal["both", "head", "finetune", "phase"]
_WANTED: Final[Mapping[str, str]] = {
    "text": "a text",
    "whole": "a whole number",
    "number": "a number",
    "flag": "true or false",
    "layer": "a text, or a number of layers",
    "sizes": "a text of sizes, such as 512-256",
    "choice": "a text, or a table with a name",
    "choices": "a list of texts or of tables with a name",
    "table": "a table",
    "phases": "tables [[run.phase]]",
}


def respelt(value: Any) -> Any:
    """Give what a file says with the names that its keys have today."""
    if isinstance(value, dict):
        return {OLD_NAMES.get(key, key): respelt(one) for key, one in value.items()}
    if isinstance(value, list):
        return [respelt(one) for one in value]
    if isinstance(value, str):
        for old, name in OLD_NAMES.items():
            value = value.replace(f"{{{old}}}", f"{{{name}}}")
    return value


class StudyError(TlfeatError):
    """A mistake in a study file or in what was asked to be changed in it."""


@dataclass(frozen=True)
class Key:
    """One key: what it takes, and which kind of run has it."""

    kind: Kind
    of: Of = "both"
    in_defaults: bool = True


_OF_MATRIX: Final = ("features", "dtype")  # what a fine-tune lacks: it makes no matrix


def _keys(record: Any, of: Of) -> dict[str, Key]:
    return {name: Key(one.kind, of) for name, one in settings_of(record).items()}


RUN_KEYS: Final[Mapping[str, Key]] = {
    "name": Key("text", in_defaults=False),
    **{
        name: Key(one.kind, "head" if name in _OF_MATRIX else "both")
        for name, one in settings_of(FeatureSettings).items()
    },
    "stand_in": Key("text", in_defaults=False),
    "head": Key("text", "head", in_defaults=False),
    "search": Key("flag", "head"),
    "metric": Key("text", "head"),
    "set": Key("table", "head", in_defaults=False),
    "from": Key("text", "finetune", in_defaults=False),
    "phase": Key("phases", "finetune", in_defaults=False),
    **_keys(Classifier, "finetune"),
    **_keys(FinetuneSettings, "finetune"),
    "keep": Key(settings_of(Effort)["keep"].kind, "finetune"),
    # on the run they are for all its phases that do not say otherwise
    **_keys(Phase, "phase"),
    # of heads too
    "class_weight": Key("text"),
    "refit": Key("flag"),
}
PHASE_KEYS: Final = tuple(settings_of(Phase))
DATA_KEYS: Final[Mapping[str, Key]] = {
    "path": Key("text"),
    "layout": Key("text"),  # the kind of source that it must be
    "split_seed": Key("whole"),
    "limit": Key("whole"),
    "splits": Key("table"),
    "columns": Key("table"),
    "groups": Key("text"),
    "expected": Key("table"),  # classes and pictures by split of the set that is meant
    "fingerprint": Key("text"),  # of the very pictures that are meant
}
_ENTRIES: Final[Mapping[str, tuple[str, ...]]] = {
    "splits": SPLITS,
    "columns": ("path", "image", "label", "split", "group"),
}
EXPECTED_KEYS: Final = ("classes", "train", "validation", "test")


def fits(kind: Kind, value: Any) -> bool:
    """Say whether a value is what a key takes; a grid's values are looked at one by one."""
    if kind == "flag":
        return isinstance(value, bool)
    if isinstance(value, bool):
        return False
    if kind == "choice":
        return isinstance(value, str) or _is_choice(value)
    if kind == "choices":
        return isinstance(value, list) and all(fits("choice", one) for one in value)
    if kind == "phases":
        return isinstance(value, list) and all(isinstance(one, dict) for one in value)
    kinds: dict[str, Any] = {
        "text": str,
        "whole": int,
        "number": int | float,
        "layer": str | int,
        "sizes": str | int,
        "table": dict,
    }
    return isinstance(value, kinds[kind])


def is_grid(kind: Kind | None, value: Any) -> bool:
    """Say whether a value is a list of values to try; None is the kind of a free key."""
    if not isinstance(value, list) or kind == "phases":
        return False
    return kind != "choices" or any(isinstance(one, list) for one in value)


def check_value(place: str, name: str, key: Key, value: Any, *, grids: bool = True) -> None:
    """Check one value of a known key, or each value of its grid.

    Raises
    ------
    StudyError
        With the place and what was wanted.
    """
    several = grids and is_grid(key.kind, value)
    for one in value if several else [value]:
        if not fits(key.kind, one):
            # a text with {keys} is filled in later and looked at again
            if isinstance(one, str) and "{" in one and grids:
                continue
            raise StudyError(
                f"{place}: {name} must be {_WANTED[key.kind]}. Got {_toml(one)} instead."
            )
    if several and not value:
        raise StudyError(f"{place}: {name} is an empty list: a grid needs a value.")


def unknown_key(place: str, name: str, known: Iterable[str]) -> UnknownName:
    """Make the error for a key that is not known there."""
    names = list(known)
    hint = did_you_mean(name, names) or f" Known there: {', '.join(names)}."
    return UnknownName(f"{place}: unknown key {name!r}.{hint}")


def check_data(place: str, table: Any) -> dict[str, Any]:
    """Check the table [data]."""
    if not isinstance(table, dict):
        raise StudyError(f"{place}: data must be a table: write [data] and, below it, path = ...")
    for name, value in table.items():
        if name not in DATA_KEYS:
            raise unknown_key(f"{place}: [data]", name, DATA_KEYS)
        check_value(f"{place}: [data]", name, DATA_KEYS[name], value, grids=False)
    if "path" not in table:
        raise StudyError(f"{place}: [data] has no path: say where the pictures are, path = ...")
    for name, count in table.get("expected", {}).items():
        where = f"{place}: [data] expected"
        if name not in EXPECTED_KEYS:
            raise unknown_key(where, name, EXPECTED_KEYS)
        check_value(where, name, Key("whole"), count, grids=False)
    for table_name, known in _ENTRIES.items():
        where = f"{place}: [data] {table_name}"
        for name, given in table.get(table_name, {}).items():
            if name not in known:
                raise unknown_key(where, name, known)
            check_value(where, name, Key("text"), given, grids=False)
    return dict(table)


def check_defaults(place: str, table: Any) -> dict[str, Any]:
    """Check the table [defaults]."""
    if not isinstance(table, dict):
        raise StudyError(f"{place}: defaults must be a table: write [defaults].")
    known = [name for name, key in RUN_KEYS.items() if key.in_defaults]
    for name, value in table.items():
        if name in RUN_KEYS and name not in known:
            raise StudyError(f"{place}: [defaults]: {name} belongs to a run: put it there.")
        if name not in known:
            raise unknown_key(f"{place}: [defaults]", name, known)
        if is_grid(RUN_KEYS[name].kind, value):
            raise StudyError(
                f"{place}: [defaults]: {name} is a list, and a grid belongs to a run: put it "
                "there."
            )
        check_value(f"{place}: [defaults]", name, RUN_KEYS[name], value, grids=False)
    return dict(table)


def check_run(place: str, run: Mapping[str, Any], used: Iterable[str]) -> None:
    """Check the keys and types of one [[run]] as it is written, grids and all.

    Parameters
    ----------
    place : str
        For messages.
    run : mapping
    used : iterable of str
        Keys that its texts take up as {key}: such a key may be of any name.
    """
    free = set(used)
    is_head = "head" in run
    for name, value in run.items():
        key = RUN_KEYS.get(name)
        if key is None:
            if name not in free:
                raise unknown_key(place, name, RUN_KEYS)
            _check_free(place, name, value)
            continue
        if is_head and key.of not in ("both", "head"):
            raise StudyError(
                f"{place}: {name} belongs to a fine-tune, and this run trains a head: leave one "
                "of the two out."
            )
        if not is_head and key.of == "head":
            raise StudyError(f"{place}: {name} belongs to a run with a head, and this has none.")
        check_value(place, name, key, value)
    for number, phase in enumerate(run.get("phase", []), 1):
        where = f"{place}, phase {number}"
        for name, value in phase.items():
            if name not in PHASE_KEYS:
                raise unknown_key(where, name, PHASE_KEYS)
            check_value(where, name, RUN_KEYS[name], value)


def _check_free(place: str, name: str, value: Any) -> None:
    values = value if isinstance(value, list) else [value]
    if not values or any(not isinstance(one, str | int | float) for one in values):
        raise StudyError(
            f"{place}: {name} must be a text, a number, or a list of these. Got {_toml(value)}."
        )


def _is_choice(value: Any) -> bool:
    return isinstance(value, dict) and isinstance(value.get("name"), str)


def _toml(value: Any) -> str:
    if isinstance(value, bool):
        return str(value).lower()
    return f'"{value}"' if isinstance(value, str) else str(value)
