"""Heads of distances: the nearest rows, and the nearest class means."""

from collections.abc import Mapping
from typing import Any, Final

import numpy as np

from tlfeat.errors import HeadError
from tlfeat.heads.arrays import Double, Floats, Ints
from tlfeat.heads.learner import Finished, Learner, Problem, two_columns
from tlfeat.heads.rows import class_means
from tlfeat.heads.settings import Grid
from tlfeat.heads.standardise import floored

_NO_VOTE: Final = 1e-12
_BLOCK: Final = 512  # rows whose distances to all others are held at a time


class Neighbours(Learner):
    """Vote of the k nearest rows; the distances serve every k and every weighting."""

    def __init__(self, problem: Problem) -> None:
        super().__init__(problem)
        wide = {**{name: (value,) for name, value in problem.fixed.items()}, **problem.grid}
        self.most = min(max(wide["k"]), len(problem.X))
        self.found: dict[str, tuple[Floats, Ints]] = {}  # metric to distances, rows; (m, most)

    @classmethod
    def check(
        cls, fixed: Mapping[str, Any], grid: Grid, n_least: int, n_most: int, budget: int
    ) -> Grid:
        """Refuse more neighbours than rows; leave such values out of the grid."""
        if fixed.get("k", 0) > n_least:
            raise HeadError(
                f"knn cannot find {fixed['k']} neighbours among {n_least} training rows: "
                f"set k to {n_least} at the most."
            )
        if "k" not in grid:
            return grid
        return {**grid, "k": tuple(k for k in grid["k"] if k <= n_least) or (1,)}

    def logits(self, setting: Mapping[str, Any]) -> Floats:
        """Give the logarithm of each class's share of the votes; (m, k)."""
        metric = setting["metric"]
        if metric not in self.found:
            self.found[metric] = nearest(self.problem.X, self.problem.held, self.most, metric)
        distances, rows = (part[:, : setting["k"]] for part in self.found[metric])
        votes = np.ones_like(distances)
        if setting["weights"] == "distance":  # a row that equals some others has only their votes
            equal = (distances == 0).any(axis=1, keepdims=True)
            votes = np.where(equal, distances == 0, 1 / np.where(distances > 0, distances, 1))
        m, k = len(rows), self.problem.n_classes
        # cell i k + j of one long row counts the votes of query i for class j
        cells = np.arange(m)[:, None] * k + self.problem.y[rows]
        counted = np.bincount(cells.ravel(), votes.ravel(), minlength=m * k).reshape(m, k)
        # as scikit-learn makes logits of shares of 0
        logits: Floats = np.log(counted / counted.sum(axis=1, keepdims=True) + _NO_VOTE)
        return logits

    def finish(self, setting: Mapping[str, Any]) -> Finished:
        """Give a `KNeighborsClassifier`."""
        from sklearn.neighbors import KNeighborsClassifier

        problem = self.problem
        estimator = KNeighborsClassifier(
            setting["k"], weights=setting["weights"], metric=setting["metric"], algorithm="brute"
        )
        estimator.fit(problem.X, problem.labels[problem.y])
        return Finished([("head", estimator)], problem.X.size)


def nearest(X: Floats, queries: Floats, k: int, metric: str) -> tuple[Floats, Ints]:
    """Find the k nearest rows of each query, the nearest first.

    Parameters
    ----------
    X : ndarray of shape (n, d)
    queries : ndarray of shape (m, d)
    k : int
        n at the most.
    metric : {"cosine", "euclidean"}

    Returns
    -------
    distances, rows : ndarrays of shape (m, k)
    """
    if metric == "cosine":
        X, queries = (_unit(part) for part in (X, queries))
    squares = np.einsum("ij,ij->i", X, X)
    distances = np.empty((len(queries), k), dtype=X.dtype)
    rows = np.empty((len(queries), k), dtype=np.intp)
    for start in range(0, len(queries), _BLOCK):
        block = queries[start : start + _BLOCK]
        # |q - x|^2 without |q|^2, which does not change the order
        order = squares - 2 * (block @ X.T)  # (rows of the block, n)
        part = np.argpartition(order, k - 1, axis=1)[:, :k]
        close = np.take_along_axis(order, part, axis=1)
        rank = np.argsort(close, axis=1, kind="stable")
        rows[start : start + len(block)] = np.take_along_axis(part, rank, axis=1)
        squared = np.take_along_axis(close, rank, axis=1)
        squared += np.einsum("ij,ij->i", block, block)[:, None]
        distances[start : start + len(block)] = np.maximum(squared, 0)
    # of unit vectors the cosine distance is half the squared one
    return (distances / 2 if metric == "cosine" else np.sqrt(distances)), rows


def _unit(X: Floats) -> Floats:
    norms = np.linalg.norm(X, axis=1, keepdims=True)
    norms[norms == 0] = 1
    unit: Floats = X / norms
    return unit


class Centroids(Learner):
    """The nearest class mean, the means shrunk towards the overall mean.

    References
    ----------
    Tibshirani et al. (2002), Diagnosis of multiple cancer types by shrunken centroids.
    """

    def __init__(self, problem: Problem) -> None:
        super().__init__(problem)
        X, y = problem.X, problem.y
        n, k = len(y), problem.n_classes
        self.middle = X.mean(axis=0, dtype=np.float64)  # (d,)
        self.means = class_means(X, y)  # (k, d)
        within = sum(
            ((X[y == label] - mean) ** 2).sum(axis=0, dtype=np.float64)
            for label, mean in enumerate(self.means)
        )
        self.deviation = np.sqrt(within / max(n - k, 1))  # (d,)
        self.width = floored(np.zeros_like(within), self.deviation**2)  # (d,), what divides
        # m_j the mean of class j and m of all, s (d,) the deviation within classes, s0 its median:
        # d_j = (m_j - m) / ((1/n_j - 1/n)^1/2 (s + s0)) is shrunk towards 0 by the threshold, and
        # the class mean becomes m + what is left of d_j times the same divisor.
        # standard errors of a class mean's distance from the overall one; (k, d)
        errors = np.sqrt(1 / np.bincount(y) - 1 / n)[:, None]
        self.errors = errors * (self.deviation + np.median(self.deviation))

    def shrunk(self, threshold: float) -> Double:
        """Give the class means after soft thresholding; (k, d)."""
        if threshold == 0:
            return self.means
        away = self.means - self.middle
        left = np.maximum(np.abs(away) - threshold * self.errors, 0)
        means: Double = self.middle + np.sign(away) * left
        return means

    def logits(self, setting: Mapping[str, Any]) -> Floats:
        """Give negative squared distances, in deviations within classes, and priors; (m, k)."""
        # -|(x - m_j) / s|^2 + 2 log(1 / k), s the deviation within classes
        means = self.shrunk(setting["shrink"]) / self.width
        squared = centroid_distances(self.problem.held / self.width, means) ** 2
        logits = -squared - 2 * np.log(len(means))
        return two_columns(logits[:, 1:] - logits[:, :1]) if len(means) == 2 else logits

    def finish(self, setting: Mapping[str, Any]) -> Finished:
        """Give a `NearestCentroid`."""
        from sklearn.neighbors import NearestCentroid

        means = self.shrunk(setting["shrink"])
        k, d = means.shape
        estimator = NearestCentroid(shrink_threshold=setting["shrink"] or None)
        estimator.classes_ = self.problem.labels
        estimator.class_prior_ = np.full(k, 1 / k)
        estimator.centroids_ = means
        estimator.within_class_std_dev_ = self.width
        estimator.deviations_ = np.divide(
            means - self.middle, self.errors, out=np.zeros((k, d)), where=self.errors > 0
        )
        estimator.n_features_in_ = d
        return Finished([("head", estimator)], means.size)


def centroid_distances(X: Floats, means: Double) -> Double:
    """Give the Euclidean distances of rows (m, d) to means (k, d); (m, k)."""
    # |x - m|^2 = |x|^2 - 2 x' m + |m|^2; (m, d) times (d, k) instead of (m, k, d) differences
    squared = (
        np.einsum("ij,ij->i", X, X)[:, None]
        - 2 * (X @ means.T)
        + np.einsum("ij,ij->i", means, means)
    )
    distances: Double = np.sqrt(np.maximum(squared, 0))
    return distances
