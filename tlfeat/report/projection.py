"""Features in two dimensions: PCA always, UMAP where it is installed."""

from collections.abc import Sequence
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from typing import NamedTuple

import numpy as np

from tlfeat.errors import StoreError
from tlfeat.features.matrix import open_entry
from tlfeat.features.store import FeatureStore
from tlfeat.runs.ranked import RankedRun

MOST_POINTS = 600


class Projection(NamedTuple):
    """Points of a plane."""

    name: str  # "PCA" or "UMAP"
    points: np.ndarray  # (n_samples, 2)
    x_label: str
    y_label: str


def choose_points(n_samples: int, most: int = MOST_POINTS) -> np.ndarray:
    """Choose the samples that are drawn: all, or as many as can be told apart.

    Parameters
    ----------
    n_samples, most : int

    Returns
    -------
    places : ndarray of int, rising
    """
    if n_samples <= most:
        return np.arange(n_samples)
    return np.sort(np.random.default_rng(0).choice(n_samples, most, replace=False))


def read_features(
    runs: Sequence[RankedRun], cache: Path, digests: Sequence[str]
) -> tuple[RankedRun, np.ndarray] | None:
    """Read the features of pictures from the store, for the first run whose features are there.

    Parameters
    ----------
    runs : sequence of RankedRun
        Best first.
    cache : Path
        Folder of the feature store; nothing is embedded and nothing written.
    digests : sequence of str

    Returns
    -------
    run, X : RankedRun and ndarray of shape (n_samples, dim); None where the store has no features
    """
    store = FeatureStore(cache)
    there = cache / "features"
    for run in runs:
        recipes = run.recipes
        if not recipes or not all((there / recipe.entry_name).is_dir() for recipe in recipes):
            continue
        try:
            entries = [open_entry(store, recipe) for recipe in recipes]
            if any(entry.missing(list(dict.fromkeys(digests))) for entry in entries):
                continue
            parts = [entry.read(digests).reshape(len(digests), -1) for entry in entries]
        except StoreError:
            continue
        return run, np.hstack(parts)
    return None


def project(X: np.ndarray) -> list[Projection]:
    """Project features, standardised as the heads see them.

    Parameters
    ----------
    X : ndarray of shape (n_samples, dim)

    Returns
    -------
    projections : list of Projection
        PCA, then UMAP where the extra is installed.

    References
    ----------
    sklearn.decomposition.PCA; McInnes, Healy and Melville (2018), UMAP.
    """
    from sklearn.decomposition import PCA
    from sklearn.preprocessing import StandardScaler

    scaled = StandardScaler().fit_transform(np.asarray(X, dtype=np.float32))
    pca = PCA(n_components=2, svd_solver="randomized", random_state=0)
    points = pca.fit_transform(scaled)
    shares = 100 * pca.explained_variance_ratio_
    projections = [
        Projection(
            "PCA",
            points,
            f"first principal direction ({shares[0]:.0f}% of the variance)",
            f"second ({shares[1]:.0f}%)",
        )
    ]
    if find_spec("umap") is not None and len(X) > 15:
        umap = import_module("umap")
        points = umap.UMAP(random_state=0, n_jobs=1).fit_transform(scaled)
        projections.append(Projection("UMAP", np.asarray(points), "UMAP, first", "UMAP, second"))
    return projections
