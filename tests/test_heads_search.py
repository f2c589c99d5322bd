"""How a setting is chosen on held rows."""

from typing import Any

import numpy as np
import pytest

from tlfeat.heads.ground import Ground
from tlfeat.heads.objective import Objective
from tlfeat.heads.pool import run_jobs
from tlfeat.heads.search import Choice, Search, choose

Y = np.tile([0, 1], 50)


class Told:
    """A head whose logits are told, setting by setting."""

    def __init__(self, margins: dict[Any, np.ndarray], y: np.ndarray, out: np.ndarray) -> None:
        self.margins, self.y, self.out = margins, y, out

    def logits(self, setting: dict[str, Any]) -> np.ndarray:
        margin = self.margins[setting["C"]]  # of the true class
        truth = np.where(self.y == 1, margin, -margin)[self.out]
        return np.column_stack([np.zeros(len(truth)), truth])


def search(
    margins: dict[Any, np.ndarray],
    *,
    y: np.ndarray = Y,
    probabilities: bool = True,
    metric: str = "accuracy",
) -> Choice:
    """Choose among settings on five folds."""
    ground = Ground(np.zeros((100, 1), np.float32), y, 2)
    objective = Objective(metric, np.bincount(y), probabilities)
    wanted = Search(
        {}, {"C": tuple(margins)}, objective, None, lambda rows: Told(margins, y, rows.out)
    )
    (choice,) = run_jobs([choose(wanted, [ground.draw(0)])], 2)
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


def test_among_settings_with_as_few_errors_the_least_log_loss_decides() -> None:
    margins = {1.0: wrong_at(0), 2.0: 3 * wrong_at(0), 3.0: 2 * wrong_at(0)}
    assert search(margins).setting == {"C": 2.0}


def test_without_probabilities_the_more_regularised_of_equals_wins() -> None:
    margins = {1.0: wrong_at(0), 2.0: 3 * wrong_at(0), 3.0: 2 * wrong_at(0)}
    assert search(margins, probabilities=False).setting == {"C": 1.0}


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
        "fair": np.where(place % 9 == 1, -3.0, 3.0),  # 12 errors, two of the rare class
        "mild": np.where(place % 7 == 1, -0.2, 1.5),  # 15 errors, none of them sure
    }
    assert search(margins, y=rare, metric=metric).setting == {"C": best}
