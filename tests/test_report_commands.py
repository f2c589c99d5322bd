"""The commands that a report prints make the very runs again."""

import shlex

import pytest
from made_study import made_rows, make_run
from typer.testing import CliRunner

from tlfeat.report.commands import commands
from tlfeat.runs.record import find_runs
from tlfeat.studies.builtin import list_studies
from tlfeat.studies.plan import read_study
from tlfeat.studies.run import run_study
from tlfeat_cli.app import app

CLASSES = ["a", "b"]
ROWS = made_rows(CLASSES, {"train": 30, "validation": 30, "test": 90})
# small sizes, one network, and no epoch where none is started from; else they are as they come
SMALL = ["defaults.backbone=efficientnet-lite0", "defaults.batch=8", "run.*.epochs=0"]
FINE = ["run.transfer.epochs=1", "run.fine-{start}.start=[1]"]


def test_the_commands_make_the_runs_again(tmp_path):
    runs = [
        make_run(tmp_path, name, CLASSES, ROWS, seed=i)
        for i, name in enumerate(["efficientnet-lite0-lda", "efficientnet-lite0-knn"])
    ]
    head = {**runs[1].record["head"], "params": {"C": 1.0}, "class_weight": "balanced"}
    changed = runs[1].changed(head=head, seed=3)
    assert commands(runs, "my data") == [
        "tlfeat compare 'my data' --backbone efficientnet-lite0 --head lda,knn "
        "--features last:avg --seed 0"
    ]
    (line,) = commands([changed], "x")
    assert line == (  # chosen by accuracy, as before there were other metrics
        "tlfeat compare x --backbone efficientnet-lite0 --head knn --features last:avg "
        "--set head.C=1 --class-weight balanced --metric accuracy --seed 3"
    )


def test_what_is_unusual_in_a_fine_tune_is_said(tmp_path, cache, make_pictures, monkeypatch):
    monkeypatch.setenv("TLFEAT_CACHE", str(cache))
    pictures = make_pictures(tmp_path / "colours")
    line = [
        *("finetune", str(pictures), "--size", "32", "--resize", "crop", "--seed", "3"),
        *("--phase", "mode=frozen,epochs=0,label_smoothing=0.123456789"),
        *("--phase", "mode=partial,epochs=0,cut=stage5,optimizer=adamw:weight_decay=0.0123456789"),
        *("--hidden", "16-8", "--dropout", "0.25", "--cut-dtype", "none", "--limit", "12"),
    ]
    before = runs_of([line], tmp_path / "first")
    again = [shlex.split(one)[1:] for one in commands(before, str(pictures))]
    assert [run.id for run in runs_of(again, tmp_path / "second")] == [run.id for run in before]
    assert again[0][again[0].index("--resize") + 1] == "crop"


@pytest.mark.slow
@pytest.mark.timeout(1800)
@pytest.mark.parametrize("study", list_studies(), ids=lambda study: study.name)
def test_each_run_of_a_study_is_made_again_by_its_command(
    study, tmp_path, cache, make_pictures, monkeypatch
):
    monkeypatch.setenv("TLFEAT_CACHE", str(cache))
    pictures = make_pictures(tmp_path / "pictures", per_class=8, side=32)
    settings = SMALL + (FINE if study.name.startswith("food") else [])
    settings += [] if study.name.startswith("gtsrb") else ["defaults.size=32"]
    planned = read_study(study.path, settings=settings, data=str(pictures))
    runs = run_study(planned, reports=tmp_path / "reports").runs
    assert len(runs) == len(planned.runs)
    lines = [shlex.split(line)[1:] for line in commands(runs, str(pictures))]
    assert {run.id for run in runs_of(lines, tmp_path / "empty")} == {run.id for run in runs}


def runs_of(lines, folder):
    """Run commands in an empty folder of reports; give the runs there."""
    for line in lines:
        done = CliRunner().invoke(app, [*line, "--reports", str(folder), "--quiet"])
        assert done.exit_code == 0, (line, done.output)
    (study,) = folder.iterdir()
    return find_runs(study)
