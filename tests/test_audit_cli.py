"""`tlfeat audit`, and what `compare` and its page say of the pictures."""

import csv
import json

import pytest
from made_study import made_rows, make_run
from pictures import encode, write
from planted import photograph, photograph_folders, plant_copies, write_films, write_photographs

from tlfeat.audit import groups
from tlfeat.errors import TlfeatError
from tlfeat.report import trust
from tlfeat.runs.caveats import held_above_test
from tlfeat.runs.ranking import rank

FAST = ["--size", "64", "--quiet"]


@pytest.fixture
def leaky(tmp_path):
    """Give a folder with copies of three train pictures in test."""
    folder = photograph_folders(tmp_path / "leaky", 12, 5)
    plant_copies(folder, exact=1, quality=2, cut=0)
    return folder


def test_audit_says_what_was_found_and_where_it_is(run, leaky, tmp_path):
    text = run("audit", leaky, *FAST)
    assert "leaky: 54 pictures, 3 classes." in text
    assert "3 of 18 test pictures are in train too, as they are or changed" in text
    assert "near-duplicate" in text
    folder = tmp_path / "reports" / "leaky" / "audit"
    assert f"Report: {folder / 'index.html'}" in text
    with (folder / "findings.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    across = [row for row in rows if row["other_split"] and row["split"] != row["other_split"]]
    assert {row["finding"] for row in across} == {"same bytes", "near-duplicate"}
    assert len(across) == 3
    page = (folder / "index.html").read_text()
    assert page.count('<div class="two">') >= 3
    assert page.count("data:image/webp") >= 6


def test_runs_of_the_study_are_told_what_leaks_cost_them(run, leaky):
    run("compare", leaky, *FAST, "--head", "lda", "--features", "last:avg")
    text = run("audit", leaky, *FAST)
    assert "What leaks cost on test:" in text
    assert "3 of 18" in text
    found = json.loads(run("audit", leaky, *FAST, "--json"))
    (cost,) = found["costs"]
    assert (cost["n"], cost["leaked"]) == (18, 3)
    assert found["pictures"] == 54
    assert found["judge"] > 0
    assert all(set(one) == {"class", "right", "others"} for one in found["shortcut"]["told"])


def test_json_is_json_where_all_of_test_leaks(run, tmp_path):
    write_photographs(tmp_path / "all", [f"train/{c}/{i}.jpg" for c in "ab" for i in range(8)])
    for c in "ab":
        for i in range(2):
            data = (tmp_path / "all" / "train" / c / f"{i}.jpg").read_bytes()
            write(tmp_path / "all" / "test" / c / f"{i}.jpg", data)
    run("compare", tmp_path / "all", *FAST, "--head", "lda", "--features", "last:avg")
    text = run("audit", tmp_path / "all", *FAST, "--json")
    assert "NaN" not in text
    (cost,) = json.loads(text)["costs"]
    assert cost["leaked"] == cost["n"] == 4
    assert cost["without"] is None


def test_a_table_that_cannot_be_written_is_refused_at_once(run, leaky, tmp_path, monkeypatch):
    (tmp_path / "mine.csv").write_text("mine")
    monkeypatch.setattr("tlfeat.audit.audit.audit_dataset", None)
    with pytest.raises(TlfeatError, match="is there already"):
        run("audit", leaky, *FAST, "--write-clean", tmp_path / "mine.csv")
    assert (tmp_path / "mine.csv").read_text() == "mine"


def test_a_clean_table_is_written_and_read_by_other_commands(run, leaky, tmp_path):
    text = run("audit", leaky, *FAST, "--write-clean", tmp_path / "clean.csv")
    assert "51 pictures; left out: " in text
    assert "clean: 51 pictures, 3 classes (manifest)" in run("data", tmp_path / "clean.csv")


def test_a_sound_set_has_no_pairs(run, tmp_path):
    for name in "ab":
        for number in range(6):
            colour = (250, 20, 20) if name == "a" else (20, 20, 250)
            image = photograph(100 * (name == "b") + number)
            image.paste(colour, (20, 20, 76, 76))
            write(tmp_path / "sound" / name / f"{number}.png", encode(image))
    text = run("audit", tmp_path / "sound", *FAST)
    assert "are in train too" not in text
    assert "near-duplicate" not in text


def test_no_name_is_markup_on_the_page(run, tmp_path):
    evil = "<img src=x onerror=alert(1)>"
    for label in (evil, "b"):
        for number in range(4):
            write(tmp_path / "evil" / label / f"{number}.png", encode(photograph(number)))
    run("audit", tmp_path / "evil", *FAST)
    page = (tmp_path / "reports" / "evil" / "audit" / "index.html").read_text()
    assert evil not in page
    assert "&lt;img src=x onerror=alert(1)&gt;" in page
    assert "<script" not in page


def test_compare_says_what_is_wrong_before_its_numbers_are_believed(run, leaky, tmp_path):
    text = run("compare", leaky, *FAST, "--head", "lda")
    assert "! 3 of 18 test pictures are in train too" in text
    page = (tmp_path / "reports" / "leaky" / "index.html").read_text()
    warned = page.index("3 of 18 test pictures are in train too")
    assert page.index("Before a number here is believed") < warned < page.index("The only run")


def test_compare_says_by_how_much_folds_are_too_good(run, tmp_path):
    write_films(tmp_path / "films")
    text = run("compare", tmp_path / "films", *FAST, "--head", "lda")
    assert "pictures come in" in text
    assert "what is chosen or judged on folds is too good by" in text


def test_pictures_are_looked_over_once(run, leaky, monkeypatch):
    text = run("compare", leaky, *FAST, "--head", "lda")
    monkeypatch.setattr("tlfeat.audit.audit.quick_audit", None)
    again = run("compare", leaky, *FAST, "--head", "lda")
    assert [line for line in again.splitlines() if line.startswith("!")] == [
        line for line in text.splitlines() if line.startswith("!")
    ]
    write(leaky / "train" / "a" / "new.png", encode(photograph(999)))
    with pytest.raises(TypeError):  # another set is looked over again
        run("compare", leaky, *FAST, "--head", "lda")


def test_what_could_not_be_looked_at_is_looked_at_again(run, leaky, monkeypatch):
    def gone(*given):
        raise TlfeatError("a picture is gone")

    with monkeypatch.context() as patched:
        patched.setattr("tlfeat.audit.audit.quick_audit", gone)
        assert "!" not in run("compare", leaky, *FAST, "--head", "lda")
    assert "! 3 of 18" in run("compare", leaky, *FAST, "--head", "lda")


def test_very_many_pictures_are_left_to_the_audit(run, leaky, monkeypatch):
    monkeypatch.setattr(groups, "MANY", 10)
    text = run("compare", leaky, *FAST, "--head", "lda")
    assert "! 54 pictures were not looked over: `tlfeat audit` does it." in text


def test_where_the_store_lacks_what_is_needed_it_is_said_until_it_is_there(run, leaky):
    text = run("compare", leaky, *FAST, "--head", "lda", "--features", "stage3:max")
    assert "! The pictures were not looked over, as the store has no last:avg" in text
    text = run("compare", leaky, *FAST, "--head", "lda")
    assert "not looked over" not in text
    assert "! 3 of 18" in text


def test_a_damaged_note_of_what_was_found_is_made_again(run, leaky, tmp_path):
    run("compare", leaky, *FAST, "--head", "lda")
    (tmp_path / "reports" / "leaky" / trust.TRUST).write_text('{"found": 3')
    assert "! 3 of 18" in run("compare", leaky, *FAST, "--head", "lda")


def test_held_rows_far_above_test_are_said_to_be(tmp_path, monkeypatch):
    rows = made_rows("ab", {"train": 40, "validation": 30, "test": 30})
    run = make_run(tmp_path, "made", "ab", rows)
    (as_good,) = rank([run])
    assert held_above_test(as_good) is None

    def judged(validation, test):
        """Give the run with these accuracies, each known to three points."""
        known = {"validation": validation, "test": test}
        ends = {split: {"accuracy": [one - 0.03, one + 0.03]} for split, one in known.items()}
        monkeypatch.setattr("tlfeat.runs.caveats.known_intervals", lambda run: ends)
        metrics = {
            split: {**measured, "accuracy": known.get(split, 1.0)}
            for split, measured in run.metrics.items()
        }
        return rank([run.changed(metrics=metrics)])[0]

    said = held_above_test(judged(0.97, 0.81))
    assert "97.0 against 81.0% right" in said
    assert "tlfeat audit" in said
    assert held_above_test(judged(0.97, 0.93)) is None  # four points, and the intervals meet
    assert held_above_test(judged(0.81, 0.97)) is None
