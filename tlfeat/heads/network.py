"""The neural network head.

Early stopping on a part of train would need a split that keeps groups together. So the number of
passes is a setting like any other, chosen on the same held rows: one training a penalty serves
every number of passes in the grid.
"""

from collections.abc import Mapping
from typing import Any, Final

import numpy as np

from tlfeat.heads.learner import Finished, Floats, Learner, Problem
from tlfeat.heads.settings import Grid
from tlfeat.heads.table import get_head
from tlfeat.settings import read_sizes

# Passes at the end whose loss is compared with that of as many before, and the share by which
# it still falls in a training that deserves more passes.
_LAST_PASSES: Final = 3
_STILL_FALLING: Final = 0.2
# Steps of the longest training of a search.
_FEWEST_STEPS: Final = 100
_MOST_STEPS: Final = 5000
_USUAL_EPOCHS: Final = next(s.grid for s in get_head("mlp").settings if s.name == "epochs")


class Network(Learner):
    """Fully connected network of `MLPClassifier`, trained with Adam."""

    def __init__(self, problem: Problem) -> None:
        super().__init__(problem)
        # (alpha, epochs) to scores of the held rows
        self.known: dict[tuple[float, int], Floats] = {}
        weights = problem.class_weights()[problem.y]
        self.weights = weights if problem.balanced else None  # (n,)

    @classmethod
    def check(
        cls, fixed: Mapping[str, Any], grid: Grid, n_least: int, n_most: int, budget: int
    ) -> Grid:
        """Search more passes where they are short and fewer where they are long."""
        if grid.get("epochs") != _USUAL_EPOCHS:  # a grid that was given stays as it is
            return grid
        # steps of the longest training: passes, times batches a pass, rounded up
        steps = max(_USUAL_EPOCHS) * -(-n_most // int(fixed["batch"]))
        factor = max(1.0, _FEWEST_STEPS / steps) * min(1.0, _MOST_STEPS / steps)
        epochs = dict.fromkeys(max(1, round(factor * value)) for value in _USUAL_EPOCHS)
        return {**grid, "epochs": tuple(epochs)}

    def train(self, alpha: float, epochs: int, stops: tuple[int, ...] = ()) -> Any:
        """Train a network; keep the scores of the held rows after each pass in `stops`."""
        from sklearn.neural_network import MLPClassifier

        problem, fixed = self.problem, self.problem.fixed
        # A seed would give `partial_fit` the same mini-batches in every pass.
        luck = np.random.RandomState(problem.seed)
        network = MLPClassifier(
            read_sizes(fixed["hidden"]),
            alpha=alpha,
            batch_size=min(int(fixed["batch"]), len(problem.X)),
            learning_rate_init=fixed["learning_rate"],
            max_iter=epochs,
            random_state=luck,
        )
        labels = problem.labels[problem.y]
        # a pass at a time: `fit` would stop by its own rule and warn where that is not met
        for epoch in range(1, epochs + 1):
            network.partial_fit(
                problem.X, labels, classes=problem.labels, sample_weight=self.weights
            )
            if epoch in stops and len(problem.held):
                self.known[alpha, epoch] = network.predict_proba(problem.held)
        network.random_state = problem.seed
        return network

    def scores(self, setting: Mapping[str, Any]) -> Floats:
        """Give probabilities; (m, k)."""
        alpha, epochs = setting["alpha"], setting["epochs"]
        if (alpha, epochs) not in self.known:
            stops = self.problem.grid.get("epochs", (epochs,))
            self.train(alpha, max(stops), stops)
        return self.known[alpha, epochs]

    def finish(self, setting: Mapping[str, Any]) -> Finished:
        """Give an `MLPClassifier`, without what only training needs."""
        epochs = setting["epochs"]
        network = self.train(setting["alpha"], epochs)
        network.n_iter_ = epochs
        for name in ("_optimizer", "_random_state", "_best_coefs", "_best_intercepts"):
            vars(network).pop(name, None)
        learned = (*network.coefs_, *network.intercepts_)
        trouble = ""
        longest = max(self.problem.grid.get("epochs", (epochs,)))
        if epochs == longest and _falling(network.loss_curve_):
            trouble = f"the loss was still falling after {epochs} epochs: give more epochs"
        return Finished([("head", network)], sum(part.size for part in learned), trouble)


def _falling(losses: list[float]) -> bool:
    """Whether a training deserves more passes."""
    if len(losses) < 2 * _LAST_PASSES:
        return True
    last = np.mean(losses[-_LAST_PASSES:])
    before = np.mean(losses[-2 * _LAST_PASSES : -_LAST_PASSES])
    return bool(last < (1 - _STILL_FALLING) * before)
