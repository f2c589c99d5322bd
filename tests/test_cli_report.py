"""`tlfeat report`, on a study that was really run."""

import csv
import json
import shutil

import pytest
import typer
from conftest import SIZE
from typer.testing import CliRunner

from tlfeat.data.dataset import open_dataset
from tlfeat.errors import TlfeatError
from tlfeat.runs import train as runs_train
from tlfeat.studies.compare import compare
from tlfeat_cli.app import app
from tlfeat_cli.report import report

APP = typer.Typer()
APP.command()(report)


@pytest.fixture
def study(cache, tmp_path, pictures, monkeypatch):
    monkeypatch.setenv("TLFEAT_CACHE", str(cache))
    done = compare(pictures, heads=["lda", "knn"], size=SIZE, reports=tmp_path / "reports")
    return done.folder


def test_a_report_has_pictures_a_map_and_intervals(study):
    done = CliRunner().invoke(APP, [str(study), "--quiet"], catch_exceptions=False)
    assert done.exit_code == 0
    assert done.stdout.split() == ["Report:", str(study / "index.html")]
    page = (study / "index.html").read_text()
    assert "data:image/webp" in page
    assert "PCA: across, first principal direction" in page
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


def test_a_report_opens_the_pictures_as_the_study_did(cache, tmp_path, make_pictures, monkeypatch):
    monkeypatch.setenv("TLFEAT_CACHE", str(cache))
    folder = make_pictures(tmp_path / "colours")
    files = sorted(path for path in folder.rglob("*") if path.is_file())
    rows = [f"{path},{path.parent.name}" for path in files]
    table = tmp_path / "list.csv"
    table.write_text("\n".join(["datei,klasse", *rows]) + "\n")
    opened = open_dataset(table, columns={"path": "datei", "label": "klasse"}, limit=30)
    done = compare(opened, heads=["lda"], size=SIZE, reports=tmp_path / "reports")
    page = (done.folder / "index.html").read_text()
    assert "data:image/webp" in page
    assert "--columns path=datei,label=klasse" in page
    assert "--limit 30" in page
    out = tmp_path / "again"
    arguments = [str(done.folder), "--out", str(out), "--quiet"]
    CliRunner().invoke(APP, arguments, catch_exceptions=False)
    again = (out / "index.html").read_text()
    assert again.count("data:image/webp") == page.count("data:image/webp")
    assert (
        f"cd {done.folder.parents[1]}\ntlfeat compare reports/{done.folder.name}/study.toml"
        in again
    )


def test_a_study_that_is_killed_knows_what_it_lacks(cache, tmp_path, pictures, monkeypatch):
    monkeypatch.setenv("TLFEAT_CACHE", str(cache))
    reports = tmp_path / "reports"
    done = compare(pictures, heads=["lda"], size=SIZE, reports=reports)
    train_one = runs_train._train_one

    def killed(job, *arguments):
        if job.plan.head == "knn":
            raise KeyboardInterrupt
        return train_one(job, *arguments)

    monkeypatch.setattr(runs_train, "_train_one", killed)
    with pytest.raises(KeyboardInterrupt):
        compare(pictures, heads=["lda", "ridge", "knn"], size=SIZE, reports=reports, jobs=1)
    CliRunner().invoke(APP, [str(done.folder), "--quiet"], catch_exceptions=False)
    page = (done.folder / "index.html").read_text()
    assert "-knn: asked for in study.toml, not finished." in page
    assert "-lda: asked" not in page


def test_figures_that_were_removed_come_back(study):
    for path in (study / "figures").iterdir():
        path.unlink()
    CliRunner().invoke(APP, [str(study), "--quiet"], catch_exceptions=False)
    assert (study / "figures" / "leaderboard.svg").exists()


def test_a_report_of_here_has_its_folders_name(study, monkeypatch):
    monkeypatch.chdir(study)
    CliRunner().invoke(APP, [".", "--quiet"], catch_exceptions=False)
    assert f"<h1>{study.name}</h1>" in (study / "index.html").read_text()


def test_a_class_named_like_markup_is_shown_as_it_is(
    cache, tmp_path, make_pictures, monkeypatch, wide_terminal
):
    monkeypatch.setenv("TLFEAT_CACHE", str(cache))
    folder = make_pictures(tmp_path / "colours")
    shutil.rmtree(sorted(folder.iterdir())[2])
    for path, name in zip(sorted(folder.iterdir()), ("a", "b|[red] <i>"), strict=True):
        path.rename(path.with_name(name))
    arguments = ["compare", folder, "--head", "lda", "--size", SIZE, "--quiet"]
    arguments += ["--reports", tmp_path / "reports"]
    done = CliRunner().invoke(app, [str(one) for one in arguments], catch_exceptions=False)
    assert "F1 b|[red] <i> %" in done.stdout
    lines = (tmp_path / "reports" / "colours" / "results.md").read_text().splitlines()
    table = [line.replace("\\|", "") for line in lines if line.startswith("|")]
    assert len({line.count("|") for line in table}) == 1
    assert "<i>" not in "".join(table)
