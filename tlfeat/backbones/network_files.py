"""Networks of anybody's, in files: FILE.onnx, FILE.xml of OpenVINO, FILE.keras, hub:PRESET.

What a file does not tell stands beside it, see `network_facts`. The file's bytes, those of the
files that it keeps its weights in, and these facts make its digest, which stands where that of a
weight file does.
"""

import json
import re
from dataclasses import dataclass
from functools import cache
from hashlib import sha256
from mmap import ACCESS_READ, mmap
from pathlib import Path
from typing import Final, TypeGuard

from tlfeat.backbones import hub, keras_files
from tlfeat.backbones.network_facts import NetworkFacts, facts_file, how_to_say, read_facts
from tlfeat.backbones.table import Backbone, WeightsSource, get_backbone
from tlfeat.backbones.understood import Understood
from tlfeat.errors import NetworkError, TlfeatError, WeightsError
from tlfeat.files import file_digest

SUFFIXES: Final = (".onnx", ".xml", ".keras")
# of an ONNX tensor, as protobuf writes it: external_data, of some length, {key: "location", value
_LOCATION: Final = re.compile(rb"\x6a[\x00-\xff]{1,2}\x0a\x08location\x12")


@dataclass(frozen=True)
class NetworkFile:
    """A network in a file, and what is known of it.

    Attributes
    ----------
    path : Path
        A folder, of a preset.
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
        return self.is_preset or self.path.suffix.lower() == ".keras"

    @property
    def is_preset(self) -> bool:
        """Whether keras-hub builds it."""
        return self.path.is_dir()

    def understood(self) -> Understood:
        """Read what it says of itself.

        Raises
        ------
        NetworkError
            If it is no network that takes pictures.
        """
        if self.is_preset:
            return hub.understood_preset(self.path)
        if self.is_keras:
            return keras_files.understood(self.path)
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
    return backbone is not None and (
        is_preset(backbone) or Path(backbone).suffix.lower() in SUFFIXES
    )


def is_preset(backbone: str) -> bool:
    """Say whether a backbone is a preset of keras-hub, or the name of one."""
    return backbone.startswith(hub.PREFIX) or backbone.endswith(hub.SUFFIX)


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


def read_preset(preset: str) -> NetworkFile:
    """Read a preset of keras-hub, by its name or its folder.

    Raises
    ------
    TlfeatError
        If it cannot be had, or is none of a network for pictures.
    """
    folder = hub.preset_folder(preset)
    facts = hub.preset_facts(folder)
    return NetworkFile(folder, facts, _digest(folder, facts))


def _digest(path: Path, facts: NetworkFacts) -> str:
    try:
        files = hub.preset_files(path) if path.is_dir() else [path, *_files_beside(path)]
        decisive = [file_digest(one) for one in files]
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


def describe_network(network: str | Path) -> dict[str, str]:
    """Say what is understood of a network's file, before it is used.

    Parameters
    ----------
    network : str or Path
        The file, or hub: and a preset.

    Returns
    -------
    facts : dict of str to str
        In words, empty where something must still be said: "scaling", "pictures", "feature".

    Raises
    ------
    WeightsError, TlfeatError
        If there is no such file, or it is no network that takes pictures.

    Examples
    --------
    >>> tlfeat.describe_network("resnet18.onnx")["scaling"]  # doctest: +SKIP
    'torch'
    """
    named = str(network)
    of_hub = named.startswith(hub.PREFIX)
    path = hub.preset_folder(named.removeprefix(hub.PREFIX)) if of_hub else Path(named)
    path = path.expanduser()
    if not path.exists():
        raise WeightsError(f"There is no network at {path}.")
    facts = hub.preset_facts(path) if path.is_dir() else read_facts(path)
    file = NetworkFile(path, facts)
    told = file.understood()
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
    if is_preset(backbone):
        named = backbone.removeprefix(hub.PREFIX) if weights == "imagenet" else str(weights)
        if weights == "random":
            raise NetworkError(f"{backbone} has its own weights: leave --weights out.")
        return _row(read_preset(named), name_of(backbone))
    path = Path(backbone) if weights == "imagenet" else Path(weights)
    is_other = name_of(path.name) != name_of(backbone)
    if is_other and not (moved and is_network_file(path.name)):
        raise NetworkError(f"{Path(backbone).name} has its own weights: leave --weights out.")
    file = read_network_file(path)
    return _row(file, name_of(file.path.name))


def _row(file: NetworkFile, name: str) -> FileBackbone:
    told = file.understood()
    return FileBackbone(
        name=name,
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


def name_of(backbone: str) -> str:
    """Give what runs and entries call a network of a file, or a preset.

    Examples
    --------
    >>> name_of("nets/my net.onnx"), name_of("hub:presets/vit"), name_of("vit.hub")
    ('my_net.onnx', 'vit.hub', 'vit.hub')
    """
    name = Path(backbone.removeprefix(hub.PREFIX)).name
    if is_preset(backbone):
        name = name.removesuffix(hub.SUFFIX) + hub.SUFFIX
    return re.sub(r"[^A-Za-z0-9_.-]+", "_", name)
