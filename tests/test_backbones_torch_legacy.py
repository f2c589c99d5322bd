"""The reader of `.pth` files: right on what it should read, closed to everything else."""

import collections
import io
import os
import pickle
import struct
import sys
import types

import numpy as np
import pytest

from tlfeat.backbones.table import get_backbone
from tlfeat.backbones.torch_legacy import read_state_dict
from tlfeat.backbones.weights import imagenet_file
from tlfeat.errors import WeightsError

MAGIC, PROTOCOL = 0x1950A86A20F9469CFC6C, 1001
MACHINE = {"protocol_version": PROTOCOL, "little_endian": True}


class Storage:
    def __init__(self, key, length, kind):
        self.key, self.length, self.kind = key, length, kind


class Tensor:
    def __init__(self, storage, offset, shape, strides):
        self.arguments = (storage, offset, shape, strides, False, collections.OrderedDict())

    def __reduce__(self):
        return sys.modules["torch._utils"]._rebuild_tensor_v2, self.arguments


@pytest.fixture
def torch(monkeypatch):
    """Something that pickles under torch's names."""
    top, utils = types.ModuleType("torch"), types.ModuleType("torch._utils")

    def _rebuild_tensor_v2(*arguments):
        raise AssertionError("never called")

    _rebuild_tensor_v2.__module__ = "torch._utils"
    _rebuild_tensor_v2.__qualname__ = "_rebuild_tensor_v2"
    utils._rebuild_tensor_v2 = _rebuild_tensor_v2
    top._utils = utils
    for name in ("FloatStorage", "LongStorage"):
        setattr(top, name, type(name, (), {"__module__": "torch"}))
    monkeypatch.setitem(sys.modules, "torch", top)
    monkeypatch.setitem(sys.modules, "torch._utils", utils)
    return top


def legacy(tensors, storages=(), magic=MAGIC, machine=MACHINE):
    """Write the format of `torch.save` before 1.6; `storages` maps key to array."""
    storages = dict(storages)

    class Pickler(pickle.Pickler):
        def persistent_id(self, item):
            if isinstance(item, Storage):
                kind = getattr(sys.modules["torch"], item.kind)
                return ("storage", kind, item.key, "cpu", item.length, None)
            return None

    out = io.BytesIO()
    for part in (magic, PROTOCOL, machine):
        pickle.dump(part, out, protocol=2)
    Pickler(out, protocol=2).dump(tensors)
    pickle.dump(list(storages), out, protocol=2)
    for array in storages.values():
        out.write(struct.pack("<q", array.size) + array.tobytes())
    return out.getvalue()


def written(tmp_path, data):
    path = tmp_path / "weights.pth"
    path.write_bytes(data)
    return path


def test_a_strided_tensor_comes_back_in_its_own_order(tmp_path, torch):
    values = np.arange(6, dtype="<f4")
    storage = Storage("7", 6, "FloatStorage")
    tensors = collections.OrderedDict(
        flat=Tensor(storage, 0, (2, 3), (3, 1)), turned=Tensor(storage, 0, (3, 2), (1, 3))
    )
    read = read_state_dict(written(tmp_path, legacy(tensors, {"7": values})))
    assert list(read) == ["flat", "turned"]
    np.testing.assert_array_equal(read["flat"], values.reshape(2, 3))
    np.testing.assert_array_equal(read["turned"], values.reshape(2, 3).T)


def test_a_number_without_axes_keeps_its_type(tmp_path, torch):
    count = Tensor(Storage("1", 1, "LongStorage"), 0, (), ())
    read = read_state_dict(written(tmp_path, legacy({"n": count}, {"1": np.array([5], "<i8")})))
    assert read["n"].shape == ()
    assert read["n"].dtype == np.int64
    assert read["n"] == 5


class Hostile:
    def __init__(self, function, *arguments):
        self.function, self.arguments = function, arguments

    def __reduce__(self):
        return self.function, self.arguments


@pytest.mark.parametrize(
    "function", [os.system, eval, exec, __import__, getattr, print, np.load, os.popen]
)
def test_a_pickle_that_calls_something_is_refused_and_not_run(tmp_path, function):
    proof = tmp_path / "it ran"
    trap = Hostile(function, f"open({str(proof)!r}, 'w')")
    for data in (legacy({"w": trap}), legacy({}, magic=trap), legacy({}, machine=trap)):
        with pytest.raises(WeightsError, match="refused"):
            read_state_dict(written(tmp_path, data))
    assert not proof.exists()


def test_a_trap_among_the_storage_keys_is_refused(tmp_path, torch):
    data = legacy({})[: -len(pickle.dumps([], 2))] + pickle.dumps([Hostile(os.system, "true")], 2)
    with pytest.raises(WeightsError, match=r"system"):
        read_state_dict(written(tmp_path, data))


def test_a_pickle_cannot_change_what_the_reader_uses(tmp_path):
    # GLOBAL, then BUILD with a dict: sets attributes on whatever GLOBAL gave
    for name in (b"torch._utils\n_rebuild_tensor_v2\n", b"torch\nFloatStorage\n"):
        build = b"\x80\x02c" + name + b"}U\x04evilK\x01sb."
        start = b"".join(pickle.dumps(part, 2) for part in (MAGIC, PROTOCOL, MACHINE))
        with pytest.raises(WeightsError, match="refused"):
            read_state_dict(written(tmp_path, start + build + pickle.dumps([], 2)))


@pytest.mark.parametrize(
    ("offset", "shape", "strides"),
    [
        (0, (7,), (1,)),
        (3, (4,), (1,)),
        (0, (2, 2), (1, 5)),
        (0, (10**9, 10**9), (0, 0)),
        (-1, (2,), (1,)),
        (0, (2,), (-1,)),
        (0, (2, 3), (1,)),
        (0, ("2",), (1,)),
    ],
)
def test_a_tensor_outside_its_storage_is_refused(tmp_path, torch, offset, shape, strides):
    tensor = Tensor(Storage("1", 6, "FloatStorage"), offset, shape, strides)
    data = legacy({"w": tensor}, {"1": np.zeros(6, "<f4")})
    with pytest.raises(WeightsError, match="refused"):
        read_state_dict(written(tmp_path, data))


def test_a_file_that_ends_early_is_refused(tmp_path, torch):
    tensor = Tensor(Storage("1", 6, "FloatStorage"), 0, (6,), (1,))
    data = legacy({"w": tensor}, {"1": np.zeros(6, "<f4")})
    for length in (0, 1, 10, len(data) // 2, len(data) - 1):
        with pytest.raises(WeightsError, match="refused"):
            read_state_dict(written(tmp_path, data[:length]))


def test_a_file_that_is_not_there_is_one_sentence(tmp_path):
    with pytest.raises(WeightsError, match="No such file"):
        read_state_dict(tmp_path / "none.pth")


def test_the_packaged_weights_are_read_whole():
    tensors = read_state_dict(imagenet_file(get_backbone("efficientnet-lite0")))
    numbers = sum(t.size for name, t in tensors.items() if not name.endswith("batches_tracked"))
    assert numbers == 4_694_024
    assert tensors["_conv_stem.weight"].shape == (32, 3, 3, 3)
