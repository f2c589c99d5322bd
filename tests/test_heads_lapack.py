"""Routines of LAPACK that are called without the interpreter's lock."""

import threading
import time
from collections.abc import Callable

import numpy as np
import pytest
from scipy.linalg.lapack import dpotrf

from tlfeat.heads.lapack import Factor, add_scaled, gram

KINDS = [np.float32, np.float64]


def made(n: int, dtype: type) -> np.ndarray:
    rows = np.random.default_rng(0).normal(size=(2 * n, n))
    return (rows.T @ rows / n + np.eye(n)).astype(dtype)


@pytest.mark.parametrize("dtype", KINDS)
def test_a_factor_is_that_of_the_matrix_and_solves_with_it(dtype: type) -> None:
    matrix = made(30, dtype)
    right = np.random.default_rng(1).normal(size=(30, 4)).astype(dtype)
    above = np.triu(matrix)  # what lies below the diagonal is never read
    factor = Factor(above.copy())
    lower = factor.lower()
    assert lower.dtype == dtype
    assert not np.triu(lower, 1).any()
    close = 1e-4 if dtype is np.float32 else 1e-12
    np.testing.assert_allclose(lower @ lower.T, matrix, atol=10 * close)
    forth, back, both = right.copy(), right.copy(), right.copy()
    factor.forth(forth)
    factor.back(back)
    factor.forth(both)
    factor.back(both)
    np.testing.assert_allclose(lower @ forth, right, atol=close)
    np.testing.assert_allclose(lower.T @ back, right, atol=close)
    np.testing.assert_allclose(matrix @ both, right, atol=10 * close)
    factor.forth(right[:, :0])  # no columns, nothing to do


def test_a_matrix_that_is_not_positive_definite_is_refused() -> None:
    matrix = made(5, np.float64)
    matrix[2, 2] = -1
    with pytest.raises(np.linalg.LinAlgError, match=r"order 3 is not positive definite"):
        Factor(matrix)


def test_what_lapack_would_misread_is_refused() -> None:
    factor = Factor(made(6, np.float64))
    with pytest.raises(ValueError, match=r"6 wide and float64; got a matrix of 6 rows, float32"):
        factor.forth(np.ones((6, 2), dtype=np.float32))
    with pytest.raises(ValueError, match=r"got a matrix of 5 rows"):
        factor.back(np.ones((5, 2)))
    with pytest.raises(ValueError, match=r"in one piece"):
        factor.forth(np.ones((2, 6)).T)
    with pytest.raises(ValueError, match=r"in one piece"):
        gram(np.ones((4, 6))[:, ::2])
    with pytest.raises(ValueError, match=r"of shape \(3,\), float32, cannot be added"):
        add_scaled(np.zeros(3), 1.0, np.ones(3, dtype=np.float32))


@pytest.mark.parametrize("dtype", KINDS)
def test_sums_are_those_of_numpy(dtype: type) -> None:
    rows = np.random.default_rng(0).normal(size=(50, 7)).astype(dtype)
    np.testing.assert_allclose(np.triu(gram(rows)), np.triu(rows.T @ rows), rtol=1e-4, atol=1e-4)
    total = np.ones((3, 4), dtype=dtype)
    add_scaled(total, -0.5, np.arange(12, dtype=dtype).reshape(3, 4))
    np.testing.assert_allclose(total, 1 - np.arange(12).reshape(3, 4) / 2)


def test_other_threads_go_on_meanwhile() -> None:
    matrix, ended, turns = made(1500, np.float64), threading.Event(), [0]

    def turn() -> None:
        while not ended.is_set():
            turns[0] += 1
            time.sleep(0)

    def turns_during(factorise: Callable[[np.ndarray], object]) -> int:
        copies = [matrix.copy() for _ in range(5)]
        before = turns[0]
        for one in copies:
            factorise(one)
        return turns[0] - before

    def scipys(one: np.ndarray) -> object:
        return dpotrf(one.T, lower=1, clean=0, overwrite_a=1)

    other = threading.Thread(target=turn)
    other.start()
    try:
        # scipy's own function keeps the lock: were it let go one day, ours would be of no use
        assert turns_during(Factor) > 10 * turns_during(scipys)
    finally:
        ended.set()
        other.join()
