"""A run as one file says elsewhere what it says here, or is not left."""

import json
import shutil
import subprocess
import sys

import numpy as np
import pytest
from onnx_maker import write_onnx
from PIL import Image

from tlfeat import export, load_export, predict, train
from tlfeat.backbones.keras_runtime import import_keras
from tlfeat.backbones.network_facts import write_facts
from tlfeat.deploy import formats, head_layers, parity, whole_network
from tlfeat.deploy.exported_model import Parity
from tlfeat.deploy.formats import FORMATS
from tlfeat.errors import TlfeatError, UnknownName
from tlfeat.finetuning.plan import Phase
from tlfeat.studies.finetune import finetune

SIZE = 16
HEADS = ("logistic", "svm-rbf", "knn")


def small_network(path, classes=None):
    """Write a network of two layers, or with an answer for each class."""
    keras = import_keras()
    keras.utils.set_random_seed(0)
    pixels = keras.Input((SIZE, SIZE, 3))
    x = keras.layers.Conv2D(8, 3, activation="relu", name="places")(pixels)
    x = keras.layers.GlobalAveragePooling2D(name="row")(x)
    if classes:
        x = keras.layers.Dense(classes, activation="softmax")(x)
    keras.Model(pixels, x).save(path)
    write_facts(path, {"scaling": "torch"})
    return path


@pytest.fixture(scope="module")
def runs(tmp_path_factory):
    """Give runs of heads on a small network, and a fine-tune, by name."""
    from pictures import colour_folders

    root = tmp_path_factory.mktemp("export")
    pictures = colour_folders(root / "colours", per_class=30)
    turned = Image.Exif()
    turned[0x0112] = 6
    for number, path in enumerate(sorted(pictures.rglob("*-00?.png"))):  # as cameras leave them
        exif = turned.tobytes() if number % 2 else b""
        Image.open(path).resize((90, 60)).save(path.with_suffix(".jpg"), quality=90, exif=exif)
        path.unlink()
    where = {"cache": root / "cache", "reports": root / "reports"}
    network = small_network(root / "net.keras")
    found = {
        head: train(pictures, str(network), head, features="places:grid2", **where)
        for head in HEADS
    }
    start = small_network(root / "start.keras", classes=3)
    found["finetune"] = finetune(
        pictures, phases=[Phase("full", 1)], start=start, size=SIZE, batch=8, **where
    )
    return found


@pytest.fixture
def logistic(runs):
    return runs["logistic"]


def exported(run, tmp_path, kind="onnx", **more):
    cache = run.path.parents[3] / "cache"
    return export(run, kind, out=tmp_path / kind, cache=cache, **more)


@pytest.mark.parametrize("row", FORMATS, ids=lambda row: row.name)
@pytest.mark.parametrize("name", [*HEADS, "finetune"])
def test_every_format_says_what_the_run_says(runs, tmp_path, name, row):
    run = runs[name]
    done = exported(run, tmp_path, row.name)
    found = done.parity
    assert (found.pictures, found.same_label) == (64, 64)
    assert found.greatest_difference < 1e-4
    there = {path.name for path in done.folder.iterdir()}
    assert there >= {"labels.txt", "preprocess.json", "predict.py", "requirements.txt"}
    assert there >= {"README.md", "parity.json", row.model}
    assert done.labels == ("blue", "green", "red")
    # what was written is read again, and asked for by the verb for runs
    pictures = sorted((run.path.parents[3] / "colours" / "red").iterdir())[:3]
    again = list(predict(load_export(done.folder), pictures, top=3))
    for ours, theirs in zip(predict(run, pictures, top=3), again, strict=True):
        assert dict(theirs.top) == pytest.approx(dict(ours.top), abs=1e-4)


def test_the_card_says_what_it_is_and_how_good(logistic, tmp_path):
    card = (exported(logistic, tmp_path).folder / "README.md").read_text()
    accuracy = logistic.metrics["test"]["accuracy"]
    assert f"| accuracy | test | {accuracy:.3f} |" in card
    assert "licence of the weights: not stated" in card
    assert "| train | " in card
    assert "logistic, C " in card
    assert "Of 64 pictures of test and train" in card


def test_a_short_precision_states_what_it_costs(logistic, tmp_path):
    for kind, precision in (("litert", "int8"), ("litert", "float16"), ("openvino", "float16")):
        done = exported(logistic, tmp_path / precision, kind, precision=precision)
        found = done.parity
        assert found.accuracy is not None
        assert found.accuracy >= found.run_accuracy - 0.05
        assert "% right, and the run" in found.sentence(precision)
        assert (done.format, done.precision) == (kind, precision)


def wrong_scaling(monkeypatch):
    real = whole_network.network_of

    class Other:
        def __init__(self, request):
            self.request, self.is_of_keras = request, request.is_of_keras

        def build(self):
            keras = import_keras()
            network = self.request.build()
            pixels = keras.Input((SIZE, SIZE, 3), dtype="uint8")
            darker = keras.layers.Rescaling(0.5)(pixels)
            return keras.Model(pixels, network(darker))

    monkeypatch.setattr(whole_network, "network_of", lambda *given: Other(real(*given)))


def swapped_labels(monkeypatch):
    real = whole_network.WholeNetwork
    monkeypatch.setattr(
        whole_network, "WholeNetwork", lambda model, labels: real(model, labels[::-1])
    )


def missing_softmax(monkeypatch):
    class Layers:
        def __getattr__(self, name):
            if name == "Softmax":
                return lambda: lambda logits: logits
            return getattr(import_keras().layers, name)

    class Keras:
        layers = Layers()

        def __getattr__(self, name):
            return getattr(import_keras(), name)

    real = head_layers.head_layers
    monkeypatch.setattr(
        whole_network, "head_layers", lambda keras, head, x: real(Keras(), head, x)
    )


def another_square(monkeypatch):
    from tlfeat.deploy import export as module

    text = module.predict_script
    monkeypatch.setattr(
        module, "predict_script", lambda *given: text(*given).replace("BICUBIC", "NEAREST")
    )


@pytest.mark.parametrize(
    ("broken", "kind", "precision"),
    [
        (wrong_scaling, "onnx", "float32"),
        (swapped_labels, "onnx", "float32"),
        (swapped_labels, "litert", "int8"),
        (missing_softmax, "onnx", "float32"),
        (missing_softmax, "openvino", "float16"),
        (another_square, "onnx", "float32"),
    ],
)
def test_what_is_broken_is_seen_and_not_left(
    logistic, tmp_path, monkeypatch, broken, kind, precision
):
    broken(monkeypatch)
    with pytest.raises(TlfeatError, match="What was exported is not the run"):
        exported(logistic, tmp_path, kind, precision=precision)
    assert list(tmp_path.iterdir()) == []


def test_a_script_that_fails_leaves_nothing(logistic, tmp_path, monkeypatch):
    from tlfeat.deploy import export as module

    monkeypatch.setattr(module, "predict_script", lambda *given: "raise SystemExit('no such')")
    with pytest.raises(TlfeatError, match=r"predict\.py ended with: no such"):
        exported(logistic, tmp_path)
    assert list(tmp_path.iterdir()) == []


def test_its_file_is_a_backbone_too(logistic, tmp_path):
    done = exported(logistic, tmp_path)
    pictures = logistic.path.parents[3] / "colours"
    run = train(
        pictures, str(done.model), "lda", cache=tmp_path / "c", reports=tmp_path / "reports"
    )
    assert run.metrics["test"]["accuracy"] >= logistic.metrics["test"]["accuracy"] - 0.1


def test_a_head_on_another_frameworks_network_is_joined_by_openvino(tmp_path, make_pictures):
    network = write_onnx(tmp_path / "net.onnx")
    write_facts(network, {"scaling": "torch"})
    pictures = make_pictures(tmp_path / "colours")
    where = {"cache": tmp_path / "cache", "reports": tmp_path / "reports"}
    run = train(pictures, str(network), "svm-rbf", features="map:grid2", dtype="float16", **where)
    done = export(run, "openvino", cache=tmp_path / "cache")
    assert done.folder == run.path / "export" / "openvino"
    assert done.parity.same_label == done.parity.pictures == 36
    with pytest.raises(TlfeatError, match="take --format openvino"):
        export(run, "onnx", cache=tmp_path / "cache")


def test_pictures_that_are_no_files_go_through_png(tmp_path):
    network = small_network(tmp_path / "net.keras")
    where = {"cache": tmp_path / "cache", "reports": tmp_path / "reports"}
    rng = np.random.default_rng(0)
    y = np.arange(90) % 3
    X = (rng.integers(0, 80, (90, 12, 12)) + 80 * y[:, None, None]).astype(np.uint8)
    np.savez(tmp_path / "set.npz", x=X, y=y)
    run = train(tmp_path / "set.npz", str(network), "lda", **where)
    assert exported(run, tmp_path, dataset=tmp_path / "set.npz").parity.same_label == 64


def test_normalization_is_written_as_onnx_too(tmp_path, make_pictures):
    keras = import_keras()
    pixels = keras.Input((SIZE, SIZE, 3))
    scaled = keras.layers.Normalization(mean=[90, 100, 110], variance=[900, 1000, 1100])(pixels)
    inner = keras.Sequential([keras.layers.Conv2D(4, 3), keras.layers.BatchNormalization()])
    path = tmp_path / "net.keras"
    keras.Model(pixels, keras.layers.GlobalAveragePooling2D()(inner(scaled))).save(path)
    write_facts(path, {"scaling": "none"})
    where = {"cache": tmp_path / "cache", "reports": tmp_path / "reports"}
    run = train(make_pictures(tmp_path / "colours"), str(path), "logistic", **where)
    assert exported(run, tmp_path, dataset=tmp_path / "colours").parity.same_label == 36


def test_what_cannot_be_had_is_one_sentence(logistic, tmp_path, monkeypatch):
    with pytest.raises(UnknownName, match="Did you mean 'onnx'"):
        exported(logistic, tmp_path, "onx")
    with pytest.raises(TlfeatError, match="'int8' is had of litert"):
        exported(logistic, tmp_path, precision="int8")
    (tmp_path / "onnx").mkdir()
    (tmp_path / "onnx" / "mine.txt").write_text("kept")
    with pytest.raises(TlfeatError, match="name a new folder"):
        exported(logistic, tmp_path)
    assert (tmp_path / "onnx" / "mine.txt").read_text() == "kept"
    monkeypatch.setattr(formats, "find_spec", lambda name: None)
    with pytest.raises(TlfeatError, match=r"pip install 'tlfeat\[onnx\]'"):
        exported(logistic, tmp_path / "new")
    monkeypatch.undo()
    moved = logistic.changed(dataset={**logistic.record["dataset"], "source": "/no/such"})
    from tlfeat.deploy import export as module

    monkeypatch.setattr(module, "dataset_of", lambda *given: None)
    with pytest.raises(TlfeatError, match="say with --data where they are"):
        exported(moved, tmp_path / "new")


def test_a_run_in_a_short_precision_is_refused(logistic, tmp_path):
    recipes = [{**recipe, "precision": "bfloat16"} for recipe in logistic.record["recipes"]]
    with pytest.raises(TlfeatError, match="computes in bfloat16"):
        exported(logistic.changed(recipes=recipes), tmp_path)


def test_a_folder_that_is_no_export_or_of_another_rule_is_refused(logistic, tmp_path):
    with pytest.raises(TlfeatError, match="is not a folder that `tlfeat export` has written"):
        load_export(tmp_path)
    done = exported(logistic, tmp_path)
    rule = json.loads((done.folder / "preprocess.json").read_text())
    (done.folder / "preprocess.json").write_text(json.dumps({**rule, "decoder": 99}))
    with pytest.raises(TlfeatError, match="decoded by rule 99"):
        load_export(done.folder)
    with pytest.raises(TlfeatError, match="has no reject"):
        list(predict(done, [], reject=0.1))


def test_the_command_exports_and_predicts(logistic, tmp_path, run):
    out = tmp_path / "model"
    cache = logistic.path.parents[3] / "cache"
    said = run("export", logistic.path, "--format", "onnx", "--out", out, "--cache", cache)
    assert "Of 64 pictures of test and train" in said
    told = json.loads(run("export", logistic.path, "--format", "onnx", "--cache", cache, "--json"))
    assert told["folder"] == str(logistic.path / "export" / "onnx")
    assert told["parity"]["same_label"] == 64
    picture = logistic.path.parents[3] / "colours/red/red-010.png"
    assert ",red," in run("predict", out, picture)
    # and without any of it
    done = subprocess.run(
        [sys.executable, "-I", str(out / "predict.py"), str(picture)],
        capture_output=True,
        check=True,
        text=True,
    )
    assert json.loads(done.stdout)["label"] == "red"


def test_those_first_are_held(logistic):
    known = parity.known_pictures(logistic)
    n_test = logistic.metrics["test"]["n"]
    assert [one.split for one in known] == ["test"] * n_test + ["train"] * (90 - n_test)
    assert {one.label for one in known[:3]} == {"blue", "green", "red"}
    assert len({one.digest for one in known}) == 90


def test_only_pictures_that_the_run_knows_are_asked_for(logistic, tmp_path, make_pictures):
    changed = tmp_path / "changed"
    shutil.copytree(logistic.path.parents[3] / "colours", changed)
    broken = [*(changed / "red").iterdir()][:20]
    for path in broken:
        path.write_bytes(path.read_bytes()[:100])
    make_pictures(changed / "new", per_class=2, seed=5)
    done = exported(logistic, tmp_path, dataset=changed)
    assert done.parity.same_label == 64
    (changed / "blue").rename(tmp_path / "blue")
    assert exported(logistic, tmp_path / "fewer", dataset=changed).parity.pictures == 40
    others = make_pictures(tmp_path / "others", seed=7)
    for precision in ("float32", "int8"):
        with pytest.raises(TlfeatError, match="Not one of the pictures"):
            exported(logistic, tmp_path, "litert", dataset=others, precision=precision)


def found(**values):
    usual = {"pictures": 100, "splits": "test", "held": 100, "same_label": 100, "near": 0}
    usual |= {"greatest_difference": 0.0, "accuracy": 0.8, "run_accuracy": 0.8}
    return Parity(**usual | values)


def test_what_may_differ_depends_on_the_precision():
    for precision in ("float32", "float16", "int8"):
        assert found().problem(precision) is None
        assert "no numbers" in found(greatest_difference=np.inf).problem(precision)
        assert "another class of 50" in found(same_label=50).problem(precision)
        assert found(accuracy=0.7).problem(precision)
        assert found(same_label=50, near=50).problem(precision) is None
        assert found(held=0, accuracy=None, run_accuracy=None).problem(precision) is None
    assert found(same_label=99).problem("float32")
    assert found(same_label=99).problem("float16") is None
    assert found(greatest_difference=0.01).problem("float32")
    assert found(greatest_difference=0.01).problem("float16") is None
    assert found(greatest_difference=0.1).problem("float16")
    assert found(greatest_difference=0.1, same_label=91).problem("int8") is None


@pytest.mark.parametrize("answer", ["float('nan')", "float('inf')"])
def test_answers_that_are_no_numbers_are_refused(logistic, tmp_path, monkeypatch, answer):
    from tlfeat.deploy import export as module

    text = module.predict_script
    monkeypatch.setattr(
        module,
        "predict_script",
        lambda *given: text(*given).replace("[float(one) for", f"[{answer} for"),
    )
    with pytest.raises(TlfeatError, match="answers that are no numbers"):
        exported(logistic, tmp_path)


def test_what_lies_in_a_folder_of_before_is_not_lost(logistic, tmp_path, monkeypatch):
    cache = logistic.path.parents[3] / "cache"
    first = export(logistic, "openvino", cache=cache)
    again = export(logistic, "openvino", cache=cache)
    assert again.folder == first.folder
    (first.folder / "notes.txt").write_text("mine")
    with pytest.raises(TlfeatError, match=r"has notes\.txt, which is no part of an export"):
        export(logistic, "openvino", cache=cache)
    assert (first.folder / "notes.txt").read_text() == "mine"
    (first.folder / "notes.txt").unlink()
    monkeypatch.chdir(tmp_path)
    for place in (".", "file"):
        (tmp_path / "file").write_text("mine")
        with pytest.raises(TlfeatError, match="name a new folder"):
            export(logistic, "openvino", out=place, cache=cache)
    with pytest.raises(TlfeatError, match="cannot be written"):
        export(logistic, "openvino", out=tmp_path / "file" / "inside", cache=cache)
    monkeypatch.setenv("HOME", str(tmp_path))
    assert export(logistic, "openvino", out="~/home", cache=cache).folder == tmp_path / "home"


def test_a_picture_that_cannot_be_used_has_its_reason(logistic, tmp_path):
    done = exported(logistic, tmp_path)
    pictures = logistic.path.parents[3] / "colours" / "red"
    bad, deep = tmp_path / "bad.jpg", tmp_path / "deep.tiff"
    bad.write_text("no picture")
    Image.fromarray(np.full((20, 20), 0.5, np.float32)).save(deep)
    good = next(pictures.glob("*.png"))
    asked = [sys.executable, "-I", done.folder / "predict.py", bad, deep, good]
    said = subprocess.run(asked, capture_output=True, check=True, text=True).stdout
    answers = [json.loads(line) for line in said.splitlines()]
    assert [one["label"] for one in answers] == [None, None, "red"]
    assert "range nobody knows" in answers[1]["reason"]
    here = list(predict(done, [bad, deep, good]))
    assert [one.label for one in here] == [None, None, "red"]


def test_reading_an_export_needs_its_runtime_alone(logistic, tmp_path, monkeypatch):
    done = exported(logistic, tmp_path)
    monkeypatch.setitem(sys.modules, "tf2onnx", None)
    picture = logistic.path.parents[3] / "colours/red/red-010.png"
    assert next(predict(done, picture)).label == "red"
    monkeypatch.setitem(sys.modules, "onnxruntime", None)
    with pytest.raises(TlfeatError, match=r"needs onnxruntime .*pip install -r"):
        next(predict(done, picture))
    with pytest.raises(TlfeatError, match="has no engine"):
        next(predict(done, picture, engine="tensorflow"))
