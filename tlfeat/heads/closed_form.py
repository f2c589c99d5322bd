"""Heads in closed form: a Gram matrix once, then one small solve for each setting."""

from collections.abc import Mapping
from typing import Any

import numpy as np
import numpy.typing as npt

from tlfeat.heads.gram import Double, Regularised, cross_product
from tlfeat.heads.learner import Finished, Floats, Learner, Problem, softmax, two_columns


class Discriminant(Learner):
    """Linear discriminant analysis with the covariance (1 - s) S + s trace(S) / d I.

    S is the within-class covariance, each class weighing as its prior does: its share of the
    rows, or 1 / k where balanced.
    """

    def __init__(self, problem: Problem) -> None:
        super().__init__(problem)
        X, y = problem.X, problem.y
        counts = np.bincount(y)
        self.priors = counts * problem.class_weights() / len(y)  # (k,)
        self.means = class_means(X, y)  # (k, d)
        weights = np.sqrt(self.priors / counts)[y]  # (n,): A' A = S for A = weights (X - means)

        def centred(block: Double, part: slice) -> Double:
            block -= self.means[y[part]]
            block *= weights[part, None]
            return block

        self.within = Regularised(X, centred)

    def solution(self, shrinkage: float) -> tuple[Double, Double]:
        """Give coefficients (k, d) and intercepts (k,)."""
        # m_j (d,) a class mean, p_j its prior, t = trace(S) / d: the score of x for class j is
        # x' w_j + log p_j - m_j' w_j / 2 with w_j = ((1 - s) S + s t I)^-1 m_j, which is
        # (S + a I)^-1 m_j / (1 - s) for a = s t / (1 - s): one factorisation for all classes.
        # rows that equal their class means leave no covariance at all
        spread = max(self.within.trace / self.means.shape[1], 1e-12)
        if shrinkage == 1:
            coef = self.means / spread
        else:
            kept = 1 - shrinkage
            coef = self.within.solve(self.means.T, shrinkage * spread / kept).T / kept
        intercept = -0.5 * (self.means * coef).sum(axis=1) + np.log(self.priors)
        return coef, intercept

    def scores(self, setting: Mapping[str, Any]) -> Floats:
        """Give probabilities; (m, k)."""
        coef, intercept = self.solution(setting["shrinkage"])
        return softmax(linear_scores(self.problem.held, coef, intercept))

    def finish(self, setting: Mapping[str, Any]) -> Finished:
        """Give a `LinearDiscriminantAnalysis`, without the covariance that it does not need."""
        from sklearn.discriminant_analysis import LinearDiscriminantAnalysis

        coef, intercept = self.solution(setting["shrinkage"])
        if len(coef) == 2:
            coef, intercept = coef[1:] - coef[:1], intercept[1:] - intercept[:1]
        priors = self.priors.tolist() if self.problem.balanced else None
        estimator = LinearDiscriminantAnalysis(
            solver="lsqr", shrinkage=setting["shrinkage"], priors=priors
        )
        estimator.classes_ = self.problem.labels
        estimator.priors_ = self.priors
        estimator.means_ = self.means
        estimator.coef_ = coef
        estimator.intercept_ = intercept
        estimator.n_features_in_ = self.means.shape[1]
        return Finished([("head", estimator)], coef.size + intercept.size)


class Ridge(Learner):
    """Least squares on targets of -1 and 1, with a free intercept."""

    def __init__(self, problem: Problem) -> None:
        super().__init__(problem)
        X, y = problem.X, problem.y
        weights = problem.class_weights()[y]  # (n,)
        targets = 2 * np.eye(problem.n_classes)[y] - 1  # (n, k)
        if problem.n_classes == 2:
            targets = targets[:, 1:]
        total = weights.sum()
        self.middle = weights @ X / total  # (d,)
        self.level = weights @ targets / total  # (columns,)
        roots = np.sqrt(weights)

        def centred(block: Double, part: slice) -> Double:
            block -= self.middle
            block *= roots[part, None]
            return block

        self.rows = Regularised(X, centred)
        # A' T = sum of weights (x - middle) (t - level)'; the middle's part of it is zero
        self.right = cross_product(X, weights[:, None] * (targets - self.level))  # (d, columns)

    def solution(self, alpha: float) -> tuple[Double, Double]:
        """Give coefficients (columns, d) and intercepts (columns,)."""
        # A (n, d) rows and T (n, columns) targets, less their weighted means, times the root of
        # their weights: W = (A' A + alpha I)^-1 A' T, (d, columns). The intercept is not
        # penalised: it takes the fit through the means.
        coef = self.rows.solve(self.right, alpha).T
        return coef, self.level - coef @ self.middle

    def scores(self, setting: Mapping[str, Any]) -> Floats:
        """Give the fitted values; (m, k)."""
        coef, intercept = self.solution(setting["alpha"])
        return two_columns(linear_scores(self.problem.held, coef, intercept))

    def finish(self, setting: Mapping[str, Any]) -> Finished:
        """Give a `RidgeClassifier`."""
        from sklearn.linear_model import RidgeClassifier

        problem = self.problem
        coef, intercept = self.solution(setting["alpha"])
        weight = "balanced" if problem.balanced else None
        estimator = RidgeClassifier(alpha=setting["alpha"], class_weight=weight)
        # fitted to the class means it knows its classes; the coefficients are those of all rows
        estimator.fit(class_means(problem.X, problem.y), problem.labels)
        estimator.coef_ = coef
        estimator.intercept_ = intercept
        return Finished([("head", estimator)], coef.size + intercept.size)


def linear_scores(X: Floats, coef: Double, intercept: Double) -> Floats:
    """Give X coef' + intercept in the precision of X; (m, columns)."""
    scores: Floats = X @ coef.T.astype(X.dtype) + intercept.astype(X.dtype)
    return scores


def class_means(X: Floats, y: npt.NDArray[np.integer[Any]]) -> Double:
    """Give the mean of each class; (k, d)."""
    return np.stack([X[y == label].mean(axis=0, dtype=np.float64) for label in range(y.max() + 1)])
