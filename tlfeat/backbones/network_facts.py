"""What must be known of a network in a file and is not in it: FILE.toml beside FILE.onnx.

How pixels are scaled comes before all: the wrong scaling costs points and never crashes.
"""

import math
import re
import shlex
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from tlfeat.backbones.scaling import MODES, get_scaling
from tlfeat.errors import TlfeatError, WeightsError, did_you_mean
from tlfeat.files import write_text
from tlfeat.settings import checked_values, from_values, setting, settings_of, unusual_values

_CHANNELS: Final = 3


@dataclass(frozen=True)
class NetworkFacts:
    """What must be known of a network to use it, beside what its file says."""

    scaling: str | None = setting(
        None, "text", "How pixels from 0 to 255 are scaled, where mean and std are not said.",
        words=MODES,
    )  # fmt: skip
    mean: str | None = setting(
        None, "text", "Of each channel of pixels in [0, 1].", metavar="R,G,B"
    )
    std: str | None = setting(None, "text", "Their deviations.", metavar="R,G,B")
    size: int | None = setting(
        None, "whole", "Side of its pictures, where the file does not say it.", least=1
    )
    layout: str | None = setting(
        None, "text", "Of its input, where the shape does not tell.", words=("NCHW", "NHWC")
    )
    colour: str = setting("RGB", "text", "Order of the channels.", words=("RGB", "BGR"))
    output: str | None = setting(
        None, "text", "The output or layer that is its feature.", metavar="NAME"
    )
    tokens: str | None = setting(
        None, "text", "What `avg` takes of a transformer's tokens: the class token, the mean of "
        "the patches, or both. class where there is one, else it must be said.",
        words=("class", "mean", "class+mean"),
    )  # fmt: skip
    licence: str = setting("not stated", "text", "Of its weights.")

    @property
    def is_scaled(self) -> bool:
        """Whether something says how pixels are scaled."""
        return self.scaling is not None or self.mean is not None

    @property
    def scaling_mode(self) -> str:
        """As `get_scaling` reads it; empty where nothing says it."""
        if not self.is_scaled:
            return ""
        mode = self.scaling or f"{self.mean}/{self.std}"
        return f"{mode} bgr" if self.colour == "BGR" and not get_scaling(mode).bgr else mode

    def checked(self) -> "NetworkFacts":
        """Give the facts as they are kept.

        Raises
        ------
        TlfeatError
            If one cannot be.
        """
        values = checked_values(self)
        for name in ("mean", "std"):
            values[name] = _numbers(name, values[name])
        facts = NetworkFacts(**values)
        if (facts.mean is None) != (facts.std is None):
            raise TlfeatError("mean and std belong together: say both.")
        if facts.scaling is not None and facts.mean is not None:
            raise TlfeatError(
                "scaling and mean are both said: leave one out, as --say scaling= does."
            )
        if facts.output == "":
            raise TlfeatError("output is empty: name one, or leave it out.")
        return facts


def _numbers(name: str, text: str | None) -> str | None:
    """Give three numbers as they are kept."""
    if text is None:
        return None
    try:
        numbers = [float(part) for part in text.split(",")]
    except ValueError:
        numbers = []
    if (
        len(numbers) != _CHANNELS
        or not all(map(math.isfinite, numbers))
        or (name == "std" and min(numbers) <= 0)
    ):
        raise TlfeatError(
            f"{name} must be three numbers, as 0.485,0.456,0.406, of pixels in [0, 1]"
            f"{' and above 0' * (name == 'std')}. Got {text!r} instead."
        )
    return ",".join(map(repr, numbers))


def facts_file(path: Path) -> Path:
    """Give the place of what is known of a network's file."""
    return path.with_suffix(".toml")


def read_facts(path: Path) -> NetworkFacts:
    """Read what stands beside a network's file.

    Raises
    ------
    TlfeatError
        If it cannot be read, has other keys, or says what cannot be.
    """
    file = facts_file(path)
    if not file.is_file():
        return NetworkFacts()
    try:
        values = tomllib.loads(file.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise TlfeatError(f"{file} cannot be read: {error}") from error
    return _facts_of(file, values)


def _facts_of(file: Path, values: Mapping[str, Any]) -> NetworkFacts:
    known = settings_of(NetworkFacts)
    for name in values:
        if name not in known:
            raise TlfeatError(
                f"{file}: there is no key {name!r}.{did_you_mean(name, known)} Known are "
                f"{', '.join(known)}."
            )
    try:
        return from_values(
            NetworkFacts, {name: _plain(value) for name, value in values.items()}
        ).checked()
    except TlfeatError as error:
        raise type(error)(f"{file}: {error}") from error


def _plain(value: Any) -> Any:
    """Give a list of numbers as the text that it stands for."""
    if isinstance(value, list) and all(type(one) in (int, float) for one in value):
        return ",".join(repr(float(one)) for one in value)
    return value


def write_facts(network: str | Path, said: Mapping[str, str]) -> NetworkFacts:
    """Write what a user says of a network's file beside it; what is there already stays.

    Parameters
    ----------
    network : str or Path
        Its file: .onnx, .xml or .keras.
    said : mapping of str to str
        By the names of `NetworkFacts`: scaling, mean, std, colour, size, output and others; an
        empty text takes back what was said.

    Returns
    -------
    facts : NetworkFacts
        All that stands beside the file now.

    Raises
    ------
    WeightsError
        If there is no such file.
    TlfeatError
        If what is said cannot be.

    Examples
    --------
    >>> tlfeat.write_facts("resnet18.onnx", {"scaling": "torch"})  # doctest: +SKIP
    """
    import tomli_w

    path = Path(network).expanduser()
    if not path.is_file():
        raise WeightsError(f"There is no network at {path}.")
    file, known = facts_file(path), settings_of(NetworkFacts)
    values: dict[str, Any] = unusual_values(read_facts(path))
    for name, text in said.items():
        values.pop(name, None)
        if text:
            is_whole = name in known and known[name].kind == "whole" and text.isdecimal()
            values[name] = int(text) if is_whole else text
    facts = _facts_of(file, values)
    there = file.read_text(encoding="utf-8") if file.is_file() else ""
    kept = [line for line in there.splitlines() if not _says(line, said)]
    added = tomli_w.dumps({name: values[name] for name in said if name in values})
    text = "".join(f"{line}\n" for line in kept) + added
    try:
        is_whole = unusual_values(_facts_of(file, tomllib.loads(text))) == unusual_values(facts)
    except (ValueError, TlfeatError):
        is_whole = False  # a value of several lines
    write_text(file, text if is_whole else tomli_w.dumps(unusual_values(facts)))
    return facts


def _says(line: str, names: Mapping[str, str]) -> bool:
    read = re.match(r"\s*([A-Za-z_]+)\s*=", line)
    return read is not None and read[1] in names


def how_to_say(path: Path, fact: str) -> str:
    """Give the command that writes a fact of a network's file."""
    return f"`tlfeat backbones {shlex.quote(str(path))} --say {fact}`"
