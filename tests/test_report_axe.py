"""The page by axe-core: what a reader with a screen reader or a keyboard would miss."""

import pytest
from axe import violations
from made_study import made_rows, make_run, rows_of, with_features
from pictures import colour_folders

from tlfeat.data.dataset import open_dataset
from tlfeat.report.merge import write_report as report
from tlfeat.report.page import write_page

pytest.importorskip("axe_playwright_python", reason="axe-playwright-python is not installed")

WIDE, PHONE = {"width": 1440, "height": 900}, {"width": 390, "height": 844}


@pytest.fixture(scope="module")
def heads(tmp_path_factory):
    """Give the page of five heads and a fine-tune, with pictures, a map and curves."""
    folder = tmp_path_factory.mktemp("heads")
    dataset = open_dataset(colour_folders(folder / "data"))
    rows = rows_of(dataset)
    recipe = with_features(folder / "cache", rows)
    runs = [
        make_run(
            folder / "s", name, dataset.classes, rows, skill=i / 2, seed=i, recipes=[recipe],
            fingerprint=dataset.fingerprint,
        )
        for i, name in enumerate(["lda", "knn", "logistic", "svm-linear", "mlp"])
    ]  # fmt: skip
    runs.append(
        make_run(
            folder / "s", "full", dataset.classes, rows, seed=9, kind="finetune",
            fingerprint=dataset.fingerprint,
        )
    )  # fmt: skip
    return write_page(folder / "s", runs, dataset=dataset, cache=folder / "cache")


@pytest.fixture(scope="module")
def without_pictures(tmp_path_factory):
    """Give the page of runs whose pictures and features are gone."""
    folder = tmp_path_factory.mktemp("gone") / "s"
    rows = made_rows("abc", {"train": 30, "validation": 30, "test": 60})
    make_run(folder, "lda", "abc", rows, skill=1)
    make_run(folder, "knn", "abc", rows, skill=0.5, seed=1, score_kind="score")
    return report([folder])


@pytest.fixture(scope="module")
def many_classes(tmp_path_factory):
    """Give the page of two datasets, one of 101 classes with a map."""
    folder = tmp_path_factory.mktemp("many")
    classes = [f"class {i}" for i in range(101)]
    rows = made_rows(classes, {"train": 303, "validation": 101, "test": 202})
    recipe = with_features(folder / "cache", rows)
    make_run(folder / "a", "lda", classes, rows, skill=2, recipes=[recipe])
    few = made_rows("xy", {"train": 20, "validation": 20, "test": 40})
    make_run(folder / "b", "lda", "xy", few, fingerprint="other")
    return report([folder / "a", folder / "b"], folder / "out", cache=folder / "cache")


@pytest.mark.parametrize("kind", ["heads", "without_pictures", "many_classes"])
@pytest.mark.parametrize(("viewport", "scheme"), [(WIDE, "light"), (PHONE, "dark")])
def test_axe_finds_nothing(browser, request, kind, viewport, scheme):
    context = browser.new_context(viewport=viewport, color_scheme=scheme)
    page = context.new_page()
    page.goto(request.getfixturevalue(kind).as_uri())
    page.evaluate("document.querySelectorAll('details').forEach((one) => (one.open = true))")
    if page.locator(".map-facts").count():
        page.locator(".map").first.scroll_into_view_if_needed()
        page.locator(".map .key li").first.wait_for()
    found = violations(page)
    if page.locator(".enlarge").count():
        page.locator(".enlarge").first.click()
        found += violations(page)
    context.close()
    assert found == []


def test_axe_finds_what_is_wrong(browser, without_pictures):
    context = browser.new_context()
    page = context.new_page()
    page.goto(without_pictures.as_uri())
    page.evaluate("document.querySelector('.lead').before(document.createElement('img'))")
    assert any(one.startswith("image-alt") for one in violations(page))
    context.close()
