"""Networks quantised to 8 bits: settled on pictures of train, kept, named by their digest."""

import subprocess
import sys
import textwrap

import pytest
from pictures import colour_folders

from tlfeat import extract, predict, train
from tlfeat.backbones.likeness import least_cosine
from tlfeat.backbones.precision import get_precision
from tlfeat.data.dataset import open_dataset
from tlfeat.errors import NetworkError, TlfeatError
from tlfeat.features import calibrate
from tlfeat.features.calibrate import calibrated
from tlfeat.features.settings import FeatureSettings
from tlfeat.where import Where

SIZE = 64
INT8 = FeatureSettings(size=SIZE, precision="int8")


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A folder of 36 pictures in three classes."""
    return colour_folders(tmp_path_factory.mktemp("pictures") / "colours")


@pytest.fixture(scope="module")
def cache(tmp_path_factory, folder):
    """A store that has the network, quantised on these pictures."""
    made = tmp_path_factory.mktemp("cache")
    calibrated(INT8, open_dataset(folder), Where(made))
    return made


def settled(folder, cache):
    return calibrated(INT8, open_dataset(folder), Where(cache)).precision


def test_features_are_near_those_in_float32_and_others(folder, cache):
    plain = extract(folder, size=SIZE, cache=cache)
    ours = extract(folder, size=SIZE, cache=cache, precision="int8")
    assert ours.digests == plain.digests
    assert ours.recipes[0].precision == settled(folder, cache)
    assert 0.7 < least_cosine([plain.X], [ours.X]) < 0.99999


def test_a_network_is_quantised_once_and_alike_each_time(folder, cache, tmp_path, monkeypatch):
    before = settled(folder, cache)
    assert get_precision(before).quantised
    assert settled(folder, tmp_path / "another") == before
    monkeypatch.setattr(calibrate, "quantise", lambda *_: pytest.fail("quantised again"))
    assert settled(folder, cache) == before
    [damaged] = (tmp_path / "another" / "networks").glob("int8-*/network.bin")
    damaged.write_bytes(damaged.read_bytes()[:-1] + b"\xff")
    with pytest.raises(pytest.fail.Exception, match="quantised again"):
        settled(folder, tmp_path / "another")
    monkeypatch.undo()
    assert settled(folder, tmp_path / "another") == before
    extract(folder, size=SIZE, cache=tmp_path / "another", precision=before)


def test_only_pictures_of_train_settle_it(folder, cache, monkeypatch):
    dataset = open_dataset(folder)
    seen = []
    monkeypatch.setattr(calibrate, "kept_digest", lambda _, sample, cache: seen.extend(sample))
    monkeypatch.setattr(calibrate, "quantise", lambda *_: "0" * 12)
    assert calibrated(INT8, dataset, Where(cache)).precision == "int8:000000000000"
    splits = {one.digest: one.split for one in dataset.samples}
    assert {splits[digest] for digest in seen} == {"train"}
    assert "test" in splits.values()


def test_another_dataset_takes_it_where_it_is_asked_for(folder, cache, tmp_path):
    named = settled(folder, cache)
    other = colour_folders(tmp_path / "others")
    ours = extract(other, size=SIZE, cache=cache, precision=named)
    assert ours.recipes[0].precision == named
    assert len(list((cache / "networks").glob("int8-*"))) == 1


def test_a_run_predicts_with_its_own_network(folder, cache, tmp_path):
    run = train(
        folder,
        head="nearest-centroid",
        size=SIZE,
        precision="int8",
        cache=cache,
        reports=tmp_path / "reports",
    )
    assert run.name == "efficientnet-lite0-64-nearest-centroid-int8"
    assert run.feature_settings.precision == settled(folder, cache)
    picture = folder / "red" / "red-000.png"
    [one] = predict(run, picture, cache=cache)
    assert one.label == "red"
    with pytest.raises(NetworkError, match=r"int8:[0-9a-f]{12} is not in .*: it is where it was"):
        next(predict(run, picture, cache=tmp_path / "elsewhere"))


def test_what_it_cannot_be_is_refused(folder, cache, tmp_path):
    named = settled(folder, cache)
    for precision, said, more in (
        ("int8:12", r"the 12 digits of a network that was quantised. Got 'int8:12'", {}),
        (named, "is quantised of another network", {"backbone": "efficientnet-lite0", "size": 32}),
        (named, r"gives last:avg and no more", {"features": "stage4:grid2"}),
        (named, "TensorFlow does not compute in int8", {"engine": "tensorflow"}),
    ):
        options = {"size": SIZE, "cache": cache, "precision": precision} | more
        if "engine" in more:  # what is there needs no engine
            options["resize"] = "crop"
        with pytest.raises(TlfeatError, match=said):
            extract(folder, **options)
    with pytest.raises(TlfeatError, match="is settled on the pictures of a dataset"):
        INT8.resolve()


def test_nncf_reports_nothing_over_the_network(folder, tmp_path):
    code = textwrap.dedent(f"""
        import socket, sys

        def refuse(*_):
            raise AssertionError("a connection was opened")

        socket.socket.connect = refuse
        socket.create_connection = refuse
        from tlfeat.data.dataset import open_dataset
        from tlfeat.features.calibrate import calibrated
        from tlfeat.features.settings import FeatureSettings
        from tlfeat.where import Where

        settings = FeatureSettings(size={SIZE}, precision="int8")
        found = calibrated(settings, open_dataset({str(folder)!r}), Where({str(tmp_path)!r}))
        assert "nncf" in sys.modules
        assert sys.modules["openvino_telemetry"] is None
        print(found.precision)
    """)
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith("int8:")
    assert len(done.stdout.splitlines()) == 1
