"""Networks exported to OpenVINO, kept in the store, each compared with TensorFlow once.

    cache/networks/<key>/network.xml  network.bin  network.json

One that gives more than is wanted serves too: what is not wanted is cut off, and so is a mean over
places where the places themselves are wanted.
A folder is written under a name of its own and then renamed: where it is, it is whole; what a
kill leaves of one is cleared away by the next who looks for a network.
network.json comes with the checksums of the other two, the greatest difference from TensorFlow,
or, for a network that cannot be exported, the reason why, so that it is not tried every time.
"""

import contextlib
import hashlib
import json
import shutil
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from tlfeat.backbones.network_files import is_network_file
from tlfeat.backbones.network_request import Exportable
from tlfeat.backbones.openvino_package import CannotExportError, import_openvino, versions
from tlfeat.backbones.table import Output
from tlfeat.errors import first_line
from tlfeat.files import cannot_write, clear_abandoned, file_digest, making_folder, new_name
from tlfeat.interrupts import interruptible

TOLERANCE: Final = 1e-4  # |tensorflow - openvino| <= TOLERANCE (1 + |tensorflow|)
_XML, _BIN, _JSON = "network.xml", "network.bin", "network.json"
_LARGE: Final = 4096  # numbers in a weight
_PACKAGES: Final = ("keras", "tensorflow", "openvino")


def sample_pictures(size: int, count: int = 4) -> npt.NDArray[np.uint8]:
    """Generate pictures to compare engines on: noise, and smooth waves of colour.

    Returns
    -------
    pictures : ndarray of shape (count, size, size, 3), uint8
    """
    rng = np.random.default_rng(0)
    y, x = np.mgrid[0:size, 0:size] / size
    pictures = np.empty((count, size, size, 3), np.uint8)
    for number in range(count):
        waves = rng.uniform(1, 9, (2, 3)) @ np.eye(3)
        phase = rng.uniform(0, 6, 3)
        smooth = 127 + 120 * np.sin(x[..., None] * waves[0] + y[..., None] * waves[1] + phase)
        noise = rng.integers(0, 256, (size, size, 3))
        pictures[number] = noise if number % 2 else smooth
    return pictures


def greatest_difference(
    ours: Sequence[npt.NDArray[Any]], theirs: Sequence[npt.NDArray[Any]]
) -> float:
    """Give the greatest |a - b| / (1 + |a|) over all outputs; infinite where shapes differ."""
    worst = 0.0
    for a, b in zip(ours, theirs, strict=True):
        if a.shape != b.shape:
            return float("inf")
        difference = np.abs(a - b) / (1 + np.abs(a))
        worst = max(worst, float(np.max(difference, initial=0.0)))
        if np.isnan(difference).any():
            return float("inf")
    return worst


@dataclass(frozen=True)
class Exported:
    """An exported network.

    Attributes
    ----------
    folder : Path
    outputs : tuple of Output
        What it gives.
    files : tuple of bytes, optional
        What the description and the weights are, where the folder is on another machine.
    """

    folder: Path
    outputs: tuple[Output, ...]
    files: tuple[bytes, bytes] | None = None

    def packed(self) -> "Exported":
        """Give it with its files, to be read anywhere."""
        xml, weights = ((self.folder / name).read_bytes() for name in (_XML, _BIN))
        return replace(self, files=(xml, weights))

    def names(self, wanted: Sequence[Output]) -> bool:
        """Say whether it has these outputs, or means of them, by their names."""
        return all(
            one in self.outputs or (one.pool == "none" and _mean_of(one) in self.outputs)
            for one in wanted
        )

    def read(self, wanted: Sequence[Output]) -> Any:
        """Read the network, to give these outputs and no others.

        Raises
        ------
        LookupError
            If it has not all of them.
        RuntimeError
            If OpenVINO cannot read it.
        """
        openvino = import_openvino()
        network = openvino.Core().read_model(*self.files or (self.folder / _XML,))
        if tuple(wanted) == self.outputs:
            return network
        results = [self._result(network, one) for one in wanted]
        return openvino.Model(results, network.get_parameters(), network.get_friendly_name())

    def _result(self, network: Any, wanted: Output) -> Any:
        if wanted in self.outputs:
            return network.outputs[self.outputs.index(wanted)].get_node()
        if not self.names([wanted]):
            raise LookupError(wanted)
        mean = network.outputs[self.outputs.index(_mean_of(wanted))].get_node()
        return places_of(mean.input_value(0).get_node())


def _mean_of(places: Output) -> Output:
    return places._replace(pool="avg")


def places_of(mean: Any) -> Any:
    """Give what a mean over places is the mean of, as (n, rows, columns, channels).

    Raises
    ------
    LookupError
        If it is no such mean.
    """
    from openvino import opset13

    if mean.get_type_name() != "ReduceMean" or mean.input_value(0).partial_shape.rank != 4:
        raise LookupError(mean)
    axes = mean.input_value(1).get_node()
    over = sorted(int(axis) % 4 for axis in np.ravel(getattr(axes, "data", ())))
    if over == [1, 2]:
        return opset13.result(mean.input_value(0))
    if over != [2, 3]:
        raise LookupError(mean)
    return opset13.result(opset13.transpose(mean.input_value(0), np.array([0, 2, 3, 1])))


@contextlib.contextmanager
def exported_network(
    request: Exportable, cache: Path | None, on_note: Callable[[str], None]
) -> Iterator[Exported]:
    """Give an exported network that has what is wanted, exporting it where there is none.

    Parameters
    ----------
    request : Exportable
    cache : Path or None
        The store; a folder for the moment if None, or if it cannot be written.
    on_note : callable
        Hears what a user should know.

    Raises
    ------
    CannotExportError
        If OpenVINO cannot take the network, or gives other numbers.
    TlfeatError
        If there is no room for it on any disk.
    """
    request = request.as_exported()
    with contextlib.ExitStack() as stack:
        folder = None if cache is None else cache / "networks" / request.key
        if folder is not None:
            clear_abandoned(folder.parent)
            is_there = (folder / _JSON).is_file()
            if is_there and _is_whole(folder):
                yield Exported(folder, request.outputs)
                return
            larger = _larger(request, folder.parent)
            if larger is not None:
                yield larger
                return
            if is_there:
                on_note(f"The exported network in {folder} is damaged: it is made again.")
        network = _compared(request)
        if folder is not None:
            with contextlib.suppress(OSError):  # read-only or full: do without keeping it
                _keep(network, folder)
        if folder is None or not (folder / _JSON).is_file() or not _is_whole(folder):
            folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="tlfeat-")))
            _write_for_the_moment(network, folder)
        if network.refusal:
            raise CannotExportError(network.refusal)
        yield Exported(folder, request.outputs)


def is_exported(request: Exportable, cache: Path) -> bool:
    """Say whether the store has a network that gives what is wanted."""
    request, shelf = request.as_exported(), cache / "networks"
    return is_whole_quietly(shelf / request.key) or _larger(request, shelf) is not None


def _larger(request: Exportable, shelf: Path) -> Exported | None:
    """Find a kept network that gives what is wanted and more."""
    asked = request.as_dict()
    for path in sorted(shelf.glob(f"{request.name}-*/{_JSON}")):
        with contextlib.suppress(OSError, ValueError, KeyError, TypeError, RuntimeError):
            record = json.loads(path.read_text())
            if any(record[name] != asked[name] for name in asked if name != "outputs"):
                continue
            there = Exported(path.parent, tuple(Output(*one) for one in record["outputs"]))
            if is_network_file(request.name) and not set(request.outputs) <= set(there.outputs):
                continue  # a mean in somebody's file is theirs, and no pooling of ours
            with contextlib.suppress(LookupError, CannotExportError):
                if there.names(request.outputs) and _is_whole(there.folder):
                    there.read(request.outputs)
                    return there
    return None


@dataclass
class _Network:
    record: dict[str, Any]
    model: Any = None
    refusal: str = ""


def _is_whole(folder: Path) -> bool:
    """Check a kept network; raise CannotExportError where it is kept that there can be none."""
    try:
        record = json.loads((folder / _JSON).read_text())
        if record.get("refusal"):
            if record["versions"] == versions(*_PACKAGES):
                raise CannotExportError(str(record["refusal"]))
            return False  # other versions may do better
        files: Mapping[str, str] = record["files"]
        return all(file_digest(folder / name) == digest for name, digest in files.items())
    except (OSError, ValueError, KeyError, AttributeError):
        return False


def _compared(request: Exportable) -> _Network:
    """Convert a network, and compare it with TensorFlow on generated pictures."""
    record = {
        **request.as_dict(),
        "versions": versions(*_PACKAGES),
        "created": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()),
    }
    if not request.is_of_keras:
        return _Network(record, request.read())
    model = request.build()
    pictures = sample_pictures(request.size)
    expected = [np.asarray(output) for output in _listed(model(pictures, training=False))]
    try:
        converted = convert_network(model)
        difference = greatest_difference(expected, _infer(converted, pictures))
    except CannotExportError:
        raise
    except Exception as error:  # converters raise whatever they come across
        reason = first_line(error)[:200]
        return _Network(record, refusal=f"its export failed: {reason}")
    record["parity"] = {"greatest_difference": difference, "pictures": len(pictures)}
    if not difference <= TOLERANCE:
        return _Network(
            record,
            refusal=f"its numbers differ from TensorFlow's by {difference:.1e} (1 + |a|), "
            f"more than {TOLERANCE:.0e}",
        )
    return _Network(record, converted)


def _listed(outputs: Any) -> list[Any]:
    return list(outputs) if isinstance(outputs, list | tuple) else [outputs]


def convert_network(model: Any) -> Any:
    """Convert a Keras network.

    `model.export(format="openvino")` ends in the same call, but traces the network three times,
    and OpenVINO looks every variable up among all of them, which takes minutes for the deep ones:
    here it meets constants, the few large ones outside the graph, where they are not copied.
    """
    openvino = import_openvino()
    import tensorflow as tf

    def fixed(variable: Any) -> Any:
        value = np.asarray(variable.value)
        return value if value.size < _LARGE else tf.convert_to_tensor(value)

    kinds = (model.trainable_variables, model.non_trainable_variables)
    values = [[fixed(variable) for variable in variables] for variables in kinds]

    def forward(pictures: Any) -> Any:
        inside = [
            [tf.constant(value) if isinstance(value, np.ndarray) else value for value in some]
            for some in values
        ]
        return model.stateless_call(*inside, pictures, training=False)[0]

    pictures = tf.TensorSpec((None, *model.input_shape[1:]), model.inputs[0].dtype)
    function = tf.function(forward, autograph=False).get_concrete_function(pictures)
    with interruptible() as asked:  # OpenVINO calls Python back, and would call Ctrl-C a failure
        try:
            network = openvino.convert_model(function, share_weights=False)
        finally:
            asked.answer()
    # What TensorFlow gives a gradient of its own (silu) comes out as one more output each, and
    # would be computed and fetched with every picture: keep ours alone, in their order.
    wanted = [network.output(tensor.name).get_node() for tensor in function.outputs]
    return openvino.Model(wanted, network.get_parameters(), model.name)


def _infer(network: Any, pictures: npt.NDArray[np.uint8]) -> list[npt.NDArray[Any]]:
    openvino = import_openvino()
    compiled = openvino.Core().compile_model(
        network.clone(), "CPU", {"INFERENCE_PRECISION_HINT": "f32"}
    )
    results = compiled(pictures)
    return [np.asarray(results[i]) for i in range(len(compiled.outputs))]


def _write(network: _Network, folder: Path) -> None:
    if network.model is not None:
        write_network(network.model, network.record, folder)
        return
    record = {**network.record, "files": {}, "refusal": network.refusal}
    (folder / _JSON).write_text(json.dumps(record, indent=2) + "\n")


def write_network(model: Any, record: Mapping[str, Any], folder: Path) -> None:
    """Write a network of OpenVINO into a folder, with its record and the files' checksums.

    Raises
    ------
    CannotExportError
        If OpenVINO cannot write it.
    OSError
        If the disk is full.
    """
    try:
        import_openvino().serialize(model, str(folder / _XML), str(folder / _BIN))
    except RuntimeError as error:  # all that OpenVINO has for a full disk, too
        _ask_the_disk(folder / _BIN, model)
        raise CannotExportError(f"its export failed: {first_line(error)[:200]}") from error
    files = {name: file_digest(folder / name) for name in (_XML, _BIN)}
    whole = {**record, "files": files, "digest": digest_of_files(files)}
    (folder / _JSON).write_text(json.dumps(whole, indent=2) + "\n")


def digest_of_files(files: Mapping[str, str]) -> str:
    """Give the SHA-256 of a network, from those of its files."""
    return hashlib.sha256(json.dumps(files, sort_keys=True).encode()).hexdigest()


def _ask_the_disk(path: Path, model: Any) -> None:
    """Write as many bytes as a network has: a disk without room for them says so as an OSError."""
    kinds = [
        (node.get_output_element_type(0), node.get_output_shape(0))
        for node in model.get_ops()
        if node.get_type_name() == "Constant"
    ]
    with path.open("wb") as file:
        for kind, shape in kinds:
            file.write(bytes(kind.size * int(np.prod(shape))))


def _keep(network: _Network, folder: Path) -> None:
    with keeping(folder) as fresh:
        _write(network, fresh)


@contextlib.contextmanager
def keeping(folder: Path) -> Iterator[Path]:
    """Make the folder of a network as a whole; a damaged one of before makes room.

    Raises
    ------
    OSError
        If the disk refuses it.
    """
    with making_folder(folder) as fresh:
        yield fresh
        if folder.is_dir() and not is_whole_quietly(folder):
            aside = new_name(folder)
            folder.rename(aside)
            shutil.rmtree(aside, ignore_errors=True)


def _write_for_the_moment(network: _Network, folder: Path) -> None:
    """Write a network that cannot be kept; there is no other place if this one fails."""
    try:
        _write(network, folder)
    except OSError as error:
        raise cannot_write(folder / _BIN, error) from error


def is_whole_quietly(folder: Path) -> bool:
    """Say whether a network is kept in a folder, as it was written."""
    try:
        return _is_whole(folder)
    except CannotExportError:
        return False
