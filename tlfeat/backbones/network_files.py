"""Networks of anybody's, in files: FILE.onnx, FILE.xml of OpenVINO, FILE.keras.

What a file does not tell stands beside it in FILE.toml: how its pixels are scaled before all,
since the wrong scaling costs points and never crashes. The file's bytes and these facts make its
digest, which stands where that of a weight file does.
"""

import json
import re
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import cache
from hashlib import sha256
from mmap import ACCESS_READ, mmap
from pathlib import Path
from typing import Any, Final, TypeGuard

from tlfeat.backbones.scaling import MODES, get_scaling
from tlfeat.backbones.table import Backbone, WeightsSource, get_backbone
from tlfeat.errors import NetworkError, TlfeatError, WeightsError, did_you_mean
from tlfeat.files import file_digest, write_text
from tlfeat.settings import checked_values, from_values, setting, settings_of, unusual_values

SUFFIXES: Final = (".onnx", ".xml", ".keras")
_CHANNELS: Final = 3
_LOCATION: Final = re.compile(rb"\x0a\x08location\x12([\x01-\x7f])(.{1,127})", re.DOTALL)


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
        "the patches, or both. class where there is one, else mean.",
        words=("class", "mean", "class+mean"),
    )  # fmt: skip
    licence: str = setting("not stated", "text", "Of its weights.")

    def checked(self) -> "NetworkFacts":
        """Give the facts as they are kept.

        Raises
        ------
        TlfeatError
            If one cannot be, or nothing says how pixels are scaled.
        """
        facts = NetworkFacts(**checked_values(self))
        if (facts.mean is None) != (facts.std is None):
            raise TlfeatError("mean and std belong together: say both.")
        if (facts.scaling is None) == (facts.mean is None):
            raise TlfeatError(
                f"how pixels are scaled must be said once: scaling, one of {', '.join(MODES)}, "
                'or mean and std, such as "0.5,0.5,0.5".'
            )
        for name in ("mean", "std"):
            _check_numbers(name, getattr(facts, name))
        return facts

    @property
    def scaling_mode(self) -> str:
        """As `get_scaling` reads it."""
        mode = self.scaling or f"{self.mean}/{self.std}".replace(" ", "")
        return f"{mode} bgr" if self.colour == "BGR" and not get_scaling(mode).bgr else mode


def _check_numbers(name: str, text: str | None) -> None:
    if text is None:
        return
    try:
        numbers = [float(part) for part in text.split(",")]
    except ValueError:
        numbers = []
    if len(numbers) != _CHANNELS or (name == "std" and min(numbers) <= 0):
        raise TlfeatError(
            f"{name} must be three numbers, as 0.485,0.456,0.406, of pixels in [0, 1]"
            f"{' and above 0' * (name == 'std')}. Got {text!r} instead."
        )


@dataclass(frozen=True)
class NetworkFile:
    """A network in a file, and what is known of it.

    Attributes
    ----------
    path : Path
    facts : NetworkFacts
    digest : str
        SHA-256 of the file's bytes and the facts.
    """

    path: Path
    facts: NetworkFacts
    digest: str

    @property
    def is_keras(self) -> bool:
        """Whether Keras reads it; OpenVINO reads the others."""
        return self.path.suffix == ".keras"


@dataclass(frozen=True, kw_only=True)
class FileBackbone(Backbone):
    """A network of a file, as the table has its own."""

    file: NetworkFile


def is_network_file(backbone: str | None) -> TypeGuard[str]:
    """Say whether a backbone is named by a file, or by the name of one."""
    return backbone is not None and Path(backbone).suffix in SUFFIXES


def facts_file(path: Path) -> Path:
    """Give the place of what is known of a network's file."""
    return path.with_suffix(".toml")


def read_facts(path: Path) -> NetworkFacts:
    """Read what stands beside a network's file; nothing is checked to be there.

    Raises
    ------
    TlfeatError
        If the file cannot be read, or has other keys.
    """
    file = facts_file(path)
    if not file.is_file():
        return NetworkFacts()
    try:
        values = tomllib.loads(file.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise TlfeatError(f"{file} cannot be read: {error}") from error
    return _facts_of(file, values)


def _facts_of(said_in: Path, values: Mapping[str, Any]) -> NetworkFacts:
    known = settings_of(NetworkFacts)
    for name in values:
        if name not in known:
            raise TlfeatError(
                f"{said_in}: there is no key {name!r}.{did_you_mean(name, known)} Known are "
                f"{', '.join(known)}."
            )
    plain = {
        name: ",".join(f"{x:g}" for x in value) if isinstance(value, list) else value
        for name, value in values.items()
    }
    return from_values(NetworkFacts, plain)


def write_facts(path: Path, values: Mapping[str, Any]) -> NetworkFacts:
    """Write what a user says of a network's file beside it, what is there already kept.

    Parameters
    ----------
    path : Path
        Of the network.
    values : mapping
        By the names of `NetworkFacts`.

    Raises
    ------
    TlfeatError
        If they cannot be.
    """
    import tomli_w

    file = facts_file(path)
    facts = _facts_of(file, unusual_values(read_facts(path)) | dict(values))
    try:
        facts = facts.checked()
    except TlfeatError as error:
        raise TlfeatError(f"{path.name}: {error}") from error
    write_text(file, tomli_w.dumps(unusual_values(facts)))
    return facts


def read_network_file(path: Path) -> NetworkFile:
    """Read a network's file and what stands beside it.

    Raises
    ------
    WeightsError
        If there is no such file.
    TlfeatError
        If something must be known that is said nowhere.
    """
    path = path.expanduser()
    if not path.is_file():
        raise WeightsError(f"There is no network at {path}.")
    facts = read_facts(path)
    try:
        facts = facts.checked()
    except TlfeatError as error:
        raise TlfeatError(
            f"{path}: {error} `tlfeat backbones {path} --say scaling=torch` writes it into "
            f"{facts_file(path).name}."
        ) from error
    return _digested(path.resolve(), facts)


def _digested(path: Path, facts: NetworkFacts) -> NetworkFile:
    try:
        decisive = [file_digest(one) for one in (path, *_files_beside(path))]
    except FileNotFoundError as error:
        raise WeightsError(
            f"{path.name} keeps its weights in another file, and {error.filename} is not there: "
            "put it beside the network."
        ) from error
    except OSError as error:
        raise WeightsError(f"{error.filename} cannot be read: {error.strerror}.") from error
    known = {name: value for name, value in vars(facts).items() if name != "licence"}
    text = json.dumps([decisive, known], sort_keys=True)
    return NetworkFile(path, facts, sha256(text.encode()).hexdigest())


def describe(path: Path) -> dict[str, str]:
    """Say what is understood of a network's file, before it is used.

    Returns
    -------
    facts : dict of str to str
        In words; "scaling" is empty where nobody says it.

    Raises
    ------
    WeightsError, TlfeatError
        If there is no such file, or it is no network that takes pictures.
    """
    if not path.is_file():
        raise WeightsError(f"There is no network at {path}.")
    facts = read_facts(path)
    is_said = facts.scaling is not None or facts.mean is not None
    row = row_of(NetworkFile(path, facts if is_said else replace(facts, scaling="none"), ""))
    told = {"file": str(path), "parameters": f"{row.parameters / 1e6:.1f} M"}
    if not row.file.is_keras:
        from tlfeat.backbones.openvino_files import understood

        file = understood(path, facts)
        told["input"] = f"{file.shape} of {file.type}, {file.layout}"
        told["outputs"] = ", ".join(f"{name} {shape}" for name, shape in file.outputs.items())
    return told | {
        "pictures": f"{row.size}x{row.size} pixels, {facts.colour}",
        "scaling": facts.scaling_mode if is_said else "",
        "feature": facts.output or "its output",
        "licence": facts.licence,
    }


def _files_beside(path: Path) -> list[Path]:
    """Give the files that a network keeps its weights in, where not in its own."""
    if path.suffix == ".xml":
        return [path.with_suffix(".bin")]
    if path.suffix != ".onnx":
        return []
    if path.stat().st_size == 0:
        return []
    return [path.parent / name for name in _external_names(path, path.stat().st_mtime_ns)]


@cache
def _external_names(path: Path, changed: int) -> tuple[str, ...]:
    """Read from an ONNX file which others its tensors are in; one that stays is read once.

    A tensor's `external_data` has an entry of key "location", as protobuf writes it.
    """
    with path.open("rb") as file, mmap(file.fileno(), 0, access=ACCESS_READ) as data:
        found = (match[2][: match[1][0]] for match in _LOCATION.finditer(data))
        return tuple(dict.fromkeys(name.decode(errors="replace") for name in found))


def find_network(backbone: str, weights: str | Path = "imagenet") -> Backbone:
    """Look up a network, of the table or of a file.

    Parameters
    ----------
    backbone : str
        A name of the table, a file, or the name of the file that `weights` is.
    weights : str or Path

    Raises
    ------
    UnknownName
        If there is no such network.
    TlfeatError
        If a file cannot be used.
    """
    if not is_network_file(backbone):
        return get_backbone(backbone)
    path = Path(backbone) if weights == "imagenet" else Path(weights)
    if name_of(path) != name_of(Path(backbone)):
        raise NetworkError(f"{Path(backbone).name} has its own weights: leave --weights out.")
    return row_of(read_network_file(path))


def name_of(path: Path) -> str:
    """Give what runs and entries call a network of a file."""
    return re.sub(r"[^A-Za-z0-9_.-]+", "_", path.name)


def row_of(file: NetworkFile) -> FileBackbone:
    """Give a network of a file as the table has its own.

    Raises
    ------
    NetworkError
        If nothing says the side of its pictures, or the file is not what it should be.
    """
    if file.is_keras:
        from tlfeat.backbones.model_files import count_parameters, told_side

        side, parameters = told_side(file.path), count_parameters(file.path)
    else:
        from tlfeat.backbones.openvino_files import understood

        told = understood(file.path, file.facts)
        side, parameters = told.size, told.parameters
    said = file.facts.size
    if side is None and said is None:
        raise NetworkError(
            f"{file.path.name} takes pictures of any size: say which it was trained on, "
            f"`tlfeat backbones {file.path} --say size=224`."
        )
    if side is not None and said not in (None, side):
        raise NetworkError(
            f"{file.path.name} takes pictures of {side}x{side} pixels and no others: leave size "
            f"out of {facts_file(file.path).name}."
        )
    return FileBackbone(
        name=name_of(file.path),
        builder="",
        family="file",
        dim=0,
        size=said or side or 0,
        min_size=1,
        scaling=file.facts.scaling_mode,
        parameters=parameters,
        licence=file.facts.licence,
        weights=WeightsSource("keras", ""),
        stages=(),
        file=file,
    )
