"""The neural network head.

Early stopping on a part of train would need a split that keeps groups together. So the number of
passes is a setting like any other, chosen on the same held rows: one training a penalty serves
every number of passes in the grid.
"""

from collections.abc import Mapping, Sequence
from itertools import pairwise
from typing import Any, Final

import numpy as np
from scipy.special import expit

from tlfeat.heads.arrays import Floats
from tlfeat.heads.lapack import add_scaled
from tlfeat.heads.learner import Finished, Learner, Problem, softmax
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
_MEAN, _SQUARE, _TINY = 0.9, 0.999, 1e-8  # of Adam
_RARE: Final = 1e-10  # probability: what is rarer costs no more in the curve of losses
_USUAL_EPOCHS: Final = next(s.grid for s in get_head("mlp").settings if s.name == "epochs")


class Network(Learner):
    """Fully connected network as `MLPClassifier` has it, trained with Adam.

    One training a penalty serves every number of passes: it goes on where it stands.
    """

    def __init__(self, problem: Problem) -> None:
        super().__init__(problem)
        self.trainings: dict[float, _Training] = {}  # by alpha

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

    def trained(self, alpha: float, epochs: int) -> "_Training":
        """Give a training after so many passes."""
        training = self.trainings.get(alpha)
        if training is None or training.epochs > epochs:
            training = self.trainings[alpha] = _Training(self.problem, alpha)
        while training.epochs < epochs:
            training.run_epoch()
        return training

    def logits(self, setting: Mapping[str, Any]) -> Floats:
        """Give what goes into softmax; (m, k)."""
        training = self.trained(setting["alpha"], setting["epochs"])
        raw = training.forward(self.problem.held)[-1]
        return np.hstack([np.zeros_like(raw), raw]) if raw.shape[1] == 1 else raw

    def finish(self, setting: Mapping[str, Any]) -> Finished:
        """Give an `MLPClassifier`."""
        epochs = setting["epochs"]
        training = self.trained(setting["alpha"], epochs)
        trouble = ""
        longest = max(self.problem.grid.get("epochs", (epochs,)))
        if epochs == longest and _falling(training.losses):
            trouble = f"the loss was still falling after {epochs} epochs: give more epochs"
        return Finished([("head", training.estimator())], training.flat.size, trouble)

    def temper(self, done: Finished, temperature: float) -> Finished:
        """Divide the weights of the last layer."""
        network = done.steps[-1][1]
        network.coefs_[-1] /= temperature
        network.intercepts_[-1] /= temperature
        return done


class _Training:
    """A network on its way.

    All its weights lie in one row of numbers, so that Adam goes over them once a step and makes
    nothing new.

    References
    ----------
    D. Kingma and J. Ba (2015), Adam: a method for stochastic optimization, ICLR; weights at the
    start as in scikit-learn, after Glorot and Bengio (2010).
    """

    def __init__(self, problem: Problem, alpha: float) -> None:
        fixed, k = problem.fixed, problem.n_classes
        self.problem, self.alpha, self.epochs, self.steps = problem, alpha, 0, 0
        self.X, self.dtype = problem.X, problem.rows.dtype
        self.batch = min(int(fixed["batch"]), len(self.X))
        self.rate = float(fixed["learning_rate"])
        self.luck = np.random.default_rng(problem.seed)
        self.losses: list[float] = []  # of each pass
        columns = 1 if k == 2 else k
        self.targets = np.eye(k, dtype=self.dtype)[problem.y][:, -columns:]  # (n, columns)
        self.weights = None  # (n, 1)
        if problem.balanced:
            self.weights = problem.class_weights()[problem.y].astype(self.dtype)[:, None]
        sizes = [self.X.shape[1], *_hidden(fixed["hidden"]), columns]
        shapes = list(pairwise(sizes))
        self.flat = np.zeros(sum((a + 1) * b for a, b in shapes), dtype=self.dtype)
        self.slope, self.mean, self.square, self.room = (
            np.zeros_like(self.flat) for _ in range(4)
        )
        self.layers = _views(self.flat, shapes)
        self.slopes = _views(self.slope, shapes)
        for (before, after), layer in zip(shapes, self.layers, strict=True):
            bound = np.sqrt(6 / (before + after))
            for part in layer:
                part[...] = self.luck.uniform(-bound, bound, part.shape)

    def run_epoch(self) -> None:
        """Go over all rows once, in a new order."""
        order = self.luck.permutation(len(self.X))
        total = 0.0
        for start in range(0, len(order), self.batch):
            rows = order[start : start + self.batch]
            weights = None if self.weights is None else self.weights[rows]
            total += self._step(self.X[rows], self.targets[rows], weights)
        self.epochs += 1
        self.losses.append(total / len(order))

    def forward(self, X: Floats) -> list[Floats]:
        """Give X, the hidden layers' values, and logits (n, columns)."""
        values = [X]
        for weights, bias in self.layers:
            values.append(values[-1] @ weights)
            values[-1] += bias
            if len(values) <= len(self.layers):
                np.maximum(values[-1], 0, out=values[-1])
        return values

    def _step(self, X: Floats, targets: Floats, row_weights: Floats | None) -> float:
        """Take a step of Adam on some rows; give the sum of their losses."""
        values = self.forward(X)
        if targets.shape[1] == 1:
            delta = expit(values[-1])
            of_true = np.where(targets == 1, delta, 1 - delta)
        else:
            delta = softmax(values[-1])
            of_true = (delta * targets).sum(axis=1, keepdims=True)
        losses = -np.log(np.maximum(of_true, _RARE))
        delta -= targets  # the slope of the losses by the logits
        mass = float(len(X))
        if row_weights is not None:
            losses, delta = losses * row_weights, delta * row_weights
            mass = float(row_weights.sum())
        delta /= mass
        for i in range(len(self.layers) - 1, -1, -1):
            of_weights, of_bias = self.slopes[i]
            np.matmul(values[i].T, delta, out=of_weights)
            np.sum(delta, axis=0, out=of_bias)
            if i:
                delta = delta @ self.layers[i][0].T
                delta *= values[i] > 0
            # the penalty alpha |W|^2 / 2 is shared out among the rows of a step
            add_scaled(of_weights, self.alpha / mass, self.layers[i][0])
        self._adam()
        return float(losses.sum())

    def _adam(self) -> None:
        # m and v the running means of the slope g and of g^2, t the steps so far:
        # w -= rate (1 - 0.999^t)^1/2 / (1 - 0.9^t) m / (v^1/2 + 1e-8)
        self.steps += 1
        room = self.room
        self.mean *= _MEAN
        add_scaled(self.mean, 1 - _MEAN, self.slope)
        np.multiply(self.slope, self.slope, out=room)
        self.square *= _SQUARE
        add_scaled(self.square, 1 - _SQUARE, room)
        np.sqrt(self.square, out=room)
        room += _TINY
        np.divide(self.mean, room, out=room)
        rate = self.rate * np.sqrt(1 - _SQUARE**self.steps) / (1 - _MEAN**self.steps)
        add_scaled(self.flat, -rate, room)

    def estimator(self) -> Any:
        """Give an `MLPClassifier` with these weights."""
        from sklearn.neural_network import MLPClassifier
        from sklearn.preprocessing import LabelBinarizer

        fixed, problem = self.problem.fixed, self.problem
        network = MLPClassifier(
            _hidden(fixed["hidden"]),
            alpha=self.alpha,
            batch_size=self.batch,
            learning_rate_init=self.rate,
            max_iter=self.epochs,
            random_state=problem.seed,
        )
        network.coefs_ = [weights.copy() for weights, _ in self.layers]
        network.intercepts_ = [bias.copy() for _, bias in self.layers]
        network.classes_, network.n_features_in_ = problem.labels, self.X.shape[1]
        network.n_layers_, network.n_outputs_ = len(self.layers) + 1, self.targets.shape[1]
        network.out_activation_ = "logistic" if network.n_outputs_ == 1 else "softmax"
        network.loss_curve_, network.loss_ = list(self.losses), self.losses[-1]
        network.n_iter_, network.t_ = self.epochs, self.epochs * len(self.X)
        network._label_binarizer = LabelBinarizer().fit(problem.labels)
        return network


def _hidden(sizes: str) -> tuple[int, ...]:
    return tuple(int(size) for size in read_sizes(sizes))


def _views(flat: Floats, shapes: Sequence[tuple[int, int]]) -> list[tuple[Floats, Floats]]:
    """Give weights (before, after) and biases (after,) of each layer within a row of numbers."""
    views, start = [], 0
    for before, after in shapes:
        middle, end = start + before * after, start + (before + 1) * after
        views.append((flat[start:middle].reshape(before, after), flat[middle:end]))
        start = end
    return views


def _falling(losses: list[float]) -> bool:
    """Whether a training deserves more passes."""
    if len(losses) < 2 * _LAST_PASSES:
        return True
    last = np.mean(losses[-_LAST_PASSES:])
    before = np.mean(losses[-2 * _LAST_PASSES : -_LAST_PASSES])
    return bool(last < (1 - _STILL_FALLING) * before)
