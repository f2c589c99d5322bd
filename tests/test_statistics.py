"""Intervals: against scipy, against resampling by hand, and where plain methods fail."""

import json

import numpy as np
import pytest
from made_study import made_rows, make_run
from scipy.stats import binomtest
from sklearn.metrics import f1_score, roc_auc_score

from tlfeat.runs.metrics import evaluate
from tlfeat.runs.predictions import SplitPredictions, aligned, read_predictions
from tlfeat.runs.statistics import INTERVALS, run_intervals, split_intervals, wilson

RANDOM = np.random.default_rng(0)
CLASSES = ["a", "b", "c"]


def predictions(true, scores, groups=None):
    ids = np.array([str(i) for i in range(len(true))], dtype=object)
    groups = np.full(len(true), None, dtype=object) if groups is None else groups
    return SplitPredictions(ids, ids, groups, true, scores.argmax(axis=1), scores)


def probabilities(true, k, skill=1.5):
    scores = np.exp(RANDOM.normal(size=(len(true), k)) + skill * np.eye(k)[true])
    return (scores / scores.sum(axis=1, keepdims=True)).astype(np.float32)


def intervals(true, scores, classes=CLASSES, groups=None, kind="probability"):
    metrics = evaluate(true, scores, classes, kind)
    return metrics, split_intervals(predictions(true, scores, groups), metrics, classes)


@pytest.mark.parametrize(("k", "n"), [(0, 7), (7, 7), (1, 3), (97, 100), (50, 100), (310, 372)])
def test_wilson_equals_scipys_with_continuity_correction(k, n):
    wanted = binomtest(k, n).proportion_ci(method="wilsoncc")
    assert [float(end) for end in wilson(k / n, n)] == pytest.approx([wanted.low, wanted.high])


def test_no_samples_tell_nothing():
    assert [float(end) for end in wilson(0.0, 0)] == [0, 1]


def test_every_interval_holds_its_value():
    true = RANDOM.integers(0, 3, 300)
    metrics, found = intervals(true, probabilities(true, 3))
    for name, ends in found.items():
        if name != "per_class":
            assert ends[0] < metrics[name] < ends[1], name
    for name, parts in found["per_class"].items():
        for metric, ends in parts.items():
            assert ends[0] <= metrics["per_class"][name][metric] <= ends[1]


def test_accuracy_of_single_pictures_is_wilsons():
    true = RANDOM.integers(0, 3, 200)
    metrics, found = intervals(true, probabilities(true, 3))
    wanted = binomtest(round(200 * metrics["accuracy"]), 200).proportion_ci(method="wilsoncc")
    assert found["accuracy"] == pytest.approx([wanted.low, wanted.high])


def test_macro_f1_is_as_wide_as_the_percentiles_of_resampling_by_hand():
    true = RANDOM.integers(0, 3, 400)
    scores = probabilities(true, 3)
    _, found = intervals(true, scores)
    predicted, drawn = scores.argmax(axis=1), []
    for _ in range(600):
        some = RANDOM.integers(0, 400, 400)
        drawn.append(f1_score(true[some], predicted[some], average="macro"))
    assert found["f1_macro"] == pytest.approx(np.quantile(drawn, [0.025, 0.975]), abs=0.012)


def test_roc_auc_is_as_wide_as_the_percentiles_of_resampling_by_hand():
    true = RANDOM.integers(0, 2, 300)
    scores = probabilities(true, 2, skill=0.8)
    _, found = intervals(true, scores, ["a", "b"])
    drawn = []
    for _ in range(600):
        some = RANDOM.integers(0, 300, 300)
        drawn.append(roc_auc_score(true[some], scores[some, 1]))
    assert found["roc_auc"] == pytest.approx(np.quantile(drawn, [0.025, 0.975]), abs=0.02)


def test_a_run_without_a_mistake_is_not_sure_of_itself():
    true = np.arange(60) % 3
    _, found = intervals(true, np.eye(3, dtype=np.float32)[true])
    for name in ("accuracy", "balanced_accuracy", "f1_macro", "recall_macro"):
        assert 0.85 < found[name][0] < 0.96
        assert found[name][1] == 1
    assert found["per_class"]["a"]["recall"][0] < 0.85


def test_pictures_of_one_group_count_as_few():
    # Ten copies of each of 40 pictures: as wide as 40 pictures, not as 400.
    true = np.repeat(RANDOM.integers(0, 3, 40), 10)
    scores = np.repeat(probabilities(true[::10], 3), 10, axis=0)
    groups = np.repeat([f"g{i}" for i in range(40)], 10).astype(object)
    _, alone = intervals(true[::10], scores[::10])
    _, apart = intervals(true, scores)
    _, grouped = intervals(true, scores, groups=groups)
    for name in ("accuracy", "balanced_accuracy", "f1_macro", "roc_auc", "log_loss"):
        wide = {key: np.ptp(one[name]) for key, one in
                (("alone", alone), ("apart", apart), ("grouped", grouped))}  # fmt: skip
        assert wide["grouped"] == pytest.approx(wide["alone"], rel=0.25), name
        assert wide["apart"] < 0.5 * wide["grouped"], name
    assert np.ptp(grouped["per_class"]["a"]["f1"]) > 1.8 * np.ptp(apart["per_class"]["a"]["f1"])


def test_two_classes_have_the_positive_ones_intervals():
    true = RANDOM.integers(0, 2, 100)
    _, found = intervals(true, probabilities(true, 2), ["normal", "tumour"])
    assert found["f1"] == found["per_class"]["tumour"]["f1"]


def test_scores_have_no_interval_of_log_loss():
    true = RANDOM.integers(0, 3, 50)
    _, found = intervals(true, RANDOM.normal(size=(50, 3)), kind="score")
    assert "log_loss" not in found
    assert "roc_auc" in found


def test_intervals_are_computed_once_and_again_when_the_run_is_another(tmp_path, monkeypatch):
    rows = made_rows(CLASSES, {"train": 30, "validation": 30, "test": 60})
    run = make_run(tmp_path, "one", CLASSES, rows)
    first = run_intervals(run)
    assert set(first) == {"validation", "test"}
    monkeypatch.setattr(
        "tlfeat.runs.statistics.read_predictions", lambda *_: pytest.fail("computed again")
    )
    assert run_intervals(run) == first
    kept = json.loads((run.path / INTERVALS).read_text())
    (run.path / INTERVALS).write_text(json.dumps({**kept, "key": {"run": "another"}}))
    monkeypatch.undo()
    assert run_intervals(run) == first


def test_a_network_may_have_more_outputs_than_there_are_classes(tmp_path):
    rows = made_rows(CLASSES, {"train": 30, "validation": 30, "test": 60})
    run = make_run(tmp_path, "base", CLASSES, rows, outputs=9, skill=0.5)
    assert read_predictions(run, "test").predicted.max() > 2
    found = run_intervals(run)["test"]
    assert set(found["per_class"]) == set(CLASSES)
    assert found["accuracy"][0] < run.metrics["test"]["accuracy"] < found["accuracy"][1]


def test_predictions_are_brought_into_one_order():
    true = np.arange(6) % 3
    one = predictions(true, np.eye(3)[true])
    turned = SplitPredictions(
        *(getattr(one, name)[::-1] for name in ("ids", "digests", "groups", "true", "predicted")),
        one.scores[::-1],
    )
    both = aligned([one, turned])
    assert both is not None
    assert (both[1].ids == one.ids).all()
    assert (both[1].predicted == one.predicted).all()
    other = SplitPredictions(np.array(list("uvwxyz"), object), *(getattr(one, f) for f in
                    ("digests", "groups", "true", "predicted")))  # fmt: skip
    assert aligned([one, other]) is None


def test_a_class_of_two_pictures_makes_a_mean_over_classes_unsure():
    true = np.repeat([0, 1, 2], [60, 60, 2])
    scores = np.eye(3, dtype=np.float32)[true]
    scores[:12] = scores[:12][:, [1, 0, 2]]  # of the first class a fifth is wrong
    metrics, found = intervals(true, scores)
    assert metrics["per_class"]["c"]["recall"] == 1
    low = found["per_class"]["c"]["recall"][0]
    assert low < 0.4
    assert found["balanced_accuracy"][0] <= metrics["balanced_accuracy"] - (1 - low) / 3


def test_the_interval_of_log_loss_holds_its_value_where_scores_are_saturated():
    true = RANDOM.integers(0, 3, 200)
    called = np.where(RANDOM.random(200) < 0.8, true, (true + 1) % 3)
    metrics, ends = intervals(true, np.eye(3, dtype=np.float32)[called])
    assert ends["log_loss"][0] < metrics["log_loss"] < ends["log_loss"][1]
    assert metrics["log_loss"] == pytest.approx(-np.log(1e-15) * (true != called).mean())
