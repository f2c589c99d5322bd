"""The settings of a head: what a value may be, and how a text from a command line is read.

Values stay plain (numbers and texts), since a run's id and its record are made of them.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from tlfeat.errors import HeadError, did_you_mean
from tlfeat.settings import read_sizes

Kind = Literal["number", "whole", "choice", "several", "sizes", "gamma"]
Grid = Mapping[str, tuple[Any, ...]]


@dataclass(frozen=True)
class Setting:
    """One setting of a head."""

    name: str
    kind: Kind
    default: Any  # used when nothing is searched; None: the data decide, as `help` says
    help: str
    grid: tuple[Any, ...] = ()  # what a search tries, the most regularised first; () for none
    above: float | None = None  # a number must be larger than this
    least: float | None = None  # a number must be this or larger
    most: float | None = None  # a number must be this or smaller
    choices: tuple[str, ...] = ()

    def read(self, head: str, value: Any) -> Any:
        """Read one value.

        Raises
        ------
        HeadError
            If the setting cannot have this value.

        Examples
        --------
        >>> Setting("hidden", "sizes", "256", "").read("mlp", [512, 256])
        '512-256'
        >>> Setting("gamma", "gamma", "scale", "").read("svm-rbf", "0.3*scale")
        '0.3*scale'
        """
        readers = {
            "number": self._number,
            "whole": self._whole,
            "choice": self._choice,
            "several": self._several_choices,
            "sizes": _sizes,
            "gamma": _gamma,
        }
        read = readers[self.kind](value)
        if read is None:
            raise HeadError(
                f"The setting {self.name!r} of {head} must be {self.wanted()}; got {value!r}."
            )
        return read

    def beyond(self, values: Sequence[Any]) -> Any:
        """Give the value beyond the last of some, as far as that is from the one before it.

        None where there is none.

        Examples
        --------
        >>> Setting("C", "number", 1.0, "", above=0).beyond([10.0, 1.0])
        0.1
        """
        before, last = values[-2:]
        if self.kind != "number" or 0 in (before, last):
            return None
        beyond = self._number(float(f"{last * last / before:.2g}"))
        return None if beyond in values else beyond

    def wanted(self) -> str:
        """Say what a value must be, as in "a number above 0"."""
        if self.kind == "choice":
            return "one of " + ", ".join(self.choices)
        if self.kind == "several":
            return "some of " + ", ".join(self.choices) + ", with + between them"
        if self.kind == "sizes":
            return "the sizes of the hidden layers, as in 512-256"
        if self.kind == "gamma":
            return "a number above 0, 'scale', or a multiple of it as in '0.3*scale'"
        bounds = [
            f"{word} {bound:g}"
            for word, bound in (
                ("above", self.above),
                ("of at least", self.least),
                ("of at most", self.most),
            )
            if bound is not None
        ]
        return " ".join(
            ["a whole number" if self.kind == "whole" else "a number", " and ".join(bounds)]
        ).strip()

    def _number(self, value: Any) -> float | None:
        number = _as_float(value)
        if (
            number is None
            or (self.above is not None and number <= self.above)
            or (self.least is not None and number < self.least)
            or (self.most is not None and number > self.most)
        ):
            return None
        return number

    def _whole(self, value: Any) -> int | None:
        number = self._number(value)
        return int(number) if number is not None and number == int(number) else None

    def _choice(self, value: Any) -> str | None:
        text = "none" if value is None else str(value)
        return text if text in self.choices else None

    def _several_choices(self, value: Any) -> str | None:
        words = list(dict.fromkeys(word.strip().lower() for word in str(value).split("+")))
        return "+".join(words) if set(words) <= set(self.choices) else None


def read_settings(
    head: str, settings: tuple[Setting, ...], given: Mapping[str, Any]
) -> dict[str, Any]:
    """Read the values given for a head.

    Several values for one setting, as a list or separated by commas, are a grid to search.

    Returns
    -------
    read : dict
        A value, or a tuple of values, for each setting that was given.

    Raises
    ------
    HeadError
        If the head has no such setting, or the setting cannot have that value.
    """
    known = {setting.name: setting for setting in settings}
    read: dict[str, Any] = {}
    for name, value in given.items():
        if name not in known:
            hint = did_you_mean(name, known) or f" It has {', '.join(known)}."
            raise HeadError(f"The head {head} has no setting {name!r}.{hint}")
        setting = known[name]
        values = [setting.read(head, one) for one in _several(setting, value)]
        read[name] = values[0] if len(values) == 1 else tuple(dict.fromkeys(values))
    return read


def plan_settings(
    head: str, settings: tuple[Setting, ...], given: Mapping[str, Any], search: bool
) -> tuple[dict[str, Any], dict[str, tuple[Any, ...]]]:
    """Tell the settings that are fixed from those to search.

    Returns
    -------
    fixed : dict
    grid : dict of tuples
        In the order of the table: the first is the main regulariser. Empty without a search.
    """
    read = read_settings(head, settings, given)
    fixed: dict[str, Any] = {}
    grid: dict[str, tuple[Any, ...]] = {}
    for setting in settings:
        value = read.get(setting.name, (search and setting.grid) or setting.default)
        if not isinstance(value, tuple):
            fixed[setting.name] = value
        elif not search:
            raise HeadError(
                f"The setting {setting.name!r} of {head} has several values, which only a search "
                "can choose from: give one value, or allow the search."
            )
        else:
            grid[setting.name] = value
    return fixed, grid


def _several(setting: Setting, value: Any) -> list[Any]:
    if setting.kind == "several":
        words = value if isinstance(value, (list, tuple)) else str(value).split(",")
        return ["+".join(words)]
    if isinstance(value, str):
        return value.split(",")
    if isinstance(value, (list, tuple)) and value:
        if setting.kind == "sizes" and all(isinstance(part, int) for part in value):
            return [value]
        return list(value)
    return [value]


def _as_float(value: Any) -> float | None:
    if isinstance(value, bool):
        return None
    try:
        number = float(value)
    except (TypeError, ValueError):
        return None
    return number if math.isfinite(number) else None


def _sizes(value: Any) -> str | None:
    sizes = read_sizes(value)
    return "-".join(map(str, sizes)) if isinstance(sizes, tuple) and sizes else None


def _gamma(value: Any) -> float | str | None:
    number = _as_float(value)
    if number is None:
        factor = gamma_factor(value)
        if factor is None:
            return None
        return "scale" if factor == 1 else f"{factor:g}*scale"
    return number if number > 0 else None


def gamma_factor(value: Any) -> float | None:
    """Give the 0.3 of "0.3*scale", 1 for "scale", None for anything else.

    >>> gamma_factor("0.3*scale"), gamma_factor("scale"), gamma_factor("auto")
    (0.3, 1.0, None)
    """
    text = str(value).replace(" ", "").lower()
    if text == "scale":
        return 1.0
    factor = _as_float(text.removesuffix("*scale")) if text.endswith("*scale") else None
    return factor if factor is not None and factor > 0 else None
