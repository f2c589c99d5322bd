"""Cholesky factors and products of rows, made without the interpreter's lock.

scipy's functions hold that lock while LAPACK works: of two threads that each factorise, one waits.
Here the same routines of scipy's own copy of LAPACK are called by ctypes, which lets the lock go.

A matrix in the order of C is its transpose in the order of Fortran, which LAPACK wants: what it
calls the lower triangle lies above the diagonal here. So nothing is copied.
"""

import ctypes
from collections.abc import Callable
from functools import cache
from importlib import import_module
from typing import Any, Final

import numpy as np

from tlfeat.heads.arrays import Floats

# of each type: what its routines' names begin with, and its numbers in C
_LETTERS: Final = {np.dtype(np.float32): "s", np.dtype(np.float64): "d"}
_FLOATS: Final[dict[np.dtype[Any], Any]] = {
    np.dtype(np.float32): ctypes.c_float,
    np.dtype(np.float64): ctypes.c_double,
}
# prototypes of our own: those of `ctypes.pythonapi` are everybody's
_name_of = ctypes.PYFUNCTYPE(ctypes.c_char_p, ctypes.py_object)(
    ("PyCapsule_GetName", ctypes.pythonapi)
)
_address_of = ctypes.PYFUNCTYPE(ctypes.c_void_p, ctypes.py_object, ctypes.c_char_p)(
    ("PyCapsule_GetPointer", ctypes.pythonapi)
)


class Factor:
    """The Cholesky factor L of a symmetric positive definite matrix: L L' is that matrix.

    Parameters
    ----------
    matrix : ndarray of shape (n, n), float32 or float64, in the order of C
        On and above its diagonal; it is overwritten.

    Raises
    ------
    numpy.linalg.LinAlgError
        If it is not positive definite.
    """

    def __init__(self, matrix: Floats) -> None:
        n = len(matrix)
        trouble = ctypes.c_int()
        _routine("lapack", "potrf", matrix.dtype)(
            b"L", _whole(n), _at(matrix), _whole(n), ctypes.byref(trouble)
        )
        if trouble.value:
            raise np.linalg.LinAlgError(
                f"The leading minor of order {trouble.value} is not positive definite."
            )
        self._turned = matrix  # L', above the diagonal

    def lower(self) -> Floats:
        """Give L, with zeros above its diagonal; (n, n)."""
        return np.ascontiguousarray(np.triu(self._turned).T)

    def forth(self, right: Floats) -> None:
        """Put L^-1 B in the place of B (n, c), in the order of C and of the type of L."""
        self._solve(right, b"T")

    def back(self, right: Floats) -> None:
        """Put L'^-1 B in the place of B (n, c), in the order of C and of the type of L."""
        self._solve(right, b"N")

    def _solve(self, right: Floats, turned: bytes) -> None:
        # L^-1 B is the transpose of B' L'^-1
        n, columns = right.shape
        if right.dtype != self._turned.dtype or n != len(self._turned):
            raise ValueError(
                f"The factor is {len(self._turned)} wide and {self._turned.dtype}; got a matrix "
                f"of {n} rows, {right.dtype}."
            )
        if not right.size:
            return  # LAPACK takes no matrix without columns
        one = _FLOATS[right.dtype](1)
        _routine("blas", "trsm", right.dtype)(
            b"R",
            b"L",
            turned,
            b"N",
            _whole(columns),
            _whole(n),
            ctypes.byref(one),
            _at(self._turned),
            _whole(n),
            _at(right),
            _whole(columns),
        )


def gram(rows: Floats) -> Floats:
    """Give X' X of rows X (n, d) in the order of C, on and above its diagonal; (d, d)."""
    n, d = rows.shape
    result = np.zeros((d, d), dtype=rows.dtype)
    one, zero = _FLOATS[rows.dtype](1), _FLOATS[rows.dtype](0)
    _routine("blas", "syrk", rows.dtype)(
        b"L",
        b"N",
        _whole(d),
        _whole(n),
        ctypes.byref(one),
        _at(rows),
        _whole(d),
        ctypes.byref(zero),
        _at(result),
        _whole(d),
    )
    return result


def add_scaled(total: Floats, scale: float, values: Floats) -> None:
    """Add a multiple of values to a sum of the same shape, both in the order of C."""
    if total.shape != values.shape or total.dtype != values.dtype:
        raise ValueError(
            f"Values of shape {values.shape}, {values.dtype}, cannot be added to a sum of shape "
            f"{total.shape}, {total.dtype}."
        )
    one, number = _whole(1), _FLOATS[total.dtype](scale)
    _routine("blas", "axpy", total.dtype)(
        _whole(total.size), ctypes.byref(number), _at(values), one, _at(total), one
    )


@cache
def _routine(library: str, name: str, dtype: np.dtype[Any]) -> Callable[..., None]:
    """Give a routine of scipy's BLAS or LAPACK; see `scipy.linalg.cython_lapack`."""
    module = import_module(f"scipy.linalg.cython_{library}")
    capsule = module.__pyx_capi__[_LETTERS[dtype] + name]
    return ctypes.CFUNCTYPE(None)(_address_of(capsule, _name_of(capsule)))


def _whole(number: int) -> Any:
    return ctypes.byref(ctypes.c_int(number))


def _at(array: Floats) -> ctypes.c_void_p:
    """Give where an array lies; LAPACK believes that it lies there in one piece."""
    if not array.flags.c_contiguous:
        raise ValueError("Wanted an array in the order of C, in one piece.")
    return ctypes.c_void_p(array.ctypes.data)
