"""Gram matrices in double precision, a block of rows at a time, and the systems they solve."""

from collections.abc import Callable
from typing import Any, Final

import numpy as np
import numpy.typing as npt

Double = npt.NDArray[np.float64]
_BLOCK: Final = 4096  # rows turned into double precision at a time


def row_gram(X: npt.NDArray[Any]) -> Double:
    """Give X X' of X (n, d); (n, n)."""
    rows = X.astype(np.float64)
    gram: Double = rows @ rows.T
    return gram


def column_gram(
    X: npt.NDArray[Any], change: Callable[[Double, slice], Double] | None = None
) -> Double:
    """Give A' A of A (n, d), which is X or what `change` makes of each block of it; (d, d)."""
    gram = np.zeros((X.shape[1], X.shape[1]))
    for start in range(0, len(X), _BLOCK):
        part = slice(start, start + _BLOCK)
        block = X[part].astype(np.float64)
        if change is not None:
            block = change(block, part)
        gram += block.T @ block
    return gram


def cross_product(X: npt.NDArray[Any], B: Double) -> Double:
    """Give X' B for X (n, d) and B (n, columns); (d, columns)."""
    product = np.zeros((X.shape[1], B.shape[1]))
    for start in range(0, len(X), _BLOCK):
        part = slice(start, start + _BLOCK)
        product += X[part].astype(np.float64).T @ B[part]
    return product


class Regularised:
    """Solve (A' A + penalty I) W = B for many penalties; A is (n, d), made of X by `change`.

    With fewer rows than features only A A' (n, n) is factorised:
    W = (B - A' (A A' + penalty I)^-1 A B) / penalty.
    """

    def __init__(self, X: npt.NDArray[Any], change: Callable[[Double, slice], Double]) -> None:
        n, d = X.shape
        self.rows: Double | None = None
        if n < d:
            self.rows = change(X.astype(np.float64), slice(0, n))
            self.gram: Double = self.rows @ self.rows.T
        else:
            self.gram = column_gram(X, change)
        self.trace = float(np.trace(self.gram))  # of A' A, too

    def solve(self, B: Double, penalty: float) -> Double:
        """Give W (d, columns) for B (d, columns) and a penalty above 0."""
        if self.rows is None:
            return self._solve_gram(B, penalty)
        # n < d, a the penalty, by Woodbury's identity:
        # (A' A + a I)^-1 = (I - A' (A A' + a I)^-1 A) / a; (n, n) instead of (d, d).
        inner = self._solve_gram(self.rows @ B, penalty)
        return (B - self.rows.T @ inner) / penalty

    def _solve_gram(self, right: Double, penalty: float) -> Double:
        from scipy.linalg import cho_factor, cho_solve

        matrix = self.gram.copy()
        matrix.flat[:: len(matrix) + 1] += penalty
        # G + a I = L L' for a > 0. The transposed view of a symmetric matrix is the matrix, in the
        # order of LAPACK, which then needs no copy of its own.
        factor = cho_factor(matrix.T, overwrite_a=True, check_finite=False)
        solution: Double = cho_solve(factor, right, check_finite=False)
        return solution
