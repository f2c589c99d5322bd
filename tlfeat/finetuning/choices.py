"""A choice from a table with its settings: `cosine-restarts:t_mul=2:m_mul=0.75`.

Schedules, optimizers and augmentations are rows of tables. A user writes a choice as text, a
study file as a mapping with a `name`; both are read here, against the row's settings.
"""

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from tlfeat.errors import TlfeatError, UnknownName, did_you_mean


@dataclass(frozen=True)
class Setting:
    """One setting of a row. Its type is the default's; None stands for a number that follows."""

    default: float | int | bool | str | None
    least: float | None = None
    most: float | None = None
    words: tuple[str, ...] = ()  # what a text may be
    whole: bool = False  # a whole number, where the default is None
    method: int = 1  # raised when what None stands for gives other numbers


@dataclass(frozen=True)
class Row:
    """One row of a table: what it is called, what it takes, what makes it."""

    name: str
    summary: str
    settings: Mapping[str, Setting]
    build: Callable[..., Any]
    method: int = 1  # raised when it gives other numbers

    def method_of(self, settings: Mapping[str, Any]) -> int:
        """Give a number that is another one as soon as a choice gives other numbers."""
        left_out = (one for name, one in self.settings.items() if settings[name] is None)
        return self.method + sum(setting.method - 1 for setting in left_out)


@dataclass(frozen=True)
class Choice:
    """A row that was chosen, and the value of each of its settings."""

    name: str
    settings: Mapping[str, Any] = field(default_factory=dict)

    def as_dict(self) -> dict[str, Any]:
        """Give the choice as a study file has it."""
        return {"name": self.name, **self.settings}


def read_choice(
    given: "str | Mapping[str, Any] | Choice", table: Mapping[str, Row], what: str
) -> Choice:
    """Read a choice and fill in what was left out.

    Parameters
    ----------
    given : str, mapping or Choice
        NAME:KEY=VALUE:..., or {"name": NAME, KEY: VALUE, ...}.
    table : mapping of str to Row
    what : str
        What the table is of, for messages: "schedule".

    Raises
    ------
    UnknownName
        If the table has no such row, or the row no such setting.
    TlfeatError
        If a value is not what the setting takes.

    Examples
    --------
    >>> row = Row("step", "", {"factor": Setting(0.1, 0, 1)}, dict)
    >>> read_choice("step:factor=0.5", {"step": row}, "schedule").as_dict()
    {'name': 'step', 'factor': 0.5}
    """
    name, values = _parts(given, what)
    if name not in table:
        raise UnknownName(
            f"Unknown {what} {name!r}.{did_you_mean(name, table)} There are {', '.join(table)}."
        )
    known = table[name].settings
    for key in values:
        if key not in known:
            has = f"it has {', '.join(known)}" if known else "it has none"
            raise UnknownName(
                f"The {what} {name} has no setting {key!r}:{did_you_mean(key, known)} {has}."
            )
    return Choice(
        name,
        {
            key: _checked(values[key], setting, f"{what} {name}", key)
            if key in values
            else setting.default
            for key, setting in known.items()
        },
    )


def _parts(given: "str | Mapping[str, Any] | Choice", what: str) -> tuple[str, dict[str, Any]]:
    if isinstance(given, Choice):
        return given.name, dict(given.settings)
    if isinstance(given, Mapping):
        values = dict(given)
        name = values.pop("name", None)
        if not isinstance(name, str):
            raise TlfeatError(f"The {what} {dict(given)} has no name: give it one, name = ...")
        return name, values
    name, *pairs = given.strip().split(":")
    values = {}
    for pair in pairs:
        key, equals, value = pair.partition("=")
        if not equals:
            raise TlfeatError(
                f"The {what} {given!r} cannot be read at {pair!r}: wanted NAME:KEY=VALUE:..."
            )
        values[key.strip()] = read_value(value.strip())
    return name.strip(), values


def read_value(text: str) -> Any:
    """Read a value as JSON where it is JSON, else as text.

    >>> read_value("0.5"), read_value("nearest"), read_value("true")
    (0.5, 'nearest', True)
    """
    try:
        return json.loads(text)
    except json.JSONDecodeError:
        return text


def _checked(value: Any, setting: Setting, where: str, key: str) -> Any:
    default = setting.default
    if value is None and default is None:
        return None
    if isinstance(default, bool):
        good, wanted = isinstance(value, bool), "true or false"
    elif isinstance(default, str):
        good, wanted = value in setting.words, f"one of {', '.join(setting.words)}"
    else:
        whole = setting.whole or isinstance(default, int)
        good = isinstance(value, int) if whole else isinstance(value, int | float)
        good = good and not isinstance(value, bool)
        good = good and (setting.least is None or value >= setting.least)
        good = good and (setting.most is None or value <= setting.most)
        wanted = "a whole number" if whole else "a number"
        if setting.least is not None:
            wanted += f" of at least {setting.least:g}"
        if setting.most is not None:
            wanted += f" and at most {setting.most:g}"
        if good and not whole:
            value = float(value)
    if not good:
        raise TlfeatError(f"The {where}: {key} must be {wanted}. Got {value!r} instead.")
    return value
