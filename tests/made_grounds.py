"""Made-up feature matrices of the same rows, and heads on them."""

from collections.abc import Mapping
from typing import Any

import numpy as np

from tlfeat.heads.fit import fit_any
from tlfeat.heads.fitting import FittedHead, HeadOrder
from tlfeat.heads.ground import Ground
from tlfeat.heads.grounds import Candidate, Grounds
from tlfeat.heads.pool import run_jobs

N, K = 240, 3


def grounds(
    strengths: Mapping[str, float],
    *,
    validation: int = 0,
    seed: int = 0,
    groups: np.ndarray | None = None,
    d: int = 12,
) -> tuple[Grounds, np.ndarray]:
    """Matrices whose classes lie so far apart; rows beyond those of train are validation.

    Groups are of validation.
    """
    random = np.random.default_rng(seed)
    y = np.arange(N + validation) % K
    made = []
    for name, strength in strengths.items():
        X = random.normal(size=(len(y), d)).astype(np.float32)
        X[:, :K] += strength * np.eye(K, dtype=np.float32)[y]
        held = (X[N:], y[N:]) if validation else None
        made.append(Candidate(name, Ground(X[:N], y[:N], K, None, held, 0, groups), {name: d}))
    return Grounds(made), y


def fit(on: Grounds, name: str, **asked: Any) -> FittedHead:
    """Fit a head on the best of the matrices."""
    (done,) = run_jobs([fit_any(on, HeadOrder(name, **asked))], 2)
    assert isinstance(done, FittedHead), done
    return done
