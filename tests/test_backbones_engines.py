import json
import os
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
from dataclasses import replace

import numpy as np
import openvino
import pytest
from disks import small_disk

from tlfeat.backbones import engines, exported
from tlfeat.backbones.engines import NetworkRequest, open_engine
from tlfeat.backbones.exported import greatest_difference, is_exported, sample_pictures
from tlfeat.backbones.golden import LENGTHS, golden_pictures
from tlfeat.backbones.openvino_package import import_openvino
from tlfeat.backbones.table import Output, get_backbone
from tlfeat.backbones.weights import resolve_weights
from tlfeat.errors import NetworkError, TlfeatError, WeightsError
from tlfeat.files import new_name

LITE0 = get_backbone("efficientnet-lite0")
SIZE = 64
OUTPUTS = (Output("last", "avg"), Output("stage4", "grid2"))
# of the three golden pictures at 224 pixels, every 151st number from the 151st on of last:avg
GOLDEN = [
    [0.113942, 0.286573, 0.0, 0.0, 2.83616, 0.0, 0.0, 0.0],
    [0.209155, 0.0, 0.0, 0.0, 0.00992437, 0.0, 0.0, 0.0],
    [0.200342, 0.0, 0.0, 0.321446, 0.025888, 0.0, 0.0, 0.0],
]


def request(size=SIZE, outputs=OUTPUTS, **more):
    return NetworkRequest(LITE0, size, resolve_weights(LITE0), outputs, **more)


@pytest.fixture(scope="module")
def cache(tmp_path_factory):
    """A store with the exported network in it."""
    folder = tmp_path_factory.mktemp("cache")
    open_engine(request(), "openvino", folder).close()
    return folder


@pytest.fixture(scope="module")
def tensorflow():
    engine = open_engine(request(), "tensorflow")
    yield engine
    engine.close()


def embed(engine, pictures):
    """Give each output's rows for any number of pictures."""
    parts = [
        (start, pictures[start : start + engine.batch])
        for start in range(0, len(pictures), engine.batch)
    ]
    results = list(engine.run(iter(parts)))
    assert [token for token, _ in results] == [start for start, _ in parts]
    return [np.concatenate(rows) for rows in zip(*(rows for _, rows in results), strict=True)]


@pytest.mark.parametrize("name", ["openvino", "tensorflow"])
def test_golden_features_hold_on_both_engines(name):
    engine = open_engine(request(224, (Output(),)), name)
    [features] = embed(engine, golden_pictures(224))
    assert features.shape == (3, 1280)
    assert features.dtype == np.float32
    golden, digest = np.array(GOLDEN), resolve_weights(LITE0).digest
    assert (np.abs(features[:, 151::151] - golden) <= 1e-4 * (1 + np.abs(golden))).all()
    np.testing.assert_allclose(np.linalg.norm(features, axis=1), LENGTHS[digest[:16]], rtol=1e-4)
    engine.close()


def test_both_engines_give_the_same_numbers(cache, tensorflow):
    pictures = sample_pictures(SIZE, 9)
    ours = open_engine(request(), "auto", cache)
    assert ours.name == "openvino"
    assert ours.outputs == tensorflow.outputs == OUTPUTS
    assert greatest_difference(embed(tensorflow, pictures), embed(ours, pictures)) <= 1e-4


@pytest.mark.parametrize("name", ["openvino", "tensorflow"])
def test_a_row_does_not_depend_on_its_company(name, cache, tensorflow):
    engine = tensorflow if name == "tensorflow" else open_engine(request(), name, cache)
    pictures = sample_pictures(SIZE, 11)
    together = embed(engine, pictures)
    alone = [embed(engine, pictures[i : i + 1]) for i in range(len(pictures))]
    for number, rows in enumerate(together):
        assert rows.shape[0] == len(pictures)
        np.testing.assert_array_equal(rows, np.concatenate([one[number] for one in alone]))


@pytest.mark.parametrize("name", ["openvino", "tensorflow"])
def test_few_batches_are_pulled_ahead_of_what_is_given_out(name, cache, tensorflow):
    engine = tensorflow if name == "tensorflow" else open_engine(request(), name, cache)
    pulled = 0

    def batches():
        nonlocal pulled
        for token in range(100):
            pulled += 1
            yield token, sample_pictures(SIZE, 1)

    limit = 2 * threading.active_count() + 64
    for given, (token, _) in enumerate(engine.run(batches()), start=1):
        assert token == given - 1
        assert pulled - given < min(limit, 64)
    assert pulled == 100


@pytest.mark.parametrize("name", ["openvino", "tensorflow"])
def test_a_run_that_is_left_early_leaves_the_engine_whole(name, cache, tensorflow):
    engine = tensorflow if name == "tensorflow" else open_engine(request(), name, cache)
    pictures = sample_pictures(SIZE, 4)
    whole = embed(engine, pictures)
    running = engine.run((i, pictures[:1]) for i in range(20))
    next(running)
    running.close()
    for before, after in zip(whole, embed(engine, pictures), strict=True):
        np.testing.assert_array_equal(before, after)


def test_an_error_while_pictures_are_pulled_reaches_the_caller(cache):
    engine = open_engine(request(), "openvino", cache)

    def batches():
        yield 0, sample_pictures(SIZE, 1)
        raise OSError("the disk is gone")

    with pytest.raises(OSError, match="the disk is gone"):
        list(engine.run(batches()))


@pytest.mark.parametrize(
    "wrong",
    [
        np.zeros((1, SIZE, SIZE, 3), np.float32),
        np.zeros((1, SIZE, SIZE + 1, 3), np.uint8),
        np.zeros((0, SIZE, SIZE, 3), np.uint8),
        np.zeros((99, SIZE, SIZE, 3), np.uint8),
    ],
)
def test_a_batch_of_another_kind_is_refused(wrong, cache, tensorflow):
    for engine in (tensorflow, open_engine(request(), "openvino", cache)):
        with pytest.raises(ValueError, match="batch must be uint8 of shape"):
            list(engine.run([(0, wrong)]))


def test_with_the_export_there_tensorflow_is_not_imported(cache):
    code = f"""
import sys
from pathlib import Path
from tlfeat.backbones.engines import NetworkRequest, open_engine
from tlfeat.backbones.table import Output
from tlfeat.backbones.table import get_backbone
from tlfeat.backbones.weights import resolve_weights
row = get_backbone("efficientnet-lite0")
outputs = (Output("last", "avg"), Output("stage4", "grid2"))
request = NetworkRequest(row, {SIZE}, resolve_weights(row), outputs)
engine = open_engine(request, cache=Path({str(cache)!r}))
telemetry = sys.modules.get("openvino_telemetry")
print(engine.name, "tensorflow" in sys.modules, "keras" in sys.modules, telemetry)
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.split() == ["openvino", "False", "False", "None"]
    assert done.stderr == ""


def test_an_export_is_silent_and_leaves_one_folder(tmp_path):
    code = f"""
from pathlib import Path
from tlfeat.backbones.engines import NetworkRequest, open_engine
from tlfeat.backbones.table import get_backbone
from tlfeat.backbones.weights import resolve_weights
row = get_backbone("efficientnet-lite0")
open_engine(NetworkRequest(row, 32, resolve_weights(row)), cache=Path({str(tmp_path)!r}))
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert (done.stdout, done.stderr) == ("", "")
    [folder] = (tmp_path / "networks").iterdir()
    names = sorted(path.name for path in folder.iterdir())
    assert names == ["network.bin", "network.json", "network.xml"]


def test_what_an_export_is_stands_beside_it(cache):
    [folder] = (cache / "networks").iterdir()
    record = json.loads((folder / "network.json").read_text())
    assert folder.name == request().key
    assert record["backbone"] == "efficientnet-lite0"
    assert record["weights"] == LITE0.weights.hash
    assert record["outputs"] == [["last", "avg"], ["stage4", "grid2"]]
    assert 0 < record["parity"]["greatest_difference"] <= 1e-4
    assert set(record["versions"]) == {"keras", "tensorflow", "openvino"}


def test_whatever_decides_the_numbers_is_in_the_key():
    keys = {
        request().key,
        request(96).key,
        request(outputs=(Output("last", "max"),)).key,
        request(outputs=OUTPUTS[::-1]).key,
        request(precision="mixed").key,
        replace(request(), weights=resolve_weights(LITE0, "random")).key,
    }
    assert len(keys) == 6


def test_a_network_that_gives_more_serves_who_wants_less(cache):
    pictures = sample_pictures(SIZE, 2)
    whole = embed(open_engine(request(), "openvino", cache), pictures)
    for place, output in enumerate(OUTPUTS):
        assert is_exported(request(outputs=(output,)), cache)
        (alone,) = embed(open_engine(request(outputs=(output,)), "openvino", cache), pictures)
        np.testing.assert_allclose(alone, whole[place], rtol=1e-5, atol=1e-5)
    turned = embed(open_engine(request(outputs=OUTPUTS[::-1]), "openvino", cache), pictures)
    np.testing.assert_allclose(turned[0], whole[1], rtol=1e-5, atol=1e-5)
    assert len(list((cache / "networks").iterdir())) == 1


def test_what_is_averaged_gives_its_places(cache, tensorflow):
    pictures = sample_pictures(SIZE, 2)
    wanted = request(outputs=(Output("last", "none"),))
    (places,) = embed(open_engine(wanted, "openvino", cache), pictures)
    assert places.ndim == 4
    np.testing.assert_allclose(
        places.mean(axis=(1, 2)), embed(tensorflow, pictures)[0], rtol=1e-4, atol=1e-4
    )
    assert len(list((cache / "networks").iterdir())) == 1


@pytest.mark.parametrize(
    "other",
    [
        {"outputs": (Output("last", "max"),)},
        {"outputs": (Output("stage4", "none"),)},
        {"size": 96},
        {"precision": "mixed"},
    ],
)
def test_what_a_network_has_not_is_not_taken_from_it(cache, other):
    assert not is_exported(request(**other), cache)


def test_a_damaged_network_serves_nobody(cache, tmp_path):
    shutil.copytree(cache, tmp_path / "cache")
    [folder] = (tmp_path / "cache" / "networks").iterdir()
    (folder / "network.bin").write_bytes(b"")
    assert not is_exported(request(outputs=OUTPUTS[:1]), tmp_path / "cache")
    assert not is_exported(request(), tmp_path / "cache")


def test_a_larger_network_stands_in_for_a_damaged_one(cache, tmp_path):
    shutil.copytree(cache, tmp_path / "cache")
    small = request(outputs=OUTPUTS[:1])
    broken = tmp_path / "cache" / "networks" / small.key
    broken.mkdir()
    (broken / "network.json").write_text("{}")
    notes = []
    open_engine(small, "openvino", tmp_path / "cache", on_note=notes.append)
    assert notes == []


@pytest.mark.parametrize("damage", ["flip", "cut", "lose"])
def test_a_damaged_export_is_found_and_made_again(damage, cache, tmp_path):
    shutil.copytree(cache, tmp_path / "cache")
    [folder] = (tmp_path / "cache" / "networks").iterdir()
    path = folder / "network.bin"
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    if damage == "lose":
        path.unlink()
    else:
        path.write_bytes(data if damage == "flip" else data[:1000])
    notes = []
    engine = open_engine(request(), "openvino", tmp_path / "cache", on_note=notes.append)
    assert [("is damaged" in note) for note in notes] == [True]
    pictures = sample_pictures(SIZE, 2)
    sound = open_engine(request(), "openvino", cache, on_note=notes.append)
    for ours, theirs in zip(embed(engine, pictures), embed(sound, pictures), strict=True):
        np.testing.assert_array_equal(ours, theirs)
    again = []
    open_engine(request(), "openvino", tmp_path / "cache", on_note=again.append)
    assert again == []
    assert len(list((tmp_path / "cache" / "networks").iterdir())) == 1


def test_a_store_that_cannot_be_written_is_done_without(tmp_path, monkeypatch):
    def full(network, folder):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(exported, "_keep", full)
    engine = open_engine(request(32), "openvino", tmp_path)
    assert embed(engine, sample_pictures(32, 1))[0].shape == (1, 1280)
    assert list(tmp_path.iterdir()) == []


def test_a_disk_that_fills_while_a_network_is_kept_is_done_without(tmp_path, monkeypatch):
    keep = exported._keep

    def on_a_small_disk(network, folder):
        with small_disk(8 * 2**20):
            keep(network, folder)

    monkeypatch.setattr(exported, "_keep", on_a_small_disk)
    engine = open_engine(request(32), "openvino", tmp_path)
    assert embed(engine, sample_pictures(32, 1))[0].shape == (1, 1280)
    assert list((tmp_path / "networks").iterdir()) == []


def test_a_disk_with_no_room_for_a_network_anywhere_is_one_sentence(tmp_path, monkeypatch):
    (tmp_path / "elsewhere").mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "elsewhere"))
    with (
        small_disk(8 * 2**20),
        pytest.raises(TlfeatError, match=r"network\.bin cannot be written: the disk is full\."),
    ):
        open_engine(request(32), "auto", tmp_path / "cache")
    left = sorted(path.name for path in tmp_path.rglob("*"))
    assert left == ["cache", "elsewhere", "networks"]


def test_a_network_that_does_not_serialize_on_a_disk_with_room_falls_back(tmp_path, monkeypatch):
    def broken(*_):
        raise RuntimeError("no such operation")

    monkeypatch.setattr(import_openvino(), "serialize", broken)
    notes = []
    assert open_engine(request(32), "auto", tmp_path, on_note=notes.append).name == "tensorflow"
    assert notes[-1].endswith("its export failed: no such operation.")


def test_what_a_killed_export_left_is_cleared_by_the_next(cache):
    """Under the name of a process of before the machine's last start, and of one that lives."""
    mine = new_name(cache / "networks" / "network")
    dead = mine.with_name(re.sub(r"-\d+-\d+-", f"-{os.getpid()}-1-", mine.name))
    for folder in (mine, dead):
        folder.mkdir()
        (folder / "network.bin").write_bytes(b"")
    open_engine(request(), "openvino", cache).close()
    assert mine.exists()
    assert not dead.exists()
    shutil.rmtree(mine)


@pytest.fixture
def cannot_convert(monkeypatch):
    """No network converts; counts the attempts."""
    attempts = []

    def convert(model):
        attempts.append(model.name)
        raise RuntimeError("no rule for operation Fold\nand a long trace")

    monkeypatch.setattr(exported, "convert_network", convert)
    return attempts


def test_a_network_that_cannot_be_exported_falls_back_and_says_so(tmp_path, cannot_convert):
    notes = []
    engine = open_engine(request(32), "auto", tmp_path, on_note=notes.append)
    assert engine.name == "tensorflow"
    assert notes == [
        "efficientnet-lite0 runs on TensorFlow, not OpenVINO: its export failed: no rule for "
        "operation Fold."
    ]
    with pytest.raises(NetworkError, match=r"cannot run on OpenVINO.*--engine tensorflow"):
        open_engine(request(32), "openvino", tmp_path)
    assert len(cannot_convert) == 1  # the reason is kept, the attempt not repeated


@pytest.mark.parametrize("fails", [True, False])
def test_ctrl_c_in_an_export_is_no_failure_of_it(fails, tmp_path, monkeypatch):
    convert = openvino.convert_model
    went_on = []

    def interrupted(*given, **options):
        signal.getsignal(signal.SIGINT)(signal.SIGINT, None)  # as a signal does
        went_on.append(True)  # as from C++, which would make another error of the interrupt
        if fails:
            raise RuntimeError("Check 'false' failed")
        return convert(*given, **options)

    monkeypatch.setattr(openvino, "convert_model", interrupted)
    before = signal.getsignal(signal.SIGINT)
    with pytest.raises(KeyboardInterrupt):
        open_engine(request(32), "auto", tmp_path)
    assert went_on == [True]
    assert signal.getsignal(signal.SIGINT) is before
    monkeypatch.undo()
    assert open_engine(request(32), "auto", tmp_path).name == "openvino"  # nothing was kept


def test_with_other_versions_an_export_is_tried_again(tmp_path, cannot_convert):
    open_engine(request(32), "auto", tmp_path)
    [folder] = (tmp_path / "networks").iterdir()
    record = json.loads((folder / "network.json").read_text())
    record["versions"]["openvino"] = "2020.1"
    (folder / "network.json").write_text(json.dumps(record))
    open_engine(request(32), "auto", tmp_path)
    assert len(cannot_convert) == 2


def test_an_export_with_other_numbers_is_refused(tmp_path, monkeypatch):
    infer = exported._infer

    def wrong(network, pictures):
        return [output * 1.001 + 1e-3 for output in infer(network, pictures)]

    monkeypatch.setattr(exported, "_infer", wrong)
    notes = []
    engine = open_engine(request(32), "auto", tmp_path, on_note=notes.append)
    assert engine.name == "tensorflow"
    assert "differ from TensorFlow's by" in notes[0]


def test_a_difference_that_is_no_number_counts_as_infinite():
    one, none = np.ones((2, 3)), np.full((2, 3), np.nan)
    assert greatest_difference([one], [none]) == float("inf")
    assert greatest_difference([one], [np.ones((2, 4))]) == float("inf")
    assert greatest_difference([one], [one]) == 0


def test_mixed_precision_is_for_tensorflow():
    with pytest.raises(NetworkError, match="--engine tensorflow"):
        open_engine(request(precision="mixed"), "openvino")
    assert open_engine(request(32, precision="mixed"), "auto").name == "tensorflow"


def test_a_gpu_is_preferred_where_there_is_one(monkeypatch):
    monkeypatch.setattr(engines, "has_gpu", lambda: True)
    assert open_engine(request(32)).name == "tensorflow"


def test_unknown_engines_and_precisions_are_refused():
    with pytest.raises(NetworkError, match=r"one of auto, openvino, tensorflow\. Got 'onnx'"):
        open_engine(request(), "onnx")
    with pytest.raises(NetworkError, match=r"float32, .* or mixed, .*\. Got 'half'"):
        open_engine(request(precision="half"))


def test_weights_that_do_not_fit_are_not_mistaken_for_a_failed_export(tmp_path):
    (tmp_path / "torn.h5").write_bytes(b"not HDF5")
    weights = resolve_weights(LITE0, tmp_path / "torn.h5")
    with pytest.raises(WeightsError, match="cannot be read"):
        open_engine(replace(request(), weights=weights))
