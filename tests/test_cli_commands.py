"""The main job, as a user runs it: data, extract, train, compare."""

import csv
import json
import subprocess
import sys
from pathlib import Path

import pytest
from conftest import SIZE
from typer.testing import CliRunner

from tlfeat.data.sources.folder import FolderSource
from tlfeat.errors import TlfeatError
from tlfeat.runs.record import load_run
from tlfeat.runs.results import CSV_COLUMNS, S1_END, S1_START
from tlfeat_cli.app import app

FAST = ["--size", str(SIZE), "--quiet"]


def test_data_shows_what_was_understood(run, pictures):
    (pictures / "red" / "notes.jpg").write_text("no picture")
    text = run("data", pictures)
    assert "37 pictures, 3 classes" in text
    assert "test" in text
    assert "red/notes.jpg: " in text
    facts = json.loads(run("data", pictures, "--json"))
    assert facts["classes"] == ["blue", "green", "red"]
    assert sum(sum(split.values()) for split in facts["counts"].values()) == 37
    assert [one["id"] for one in facts["broken"]] == ["red/notes.jpg"]


def test_pictures_that_are_unusable_for_one_reason_are_told_once(run, pictures, tmp_path):
    for number in range(12):
        name = f"{number:02}.heic"
        (pictures / "red" / name).write_bytes(b"\0\0\0\x18ftypheic\0\0\0\0" + bytes([number]))
    (pictures / "red" / "x.jpg").write_text("no picture")
    text = run("data", pictures)
    assert "13 pictures cannot be used" in text
    assert text.count("HEIC") == 1
    assert "- 12 pictures, such as red/00.heic: HEIC" in text
    assert "- red/x.jpg: " in text


def test_extract_says_what_it_did_and_where(run, pictures, cache):
    assert "36 embedded" in run("extract", pictures, *FAST)
    again = json.loads(run("extract", pictures, *FAST, "--json"))
    assert (again["pictures"], again["embedded"]) == (36, 0)
    assert again["entries"][0].startswith(str(cache / "features" / "efficientnet-lite0-32-last"))


def test_train_leaves_a_run_folder(run, pictures, tmp_path):
    facts = json.loads(run("train", pictures, "--head", "lda", *FAST, "--json"))
    folder = tmp_path / "reports" / "colours" / "runs"
    assert [str(path) for path in folder.iterdir()] == [facts["path"]]
    assert {path.name for path in (folder / facts["path"]).iterdir()} == {
        "run.json",
        "predictions.parquet",
        "head.skops",
        "novelty.npz",
    }
    run_ = load_run(facts["path"])
    table = run_.predictions()
    assert set(table["split"]) == {"train", "validation", "test"}
    assert table[table["split"] == "validation"]["fold"].notna().all()
    assert len(table[table["split"] == "test"]) == facts["metrics"]["test"]["n"]
    right = (table["true"] == table["predicted"])[table["split"] == "test"].mean()
    assert right == facts["metrics"]["test"]["accuracy"]


def test_a_given_setting_is_another_run(run, pictures):
    one = json.loads(run("train", pictures, "--set", "head.C=1", *FAST, "--json"))
    two = json.loads(run("train", pictures, "--set", "head.C=2", *FAST, "--json"))
    assert one["id"] != two["id"]
    assert one["head"]["params"] == {"C": 1}
    assert one["name"].endswith("logistic-C=1")


def test_compare_writes_its_tables(run, pictures, tmp_path):
    text = run("compare", pictures, "--head", "lda,knn", *FAST)
    assert "lda" in text
    assert "knn" in text
    assert "Best by validation" in text
    folder = tmp_path / "reports" / "colours"
    with (folder / "results.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert tuple(rows[0]) == CSV_COLUMNS
    assert {row["head"] for row in rows} == {"lda", "knn"}
    assert {row["split"] for row in rows} == {"train", "validation", "test", ""}
    assert {"accuracy", "log_loss", "seconds_fit", "ms_per_image"} <= {r["metric"] for r in rows}
    assert "| **" in (folder / "results.md").read_text()
    assert (folder / "study.toml").exists()


def test_a_dataset_whose_path_is_no_text_is_compared_and_found_again(
    run, pictures, tmp_path, monkeypatch
):
    """Bytes that are not UTF-8, in the folder's name and in a picture's."""
    odd = pictures.rename(pictures.with_name("caf\udce9"))
    (odd / "red/red-000.png").rename(odd / "red/\udcff.png")
    run("compare", odd, "--head", "lda,ridge", *FAST)
    study = tmp_path / "reports" / "caf-xe9"
    assert [path.name for path in study.parent.iterdir()] == [study.name]
    predictions = load_run(next((study / "runs").iterdir())).predictions()
    assert "red/\\xff.png" in set(predictions["id"])
    page = (study / "index.html").read_text()
    monkeypatch.setattr("tlfeat.runs.matrices.embed", lambda *a, **k: pytest.fail("embedded"))
    run("compare", study / "study.toml", "--quiet")  # the file says where the pictures are
    (study / "index.html").unlink()
    run("report", study)
    assert (study / "index.html").read_text().count("data:image") == page.count("data:image") > 0


def test_reports_in_a_folder_whose_name_is_no_text_are_one_sentence(
    run, pictures, tmp_path, monkeypatch
):
    monkeypatch.setenv("TLFEAT_REPORTS", str(tmp_path / "caf\udce9"))
    with pytest.raises(TlfeatError, match=r"^Reports cannot be written to .* with --reports"):
        run("compare", pictures, "--head", "lda", *FAST)


def test_a_finished_comparison_opens_no_picture_and_trains_nothing(run, pictures, monkeypatch):
    first = run("compare", pictures, "--head", "lda,knn", *FAST)
    monkeypatch.setattr(FolderSource, "read", lambda *_: pytest.fail("a picture was opened"))
    monkeypatch.setattr("tlfeat.heads.fit.fit_head", lambda *_, **__: pytest.fail("trained again"))
    assert run("compare", pictures, "--head", "lda,knn", *FAST) == first


def test_a_warm_comparison_imports_neither_engine(run, pictures, cache, tmp_path):
    arguments = ["compare", str(pictures), "--head", "lda", *FAST]
    run(*arguments)
    code = (
        "import sys, json; sys.argv = ['tlfeat', *" + repr(arguments) + "]\n"
        "from tlfeat_cli import main\n"
        "try:\n    main()\n"
        "except SystemExit:\n    pass\n"
        "print(json.dumps(sorted({'tensorflow', 'keras', 'openvino'} & set(sys.modules))))"
    )
    done = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True)
    assert "lda" in done.stdout
    assert json.loads(done.stdout.splitlines()[-1]) == []


def test_the_page_knows_a_run_that_joined_later(run, pictures, tmp_path):
    run("compare", pictures, "--head", "lda", *FAST)
    (page,) = tmp_path.rglob("index.html")
    assert "knn</" not in page.read_text()
    run("train", pictures, "--head", "knn", *FAST)
    assert "knn</" in page.read_text()
    assert "-knn," in (page.parent / "results.csv").read_text()


def test_another_head_joins_the_table(run, pictures):
    run("train", pictures, "--head", "lda", *FAST)
    text = run("compare", pictures, "--head", "knn", *FAST)
    assert "lda" in text
    assert "knn" in text


def test_several_seeds_are_several_runs_and_their_spread_is_shown(run, pictures):
    said = json.loads(run("compare", pictures, "--head", "lda,mlp", "--seeds", 3, "--json", *FAST))
    by_head = {"lda": [], "mlp": []}
    for one in said["runs"]:
        by_head[one["head"]["name"]].append(one)
    assert {name: sorted(one["seed"] for one in runs) for name, runs in by_head.items()} == {
        "lda": [0, 1, 2],
        "mlp": [0, 1, 2],
    }
    table = (Path(said["folder"]) / "results.md").read_text()
    for runs in by_head.values():
        tested = [100 * one["metrics"]["test"]["accuracy"] for one in runs]
        assert f"{min(tested):.1f}–{max(tested):.1f} (3)" in table
    assert len(json.loads(run("compare", pictures, "--head", "lda", "--json", *FAST))["runs"]) == 6


def test_another_dataset_of_the_same_name_gets_a_study_of_its_own(run, tmp_path, make_pictures):
    one = make_pictures(tmp_path / "one" / "birds")
    two = make_pictures(tmp_path / "two" / "birds", seed=1)
    run("train", one, "--head", "knn", *FAST)
    run("train", two, "--head", "knn", *FAST)
    run("train", one, "--head", "lda", *FAST)
    assert {path.name for path in (tmp_path / "reports").iterdir()} == {"birds", "birds-2"}
    assert len(list((tmp_path / "reports" / "birds" / "runs").iterdir())) == 2


def test_into_replaces_only_what_stands_between_the_markers(run, pictures, tmp_path):
    page = tmp_path / "page.md"
    page.write_bytes(f"# Mine\r\n{S1_START}\r\nold\r\n{S1_END}\r\nkept\r\n".encode())
    run("compare", pictures, "--head", "knn", *FAST, "--into", page)
    text = page.read_bytes().decode()
    assert text.startswith(f"# Mine\r\n{S1_START}\r\n")
    assert text.endswith(f"{S1_END}\r\nkept\r\n")
    assert "old" not in text
    assert "| Model name | Test accuracy | Test loss |" in text
    assert "knn" in text


def test_into_refuses_a_file_without_markers_and_leaves_it(run, pictures, tmp_path):
    page = tmp_path / "page.md"
    page.write_text("mine")
    done = CliRunner().invoke(
        app, ["compare", str(pictures), "--head", "knn", *FAST, "--into", str(page)]
    )
    assert done.exit_code == 1
    assert "result_table_start" in str(done.exception)
    assert page.read_text() == "mine"


def test_a_head_that_the_data_do_not_allow_leaves_the_others(run, pictures, monkeypatch):
    from tlfeat.errors import HeadError
    from tlfeat.heads.neighbours import Neighbours

    def refuse(*arguments):
        raise HeadError("too few pictures")

    monkeypatch.setattr(Neighbours, "check", refuse)
    text = run("compare", pictures, "--head", "lda,knn", *FAST, code=1)
    assert "lda" in text


def test_backbones_and_heads_are_listed(run):
    assert "efficientnet-lite0" in run("backbones")
    assert {row["name"] for row in json.loads(run("backbones", "mobilenet*", "--json"))} >= {
        "mobilenet",
        "mobilenet_v2",
    }
    assert "shrinkage" in run("heads")


def test_one_thread_imports_what_training_needs_before_others_begin(pictures, cache, tmp_path):
    code = f"""
import sys, threading
class Spy:
    seen = {{}}
    def find_spec(self, name, path=None, target=None):
        if name.startswith(("sklearn", "skops", "pyarrow.parquet")):
            self.seen[name] = threading.current_thread().name.partition("_")[0]
sys.meta_path.insert(0, Spy())
from tlfeat.studies.compare import compare
compare({str(pictures)!r}, heads=["lda", "svm-linear", "mlp"], size=32,
        cache={str(cache)!r}, reports={str(tmp_path)!r})
others = {{n: t for n, t in Spy.seen.items() if t not in ("MainThread", "meanwhile")}}
print(len(Spy.seen) > 50, others)
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "True {}"


def test_a_class_of_which_nothing_is_left_is_one_sentence_for_all_heads(run, pictures, tmp_path):
    for path in [*pictures.glob("red/*"), *pictures.glob("green/*")]:
        path.write_bytes(b"\0\0\0\x18ftypheic\0\0\0\0" + path.name.encode())
    done = CliRunner().invoke(app, ["compare", str(pictures), "--head", "lda,ridge,knn", *FAST])
    said = str(done.exception)
    assert "1 of 3 classes has a train picture that can be used" in said
    assert said.count("HEIC") == 1
