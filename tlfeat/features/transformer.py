"""Features as a scikit-learn transformer, for pipelines, searches and cross-validation."""

from collections.abc import Hashable, Iterable, Sequence
from dataclasses import fields, replace
from pathlib import Path
from typing import Any, Protocol, Unpack

import numpy as np
import numpy.typing as npt
from PIL import Image
from sklearn.base import BaseEstimator, TransformerMixin

from tlfeat.backbones.table import DEFAULT_BACKBONE
from tlfeat.data.dataset import Dataset
from tlfeat.data.decode import pixels_of
from tlfeat.data.digests import DigestIndex
from tlfeat.data.samples import Sample, Skipped
from tlfeat.data.sources.base import Listing, Picture, Row, stamp_of
from tlfeat.errors import DataError
from tlfeat.features.extract import embed
from tlfeat.features.matrix import load_features
from tlfeat.features.settings import (
    FeatureOptions,
    FeatureRequest,
    FeatureSettings,
    read_options,
)
from tlfeat.features.store import FeatureStore
from tlfeat.settings import explained
from tlfeat.where import Where


class TrainedNetwork(Protocol):
    """A run, as far as features need it."""

    @property
    def network_features(self) -> FeatureSettings:
        """What gives the features of its network."""


class ImageFeatures(TransformerMixin, BaseEstimator):  # type: ignore[misc]
    """Embed pictures with a frozen network; each picture once, whatever is refitted.

    There is nothing to fit: in a cross-validation all folds read the same stored rows.

    Parameters
    ----------
    backbone : str
        A name of `list_backbones`.
    features : str
        Layers and pooling, LAYER:POOL[+LAYER:POOL...].
    **options
        weights, size, resize, precision, dtype, seed: see `FeatureSettings`.
        cache, engine, jobs: see `Where`.

    Examples
    --------
    >>> from sklearn.linear_model import LogisticRegression
    >>> from sklearn.pipeline import make_pipeline
    >>> model = make_pipeline(ImageFeatures("efficientnet-lite0"), LogisticRegression())
    """

    @explained(FeatureSettings)
    def __init__(
        self,
        backbone: str = DEFAULT_BACKBONE,
        *,
        cache: str | Path | None = None,
        engine: str = "auto",
        jobs: int | None = None,
        **settings: Unpack[FeatureOptions],
    ) -> None:
        self.backbone = backbone
        self.cache = cache
        self.engine = engine
        self.jobs = jobs
        read_options(DEFAULT_BACKBONE, settings)  # refuses what there is not
        for one in fields(FeatureSettings)[1:]:
            setattr(self, one.name, settings.get(one.name, one.default))

    @classmethod
    def from_run(
        cls,
        run: TrainedNetwork,
        *,
        cache: str | Path | None = None,
        engine: str = "auto",
        jobs: int | None = None,
        **changed: Unpack[FeatureOptions],
    ) -> "ImageFeatures":
        """Give the transformer whose features are those of a run's own network.

        Parameters
        ----------
        run : Run
            Of a head: its network and features. A fine-tune: the network as it was trained, read
            from the run's file, and its last features, `last:avg`.
        cache, engine, jobs
            See `Where`.
        **changed
            What is to be otherwise, such as features="stage4:grid4"; see `FeatureSettings`.

        Returns
        -------
        features : ImageFeatures

        Raises
        ------
        TlfeatError
            If the network is not one of the table.
        """
        settings = replace(run.network_features, **changed)
        said = {one.name: getattr(settings, one.name) for one in fields(FeatureSettings)}
        return cls(**said, cache=cache, engine=engine, jobs=jobs)

    def fit(self, X: Sequence[Any], y: Any = None) -> "ImageFeatures":
        """Check the settings; nothing is learned from the pictures.

        Parameters
        ----------
        X : sequence of pictures
            As in `transform`.
        y : ignored

        Returns
        -------
        self : ImageFeatures
        """
        self.n_features_out_ = self._request().columns
        return self

    def transform(self, X: Sequence[Any]) -> npt.NDArray[np.float32]:
        """Give the features of pictures, embedding those that the store lacks.

        Parameters
        ----------
        X : sequence of path, bytes, ndarray or PIL picture
            Picture files, their bytes, uint8 arrays of shape (height, width, 3), or what
            `PIL.Image.open` gives; a list, a pandas column, or a table or array of one column.

        Returns
        -------
        features : ndarray of shape (n_pictures, n_features), float32

        Raises
        ------
        DataError
            If a picture cannot be used: a transformer must give a row for each; or if `X` is
            no sequence of pictures.
        """
        pictures = _sequence(X)
        where = Where(self.cache, engine=self.engine, jobs=self.jobs)
        request = self._request()
        dataset = _dataset_of(pictures, where)
        if not pictures:
            return np.zeros((0, request.columns), np.float32)
        done = embed(dataset, [request], where)
        store = FeatureStore(where.cache_folder)
        features = load_features(dataset, request, store, done.failures)
        if features.skipped:
            bad = features.skipped[0]
            raise DataError(
                f"{len(features.skipped)} of {len(pictures)} pictures cannot be used, such as "
                f"{bad.id}: {bad.reason}. Leave them out: a transformer gives a row for each "
                "picture."
            )
        return features.X

    def get_feature_names_out(self, input_features: Any = None) -> npt.NDArray[np.object_]:
        """Name the columns, such as "last:avg_17"."""
        names = [
            f"{recipe.layer}:{recipe.pool}_{number}"
            for recipe in self._request().recipes
            for number in range(int(np.prod(recipe.feature_shape)))
        ]
        return np.array(names, dtype=object)

    def _request(self) -> FeatureRequest:
        said = {one.name: getattr(self, one.name) for one in fields(FeatureSettings)}
        return FeatureSettings(**said).resolve(Where(self.cache).cache_folder)

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.requires_fit = False
        tags.no_validation = True
        tags.input_tags.two_d_array = False
        tags.input_tags.string = True
        tags.input_tags.three_d_array = True
        return tags


class _Given:
    """Pictures that a caller holds in a list, as a source."""

    kind = "sequence"

    def __init__(self, pictures: Sequence[Any]) -> None:
        self._pictures = pictures

    def listing(self) -> Listing:
        return Listing([self._row(number, one) for number, one in enumerate(self._pictures)])

    def read(self, locator: Hashable) -> Picture:
        picture = self._pictures[int(str(locator))]
        if isinstance(picture, Image.Image):
            return pixels_of(picture)
        if isinstance(picture, bytes | np.ndarray):
            return picture
        return Path(picture).read_bytes()

    @staticmethod
    def _row(number: int, picture: Any) -> Row:
        if isinstance(picture, Image.Image):
            picture.load()  # it reads its file when it is first used, and not safely in threads
        if isinstance(picture, bytes | np.ndarray | Image.Image):
            return Row(f"[{number}]", number, None, None, None, None)
        if not isinstance(picture, str | Path):
            raise DataError(
                f"Picture {number} is a {type(picture).__name__}; wanted a path, the bytes of a "
                "picture file, a PIL picture, or a uint8 array of shape (height, width, 3)."
            )
        path = Path(picture).absolute()
        try:
            stamp = stamp_of(path, path.stat())
        except OSError:
            stamp = None  # reading it will say why
        return Row(str(picture), number, None, None, None, stamp)


def _sequence(X: Any) -> list[Any]:
    """Give the pictures as a list; the index of a pandas column says nothing of their order."""
    what, dimensions = type(X).__name__, getattr(X, "ndim", 1)
    if isinstance(X, np.ndarray) and X.ndim == 3 and X.shape[2] in (3, 4):
        what = f"picture, of shape {X.shape}"
    elif dimensions == 2:
        columns = [X[name] for name in X.columns] if hasattr(X, "columns") else list(X.T)
        if len(columns) == 1:
            return list(columns[0])
        names = f" ({', '.join(map(str, X.columns))})" if hasattr(X, "columns") else ""
        raise DataError(
            f"X is a table of {len(columns)} columns{names}: give the one column of pictures."
        )
    elif dimensions and isinstance(X, Iterable) and not isinstance(X, str | bytes | Image.Image):
        return list(X)
    raise DataError(f"X is one {what}: wanted a sequence of pictures, such as [picture].")


def _dataset_of(pictures: Sequence[Any], where: Where) -> Dataset:
    source = _Given(pictures)
    rows = source.listing().rows
    digests, problems = DigestIndex(where.cache_folder).digests(rows, source.read, jobs=where.jobs)
    samples = [
        Sample(row.id, row.locator, None, None, None, digest)
        for row, digest in zip(rows, digests, strict=True)
        if digest is not None
    ]
    return Dataset(
        name="sequence",
        path="a sequence of pictures",
        kind=source.kind,
        classes=(),
        samples=tuple(samples),
        skipped=tuple(Skipped(rows[n].id, why, None, None) for n, why in problems.items()),
        source=source,
        split_rule="none",
        split_seed=0,
        notes=(),
    )
