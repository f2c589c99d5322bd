"""Networks in bfloat16: where they run, what is said of it, and what is refused."""

import json

import numpy as np
import pytest

from tlfeat import extract, finetune, predict, train
from tlfeat.backbones.engines import NetworkRequest, open_engine
from tlfeat.backbones.exported import is_exported, sample_pictures
from tlfeat.backbones.likeness import least_cosine
from tlfeat.backbones.openvino_package import import_openvino
from tlfeat.backbones.table import Output, get_backbone
from tlfeat.backbones.weights import resolve_weights
from tlfeat.data.digests import digest_of
from tlfeat.errors import NetworkError, TlfeatError

LITE0 = get_backbone("efficientnet-lite0")
SIZE = 64
HAS_BFLOAT16 = "BF16" in import_openvino().Core().get_property("CPU", "OPTIMIZATION_CAPABILITIES")
needs_bfloat16 = pytest.mark.skipif(not HAS_BFLOAT16, reason="a processor without bfloat16")


def request(precision="bfloat16"):
    return NetworkRequest(
        LITE0, SIZE, resolve_weights(LITE0), (Output("last"), Output("stage4", "grid2")), precision
    )


def rows(engine, n=6):
    pictures = sample_pictures(SIZE, n)
    batches = [(i, pictures[i : i + engine.batch]) for i in range(0, len(pictures), engine.batch)]
    found = [features for _, features in engine.run(batches)]
    engine.close()
    return [np.concatenate(one) for one in zip(*found, strict=True)]


@pytest.fixture(scope="module")
def cache(tmp_path_factory):
    """A store with the exported network in it."""
    folder = tmp_path_factory.mktemp("cache")
    open_engine(request("float32"), "openvino", folder).close()
    return folder


@pytest.fixture(scope="module")
def float32(cache):
    return rows(open_engine(request("float32"), "openvino", cache))


@needs_bfloat16
def test_features_in_bfloat16_are_near_and_others(cache, float32):
    ours = rows(open_engine(request(), "openvino", cache))
    assert {one.dtype for one in ours} == {np.dtype("float32")}
    assert 0.98 < least_cosine(ours, float32) < 1 - 1e-6


@needs_bfloat16
def test_the_export_in_float32_serves_and_how_near_it_is_is_said_once(cache):
    assert is_exported(request(), cache)
    for kept in cache.rglob("bfloat16-*.json"):
        kept.unlink()
    notes = []
    open_engine(request(), "auto", cache, on_note=notes.append).close()
    [said] = notes
    assert "computes in bfloat16 here" in said
    [kept] = cache.rglob("bfloat16-*.json")
    cosine = json.loads(kept.read_text())["least_cosine"]
    assert f"at least {cosine:.4f}" in said
    assert len(list((cache / "networks").iterdir())) == 1
    open_engine(request(), "auto", cache, on_note=notes.append).close()
    assert notes == [said]
    kept.write_text(kept.read_text().replace('"processor": "', '"processor": "another '))
    open_engine(request(), "auto", cache, on_note=notes.append).close()
    assert notes == [said, said]


def test_another_precision_than_was_asked_for_is_never_taken(cache, monkeypatch):
    class Forgetful(import_openvino().Core):
        def get_property(self, device, name):
            return ["BF16"]

        def compile_model(self, network, device, settings):
            return super().compile_model(
                network, device, settings | {"INFERENCE_PRECISION_HINT": "f32"}
            )

    monkeypatch.setattr(import_openvino(), "Core", Forgetful)
    with pytest.raises(NetworkError, match="to compute in bfloat16 and computes in f32"):
        open_engine(request(), "openvino", cache)


def test_a_processor_without_it_is_told_so(cache, monkeypatch):
    class Core:
        def get_property(self, device, name):
            return ["FP32", "INT8"]

    monkeypatch.setattr(import_openvino(), "Core", Core)
    for engine in ("auto", "openvino"):
        with pytest.raises(NetworkError, match=r"does not compute in bfloat16 .* FP32, INT8"):
            open_engine(request(), engine, cache)


def test_tensorflow_has_it_on_any_processor(float32):
    engine = open_engine(request(), "tensorflow")
    ours = rows(engine)
    assert engine.name == "tensorflow"
    assert {one.dtype for one in ours} == {np.dtype("float32")}
    assert 0.98 < least_cosine(ours, float32) < 1 - 1e-6


@needs_bfloat16
def test_a_head_predicts_in_what_its_features_were_made_in(pictures, tmp_path):
    cache = tmp_path / "cache"
    where = {"size": SIZE, "cache": cache, "reports": tmp_path / "reports"}
    plain = extract(pictures, size=SIZE, cache=cache)
    other = extract(pictures, size=SIZE, cache=cache, precision="bfloat16")
    assert plain.recipes[0].digest != other.recipes[0].digest
    assert 0.98 < least_cosine([plain.X], [other.X]) < 1
    run = train(pictures, head="nearest-centroid", precision="bfloat16", **where)
    assert "bfloat16" in run.name
    [one] = predict(run, pictures / "red" / "red-000.png", cache=cache)
    row = other.digests.index(digest_of((pictures / "red" / "red-000.png").read_bytes()))
    [scores] = run.head().scores(other.X[[row]])
    assert one.score == pytest.approx(scores.max(), abs=1e-6)
    with pytest.raises(TlfeatError, match="on features in bfloat16 and takes no others"):
        next(predict(run, pictures, precision="float32", cache=cache))


def test_a_network_is_not_trained_in_bfloat16(pictures, tmp_path):
    with pytest.raises(TlfeatError, match=r"trained in float32 or mixed, not in bfloat16"):
        finetune(pictures, phases="full", precision="bfloat16", reports=tmp_path)


def test_least_cosine():
    one = [np.array([[1.0, 0.0], [0.0, 0.0]])]
    assert least_cosine(one, one) == 1
    assert least_cosine(one, [np.array([[1.0, 1.0], [0.0, 0.0]])]) == pytest.approx(0.5**0.5)
    assert np.isnan(least_cosine(one, [np.array([[1.0, np.nan], [0.0, 0.0]])]))
