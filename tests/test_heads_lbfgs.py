"""The minimiser of linear heads."""

import numpy as np
import pytest

from tlfeat.heads.lbfgs import Descent, minimise


class Bowl(Descent):
    """A badly scaled quadratic function with its minimum at ones."""

    scales = np.logspace(0, 2, 50)

    def __init__(self) -> None:
        self.looked = 0

    def begin(self, x: np.ndarray) -> tuple[float, np.ndarray]:
        self.x = x
        return self.value(x), self.scales * (x - 1)

    def face(self, direction: np.ndarray) -> None:
        self.direction = direction

    def look(self, length: float) -> tuple[float, float]:
        self.looked += 1
        there = self.x + length * self.direction
        return self.value(there), float(self.scales * (there - 1) @ self.direction)

    def go(self, length: float) -> np.ndarray:
        self.x = self.x + length * self.direction
        return self.scales * (self.x - 1)

    def value(self, x: np.ndarray) -> float:
        return float((self.scales * (x - 1) ** 2).sum() / 2)


def test_minimise_finds_the_minimum_of_a_badly_scaled_bowl() -> None:
    found = minimise(Bowl(), np.zeros(50), np.copy, tolerance=1e-6, most=500)
    assert found.converged
    np.testing.assert_allclose(found.x, 1, atol=1e-5)
    assert not minimise(Bowl(), np.zeros(50), np.copy, tolerance=1e-6, most=3).converged


@pytest.mark.parametrize("stride", [1e-2, 1.0, 100.0])
def test_a_step_is_near_the_best_of_its_line(stride: float) -> None:
    class Level(Bowl):
        scales = np.ones(50)

    # the slope of a quadratic function is a straight line, so two lengths say where it is 0
    bowl = Level()
    found = minimise(bowl, np.zeros(50), lambda g: stride * g, tolerance=1e-6, most=10)
    np.testing.assert_allclose(found.x, 1, atol=1e-5)
    assert found.iterations == 1
    assert bowl.looked <= (2 if stride >= 1 else 3)  # ten times as far at the most
