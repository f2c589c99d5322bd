"""Networks of anybody's: what is understood of their files, and that the numbers are theirs."""

import json
import textwrap

import numpy as np
import pytest
from onnx import TensorProto
from onnx_maker import SIZE, activation, write_onnx
from typer.testing import CliRunner

from tlfeat import compare, explain, extract, predict, run_study, train
from tlfeat.backbones.engines import NetworkRequest, open_engine
from tlfeat.backbones.exported import greatest_difference, import_openvino, sample_pictures
from tlfeat.backbones.keras_runtime import import_keras
from tlfeat.backbones.network_files import find_network, read_facts, write_facts
from tlfeat.backbones.table import Output
from tlfeat.backbones.weights import resolve_weights
from tlfeat.errors import NetworkError, TlfeatError, UnknownName, WeightsError
from tlfeat.features.settings import FeatureSettings
from tlfeat_cli.app import app

PICTURES = sample_pictures(SIZE, 5)
PLAIN = {"mean": "0,0,0", "std": "1,1,1"}


def rows(path, *specs, engine="auto", cache=None):
    """Give the features of some pictures, seeing that their shapes were foretold."""
    row = find_network(str(path))
    outputs = tuple(Output(*spec.split(":")) for spec in specs)
    request = NetworkRequest(row, row.size, resolve_weights(row), outputs)
    engine = open_engine(request, engine, cache)
    starts = range(0, len(PICTURES), engine.batch)
    found = [f for _, f in engine.run((i, PICTURES[i : i + engine.batch]) for i in starts)]
    engine.close()
    features = [np.concatenate(parts) for parts in zip(*found, strict=True)]
    for spec, one in zip(specs, features, strict=True):
        [recipe] = FeatureSettings(str(path), features=spec).resolve().recipes
        assert recipe.feature_shape == one.shape[1:]
    return features


def alike(ours, *theirs):
    assert greatest_difference(theirs, ours) < 1e-5


@pytest.fixture
def network(tmp_path):
    path = write_onnx(tmp_path / "small net.onnx", outputs=("map",))
    write_facts(path, {"scaling": "torch"})
    return path


@pytest.mark.parametrize("layout", ["NCHW", "NHWC"])
def test_an_onnx_network_gives_its_own_numbers_however_they_are_pooled(tmp_path, layout):
    path = write_onnx(tmp_path / "net.onnx", layout=layout, outputs=("map", "features"))
    write_facts(path, {"mean": "0.4,0.5,0.6", "std": "0.1,0.2,0.3", "output": "features"})
    want = activation(PICTURES, [0.4, 0.5, 0.6], [0.1, 0.2, 0.3])
    alike(rows(path, "last:avg"), want.mean((1, 2)))
    if layout == "NCHW":  # what is inside is channels first in either
        ours = rows(path, "map:avg", "map:max", "map:none", "map:grid2", "mean:avg")
        cells = want.reshape(5, 2, 4, 2, 4, 4).mean((2, 4)).reshape(5, -1)
        alike(ours, want.mean((1, 2)), want.max((1, 2)), want, cells, want.mean((1, 2)))


def test_channels_are_turned_where_a_network_wants_them_so(tmp_path):
    path = write_onnx(tmp_path / "net.onnx")
    write_facts(path, {**PLAIN, "colour": "BGR"})
    alike(rows(path, "last:avg"), activation(PICTURES, bgr=True).mean((1, 2)))


def test_tokens_are_pooled_by_what_they_stand_for(tmp_path):
    path = write_onnx(tmp_path / "net.onnx", outputs=("tokens", "classed"))
    want = activation(PICTURES)
    mean, cells = want.mean((1, 2)), want.reshape(5, 2, 4, 2, 4, 4).mean((2, 4)).reshape(5, -1)
    write_facts(path, {**PLAIN, "output": "classed"})
    ours = rows(path, "last:avg", "last:max", "last:grid2", "last:none")
    every = np.concatenate([np.ones((5, 1, 4)), want.reshape(5, -1, 4)], axis=1)
    alike(ours, np.ones((5, 4)), want.max((1, 2)), cells, every)
    write_facts(path, {"tokens": "class+mean"})
    alike(rows(path, "last:avg"), np.hstack([np.ones((5, 4)), mean]))
    write_facts(path, {"output": "tokens", "tokens": "mean"})
    alike(rows(path, "last:avg", "last:grid2"), mean, cells)
    write_facts(path, {"tokens": "class"})
    with pytest.raises(NetworkError, match="64 tokens, a square of patches, and none for the cla"):
        rows(path, "last:avg")


def test_a_network_that_takes_one_picture_at_a_time_gets_one(tmp_path):
    path = write_onnx(tmp_path / "net.onnx", fixed_batch=True)
    write_facts(path, PLAIN)
    row = find_network(str(path))
    engine = open_engine(NetworkRequest(row, SIZE, resolve_weights(row)), cache=tmp_path)
    assert engine.batch == 1
    engine.close()
    alike(rows(path, "last:avg", cache=tmp_path), activation(PICTURES).mean((1, 2)))


def test_dynamic_axes_take_the_size_that_is_said(tmp_path):
    path = write_onnx(tmp_path / "net.onnx", shape=["n", 3, "h", "w"], outputs=("map",))
    write_facts(path, PLAIN)
    with pytest.raises(NetworkError, match="any size: say which it was trained on"):
        rows(path, "last:avg")
    write_facts(path, {"size": SIZE})
    alike(rows(path, "last:avg"), activation(PICTURES).mean((1, 2)))
    assert FeatureSettings(str(path), size=16).resolve().size == 16
    free = write_onnx(tmp_path / "free.onnx", shape=["n", "c", SIZE, SIZE])
    write_facts(free, PLAIN)
    with pytest.raises(NetworkError, match=r"does not tell where the channels are: say layout="):
        rows(free, "last:avg")
    write_facts(free, {"layout": "NCHW"})
    alike(rows(free, "last:avg"), activation(PICTURES).mean((1, 2)))


def test_openvinos_own_files_are_read_with_their_weights(tmp_path, network):
    openvino = import_openvino()
    path = tmp_path / "own.xml"
    openvino.save_model(openvino.Core().read_model(network), path, compress_to_fp16=False)
    write_facts(path, PLAIN)
    alike(rows(path, "last:avg"), activation(PICTURES).mean((1, 2)))
    before = resolve_weights(find_network(str(path))).digest
    path.with_suffix(".bin").write_bytes(path.with_suffix(".bin").read_bytes()[:-4] + b"abcd")
    assert resolve_weights(find_network(str(path))).digest != before
    path.with_suffix(".bin").unlink()
    with pytest.raises(WeightsError, match=r"own\.bin is not there: put it beside"):
        find_network(str(path))


@pytest.mark.parametrize("engine", ["openvino", "tensorflow"])
def test_keras_files_give_their_own_numbers_on_either_engine(tmp_path, engine):
    keras = import_keras()
    pixels = keras.Input((SIZE, SIZE, 3))
    places = keras.layers.Conv2D(4, 3, activation="relu", name="places")(pixels)
    row = keras.layers.GlobalAveragePooling2D(name="row")(places)
    answers = keras.layers.Dense(2, name="answers")(row)
    model = keras.Model(pixels, answers)
    path = tmp_path / "mine.keras"
    model.save(path)
    write_facts(path, {"scaling": "tf", "output": "places"})
    inside = keras.Model(pixels, [places, row, answers])
    maps, mean, ends = (np.asarray(x) for x in inside(PICTURES / 127.5 - 1))
    ours = rows(path, "last:avg", "last:none", "row:avg", "answers:avg", engine=engine)
    alike(ours, mean, maps, mean, ends)
    assert find_network(str(path)).parameters == model.count_params()
    with pytest.raises(NetworkError, match="takes pictures of 8x8 pixels and no others"):
        FeatureSettings(str(path), size=16, features="last:max").resolve()


BAD = {
    "no batch axis": (
        {"shape": [3, SIZE, SIZE]},
        PLAIN,
        r"takes an input of shape \(3, 8, 8\): wanted four axes, .* with a batch axis",
    ),
    "another layout": ({}, {**PLAIN, "layout": "NHWC"}, "which is not NHWC: leave layout out"),
    "no channels": (
        {"shape": ["n", SIZE, SIZE, SIZE]},
        PLAIN,
        "wanted 3 channels, at the second axis or the last",
    ),
    "no square": ({"shape": ["n", 3, SIZE, 4]}, PLAIN, "takes pictures of 8x4: wanted squares"),
    "two outputs": (
        {"outputs": ("map", "features")},
        PLAIN,
        r"has 2 outputs: say output=NAME, one of map \(any, 4, 8, 8\), features \(any, 4\)",
    ),
    "another output": (
        {},
        {**PLAIN, "output": "featurs"},
        r"has no output or layer 'featurs'. Did you mean 'features'",
    ),
    "float64": ({"kind": TensorProto.DOUBLE}, PLAIN, r"pictures as f64: wanted .* in float32"),
    "another size": ({}, {**PLAIN, "size": 16}, "takes pictures of 8x8 pixels and no others"),
}


@pytest.mark.parametrize("what", BAD)
def test_what_cannot_be_used_is_one_sentence(tmp_path, what):
    made, facts, said = BAD[what]
    path = tmp_path / "net.onnx"
    write_onnx(path, **made)
    write_facts(path, facts)
    with pytest.raises(TlfeatError, match=said) as error:
        rows(path, "last:avg")
    assert "\n" not in str(error.value)


def test_files_that_are_not_whole_are_one_sentence(tmp_path):
    path = write_onnx(tmp_path / "net.onnx", external=True)
    write_facts(path, PLAIN)
    alike(rows(path, "last:avg"), activation(PICTURES).mean((1, 2)))
    data = tmp_path / "net.onnx.data"
    before = find_network(str(path)).file.digest
    data.write_bytes(data.read_bytes()[:-4] + b"abcd")
    assert find_network(str(path)).file.digest != before
    data.unlink()
    with pytest.raises(WeightsError, match=r"in another file, and .*data is not there: put it"):
        rows(path, "last:avg")
    torn = tmp_path / "torn.onnx"
    for bytes_left in (0, 100):
        torn.write_bytes(path.read_bytes()[:bytes_left])
        with pytest.raises(TlfeatError, match=r"how pixels are scaled|cannot be read"):
            rows(torn, "last:avg")
    write_facts(torn, PLAIN)
    with pytest.raises(NetworkError, match="cannot be read by OpenVINO"):
        rows(torn, "last:avg")
    with pytest.raises(WeightsError, match="There is no network at"):
        rows(tmp_path / "none.onnx", "last:avg")


def test_facts_are_said_once_and_checked(tmp_path):
    path = write_onnx(tmp_path / "net.onnx")
    with pytest.raises(TlfeatError, match=r"must be said once: .* --say scaling=torch` writes it"):
        find_network(str(path))
    for wrong, said in (
        ({"scaling": "imagenet"}, "scaling must be one of none, tf, lite, torch, caffe"),
        ({"scaling": "tf", **PLAIN}, "must be said once"),
        ({"mean": "0,0,0"}, "mean and std belong together"),
        ({"mean": "0,0", "std": "1,1"}, "mean must be three numbers"),
        ({"mean": "0,0,0", "std": "0,1,1"}, "std must be three numbers.* above 0"),
        ({"scalling": "tf"}, r"no key 'scalling'. Did you mean 'scaling'"),
    ):
        with pytest.raises(TlfeatError, match=said):
            write_facts(path, wrong)
    assert not (tmp_path / "net.toml").exists()
    (tmp_path / "net.toml").write_text("mean = [0.1, 0.2, 0.3]\nstd = [1, 1, 1]\n")
    assert read_facts(path).checked().scaling_mode == "0.1,0.2,0.3/1,1,1"
    (tmp_path / "net.toml").write_text("mean = [")
    with pytest.raises(TlfeatError, match=r"net\.toml cannot be read"):
        find_network(str(path))


def test_other_facts_make_other_features(tmp_path, network):
    def key():
        return FeatureSettings(str(network)).resolve().recipes[0].digest

    before = key()
    write_facts(network, {"licence": "MIT"})
    assert key() == before
    write_facts(network, {"scaling": "tf"})
    assert key() != before


def test_features_heads_and_answers_come_of_a_file(tmp_path, network, pictures, monkeypatch):
    monkeypatch.chdir(tmp_path)
    features = extract(pictures, backbone=str(network), features="last:avg+last:grid2")
    assert features.X.shape == (36, 20)
    run = train(pictures, backbone=str(network), head="lda")
    assert run.name == "small_net.onnx-lda"
    assert run.parameters.total > 16
    [one] = predict(run, pictures / "red" / "red-000.png")
    assert one.label == "red"
    [seen] = explain(run, pictures / "red" / "red-000.png")
    assert seen.map.shape == (SIZE, SIZE)
    assert seen.map.mean() + seen.bias == pytest.approx(seen.logit, abs=1e-4)
    again = compare(pictures, backbones=[str(network)], heads=["lda"], features=["last:avg"])
    assert again.fresh == 0
    there = run_study(run.study / "study.toml")
    assert [one.id for one in there.runs] == [run.id]
    network.rename(tmp_path / "gone.onnx")
    with pytest.raises(WeightsError, match="There is no network at"):
        next(predict(run, pictures))
    write_facts(tmp_path / "gone.onnx", {"scaling": "torch"})
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "gone.onnx").rename(tmp_path / "elsewhere" / "small net.onnx")
    (tmp_path / "gone.toml").rename(tmp_path / "elsewhere" / "small net.toml")
    [moved] = predict(
        run, pictures / "red" / "red-000.png", weights=tmp_path / "elsewhere" / "small net.onnx"
    )
    assert moved.score == one.score


def test_a_study_finds_a_network_beside_it(tmp_path, network, pictures):
    study = tmp_path / "study.toml"
    study.write_text(
        textwrap.dedent(f"""
            schema = 1
            name = "own"
            [data]
            path = {json.dumps(str(pictures))}
            [defaults]
            backbone = "small net.onnx"
            [[run]]
            name = "lda"
            head = "lda"
        """)
    )
    done = run_study(study, cache=tmp_path / "cache", reports=tmp_path / "reports")
    [run] = done.runs
    assert run.backbone == "small_net.onnx"
    assert run.stand_in is None


def test_what_a_file_is_not_for_is_refused(tmp_path, network, pictures):
    with pytest.raises(NetworkError, match="has its own weights: leave --weights out"):
        extract(pictures, backbone=str(network), weights="random")
    with pytest.raises(NetworkError, match="which OpenVINO reads: leave --engine out"):
        extract(pictures, backbone=str(network), engine="tensorflow", cache=tmp_path / "cache")
    with pytest.raises(UnknownName, match="has no output or layer 'stage4'"):
        extract(pictures, backbone=str(network), features="stage4:avg")


def test_the_command_shows_what_is_understood_and_writes_what_is_said(tmp_path):
    path = write_onnx(tmp_path / "net.onnx")
    runner = CliRunner()

    def ask(*words):
        return runner.invoke(app, ["backbones", str(path), *words])

    bare = ask()
    assert bare.exit_code == 1
    assert "scaling     not said" in bare.stdout
    assert "(any, 3, 8, 8) of f32, NCHW" in bare.stdout
    said = ask("--say", "scaling=torch", "--say", "licence=MIT")
    assert said.exit_code == 0
    assert (tmp_path / "net.toml").read_text() == 'scaling = "torch"\nlicence = "MIT"\n'
    told = json.loads(ask("--json").stdout)
    assert told["scaling"] == "torch"
    assert told["outputs"] == "features (any, 4)"
    layers = json.loads(ask("--layers", "--json").stdout)
    assert layers["last"] == [4]
    assert layers["map"] == [8, 8, 4]
    assert ask("--say", "size").exit_code == 1
