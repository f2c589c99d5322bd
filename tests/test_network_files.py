"""Networks of anybody's: what is understood of their files, and that the numbers are theirs."""

import json
import textwrap

import numpy as np
import pytest
from onnx import TensorProto
from onnx_maker import SIZE, activation, write_onnx
from typer.testing import CliRunner

from tlfeat import compare, explain, extract, finetune, predict, run_study, train
from tlfeat.backbones import engines
from tlfeat.backbones.engines import NetworkRequest, open_engine
from tlfeat.backbones.exported import greatest_difference, sample_pictures
from tlfeat.backbones.keras_runtime import import_keras
from tlfeat.backbones.network_facts import read_facts, write_facts
from tlfeat.backbones.network_files import find_network
from tlfeat.backbones.networks import layer_shapes
from tlfeat.backbones.openvino_package import import_openvino
from tlfeat.backbones.table import Output
from tlfeat.backbones.weights import resolve_weights
from tlfeat.errors import NetworkError, TlfeatError, UnknownName, WeightsError
from tlfeat.features.settings import FeatureSettings
from tlfeat.report.merge import write_report as report
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
    said = {"mean": "0.1,0.2,0.3", "std": "0.4,0.5,0.6", "colour": "BGR"}  # red first, always
    write_facts(path, said)
    want = activation(PICTURES, [0.1, 0.2, 0.3], [0.4, 0.5, 0.6], bgr=True).mean((1, 2))
    alike(rows(path, "last:avg"), want)


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
    with pytest.raises(NetworkError, match=r"64 tokens, .* none for the class: say tokens=mean"):
        rows(path, "last:avg")


def test_a_network_that_takes_one_picture_at_a_time_gets_one(tmp_path):
    path = write_onnx(tmp_path / "net.onnx", fixed_batch=1)
    write_facts(path, PLAIN)
    row = find_network(str(path))
    engine = open_engine(NetworkRequest(row, SIZE, resolve_weights(row)), cache=tmp_path)
    assert engine.batch == 1
    engine.close()
    alike(rows(path, "last:avg", cache=tmp_path), activation(PICTURES).mean((1, 2)))


def test_a_first_axis_that_is_not_the_picture_is_refused(tmp_path):
    path = write_onnx(tmp_path / "net.onnx", outputs=("windows", "features"))
    write_facts(path, {**PLAIN, "output": "features"})
    alike(rows(path, "last:avg"), activation(PICTURES).mean((1, 2)))
    assert "windows" not in layer_shapes(find_network(str(path)), SIZE)
    with pytest.raises(NetworkError, match="the first axis must be the picture"):
        rows(path, "windows:none")
    eight = write_onnx(tmp_path / "eight.onnx", fixed_batch=8)
    write_facts(eight, PLAIN)
    with pytest.raises(NetworkError, match="the first axis must be the picture"):
        rows(eight, "last:avg")


def test_bytes_that_a_file_scales_itself_are_not_scaled_again(tmp_path):
    path = write_onnx(tmp_path / "net.onnx", kind=TensorProto.UINT8)
    write_facts(path, {"scaling": "torch"})
    with pytest.raises(NetworkError, match=r"takes bytes and scales them itself: .* scaling=none"):
        rows(path, "last:avg")
    write_facts(path, {"scaling": "none"})
    alike(rows(path, "last:avg"), activation(255 * PICTURES.astype(float)).mean((1, 2)))


def test_dynamic_axes_take_the_size_that_is_said(tmp_path):
    path = write_onnx(tmp_path / "net.onnx", shape=["n", 3, "h", "w"], outputs=("map",))
    write_facts(path, PLAIN)
    with pytest.raises(NetworkError, match="any size: say which it was trained on"):
        rows(path, "last:avg")
    write_facts(path, {"size": str(SIZE)})
    alike(rows(path, "last:avg"), activation(PICTURES).mean((1, 2)))
    assert FeatureSettings(str(path), size=16).resolve().size == 16
    free = write_onnx(tmp_path / "free.onnx", shape=["n", "c", SIZE, SIZE])
    write_facts(free, PLAIN)
    with pytest.raises(NetworkError, match=r"where the channels are: .* layout=NCHW` does"):
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
    with pytest.raises(NetworkError, match="no pictures of 16x16 pixels: leave size out"):
        FeatureSettings(str(path), size=16, features="last:max").resolve()


def test_a_usual_keras_file_is_read_and_another_is_one_sentence(tmp_path):
    keras = import_keras()
    layers = keras.layers
    base = keras.Sequential([keras.Input((SIZE, SIZE, 3)), layers.Conv2D(4, 3)], name="base")
    pixels = keras.Input((SIZE, SIZE, 3))
    nested = keras.Model(pixels, layers.GlobalAveragePooling2D(name="row")(base(pixels)))
    plain = keras.Sequential(
        [keras.Input((SIZE, SIZE, 3)), layers.Conv2D(4, 3, name="places"), layers.Flatten()]
    )
    for name, model, layer in (("nested", nested, "base"), ("plain", plain, "places")):
        path = tmp_path / f"{name}.keras"
        model.save(path)
        write_facts(path, {"scaling": "none"})
        inside = model.get_layer(layer)
        maps = np.asarray(inside(PICTURES.astype("float32")))
        ours = rows(path, "last:avg", f"{layer}:avg", cache=tmp_path / "cache")
        alike(ours, np.asarray(model(PICTURES.astype("float32"))), maps.mean((1, 2)))
        alike(rows(path, f"{layer}:none", cache=tmp_path / "cache"), maps)
    alike(  # the kept mean is theirs, not a pooling of ours
        rows(tmp_path / "nested.keras", "last:none", cache=tmp_path / "cache"),
        np.asarray(nested(PICTURES.astype("float32"))),
    )
    two = keras.Input((SIZE, SIZE, 3))
    for name, model, said in (
        ("two", keras.Model([pixels, two], layers.Add()([pixels, two])), "has 2 inputs"),
        (
            "wide",
            keras.Sequential([keras.Input((8, 4, 3)), layers.Flatten()]),
            "wanted .batch, si",
        ),
        ("ends", keras.Model(pixels, [base(pixels), base(pixels)]), "has 2 outputs"),
    ):
        path = tmp_path / f"{name}.keras"
        model.save(path)
        write_facts(path, {"scaling": "none"})
        with pytest.raises(TlfeatError, match=said) as error:
            rows(path, "last:avg")
        assert "\n" not in str(error.value)
    for precision, engine, said in (
        ("bfloat16", "tensorflow", "in float32, as its file says"),
        ("mixed", "auto", "in float32, as its file says"),
    ):
        row = find_network(str(tmp_path / "plain.keras"))
        request = NetworkRequest(row, SIZE, resolve_weights(row), precision=precision)
        with pytest.raises(NetworkError, match=said):
            open_engine(request, engine)
    junk = tmp_path / "junk.keras"
    junk.write_bytes(b"no zip")
    write_facts(junk, {"scaling": "none"})
    with pytest.raises(NetworkError, match="wanted a whole model as Keras saves it"):
        rows(junk, "last:avg")


BAD = {
    "no batch axis": (
        {"shape": [3, SIZE, SIZE]},
        PLAIN,
        r"takes an input of shape \(3, 8, 8\): wanted four axes, .* with a batch axis",
    ),
    "another layout": (
        {},
        {**PLAIN, "layout": "NHWC"},
        r"which is not NHWC: .* layout=` takes that",
    ),
    "no channels": (
        {"shape": ["n", SIZE, SIZE, SIZE]},
        PLAIN,
        "wanted 3 channels, at the second axis or the last",
    ),
    "no square": ({"shape": ["n", 3, SIZE, 4]}, PLAIN, "takes pictures of 8x4: wanted squares"),
    "two outputs": (
        {"outputs": ("map", "features")},
        PLAIN,
        r"has 2 outputs: .* one of map \(any, 4, 8, 8\), features \(any, 4\)",
    ),
    "another output": (
        {},
        {**PLAIN, "output": "featurs"},
        r"has no output or layer 'featurs'. Did you mean 'features'",
    ),
    "float64": ({"kind": TensorProto.DOUBLE}, PLAIN, r"pictures as f64: wanted .* in float32"),
    "another size": ({}, {**PLAIN, "size": "16"}, "takes pictures of 8x8 pixels and no others"),
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
    torn.touch()
    write_facts(torn, PLAIN)
    for bytes_left in (0, 100):
        torn.write_bytes(path.read_bytes()[:bytes_left])
        with pytest.raises(NetworkError, match="cannot be read by OpenVINO"):
            rows(torn, "last:avg")
    with pytest.raises(WeightsError, match="There is no network at"):
        rows(tmp_path / "none.onnx", "last:avg")


def test_every_file_of_weights_is_in_the_digest(tmp_path):
    path = write_onnx(tmp_path / "net.onnx", external=True, one_file=False)
    write_facts(path, PLAIN)
    before = find_network(str(path)).file.digest
    files = [one for one in sorted(tmp_path.iterdir()) if one.suffix not in (".onnx", ".toml")]
    assert len(files) > 3
    for one in files:
        kept = one.read_bytes()
        one.write_bytes(kept[:-1] + bytes([kept[-1] ^ 1]))
        assert find_network(str(path)).file.digest != before, one
        one.write_bytes(kept)
    assert find_network(str(path)).file.digest == before


def test_a_link_has_facts_of_its_own(tmp_path):
    (tmp_path / "blobs").mkdir()
    there = write_onnx(tmp_path / "blobs" / "abc123.onnx").rename(tmp_path / "blobs" / "abc123")
    link = tmp_path / "model.onnx"
    link.symlink_to(there)
    write_facts(link, {"scaling": "torch"})
    settings = FeatureSettings(str(link)).resolve().settings
    assert settings.weights == str(link)
    assert settings.resolve().recipes[0].scaling == "torch"


def test_openvino_runs_a_file_where_there_is_a_gpu_too(network, monkeypatch):
    monkeypatch.setattr(engines, "has_gpu", lambda: True)
    row = find_network(str(network))
    engine = open_engine(NetworkRequest(row, SIZE, resolve_weights(row)))
    assert engine.name == "openvino"
    engine.close()


def test_two_networks_of_one_name_are_not_taken_for_each_other(tmp_path, network, pictures):
    other = tmp_path / "other" / network.name
    other.parent.mkdir()
    write_onnx(other)
    write_facts(other, PLAIN)
    with pytest.raises(TlfeatError, match=r"Two runs would be called small_net\.onnx-auto-lda"):
        compare(
            pictures,
            backbones=[str(network), str(other)],
            heads=["lda"],
            features=["auto"],
            cache=tmp_path / "cache",
            reports=tmp_path / "reports",
        )


def test_facts_are_said_once_and_checked(tmp_path):
    path = write_onnx(tmp_path / "net.onnx")
    with pytest.raises(TlfeatError, match=r"Nothing says how pixels are scaled .* --say scaling="):
        find_network(str(path))
    for wrong, said in (
        ({"scaling": "imagenet"}, "scaling must be one of none, tf, lite, torch, caffe"),
        ({"scaling": "tf", **PLAIN}, "scaling and mean are both said"),
        ({"mean": "nan,0,0", "std": "1,1,1"}, "mean must be three numbers"),
        ({"mean": "0,0,0", "std": "inf,1,1"}, "std must be three numbers"),
        ({"mean": "0,0,0"}, "mean and std belong together"),
        ({"mean": "0,0", "std": "1,1"}, "mean must be three numbers"),
        ({"mean": "0,0,0", "std": "0,1,1"}, "std must be three numbers.* above 0"),
        ({"scalling": "tf"}, r"no key 'scalling'. Did you mean 'scaling'"),
    ):
        with pytest.raises(TlfeatError, match=said):
            write_facts(path, wrong)
    assert not (tmp_path / "net.toml").exists()
    (tmp_path / "net.toml").write_text("mean = [0.1, 0.2, 0.3]\nstd = [1, 1, 1]\n")
    assert read_facts(path).checked().scaling_mode == "0.1,0.2,0.3/1.0,1.0,1.0"
    for wrong in (
        'mean = ["a", "b", "c"]',
        "mean = [[1], 2, 3]",
        "mean = [true, 1, 1]",
        "size = 1.5",
    ):
        (tmp_path / "net.toml").write_text(wrong)
        with pytest.raises(TlfeatError, match=r"net\.toml: (mean|size) must be"):
            find_network(str(path))
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
    network.rename(tmp_path / "moved.onnx")
    with pytest.raises(WeightsError, match=r"There is no network at .* --weights FILE says"):
        next(predict(run, pictures))
    (run.study / "index.html").unlink()
    report([run.study], cache=tmp_path / "cache")  # needs no network
    assert (run.study / "index.html").exists()
    write_facts(tmp_path / "moved.onnx", {"scaling": "torch"})
    picture = pictures / "red" / "red-000.png"
    [moved] = predict(run, picture, weights=tmp_path / "moved.onnx")
    assert moved.score == one.score
    write_facts(tmp_path / "moved.onnx", {"scaling": "tf"})
    with pytest.raises(WeightsError, match=r"or what moved\.toml says of it has changed"):
        next(predict(run, picture, weights=tmp_path / "moved.onnx"))


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
    with pytest.raises(NetworkError, match="is run by OpenVINO alone: leave --engine out"):
        extract(pictures, backbone=str(network), engine="tensorflow", cache=tmp_path / "cache")
    with pytest.raises(TlfeatError, match=r"gives features: only one of Keras can be trained on"):
        finetune(pictures, str(network), reports=tmp_path / "reports")
    with pytest.raises(
        TlfeatError, match=r"gives features: start from it with --from mine\.keras"
    ):
        finetune(pictures, "mine.keras", reports=tmp_path / "reports")
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
    assert "pictures    8x8 pixels, RGB" in bare.stdout
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
    for wrong in ("size", "output=nope", "scaling=imagenet"):
        assert ask("--say", wrong).exit_code == 1
    (tmp_path / "net.toml").write_text('# ours\nscaling = "torch"\n')
    assert ask("--say", "scaling=", "--say", "mean=0,0,0", "--say", "std=1,1,1").exit_code == 0
    assert (tmp_path / "net.toml").read_text().startswith("# ours\nmean = ")
    assert runner.invoke(app, ["backbones", "none.onnx", "--say", "scaling=tf"]).exit_code == 1
    assert not (tmp_path / "none.toml").exists()
