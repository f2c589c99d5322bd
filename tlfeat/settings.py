"""What a user can say, as fields of a record: said in one place, read by all.

A record of settings is a frozen dataclass whose fields are made by `setting`. Its checks, the
options of the command line, the keys of study files and the names of runs are all made of these
fields, so a new setting is a new field and its use.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import MISSING, dataclass, field, fields
from inspect import Parameter, signature
from typing import Any, Literal, TypeVar

from tlfeat.errors import TlfeatError, UnknownName, did_you_mean

F = TypeVar("F", bound=Callable[..., Any])
R = TypeVar("R")
Kind = Literal["text", "whole", "number", "flag", "layer", "sizes", "choice", "choices"]
_KEY = "setting"  # of a field's metadata


@dataclass(frozen=True)
class Setting:
    """One setting: what it is when nobody says, what it may be, what it does.

    Attributes
    ----------
    name : str
        As in Python and study files; with "-" for "_" on the command line.
    kind : str
        "layer" is a name, or a number of layers; "sizes" are dense layers as in 512-256;
        "choice" and "choices" are rows of a table with settings of their own, NAME:KEY=VALUE.
    default : object
        None where what is meant follows from the rest, as `help` says.
    help : str
        One line of a help page.
    metavar : str
        What stands for the value there; the words where empty.
    words : tuple of str
        What a text may be; any text where empty.
    least, most, above : float, optional
        Bounds of a number; it is larger than `above`.
    field : str
        Its name in the record.
    old_name : str
        What it was called at first, which is read too.
    later : bool
        Whether it came after the first ids of runs: it is in an id only where it is not as when
        nobody says, so that the ids of runs from before it stay.
    panel : str
        Of a help page, where not that of its record.
    """

    name: str
    kind: Kind
    default: Any
    help: str
    metavar: str = ""
    words: tuple[str, ...] = ()
    least: float | None = None
    most: float | None = None
    above: float | None = None
    field: str = ""
    old_name: str = ""
    later: bool = False
    panel: str = ""

    def check(self, value: Any) -> Any:
        """Give a value as it is kept, a whole number for a number as a float.

        Raises
        ------
        UnknownName
            If a text is none of the words.
        TlfeatError
            If the value is of another kind or out of bounds.
        """
        if value is None and self.default is None:
            return None
        if self.kind == "sizes":
            value = read_sizes(value)
        if self.words and isinstance(value, str) and value not in self.words:
            raise UnknownName(
                f"{self.name} must be {self.wanted()}. Got {value!r} instead."
                f"{did_you_mean(value, self.words)}"
            )
        if not self._fits(value):
            raise TlfeatError(f"{self.name} must be {self.wanted()}. Got {value!r} instead.")
        return float(value) if self.kind == "number" else value

    def _fits(self, value: Any) -> bool:
        if self.kind in ("whole", "number"):
            numbers = int if self.kind == "whole" else int | float
            return (
                isinstance(value, numbers)
                and not isinstance(value, bool)
                and (self.least is None or value >= self.least)
                and (self.most is None or value <= self.most)
                and (self.above is None or value > self.above)
            )
        kinds: dict[str, Any] = {"text": str, "flag": bool, "sizes": tuple}
        return isinstance(value, kinds.get(self.kind, object))

    def wanted(self) -> str:
        """Say what a value must be, as in "a number from 0 to 0.99"."""
        if self.words:
            return f"one of {', '.join(self.words)}"
        words = {
            "whole": "a whole number",
            "number": "a number",
            "flag": "true or false",
            "sizes": "sizes of 1 or more, as 512-256",
        }
        text = words.get(self.kind, "a text")
        if self.least is not None and self.most is not None:
            return f"{text} from {self.least:g} to {self.most:g}"
        if self.least is not None:
            return f"{text} of at least {self.least:g}"
        text += "" if self.above is None else f" above {self.above:g}"
        return text if self.most is None else f"{text} of at most {self.most:g}"


def read_sizes(given: Any) -> Any:
    """Read the sizes of dense layers; what cannot be read is given back as it is.

    >>> read_sizes("512-256"), read_sizes(None), read_sizes("512,256")
    ((512, 256), (), '512,256')
    """
    parts = str(given).split("-") if isinstance(given, str | int) else given or ()
    try:
        sizes = tuple(int(part) for part in parts if part != "")
    except (TypeError, ValueError):
        return given
    return sizes if all(size >= 1 for size in sizes) else given


def setting(default: Any, kind: Kind, help: str, **more: Any) -> Any:
    """Make a field of a record of settings; `more` as in `Setting`."""
    return field(default=default, metadata={_KEY: {"kind": kind, "help": help, **more}})


def settings_of(record: Any) -> Mapping[str, Setting]:
    """Give the settings of a record, or of its class, by name in their order."""
    return {
        one.metadata[_KEY].get("name", one.name): Setting(
            default=None if one.default is MISSING else one.default,
            **{"name": one.name, "field": one.name, **one.metadata[_KEY]},
        )
        for one in fields(record)
        if _KEY in one.metadata
    }


def from_values(record: type[R], values: Mapping[str, Any], **more: Any) -> R:
    """Make a record of what a mapping says of its settings; other keys are left alone."""
    said = {one.field: values[name] for name, one in settings_of(record).items() if name in values}
    return record(**said, **more)


def said_values(record: Any) -> dict[str, Any]:
    """Give the values of a record's settings by their names, as a study file has them."""
    return {name: getattr(record, one.field) for name, one in settings_of(record).items()}


def checked_values(record: Any) -> dict[str, Any]:
    """Give the values of a record's settings as they are kept, by the names of their fields.

    Raises
    ------
    TlfeatError
        If one cannot be.
    """
    return {
        one.field: one.check(getattr(record, one.field)) for one in settings_of(record).values()
    }


def unusual_values(record: Any) -> dict[str, Any]:
    """Give the settings of a record that are not as when nobody says, in their order."""
    return {
        name: value
        for name, value in said_values(record).items()
        if value != settings_of(record)[name].default
    }


def unusual_words(record: Any, *, without: Sequence[str] = ()) -> list[str]:
    """Say what is not as when nobody says, for a name: smoothing0.1, batchnorm, balanced.

    Parameters
    ----------
    record : dataclass
    without : sequence of str
        Settings that a name has in another way, or not.
    """
    settings, words = settings_of(record), []
    for name, value in unusual_values(record).items():
        last = name.split("_")[-1]
        if name not in without:
            number = settings[name].kind in ("whole", "number")
            words.append(f"{last}{value:g}" if number else last if value is True else str(value))
    return words


def several(given: Any) -> tuple[Any, ...]:
    """Give what was given as several: a text, or whatever has no parts, is one.

    >>> several("lda"), several(["lda", "knn"]), several(5)
    (('lda',), ('lda', 'knn'), (5,))
    """
    if isinstance(given, str | Mapping) or not isinstance(given, Iterable):
        return (given,)
    return tuple(given)


def explained(*records: Any, without: Sequence[str] = ()) -> Callable[[F], F]:
    """Let `help`, and whatever asks for a signature, see what `**options` stands for.

    Parameters
    ----------
    *records : dataclass types
        Their fields are the options; one that the function names itself stays where it is.
    without : sequence of str
        Fields that the function refuses.
    """

    def decorate(function: F) -> F:
        whole = signature(function)
        named = [p for p in whole.parameters.values() if p.kind is not Parameter.VAR_KEYWORD]
        taken = {parameter.name for parameter in named}
        options = [
            Parameter(one.name, Parameter.KEYWORD_ONLY, default=one.default, annotation=one.type)
            for record in records
            for one in fields(record)
            if one.name not in taken and one.name not in without
        ]
        function.__signature__ = whole.replace(parameters=[*named, *options])  # type: ignore[attr-defined]
        return function

    return decorate
