"""Whole networks of Keras files, as an engine is asked for them."""

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Final

from tlfeat.backbones.keras_files import load_model
from tlfeat.backbones.keras_runtime import import_keras
from tlfeat.backbones.network_request import SCHEMA, key_of
from tlfeat.backbones.precision import get_precision
from tlfeat.backbones.table import Output
from tlfeat.errors import NetworkError

_ANSWERS: Final = Output("answers", "none")  # what a whole network gives: a number a class


@dataclass(frozen=True)
class ModelRequest:
    """A whole network of a Keras file, from pixels of 0 to 255 to an answer a class.

    Attributes
    ----------
    name : str
        What messages call it.
    path : Path
    digest : str
        SHA-256 of the file.
    size : int
        Side of its pictures in pixels.
    precision : {"float32", "bfloat16", "mixed"}
        What its layers compute in; "bfloat16" is OpenVINO's doing, whatever the file says.
    """

    name: str
    path: Path
    digest: str
    size: int
    precision: str = "float32"

    @property
    def outputs(self) -> tuple[Output, ...]:
        """What it gives."""
        return (_ANSWERS,)

    def as_dict(self) -> dict[str, Any]:
        """Give it as plain JSON values."""
        return {
            "schema": SCHEMA,
            "model": self.digest,
            "size": self.size,
            "precision": self.precision,
        }

    @property
    def key(self) -> str:
        """The name of its folder in the store."""
        return key_of("model", self.as_dict())

    def build(self) -> Any:
        """Read it, to take uint8 pictures.

        Raises
        ------
        NetworkError
            If it is to compute in bfloat16: its layers have a precision of their own.
        WeightsError
            If it cannot be read.
        """
        if self.precision == "bfloat16":
            raise NetworkError(
                f"TensorFlow computes {self.name} in the precision that it was trained in: leave "
                "--precision out, or use --engine openvino."
            )
        model = load_model(self.path)
        keras = import_keras()
        pictures = keras.Input((self.size, self.size, 3), dtype="uint8", name="pictures")
        pixels = keras.layers.Rescaling(1.0, dtype="float32", name="pixels_of_uint8")(pictures)
        return keras.Model(pictures, model(pixels), name="whole")

    @property
    def is_of_keras(self) -> bool:
        """Whether Keras can build it."""
        return True

    def read(self) -> Any:
        """Refuse: Keras builds it."""
        raise NetworkError(f"{self.name} is a file of Keras, which OpenVINO does not read.")

    def as_exported(self) -> "ModelRequest":
        """Give the same network in the precision that it is exported in."""
        return replace(self, precision=get_precision(self.precision).exported)
