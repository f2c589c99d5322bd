"""The page shows where a linear run looked when it was surest of what is wrong."""

import re
import shutil
from pathlib import Path

import pytest
from conftest import SIZE
from pictures import colour_folders

from tlfeat.data.dataset import open_dataset
from tlfeat.deploy import explain as explaining
from tlfeat.report import maps as module
from tlfeat.report.contents import gather, split_by_data
from tlfeat.report.maps import map_section, mistake_maps
from tlfeat.report.page import write_page
from tlfeat.runs.record import find_runs
from tlfeat.studies.compare import compare


@pytest.fixture(scope="module")
def made(tmp_path_factory, networks):
    """Make a study whose runs are wrong now and then: a third of the pictures lies wrong."""
    place = tmp_path_factory.mktemp("mistaken")
    folder, cache = colour_folders(place / "set", per_class=20), place / "cache"
    cache.mkdir()
    (cache / "networks").symlink_to(networks)
    for number in range(0, 20, 3):
        red = folder / "red" / f"red-{number:03}.png"
        blue = folder / "blue" / f"blue-{number:03}.png"
        was_red, was_blue = red.read_bytes(), blue.read_bytes()
        red.write_bytes(was_blue)
        blue.write_bytes(was_red)
    heads = ["knn", "ridge", "lda"]
    told = {"features": ["last:avg"], "size": SIZE, "cache": cache, "reports": place / "reports"}
    return compare(folder, heads=heads, **told).folder, open_dataset(folder), cache


@pytest.fixture
def study(made, tmp_path):
    """Give a copy of it, which a test may spoil, its pictures and the store."""
    folder, dataset, cache = made
    return Path(shutil.copytree(folder, tmp_path / "mistaken")), dataset, cache


def part_of(folder, cache, *heads):
    (ranked,) = split_by_data([run for run in find_runs(folder) if run.name.endswith(heads)])
    return gather(ranked, cache, 100)


def test_the_surest_mistakes_of_the_best_linear_run_have_maps(study):
    folder, dataset, cache = study
    part = part_of(folder, cache, "knn", "lda")
    maps = mistake_maps(part, dataset, cache)
    number = next(i for i, one in enumerate(part.predictions) if one.run.name.endswith("lda"))
    assert maps.number == number
    assert maps.places.tolist() == part.mistakes(number)[: module.MAPS].tolist()
    shown = map_section(part, maps)
    assert shown["run"] == part.labels[part.predictions[number].run.name]
    assert len(shown["cards"]) == len(maps.places) > 0
    assert all(card["true"] != card["predicted"] for card in shown["cards"])
    assert all(card["picture"].startswith("data:image/webp") for card in shown["cards"])
    page = (folder / "index.html").read_text()
    shown = page[page.index("What it looked at") : page.index('id="confusion-0"')]
    whole = mistake_maps(part_of(folder, cache, "knn", "ridge", "lda"), dataset, cache)
    assert len(re.findall(r'<img src="data:image/webp', shown)) == len(whole.places)


def test_a_linear_run_without_mistakes_is_passed_over(study):
    folder, dataset, cache = study
    part = part_of(folder, cache, "ridge", "lda")
    best, other = part.predictions
    part.predictions[0] = best._replace(predicted=part.facts.true)
    assert mistake_maps(part, dataset, cache).number == 1
    part.predictions[1] = other._replace(predicted=part.facts.true)
    assert mistake_maps(part, dataset, cache) is None


def test_where_no_run_is_linear_there_are_none(study):
    folder, dataset, cache = study
    assert mistake_maps(part_of(folder, cache, "knn"), dataset, cache) is None


def test_nothing_is_exported_for_a_page(study, tmp_path, monkeypatch):
    folder, dataset, cache = study

    def refuse(*_args, **_options):
        pytest.fail("a network was run that the store has not")

    monkeypatch.setattr(explaining, "explain", refuse)
    part = part_of(folder, cache, "lda")
    assert mistake_maps(part, dataset, tmp_path / "empty") is None
    assert mistake_maps(part, dataset, None) is None


def test_a_page_is_whole_where_the_head_is_gone(study):
    folder, dataset, cache = study
    runs = [run for run in find_runs(folder) if run.name.endswith("lda")]
    (runs[0].path / "head.skops").unlink()
    (folder / "index.html").unlink()
    page = write_page(folder, runs, dataset=dataset, cache=cache).read_text()
    assert "Most confident mistakes" in page
    assert "What it looked at" not in page


def test_a_page_is_whole_where_pictures_are_gone(study):
    folder, _, cache = study
    gone = colour_folders(folder / "gone")
    dataset = open_dataset(gone)
    shutil.rmtree(gone)
    (folder / "index.html").unlink()
    page = write_page(folder, find_runs(folder), dataset=dataset, cache=cache).read_text()
    assert "none are shown" in page
    assert "What it looked at" not in page
