"""Which pictures the map shows, by which features, and where in the plane they lie."""

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from typing import Final, NamedTuple

import numpy as np

from tlfeat.audit.kept import digest_start
from tlfeat.data.names import SPLITS
from tlfeat.errors import StoreError, TlfeatError
from tlfeat.features.matrix import open_entry
from tlfeat.features.recipe import Recipe, short_spec, write_spec
from tlfeat.features.store import Entry, FeatureStore
from tlfeat.runs.predictions import SplitPredictions, read_predictions
from tlfeat.runs.ranked import RankedRun

MOST_POINTS: Final = 10_000
_LARGE: Final = 4_096  # numbers of a picture from which the usual features are taken instead
_MOST_NUMBERS: Final = 1 << 26  # of the matrix that is projected: 256 MB
_KEPT_BY_PCA: Final = 50  # directions that UMAP is given
_NEIGHBOURS: Final = 15  # that UMAP goes by


class Projection(NamedTuple):
    """Points of a plane."""

    name: str  # "PCA" or "UMAP"
    points: np.ndarray  # (n_pictures, 2)
    x_label: str
    y_label: str


@dataclass(frozen=True)
class MapPictures:
    """Pictures of all splits, in the order train, validation, test.

    Attributes
    ----------
    ids, digests : ndarray of shape (n_pictures,), object
    true : ndarray of shape (n_pictures,), int
        Their classes.
    split : ndarray of shape (n_pictures,), str
    """

    ids: np.ndarray
    digests: np.ndarray
    true: np.ndarray
    split: np.ndarray

    def __len__(self) -> int:
        return len(self.ids)

    def take(self, places: np.ndarray) -> "MapPictures":
        """Give some of them."""
        return MapPictures(*(values[places] for values in vars(self).values()))

    def called(self, held: Sequence[SplitPredictions], outputs: int) -> np.ndarray:
        """Give what a run calls each picture that it was judged on.

        Parameters
        ----------
        held : sequence of SplitPredictions
            Of the run, on pictures that it did not learn from when it said so.
        outputs : int
            All that is no class is the last of so many.

        Returns
        -------
        called : ndarray of shape (n_pictures,), int
            -1 where the run was not judged on the picture.
        """
        place = {identity: i for i, identity in enumerate(self.ids)}
        called = np.full(len(self), -1)
        for predictions in held:
            at = np.array([place.get(one, -1) for one in predictions.ids], dtype=np.int64)
            there = at >= 0
            called[at[there]] = np.minimum(predictions.predicted[there], outputs - 1)
        return called


@dataclass(frozen=True)
class PictureMap:
    """Where pictures lie by their features.

    Attributes
    ----------
    pictures : MapPictures
        Those that are drawn.
    of : int
        How many there are.
    run : RankedRun
        Whose network's features they are.
    spec : str
        Of the features.
    own : bool
        Whether these are the features that the run chose, not the usual ones of its network.
    called : list of ndarray of shape (n_pictures,), int
        Of each judged run what it calls them, -1 where it was not judged.
    projections : list of Projection
    """

    pictures: MapPictures
    of: int
    run: RankedRun
    spec: str
    own: bool
    called: list[np.ndarray]
    projections: list[Projection] = field(default_factory=list)


class Stored(NamedTuple):
    """Features of a run's network that the store has."""

    run: RankedRun
    recipes: tuple[Recipe, ...]
    entries: list[Entry]

    @property
    def width(self) -> int:
        """Numbers of a picture."""
        return sum(math.prod(one.feature_shape) for one in self.recipes)

    def read(self, digests: Sequence[str]) -> np.ndarray:
        """Read the features of pictures; (n_pictures, width)."""
        parts = [one.read(digests).reshape(len(digests), -1) for one in self.entries]
        return parts[0] if len(parts) == 1 else np.hstack(parts)


def map_pictures(
    judged: Sequence[RankedRun],
    outputs: int,
    cache: Path,
    found: Callable[[], Mapping[str, Sequence[str]]],
) -> PictureMap | None:
    """Lay out the pictures of a dataset by the features of the best run that has them stored.

    Parameters
    ----------
    judged : sequence of RankedRun
        Whose predictions can be read, best first.
    outputs : int
        Classes, and the one that stands for all other outputs of a network.
    cache : Path
        Folder of the feature store; nothing is embedded and nothing written.
    found : callable
        Gives what was found of pictures, see `found_pictures`: they are drawn first. Asked only
        where not all are drawn.

    Returns
    -------
    map : PictureMap, or None
        None where the store has no features, or there are fewer than three pictures.
    """
    held = [_held_out(run) for run in judged]
    every = _all_pictures(judged[0])
    stored = _find_stored(judged, FeatureStore(cache), list(dict.fromkeys(every.digests)))
    if stored is None or len(every) < 3:
        return None
    best = every.called(held[0], outputs)
    telling = (best >= 0) & (best != every.true)
    most = min(MOST_POINTS, max(3, _MOST_NUMBERS // stored.width))
    if len(every) > most:
        starts = {start for digests in found().values() for start in digests}
        telling |= np.array([digest_start(one) in starts for one in every.digests])
    pictures = every.take(choose_points(telling, most))
    try:
        projections = project(stored.read(list(pictures.digests)))
    except StoreError:
        return None
    own = stored.recipes == stored.run.recipes
    spec = short_spec(write_spec(stored.recipes))
    called = [pictures.called(one, outputs) for one in held]
    return PictureMap(pictures, len(every), stored.run, spec, own, called, projections)


def choose_points(telling: np.ndarray, most: int = MOST_POINTS) -> np.ndarray:
    """Choose the pictures that are drawn, whatever features say of them.

    Parameters
    ----------
    telling : ndarray of shape (n_pictures,), bool
        Which of them tell most.
    most : int

    Returns
    -------
    places : ndarray of int, rising
        All of them, or those that tell most and others drawn by chance, always the same.
    """
    order = np.random.default_rng(0).permutation(len(telling))
    order = order[np.argsort(~telling[order], kind="stable")]
    return np.sort(order[:most])


def _all_pictures(run: RankedRun) -> MapPictures:
    """Give the pictures of all splits: those that were held out of train are of train."""
    parts = {split: _read(run, split) for split in SPLITS if split in run.metrics}
    seen: set[str] = set()
    columns: list[tuple[np.ndarray, ...]] = []
    for split, part in parts.items():
        if part is None:
            continue
        new = np.array([one not in seen for one in part.ids], dtype=bool)
        seen.update(part.ids)
        splits = np.full(new.sum(), split, dtype=object)
        columns.append((part.ids[new], part.digests[new], part.true[new], splits))
    ids, digests, true, splits = (np.concatenate(one) for one in zip(*columns, strict=True))
    return MapPictures(ids, digests, true, splits)


def _held_out(run: RankedRun) -> list[SplitPredictions]:
    """Give the predictions of a run on pictures that it had not learned from."""
    parts = [_read(run, split) for split in SPLITS[1:] if split in run.metrics]
    return [part for part in parts if part is not None]


def _read(run: RankedRun, split: str) -> SplitPredictions | None:
    try:
        return read_predictions(run.seeds[0] if run.seeds else run, split, scores=False)
    except TlfeatError:
        return None


def _find_stored(
    runs: Sequence[RankedRun], store: FeatureStore, digests: Sequence[str]
) -> Stored | None:
    """Find the features of the best run that has them for all pictures."""
    for run in runs:
        for recipes in _choices(run, store):
            entries = [open_entry(store, recipe) for recipe in recipes]
            try:
                if not any(one.missing(digests) for one in entries):
                    return Stored(run, recipes, entries)
            except StoreError:
                continue
    return None


def _choices(run: RankedRun, store: FeatureStore) -> Iterator[tuple[Recipe, ...]]:
    """Give the recipes of a run, after the usual ones of its network where its own are large."""
    own = run.recipes
    if not own or not all(store.path_of(one.entry_name).is_dir() for one in own):
        return
    if sum(math.prod(one.feature_shape) for one in own) > _LARGE:
        yield from ((one,) for one in _usual(own[0], store))
    yield own


def _usual(recipe: Recipe, store: FeatureStore) -> Iterator[Recipe]:
    """Give the recipe of the last layer of the same network, where the store has it."""
    usual = {**recipe.as_dict(), "layer": "last", "pool": "avg"}
    for name in store.names():
        if not name.startswith(f"{recipe.backbone}-{recipe.size}-last-avg-"):
            continue
        try:
            entry = store.open(name)
        except StoreError:
            continue
        same = Recipe.from_dict({**usual, "feature_shape": entry.shape})
        if same.entry_name == name:
            yield same


def project(X: np.ndarray) -> list[Projection]:
    """Project features, standardised as the heads see them.

    Parameters
    ----------
    X : ndarray of shape (n_pictures, dim)

    Returns
    -------
    projections : list of Projection
        PCA, then UMAP of its first 50 directions where the extra is installed.

    References
    ----------
    sklearn.decomposition.PCA; McInnes, Healy and Melville (2018), UMAP.
    """
    from sklearn.decomposition import PCA
    from sklearn.preprocessing import StandardScaler

    scaled = StandardScaler().fit_transform(np.asarray(X, dtype=np.float32))
    with_umap = find_spec("umap") is not None and len(X) > _NEIGHBOURS
    kept = min(_KEPT_BY_PCA, *scaled.shape) if with_umap else 2
    pca = PCA(n_components=kept, svd_solver="randomized", random_state=0)
    points = pca.fit_transform(scaled)
    shares = 100 * pca.explained_variance_ratio_
    projections = [
        Projection(
            "PCA",
            points[:, :2],
            f"first principal direction ({shares[0]:.0f}% of the variance)",
            f"second ({shares[1]:.0f}%)",
        )
    ]
    if with_umap:
        umap = import_module("umap")
        model = umap.UMAP(n_neighbors=_NEIGHBOURS, random_state=0, n_jobs=1)
        points = np.asarray(model.fit_transform(points))
        projections.append(Projection("UMAP", points, "UMAP, first", "UMAP, second"))
    return projections
