"""The formats that a model is exported to: a row each, nothing else to touch when one is added.

Keras, tf2onnx, OpenVINO and LiteRT write the files. Importing this module costs nothing.
"""

import contextlib
import io
import os
import warnings
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from tlfeat.backbones.exported import convert_network
from tlfeat.backbones.keras_runtime import import_keras
from tlfeat.backbones.openvino_package import import_openvino
from tlfeat.deploy import standalone
from tlfeat.errors import TlfeatError, UnknownName, did_you_mean

_Squares = npt.NDArray[np.uint8]  # (n, size, size, 3)
Writer = Callable[[Any, Path, str, _Squares], None]  # network, file, precision, train pictures


@dataclass(frozen=True)
class Format:
    """A format of model files."""

    name: str
    summary: str
    model: str  # name of its file or folder
    write: Writer
    load: Callable[[str], Callable[[Any], Any]]  # stands in its predict.py
    runtime: str  # the packages that run it, as pip calls them
    modules: tuple[str, ...]  # that write it, compare it, and run it
    extra: str | None = None  # of tlfeat, that has it and what writes the format
    precisions: tuple[str, ...] = ("float32",)
    takes_one: bool = False  # picture at a time

    @property
    def is_network_file(self) -> bool:
        """Whether `--backbone` takes its file."""
        return self.model.endswith((".onnx", ".xml", ".keras"))


def _write_onnx(network: Any, file: Path, precision: str, squares: _Squares) -> None:
    _export(_without_normalization(network), file, "onnx")


def _write_openvino(network: Any, file: Path, precision: str, squares: _Squares) -> None:
    openvino = import_openvino()
    model = network if isinstance(network, openvino.Model) else convert_network(network)
    openvino.save_model(model, file, compress_to_fp16=precision == "float16")


def _write_keras(network: Any, file: Path, precision: str, squares: _Squares) -> None:
    network.save(file)


def _write_savedmodel(network: Any, file: Path, precision: str, squares: _Squares) -> None:
    _export(network, file, "tf_saved_model")


def _write_litert(network: Any, file: Path, precision: str, squares: _Squares) -> None:
    keras = import_keras()
    import tensorflow as tf

    one = keras.InputSpec(shape=(1, *network.input_shape[1:]), dtype="uint8", name="pixels")
    # the operations of LiteRT alone: no runtime has TensorFlow's by itself
    target: dict[str, Any] = {"supported_ops": [tf.lite.OpsSet.TFLITE_BUILTINS]}
    how: dict[str, Any] = {"target_spec": target}
    if precision != "float32":
        how["optimizations"] = [tf.lite.Optimize.DEFAULT]
    if precision == "float16":
        target["supported_types"] = [tf.float16]
    if precision == "int8":
        how["representative_dataset"] = lambda: ([square[None]] for square in squares)
    _export(network, file, "litert", input_signature=[one], **how)


def _export(network: Any, file: Path, kind: str, **how: Any) -> None:
    """Let Keras export a network, which it must have called once."""
    with _quietly():
        network(np.zeros((1, *network.input_shape[1:]), np.uint8))
        network.export(file, format=kind, verbose=False, **how)


def _without_normalization(network: Any) -> Any:
    """Say the same by `Rescaling`: tf2onnx fails on `Normalization`."""
    keras = import_keras()

    def other(layer: Any) -> Any:
        if type(layer) is not keras.layers.Normalization:
            return layer.__class__.from_config(layer.get_config())
        mean, deviation = (np.asarray(part, np.float64) for part in (layer.mean, layer.variance))
        scale = 1 / np.maximum(np.sqrt(deviation), keras.config.epsilon())
        offset = -mean * scale
        return keras.layers.Rescaling(
            scale.ravel().tolist(), offset.ravel().tolist(), name=layer.name
        )

    kinds = [
        layer for layer in network._flatten_layers() if type(layer) is keras.layers.Normalization
    ]
    if not kinds:
        return network
    changed = keras.models.clone_model(network, clone_function=other, recursive=True)
    mine = {id(weight) for layer in kinds for weight in layer.weights}
    changed.set_weights(
        [np.asarray(weight) for weight in network.weights if id(weight) not in mine]
    )
    return changed


@contextlib.contextmanager
def _quietly() -> Iterator[None]:
    """Keep the chatter of converters back, that of their C++ too."""
    with warnings.catch_warnings(), contextlib.redirect_stdout(io.StringIO()):
        warnings.simplefilter("ignore")
        with Path(os.devnull).open("wb") as nowhere:
            kept = os.dup(2)
            os.dup2(nowhere.fileno(), 2)
            try:
                yield
            finally:
                os.dup2(kept, 2)
                os.close(kept)


FORMATS: Final = (
    Format(
        "onnx",
        "for ONNX Runtime, in any language",
        "model.onnx",
        _write_onnx,
        standalone.load_onnx,
        "onnxruntime",
        ("onnxruntime", "tf2onnx"),
        "onnx",
    ),
    Format(
        "openvino",
        "for OpenVINO, the fastest on Intel processors",
        "model.xml",
        _write_openvino,
        standalone.load_openvino,
        "openvino",
        ("openvino",),
        precisions=("float32", "float16"),
    ),
    Format(
        "keras",
        "for Keras, to train it further",
        "model.keras",
        _write_keras,
        standalone.load_keras,
        "keras tensorflow",
        ("keras",),
    ),
    Format(
        "savedmodel",
        "for TensorFlow and TensorFlow Serving",
        "model",
        _write_savedmodel,
        standalone.load_savedmodel,
        "tensorflow",
        ("tensorflow",),
    ),
    Format(
        "litert",
        "for LiteRT (TensorFlow Lite), on phones and boards",
        "model.tflite",
        _write_litert,
        standalone.load_litert,
        "ai-edge-litert",
        ("ai_edge_litert",),
        "litert",
        precisions=("float32", "float16", "int8"),
        takes_one=True,
    ),
)
_BY_NAME: Final = {row.name: row for row in FORMATS}


def get_format(name: str) -> Format:
    """Find a format.

    Raises
    ------
    UnknownName
        If there is none of that name.
    """
    row = _BY_NAME.get(name)
    if row is None:
        hint = did_you_mean(name, _BY_NAME)
        raise UnknownName(f"Unknown format {name!r}.{hint} There are {', '.join(_BY_NAME)}.")
    return row


def check_writable(row: Format, precision: str) -> None:
    """See that a format has a precision, and that its packages are installed.

    Raises
    ------
    TlfeatError
        If not.
    """
    if precision not in row.precisions:
        able = " and ".join(one.name for one in FORMATS if precision in one.precisions)
        raise TlfeatError(
            f"{row.name} is written in {', '.join(row.precisions)}; {precision!r} is had of "
            f"{able or 'no format'}."
        )
    missing = [module for module in row.modules if find_spec(module) is None]
    if missing:
        raise TlfeatError(
            f"{row.name} needs {' and '.join(missing)}: pip install 'tlfeat[{row.extra}]'."
        )
