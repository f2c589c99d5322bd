"""The page: what is in it, what is not, and that names are never markup."""

import base64
import io
import json
import re
import sys
from html.parser import HTMLParser

import pytest
import tomli_w
from made_study import ODD_NAMES, made_rows, make_run, rows_of
from pictures import class_folder
from PIL import Image

from tlfeat.data.dataset import open_dataset
from tlfeat.errors import TlfeatError
from tlfeat.report.merge import write_report as report
from tlfeat.report.page import import_drawing, write_page
from tlfeat.report.phrases import missing_runs
from tlfeat.report.pictures import LARGE_SIDE, SIDE, choose_samples, thumbnails
from tlfeat.report.render import as_json
from tlfeat.report.trust import TRUST
from tlfeat.runs.record import PREDICTIONS, find_runs
from tlfeat.runs.results import write_results

CLASSES = ["a", "b", "c"]
ROWS = made_rows(CLASSES, {"train": 30, "validation": 30, "test": 90})


class Page(HTMLParser):
    """Collects tags, ids, and the script's data."""

    def __init__(self, text):
        super().__init__()
        self.tags, self.ids, self.open, self.words = [], [], [], []
        self.facts = []
        self.feed(text)
        self.text = " ".join(" ".join(self.words).split())

    def handle_starttag(self, tag, attributes):
        self.tags.append((tag, dict(attributes)))
        if "id" in dict(attributes):
            self.ids.append(dict(attributes)["id"])
        self.open.append((tag, dict(attributes)))

    def handle_endtag(self, tag):
        while self.open and self.open.pop()[0] != tag:
            pass

    def handle_data(self, data):
        if self.open and self.open[-1][1].get("class") == "facts":
            self.facts.append(json.loads(data))
        elif not self.open or self.open[-1][0] not in ("script", "style"):
            self.words.append(data)


def read(path):
    return Page(path.read_text(encoding="utf-8"))


@pytest.fixture
def study(tmp_path):
    return make_birds(tmp_path / "birds")


@pytest.fixture(scope="module")
def written(tmp_path_factory):
    """Give the page of a whole study, which no test changes."""
    folder = make_birds(tmp_path_factory.mktemp("reports") / "birds")
    return write_page(folder, find_runs(folder))


def make_birds(folder):
    make_run(folder, "efficientnet-lite0-lda", CLASSES, ROWS, skill=2.5)
    make_run(folder, "efficientnet-lite0-knn", CLASSES, ROWS, skill=1, seed=1)
    svm = make_run(folder, "efficientnet-lite0-svm-rbf", CLASSES, ROWS, seed=2, score_kind="score")
    assert svm.metrics["test"]["log_loss"] is None
    make_run(folder, "efficientnet-lite0-full", CLASSES, ROWS, skill=3, seed=3, kind="finetune")
    names = [{"name": run.name} for run in find_runs(folder)]
    (folder / "study.toml").write_text(tomli_w.dumps({"schema": 1, "run": names}))
    return folder


def test_the_page_has_all_its_sections_figures_and_tables(written):
    page, study = read(written), written.parent
    sections = ("results", "cost", "pairs", "mistakes", "confusion", "classes", "sure", "curves")
    assert {f"{section}-0" for section in (*sections, "features", "data", "repeat")} <= set(
        page.ids
    )
    assert len(page.ids) == len(set(page.ids))
    figures = {path.stem for path in (study / "figures").glob("*.svg")}
    assert figures == {path.stem for path in (study / "figures").glob("*.png")}
    assert {"leaderboard", "confusion", "class-f1", "reliability", "curves-1-loss"} <= figures
    assert "Best of 4 runs by validation" in page.text
    assert "Is fine-tuning worth it?" in page.text
    assert "svm-rbf: scores, not probabilities" in page.text
    assert (study / "results.tex").read_text().startswith(r"\begin{tabular}")


def test_the_page_loads_nothing(written):
    text = written.read_text()
    page = Page(text)
    for tag, attributes in page.tags:
        for name in ("src", "href", "xlink:href", "action", "data"):
            value = attributes.get(name) or ""
            assert value.startswith(("#", "data:")) or not value, (tag, value)
    assert "@import" not in text
    assert "url(http" not in text
    policy = next(a["content"] for t, a in page.tags if t == "meta" and "content" in a
                  and "default-src" in a["content"])  # fmt: skip
    assert policy.startswith("default-src 'none'")


def test_names_of_classes_and_files_are_text(tmp_path):
    classes = ["</script><script>alert(1)</script>", *ODD_NAMES]
    rows = made_rows(classes, {"train": 25, "validation": 25, "test": 50})
    skipped = [{"id": "<b>x</b>.png", "reason": "broken: <script>alert(2)</script>"}]
    run = make_run(tmp_path / "odd", "lda", classes, rows, skill=0.5)
    dataset = {**run.record["dataset"], "skipped": skipped, "source": "/data/<i>odd</i>"}
    run = run.changed(dataset=dataset, warnings=["<u>careful</u>"])
    page = read(write_page(tmp_path / "odd", [run]))
    assert not {"img", "i", "u"} & {tag for tag, a in page.tags if a.get("onerror") or tag == "u"}
    scripts = [attributes for tag, attributes in page.tags if tag == "script"]
    data = [{"type": "application/json", "class": name} for name in ("costs", "facts")]
    assert scripts == [*data, {}]
    for name in (*classes, "<b>x</b>.png", "<u>careful</u>", "/data/<i>odd</i>"):
        assert name in page.text
    assert page.facts[0]["classes"] == classes


def test_data_for_the_script_cannot_end_its_block():
    text = str(as_json(["</script><!--", "&", "\u2028"]))
    assert not set("<>&\u2028") & set(text)
    assert json.loads(text) == ["</script><!--", "&", "\u2028"]


def test_confusion_and_mistakes_are_those_of_the_predictions(written):
    runs = find_runs(written.parent)
    facts = read(written).facts[0]
    by_name = {run.name.removeprefix("efficientnet-lite0-"): run for run in runs}
    assert {one["name"] for one in facts["runs"]} == set(by_name)
    for one in facts["runs"]:
        table = by_name[one["name"]].predictions()
        table = table[table["split"] == "test"]
        assert sum(cell[2] for cell in one["cells"]) == len(table)
        wrong = table[table["true"] != table["predicted"]]
        assert sum(n for i, j, n in one["cells"] if i != j) == len(wrong)
        scores = wrong.filter(like="score_").to_numpy()
        if one["name"] == "knn":
            surest = wrong["id"].iloc[scores.max(axis=1).argmax()]
            sure = dict(zip(facts["ids"], one["sure"], strict=True))
            assert max(wrong["id"], key=sure.__getitem__) == surest
        called = dict(zip(facts["ids"], one["predicted"], strict=True))
        assert called == dict(zip(table["id"], table["predicted"], strict=True))


def test_an_unchanged_page_is_not_written_again(study, monkeypatch):
    page = write_page(study, find_runs(study))
    monkeypatch.setattr("tlfeat.report.page.render", lambda *_, **__: pytest.fail("written again"))
    assert write_page(study, find_runs(study)) == page
    with pytest.raises(pytest.fail.Exception):
        write_page(study, find_runs(study)[1:])


def test_a_study_that_was_moved_has_a_page_of_its_new_place(study, tmp_path):
    write_page(study, find_runs(study))
    moved = tmp_path / "else where" / "reports" / study.name
    moved.parent.mkdir(parents=True)
    study.rename(moved)
    text = write_page(moved, find_runs(moved)).read_text()
    assert str(moved.parent.parent) in text


def test_a_card_that_is_gone_is_drawn_again(study):
    page = write_page(study, find_runs(study))
    (page.parent / "card.png").unlink()
    write_page(study, find_runs(study))
    assert (page.parent / "card.png").exists()


def test_the_page_has_what_is_found_while_it_is_drawn(study):
    runs = find_runs(study)

    def looked():
        facts = {"fingerprint": runs[0].dataset.fingerprint, "found": ["Two of a scene."]}
        (study / TRUST).write_text(json.dumps(facts))

    page = write_page(study, runs, looked=looked)
    assert "Two of a scene." in read(page).text
    written = page.stat().st_mtime_ns
    write_page(study, runs, looked=looked)
    assert page.stat().st_mtime_ns == written


def test_the_page_works_when_the_pictures_are_gone(written):
    page = read(written)
    assert "The pictures cannot be read here any more" in page.text
    assert page.facts[0]["pictures"] == []
    assert len(page.facts[0]["ids"]) == 90


def test_small_pictures_are_in_the_page_and_bounded(tmp_path, pictures, monkeypatch):
    dataset = open_dataset(pictures)
    rows = rows_of(dataset)
    study = tmp_path / "study"
    run = make_run(study, "lda", dataset.classes, rows, fingerprint=dataset.fingerprint)
    n_test = run.metrics["test"]["n"]
    facts = read(write_page(study, [run], dataset=dataset)).facts[0]
    assert len(facts["pictures"]) == n_test
    assert all(uri.startswith("data:image/webp;base64,") for uri in facts["pictures"])
    assert len(facts["large"]) == min(n_test, 60)
    assert (study / facts["files"] / facts["ids"][0]).resolve().is_file()
    monkeypatch.setattr("tlfeat.report.pictures.MOST_PICTURES", 3)
    page = read(write_page(study, [run], dataset=dataset, refused={"x": "new"}))
    assert len(page.facts[0]["pictures"]) == 3
    assert "3 small pictures are in this page" in page.text


def test_pictures_stop_at_their_bytes_and_broken_ones_are_left_out(pictures):
    dataset = open_dataset(pictures)
    digests = [sample.digest for sample in dataset.samples]
    (pictures / dataset.samples[0].id).unlink()
    (pictures / dataset.samples[1].id).write_bytes(b"no picture any more")
    found = thumbnails(dataset, digests)
    assert set(found) == set(digests[2:])
    budget = sum(map(len, found.values())) // 2
    assert sum(map(len, thumbnails(dataset, digests, most_bytes=budget).values())) <= budget


def size_of(uri):
    return Image.open(io.BytesIO(base64.b64decode(uri.partition(",")[2]))).size


def test_a_picture_that_is_small_already_stays_as_it_is(tmp_path, make_pictures):
    folder = make_pictures(tmp_path / "signs", side=22)
    dataset = open_dataset(folder)
    found = thumbnails(dataset, [sample.digest for sample in dataset.samples])
    assert {size_of(uri) for uri in found.values()} == {(30, 22)}


@pytest.mark.parametrize(("side", "wanted"), [(SIDE, (96, 72)), (LARGE_SIDE, (400, 300))])
def test_a_large_picture_is_as_large_as_the_page_wants_it(side, wanted, tmp_path):
    folder = class_folder(tmp_path / "scenes", each=1)
    for path in folder.rglob("*.png"):
        Image.new("RGB", (800, 600), "red").save(path)
    dataset = open_dataset(folder)
    (uri, *_) = thumbnails(dataset, [dataset.samples[0].digest], side=side).values()
    assert size_of(uri) == wanted


def test_what_every_run_gets_wrong_is_chosen_first():
    import numpy as np

    true = np.array([0, 0, 1, 1, 2, 2])
    predicted = np.array([[0, 1, 1, 1, 2, 0], [0, 1, 0, 1, 2, 2]])
    confidence = np.array([[0.9, 0.5, 0.9, 0.9, 0.9, 0.8], [0.9, 0.5, 0.7, 0.9, 0.9, 0.9]])
    chosen = choose_samples(true, predicted, confidence)
    assert chosen.tolist()[:3] == [1, 5, 2]
    assert sorted(chosen.tolist()) == list(range(6))
    assert len(choose_samples(true, predicted, confidence, most=2)) == 2


def test_a_study_that_was_stopped_shows_what_there_is_and_what_is_missing(study):
    names = [{"name": run.name} for run in find_runs(study)] + [{"name": "resnet50-lda"}]
    (study / "study.toml").write_text(tomli_w.dumps({"schema": 1, "run": names}))
    (study / "runs" / "efficientnet-lite0-scratch-0123abcd").mkdir()
    lost = find_runs(study)[0]
    (lost.path / PREDICTIONS).unlink()
    page = read(report([study]))
    assert "missing" in page.ids
    assert "resnet50-lda: asked for in study.toml, not finished." in page.text
    assert "efficientnet-lite0-scratch: begun, not finished" in page.text
    assert f"{lost.name} is in the tables only" in page.text
    assert len(page.facts[0]["runs"]) == 3
    assert "Best of 4 runs" in page.text


def test_a_study_without_a_finished_run_has_a_page_that_says_so(tmp_path):
    study = tmp_path / "begun"
    (study / "runs" / "efficientnet-lite0-full-0123abcd").mkdir(parents=True)
    page = read(report([study]))
    assert "No run is finished yet" in page.text
    assert missing_runs(study, [])[0].startswith("begun has no study.toml")


def test_a_report_fills_low_and_high_of_the_long_table(study):
    import pandas as pd

    write_results(study, find_runs(study))
    table = pd.read_csv(study / "results.csv")
    measured = table[table["split"] == "test"]
    assert measured["low"].notna().all()
    assert (measured["low"] <= measured["value"]).all()
    assert (measured["value"] <= measured["high"]).all()
    assert table[table["split"].isin(["train", "validation"])]["low"].isna().all()


def test_studies_of_one_dataset_are_merged_into_one_table(tmp_path):
    one, two, out = tmp_path / "one", tmp_path / "two", tmp_path / "out"
    make_run(one, "lda", CLASSES, ROWS)
    make_run(two, "knn", CLASSES, ROWS, seed=1)
    make_run(two, "lda", CLASSES, ROWS)  # the same run again
    page = read(report([one, two], out))
    assert "Best of 2 runs by validation" in page.text
    assert {run["name"] for run in page.facts[0]["runs"]} == {"lda", "knn"}
    assert {path.name for path in out.iterdir()} == {
        "index.html", "card.png", "figures", "results.csv", "results.md", "results.tex"
    }  # fmt: skip


def test_studies_of_two_datasets_stand_below_each_other(tmp_path):
    one, two, out = tmp_path / "one", tmp_path / "two", tmp_path / "out"
    make_run(one, "lda", CLASSES, ROWS, source="/data/birds")
    rows = made_rows("xy", {"train": 20, "validation": 20, "test": 40})
    make_run(two, "lda", "xy", rows, fingerprint="other", source="/data/fish")
    page = read(report([one, two], out))
    assert {"part-0", "part-1"} <= set(page.ids)
    assert len(page.ids) == len(set(page.ids))
    assert [facts["classes"] for facts in page.facts] == [CLASSES, ["x", "y"]]
    assert {path.name for path in out.iterdir()} >= {"1-birds", "2-fish", "figures"}


def test_what_is_no_study_is_said(tmp_path):
    with pytest.raises(TlfeatError, match="is no study"):
        report([tmp_path])
    (tmp_path / "a" / "runs").mkdir(parents=True)
    (tmp_path / "b" / "runs").mkdir(parents=True)
    with pytest.raises(TlfeatError, match="--out"):
        report([tmp_path / "a", tmp_path / "b"])


def test_a_network_with_more_outputs_than_classes_has_a_column_for_them(tmp_path):
    make_run(tmp_path / "s", "base", CLASSES, ROWS, outputs=20, skill=0.5)
    facts = read(report([tmp_path / "s"])).facts[0]
    assert facts["outputs"] == [*CLASSES, "(another output)"]
    assert max(cell[1] for cell in facts["runs"][0]["cells"]) == 3


def test_a_study_without_a_test_split_shows_validation(tmp_path):
    rows = [row for row in ROWS if row.split != "test"]
    make_run(tmp_path / "s", "lda", CLASSES, rows)
    page = read(report([tmp_path / "s"]))
    assert "There are no test pictures" in page.text
    assert "this is validation" in page.text


def test_latex_escapes_what_it_would_read(written):
    text = (written.parent / "results.tex").read_text()
    assert r"val \%" in text
    assert r"\textbf{" in text
    assert not re.search(r"(?<![\\\n])%", text)  # but for lines that are comments


def test_what_draws_can_be_imported_ahead():
    import_drawing()  # where it is done ahead nobody hears of an error
    assert "matplotlib.backends.backend_svg" in sys.modules
