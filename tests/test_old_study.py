"""A study that was made before records were of schema 3 and said "optimizer" is still read.

tests/old_study is one of `digits --limit 20`, as that version wrote it, without its models.
"""

import shutil
from pathlib import Path

import pytest
from typer.testing import CliRunner

from tlfeat.runs.record import RECORD, find_runs
from tlfeat.studies.plan import read_study
from tlfeat_cli.app import app

OLD = Path(__file__).parent / "old_study"
IDS = {
    "adamw": "e108ea2ee72b5ea239bc876dcfa9f13eca43323b53fe6f8c0a6e3e903843fe94",
    "head-crop": "e95c23928563d390e8f0fa0ff4176adc287e91ec1678e3a0cd861fd7570d190d",
}
ADAMW = {"name": "adamw", "weight_decay": 0.01, "beta_1": 0.9, "beta_2": 0.999}


@pytest.fixture
def old(tmp_path: Path) -> Path:
    return shutil.copytree(OLD, tmp_path / "old-study")


def test_the_runs_of_an_old_study_have_their_ids_and_settings(old):
    runs = {run.name: run for run in find_runs(old)}
    assert {name: run.id for name, run in runs.items()} == IDS
    head, tuned = runs["head-crop"], runs["adamw"]
    assert head.head_settings.name == "ridge"
    assert head.feature_settings.unusual() == {
        "features": "stage3:avg+last:max",
        "size": 32,
        "resize": "crop",
        "seed": 1,
    }
    (phase,) = tuned.phases
    assert (phase["mode"], phase["schedule"]["name"]) == ("frozen", "step")
    assert phase["optimizer"] == ADAMW


def test_the_file_of_an_old_study_is_a_study_with_the_same_runs(old):
    study = read_study(old / "study.toml")
    runs = {run.name: run for run in study.runs}
    assert list(runs) == ["head-crop", "adamw"]
    (head,) = [run for run in find_runs(old) if not run.is_finetune]
    assert runs["head-crop"].network == head.feature_settings
    (phase,) = runs["adamw"].training.phases
    assert phase.optimizer.as_dict() == ADAMW


def test_a_report_of_an_old_study_is_written_and_leaves_its_runs_alone(old, cache):
    def report() -> str:
        done = CliRunner().invoke(app, ["report", str(old), "--cache", str(cache)])
        assert done.exit_code == 0, done.output
        return (old / "index.html").read_text()

    page = report()
    assert all(name in page for name in IDS)
    assert "ms/image of adamw was measured in Keras, by an older tlfeat" in page
    assert report() == page
    for record in OLD.glob(f"runs/*/{RECORD}"):
        there = old / record.relative_to(OLD)
        assert there.read_bytes() == record.read_bytes()
    assert (old / "study.toml").read_bytes() == (OLD / "study.toml").read_bytes()
