"""Presets of keras-hub: read without it, built by it, and giving its own numbers."""

import json
import subprocess
import sys

import keras_hub
import numpy as np
import pytest

from tlfeat import extract, predict, run_study, train
from tlfeat.backbones import hub
from tlfeat.backbones.engines import NetworkRequest, open_engine
from tlfeat.backbones.exported import greatest_difference, sample_pictures
from tlfeat.backbones.network_files import describe_network, find_network
from tlfeat.backbones.table import Output
from tlfeat.backbones.tokens import read_tokens
from tlfeat.backbones.weights import resolve_weights
from tlfeat.errors import NetworkError, TlfeatError, UnknownName, WeightsError
from tlfeat.features.settings import FeatureSettings

SIZE = 32
PICTURES = sample_pictures(SIZE, 5)


@pytest.fixture(scope="module")
def preset(tmp_path_factory):
    """A small ViT with the preprocessing of a published one."""
    folder = tmp_path_factory.mktemp("presets") / "small_vit"
    converter = keras_hub.layers.ViTImageConverter(
        image_size=(SIZE, SIZE), scale=[1 / 127.5, 1 / 100, 1 / 50], offset=[-1.0, -0.5, 0.1]
    )
    network = keras_hub.models.ViTBackbone(
        image_shape=(SIZE, SIZE, 3),
        patch_size=8,
        num_layers=2,
        num_heads=2,
        hidden_dim=16,
        mlp_dim=32,
    )
    converter.save_to_preset(folder)
    network.save_to_preset(folder)
    return folder


@pytest.mark.parametrize("engine", ["openvino", "tensorflow"])
def test_features_are_those_of_keras_hubs_own_call(preset, engine):
    specs = ["last:none", "last:avg", "last:grid1", "last:grid2", "last:max"]
    outputs = tuple(Output(*spec.split(":")) for spec in specs)
    row = find_network(f"hub:{preset}")
    request = NetworkRequest(row, row.size, resolve_weights(row), outputs)
    ours = open_engine(request, engine)
    starts = range(0, len(PICTURES), ours.batch)
    found = [f for _, f in ours.run((i, PICTURES[i : i + ours.batch]) for i in starts)]
    ours.close()
    found = [np.concatenate(parts) for parts in zip(*found, strict=True)]
    network = keras_hub.models.Backbone.from_preset(str(preset))
    converter = keras_hub.layers.ImageConverter.from_preset(str(preset))
    tokens = np.asarray(network(converter(PICTURES.astype("float32"))))
    patches = tokens[:, 1:]
    cells = patches.reshape(5, 2, 2, 2, 2, 16).mean((2, 4)).reshape(5, -1)
    want = [tokens, tokens[:, 0], patches.mean(1), cells, patches.max(1)]
    assert greatest_difference(want, found) < 1e-4
    for spec, one in zip(specs, found, strict=True):
        [recipe] = FeatureSettings(f"hub:{preset}", features=spec).resolve().recipes
        assert recipe.feature_shape == one.shape[1:]
        assert recipe.backbone == "small_vit.hub"


def test_a_run_goes_on_with_the_preset_that_it_had(preset, pictures, tmp_path):
    where = {"cache": tmp_path / "cache", "reports": tmp_path / "reports"}
    named = f"hub:{preset}"
    features = extract(pictures, backbone=named, features="last:avg+last:grid1", **where)
    assert features.X.shape == (36, 32)
    run = train(pictures, backbone=named, head="lda", features="last:grid2", **where)
    assert run.name.startswith("small_vit.hub")
    assert run.parameters.total > 7856
    [one] = predict(run, pictures / "red" / "red-000.png", cache=where["cache"])
    assert one.label == "red"


def test_what_is_understood_needs_no_keras_hub(preset):
    code = (
        "import sys; from tlfeat.backbones.network_files import describe_network, find_network; "
        f"row = find_network('hub:{preset}'); print(row.size, row.parameters); "
        f"describe_network('hub:{preset}'); print('keras' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.split() == ["32", "7856", "False"]
    told = describe_network(f"hub:{preset}")
    assert told["input"] == "pictures, of ViTBackbone"
    assert told["pictures"] == "32x32 pixels, RGB"


def test_another_preprocessing_is_another_network(preset):
    before = find_network(f"hub:{preset}").file.digest
    file = preset / "image_converter.json"
    kept = file.read_text()
    values = json.loads(kept)
    values["config"]["offset"] = 0.0
    file.write_text(json.dumps(values))
    assert find_network(f"hub:{preset}").file.digest != before
    file.write_text(kept)
    assert find_network(f"hub:{preset}").file.digest == before


def test_what_cannot_be_had_is_one_sentence(preset, tmp_path, monkeypatch):
    import kagglehub

    def unreachable(handle):
        raise ConnectionError(f"no route to {handle}\nand more")

    monkeypatch.setattr(kagglehub, "model_download", unreachable)
    for named, kind, said in (
        ("hub:dinov2_small", WeightsError, r"no route to keras/dinov2.*: name a folder that has"),
        ("hub:dinov2_smal", UnknownName, r"no preset 'dinov2_smal'. Did you mean 'dinov2_small'"),
        (f"hub:{tmp_path}/none", WeightsError, "There is no preset at"),
        (f"hub:{tmp_path}", NetworkError, "wanted a whole preset of keras-hub"),
    ):
        with pytest.raises(kind, match=said) as error:
            find_network(named)
        assert "\n" not in str(error.value)
    with pytest.raises(NetworkError, match="has its own weights"):
        find_network(f"hub:{preset}", "random")
    text = tmp_path / "text"
    text.mkdir()
    (text / "image_converter.json").write_text('{"config": {}}')
    (text / "config.json").write_text('{"class_name": "BertBackbone", "config": {}}')
    with pytest.raises(NetworkError, match="is a BertBackbone, which takes no squares"):
        find_network(f"hub:{text}")
    monkeypatch.setitem(sys.modules, "keras_hub", None)
    with pytest.raises(NetworkError, match=r"pip install 'tlfeat\[hub\]'"):
        find_network("hub:dinov2_small")


def test_presets_of_networks_for_pictures_are_known():
    handles = hub._handles()
    assert {"dinov2_small", "siglip_base_patch16_224", "resnet_18_imagenet"} <= handles.keys()
    assert not any(name.startswith(("bert", "gemma", "llama")) for name in handles)


def test_tokens_are_told_apart():
    assert read_tokens("it", 196, None)[:2] == (0, 14)
    assert read_tokens("it", 261, None) == (5, 16, "class")
    assert read_tokens("it", 197, "class+mean").columns(8) == 16
    with pytest.raises(TlfeatError, match="206 tokens, which are not a square"):
        read_tokens("it", 206, None)


def test_a_study_names_a_preset_and_goes_on_with_it(preset, pictures, tmp_path):
    study = tmp_path / "own.toml"
    study.write_text(
        f'schema = 1\nname = "own"\n[data]\npath = {json.dumps(str(pictures))}\n'
        f'[[run]]\nname = "lda"\nhead = "lda"\nbackbone = "hub:{preset}"\n'
    )
    where = {"cache": tmp_path / "cache", "reports": tmp_path / "reports"}
    [run] = run_study(study, **where).runs
    assert run.backbone == "small_vit.hub"
    assert run.stand_in is None
    again = run_study(tmp_path / "reports" / "own" / "study.toml", **where)
    assert [one.id for one in again.runs] == [run.id]
