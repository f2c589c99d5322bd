"""What the user wants optimised: in the search, in the run's name, id and record, in the table."""

import json
from dataclasses import replace

import numpy as np
import pytest
import sklearn.metrics as reference
from made_study import made_rows, make_run, seeded
from typer.testing import CliRunner

import tlfeat
from tlfeat.errors import UnknownName
from tlfeat.features.settings import FeatureSettings
from tlfeat.heads.fit import fit_head
from tlfeat.heads.metric import METRICS
from tlfeat.report.commands import commands
from tlfeat.runs.fields import problem_of
from tlfeat.runs.measured import Rows, measure, of_means
from tlfeat.runs.orders import HeadPlan, head_name
from tlfeat.runs.ranked import seed_families
from tlfeat.runs.ranking import rank
from tlfeat.runs.record import PREDICTIONS
from tlfeat.runs.results import caption, leaderboard
from tlfeat.runs.writing import write_record
from tlfeat.studies.plan import parse_study
from tlfeat.studies.schema import StudyError
from tlfeat_cli.app import app

CLASSES = ["a", "b", "c"]
ROWS = made_rows(CLASSES, {"train": 120, "test": 120})
TITLES = {
    "accuracy": "val %",
    "balanced-accuracy": "val balanced %",
    "macro-f1": "val F1 %",
    "log-loss": "val log loss",
    "roc-auc": "val AUC",
}
every_metric = pytest.mark.parametrize("metric", METRICS)


def chosen_by(run, metric):
    return write_record(run.path, {**run.record, "head": {**run.record["head"], "metric": metric}})


def uneven_rows(n=400, seed=0):
    """Give scores of three classes, 8 to 1 to 1, as a middling head would."""
    random = np.random.default_rng(seed)
    true = random.choice(3, n, p=[0.8, 0.1, 0.1])
    logits = random.normal(size=(n, 3)) + 1.2 * np.eye(3)[true] + [0.8, 0, 0]
    scores = np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)
    losses = -np.log(scores[np.arange(n), true])
    names = np.arange(n).astype(str)
    return Rows(names, true, scores.argmax(axis=1), scores, losses, names, np.full(n, None))


def value_of(metric, rows):
    right = (rows.true == rows.predicted).astype(float)
    return of_means(metric, rows.true, right, rows.losses) or measure(metric, rows)


@every_metric
def test_a_value_is_that_of_the_reference(metric):
    rows = uneven_rows()
    binary = [rows.true == j for j in range(3)]
    wanted = {
        "accuracy": reference.accuracy_score(rows.true, rows.predicted),
        "balanced-accuracy": reference.balanced_accuracy_score(rows.true, rows.predicted),
        "macro-f1": reference.f1_score(rows.true, rows.predicted, average="macro"),
        "log-loss": reference.log_loss(rows.true, rows.scores),
        "roc-auc": np.mean(
            [reference.roc_auc_score(one, rows.scores[:, j]) for j, one in enumerate(binary)]
        ),
    }
    found = value_of(metric, rows)
    assert found.value == pytest.approx(wanted[metric])
    assert found.parts.sum() == pytest.approx(0, abs=1e-9)


@every_metric
def test_a_standard_error_is_that_of_a_bootstrap(metric):
    rows, random = uneven_rows(), np.random.default_rng(1)
    draws = (rows.at(random.integers(0, 400, 400)) for _ in range(400))
    spread = np.std([value_of(metric, drawn).value for drawn in draws])
    error = np.sqrt((value_of(metric, rows).parts ** 2).sum())
    assert error == pytest.approx(spread, rel=0.15)


@every_metric
def test_runs_are_ranked_by_the_metric_that_is_asked_for(metric, tmp_path):
    runs = [
        make_run(tmp_path, f"run{i}", CLASSES, ROWS, skill=0.4 + 0.1 * i, seed=i) for i in range(5)
    ]
    ranked = rank(runs, metric=metric)
    key = {"balanced-accuracy": "balanced_accuracy", "macro-f1": "f1_macro",
           "log-loss": "log_loss", "roc-auc": "roc_auc"}.get(metric, metric)  # fmt: skip
    wanted = [run.metrics["validation"][key] for run in ranked]
    assert [line.standing.value for line in ranked] == pytest.approx(wanted, rel=1e-4)
    assert wanted == sorted(wanted, reverse=metric != "log-loss")
    column = next(one for one in leaderboard(ranked) if one.title == TITLES[metric])
    assert len(column.cells) == 5
    for run in runs:  # and the same of records alone
        (run.path / PREDICTIONS).unlink()
    without = rank(runs, metric=metric)
    assert [line.name for line in without] == [line.name for line in ranked]


def test_a_table_is_ranked_by_what_all_settings_were_chosen_by(tmp_path):
    runs = [make_run(tmp_path, name, CLASSES, ROWS, seed=i) for i, name in enumerate("xy")]
    runs = [chosen_by(run, "macro-f1") for run in runs]
    assert rank(runs)[0].standing.metric == "macro-f1"
    assert "ranked by macro F1 on 120 train pictures" in caption(rank(runs))
    assert "Best by macro F1 on validation: " in caption(rank(runs))
    mixed = [runs[0], chosen_by(runs[1], "log-loss")]
    assert rank(mixed)[0].standing.metric == "accuracy"
    said = caption(rank(mixed))
    assert "ranked by accuracy on" in said
    assert "settings were chosen by log loss or macro F1" in said


@pytest.mark.parametrize("metric", ["macro-f1", "roc-auc", "balanced-accuracy"])
def test_seeds_are_judged_together(metric, tmp_path):
    seeds = [seeded(tmp_path, "x", seed, 1.0) for seed in range(3)]
    (line,) = rank(seeds, metric=metric)
    alone = [rank([run], metric=metric)[0].standing for run in seeds]
    assert line.standing.value == pytest.approx(np.mean([one.value for one in alone]))
    assert 0 < line.standing.error < max(one.error for one in alone)


def test_of_accuracy_nothing_is_said(tmp_path):
    runs = [make_run(tmp_path, name, CLASSES, ROWS, seed=i) for i, name in enumerate("xy")]
    assert "ranked by 120 train pictures, out of fold" in caption(rank(runs))


def test_runs_of_other_metrics_are_no_seeds_of_one_another(tmp_path):
    run = make_run(tmp_path, "x", CLASSES, ROWS)
    other = chosen_by(make_run(tmp_path / "other", "x", CLASSES, ROWS), "log-loss")
    other = write_record(other.path, {**other.record, "seed": 1, "id": "other"})
    assert len(seed_families([run, other])) == 2


def test_what_is_usual_follows_the_class_weight():
    assert HeadPlan("lda").checked().metric == "accuracy"
    assert HeadPlan("lda", class_weight="balanced").checked().metric == "balanced-accuracy"
    assert HeadPlan("lda", metric="roc-auc", class_weight="balanced").checked().metric == "roc-auc"
    with pytest.raises(UnknownName, match=r"'acuracy'\. Did you mean 'accuracy'\?.*log-loss"):
        HeadPlan("lda", metric="acuracy").checked()


def test_an_id_has_a_metric_where_it_is_unusual():
    for weight in (None, "balanced"):
        plain = HeadPlan("lda", class_weight=weight).checked()
        assert "metric" not in plain.as_dict()
        assert replace(plain, metric="log-loss").as_dict()["metric"] == "log-loss"
    balanced = HeadPlan("lda", class_weight="balanced", metric="accuracy")
    assert balanced.checked().as_dict()["metric"] == "accuracy"


def test_a_name_has_what_is_unusual():
    def name(**options):
        return head_name(FeatureSettings(), HeadPlan("lda", **options).checked())

    assert name(metric="macro-f1").endswith("lda-by-macro-f1")
    assert name(class_weight="balanced").endswith("lda-balanced")
    assert name(class_weight="balanced", metric="accuracy").endswith("lda-balanced-by-accuracy")


def test_an_older_record_is_read_and_an_unknown_metric_is_not(tmp_path):
    run = make_run(tmp_path, "x", CLASSES, ROWS)
    assert "metric" not in run.record["head"]
    assert run.head_settings.metric == "accuracy"
    unknown = {**run.record, "head": {**run.record["head"], "metric": "luck"}}
    assert problem_of(unknown) == "head.metric is 'luck'"


def test_commands_and_cells_say_what_is_unusual(tmp_path):
    run = make_run(tmp_path, "x", CLASSES, ROWS)
    assert "--metric" not in commands([run], "pictures")[0]
    run = chosen_by(run, "log-loss")
    assert "--metric log-loss" in commands([run], "pictures")[0]
    head = next(one for one in leaderboard(rank([run])) if one.title == "head")
    assert "log-loss" in head.cells[0]


def test_fit_head_takes_a_metric_and_refuses_others():
    random = np.random.default_rng(0)
    y = (np.arange(300) % 10 == 0).astype(int)
    X = random.normal(size=(300, 5)) + 0.7 * y[:, None]
    scores = {
        metric: fit_head("logistic", X, y, n_classes=2, metric=metric).search_table
        for metric in ("accuracy", "balanced-accuracy", "log-loss")
    }
    # always naming the common class is right in 90% and half of the classes
    assert scores["accuracy"][0]["score"] == pytest.approx(0.9, abs=0.02)
    assert scores["balanced-accuracy"][0]["score"] < 0.7
    assert scores["log-loss"][0]["score"] < 0
    # many neighbours never name the rare class: right in 90%, and worth little in F1
    chosen = {
        metric: fit_head("knn", X, y, n_classes=2, metric=metric).chosen["k"]
        for metric in ("accuracy", "macro-f1")
    }
    assert chosen["macro-f1"] < chosen["accuracy"]
    with pytest.raises(UnknownName, match="macro-f1"):
        fit_head("logistic", X, y, n_classes=2, metric="luck")


STUDY = """
schema = 1
name = "metrics"
[data]
path = "digits"
[defaults]
metric = "macro-f1"
[[run]]
name = "one"
head = "lda"
[[run]]
name = "two"
head = "lda"
metric = "log-loss"
[[run]]
name = "three"
mode = "frozen"
epochs = 1
"""


def test_a_study_has_the_metric_as_a_key():
    study = parse_study(STUDY, "metrics.toml")
    assert study.metric == "macro-f1"
    assert [run.head.metric for run in study.runs if run.head] == ["macro-f1", "log-loss"]
    balanced = STUDY.replace('metric = "macro-f1"', 'class_weight = "balanced"')
    assert parse_study(balanced, "metrics.toml").metric == "balanced-accuracy"
    unsaid = STUDY.replace('metric = "macro-f1"\n', "")
    assert parse_study(unsaid, "metrics.toml").metric is None
    with pytest.raises(StudyError, match="Unknown metric 'luck'"):
        parse_study(STUDY.replace("macro-f1", "luck"), "metrics.toml")
    of_finetune = STUDY.replace('mode = "frozen"', 'mode = "frozen"\nmetric = "roc-auc"')
    with pytest.raises(StudyError, match="metric belongs to a run with a head"):
        parse_study(of_finetune, "metrics.toml")


def test_a_study_is_ranked_by_its_defaults(tmp_path, cache, pictures):
    path = tmp_path / "metrics.toml"
    heads = STUDY.partition('[[run]]\nname = "three"')[0].replace(
        "[defaults]", "[defaults]\nsize = 32"
    )
    path.write_text(heads)
    done = tlfeat.run_study(path, data=str(pictures), cache=cache, reports=tmp_path / "reports")
    assert {run.name: run.head_settings.metric for run in done.runs} == {
        "one": "macro-f1",
        "two": "log-loss",
    }
    assert done.paragraph.startswith("Best of 2 runs by macro F1 on validation: ")
    assert "val F1 %" in (done.folder / "results.md").read_text()
    again = (done.folder / "study.toml").read_text()
    assert 'metric = "macro-f1"' in again
    assert 'metric = "log-loss"' in again


def test_a_comparison_chooses_and_ranks_by_the_metric(tmp_path, cache, pictures):
    def compared(**options):
        return tlfeat.compare(
            pictures, heads=["lda"], size=32, cache=cache, reports=tmp_path / "reports", **options
        )

    first = compared()
    assert first.best.standing.metric == "accuracy"
    second = compared(metric="log-loss")
    assert second.fresh == 1
    assert second.best.record["head"]["metric"] == "log-loss"
    assert all(row["score"] <= 0 for row in second.best.record["head"]["tried"])
    assert {run.standing.metric for run in second.runs} == {"log-loss"}
    assert "val log loss" in (second.folder / "results.md").read_text()
    assert compared(metric="log-loss").fresh == 0


def test_the_command_line_takes_a_metric(tmp_path, cache, pictures):
    def call(*words):
        where = ["--size", "32", "--cache", cache, "--reports", tmp_path / "reports", "--quiet"]
        return CliRunner().invoke(app, [str(word) for word in (*words, *where)])

    done = call("train", pictures, "--head", "lda", "--metric", "macro-f1", "--json")
    assert done.exit_code == 0, done.output
    assert json.loads(done.stdout)["head"]["metric"] == "macro-f1"
    done = call("compare", pictures, "--head", "lda,knn", "--metric", "roc-auc")
    assert done.exit_code == 0, done.output
    assert "val AUC" in done.output
    done = call("train", pictures, "--metric", "luck")
    assert done.exit_code == 1
    assert isinstance(done.exception, UnknownName)
