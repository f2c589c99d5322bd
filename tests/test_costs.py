"""Costs: what is on the front, and what more training buys."""

import numpy as np
import pytest
from made_study import made_rows, make_run, seeded

from tlfeat.runs.costs import break_even, cost_table, pareto_front, seed_spread
from tlfeat.runs.paired import compare_pairs
from tlfeat.runs.predictions import read_predictions
from tlfeat.runs.ranking import rank

CLASSES = ["a", "b", "c"]
ROWS = made_rows(CLASSES, {"train": 30, "validation": 60, "test": 300})


def test_the_front_is_what_nothing_beats_at_both():
    costs = np.array([1.0, 2.0, 2.0, 3.0, np.nan, 4.0])
    values = np.array([0.7, 0.8, 0.9, 0.85, 0.99, 0.95])
    assert pareto_front(costs, values).tolist() == [True, False, True, False, False, True]


@pytest.fixture
def runs(tmp_path):
    cheap = make_run(tmp_path, "efficientnet-lite0-lda", CLASSES, ROWS, skill=2)
    dear = make_run(
        tmp_path, "efficientnet-lite0-full", CLASSES, ROWS, skill=5, seed=1, kind="finetune",
        seconds={"extract": 0.0, "search": None, "fit": 500.0, "predict": 1.0}, ms_per_image=14.5,
    )  # fmt: skip
    return rank([cheap, dear])


def test_break_even_says_answers_and_seconds(runs):
    names = [run.name for run in runs]
    pairs = compare_pairs(names, [read_predictions(run, "test") for run in runs])
    gain = 1000 * (runs[0].metrics["test"]["accuracy"] - runs[1].metrics["test"]["accuracy"])
    (said,) = break_even(runs, pairs)
    assert said.startswith("From efficientnet-lite0-lda to efficientnet-lite0-full: ")
    assert f"{gain:.0f} more right answers of a thousand on test" in said
    assert "494.0 s more of training and 2.5 ms more for each of many pictures." in said
    assert "unadjusted" in said


def test_break_even_shows_no_difference_where_the_test_does_not(runs):
    pair = compare_pairs(
        [run.name for run in runs], [read_predictions(run, "test") for run in runs]
    )
    (said,) = break_even(runs, [pair[0]._replace(p_adjusted=0.2)])
    assert said.endswith("no difference shown.")


def test_sizes_are_of_the_network_and_the_head(runs):
    table = cost_table(runs).set_index("run")
    assert table.loc["efficientnet-lite0-full", "megabytes"] == 17
    assert table.loc["efficientnet-lite0-lda", "megabytes"] == 16


def test_runs_that_differ_in_their_seed_alone_have_a_spread(tmp_path):
    runs = [seeded(tmp_path / "s", "mlp", i) for i in range(3)]
    other = make_run(tmp_path, "lda", CLASSES, ROWS, seed=9)
    spread = {line.name: seed_spread(line) for line in rank([*runs, other])}
    values = [run.metrics["test"]["accuracy"] for run in runs]
    assert spread == {"mlp": (min(values), max(values), 3), "lda": None}
