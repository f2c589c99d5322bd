"""The page shows where a linear run looked when it was surest of what is wrong."""

import re
from pathlib import Path

import pytest
from conftest import SIZE

from tlfeat.data.dataset import open_dataset
from tlfeat.deploy import explain as explaining
from tlfeat.report import maps as module
from tlfeat.report.contents import gather, split_by_data
from tlfeat.report.maps import map_cards, mistake_maps
from tlfeat.report.page import write_report
from tlfeat.runs.record import find_runs
from tlfeat.studies.compare import compare


@pytest.fixture
def mistaken(make_pictures, cache, tmp_path):
    """Give a study whose runs are wrong now and then: a third of the pictures lies wrong."""
    folder = make_pictures(tmp_path / "set", per_class=20)
    for number in range(0, 20, 3):
        red = folder / "red" / f"red-{number:03}.png"
        blue = folder / "blue" / f"blue-{number:03}.png"
        was_red, was_blue = red.read_bytes(), blue.read_bytes()
        red.write_bytes(was_blue)
        blue.write_bytes(was_red)

    def run(heads, **options):
        return compare(
            folder, heads=heads, size=SIZE, cache=cache, reports=tmp_path / "reports", **options
        ).folder, open_dataset(folder)

    return run


def part_of(folder, cache):
    (ranked,) = split_by_data(find_runs(folder))
    return gather(ranked, cache, 100)


def test_the_surest_mistakes_of_the_best_linear_run_have_maps(mistaken, cache):
    folder, dataset = mistaken(["knn", "lda"], features=["last:avg"])
    part = part_of(folder, cache)
    maps = mistake_maps(part, dataset, cache)
    assert maps.run.endswith("lda")
    number = next(i for i, one in enumerate(part.predictions) if one.run.name.endswith("lda"))
    assert list(maps.uris) == part.mistakes(number)[: module.MAPS].tolist()
    assert maps.uris
    cards = map_cards(part, maps)
    assert all(card["true"] != card["predicted"] for card in cards["cards"])
    page = (folder / "index.html").read_text()
    assert "What it looked at" in page
    shown = page[page.index("What it looked at") : page.index("Wrong in every run")]
    assert len(re.findall(r'<img src="data:image/webp', shown)) == len(maps.uris)


def test_where_no_run_is_linear_there_are_none(mistaken, cache):
    folder, dataset = mistaken(["knn"], features=["last:avg"])
    assert mistake_maps(part_of(folder, cache), dataset, cache).uris == {}
    assert "What it looked at" not in (folder / "index.html").read_text()


def test_nothing_is_exported_for_a_page(mistaken, cache, tmp_path, monkeypatch):
    folder, dataset = mistaken(["lda"], features=["last:avg"])

    def refuse(*_args, **_options):
        pytest.fail("a network was run that the store has not")

    monkeypatch.setattr(explaining, "explain", refuse)
    part = part_of(folder, cache)
    assert mistake_maps(part, dataset, tmp_path / "empty").uris == {}
    assert mistake_maps(part, dataset, None).uris == {}


def test_a_page_is_whole_where_the_head_is_gone(mistaken, cache):
    folder, dataset = mistaken(["lda"], features=["last:avg"])
    (run,) = find_runs(folder)
    (run.path / "head.skops").unlink()
    (folder / "index.html").unlink()
    page = write_report(folder, [run], dataset=dataset, cache=cache).read_text()
    assert "Most confident mistakes" in page
    assert "What it looked at" not in page


def test_a_page_is_whole_where_pictures_are_gone(mistaken, cache):
    folder, dataset = mistaken(["lda"], features=["last:avg"])
    for sample in dataset.samples:
        Path(sample.locator).unlink()
    (folder / "index.html").unlink()
    page = write_report(folder, find_runs(folder), dataset=dataset, cache=cache).read_text()
    assert "none are shown" in page
    assert "What it looked at" not in page
