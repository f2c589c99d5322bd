"""A run is found by its folder, its name, or its study; what cannot be told apart is asked."""

import pytest
from made_study import made_rows, make_run

from tlfeat.errors import TlfeatError
from tlfeat.runs.find import find_run, find_study_folder
from tlfeat.runs.writing import write_record


@pytest.fixture
def reports(tmp_path, monkeypatch):
    """Give a folder of reports with two studies, of records without predictions."""
    monkeypatch.chdir(tmp_path)
    rows = made_rows("ab", {"train": 10, "validation": 10, "test": 10})
    made = make_run(tmp_path / "made", "any", ["a", "b"], rows)

    def put(study, name, digits, right):
        validation = {**made.metrics["validation"], "accuracy": right}
        record = {
            **made.record,
            "id": digits * 8,
            "name": name,
            "head": {**made.record["head"], "name": name},
            "metrics": {**made.metrics, "validation": validation},
        }
        write_record(tmp_path / "reports" / study / "runs" / f"{name}-{digits}", record)

    put("birds", "lite0-lda", "11111111", 0.8)
    put("birds", "lite0-knn", "22222222", 0.9)
    put("birds", "lite0-mlp", "33333333", 0.7)
    put("cats", "lite0-lda", "44444444", 0.6)
    return tmp_path / "reports"


def test_a_study_of_which_all_runs_are_damaged_hides_no_other(reports):
    (path,) = reports.glob("cats/runs/*/run.json")
    path.write_text("{}")
    assert find_run("birds").name == "lite0-knn"
    with pytest.raises(TlfeatError, match="No run or study"):
        find_run("cats")


@pytest.mark.parametrize(
    ("text", "name"),
    [
        ("reports/birds/runs/lite0-mlp-33333333", "lite0-mlp"),
        ("reports/birds", "lite0-knn"),
        ("reports/birds/", "lite0-knn"),
        ("birds", "lite0-knn"),
        ("lite0-mlp", "lite0-mlp"),
        ("lite0-lda-11111111", "lite0-lda"),
        ("birds/lite0-lda", "lite0-lda"),
        ("birds/lite0-lda-11111111", "lite0-lda"),
    ],
)
def test_a_folder_a_name_or_a_study_is_a_run(reports, text, name):
    found = find_run(text)
    assert found.name == name
    assert found.path.parent.parent.name == "birds"


def test_the_pictures_of_a_study_may_lie_in_a_folder_of_its_name(reports, tmp_path):
    (tmp_path / "birds").mkdir()
    assert find_run("birds").name == "lite0-knn"


def test_other_reports_are_looked_through_when_they_are_named(reports, tmp_path):
    reports.rename(tmp_path / "elsewhere")
    assert find_run("birds", tmp_path / "elsewhere").name == "lite0-knn"
    with pytest.raises(TlfeatError, match="no finished run in reports"):
        find_run("birds")


def test_a_name_of_two_runs_is_answered_with_both(reports):
    with pytest.raises(TlfeatError) as error:
        find_run("lite0-lda")
    assert "birds/lite0-lda-11111111" in str(error.value)
    assert "cats/lite0-lda-44444444" in str(error.value)


@pytest.mark.parametrize(
    ("text", "near"), [("lite0-mpl", "'lite0-mlp'"), ("bird", "'birds'"), ("cts", "'cats'")]
)
def test_an_unknown_name_is_answered_with_the_nearest(reports, text, near):
    with pytest.raises(TlfeatError, match=f"Did you mean {near}"):
        find_run(text)


def test_a_study_is_found_by_its_folder_or_its_name(reports, tmp_path):
    assert find_study_folder("cats").resolve() == reports / "cats"
    assert find_study_folder(reports / "cats") == reports / "cats"
    with pytest.raises(TlfeatError, match="Did you mean 'birds'"):
        find_study_folder("brids")
