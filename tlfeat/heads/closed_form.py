"""Heads in closed form: a Gram matrix once, then one small solve for each setting."""

from collections.abc import Mapping
from typing import Any

import numpy as np

from tlfeat.heads.arrays import Double, Floats
from tlfeat.heads.lapack import Factor
from tlfeat.heads.learner import Finished, Learner, Problem, temper_linear, two_columns


class Discriminant(Learner):
    """Linear discriminant analysis with the covariance (1 - s) S + s trace(S) / d I.

    S is the within-class covariance, each class weighing as its prior does: its share of the
    rows, or 1 / k where balanced.
    """

    def __init__(self, problem: Problem) -> None:
        super().__init__(problem)
        rows = problem.rows
        self.coordinates = rows.coordinates
        self.priors = rows.counts * problem.class_weights() / rows.n  # (k,)
        means, counts = self.coordinates.means, rows.counts
        # z (r,) a row, m_j the mean of class j, n_j its rows, p_j its prior:
        # S = sum_j p_j / n_j sum_(z of j) (z - m_j) (z - m_j)'. With p_j = n_j / n that is
        # (Z' Z - sum_j n_j m_j m_j') / n, and needs no row.
        if problem.balanced:
            weights = self.priors / counts
            self.within = rows.weighted_gram(weights) - (means.T * (weights * counts)) @ means
        else:
            self.within = (means.T * (-counts / rows.n)) @ means
            self.within += self.coordinates.gram / rows.n
        # rows that equal their class means leave no covariance at all
        self.spread = max(float(np.trace(self.within)) / rows.d, 1e-12)

    def solution(self, shrinkage: float) -> tuple[Double, Double]:
        """Give coefficients (r, k) and intercepts (k,)."""
        # m_j (r,) a class mean, p_j its prior, t = trace(S) / d: the score of x for class j is
        # x' w_j + log p_j - m_j' w_j / 2 with w_j = ((1 - s) S + s t I)^-1 m_j, which is
        # (S + a I)^-1 m_j / (1 - s) for a = s t / (1 - s): one factorisation for all classes.
        means = self.coordinates.means.T
        if shrinkage == 1:
            coef = means / self.spread
        else:
            kept = 1 - shrinkage
            coef = solve(self.within, means, shrinkage * self.spread / kept) / kept
        return coef, np.log(self.priors) - 0.5 * (means * coef).sum(axis=0)

    def logits(self, setting: Mapping[str, Any]) -> Floats:
        """Give the discriminants; (m, k)."""
        return self.coordinates.held(*self.solution(setting["shrinkage"]))

    def finish(self, setting: Mapping[str, Any]) -> Finished:
        """Give a `LinearDiscriminantAnalysis`, without the covariance that it does not need."""
        from sklearn.discriminant_analysis import LinearDiscriminantAnalysis

        inner, intercept = self.solution(setting["shrinkage"])
        coef = self.coordinates.features(inner).T
        if len(coef) == 2:
            coef, intercept = coef[1:] - coef[:1], intercept[1:] - intercept[:1]
        priors = self.priors.tolist() if self.problem.balanced else None
        estimator = LinearDiscriminantAnalysis(
            solver="lsqr", shrinkage=setting["shrinkage"], priors=priors
        )
        estimator.classes_ = self.problem.labels
        estimator.priors_ = self.priors
        estimator.means_ = self.problem.rows.class_means
        estimator.coef_ = coef
        estimator.intercept_ = intercept
        estimator.n_features_in_ = coef.shape[1]
        return Finished([("head", estimator)], coef.size + intercept.size)

    def temper(self, done: Finished, temperature: float) -> Finished:
        """Divide the weights."""
        return temper_linear(done, temperature)


class Ridge(Learner):
    """Least squares on targets of -1 and 1, with a free intercept."""

    def __init__(self, problem: Problem) -> None:
        super().__init__(problem)
        rows, k = problem.rows, problem.n_classes
        self.coordinates = rows.coordinates
        weights = problem.class_weights()  # (k,), of a row of each class
        mass = weights * rows.counts  # (k,)
        targets = 2 * np.eye(k) - 1  # (k, columns), of a row of each class
        if k == 2:
            targets = targets[:, 1:]
        means = self.coordinates.means
        self.middle = mass @ means / mass.sum()  # (r,), 0 where all weigh the same
        self.level = mass @ targets / mass.sum()  # (columns,)
        gram = rows.weighted_gram(weights) if problem.balanced else self.coordinates.gram
        # A (n, r) rows less their weighted mean and T (n, columns) targets less theirs, both times
        # the root of their weights: A' A = sum w z z' - (sum w) m m', and A' T needs the sums of
        # the classes alone, as all rows of a class have one target.
        self.inner = gram - mass.sum() * np.outer(self.middle, self.middle)
        self.right = (means - self.middle).T @ (mass[:, None] * (targets - self.level))

    def solution(self, alpha: float) -> tuple[Double, Double]:
        """Give coefficients (r, columns) and intercepts (columns,)."""
        # W = (A' A + alpha I)^-1 A' T. The intercept is not penalised: it takes the fit through
        # the means.
        coef = solve(self.inner, self.right, alpha)
        return coef, self.level - self.middle @ coef

    def logits(self, setting: Mapping[str, Any]) -> Floats:
        """Give the fitted values; (m, k)."""
        return two_columns(self.coordinates.held(*self.solution(setting["alpha"])))

    def finish(self, setting: Mapping[str, Any]) -> Finished:
        """Give a `RidgeClassifier`."""
        from sklearn.linear_model import RidgeClassifier

        problem = self.problem
        inner, intercept = self.solution(setting["alpha"])
        coef = self.coordinates.features(inner).T
        weight = "balanced" if problem.balanced else None
        estimator = RidgeClassifier(alpha=setting["alpha"], class_weight=weight)
        # fitted to the class means it knows its classes; the coefficients are those of all rows
        estimator.fit(problem.rows.class_means, problem.labels)
        estimator.coef_ = coef
        estimator.intercept_ = intercept
        return Finished([("head", estimator)], coef.size + intercept.size)


def solve(matrix: Double, right: Double, penalty: float) -> Double:
    """Solve (G + penalty I) W = B for G (r, r) symmetric and not negative, B (r, c)."""
    regular = matrix.copy()
    regular.flat[:: len(regular) + 1] += penalty
    factor = Factor(regular)
    solution = np.array(right, dtype=np.float64, order="C")
    factor.forth(solution)
    factor.back(solution)
    return solution
