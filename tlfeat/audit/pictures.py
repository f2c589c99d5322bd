"""The pictures of a dataset with their features, each once, and which of them hang together."""

from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass, replace
from functools import cached_property, partial

import numpy as np
import numpy.typing as npt

from tlfeat.audit.alike import Alike, Likeness, joined
from tlfeat.audit.findings import Finding
from tlfeat.audit.looks import Looks
from tlfeat.audit.small_pictures import SmallPictures
from tlfeat.data.dataset import Dataset
from tlfeat.errors import StoreError
from tlfeat.features.candidates import Candidates
from tlfeat.features.extract import embed
from tlfeat.features.matrix import Features, load_features
from tlfeat.features.settings import AUTO, FeatureRequest, FeatureSettings
from tlfeat.features.store import FeatureStore
from tlfeat.where import Where

_Ints = npt.NDArray[np.int64]


@dataclass(frozen=True)
class Pictures:
    """The pictures behind the samples of a dataset: samples of one digest are one picture.

    Attributes
    ----------
    dataset : Dataset
    features : Features
        That tell what is in a picture, wherever in it: `last:avg`. A row a sample.
    places : Features
        That tell where in it what is: a grid of stage 4. The same rows.
    first : ndarray of shape (n_pictures,), int
        The first row of each picture.
    picture : ndarray of shape (n_rows,), int
        The picture of each row.
    looks : Looks
        What they look like.
    seed : int
    """

    dataset: Dataset
    features: Features
    places: Features
    first: _Ints
    picture: _Ints
    looks: Looks
    seed: int = 0

    @classmethod
    def read(cls, dataset: Dataset, settings: FeatureSettings, where: Where) -> "Pictures":
        """Take the features from the store; what it lacks is embedded, in one pass."""
        whole, places = requests_of(settings, where)
        done = embed(dataset, [whole, places], where)
        store = FeatureStore(where.cache_folder)
        features = load_features(dataset, whole, store, done.failures)
        return cls._of(
            dataset,
            features,
            load_features(dataset, places, store, done.failures),
            settings,
            where,
        )

    @classmethod
    def stored(
        cls, dataset: Dataset, settings: FeatureSettings, where: Where
    ) -> "Pictures | None":
        """Take the features from the store as they are; None where it lacks the first."""
        whole, places = requests_of(settings, where)
        store = FeatureStore(where.cache_folder)
        try:
            features = load_features(dataset, whole, store)
        except StoreError:
            return None
        grid = features
        with suppress(StoreError):
            grid = load_features(dataset, places, store)
        if grid.ids != features.ids:  # what could not be read was another time for each
            grid = features
        return cls._of(dataset, features, grid, settings, where)

    @classmethod
    def _of(
        cls,
        dataset: Dataset,
        features: Features,
        places: Features,
        settings: FeatureSettings,
        where: Where,
    ) -> "Pictures":
        _, first, picture = np.unique(
            np.array(features.digests), return_index=True, return_inverse=True
        )
        order = np.argsort(first)  # sources are read from front to back
        first, picture = first[order], np.argsort(order)[picture]
        by_id = {sample.id: sample for sample in dataset.samples}
        samples = [by_id[features.ids[row]] for row in first]
        looks = Looks(dataset, samples, jobs=where.jobs, watch=where.watch)
        return cls(dataset, features, places, first, picture, looks, settings.seed)

    @cached_property
    def _small(self) -> SmallPictures:
        return SmallPictures(self.looks.small)

    @cached_property
    def whole(self) -> Likeness:
        """How alike pictures are in what they hold: it knows a picture when it is turned."""
        X, y = self.features.X[self.first], self.features.y[self.first]
        return Likeness(X, y, self._small, seed=self.seed)

    @cached_property
    def laid_out(self) -> Likeness:
        """How alike pictures are in where they hold it, as those of one scene are."""
        if self.places is self.features:
            return self.whole
        X, y = self.places.X[self.first], self.places.y[self.first]
        return Likeness(X, y, self._small, seed=self.seed)

    def compare(self) -> None:
        """Find out how alike pictures are in both ways, side by side; it is kept."""
        self._small  # noqa: B018 - what both need is read once
        with ThreadPoolExecutor(2) as pool:
            list(pool.map(partial(getattr, self), ("whole", "laid_out")))

    @cached_property
    def copies(self) -> Alike:
        """The pairs that are one picture."""
        return self.whole.copies()

    @cached_property
    def scenes(self) -> Alike:
        """The pairs that are of one scene."""
        return self.laid_out.scenes()

    @cached_property
    def same_pixels(self) -> _Ints:
        """The pairs of files that are the same to the last pixel, each with the first of them.

        Every picture is read for it, at the size of a network.
        """
        pixels = np.unique(self.looks.pixels(), return_inverse=True)[1]
        first = np.full(pixels.max() + 1, -1)
        first[pixels[::-1]] = np.arange(len(pixels))[::-1]
        others = np.flatnonzero(first[pixels] != np.arange(len(pixels)))
        return np.column_stack([first[pixels[others]], others])

    def one_of_row(self, *pairs: _Ints) -> _Ints:
        """Number what is one picture by pairs of pictures, in a chain too; (n_rows,)."""
        n = len(self.first)
        number: _Ints = joined(n, np.vstack([np.zeros((0, 2), np.int64), *pairs]))[self.picture]
        return number

    def with_groups(self, number: _Ints) -> _Ints:
        """Number what is of one number, or of one group that the dataset tells; (n_rows,)."""
        n = len(number)
        edges = [
            np.column_stack([np.arange(n), np.unique(one, return_index=True)[1][one]])
            for one in (number, self.features.groups)
        ]
        return joined(n, np.vstack(edges))

    def said(self, row: int) -> tuple[str, str, str, str]:
        """Give the id, digest, split and label of a row, as findings say them."""
        features, label = self.features, self.features.y[row]
        name = self.dataset.classes[label] if label >= 0 else ""
        return features.ids[row], features.digests[row], str(features.split[row]), name

    def pair(
        self, kind: str, rows: Iterable[int], score: float | None = None, note: str = ""
    ) -> Finding:
        """Make the finding of two rows."""
        one, other = (self.said(int(row)) for row in rows)
        return Finding(kind, *one, *other, score, note)


def requests_of(settings: FeatureSettings, where: Where) -> tuple[FeatureRequest, FeatureRequest]:
    """Ask for what tells what is in a picture, and for what tells where.

    A network whose stages are not known has the first alone, for both.
    """
    candidates = Candidates.of(replace(settings, features=AUTO), where.cache_folder).requests
    grids = [one for one in candidates if ":grid" in one.settings.features]
    return candidates[0], grids[0] if grids else candidates[0]
