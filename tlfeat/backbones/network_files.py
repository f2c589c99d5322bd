"""Networks of anybody's, in files: FILE.onnx, FILE.xml of OpenVINO, FILE.keras.

What a file does not tell stands beside it, see `network_facts`. The file's bytes, those of the
files that it keeps its weights in, and these facts make its digest, which stands where that of a
weight file does.
"""

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from hashlib import sha256
from mmap import ACCESS_READ, mmap
from pathlib import Path
from typing import Final, NamedTuple, TypeGuard

from tlfeat.backbones.network_facts import NetworkFacts, facts_file, how_to_say, read_facts
from tlfeat.backbones.table import Backbone, WeightsSource, get_backbone
from tlfeat.errors import NetworkError, TlfeatError, WeightsError
from tlfeat.files import file_digest

SUFFIXES: Final = (".onnx", ".xml", ".keras")
# of an ONNX tensor, as protobuf writes it: external_data, of some length, {key: "location", value
_LOCATION: Final = re.compile(rb"\x6a[\x00-\xff]{1,2}\x0a\x08location\x12")


class Understood(NamedTuple):
    """What a file says of itself."""

    side: int | None  # of its pictures; None where it takes any
    parameters: int
    input: str
    outputs: Mapping[str, str]  # name to shape; empty where only building it would tell


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
    digest: str = ""

    @property
    def is_keras(self) -> bool:
        """Whether Keras reads it; OpenVINO reads the others."""
        return self.path.suffix.lower() == ".keras"

    def understood(self) -> Understood:
        """Read what it says of itself.

        Raises
        ------
        NetworkError
            If it is no network that takes pictures.
        """
        if self.is_keras:
            from tlfeat.backbones.keras_files import understood as of_keras

            return of_keras(self.path)
        from tlfeat.backbones.openvino_files import understood

        return understood(self.path, self.facts)

    def side(self, told: Understood) -> int:
        """Give the side of its pictures, as the file or the facts say it.

        Raises
        ------
        NetworkError
            If neither does, or each another.
        """
        said = self.facts.size
        if told.side is None and said is None:
            raise NetworkError(
                f"{self.path.name} takes pictures of any size: say which it was trained on, "
                f"{how_to_say(self.path, 'size=224')}."
            )
        if told.side is not None and said not in (None, told.side):
            raise NetworkError(
                f"{self.path.name} takes pictures of {told.side}x{told.side} pixels and no "
                f"others: leave size out of {facts_file(self.path).name}."
            )
        return said or told.side or 0


@dataclass(frozen=True, kw_only=True)
class FileBackbone(Backbone):
    """A network of a file, as the table has its own."""

    file: NetworkFile


def is_network_file(backbone: str | None) -> TypeGuard[str]:
    """Say whether a backbone is named by a file, or by the name of one."""
    return backbone is not None and Path(backbone).suffix.lower() in SUFFIXES


def read_network_file(path: Path) -> NetworkFile:
    """Read a network's file and what stands beside it.

    Raises
    ------
    WeightsError
        If there is no such file.
    TlfeatError
        If what stands beside it cannot be used, or does not say how pixels are scaled.
    """
    path = path.expanduser().absolute()  # a link stays one: the facts are beside it
    if not path.is_file():
        raise WeightsError(
            f"There is no network at {path}: name a file that is there; where one is now that "
            "features or a run were made with, --weights FILE says."
        )
    facts = read_facts(path)
    if not facts.is_scaled:
        raise TlfeatError(
            f"Nothing says how pixels are scaled for {path.name}: "
            f"{how_to_say(path, 'scaling=torch')} does, or with mean=R,G,B and std=R,G,B."
        )
    return NetworkFile(path, facts, _digest(path, facts))


def _digest(path: Path, facts: NetworkFacts) -> str:
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
    return sha256(json.dumps([decisive, known], sort_keys=True).encode()).hexdigest()


def _files_beside(path: Path) -> list[Path]:
    """Give the files that a network keeps its weights in, where not in its own."""
    if path.suffix.lower() == ".xml":
        return [path.with_suffix(".bin")]
    if path.suffix.lower() != ".onnx" or path.stat().st_size == 0:
        return []
    stat = path.stat()
    names = _external_names(path, stat.st_mtime_ns, stat.st_size, stat.st_ino)
    return [path.parent / name for name in names]


@cache
def _external_names(path: Path, *changed: int) -> tuple[str, ...]:
    """Read from an ONNX file which others its tensors are in; one that stays is read once."""
    with path.open("rb") as file, mmap(file.fileno(), 0, access=ACCESS_READ) as data:
        names = []
        for match in _LOCATION.finditer(data):
            start = match.end()
            length, start = data[start], start + 1
            if length > 127:  # a varint of two bytes
                length, start = (length & 127) | data[start] << 7, start + 1
            names.append(data[start : start + length].decode(errors="replace"))
    return tuple(dict.fromkeys(names))


def describe(path: Path) -> dict[str, str]:
    """Say what is understood of a network's file, before it is used.

    Returns
    -------
    facts : dict of str to str
        In words, empty where something must still be said: "scaling", "pictures", "feature".

    Raises
    ------
    WeightsError, TlfeatError
        If there is no such file, or it is no network that takes pictures.
    """
    path = path.expanduser()
    if not path.is_file():
        raise WeightsError(f"There is no network at {path}.")
    file = NetworkFile(path, read_facts(path))
    told, facts = file.understood(), file.facts
    if facts.output is not None and not file.is_keras:
        from tlfeat.backbones.openvino_files import check_output

        check_output(path, facts)
    side = facts.size if told.side is None else file.side(told)
    bgr = facts.scaling_mode == "caffe" or facts.colour == "BGR"
    only = next(iter(told.outputs)) if len(told.outputs) == 1 else ""
    return {
        "file": str(path),
        "parameters": f"{told.parameters / 1e6:.1f} M",
        "input": told.input,
        "outputs": ", ".join(f"{name} {shape}" for name, shape in told.outputs.items()),
        "pictures": f"{side}x{side} pixels, {'BGR' if bgr else 'RGB'}" if side else "",
        "scaling": facts.scaling_mode,
        "feature": facts.output or ("its last layer" if file.is_keras else only),
        "licence": facts.licence,
    }


def find_network(
    backbone: str, weights: str | Path = "imagenet", *, moved: bool = False
) -> Backbone:
    """Look up a network, of the table or of a file.

    Parameters
    ----------
    backbone : str
        A name of the table, a file, or the name of the file that `weights` is.
    weights : str or Path
    moved : bool
        Whether the file may have another name by now; its digest tells.

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
    is_other = name_of(path) != name_of(Path(backbone))
    if is_other and not (moved and is_network_file(path.name)):
        raise NetworkError(f"{Path(backbone).name} has its own weights: leave --weights out.")
    file = read_network_file(path)
    told = file.understood()
    return FileBackbone(
        name=name_of(file.path),
        builder="",
        family="file",
        dim=0,
        size=file.side(told),
        min_size=1,
        scaling=file.facts.scaling_mode,
        parameters=told.parameters,
        licence=file.facts.licence,
        weights=WeightsSource("keras", ""),
        stages=(),
        file=file,
    )


def name_of(path: Path) -> str:
    """Give what runs and entries call a network of a file."""
    return re.sub(r"[^A-Za-z0-9_.-]+", "_", path.name)
