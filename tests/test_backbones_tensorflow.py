"""What the TensorFlow engine does on a GPU, tried on a processor."""

import os
import subprocess
import sys

import numpy as np
import pytest
import tensorflow as tf

from tlfeat.backbones import keras_runtime, tensorflow_engine
from tlfeat.backbones.engines import NetworkRequest, open_engine
from tlfeat.backbones.exported import sample_pictures
from tlfeat.backbones.table import get_backbone
from tlfeat.backbones.weights import resolve_weights
from tlfeat.features.pipeline import _say_who_waited
from tlfeat.watch import Watch

LITE0 = get_backbone("efficientnet-lite0")
SIZE = 32


def request():
    return NetworkRequest(LITE0, SIZE, resolve_weights(LITE0))


@pytest.fixture
def gpu(monkeypatch):
    """Let TensorFlow tell of a GPU, which is the processor."""
    monkeypatch.setattr(
        tf.config, "list_physical_devices", lambda kind=None: ["a GPU"] if kind == "GPU" else []
    )


def embed(engine, pictures):
    starts = range(0, len(pictures), engine.batch)
    found = engine.run((i, pictures[i : i + engine.batch]) for i in starts)
    return np.concatenate([rows for _, (rows,) in found])


def test_a_gpu_takes_the_largest_batch_and_gives_the_same_rows(gpu, monkeypatch):
    pictures = sample_pictures(SIZE, 21)
    on_gpu = open_engine(request(), "tensorflow")
    assert (on_gpu.device, on_gpu.batch) == ("GPU", tensorflow_engine._GPU_BATCHES[0])
    monkeypatch.undo()
    plain = open_engine(request(), "tensorflow")
    assert (plain.device, plain.batch) == ("CPU", 8)
    np.testing.assert_allclose(embed(on_gpu, pictures), embed(plain, pictures), atol=1e-4)


@pytest.mark.parametrize(("room", "batch"), [(200, 128), (64, 64), (3, 32)])
def test_a_batch_that_has_no_room_is_halved(gpu, monkeypatch, room, batch):
    class Crowded:
        def __call__(self, pictures, training):
            if pictures.shape[0] > room and pictures.shape[0] > 32:
                raise tf.errors.ResourceExhaustedError(None, None, "out of memory")
            return tf.reduce_mean(tf.cast(pictures, tf.float32), axis=(1, 2))

    monkeypatch.setattr(NetworkRequest, "build", lambda self: Crowded())
    engine = open_engine(request(), "tensorflow")
    assert engine.batch == batch
    pictures = sample_pictures(SIZE, 70)
    np.testing.assert_allclose(embed(engine, pictures), pictures.mean((1, 2)), rtol=1e-5)


def test_the_next_batch_is_begun_before_an_answer_is_fetched(monkeypatch):
    engine = open_engine(request(), "tensorflow")
    begun = []
    begin = engine._begin
    monkeypatch.setattr(engine, "_begin", lambda one: begun.append(1) or begin(one))
    pictures = sample_pictures(SIZE, 8)
    for given, _ in enumerate(engine.run((n, pictures) for n in range(5)), start=1):
        engine._thread.submit(lambda: None).result()  # what was asked for is begun
        assert len(begun) == min(given + 1, 5)


def test_memory_of_a_gpu_is_taken_as_it_is_needed(gpu, monkeypatch):
    grown = []
    monkeypatch.setattr(keras_runtime, "has_gpu_driver", lambda: True)
    monkeypatch.setattr(
        tf.config.experimental, "set_memory_growth", lambda one, on: grown.append((one, on))
    )
    keras_runtime.import_keras()
    assert grown == [("a GPU", True)]


def test_a_gpu_that_waits_for_pictures_is_told_of():
    class Heard(Watch):
        notes = ()

        def note(self, text):
            self.notes = (*self.notes, text)

    heard = Heard()
    _say_who_waited(4.0, 9.0, heard)  # short
    _say_who_waited(9.0, 20.0, heard)  # less than half
    assert heard.notes == ()
    _say_who_waited(15.0, 20.0, heard)
    assert "For 15 of 20 s the GPU waited for pictures" in heard.notes[0]


def test_ctrl_c_that_a_library_loses_on_its_way_in_stops_all_the_same(tmp_path):
    (tmp_path / "keras.py").write_text(
        "import os, signal\n"
        "try:\n"
        "    os.kill(os.getpid(), signal.SIGINT)\n"
        "except BaseException:\n"
        "    pass\n"
    )
    code = "from tlfeat.backbones.keras_runtime import import_keras; import_keras()"
    path = os.pathsep.join([str(tmp_path), *sys.path])
    done = subprocess.run(
        [sys.executable, "-c", code],
        env={**os.environ, "PYTHONPATH": path},
        capture_output=True,
        text=True,
    )
    assert done.stderr.splitlines()[-1] == "KeyboardInterrupt"
