"""What heads share is what each would make alone: sums less held ones, coordinates."""

from typing import Any

import numpy as np
import pytest
from sklearn.preprocessing import StandardScaler

from tlfeat.heads import linear
from tlfeat.heads import rows as module
from tlfeat.heads.folds import assign_folds
from tlfeat.heads.learner import Problem
from tlfeat.heads.linear import LinearMachine, Logistic
from tlfeat.heads.matrix import Matrix
from tlfeat.heads.rows import CopiedFeatures, RawFeatures, RowCoordinates, Rows

K = 4


def made(n: int, d: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Rows far from 0, of uneven classes and scales, some features nearly constant."""
    random = np.random.default_rng(n)
    y = np.sort(random.integers(0, K, n) * random.integers(0, 2, n))
    X = random.normal(size=(n, d)) * random.uniform(0.1, 30, d) + random.normal(0, 50, d)
    X += random.normal(size=(K, d))[y]
    X[:, 0] = 3
    X[:, 1] = np.where(np.arange(n) == n // 2, 1e-3, 0)
    return X.astype(np.float32), y, assign_folds(y)


@pytest.fixture(params=[(300, 12), (40, 60)], ids=["tall", "wide"])
def data(request: Any) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    return made(*request.param)


@pytest.fixture(params=[2**26, 0], ids=["few", "many"])
def copied(request: Any, monkeypatch: pytest.MonkeyPatch) -> int:
    """Bytes up to which linear heads copy rows."""
    monkeypatch.setattr(module, "COPIED", request.param)
    return int(request.param)


@pytest.mark.parametrize("part", [None, 0, 3])
def test_a_fold_is_standardised_by_its_own_rows(data: Any, part: int | None) -> None:
    X, y, fold = data
    rows = Rows(Matrix(X, y, K, fold), part)
    mine = np.full(len(X), True) if part is None else fold != part
    theirs = StandardScaler().fit(X[mine].astype(np.float64))
    np.testing.assert_allclose(rows.mean, theirs.mean_, rtol=1e-9, atol=1e-9)
    varies = theirs.var_ > 1e-6
    np.testing.assert_allclose(rows.scaler().var_[varies], theirs.var_[varies], rtol=1e-6)
    floor = 0.1 * np.median(np.sqrt(theirs.var_)[theirs.var_ > 0])
    wanted = np.maximum(np.sqrt(theirs.var_), floor)[varies]
    np.testing.assert_allclose(rows.scale[varies], wanted, rtol=1e-6)
    np.testing.assert_allclose(rows.X, (X[mine] - rows.mean) / rows.scale, atol=1e-4)
    if part is not None:
        np.testing.assert_allclose(rows.held, (X[~mine] - rows.mean) / rows.scale, atol=1e-4)


@pytest.mark.parametrize("part", [None, 2])
def test_coordinates_say_of_scores_what_the_standardised_rows_say(
    data: Any, copied: int, part: int | None
) -> None:
    X, y, fold = data
    rows = Rows(Matrix(X, y, K, fold), part)
    coordinates = rows.coordinates
    of_tall = CopiedFeatures if copied else RawFeatures
    assert type(coordinates) is (RowCoordinates if rows.is_wide else of_tall)
    random = np.random.default_rng(0)
    W = random.normal(size=(len(coordinates.gram), 3))
    bias, slope = random.normal(size=3), random.normal(size=(len(coordinates.codes), 3))
    if coordinates.counted is not None:
        slope[~coordinates.counted] = 0
    Z, weights = rows.X.astype(np.float64), coordinates.features(W)

    seen = coordinates.scores(W, bias)
    by_weights, by_bias = coordinates.back(lambda part: slope[part].astype(np.float32), 3)
    counted = slice(None) if coordinates.counted is None else coordinates.counted
    np.testing.assert_allclose(seen[counted], Z @ weights + bias, rtol=1e-3, atol=5e-3)
    np.testing.assert_allclose(
        coordinates.features(by_weights), Z.T @ slope[counted], rtol=1e-3, atol=2e-2
    )
    np.testing.assert_allclose(by_bias, slope[counted].sum(axis=0), atol=1e-4)
    held = rows.held.astype(np.float64) @ weights + bias
    np.testing.assert_allclose(coordinates.held(W, bias), held, rtol=1e-3, atol=5e-3)
    wanted = np.stack([Z[rows.y == code].mean(axis=0) for code in range(len(rows.labels))])
    np.testing.assert_allclose(coordinates.features(coordinates.means.T).T, wanted, atol=1e-4)
    # |W|^2 and Z' Z are the same in either coordinates, for W that rows can make
    of_rows = coordinates.features(by_weights)
    np.testing.assert_allclose(coordinates.of_features(of_rows), by_weights, rtol=1e-3, atol=2e-2)
    np.testing.assert_allclose((of_rows**2).sum(), (by_weights**2).sum(), rtol=1e-4)
    np.testing.assert_allclose(
        (W * (coordinates.gram @ W)).sum(), ((Z @ weights) ** 2).sum(), rtol=1e-4
    )


@pytest.mark.parametrize("kind", [Logistic, LinearMachine])
@pytest.mark.parametrize("k", [K, 2])
def test_a_fold_ends_where_its_rows_alone_would(data: Any, copied: int, kind: Any, k: int) -> None:
    X, y, fold = data
    y = np.minimum(y, k - 1)
    alone = X[fold != 1], y[fold != 1]
    both = [
        kind(Problem(rows, {"max_iter": 500}, {}, False, 0))
        for rows in (
            Rows(Matrix(X, y, k, fold), 1),
            Rows(Matrix(*alone, k), held=X[fold == 1]),
        )
    ]
    np.testing.assert_allclose(*(one.logits({"C": 0.01}) for one in both), atol=5e-3)
    # what guides the way there is told by the rows that are learned from alone
    assert both[0].curvature == pytest.approx(both[1].curvature, rel=1e-2)


def test_no_row_is_multiplied_twice(monkeypatch: pytest.MonkeyPatch) -> None:
    X, y, fold = made(300, 12)
    matrix = Matrix(X, y, K, fold)
    seen: list[int] = []
    real = matrix._sums
    monkeypatch.setattr(matrix, "_sums", lambda rows: seen.extend(rows) or real(rows))
    for part in (None, *range(5)):
        assert len(Rows(matrix, part).coordinates.gram) == 12
    assert sorted(seen) == list(range(300))


def test_a_path_leads_to_the_same_in_fewer_steps(
    data: Any, copied: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    X, y, fold = data
    rows = Rows(Matrix(X, y, K, fold), 1)

    def path() -> tuple[list[np.ndarray], int]:
        learner = Logistic(Problem(rows, {"max_iter": 500}, {}, False, 0))
        solutions = [learner.solve(C, 1e-4) for C in (3e-3, 1e-2, 3e-2, 0.1, 0.3)]
        scores = [rows.coordinates.held(one.both[:-1], one.both[-1]) for one in solutions]
        return scores, sum(one.iterations for one in solutions)

    led, fewer = path()
    monkeypatch.setattr(linear, "_FARTHEST", 0.0)  # each begins where the one before ended
    stood, more = path()
    for one, other in zip(led, stood, strict=True):
        np.testing.assert_allclose(one, other, atol=0.02)
    assert fewer < more


@pytest.mark.parametrize("kind", [Logistic, LinearMachine])
def test_all_rows_begin_where_the_folds_ended(data: Any, copied: int, kind: Any) -> None:
    X, y, fold = data
    matrix, fixed = Matrix(X, y, K, fold), {"max_iter": 500}
    folds = [kind(Problem(Rows(matrix, part), fixed, {}, False, 0)) for part in range(5)]
    assert folds[0].reached() is None
    for one in folds:
        one.logits({"C": 0.01})
    reached = [one.reached() for one in folds]
    assert {one.shape for one in reached} == {(X.shape[1] + 1, K)}
    whole = Rows(matrix)
    alone = kind(Problem(whole, fixed, {}, False, 0)).finish({"C": 0.01})
    after = kind(Problem(whole, fixed, {}, False, 0, reached)).finish({"C": 0.01})
    one, other = alone.steps[-1][1], after.steps[-1][1]
    np.testing.assert_allclose(
        one.decision_function(whole.X), other.decision_function(whole.X), atol=5e-3
    )
    assert other.n_iter_[0] <= one.n_iter_[0]
    # a fold that lacks a class knows other columns: nothing can be begun from it
    few = [*reached[:4], reached[4][:, 1:]]
    anew = kind(Problem(whole, fixed, {}, False, 0, few)).finish({"C": 0.01}).steps[-1][1]
    np.testing.assert_array_equal(anew.coef_, one.coef_)


def test_what_only_guides_is_made_positive_where_that_can_be() -> None:
    level = np.ones((4, 4), dtype=np.float32)
    level[0, 0] -= 1e-6  # as rounding leaves it
    lower = linear._sure_factor(level).lower()
    np.testing.assert_allclose(lower @ lower.T, level, atol=0.02)
    with pytest.raises(np.linalg.LinAlgError, match=r"not convex"):
        linear._sure_factor(-np.eye(4, dtype=np.float32))
