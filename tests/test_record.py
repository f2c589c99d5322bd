"""A run is what was written, or it is named and left out."""

import json
import shutil
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from made_study import PICTURES, RECIPE, made_rows, make_run

from tlfeat.errors import DamagedFile, TlfeatError
from tlfeat.files import read_toml
from tlfeat.runs.predictions import read_predictions
from tlfeat.runs.record import (
    PREDICTIONS,
    RECORD,
    SCHEMA,
    find_runs,
    finished_run,
    load_run,
    scan_runs,
)
from tlfeat.runs.seal import is_intact, sealed
from tlfeat.runs.statistics import INTERVALS, run_intervals
from tlfeat.runs.writing import write_record
from tlfeat.watch import Watch

CLASSES = ["a", "b", "c"]
OLD_RECIPE = ("backbone", "weights", *PICTURES)
ROWS = made_rows(CLASSES, {"train": 30, "validation": 30, "test": 60})


class Notes(Watch):
    def __init__(self):
        self.said = []

    def note(self, text):
        self.said.append(text)


@pytest.fixture
def run(tmp_path):
    return make_run(tmp_path / "study", "one", CLASSES, ROWS)


def change(run, **fields):
    record = json.loads((run.path / RECORD).read_text())
    (run.path / RECORD).write_text(json.dumps(record | fields))


def test_a_record_keeps_the_digests_of_itself_and_of_the_files_beside_it(run):
    assert is_intact(run.record)
    assert set(run.record["files"]) == {PREDICTIONS}
    assert run.is_checked
    assert write_record(run.path, run.record).record == run.record


def test_one_digit_of_a_record_changes_no_table(run):
    text = (run.path / RECORD).read_text()
    accuracy = str(run.metrics["validation"]["accuracy"])
    other = accuracy[:-1] + str((int(accuracy[-1]) + 1) % 10)
    (run.path / RECORD).write_text(text.replace(accuracy, other))
    with pytest.raises(DamagedFile, match="not as it was written"):
        load_run(run.path)
    found = scan_runs(run.path.parents[1])
    assert found.runs == []
    assert list(found.damaged) == [run.path.name]


@pytest.mark.parametrize("place", range(0, 2000, 97))
def test_no_flipped_byte_of_the_predictions_passes(run, place):
    data = bytearray((run.path / PREDICTIONS).read_bytes())
    data[place % len(data)] ^= 1
    (run.path / PREDICTIONS).write_bytes(data)
    assert find_runs(run.path.parents[1]) == []
    with pytest.raises(DamagedFile, match="predictions"):
        run.predictions()
    with pytest.raises(TlfeatError, match="predictions"):
        read_predictions(run, "test")


def test_a_run_that_was_changed_is_unfinished_and_its_record_kept(run):
    change(run, seed=7)
    watch = Notes()
    assert finished_run(run.path, watch) is None
    assert "not as it was written" in watch.said[0]
    assert not (run.path / RECORD).exists()
    assert json.loads((run.path / f"{RECORD}.damaged").read_text())["seed"] == 7


def test_a_record_that_cannot_be_set_aside_is_one_sentence(run):
    change(run, seed=7)
    (run.path / f"{RECORD}.damaged").mkdir()
    with pytest.raises(TlfeatError, match="damaged cannot be written"):
        finished_run(run.path, Notes())


def test_intervals_that_were_changed_are_computed_again(run):
    first = run_intervals(run)
    path = run.path / INTERVALS
    kept = json.loads(path.read_text())
    kept["intervals"]["test"]["accuracy"] = [0.0, 1.0]
    path.write_text(json.dumps(kept))
    assert run_intervals(run) == first


def test_a_run_of_an_older_version_is_read_and_not_called_checked(run):
    record = {k: v for k, v in run.record.items() if k not in ("files", "sha256")}
    (run.path / RECORD).write_text(json.dumps(record | {"schema": 1}))
    old = load_run(run.path)
    assert not old.is_checked
    assert old.metrics == run.metrics


@pytest.mark.parametrize("kind", ["head", "finetune"])
def test_a_record_of_schema_2_is_read_as_one_of_today(tmp_path, kind):
    run = make_run(tmp_path, "one", CLASSES, ROWS, kind=kind)
    left_out = ("pictures", "weights_digest", "files", "sha256")
    record = {key: value for key, value in run.record.items() if key not in left_out}
    recipe = dict(RECIPE) if kind == "head" else {key: RECIPE[key] for key in OLD_RECIPE}
    record |= {"schema": 2, "recipes": [recipe]}
    if kind == "finetune":
        record["phases"] = [{"mode": "full", "epochs": 2, "optimiser": {"name": "adam"}}]
    (run.path / RECORD).write_text(json.dumps(sealed(record)))
    old = load_run(run.path)
    assert old.pictures == run.pictures
    assert (old.recipes, old.weights_digest) == (run.recipes, run.weights_digest)
    assert [phase["optimizer"]["name"] for phase in old.phases] == ["adam"] * len(old.phases)
    again = write_record(old.path, old.record)
    assert again.record["schema"] == SCHEMA
    assert (again.pictures, again.recipes) == (old.pictures, old.recipes)


@pytest.mark.parametrize("field", ["pictures", "weights_digest", "recipes"])
def test_a_record_of_today_that_lacks_a_field_is_refused_with_its_name(run, field):
    record = {key: value for key, value in run.record.items() if key != field}
    (run.path / RECORD).write_text(json.dumps(sealed(record)))
    with pytest.raises(DamagedFile, match=f"{field} is not there"):
        load_run(run.path)


def test_a_run_says_what_its_record_holds_whatever_else_is_in_it(run):
    more = {"path": "elsewhere", "later": 1, "dataset": {**run.record["dataset"], "later": 1}}
    again = write_record(run.path, {**run.record, **more})
    assert again.path == run.path
    assert again.study == run.path.parents[1]
    assert (again.dataset.fingerprint, again.dataset.classes) == ("made", CLASSES)
    assert (again.head_settings.name, again.head_settings.chosen) == ("one", {"C": 1.0})
    assert again.recipes[0].pictures == again.pictures


def test_a_run_of_a_later_version_names_both_schemas(run):
    record = sealed(dict(run.record) | {"schema": 99})
    (run.path / RECORD).write_text(json.dumps(record))
    with pytest.raises(TlfeatError, match="schema 99"):
        load_run(run.path)


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"[]",
        b"3",
        b"null",
        b"\xff\xfe{}",
        b"[" * 100_000,
        b'{"schema": 1}',
        b"{}",
        b"NaN",
        b'{"schema": 2, "sha256": 1e999}',
    ],
)
def test_whatever_lies_there_is_no_run_and_no_traceback(run, content):
    (run.path / RECORD).write_bytes(content)
    with pytest.raises(DamagedFile):
        load_run(run.path)
    assert find_runs(run.path.parents[1]) == []


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("recipes", []),
        ("recipes", [{"size": 10**9}]),
        ("metrics", {"train": {}, "validation": {}}),
        ("dataset", {"classes": ["a", "b"]}),
        ("head", None),
        ("seconds", {"fit": "long"}),
        ("n_train", -1),
        ("ms_per_image", 10**400),
        ("warnings", "none"),
        ("seed", True),
        ("weights", 3),
        ("phases", "full"),
        ("phases", [3]),
    ],
)
def test_an_older_record_that_makes_no_sense_is_refused_with_the_place(run, field, value):
    record = {k: v for k, v in run.record.items() if k not in ("files", "sha256")}
    (run.path / RECORD).write_text(json.dumps(record | {"schema": 1, field: value}))
    with pytest.raises(DamagedFile, match=field):
        load_run(run.path)


@pytest.mark.parametrize("field", ["id", "metrics", "dataset", "recipes", "head", "parent"])
def test_an_older_record_that_lacks_a_field_is_refused_with_its_name(run, field):
    record = {k: v for k, v in run.record.items() if k not in ("files", "sha256", field)}
    (run.path / RECORD).write_text(json.dumps(record | {"schema": 1}))
    with pytest.raises(DamagedFile, match=f"{field} is not there"):
        load_run(run.path)


def test_predictions_that_are_none_of_this_run_are_refused(run):
    table = pq.read_table(run.path / PREDICTIONS)
    unchecked = {k: v for k, v in run.record.items() if k not in ("files", "sha256")}
    (run.path / RECORD).write_text(json.dumps(unchecked | {"schema": 1}))
    old = load_run(run.path)
    n = len(table)
    place = table.column_names.index("true")
    for other in (
        table.drop_columns(["digest"]),
        table.set_column(place, "true", pa.array(np.full(n, 99, np.int32))),
        table.set_column(place, "true", pa.array(["x"] * n)),
        table.set_column(place + 1, "predicted", pa.array(np.full(n, -1, np.int32))),
    ):
        pq.write_table(other, run.path / PREDICTIONS)
        with pytest.raises(TlfeatError, match="cannot be read"):
            read_predictions(old, "test")


def test_a_run_prints_as_one_line(run):
    assert "\n" not in repr(run)
    assert len(repr(run)) < 200 + len(str(run.path))
    assert "one" in repr(run)


@pytest.mark.parametrize("content", [b"\xff", b"a = [" + b"[" * 100_000, b"= 3"])
def test_a_study_file_that_is_none_is_one_sentence(tmp_path, content):
    (tmp_path / "study.toml").write_bytes(content)
    with pytest.raises(DamagedFile, match="cannot be read as TOML"):
        read_toml(tmp_path / "study.toml")
    shutil.rmtree(tmp_path)
    with pytest.raises(DamagedFile, match="cannot be read as TOML"):
        read_toml(tmp_path / "study.toml")


def test_a_relative_folder_with_a_colon_is_no_address(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    run = make_run(Path("reports-last:avg"), "one", CLASSES, ROWS)
    assert len(run.predictions().query("split == 'test'")) == 60
    assert len(read_predictions(run, "test")) == 60
