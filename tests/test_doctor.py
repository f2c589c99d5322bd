"""`tlfeat doctor` sees what is wrong with a machine and says what to do."""

import json

import numpy as np
import pytest
from typer.testing import CliRunner

from tlfeat.backbones.golden import LENGTHS
from tlfeat.backbones.openvino_package import import_openvino
from tlfeat.backbones.table import get_backbone
from tlfeat.backbones.weights import resolve_weights
from tlfeat.data.decode import decodable
from tlfeat.features import doctor
from tlfeat.features.doctor import Point, check_machine
from tlfeat.where import Where
from tlfeat_cli.app import app

LITE0 = get_backbone("efficientnet-lite0")


@pytest.fixture
def one_network(monkeypatch):
    """Let the default network be the only one whose weights are here."""
    monkeypatch.setattr(doctor, "weights_here", lambda row: row is LITE0)


def points(cache, tmp_path):
    found = check_machine(cache=cache, reports=tmp_path / "reports")
    return {point.what: point for point in found}


def test_a_sound_machine_has_nothing_wrong_and_its_networks_give_their_numbers(
    one_network, cache, tmp_path
):
    found = points(cache, tmp_path)
    assert [point for point in found.values() if point.state == "bad"] == []
    for engine in ("openvino", "tensorflow"):
        assert found[f"efficientnet-lite0 on {engine}"].found == "gives the numbers that it should"
    assert not (tmp_path / "reports").exists()


def test_precisions_are_those_of_the_processor(monkeypatch):
    class Core:
        def get_property(self, device, name):
            return ["FP32", "INT8"]

    monkeypatch.setattr(import_openvino(), "Core", Core)
    assert doctor._precisions().found == "float32, int8"
    monkeypatch.setattr(doctor, "versions", lambda *packages: {})
    assert doctor._precisions().found == "float32, int8 (with the extra int8)"


def test_a_network_that_gives_other_numbers_is_wrong(one_network, cache, tmp_path, monkeypatch):
    digest = resolve_weights(LITE0).digest[:16]
    features = np.ones((3, 4), np.float32)
    monkeypatch.setattr(doctor, "golden_features", lambda *given: features)
    (point, *_) = doctor._network(LITE0, Where(cache))
    assert point.state == "bad"
    assert f"gives 2.0000, 2.0000, 2.0000, not {LENGTHS[digest][0]:.4f}" in point.found
    assert "constraints.txt" in point.advice


def test_engines_that_disagree_are_said_to(cache, monkeypatch):
    rows = iter([np.ones((3, 4), np.float32), np.ones((3, 4), np.float32) * 1.01])
    monkeypatch.setattr(doctor, "golden_features", lambda *given: next(rows))
    *_, last = doctor._network(LITE0, Where(cache))
    assert last == Point(
        "efficientnet-lite0",
        "the engines disagree",
        "bad",
        "One of them computes otherwise: install the versions of constraints.txt.",
    )


def test_packages_that_are_missing_or_there_twice_are_named(monkeypatch):
    there = {"tensorflow": "2.20", "tensorflow-cpu": "2.20", "numpy": "2.0"}
    monkeypatch.setattr(doctor, "versions", lambda *names: there)
    found = {point.what: point for point in doctor._packages()}
    assert found["TensorFlow"].state == "bad"
    assert "installed twice" in found["TensorFlow"].found
    assert found["numpy"] == Point("numpy", "2.0")
    assert found["openvino"].advice == "pip install openvino"


def test_tensorflow_cpu_alone_is_tensorflow(monkeypatch):
    there = {name: "1" for name in doctor._PACKAGES if name != "tensorflow"}
    monkeypatch.setattr(doctor, "versions", lambda *names: {**there, "tensorflow-cpu": "2.20"})
    assert all(point.state == "good" for point in doctor._packages())


def test_a_damaged_entry_of_the_store_is_told(cache):
    (cache / "features" / "made" / "x").mkdir(parents=True)
    (cache / "features" / "made" / "recipe.json").write_text("{")
    point = doctor._store(cache)
    assert point.state == "bad"
    assert "1 damaged: made" in point.found
    assert "tlfeat cache verify" in point.advice


def test_a_folder_that_cannot_be_written_is_told(tmp_path, monkeypatch):
    monkeypatch.setattr("os.access", lambda path, how: False)
    point = doctor._folder("cache", tmp_path / "new")
    assert point.state == "bad"
    assert "--cache DIR or $TLFEAT_CACHE" in point.advice


def test_what_can_be_decoded_is_tried(monkeypatch):
    able = decodable()
    assert able["JPEG"]
    assert able["PNG"]
    monkeypatch.setattr(doctor, "decodable", lambda: {"JPEG": False, "PNG": True})
    assert doctor._decoders().state == "bad"
    monkeypatch.setattr(doctor, "decodable", lambda: {"JPEG": True, "PNG": True, "HEIC": False})
    assert doctor._decoders().state == "note"
    assert "tlfeat[heif]" in doctor._decoders().advice


def test_a_machine_without_weights_is_told_where_they_come_from(cache, tmp_path, monkeypatch):
    monkeypatch.setattr(doctor, "weights_here", lambda row: False)
    assert points(cache, tmp_path)["networks"].state == "bad"


def test_the_command_ends_with_what_to_do_and_fails_where_something_is_wrong(
    monkeypatch, wide_terminal
):
    good, bad = Point("Python", "3.11"), Point("store", "1 damaged", "bad", "mend it.")
    monkeypatch.setattr(doctor, "check_machine", lambda **where: iter([good, bad]))
    done = CliRunner().invoke(app, ["doctor"])
    assert done.exit_code == 1
    assert "WRONG" in done.stdout
    assert done.stdout.rstrip().endswith("- store: mend it.")
    assert json.loads(CliRunner().invoke(app, ["doctor", "--json"]).stdout)[1]["state"] == "bad"
    monkeypatch.setattr(doctor, "check_machine", lambda **where: iter([good]))
    done = CliRunner().invoke(app, ["doctor"])
    assert done.exit_code == 0
    assert "Nothing is to be done." in done.stdout
