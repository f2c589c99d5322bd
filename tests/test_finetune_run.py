"""A fine-tune from pictures to its run folder, on the plain network, which is built quickly."""

import csv
import os
import signal
import subprocess
import sys
import textwrap
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from pictures import COLOURS, encode, write
from sklearn.metrics import precision_recall_fscore_support

from tlfeat.data.decode import decode
from tlfeat.data.resize import Resize
from tlfeat.errors import TlfeatError
from tlfeat.finetuning.plan import Phase
from tlfeat.finetuning.settings import Classifier
from tlfeat.studies.finetune import finetune
from tlfeat.watch import Watch

FAST = {"size": 16, "batch": 8}


@pytest.fixture
def train(tmp_path):
    def go(pictures, *phases, backbone="plain-cnn", **settings):
        backbone = None if "start" in settings else backbone
        given = phases or (Phase("scratch", 2),)
        where = {"cache": tmp_path / "store", "reports": tmp_path / "reports"}
        return finetune(pictures, backbone, given, **{**FAST, **where, **settings})

    return go


def history(run):
    with (run.path / "history.csv").open() as file:
        return list(csv.DictReader(file))


def test_a_run_leaves_all_that_is_promised(train, pictures):
    run = train(pictures, h5=True, keep="all")
    there = {str(path.relative_to(run.path)) for path in run.path.rglob("*") if path.is_file()}
    assert there >= {
        "run.json",
        "predictions.parquet",
        "model.keras",
        "model.h5",
        "history.csv",
        "summary.txt",
        "curves.png",
        "checkpoints/epoch-0001.weights.h5",
        "checkpoints/epoch-0002.weights.h5",
    }
    assert "checkpoints/resume.npz" not in there
    assert any(name.startswith("tensorboard/validation/") for name in there)
    record = run.record
    assert record["kind"] == "finetune"
    assert set(record["metrics"]) == {"train", "validation", "test"}
    assert {f"predict_{split}" for split in record["metrics"]} < set(record["seconds"])
    assert record["parameters"]["total"] == record["parameters"]["trainable"] > 100_000
    assert record["file_bytes"] == (run.path / "model.keras").stat().st_size
    assert record["n_train"] == record["metrics"]["train"]["n"]


def test_metrics_are_those_of_scikit_learn_on_the_predictions(train, pictures):
    run = train(pictures)
    table = run.predictions()
    for split, metrics in run.metrics.items():
        rows = table[table["split"] == split]
        occurs = sorted({*rows["true"], *rows["predicted"]})
        expected = precision_recall_fscore_support(
            rows["true"], rows["predicted"], labels=occurs, average="macro", zero_division=0
        )
        found = [metrics[f"{name}_macro"] for name in ("precision", "recall", "f1")]
        assert found == pytest.approx(expected[:3])
        assert metrics["accuracy"] == (rows["true"] == rows["predicted"]).mean()


def test_fold_0_of_train_is_held_out_where_there_is_no_validation(train, pictures):
    run = train(pictures)
    table = run.predictions()
    assert set(table[table["split"] == "validation"]["fold"]) == {0}
    assert table[table["split"] == "train"]["fold"].isna().all()
    assert not set(table[table["split"] == "train"]["id"]) & set(
        table[table["split"] == "validation"]["id"]
    )
    assert len(table) == 36


def test_the_same_seed_gives_the_same_numbers_and_another_seed_others(train, pictures):
    one = train(pictures, run_name="one")
    two = train(pictures, reports=one.path.parents[2] / "again")
    other = train(pictures, seed=1)
    scores = [f"score_{i}" for i in range(3)]
    pd.testing.assert_frame_equal(one.predictions(), two.predictions())
    assert not np.allclose(one.predictions()[scores].max(), other.predictions()[scores].max())


def test_a_finished_run_is_not_trained_again(train, pictures, monkeypatch):
    first = train(pictures)
    monkeypatch.setattr(
        "tlfeat.finetuning.loop.Training.run", lambda *_: pytest.fail("trained again")
    )
    assert train(pictures).record == first.record


def test_phases_make_one_curve_and_each_begins_with_a_warm_up(train, pictures):
    run = train(
        pictures,
        Phase("scratch", 2, warmup=3, schedule="constant", learning_rate=1e-3),
        Phase("full", 1, warmup=1, schedule="constant", learning_rate=1e-4),
    )
    rows = history(run)
    assert [(row["epoch"], row["phase"], row["mode"]) for row in rows] == [
        ("1", "1", "scratch"),
        ("2", "1", "scratch"),
        ("3", "2", "full"),
    ]
    rates = [float(row["learning_rate"]) for row in rows]
    assert rates[1:] == pytest.approx([1e-3, 1e-4])
    assert [phase["trained_epochs"] for phase in run.record["phases"]] == [2, 1]


def test_no_epochs_means_only_evaluated(train, pictures):
    run = train(pictures, Phase("scratch", 0))
    assert history(run) == []
    assert run.record["parameters"]["trainable"] > 0
    assert run.metrics["test"]["n"] > 0


def test_mse_labels_weights_and_clipping_train_too(train, pictures):
    phase = Phase(
        "scratch",
        1,
        optimizer="sgd:momentum=0.8",
        schedule="plateau:patience=1",
        class_weight="balanced",
        clip_norm=1.0,
    )
    run = train(pictures, phase, loss="mse", top=Classifier(hidden=(8,), dropout=0.2))
    assert 0 < float(history(run)[0]["val_loss"]) < 0.5


def test_early_stopping_goes_back_to_the_best_epoch(train, pictures):
    run = train(pictures, Phase("scratch", 8, learning_rate=0.05, schedule="constant", patience=1))
    rows = history(run)
    losses = [float(row["val_loss"]) for row in rows]
    assert len(rows) < 8
    assert "went back" in run.record["warnings"][-1]
    assert run.metrics["validation"]["log_loss"] == pytest.approx(min(losses), rel=1e-3)


def test_a_phase_that_only_harms_ends_where_it_began(train, pictures):
    first = Phase("scratch", 2)
    harm = Phase("full", 2, learning_rate=0.5, schedule="constant", warmup=0, patience=1)
    good = train(pictures, first)
    run = train(pictures, first, harm)
    assert "went back to its epoch 0" in run.record["warnings"][-1]
    rows = history(run)
    assert len(rows) == 3  # one epoch was enough to see it
    assert float(rows[2]["val_loss"]) > float(rows[1]["val_loss"])
    pd.testing.assert_frame_equal(run.predictions(), good.predictions())


def test_a_loss_that_is_no_number_is_an_error(train, pictures):
    phase = Phase("scratch", 2, learning_rate=1e3, schedule="constant", optimizer="sgd", warmup=0)
    with pytest.raises(TlfeatError, match="lower the learning rate"):
        train(pictures, phase)


def test_pictures_beyond_the_budget_are_decoded_again_and_give_the_same_run(
    train, pictures, monkeypatch
):
    decoded = []

    def counted(*arguments):
        decoded.append(arguments)
        return decode(*arguments)

    monkeypatch.setattr("tlfeat.finetuning.pictures.decode", counted)
    kept = train(pictures)
    once = len(decoded)
    assert once == 36
    again = train(pictures, memory=1000, reports=kept.path.parents[2] / "again")
    epoch = sum(again.metrics[split]["n"] for split in ("train", "validation"))
    assert len(decoded) - once >= 36 + 2 * epoch + 36  # looked at, two epochs, evaluated
    pd.testing.assert_frame_equal(kept.predictions(), again.predictions())


def test_a_picture_that_vanishes_while_it_is_trained_on_is_named(train, pictures):
    class Thief(Watch):
        def start(self, what, total):
            if what.startswith("training"):
                for path in pictures.glob("red/*"):
                    path.unlink()

    with pytest.raises(TlfeatError, match=r"red/red-\d+.png can no longer be decoded"):
        train(pictures, memory=1000, watch=Thief())


def test_a_picture_that_cannot_be_decoded_is_left_out_and_said_so(train, pictures):
    (pictures / "red" / "broken.png").write_bytes(b"no picture")
    run = train(pictures, Phase("scratch", 0))
    assert len(run.predictions()) == 36
    assert [one["id"] for one in run.record["dataset"]["skipped"]] == ["red/broken.png"]


def test_a_run_starts_from_the_checkpoint_of_another(train, pictures):
    first = train(pictures, keep="all")
    second = train(pictures, Phase("full", 1, 1e-6), start=f"{first.path}@1", size=None)
    assert second.record["parent"]["run"] == first.id
    assert second.record["parent"]["epoch"] == 1
    before = second.record["start"]["validation"]["loss"]
    assert before == pytest.approx(float(history(first)[0]["val_loss"]), rel=1e-4)
    assert second.id != train(pictures, Phase("full", 1, 1e-6), start=first.path, size=None).id


def test_a_run_starts_from_a_file_of_somebody_else_with_other_classes(train, pictures, tmp_path):
    import keras

    pixels = keras.Input((16, 16, 3))
    x = keras.layers.Rescaling(1 / 255)(pixels)
    x = keras.layers.Conv2D(8, 3, activation="relu", name="theirs")(x)
    x = keras.layers.GlobalAveragePooling2D()(x)
    model = keras.Model(pixels, keras.layers.Dense(7, activation="softmax")(x))
    model.save(tmp_path / "theirs.keras")
    run = train(pictures, Phase("frozen", 1), start=tmp_path / "theirs.keras", size=16)
    assert run.record["parameters"]["trainable"] == 8 * 3 + 3
    trained = keras.saving.load_model(run.path / "model.keras")
    np.testing.assert_array_equal(
        trained.get_layer("theirs").get_weights()[0], model.get_layer("theirs").get_weights()[0]
    )


def test_keras_alone_loads_the_model_and_gives_the_same_probabilities(train, pictures, tmp_path):
    run = train(pictures)
    table = run.predictions()
    squares = [decode((pictures / name).read_bytes(), 16, Resize()) for name in table["id"]]
    np.save(tmp_path / "squares.npy", np.stack(squares))
    code = f"""
        import sys, keras, numpy as np
        model = keras.saving.load_model({str(run.path / "model.keras")!r})
        scores = model.predict(np.load({str(tmp_path / "squares.npy")!r}), verbose=0)
        assert not any(name.startswith("tlfeat") for name in sys.modules)
        np.save({str(tmp_path / "scores.npy")!r}, scores)
    """
    subprocess.run([sys.executable, "-c", textwrap.dedent(code)], check=True)
    expected = table[[f"score_{i}" for i in range(3)]].to_numpy()
    np.testing.assert_allclose(np.load(tmp_path / "scores.npy"), expected, atol=1e-5)


BREAKS_OFF = """
    import os, signal
    from test_finetune_run import BROKEN, PHASES
    from tlfeat.studies.finetune import finetune
    from tlfeat.watch import Watch

    class Breaker(Watch):
        training, steps = False, 0

        def start(self, what, total):
            self.training = what.startswith("training")

        def step(self, n=1):
            self.steps += n if self.training else 0
            if self.steps == {at}:
                os.kill(os.getpid(), signal.{kind})

    finetune({pictures!r}, "plain-cnn", PHASES, cache={store!r}, reports={reports!r},
             watch=Breaker(), **BROKEN)
"""
# 23 pictures to train on: 3 steps an epoch
PHASES = [
    Phase("scratch", 3, patience=5, schedule="plateau:patience=1"),
    # which may end where it began, or between
    Phase("full", 2, patience=2, ema=0.9, wise_ft="on"),
]
BROKEN = {
    **FAST,
    "augment": ["flip", "rotation", "crop", "randaugment:num_ops=1"],
    "top": Classifier(dropout=0.3),
}


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory):
    folder = tmp_path_factory.mktemp("undisturbed")
    pictures = folder / "colours"
    random = np.random.default_rng(0)
    for name, colour in COLOURS.items():
        for number in range(12):
            noisy = random.normal(0, 40, (20, 20, 3)) + colour
            write(pictures / name / f"{number}.png", encode(noisy.clip(0, 255).astype(np.uint8)))
    where = {"cache": folder / "store", "reports": folder / "reports"}
    return pictures, finetune(pictures, "plain-cnn", PHASES, **where, **BROKEN)


@pytest.mark.parametrize(
    ("kind", "at"),
    [
        ("SIGKILL", 5),
        pytest.param("SIGINT", 11, marks=pytest.mark.slow),
        pytest.param("SIGKILL", 14, marks=pytest.mark.slow),
    ],
)
def test_a_run_that_is_broken_off_goes_on_as_if_nothing_had_happened(
    kind, at, undisturbed, train, tmp_path
):
    """In the middle of epoch 2, and of epochs 4 and 5, where the weights are averaged."""
    pictures, whole = undisturbed
    where = {"store": str(tmp_path / "store"), "reports": str(tmp_path / "reports")}
    code = BREAKS_OFF.format(at=at, kind=kind, pictures=str(pictures), **where)
    done = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(code)],
        capture_output=True,
        env={**os.environ, "PYTHONPATH": str(Path(__file__).parent)},
    )
    assert done.returncode == -getattr(signal, kind), done.stderr
    with pytest.raises(TlfeatError, match="--resume goes on with it"):
        train(pictures, *PHASES, **BROKEN)
    resumed = train(pictures, *PHASES, resume=True, **BROKEN)
    assert resumed.id == whole.id
    assert resumed.record["warnings"] == whole.record["warnings"]
    rows, again = history(whole), history(resumed)
    assert [row["epoch"] for row in again] == ["1", "2", "3", "4", "5"]
    for row, other in zip(rows, again, strict=True):
        assert row.pop("mode") == other.pop("mode")
        del row["seconds"], other["seconds"]
        found = [float(value) for value in other.values()]
        assert found == pytest.approx([float(value) for value in row.values()], abs=1e-4)
    scores = [f"score_{i}" for i in range(3)]
    np.testing.assert_allclose(
        resumed.predictions()[scores], whole.predictions()[scores], atol=1e-4
    )


def test_a_damaged_checkpoint_begins_anew_and_says_so(train, pictures, tmp_path):
    notes = []

    class Breaker(Watch):
        steps = 0

        def step(self, n=1):
            self.steps += n
            if self.steps > 42:  # 36 of them decode
                self.steps = -(10**6)
                raise KeyboardInterrupt

        def note(self, text):
            notes.append(text)

    with pytest.raises(KeyboardInterrupt):
        train(pictures, watch=Breaker())
    [resume] = (tmp_path / "reports").rglob("resume.npz")
    resume.write_bytes(resume.read_bytes()[:1000])
    watch = Breaker()
    watch.steps = -(10**6)
    run = train(pictures, resume=True, watch=watch)
    assert any("begins anew" in note for note in notes)
    assert [row["epoch"] for row in history(run)] == ["1", "2"]


def test_weights_that_nobody_could_check_stand_in_the_run(train, pictures, unchecked_mobilenet):
    run = train(pictures, Phase("frozen", 0), backbone="mobilenet", size=32)
    assert unchecked_mobilenet in run.record["warnings"]
