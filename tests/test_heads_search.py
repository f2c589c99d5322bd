"""How a setting is chosen on held rows."""

from typing import Any

import numpy as np
import pytest

from tlfeat.heads.ground import Ground
from tlfeat.heads.objective import Objective
from tlfeat.heads.pool import run_jobs
from tlfeat.heads.search import Choice, Search, choose
from tlfeat.heads.table import get_head

Y = np.tile([0, 1], 50)


class Told:
    """A head whose logits are told, setting by setting."""

    def __init__(self, margins: dict[Any, np.ndarray], y: np.ndarray, out: np.ndarray) -> None:
        self.margins, self.y, self.out = margins, y, out

    def logits(self, setting: dict[str, Any]) -> np.ndarray:
        margin = self.margins[setting["C"]]  # of the true class
        truth = np.where(self.y == 1, margin, -margin)[self.out]
        return np.column_stack([np.zeros(len(truth)), truth])

    def reached(self) -> str:
        return f"part {self.out.argmax()}"


def search(
    margins: dict[Any, np.ndarray],
    *,
    y: np.ndarray = Y,
    metric: str = "accuracy",
) -> Choice:
    """Choose among settings on five folds."""
    ground = Ground(np.zeros((100, 1), np.float32), y, 2)
    objective = Objective(metric, np.bincount(y))
    wanted = Search(
        {}, {"C": tuple(margins)}, objective, None, lambda rows: Told(margins, y, rows.out)
    )
    (choice,) = run_jobs([choose(wanted, ground.parts)], 2)
    assert isinstance(choice, Choice)
    return choice


def wrong_at(n: int) -> np.ndarray:
    """Give margins of which the first n rows are wrong."""
    return np.where(np.arange(100) < n, -1.0, 1.0)


def test_the_fewest_errors_win() -> None:
    choice = search({1.0: wrong_at(20), 2.0: wrong_at(5), 3.0: wrong_at(30)})
    assert choice.setting == {"C": 2.0}
    assert [row["score"] for row in choice.table if row["setting"]["C"] == 2.0] == [0.95]
    np.testing.assert_array_equal(choice.logits.argmax(axis=1) == Y, wrong_at(5) > 0)


def test_among_settings_that_are_as_good_the_least_log_loss_decides() -> None:
    luckless = np.where(np.arange(100) < 6, -0.1, 1.0)  # one error more, but hardly sure of any
    choice = search({1.0: wrong_at(20), 2.0: wrong_at(5), 3.0: luckless})
    assert choice.setting == {"C": 3.0}
    losses = {row["setting"]["C"]: row["log_loss"] for row in choice.table}
    assert losses[3.0] < losses[2.0]


def test_of_what_is_equal_the_more_regularised_wins() -> None:
    margins = {1.0: wrong_at(5), 2.0: 3 * wrong_at(5), 3.0: 2 * wrong_at(5)}
    assert search(margins).setting == {"C": 1.0}  # a temperature makes them equal


def test_a_search_goes_on_beyond_the_edge_while_that_pays() -> None:
    ground = Ground(np.zeros((100, 1), np.float32), Y, 2)
    best = {10.0: 30, 1.0: 20, 0.1: 9, 0.01: 0, 0.001: 5}
    margins = {C: wrong_at(n) for C, n in best.items()}
    C = next(one for one in get_head("logistic").settings if one.name == "C")
    wanted = Search(
        {},
        {"C": (10.0, 1.0)},
        Objective("accuracy", np.bincount(Y)),
        None,
        lambda rows: Told(margins, Y, rows.out),
        C.beyond,
    )
    (choice,) = run_jobs([choose(wanted, ground.parts)], 1)
    assert choice.setting == {"C": 0.01}
    assert [row["setting"]["C"] for row in choice.table] == list(best)
    assert choice.edges == []


def test_the_best_at_an_edge_is_told() -> None:
    assert search({1.0: wrong_at(20), 2.0: wrong_at(9), 3.0: wrong_at(0)}).edges == ["C"]


def test_what_loses_clearly_on_the_first_part_is_not_tried_on_the_others() -> None:
    random = np.random.default_rng(0)
    hopeless, close = random.permutation(wrong_at(60)), random.permutation(wrong_at(4))
    choice = search({1.0: hopeless, 2.0: close, 3.0: wrong_at(0)})
    assert {row["setting"]["C"]: row["parts"] for row in choice.table} == {1.0: 1, 2.0: 5, 3.0: 5}


@pytest.mark.parametrize(
    ("metric", "best"),
    [("accuracy", "sure"), ("balanced-accuracy", "fair"), ("macro-f1", "fair"),
     ("roc-auc", "mild"), ("log-loss", "mild")],
)  # fmt: skip
def test_the_metric_decides_what_is_best(metric: str, best: str) -> None:
    place = np.arange(100)
    rare = (place % 10 == 0).astype(int)
    margins = {
        "sure": np.where(rare == 1, -3.0, 3.0),  # names the common class always: 10 errors
        "fair": np.where((place % 8 == 1) & (rare == 0), -3.0, 3.0),  # 13, none of the rare
        "mild": np.where(place % 4 == 1, -0.2, 1.5),  # 25 errors, none of them sure
    }
    assert search(margins, y=rare, metric=metric).setting == {"C": best}


def test_what_each_part_came_to_by_the_chosen_setting_is_kept() -> None:
    found = search({1.0: np.ones(100)})
    assert len(set(found.reached)) == 5
    assert all(one.startswith("part ") for one in found.reached)
