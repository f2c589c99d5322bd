"""Networks quantised to 8 bits on pictures, kept in the store, known by their digest.

    cache/networks/int8-<key>/network.xml  network.bin  network.json

The key is of the network in float32 and of the pictures. Post-training quantisation by NNCF:
ranges of activations from the pictures, of weights from themselves, biases corrected (Nagel et
al. 2019, arXiv 1906.04721).
"""

import contextlib
import hashlib
import io
import json
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from tlfeat.backbones.exported import (
    Exported,
    exported_network,
    is_whole_quietly,
    keeping,
    write_network,
)
from tlfeat.backbones.likeness import least_cosine
from tlfeat.backbones.network_request import Exportable, key_of
from tlfeat.backbones.openvino_package import import_openvino, versions
from tlfeat.backbones.precision import DIGITS, INT8, get_precision
from tlfeat.backbones.table import Output
from tlfeat.errors import NetworkError
from tlfeat.files import cannot_write

_JSON = "network.json"


def kept_digest(request: Exportable, sample: Sequence[str], cache: Path) -> str | None:
    """Give the digits of a network that was quantised on these pictures; None if none was.

    Parameters
    ----------
    request : Exportable
        In float32.
    sample : sequence of str
        Digests of the pictures.
    cache : Path
    """
    folder = _folder(request, sample, cache)
    if not is_whole_quietly(folder):
        return None
    return _digits(folder)


def quantise(
    request: Exportable,
    sample: Sequence[str],
    squares: npt.NDArray[np.uint8],
    cache: Path,
    note: Callable[[str], None],
) -> str:
    """Quantise a network on pictures, and keep it.

    Parameters
    ----------
    request : Exportable
        In float32.
    sample : sequence of str
        Digests of the pictures.
    squares : ndarray of shape (n, size, size, 3), uint8
    cache : Path
    note : callable
        Hears how near its features are to those in float32.

    Returns
    -------
    digits : str
        The first of the SHA-256 of the quantised network's files.

    Raises
    ------
    NetworkError
        If NNCF is not installed, or cannot do it.
    TlfeatError
        If the store has no room for it.
    """
    nncf = _import_nncf()
    with exported_network(request, cache, note) as exported:
        plain = exported.read(request.outputs)
        data = nncf.Dataset([square[None] for square in squares])
        try:
            with contextlib.redirect_stdout(io.StringIO()):
                found = nncf.quantize(plain.clone(), data, subset_size=len(squares))
        except Exception as error:  # whatever NNCF raises
            raise NetworkError(
                f"{request.name} cannot be quantised ({' '.join(str(error).split())[:160]}): "
                "leave --precision out."
            ) from error
    # OpenVINO numbers new nodes through a whole process: their names must not be in the digest
    for number, node in enumerate(found.get_ordered_ops()):
        node.set_friendly_name(f"node{number}")
    cosine = least_cosine(_rows(plain, squares), _rows(found, squares))
    record = {
        **request.as_dict(),
        "precision": INT8,
        "sample": list(sample),
        "least_cosine": cosine,
        "versions": versions("nncf", "openvino"),
        "created": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()),
    }
    folder = _folder(request, sample, cache)
    try:
        with keeping(folder) as fresh:
            write_network(found, record, fresh)
    except OSError as error:
        raise cannot_write(folder, error) from error
    digits = _digits(folder)
    note(
        f"{request.name} is quantised to {INT8}:{digits}, on {len(squares)} pictures of train: "
        f"its features have a cosine of at least {cosine:.3f} with those in float32."
    )
    return digits


def find_quantised(request: Exportable, cache: Path | None) -> Exported:
    """Find the quantised network that a precision names.

    Raises
    ------
    NetworkError
        If it is not in the store, or does not give what is wanted.
    """
    digits = get_precision(request.precision).quantised
    if not digits:
        raise NetworkError(
            f"{INT8} is settled on the pictures of a dataset, which a network is quantised on: "
            f"name one that is kept, as {INT8}:DIGITS."
        )
    shelf = None if cache is None else cache / "networks"
    for path in [] if shelf is None else sorted(shelf.glob(f"{INT8}-*/{_JSON}")):
        with contextlib.suppress(OSError, ValueError, KeyError, TypeError):
            record = json.loads(path.read_text())
            if record["digest"][:DIGITS] != digits or not is_whole_quietly(path.parent):
                continue
            found = Exported(path.parent, tuple(Output(*one) for one in record["outputs"]))
            if not _is_of(record, request):
                raise NetworkError(f"{request.precision} is quantised of another network.")
            if not found.names(request.outputs):
                raise NetworkError(
                    f"{request.precision} gives {', '.join(map(':'.join, found.outputs))} and no "
                    "more: quantise it again with the features that are wanted."
                )
            return found
    raise NetworkError(
        f"The network {request.precision} is not in {shelf}: it is where it was quantised; name "
        "that store with --cache."
    )


def is_kept(request: Exportable, cache: Path) -> bool:
    """Say whether the store has the quantised network that a precision names."""
    with contextlib.suppress(NetworkError):
        return bool(find_quantised(request, cache).outputs)
    return False


def _is_of(record: dict[str, Any], request: Exportable) -> bool:
    asked = request.as_exported().as_dict()
    without = ("outputs", "precision")
    return all(record.get(name) == asked[name] for name in asked if name not in without)


def _digits(folder: Path) -> str:
    return str(json.loads((folder / _JSON).read_text())["digest"][:DIGITS])


def _folder(request: Exportable, sample: Sequence[str], cache: Path) -> Path:
    text = hashlib.sha256("".join(sample).encode()).hexdigest()
    name = f"{INT8}-{request.name}"
    return cache / "networks" / key_of(name, {**request.as_dict(), "sample": text})


def _import_nncf() -> Any:
    """Import NNCF, which reports nothing: it has OpenVINO's telemetry, see `import_openvino`."""
    import_openvino()
    try:
        import nncf
    except ImportError as error:
        raise NetworkError(
            f"int8 needs NNCF, which cannot be imported ({error}): pip install 'tlfeat[int8]'."
        ) from error
    nncf.set_log_level(40)  # logging.ERROR
    return nncf


def _rows(network: Any, squares: npt.NDArray[np.uint8]) -> list[npt.NDArray[Any]]:
    openvino = import_openvino()
    compiled = openvino.Core().compile_model(
        network.clone(), "CPU", {"INFERENCE_PRECISION_HINT": "f32"}
    )
    parts = [compiled(square[None]) for square in squares]
    return [np.concatenate([part[i] for part in parts]) for i in range(len(compiled.outputs))]
