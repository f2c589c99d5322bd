"""Every picture is embedded once, whatever happens."""

import errno
import json
import os
import subprocess
import sys

import numpy as np
import pytest
from conftest import SIZE
from disks import small_disk
from pictures import write
from PIL import Image

from tlfeat.data.dataset import open_dataset
from tlfeat.data.digests import DigestIndex
from tlfeat.data.sources.folder import FolderSource
from tlfeat.deploy.predict import predict
from tlfeat.errors import DataError, NetworkError, StoreError, TlfeatError
from tlfeat.features import costs, forward, pipeline
from tlfeat.features.costs import keep_costs
from tlfeat.features.export import write_features
from tlfeat.features.extract import embed, extract, seconds_an_image
from tlfeat.features.matrix import load_features
from tlfeat.features.reextract import reextract
from tlfeat.features.settings import FeatureSettings
from tlfeat.features.store import FeatureStore
from tlfeat.studies.train import train
from tlfeat.watch import Watch
from tlfeat.where import Where

BACKBONE = "efficientnet-lite0"


def opened(pictures, cache):
    return open_dataset(pictures, digests=DigestIndex(cache))


def embedded(pictures, cache, retry_failed=False, **where):
    request = FeatureSettings(BACKBONE, size=SIZE).resolve()
    return embed(
        opened(pictures, cache), [request], Where(cache, **where), retry_failed=retry_failed
    )


def test_features_have_a_row_for_each_picture(pictures, cache):
    features = extract(pictures, BACKBONE, size=SIZE, cache=cache)
    assert features.X.shape == (36, 1280)
    assert features.X.dtype == np.float32
    assert features.classes == ("blue", "green", "red")
    assert features.ids[0] == "blue/blue-000.png"
    assert set(features.split) == {"train", "test"}
    assert features.recipe.size == SIZE


def test_nothing_is_embedded_twice(pictures, cache, monkeypatch):
    assert embedded(pictures, cache).embedded == 36
    monkeypatch.setattr(FolderSource, "read", lambda *_: pytest.fail("a picture was opened"))
    assert embedded(pictures, cache).embedded == 0


def test_only_pictures_that_are_new_are_embedded(pictures, cache, make_pictures):
    embedded(pictures, cache)
    make_pictures(pictures, per_class=14)
    assert embedded(pictures, cache).embedded == 6


def test_a_changed_image_is_embedded_again(pictures, cache):
    before = extract(pictures, BACKBONE, size=SIZE, cache=cache)
    Image.new("RGB", (40, 40), "yellow").save(pictures / "red" / "red-003.png")
    assert embedded(pictures, cache).embedded == 1
    after = extract(pictures, BACKBONE, size=SIZE, cache=cache)
    row = after.ids.index("red/red-003.png")
    assert not np.allclose(before.X[row], after.X[row])
    np.testing.assert_array_equal(np.delete(before.X, row, 0), np.delete(after.X, row, 0))


@pytest.mark.parametrize("order", [(0, 1), (1, 0)])
def test_of_two_networks_each_gets_what_it_lacks(pictures, cache, make_pictures, order):
    requests = [
        FeatureSettings(BACKBONE, size=SIZE, weights="random", seed=seed).resolve()
        for seed in order
    ]
    embed(opened(pictures, cache), [requests[order.index(0)]], Where(cache))
    make_pictures(pictures, per_class=14)
    dataset = opened(pictures, cache)
    assert embed(dataset, requests, Where(cache)).embedded == 42
    assert all(
        len(load_features(dataset, request, FeatureStore(cache), {}).X) == 42
        for request in requests
    )


def test_a_picture_in_another_dataset_is_not_embedded_again(pictures, cache, tmp_path):
    embedded(pictures, cache)
    pictures.rename(tmp_path / "moved")
    (tmp_path / "moved" / "red").rename(tmp_path / "moved" / "crimson")
    assert embedded(tmp_path / "moved", cache).embedded == 0


def test_a_dataset_of_which_nothing_can_be_used_is_one_sentence(tmp_path, cache):
    for number in range(12):
        head = b"\0\0\0\x18ftypheic\0\0\0\0" + bytes([number])
        write(tmp_path / "phone" / "ab"[number % 2] / f"{number}.heic", head)
    for _ in range(2):  # the store knows it the second time
        with pytest.raises(DataError, match=r"^None of the 12 pictures .*: HEIC, .* to JPEG") as e:
            embedded(tmp_path / "phone", cache)
        assert str(e.value).count("HEIC") == 1


def test_a_broken_picture_is_a_counted_skip_and_never_tried_again(pictures, cache, monkeypatch):
    tried = []
    decode = forward.decode
    monkeypatch.setattr(forward, "decode", lambda *a: tried.append(1) or decode(*a))
    (pictures / "red" / "notes.jpg").write_text("no picture")
    (pictures / "red" / "torn.png").write_bytes((pictures / "red/red-000.png").read_bytes()[:900])
    (pictures / "red" / "empty.png").touch()
    first = embedded(pictures, cache)
    assert len(first.failures) == 2  # the empty file has no bytes to be known by
    assert (first.images, first.there, first.embedded) == (38, 0, 36)
    features = extract(pictures, BACKBONE, size=SIZE, cache=cache)
    assert len(features.ids) == 36
    assert sorted(one.id for one in features.skipped) == [
        "red/empty.png",
        "red/notes.jpg",
        "red/torn.png",
    ]
    assert all(one.reason for one in features.skipped)
    for retry, times in ((False, 0), (True, 2)):
        tried.clear()
        again = embedded(pictures, cache, retry_failed=retry)
        assert len(tried) == times
        assert (again.images, again.there, again.embedded) == (38, 36, 0)


def test_pictures_are_counted_once_however_many_sizes_they_are_embedded_in(pictures, cache):
    requests = [FeatureSettings(BACKBONE, size=size).resolve() for size in (SIZE, SIZE + 8)]
    done = embed(opened(pictures, cache), requests, Where(cache))
    assert (done.images, done.there, done.embedded) == (36, 0, 36)


def test_a_picture_that_vanishes_meanwhile_is_skipped_but_not_for_good(pictures, cache):
    dataset = opened(pictures, cache)
    victim = pictures / "red" / "red-000.png"
    data = victim.read_bytes()
    victim.unlink()
    request, store = FeatureSettings(BACKBONE, size=SIZE).resolve(), FeatureStore(cache)
    done = embed(dataset, [request], Where(store.root))
    assert list(done.failures.values()) == ["cannot be read: No such file or directory"]
    assert len(load_features(dataset, request, store, done.failures).ids) == 35
    victim.write_bytes(data)
    assert embedded(pictures, cache).failures == {}


def test_a_picture_that_changes_meanwhile_is_not_stored_under_its_old_key(pictures, cache):
    dataset = opened(pictures, cache)
    Image.new("RGB", (40, 40)).save(pictures / "red" / "red-000.png")
    done = embed(dataset, [FeatureSettings(BACKBONE, size=SIZE).resolve()], Where(cache))
    assert list(done.failures.values()) == ["changed while it was read: run again"]
    assert done.embedded == 35


def test_all_networks_of_a_size_share_one_decoding(pictures, cache, monkeypatch):
    calls = []
    decode = forward.decode
    monkeypatch.setattr(forward, "decode", lambda *a: calls.append(1) or decode(*a))
    requests = [
        FeatureSettings(BACKBONE, size=SIZE).resolve(),
        FeatureSettings(BACKBONE, "stage4:grid2+last:max", size=SIZE).resolve(),
        FeatureSettings("mobilenet", size=SIZE, weights="random").resolve(),
    ]
    dataset, store = opened(pictures, cache), FeatureStore(cache)
    embed(dataset, requests, Where(store.root))
    assert len(calls) == 36
    joined = load_features(dataset, requests[1], store)
    assert joined.X.shape == (36, 2 * 2 * 112 + 1280)
    alone = extract(pictures, BACKBONE, features="last:max", size=SIZE, cache=cache)
    np.testing.assert_array_equal(joined.X[:, -1280:], alone.X)


def test_half_precision_rows_are_read_as_float32(pictures, cache):
    full = extract(pictures, BACKBONE, size=SIZE, cache=cache)
    half = extract(pictures, BACKBONE, size=SIZE, dtype="float16", cache=cache)
    assert half.X.dtype == np.float32
    np.testing.assert_allclose(half.X, full.X, rtol=1e-3, atol=1e-4)


def test_the_cost_of_embedding_is_of_the_pictures_that_are_asked_for(
    pictures, cache, make_pictures, tmp_path
):
    request, store = FeatureSettings(BACKBONE, size=SIZE).resolve(), FeatureStore(cache)
    mine = [sample.digest for sample in opened(pictures, cache).samples]
    assert seconds_an_image(store, request, mine) is None
    embedded(pictures, cache)
    cost = seconds_an_image(store, request, mine)
    assert cost > 0
    others = make_pictures(tmp_path / "others", seed=1)
    theirs = [sample.digest for sample in opened(others, cache).samples]
    assert seconds_an_image(store, request, theirs) is None
    embedded(others, cache)
    entry = store.path_of(request.recipes[0].entry_name)
    keep_costs(entry, theirs, 1000.0 * len(theirs))  # as if these had been as slow
    assert seconds_an_image(store, request, mine) == cost
    assert seconds_an_image(store, request, [*mine, *theirs]) == pytest.approx(500, rel=0.1)


def test_what_another_machine_took_is_no_cost_here(pictures, cache, monkeypatch):
    embedded(pictures, cache)
    request, store = FeatureSettings(BACKBONE, size=SIZE).resolve(), FeatureStore(cache)
    digests = [sample.digest for sample in opened(pictures, cache).samples]
    monkeypatch.setattr(costs, "machine", lambda: {"processor": "another"})
    assert seconds_an_image(store, request, digests) is None


@pytest.mark.parametrize("content", [b"", b"null", b"SQLite format 3\0 and then no more"])
def test_a_spoilt_file_of_costs_costs_nothing_but_the_costs(pictures, cache, content):
    first = embedded(pictures, cache)
    request, store = FeatureSettings(BACKBONE, size=SIZE).resolve(), FeatureStore(cache)
    digests = [sample.digest for sample in opened(pictures, cache).samples]
    (store.path_of(request.recipes[0].entry_name) / costs.COSTS).write_bytes(content)
    assert seconds_an_image(store, request, digests) is None
    assert first.embedded == 36
    assert embedded(pictures, cache).embedded == 0


def test_an_interrupt_keeps_what_is_done(pictures, cache):
    class Impatient(Watch):
        def step(self, n=1):
            if n:
                raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        embedded(pictures, cache, watch=Impatient())
    assert 0 < embedded(pictures, cache).embedded < 36


class Listening(Watch):
    def __init__(self):
        self.notes = []

    def note(self, text):
        self.notes.append(text)


@pytest.mark.parametrize(
    ("seconds", "said"),  # of a chunk of 200 pictures, of 2,000
    [(1.0, []), (2.0, ["about 16 s"]), (11.0, ["about 88 s"]), (60.0, ["about 8 min"])],
)
def test_a_long_run_is_estimated_from_embedding_alone(seconds, said):
    watch = Listening()
    times = iter([100 + seconds * number for number in range(10)])  # 100: the first chunk
    estimate = pipeline._Estimate([], 2000, watch, clock=lambda: next(times))
    for _ in range(10):
        estimate.hear(200)
    assert len(watch.notes) == len(said)
    assert all(word in note for word, note in zip(said, watch.notes, strict=True))


def test_a_short_run_is_not_estimated(pictures, cache):
    watch = Listening()
    embedded(pictures, cache, watch=watch)
    assert watch.notes == []


def test_the_watch_hears_what_comes_before_the_first_picture(pictures, cache):
    heard = []

    class Hearing(Watch):
        def doing(self, text):
            heard.append(text)

        def start(self, what, total):
            heard.append(what)

    embedded(pictures, cache, watch=Hearing())
    assert heard[-1] == "embedding"
    assert any(BACKBONE in text for text in heard[:-1])


def test_inference_takes_as_many_threads_as_jobs(pictures, cache, monkeypatch):
    threads = []
    open_engine = forward.open_engine

    def heard(*args, **options):
        engine = open_engine(*args, **options)
        network = engine._requests[0].get_compiled_model()
        threads.append(network.get_property("INFERENCE_NUM_THREADS"))
        return engine

    monkeypatch.setattr(forward, "open_engine", heard)
    embedded(pictures, cache, engine="openvino", jobs=1)
    run = train(pictures, head="lda", size=SIZE, cache=cache, reports=cache / "reports")
    list(predict(run, pictures, cache=cache, engine="openvino", jobs=1))
    assert threads == [1, 1]


def test_a_picture_that_changed_is_not_compared_with_its_row(pictures, cache):
    embedded(pictures, cache)
    dataset, store = opened(pictures, cache), FeatureStore(cache)
    for path in pictures.rglob("*.png"):
        Image.new("RGB", (9, 9)).save(path)
    with pytest.raises(StoreError, match="is stored, and now changed while it was read"):
        reextract(store.open(store.names()[0]), dataset, 3, where=Where(cache))


def test_features_that_are_not_finite_are_an_error(pictures, cache, monkeypatch):
    class Broken:
        name, versions, batch = "broken", {}, 4

        def run(self, batches):
            for token, pixels in batches:
                yield token, [np.full((len(pixels), 1280), np.nan, np.float32)]

        def close(self):
            pass

    monkeypatch.setattr(forward, "open_engine", lambda *a, **k: Broken())
    with pytest.raises(NetworkError, match="not finite"):
        embedded(pictures, cache)


@pytest.mark.parametrize("file", ["features.npy", "index.sqlite"])
def test_a_flipped_byte_is_found_and_healed(pictures, cache, file):
    whole = extract(pictures, BACKBONE, size=SIZE, cache=cache)
    rows = whole.X.copy()  # not a view of the file that is about to be damaged
    path = cache / "features" / whole.recipe.entry_name / file
    data = bytearray(path.read_bytes())
    place = len(data) // 2 if file == "features.npy" else 100
    data[place] ^= 0xFF
    path.write_bytes(data)
    again = extract(pictures, BACKBONE, size=SIZE, cache=cache)
    np.testing.assert_array_equal(again.X, rows)
    assert path.parent.with_name(path.parent.name + ".damaged").is_dir()


def test_a_full_disk_is_one_sentence_and_loses_nothing(pictures, cache, monkeypatch):
    embedded(pictures, cache)
    Image.new("RGB", (9, 9)).save(pictures / "red" / "new.png")

    def full(*_):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(StoreError, match="disk is full"):
        embedded(pictures, cache)
    monkeypatch.undo()
    assert embedded(pictures, cache).embedded == 1


@pytest.mark.parametrize("name", ["matrix.npz", "matrix.parquet"])
def test_a_matrix_is_written_into_a_folder_whose_name_is_no_text(pictures, cache, tmp_path, name):
    features = extract(pictures, BACKBONE, size=SIZE, cache=cache)
    write_features(features, tmp_path / "caf\udce9" / name)
    assert (tmp_path / "caf\udce9" / name).exists()


@pytest.mark.parametrize("name", ["matrix.npz", "matrix.parquet"])
def test_a_matrix_that_does_not_fit_on_the_disk_leaves_the_old_file(
    pictures, cache, tmp_path, name
):
    features = extract(pictures, BACKBONE, size=SIZE, cache=cache)
    path = tmp_path / "out" / name
    write_features(features, path)
    before = path.read_bytes()
    with small_disk(9000), pytest.raises(TlfeatError, match=f"{name} cannot be written: the disk"):
        write_features(features, path)
    assert path.read_bytes() == before
    assert list(path.parent.iterdir()) == [path]


def test_too_small_a_disk_is_told_before_the_work(pictures, cache, monkeypatch):
    from tlfeat.features import extract as module

    class Usage:
        free = 1000

    monkeypatch.setattr(module.shutil, "disk_usage", lambda _: Usage)
    with pytest.raises(StoreError, match="--cache"):
        embedded(pictures, cache)


def test_a_warm_extraction_imports_neither_engine(pictures, cache):
    code = (
        "import sys, json; from tlfeat import extract; "
        f"extract({str(pictures)!r}, size={SIZE}, cache={str(cache)!r}); "
        "print(json.dumps(sorted({'tensorflow', 'keras', 'openvino'} & set(sys.modules))))"
    )
    embedded(pictures, cache)
    warm = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True)
    assert json.loads(warm.stdout) == []


def test_weights_that_nobody_could_check_are_noted_and_stand_in_the_run(
    pictures, cache, tmp_path, unchecked_mobilenet
):
    class Notes(Watch):
        def __init__(self):
            self.seen = []

        def note(self, text):
            self.seen.append(text)

    watch = Notes()
    extract(pictures, "mobilenet", size=SIZE, cache=cache, watch=watch)
    assert watch.seen.count(unchecked_mobilenet) == 1
    where = {"size": SIZE, "cache": cache, "reports": tmp_path / "reports"}
    run = train(pictures, "mobilenet", "nearest-centroid", **where)
    assert unchecked_mobilenet in run.record["warnings"]
    run = train(pictures, BACKBONE, "nearest-centroid", **where)
    assert not any("checked" in warning for warning in run.record["warnings"])
