"""study.toml of runs that were made one by one is a study file: it makes the same runs again."""

import json
import shutil

import pytest
from typer.testing import CliRunner

from tlfeat_cli.app import app

PLAIN = ["--backbone", "plain-cnn", "--size", "16", "--batch", "8", "--epochs", "1"]
DATA = ["--splits", "train=train", "--split-seed", "3", "--limit", "30"]


@pytest.fixture
def run(cache, tmp_path, monkeypatch, wide_terminal):
    monkeypatch.setenv("TLFEAT_CACHE", str(cache))
    monkeypatch.setenv("TLFEAT_REPORTS", str(tmp_path / "reports"))

    def invoke(*arguments):
        line = [*(str(a) for a in arguments), "--quiet", "--json"]
        done = CliRunner().invoke(app, line, catch_exceptions=False)
        assert done.exit_code == 0, done.output
        return json.loads(done.stdout)

    return invoke


@pytest.mark.slow
def test_every_setting_is_in_it(run, tmp_path, make_pictures):
    pictures = make_pictures(tmp_path / "colours" / "train").parent
    head = run(
        *("train", pictures, *DATA, "--size", 32, "--head", "logistic", "--set", "head.C=2"),
        *("--features", "last:avg+stage4:grid2", "--class-weight", "balanced", "--seed", 1),
    )
    base = run(
        *("finetune", pictures, *DATA, *PLAIN, "--mode", "scratch", "--hidden", "8-4"),
        *("--dropout", 0.25, "--label-smoothing", 0.1, "--patience", 3, "--keep", "all"),
    )
    changed = run(
        *("finetune", pictures, *DATA, *PLAIN, "--mode", "scratch", "--loss", "mse"),
        *("--augment", "flip,rotation:factor=0.1", "--schedule", "cosine-restarts:t_mul=3"),
        *("--optimizer", "sgd:momentum=0.5", "--seed", 2),
    )
    child = run(
        *("finetune", pictures, *DATA, "--from", f"{base['path']}@1", "--batch", 8),
        *("--phase", "mode=frozen,epochs=1", "--phase", "mode=full,epochs=1,learning_rate=1e-5"),
    )
    ids = {one["id"] for one in (head, base, changed, child)}
    again = run("compare", tmp_path / "reports" / "colours" / "study.toml")
    assert {one["id"] for one in again["runs"]} == ids
    assert again["refused"] == {}

    shutil.rmtree(head["path"])
    shutil.rmtree(child["path"])
    anew = run("compare", tmp_path / "reports" / "colours" / "study.toml")
    assert {one["id"] for one in anew["runs"]} == ids
    fresh = {one["id"]: one for one in anew["runs"]}
    for one in (head, child):
        assert fresh[one["id"]]["metrics"] == one["metrics"]
        assert fresh[one["id"]]["created"] >= one["created"]
