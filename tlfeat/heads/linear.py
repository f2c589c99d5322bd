"""Linear heads without a closed form: logistic regression and the linear SVM.

Both minimise a smooth convex function, the mean loss plus |W|^2 / (2 C n), by L-BFGS. What makes
it quick is where it begins: where the solutions of the two values of C before lead to or, on all
rows, at the mean of what the folds came to. And a matrix that resembles the curvature, whose
Cholesky factor takes the place of most iterations: from nothing a multiple of the Gram matrix of
the rows, which closed forms have made already, plus the penalty; else the same with each row
counted by how much its loss bends at the last point.
"""

from abc import abstractmethod
from collections.abc import Mapping
from contextlib import suppress
from typing import Any, Final, NamedTuple

import numpy as np

from tlfeat.heads.arrays import Double, Floats, Single
from tlfeat.heads.lapack import Factor
from tlfeat.heads.lbfgs import Descent, Precondition, minimise
from tlfeat.heads.learner import Finished, Learner, Problem, temper_linear, two_columns
from tlfeat.heads.matrix import BLOCK
from tlfeat.heads.rows import CopiedCoordinates

# Of the Newton decrement, whose square is about twice what the mean loss lies above its least. In
# the end probabilities are within 1e-4.
_FINAL_TOLERANCE: Final = 5e-5
# In the search the tempered log loss of held rows was seen to be within 8e-3 of the exact one, a
# quarter of its standard error, and mostly within 1e-3.
_SEARCH_TOLERANCE: Final = 1e-3  # where curvature times C is _ALIKE
_ALIKE: Final = 0.3
_LOOSEST: Final = 5e-3
_ON_THE_WAY: Final = 3e-2  # where a solution is only the start of one that is less regularised
_LEAST_CURVATURE: Final = 1e-5
# Few rows bend the loss where C is large, and those much more than the mean row: what resembles
# the curvature best is less steep than its mean. Tried from 0.4 to 1 on traffic signs, 43 classes.
_STEEP: Final = 0.8
# Of the mean row, what any row counts for: those that do not bend the loss yet may on the way.
# Tried from 0.01 to 0.5 on the same signs: below 0.1 it takes more iterations, not fewer.
_LEAST_BEND: Final = 0.3
_ADDED: Final = (1e-6, 1e-4, 1e-2, 1.0)  # of the mean of a diagonal, where it is not positive
_FARTHEST: Final = 1.5  # steps beyond the last solution, of the length between that and the former


class _Solution(NamedTuple):
    C: float
    both: Double  # weights in the coordinates of the rows, below them the bias; (r + 1, columns)
    iterations: int
    converged: bool


class Loss(NamedTuple):
    """The losses of some rows."""

    total: float
    bend: Floats  # of each row, the sum of the second derivatives by its scores; (rows,)
    slope: Floats  # by each score, (rows, columns)


class LinearLearner(Learner):
    """A smooth convex loss of linear scores, solved along C."""

    # Mean second derivative of a row's loss by a score: at the start, then as last met. It falls
    # as C rises, since more and more rows end far from the boundary.
    curvature: float
    steep: float  # power of its fall that serves best
    usual_cost: float  # C that is soon solved from nothing
    by_row: bool  # whether the rows' own curvatures guide better than their mean
    penalised_bias: bool  # liblinear counts the bias into the norm, logistic regression does not

    def __init__(self, problem: Problem) -> None:
        super().__init__(problem)
        self.coordinates = problem.rows.coordinates
        self.columns = 1 if problem.n_classes == 2 else problem.n_classes
        self.last: _Solution | None = None
        self.before: _Solution | None = None
        self.first = self._begun()  # what to begin from, where not from nothing; (r + 1, columns)
        self.bends = np.zeros(len(self.coordinates.codes), dtype=problem.rows.dtype)  # (N,)

    def _begun(self) -> Double | None:
        """Take the mean of what others have reached, where they know the same classes."""
        reached, shape = self.problem.reached, (self.problem.rows.d + 1, self.columns)
        if not reached or any(one is None or one.shape != shape for one in reached):
            return None
        mean: Double = np.mean(reached, axis=0, dtype=np.float64)
        return np.vstack([self.coordinates.of_features(mean[:-1]), mean[-1:]])

    def row_weights(self) -> Floats:
        """Give each row that is gone over its weight, 0 where it does not count; (N, 1)."""
        codes, counted = self.coordinates.codes, self.coordinates.counted
        weights = self.problem.class_weights()[codes]
        if counted is not None:
            weights = np.where(counted, weights, 0)
        return weights.astype(self.problem.rows.dtype)[:, None]

    @abstractmethod
    def loss(self, part: slice, scores: Floats) -> Loss:
        """Give the losses of some rows; from scores (rows, columns), which it may overwrite."""

    def reached(self) -> Single | None:
        """Give weights and bias for the standardised features; (d + 1, columns)."""
        if self.last is None:
            return None
        weights = self.coordinates.features(self.last.both[:-1])
        return np.vstack([weights, self.last.both[-1]]).astype(np.float32)

    def solve(self, C: float, tolerance: float) -> _Solution:
        """Minimise, starting from the last solution."""
        is_new = self.last is None and self.first is None
        if is_new and 10 * self.usual_cost < C and tolerance < _ON_THE_WAY:
            self.solve(C / 10, _ON_THE_WAY)
        # Z (n, r) rows, W (r, columns) and b (columns,), a = 1 / (C n):
        # f = sum of losses of Z W + b / n + a |W|^2 / 2 (+ a |b|^2 / 2 where it is penalised).
        # Its curvature in each column is about M = Z' diag(c) Z / n + a I, c the curvatures of the
        # losses and Z with a column of ones for the bias.
        penalty = 1 / (C * self.problem.rows.n)
        of_bias = penalty if self.penalised_bias else 0.0
        descent, start = _Penalised(self, penalty, of_bias), self._start(C)
        if self.last is None and self.first is not None:
            descent.begin(start.ravel())  # now it is known how rows bend the loss
        found = minimise(
            descent,
            start.ravel(),
            self._preconditioner(penalty, of_bias),
            tolerance=tolerance,
            most=int(self.problem.fixed["max_iter"]),
        )
        if self.last is None or self.last.C != C:
            self.before = self.last
        both = found.x.reshape(start.shape)
        self.last = _Solution(C, both, found.iterations, found.converged)
        return self.last

    def _start(self, C: float) -> Double:
        """Give what the last solutions promise; (r + 1, columns)."""
        last, before = self.last, self.before
        if last is None:
            shape = len(self.coordinates.gram) + 1, self.columns
            return np.zeros(shape) if self.first is None else self.first
        if before is None or not before.C < last.C < C:
            return last.both
        # solutions lie about on a line by the logarithm of C
        share = float(np.log(C / last.C) / np.log(last.C / before.C))
        start: Double = last.both + min(share, _FARTHEST) * (last.both - before.both)
        return start

    def _preconditioner(self, penalty: float, of_bias: float) -> Precondition:
        """Give what multiplies a gradient by about the inverse of the curvature."""
        matrix = self._bent_gram()
        matrix.flat[:: len(matrix) + 1] += penalty
        matrix[-1, -1] += of_bias - penalty
        factor, shape = _sure_factor(matrix), (len(matrix), self.columns)

        def precondition(gradient: Single) -> Single:
            inner = gradient.reshape(shape).copy()
            factor.forth(inner)
            factor.back(inner)
            return inner.ravel()

        return precondition

    def _bent_gram(self) -> Single:
        """Give about the mean over rows of c z z', c the curvature of a row's loss.

        Returns
        -------
        matrix : ndarray of shape (r + 1, r + 1), float32
            The last of each z stands for the bias: 1. Below the diagonal there may be anything.
        """
        coordinates, n = self.coordinates, self.problem.rows.n
        guided = self.by_row and not (self.last is None and self.first is None)
        if guided and isinstance(coordinates, CopiedCoordinates):
            bends = np.maximum(self.bends / self.columns, _LEAST_BEND * self.curvature)
            return coordinates.weighted_gram(bends / n)
        # the rows are too many to be gone over for that, or nothing is known of them
        matrix = np.empty((len(coordinates.gram) + 1,) * 2, dtype=np.float32)
        matrix[:-1, :-1], matrix[-1, -1] = coordinates.gram, n
        matrix[:-1, -1] = matrix[-1, :-1] = coordinates.total
        usual = type(self).curvature
        matrix *= np.float32(usual * (self.curvature / usual) ** self.steep / n)
        return matrix

    def held_scores(self, C: float) -> Floats:
        """Give the linear scores of the rows to score; (m, columns)."""
        # Where the loss is flat only the penalty |W|^2 / (2 C n) holds weights in their place: a
        # loss that is too high by e lets them be off by (2 e C n)^1/2. So for scores that are as
        # exact at any C the tolerance, a root of the loss, falls as C^-1/2.
        exact = _SEARCH_TOLERANCE * (_ALIKE / (type(self).curvature * C)) ** 0.5
        solution = self.solve(C, min(max(exact, _FINAL_TOLERANCE), _LOOSEST))
        return self.coordinates.held(solution.both[:-1], solution.both[-1])

    def fill(self, estimator: Any, C: float) -> Finished:
        """Give a new estimator of scikit-learn the solution as its fitted attributes."""
        solution = self.solve(C, _FINAL_TOLERANCE)
        weights = self.coordinates.features(solution.both[:-1])  # (d, columns)
        dtype = self.problem.rows.dtype
        estimator.coef_ = np.ascontiguousarray(weights.T, dtype=dtype)
        estimator.intercept_ = solution.both[-1].astype(dtype)
        estimator.classes_ = self.problem.labels
        estimator.n_features_in_ = self.problem.rows.d
        estimator.n_iter_ = np.array([solution.iterations], dtype=np.int32)
        trouble = ""
        if not solution.converged:
            trouble = f"stopped after {solution.iterations} iterations at C={C:g}: raise max_iter"
        n_parameters = estimator.coef_.size + estimator.intercept_.size
        return Finished([("head", estimator)], n_parameters, trouble)


def _sure_factor(matrix: Single) -> Factor:
    """Factorise what only guides: where rounding has made it less than positive, add to it."""
    for more in (0.0, *_ADDED):
        regular = matrix.copy()
        regular.flat[:: len(matrix) + 1] += more * float(np.trace(matrix)) / len(matrix)
        with suppress(np.linalg.LinAlgError):
            return Factor(regular)
    raise np.linalg.LinAlgError("The loss is not convex, or its curvature is no number.")


class _Penalised(Descent):
    """The mean loss of a learner's rows plus the penalty; W and b (r + 1, columns) in one row."""

    def __init__(self, learner: LinearLearner, penalty: float, of_bias: float) -> None:
        self.learner, self.n = learner, learner.problem.rows.n
        self.shape = len(learner.coordinates.gram) + 1, learner.columns
        penalties = np.full(self.shape, penalty)
        penalties[-1] = of_bias
        self.penalties = penalties.ravel()  # of the square of each weight, times 2

    def begin(self, x: Double) -> tuple[float, Double]:
        """Score the rows."""
        self.x, self.scores = x, self._scores(x)  # scores (N, columns)
        total, gradient = self._gradient()
        return total / self.n + 0.5 * float(self.penalties @ x**2), gradient

    def face(self, direction: Double) -> None:
        """Score the rows along the line."""
        self.direction, self.away = direction, self._scores(direction)
        # the penalty is a parabola along it
        by = self.penalties * direction
        self.level = 0.5 * float(self.penalties @ self.x**2)
        self.rise, self.bow = float(by @ self.x), float(by @ direction)

    def look(self, length: float) -> tuple[float, float]:
        """Add scores, multiply none."""
        t, total, along = self.scores.dtype.type(length), 0.0, 0.0
        for start in range(0, len(self.scores), BLOCK):
            part = slice(start, start + BLOCK)
            away = self.away[part]
            loss = self.learner.loss(part, self.scores[part] + t * away)
            total += loss.total
            along += float(np.einsum("ij,ij->", loss.slope, away, dtype=np.float64))
        value = total / self.n + self.level + length * (self.rise + 0.5 * length * self.bow)
        return value, along / self.n + self.rise + length * self.bow

    def go(self, length: float) -> Double:
        """Add the scores of the step to those of the rows."""
        self.away *= self.scores.dtype.type(length)
        self.scores += self.away
        del self.away  # before there are those of the next line
        self.x = self.x + length * self.direction
        return self._gradient()[1]

    def _scores(self, x: Double) -> Floats:
        both = x.reshape(self.shape)
        return self.learner.coordinates.scores(both[:-1], both[-1])

    def _gradient(self) -> tuple[float, Double]:
        """Give the sum of losses and the gradient; how rows bend the loss is kept."""
        learner, total = self.learner, 0.0

        def slopes(part: slice) -> Floats:  # made again: those of all rows take much memory
            nonlocal total
            loss = learner.loss(part, self.scores[part].copy())
            total += loss.total
            learner.bends[part] = loss.bend
            return loss.slope

        by_weights, by_bias = learner.coordinates.back(slopes, self.shape[1])
        bend = float(learner.bends.sum(dtype=np.float64)) / (self.n * self.shape[1])
        learner.curvature = max(bend, _LEAST_CURVATURE)
        gradient: Double = np.vstack([by_weights, by_bias]).ravel() / self.n
        gradient += self.penalties * self.x
        return total, gradient


class Logistic(LinearLearner):
    """Multinomial logistic regression; two classes have one column."""

    curvature = 0.1
    steep = _STEEP
    usual_cost = 1e-3
    by_row = True
    penalised_bias = False

    def __init__(self, problem: Problem) -> None:
        super().__init__(problem)
        self.weights = self.row_weights()  # (N, 1)

    def loss(self, part: slice, scores: Floats) -> Loss:
        """Give the cross-entropy."""
        codes, weights = self.coordinates.codes[part], self.weights[part]
        if self.columns == 1:
            # t = -1 or 1: log(1 + e^-ts), and its slope -t / (1 + e^ts) = -t e^(-ts - loss)
            targets = np.where(codes == 1, 1, -1).astype(scores.dtype)[:, None]
            margins = targets * scores
            losses = np.logaddexp(0, -margins)
            slope = -targets * np.exp(-margins - losses)
            bend = (np.abs(slope) - slope**2)[:, 0]
        else:
            # log sum_j e^s_j - s_y, and its slope softmax(s) - one_hot(y); the largest s is taken
            # off first, so that nothing overflows, and the slopes take the place of the scores
            scores -= scores.max(axis=1, keepdims=True)
            rows = np.arange(len(codes))
            chosen = scores[rows, codes]
            slope = np.exp(scores, out=scores)
            sums = slope.sum(axis=1)
            losses = (np.log(sums) - chosen)[:, None]
            slope /= sums[:, None]
            bend = 1 - np.einsum("ij,ij->i", slope, slope)
            slope[rows, codes] -= 1
        slope *= weights
        total = float((weights * losses).sum(dtype=np.float64))
        return Loss(total, weights[:, 0] * bend, slope)

    def logits(self, setting: Mapping[str, Any]) -> Floats:
        """Give the linear scores; (m, k)."""
        raw = self.held_scores(setting["C"])
        return np.hstack([np.zeros_like(raw), raw]) if self.columns == 1 else raw

    def finish(self, setting: Mapping[str, Any]) -> Finished:
        """Give a `LogisticRegression`."""
        from sklearn.linear_model import LogisticRegression

        weight = "balanced" if self.problem.balanced else None
        most = self.problem.fixed["max_iter"]
        estimator = LogisticRegression(C=setting["C"], class_weight=weight, max_iter=most)
        return self.fill(estimator, setting["C"])

    def temper(self, done: Finished, temperature: float) -> Finished:
        """Divide the weights."""
        return temper_linear(done, temperature)


class LinearMachine(LinearLearner):
    """Linear support vector machine with the squared hinge loss, one class against the rest."""

    curvature = 2.0
    steep = 1.0
    usual_cost = 1e-4
    by_row = (
        False  # as many iterations on traffic signs and garments, and a product of matrices more
    )
    penalised_bias = True

    def __init__(self, problem: Problem) -> None:
        super().__init__(problem)
        self.weights = self.row_weights()  # (N, 1)

    def loss(self, part: slice, scores: Floats) -> Loss:
        """Give the squared hinge losses."""
        codes, weights = self.coordinates.codes[part], self.weights[part]
        if self.columns == 1:
            targets = np.where(codes == 1, 1, -1).astype(scores.dtype)[:, None]
        else:
            rows = np.arange(len(codes))
            targets = np.full_like(scores, -1)
            targets[rows, codes] = 1
            if self.problem.balanced:
                # as liblinear: in the problem of a class its weight is that of its own rows
                own, weights = weights[:, 0], np.where(weights > 0, np.ones_like(scores), 0)
                weights[rows, codes] = own
        # t = -1 or 1, w the row's weight: w max(0, 1 - ts)^2, and its slope -2 w t max(0, 1 - ts)
        slack = np.maximum(0, 1 - targets * scores)
        weighted = weights * slack
        total = float((weighted * slack).sum(dtype=np.float64))
        bend = 2 * np.where(slack > 0, weights, 0).sum(axis=1)
        return Loss(total, bend, -2 * targets * weighted)

    def logits(self, setting: Mapping[str, Any]) -> Floats:
        """Give distances to the boundaries; (m, k)."""
        return two_columns(self.held_scores(setting["C"]))

    def finish(self, setting: Mapping[str, Any]) -> Finished:
        """Give a `LinearSVC`."""
        from sklearn.svm import LinearSVC

        weight = "balanced" if self.problem.balanced else None
        most = self.problem.fixed["max_iter"]
        estimator = LinearSVC(C=setting["C"], class_weight=weight, max_iter=most)
        return self.fill(estimator, setting["C"])
