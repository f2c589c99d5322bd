"""The table of datasets and runs, on a page of several datasets."""

import pytest
from made_study import made_rows, make_run

from tlfeat.report.contents import split_by_data
from tlfeat.report.matrix import matrix_values
from tlfeat.report.merge import write_report as report

SETS = {"birds": "abc", "fish": "xy", "cars": "uvw"}


def make(folder, name, source, skill, seed=0, **more):
    classes = SETS[source]
    rows = made_rows(classes, {"train": 30, "validation": 60, "test": 60})
    return make_run(
        folder / source, name, classes, rows, skill=skill, seed=seed, fingerprint=source,
        source=f"/data/{source}", **more,
    )  # fmt: skip


def test_there_is_none_of_one_dataset(tmp_path):
    runs = [make(tmp_path, "lda", "birds", 2), make(tmp_path, "knn", "birds", 1)]
    assert matrix_values(split_by_data(runs)) is None
    assert "Datasets and runs" not in report([tmp_path / "birds"]).read_text()


def test_every_run_stands_where_it_was_run_and_the_best_by_validation_is_marked(tmp_path):
    runs = [
        make(tmp_path, "efficientnet-lite0-lda", "birds", 4),
        make(tmp_path, "efficientnet-lite0-knn", "birds", 0.5, seed=1),
        make(tmp_path, "efficientnet-lite0-lda", "fish", 3),
    ]
    values = matrix_values(split_by_data(runs))
    assert values["runs"] == ["lda", "knn"]
    birds, fish = values["rows"]
    assert (birds["name"], fish["name"]) == ("birds", "fish")
    assert [cell["best"] for cell in birds["cells"]] == [True, False]
    assert birds["cells"][0]["value"] == f"{100 * runs[0].metrics['test']['accuracy']:.1f}"
    assert birds["cells"][1]["place"] == "2"
    assert fish["cells"][1] is None
    assert values["means"] == []  # one dataset has both


def test_mean_places_are_over_the_datasets_that_have_all_runs(tmp_path):
    runs = [
        make(tmp_path, "lda", "birds", 4),
        make(tmp_path, "knn", "birds", 0.5, seed=1),
        make(tmp_path, "lda", "fish", 0.5),
        make(tmp_path, "knn", "fish", 4, seed=1),
        make(tmp_path, "knn", "cars", 2),
    ]
    values = matrix_values(split_by_data(runs))
    assert values["means"] == ["1.5", "1.5"]
    assert values["complete"] == 2
    page = report([tmp_path / name for name in SETS], tmp_path / "out").read_text()
    assert "over the 2 of 3 datasets" in page
    assert page.index("Datasets and runs") < page.index('id="part-0"')


def test_a_dataset_without_test_pictures_has_places_alone(tmp_path):
    rows = made_rows("uvw", {"train": 30, "validation": 60})
    make_run(tmp_path / "cars", "lda", "uvw", rows, fingerprint="cars", source="/data/cars")
    make(tmp_path, "lda", "birds", 2)
    page = report([tmp_path / "cars", tmp_path / "birds"], tmp_path / "out").read_text()
    assert "Without test pictures: <bdi>cars</bdi>" in page


def test_names_of_datasets_are_text(tmp_path, monkeypatch):
    monkeypatch.setitem(SETS, "<img src=x>", "pq")
    runs = [make(tmp_path, "lda", "birds", 2), make(tmp_path, "lda", "<img src=x>", 2)]
    assert runs[1].dataset.source == "/data/<img src=x>"
    folders = [run.study for run in runs]
    assert "<img src=x>" not in report(folders, tmp_path / "out").read_text()


@pytest.mark.parametrize("width", [1440, 390])
def test_it_sorts_and_its_first_column_stays(browser, tmp_path, width):
    for i, source in enumerate(SETS):
        for name in ("lda", "knn", "logistic", "mlp", "svm-rbf"):
            make(tmp_path, name, source, 1 + i, seed=i)
    path = report([tmp_path / name for name in SETS], tmp_path / "out")
    page = browser.new_page(viewport={"width": width, "height": 800})
    page.goto(path.as_uri())
    table = page.locator(".studies-matrix")
    names = table.locator("tbody th").all_inner_texts()
    table.get_by_role("button", name="knn").click()
    values = [
        float(one.split()[0]) for one in table.locator("tbody td:nth-child(2)").all_inner_texts()
    ]
    assert sorted(names) == sorted(table.locator("tbody th").all_inner_texts())
    assert values == sorted(values, reverse=True)
    page.evaluate("document.querySelector('#studies .scroll').scrollLeft = 200")
    box = table.locator("tbody th").first.bounding_box()
    assert box["x"] >= 0
    assert page.evaluate("document.documentElement.scrollWidth") <= width
    page.close()
