"""Linear heads without a closed form: logistic regression and the linear SVM.

Both minimise a smooth convex function, the mean loss plus |W|^2 / (2 C n), by L-BFGS from the
solution of the C before. What makes it quick is the eigenbasis of the rows, found once: in it a
diagonal scaling, another one for each C, nearly whitens the curvature, and with fewer rows than
features there are only as many coordinates as rows. The solution is that of the original
features, since neither the loss nor the norm changes under a rotation.
"""

from abc import abstractmethod
from collections.abc import Mapping
from typing import Any, Final, NamedTuple

import numpy as np

from tlfeat.heads.gram import Double, column_gram, row_gram
from tlfeat.heads.lbfgs import minimise
from tlfeat.heads.learner import Finished, Floats, Learner, Problem, softmax, two_columns

# Beyond so many coordinates the eigenbasis costs more than the iterations that it saves.
_LARGEST_BASIS: Final = 2500
# Of the largest gradient, in the whitened coordinates. At the strengths that win, probabilities
# are within 1e-3 of the exact ones in the search and 1e-4 in the end.
_SEARCH_TOLERANCE: Final = 3e-5
_FINAL_TOLERANCE: Final = 1e-5


class Basis(NamedTuple):
    """Coordinates in which the rows are nearly uncorrelated."""

    rows: Floats  # Z (n, r)
    held: Floats  # (m, r)
    variances: Double  # (r,), mean square of each column of Z
    vectors: Double | None  # V (d, r), Z = X V; None where Z is X


def eigenbasis(X: Floats, held: Floats) -> Basis:
    """Rotate rows to uncorrelated coordinates, unless they have too many.

    Parameters
    ----------
    X : ndarray of shape (n, d)
    held : ndarray of shape (m, d)
    """
    # n > d:  X' X = V L V', (d, d), and Z = X V.
    # n <= d: X X' = U L U', (n, n), so Z = U L^1/2 and V = X' U L^-1/2 over the L that are not 0.
    # Either way Z' Z = L: no two columns of Z correlate (about 0, the mean of X).
    n, d = X.shape
    if min(n, d) > _LARGEST_BASIS:
        return Basis(X, held, np.ones(d), None)
    if n <= d:
        values, left = np.linalg.eigh(row_gram(X))  # (n,), (n, n)
        real = values > values[-1] * 1e-12
        values, left = values[real], left[:, real]
        vectors = (X.T.astype(np.float64) @ left) / np.sqrt(values)
        rows = (left * np.sqrt(values)).astype(X.dtype)
    else:
        values, vectors = np.linalg.eigh(column_gram(X))  # (d,), (d, d)
        values = np.maximum(values, 0.0)
        rows = X @ vectors.astype(X.dtype)
    return Basis(rows, held @ vectors.astype(X.dtype), values / n, vectors)


def _with_ones(X: Floats) -> Floats:
    return np.hstack([X, np.ones((len(X), 1), dtype=X.dtype)])


class _Solution(NamedTuple):
    W: Double  # (r, columns), in the coordinates of the basis
    iterations: int
    converged: bool


class LinearLearner(Learner):
    """A smooth convex loss of linear scores, solved along C."""

    # Typical second derivative of the loss, well below its bound of 1/4 (logistic) or 2 (squared
    # hinge), since most rows end far from the boundary.
    curvature: float
    penalised_bias: bool  # liblinear counts the bias into the norm, logistic regression does not

    def __init__(self, problem: Problem) -> None:
        super().__init__(problem)
        self.columns = 1 if problem.n_classes == 2 else problem.n_classes
        self.last: _Solution | None = None
        # the last feature is a constant 1; its weights are the bias
        if self.penalised_bias:
            basis = eigenbasis(_with_ones(problem.X), _with_ones(problem.held))
            self.penalised = np.ones((basis.rows.shape[1], 1))
        else:
            free = eigenbasis(problem.X, problem.held)
            basis = free._replace(
                rows=_with_ones(free.rows),
                held=_with_ones(free.held),
                variances=np.append(free.variances, 1.0),
            )
            self.penalised = np.append(np.ones(len(free.variances)), 0.0)[:, None]
        self.basis = basis

    @abstractmethod
    def loss(self, scores: Floats) -> tuple[float, Floats]:
        """Give the losses' sum and its slope; from (n, columns) to a number and (n, columns)."""

    def solve(self, C: float, tolerance: float) -> _Solution:
        """Minimise, starting from the last solution."""
        # Z (n, r) rows, W (r, columns), a = 1 / (C n), or 0 for a bias that is not penalised:
        # f(W) = sum of losses of Z W / n + sum of a W^2 / 2. Its curvature is about c v + a on the
        # diagonal, v the variances of Z; so theta = W / D, D = (c v + a)^-1/2, has one near 1, and
        # the gradient D (Z' slope / n + a W).
        Z, shape = self.basis.rows, (self.basis.rows.shape[1], self.columns)
        n = len(Z)
        penalty = self.penalised / (C * n)  # (r, 1)
        scale = 1.0 / np.sqrt(self.curvature * self.basis.variances[:, None] + penalty)

        def objective(theta: Double) -> tuple[float, Double]:
            W = scale * theta.reshape(shape)
            total, slope = self.loss(Z @ W.astype(Z.dtype))
            gradient = scale * ((Z.T @ slope) / n + penalty * W)
            return total / n + 0.5 * float((penalty * W * W).sum()), gradient.ravel()

        start = np.zeros(shape) if self.last is None else self.last.W / scale
        most = int(self.problem.fixed["max_iter"])
        found = minimise(objective, start.ravel(), tolerance=tolerance, most=most)
        W = scale * found.x.reshape(shape)
        self.last = _Solution(W, found.iterations, found.converged)
        return self.last

    def held_scores(self, C: float) -> Floats:
        """Give the linear scores of the held rows; (m, columns)."""
        held = self.basis.held
        scores: Floats = held @ self.solve(C, _SEARCH_TOLERANCE).W.astype(held.dtype)
        return scores

    def fill(self, estimator: Any, C: float) -> Finished:
        """Give a new estimator of scikit-learn the solution as its fitted attributes."""
        W, iterations, converged = self.solve(C, _FINAL_TOLERANCE)
        vectors = self.basis.vectors
        if vectors is not None and self.penalised_bias:
            weights = vectors @ W  # (d + 1, columns)
        elif vectors is not None:
            weights = np.vstack([vectors @ W[:-1], W[-1:]])
        else:
            weights = W
        dtype = self.problem.X.dtype
        estimator.coef_ = np.ascontiguousarray(weights[:-1].T, dtype=dtype)
        estimator.intercept_ = weights[-1].astype(dtype)
        estimator.classes_ = self.problem.labels
        estimator.n_features_in_ = self.problem.X.shape[1]
        estimator.n_iter_ = np.array([iterations], dtype=np.int32)
        trouble = ""
        if not converged:
            trouble = f"stopped after {iterations} iterations at C={C:g}: raise max_iter"
        return Finished([("head", estimator)], int(weights.size), trouble)


class Logistic(LinearLearner):
    """Multinomial logistic regression; two classes have one column."""

    curvature = 0.1
    penalised_bias = False

    def __init__(self, problem: Problem) -> None:
        super().__init__(problem)
        dtype = problem.X.dtype
        self.weights = problem.class_weights()[problem.y].astype(dtype)[:, None]  # (n, 1)
        if self.columns == 1:
            self.targets = np.where(problem.y == 1, 1, -1).astype(dtype)[:, None]  # (n, 1)
        else:
            self.targets = np.eye(self.columns, dtype=dtype)[problem.y]  # (n, k)

    def loss(self, scores: Floats) -> tuple[float, Floats]:
        """Give the cross-entropy and its slope."""
        if self.columns == 1:
            # t = -1 or 1: log(1 + e^-ts), and its slope -t / (1 + e^ts) = -t e^(-ts - loss)
            margins = self.targets * scores
            losses = np.logaddexp(0, -margins)
            slope = -self.targets * np.exp(-margins - losses)
        else:
            # log sum_j e^s_j - s_y, and its slope softmax(s) - one_hot(y); the largest s is taken
            # off first, so that nothing overflows, and the slopes take the place of the scores
            scores -= scores.max(axis=1, keepdims=True)
            chosen = np.take_along_axis(scores, self.problem.y[:, None], axis=1)
            slope = np.exp(scores, out=scores)
            sums = slope.sum(axis=1, keepdims=True)
            losses = np.log(sums) - chosen
            slope /= sums
            slope -= self.targets
        slope *= self.weights
        return float((self.weights * losses).sum(dtype=np.float64)), slope

    def scores(self, setting: Mapping[str, Any]) -> Floats:
        """Give probabilities; (m, k)."""
        raw = self.held_scores(setting["C"])
        if self.columns == 1:
            raw = np.hstack([np.zeros_like(raw), raw])
        return softmax(raw)

    def finish(self, setting: Mapping[str, Any]) -> Finished:
        """Give a `LogisticRegression`."""
        from sklearn.linear_model import LogisticRegression

        weight = "balanced" if self.problem.balanced else None
        most = self.problem.fixed["max_iter"]
        estimator = LogisticRegression(C=setting["C"], class_weight=weight, max_iter=most)
        return self.fill(estimator, setting["C"])


class LinearMachine(LinearLearner):
    """Linear support vector machine with the squared hinge loss, one class against the rest."""

    curvature = 0.3
    penalised_bias = True

    def __init__(self, problem: Problem) -> None:
        super().__init__(problem)
        dtype = problem.X.dtype
        weights = problem.class_weights()
        one_hot = np.eye(problem.n_classes, dtype=dtype)[problem.y]  # (n, k)
        if self.columns == 1:
            one_hot = one_hot[:, 1:]
            self.weights = weights[problem.y].astype(dtype)[:, None]
        else:  # as liblinear: in the problem of a class its weight is that of its own rows
            self.weights = np.where(one_hot, weights, 1.0).astype(dtype)
        self.targets = 2 * one_hot - 1

    def loss(self, scores: Floats) -> tuple[float, Floats]:
        """Give the squared hinge losses and their slope."""
        # t = -1 or 1, w the row's weight: w max(0, 1 - ts)^2, and its slope -2 w t max(0, 1 - ts)
        slack = np.maximum(0, 1 - self.targets * scores)
        slope = -2 * self.weights * self.targets * slack
        return float((self.weights * slack * slack).sum(dtype=np.float64)), slope

    def scores(self, setting: Mapping[str, Any]) -> Floats:
        """Give distances to the boundaries; (m, k)."""
        return two_columns(self.held_scores(setting["C"]))

    def finish(self, setting: Mapping[str, Any]) -> Finished:
        """Give a `LinearSVC`."""
        from sklearn.svm import LinearSVC

        weight = "balanced" if self.problem.balanced else None
        most = self.problem.fixed["max_iter"]
        estimator = LinearSVC(C=setting["C"], class_weight=weight, max_iter=most)
        return self.fill(estimator, setting["C"])
