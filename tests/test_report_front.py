"""The first screen: the tied set, bars, doubts, the command; and the card."""

import re

import numpy as np
import pandas as pd
import pytest
from made_study import ODD_NAMES, made_rows, make_run, seeded
from PIL import Image

from tlfeat.report.again import use_lines
from tlfeat.report.card import draw_card, write_card
from tlfeat.report.contents import gather, split_by_data
from tlfeat.report.front import front, verdict
from tlfeat.report.page import write_page
from tlfeat.report.pair_matrix import pairs_section
from tlfeat.runs import caveats
from tlfeat.runs.caveats import few_test_pictures, no_better_than_one_class
from tlfeat.runs.find import find_run
from tlfeat.runs.ranking import rank
from tlfeat.runs.results import remarks

CLASSES = ["a", "b", "c"]
ROWS = made_rows(CLASSES, {"train": 30, "validation": 60, "test": 300})


@pytest.fixture
def study(tmp_path):
    folder = tmp_path / "reports" / "birds"
    for seed, (name, skill) in enumerate([("lda", 2.5), ("ridge", 2.45), ("knn", 0.6)]):
        make_run(folder, f"efficientnet-lite0-{name}", CLASSES, ROWS, skill=skill, seed=seed)
    return folder


def part_of(folder):
    from tlfeat.runs.record import find_runs

    return gather(split_by_data(find_runs(folder))[0], None, 4000)


def test_all_that_are_tied_are_named_and_no_other(study):
    part = part_of(study)
    top = [part.labels[run.name] for run in part.ranked if run.standing.place == 1]
    said = verdict(part.ranked, part.labels)
    assert len(top) == 2
    assert said == f"Tied at the top, 2 of 3: {top[0]} and {top[1]}"
    assert verdict(part.ranked[:1], part.labels) == f"One run: {top[0]}"
    assert verdict(part.ranked[:2], part.labels) == f"All 2 are tied: {top[0]} and {top[1]}"


def test_bars_show_each_runs_test_accuracy_within_its_interval(study):
    part = part_of(study)
    board = front(part)["board"]
    low, high = float(board["low"]), float(board["high"])
    for run, bar in zip(part.ranked, board["rows"], strict=True):
        at = low + bar["test"] / 200 * (high - low)
        assert at == pytest.approx(100 * run.metrics["test"]["accuracy"], abs=0.1)
        assert bar["low"] < bar["test"] < bar["low"] + bar["width"]
        assert bar["low"] >= 0
        assert bar["low"] + bar["width"] <= 200


def test_without_test_there_are_no_bars(tmp_path):
    rows = made_rows(CLASSES, {"train": 30, "validation": 60})
    run = make_run(tmp_path / "s", "lda", CLASSES, rows)
    values = front(gather(rank([run]), None, 100))
    assert values["board"]["after"] is None
    assert "60 validation pictures" in values["facts"]
    page = write_page(tmp_path / "s", [run]).read_text()
    assert 'td class="strip"' not in page


def test_the_command_names_the_best_runs_own_folder(study, monkeypatch):
    ranked = split_by_data([find_run(study)])[0]
    go, predict = use_lines(ranked[0], None)
    monkeypatch.chdir(go.removeprefix("cd "))
    assert find_run(predict.split()[2]).path.resolve() == ranked[0].path.resolve()


def test_of_several_seeds_the_command_names_the_first(tmp_path):
    runs = [seeded(tmp_path / "s", "lda", seed) for seed in (3, 4)]
    place = use_lines(rank(runs)[0], None)[1].split()[2]
    assert place == f"{tmp_path.name}/s/runs/{runs[0].path.name}"


def test_the_command_has_the_cache_that_is_not_where_it_would_be_looked_for(study, tmp_path):
    ranked = split_by_data([find_run(study)])[0]
    assert "--cache" not in use_lines(ranked[0], tmp_path / "cache")[1]
    line = use_lines(ranked[0], tmp_path / "other place")[1]
    assert line.endswith(f"--cache '{tmp_path}/other place'")


def test_what_is_no_better_than_one_class_is_said_in_red_and_in_the_remarks(tmp_path):
    rows = made_rows(CLASSES, {"train": 30, "validation": 60, "test": 300})
    run = make_run(tmp_path / "s", "lda", CLASSES, rows, skill=0.0)
    said = no_better_than_one_class(rank([run])[0])
    assert re.search(
        r"lda is not shown to be better than always naming a: .* against 33\.3%", said
    )
    assert said in caveats.doubts(rank([run]))
    assert said in remarks(rank([run]))
    page = write_page(tmp_path / "s", [run]).read_text()
    assert page.count("is not shown to be better than always naming") == 1
    assert page.index('class="missing distrust"') < page.index("is not shown to be better")


def test_few_test_pictures_are_doubted_and_many_are_not(tmp_path):
    few = made_rows(CLASSES, {"train": 30, "validation": 60, "test": 24})
    run = rank([make_run(tmp_path / "few", "lda", CLASSES, few, skill=1.5)])[0]
    assert "The 24 test pictures tell little" in few_test_pictures(run)
    many = rank([make_run(tmp_path / "many", "lda", CLASSES, ROWS, skill=1.5)])[0]
    assert few_test_pictures(many) is None
    assert caveats.doubts([many]) == []


def test_the_matrix_of_pairs_is_its_own_mirror_and_has_the_numbers(study):
    part = part_of(study)
    pairs = pairs_section(part)
    matrix = pairs["matrix"]
    for i, row in enumerate(matrix):
        assert row[i] is None
        for j, cell in enumerate(row):
            if i == j:
                continue
            mirror = matrix[j][i]
            assert float(cell["text"]) == -float(mirror["text"])
            assert (cell["kind"], mirror["kind"]) in (
                ("same", "same"), ("better", "worse"), ("worse", "better"),
            )  # fmt: skip
    worst = next(i for i, name in enumerate(pairs["names"]) if name == "knn")
    assert {matrix[0][worst]["kind"]} == {"better"}
    words = matrix[0][worst]["words"]
    accuracies = [run.metrics["test"]["accuracy"] for run in part.ranked]
    gain = 100 * (accuracies[0] - accuracies[worst])
    assert words.startswith(f"{pairs['names'][0]} against knn: {gain:+.1f} points")
    assert f"{pairs['names'][0]} is better" in words
    assert "p by Holm below 0.001" in words
    assert pairs["n_shown"] == 2


def card_table(k):
    value = np.linspace(0.9, 0.7, k)
    names = [*ODD_NAMES, *(f"run {i}" for i in range(k))][:k]
    return pd.DataFrame(
        {
            "run": names,
            "value": value,
            "low": value - 0.05,
            "high": value + 0.04,
            "top": value > 0.85,
        }
    )


@pytest.mark.parametrize("k", [1, 4, 30])
@pytest.mark.parametrize("doubts", [[], ["few pictures " * 30, "second"]])
def test_a_card_is_1200_by_630_and_nothing_runs_out_of_it(k, doubts, tmp_path):
    ax = draw_card(
        card_table(k),
        title="garments " * 20,
        facts="many " * 60,
        verdict="tied " * 60,
        doubts=doubts,
    )
    write_card(tmp_path / "card.png", ax)
    with Image.open(tmp_path / "card.png") as picture:
        assert picture.size == (1200, 630)
    renderer = ax.figure.canvas.get_renderer()
    boxes = [text.get_window_extent(renderer) for text in ax.texts]
    assert all(box.x0 >= 0 and box.y0 >= 0 for box in boxes)
    assert all(box.x1 <= 1200 and box.y1 <= 630 for box in boxes)


def test_a_card_without_an_accuracy_is_drawn(tmp_path):
    table = card_table(2).assign(value=np.nan, low=np.nan, high=np.nan)
    write_card(tmp_path / "card.png", draw_card(table, title="t", facts="f", verdict="v"))
    assert (tmp_path / "card.png").exists()


def test_a_card_stands_beside_the_page(study):
    from tlfeat.runs.record import find_runs

    page = write_page(study, find_runs(study))
    assert (page.parent / "card.png").exists()
    assert "card.png" in page.read_text()
