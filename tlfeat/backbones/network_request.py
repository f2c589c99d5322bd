"""What an engine is asked for: a network and what it is to give, known by a key."""

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any, Final, Protocol

from tlfeat.backbones.network_files import FileBackbone
from tlfeat.backbones.networks import build_network
from tlfeat.backbones.openvino_files import openvino_network
from tlfeat.backbones.precision import get_precision
from tlfeat.backbones.table import Backbone, Output
from tlfeat.backbones.weights import Weights

SCHEMA: Final = 2  # raised when an export of before must not be used any more


class Exportable(Protocol):
    """A network that an engine can run: all that decides what it computes."""

    @property
    def name(self) -> str:
        """What messages call it."""

    @property
    def size(self) -> int:
        """Side of its pictures in pixels."""

    @property
    def outputs(self) -> tuple[Output, ...]:
        """What it gives."""

    @property
    def precision(self) -> str:
        """What it computes in, of `PRECISIONS`."""

    @property
    def key(self) -> str:
        """The name of its folder in the store."""

    @property
    def is_of_keras(self) -> bool:
        """Whether Keras can build it; else it is in a file that OpenVINO reads."""

    def as_dict(self) -> dict[str, Any]:
        """Give it as plain JSON values."""

    def build(self) -> Any:
        """Build it with Keras, to take pictures (n, size, size, 3) of uint8."""

    def read(self) -> Any:
        """Read it with OpenVINO, where it is in a file for that."""

    def as_exported(self) -> "Exportable":
        """Give the same network in the precision that it is exported in."""


@dataclass(frozen=True)
class NetworkRequest:
    """A backbone of the table, and what is wanted of it."""

    backbone: Backbone
    size: int
    weights: Weights
    outputs: tuple[Output, ...] = (Output(),)
    precision: str = "float32"

    @property
    def name(self) -> str:
        """What messages call it."""
        return self.backbone.name

    def as_dict(self) -> dict[str, Any]:
        """Give it as plain JSON values."""
        return {
            "schema": SCHEMA,
            "backbone": self.backbone.name,
            "size": self.size,
            "weights": self.weights.digest,
            "outputs": [list(output) for output in self.outputs],
            "precision": self.precision,
        }

    @property
    def key(self) -> str:
        """The name of its folder in the store."""
        return key_of(self.backbone.name, self.as_dict())

    def build(self) -> Any:
        """Build it with Keras."""
        return build_network(
            self.backbone, self.size, self.weights, self.outputs, precision=self.precision
        )

    @property
    def is_of_keras(self) -> bool:
        """Whether Keras can build it; else it is in a file that OpenVINO reads."""
        return not isinstance(self.backbone, FileBackbone) or self.backbone.file.is_keras

    def read(self) -> Any:
        """Read it with OpenVINO, where it is in a file for that."""
        assert isinstance(self.backbone, FileBackbone)
        file = self.backbone.file
        return openvino_network(file.path, file.facts, self.size, self.outputs)

    def as_exported(self) -> "NetworkRequest":
        """Give the same network in the precision that it is exported in."""
        return replace(self, precision=get_precision(self.precision).exported)


def key_of(name: str, decisive: Mapping[str, Any]) -> str:
    """Name a network's folder: a readable name, and a digest of all that decides it."""
    text = json.dumps(decisive, sort_keys=True, separators=(",", ":"))
    return f"{name}-{hashlib.sha256(text.encode()).hexdigest()[:16]}"
