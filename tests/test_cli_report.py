"""`tlfeat report`, on a study that was really run."""

import csv
import json

import pytest
import typer
from conftest import SIZE
from typer.testing import CliRunner

from tlfeat.errors import TlfeatError
from tlfeat.runs.compare import compare
from tlfeat_cli.report import report

APP = typer.Typer()
APP.command()(report)


@pytest.fixture
def study(cache, tmp_path, pictures, monkeypatch):
    monkeypatch.setenv("TLFEAT_CACHE", str(cache))
    done = compare(pictures, heads=["lda", "knn"], size=SIZE, reports=tmp_path / "reports")
    return done.folder


def test_a_report_has_pictures_projection_and_intervals(study):
    done = CliRunner().invoke(APP, [str(study), "--quiet"], catch_exceptions=False)
    assert done.exit_code == 0
    assert done.stdout.split() == ["Report:", str(study / "index.html")]
    page = (study / "index.html").read_text()
    assert "data:image/webp" in page
    assert "PCA of the features" in page
    assert (study / "figures" / "projection-pca.svg").exists()
    with (study / "results.csv").open() as file:
        rows = [row for row in csv.DictReader(file) if row["split"] == "test"]
    assert rows
    assert all(row["low"] and row["high"] for row in rows)


def test_a_report_is_where_out_says(study, tmp_path):
    arguments = [str(study), "--out", str(tmp_path / "mine"), "--json", "--quiet"]
    done = CliRunner().invoke(APP, arguments, catch_exceptions=False)
    assert json.loads(done.stdout)["page"] == str(tmp_path / "mine" / "index.html")
    assert (tmp_path / "mine" / "figures" / "leaderboard.svg").exists()


def test_a_folder_that_is_no_study_is_said(tmp_path):
    done = CliRunner().invoke(APP, [str(tmp_path), "--quiet"])
    assert done.exit_code == 1
    assert isinstance(done.exception, TlfeatError)
    assert "is no study" in str(done.exception)
