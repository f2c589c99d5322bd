"""The feature store can be looked at, verified and pruned; extract gives the matrix."""

import json

import numpy as np
import pandas as pd
import pytest
from conftest import SIZE
from typer.testing import CliRunner

from tlfeat.errors import TlfeatError
from tlfeat_cli import terminal
from tlfeat_cli.app import app

EXTRACT = ["--size", str(SIZE), "--quiet"]


@pytest.fixture
def run(cache, monkeypatch, wide_terminal):
    monkeypatch.setenv("TLFEAT_CACHE", str(cache))

    def invoke(*arguments, code=0, **settings):
        done = CliRunner().invoke(app, [str(a) for a in arguments], **settings)
        if done.exception and not isinstance(done.exception, SystemExit):
            raise done.exception
        assert done.exit_code == code, done.output
        return done.stdout

    return invoke


def flip_a_byte(cache):
    path = next((cache / "features").glob("*/features.npy"))
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    path.write_bytes(data)


def test_ls_names_entries_rows_and_bytes(run, pictures, cache):
    assert "nothing" in run("cache", "ls") or "network" in run("cache", "ls")
    run("extract", pictures, *EXTRACT)
    items = [
        item for item in json.loads(run("cache", "ls", "--json")) if item["kind"] == "features"
    ]
    assert [item["rows"] for item in items] == [36]
    assert "efficientnet-lite0-32-last-avg" in run("cache", "ls")
    assert run("cache", "path").strip() == str(cache.absolute())


def test_verify_finds_a_flipped_byte(run, pictures, cache):
    run("extract", pictures, *EXTRACT)
    assert "36 rows sound" in run("cache", "verify", "-q")
    flip_a_byte(cache)
    assert "1 of 36 rows" in run("cache", "verify", "-q", code=1)


def test_verify_embeds_rows_again_and_compares(run, pictures):
    run("extract", pictures, *EXTRACT)
    text = run("cache", "verify", pictures, "--reextract", 5, "-q")
    assert "5 rows embedded again: equal" in text
    with pytest.raises(TlfeatError, match="go together"):
        run("cache", "verify", "--reextract", 5)


def test_prune_asks_first_and_deletes_what_was_named(run, pictures, cache):
    run("extract", pictures, *EXTRACT)
    run("cache", "prune", "efficientnet-lite0-*-last-*", input="n\n", code=1)
    assert list((cache / "features").glob("*/features.npy"))
    assert "Deleted 1" in run("cache", "prune", "efficientnet-lite0-*-last-*", "--yes")
    assert not list((cache / "features").glob("*/features.npy"))
    assert "36 embedded" in run("extract", pictures, *EXTRACT)


def test_prune_by_age_and_size(run, pictures, cache):
    run("extract", pictures, *EXTRACT)
    assert "Nothing to prune" in run("cache", "prune", "--unused-for", "1h", "--yes")
    assert "Nothing to prune" in run("cache", "prune", "--max-size", "10GB", "--yes")
    with pytest.raises(TlfeatError, match="such as 30d"):
        run("cache", "prune", "--unused-for", "soon")
    with pytest.raises(TlfeatError, match="Say what to prune"):
        run("cache", "prune")


def test_the_matrix_can_be_had_as_npz_and_parquet(run, pictures, tmp_path):
    run("extract", pictures, *EXTRACT, "--out", tmp_path / "x.npz")
    run("extract", pictures, *EXTRACT, "--out", tmp_path / "x.parquet")
    arrays = np.load(tmp_path / "x.npz")
    table = pd.read_parquet(tmp_path / "x.parquet")
    assert arrays["X"].shape == (36, 1280)
    assert list(arrays["ids"]) == list(table["id"])
    assert [arrays["classes"][label] for label in arrays["y"]] == list(table["label"])
    np.testing.assert_array_equal(arrays["X"], table.filter(like="feature_").to_numpy())
    with pytest.raises(TlfeatError, match=r"\.npz or \.parquet"):
        run("extract", pictures, *EXTRACT, "--out", tmp_path / "x.csv")


def test_layers_are_listed_with_shapes(run):
    shapes = json.loads(run("backbones", "efficientnet-lite0", "--layers", "--size", 64, "--json"))
    assert shapes["stage4"] == [4, 4, 112]
    assert "stage4" in run("backbones", "efficientnet-lite0", "--layers", "--size", 64)


def test_runs_are_listed(run, pictures, tmp_path, monkeypatch):
    reports = ["--reports", tmp_path / "reports"]
    run("train", pictures, "--head", "knn", *EXTRACT, *reports)
    (path,) = (tmp_path / "reports" / "colours" / "runs").iterdir()
    for width in (30, 60, 120):
        monkeypatch.setattr(terminal.OUT, "width", width)
        words = run("runs", *reports).split()
        assert path.name in words
        assert str(tmp_path / "reports" / "colours") in words
    for study in ("colours", tmp_path / "reports" / "colours"):
        (one,) = json.loads(run("runs", study, *reports, "--json"))
        assert one["path"] == str(path)
    with pytest.raises(TlfeatError, match="no finished run"):
        run("runs", "--reports", tmp_path / "none")
    with pytest.raises(TlfeatError, match="Did you mean 'colours'"):
        run("runs", "colors", *reports)
