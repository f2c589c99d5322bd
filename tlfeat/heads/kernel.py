"""Heads with a Gaussian kernel: exact within a budget of memory, or sampled.

The kernel matrix of a width is made once and serves every C. It is the one thing here that
grows with the square of the rows, so it is made in place and refused above the budget.
"""

from collections.abc import Mapping
from dataclasses import replace
from typing import Any, Final

import numpy as np

from tlfeat.errors import HeadError
from tlfeat.heads.arrays import Double, Floats, Ints
from tlfeat.heads.learner import Finished, Learner, Problem, two_columns
from tlfeat.heads.linear import LinearMachine
from tlfeat.heads.matrix import Matrix
from tlfeat.heads.rows import Rows
from tlfeat.heads.settings import Grid, gamma_factor

_BLOCK: Final = 1024  # rows whose kernel with all others is made at a time
_PAIRED: Final = 2**22  # numbers at most of pairs of classes that are made at a time


def gamma_value(gamma: float | str, X: Floats) -> float:
    """Give the number behind a setting such as "0.3*scale".

    Parameters
    ----------
    gamma : float or str
    X : ndarray of shape (n, d)
        "scale" is 1 / (d x variance of all its numbers).
    """
    factor = gamma_factor(gamma)
    if factor is None:
        return float(gamma)
    variance = float(X.var(dtype=np.float64))
    return factor / (X.shape[1] * variance) if variance > 0 else factor


def gaussian_kernel(A: Double, B: Double, gamma: float) -> Double:
    """Give exp(-gamma |a - b|^2) for rows a of A (m, d) and b of B (n, d); (m, n)."""
    of_a, of_b = (np.einsum("ij,ij->i", rows, rows) for rows in (A, B))
    return _from_products(A @ B.T, of_a, of_b, gamma)


def _from_products(products: Double, of_a: Double, of_b: Double, gamma: float) -> Double:
    """Make the kernel of the products a' b (m, n), in their place, and of |a|^2 and |b|^2."""
    # -|a - b|^2 = 2 a' b - |a|^2 - |b|^2: one product of matrices. Rounding can leave it above
    # 0, where a kernel above 1 would be no kernel.
    products *= 2 * gamma
    products -= gamma * of_a[:, None]
    products -= gamma * of_b
    np.minimum(products, 0, out=products)
    return np.exp(products, out=products)


def rbf_decisions(machine: Any, X: Floats) -> Double:
    """Give what a fitted `SVC` decides, by products of matrices.

    What its own `decision_function` does row by row and vector by vector takes many times as long.

    Parameters
    ----------
    machine : sklearn.svm.SVC
        With a Gaussian kernel of a width that is a number.
    X : ndarray of shape (n, d)

    Returns
    -------
    decisions : ndarray of shape (n, k), or (n, 1) for two classes
        One class against the rest.
    """
    return _decisions(machine, X, machine.support_vectors_, machine.gamma)


def _decisions(machine: Any, X: Floats, support: Double, width: float) -> Double:
    """Give decisions (n, k or 1) for rows X (n, d) of a machine with support vectors (s, d)."""
    k = len(machine.classes_)
    length = max(1, min(_BLOCK, _PAIRED // k**2))
    blocks = []
    for start in range(0, len(X), length):
        rows = X[start : start + length].astype(np.float64)
        blocks.append(_of_kernel(machine, gaussian_kernel(rows, support, width)))
    return np.concatenate([np.zeros((0, k if k > 2 else 1)), *blocks])


def _of_kernel(machine: Any, kernel: Double) -> Double:
    """Give decisions (n, k or 1) from the kernel of rows with the support vectors (n, s).

    Vectors stand by class. The row of a pair's other class among a vector's k - 1 coefficients
    is that class' number, without the vector's own (Chang and Lin 2011, LIBSVM, section 4.2).
    """
    weights, k = machine.dual_coef_, len(machine.classes_)
    if k == 2:
        two: Double = kernel @ weights.T + machine.intercept_
        return two
    ends = np.cumsum(machine.n_support_)
    pairs = np.zeros((k, len(kernel), k))  # of a class's vectors, for the pair with each other
    for i, (own, end) in enumerate(zip(machine.n_support_, ends, strict=True)):
        of_class = kernel[:, end - own : end] @ weights[:, end - own : end].T  # (n, k - 1)
        pairs[i, :, :i], pairs[i, :, i + 1 :] = of_class[:, :i], of_class[:, i:]
    pairs += pairs.transpose(2, 1, 0)
    # Above 0 where the first of a pair wins; at 0 it does too. How a class does against another
    # is that where it is the first, and its negative where it is the second.
    first = np.triu(np.ones((k, k), dtype=bool), 1)[:, None, :]
    levels = np.zeros((k, k))
    levels[np.triu_indices(k, 1)] = machine.intercept_
    pairs += (levels + levels.T)[:, None, :]
    np.negative(pairs, out=pairs, where=~first)
    won = ((pairs > 0) | (first & (pairs == 0))).sum(axis=2).T
    total = pairs.sum(axis=2).T
    # votes, and what parts ties of these, as scikit-learn's `SVC` has them
    decisions: Double = won + total / (3 * (np.abs(total) + 1))
    return decisions


class KernelMachine(Learner):
    """Support vector machine with a Gaussian kernel."""

    def __init__(self, problem: Problem) -> None:
        super().__init__(problem)
        self.X = problem.X.astype(np.float64)
        self.widths: dict[float | str, float] = {}  # by gamma
        self.width: float | None = None
        self.kernel: Double | None = None  # (n, n) of self.width

    @classmethod
    def check(
        cls, fixed: Mapping[str, Any], grid: Grid, n_least: int, n_most: int, budget: int
    ) -> Grid:
        """Refuse a kernel matrix above the budget."""
        needed = 8 * n_most**2
        if needed > budget:
            raise HeadError(
                f"svm-rbf needs a kernel matrix of {needed / 2**30:.1f} GB for {n_most:,} "
                f"training rows, above the budget of {budget / 2**30:.1f} GB: "
                "use svm-linear or svm-nystroem."
            )
        return grid

    def machine(self, setting: Mapping[str, Any]) -> Any:
        """Give an unfitted `SVC` whose largest score is the class that it predicts."""
        from sklearn.svm import SVC

        return SVC(
            C=setting["C"],
            class_weight="balanced" if self.problem.balanced else None,
            decision_function_shape="ovr",
            break_ties=self.problem.n_classes > 2,
            kernel="precomputed",
        )

    def logits(self, setting: Mapping[str, Any]) -> Floats:
        """Give decision values, one class against the rest; (m, k)."""
        machine, width = self.fitted(setting, self.problem.y)
        raw = _decisions(machine, self.problem.held, self.X[machine.support_], width)
        return two_columns(raw).astype(np.float32)

    def fitted(self, setting: Mapping[str, Any], y: Ints) -> tuple[Any, float]:
        """Give an `SVC` fitted on the kernel of the rows, and the width of that."""
        gamma = setting["gamma"]
        if gamma not in self.widths:
            self.widths[gamma] = gamma_value(gamma, self.problem.X)
        width = self.widths[gamma]
        if width != self.width:
            self.kernel = None  # the old one goes before the new one comes
            self.kernel = self._own_kernel(width)
            self.width = width
        machine = self.machine(setting)
        machine.fit(self.kernel, y)
        return machine, width

    def _own_kernel(self, width: float) -> Double:
        """Give the kernel of the rows with each other; (n, n)."""
        if not self.problem.rows.is_wide:
            return gaussian_kernel(self.X, self.X, width)
        gram = self.problem.rows.row_gram  # other heads have made it already
        squares = gram.diagonal().copy()
        return _from_products(gram.copy(), squares, squares, width)

    def finish(self, setting: Mapping[str, Any]) -> Finished:
        """Give an `SVC`, with the rows in the place of their kernel."""
        problem = self.problem
        machine, width = self.fitted(setting, problem.labels[problem.y])
        machine.set_params(kernel="rbf", gamma=width)
        machine._gamma = width
        machine.support_vectors_ = self.X[machine.support_]
        machine.shape_fit_, machine.n_features_in_ = self.X.shape, self.X.shape[1]
        learned = (machine.support_vectors_, machine.dual_coef_, machine.intercept_)
        return Finished([("head", machine)], sum(part.size for part in learned))


class Nystroem(Learner):
    """Linear support vector machine on the kernel of sampled rows."""

    def __init__(self, problem: Problem) -> None:
        super().__init__(problem)
        self.width: float | None = None
        self.sample: Any = None  # the fitted map of self.width
        self.machine: LinearMachine | None = None  # on the mapped rows

    def mapped(self, gamma: float | str) -> LinearMachine:
        """Map the rows with a width, unless that is done."""
        from sklearn.kernel_approximation import Nystroem as Map

        problem = self.problem
        width = gamma_value(gamma, problem.X)
        if self.machine is None or width != self.width:
            components = min(int(problem.fixed["components"]), len(problem.X))
            self.sample = Map(gamma=width, n_components=components, random_state=problem.seed)
            mapped = self.sample.fit_transform(problem.X)
            held = self.sample.transform(problem.held) if len(problem.held) else None
            matrix = Matrix(mapped, problem.y, problem.n_classes)
            rows = Rows(matrix, held=held, standardised=False)
            self.machine = LinearMachine(replace(problem, rows=rows))
            self.width = width
        return self.machine

    def logits(self, setting: Mapping[str, Any]) -> Floats:
        """Give distances to the boundaries; (m, k)."""
        return self.mapped(setting["gamma"]).logits(setting)

    def finish(self, setting: Mapping[str, Any]) -> Finished:
        """Give a `Nystroem` map and a `LinearSVC`."""
        done = self.mapped(setting["gamma"]).finish(setting)
        done.steps[0][1].classes_ = self.problem.labels  # the machine knows them as 0 to k - 1
        learned = self.sample.components_.size + self.sample.normalization_.size
        return Finished(
            [("kernel", self.sample), *done.steps], done.n_parameters + learned, done.trouble
        )
