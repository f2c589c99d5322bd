"""Embed stored pictures again and compare them with what the store holds."""

from functools import partial
from itertools import chain
from pathlib import Path
from typing import NamedTuple

import numpy as np

from tlfeat.backbones.likeness import least_cosine
from tlfeat.data.dataset import Dataset
from tlfeat.data.resize import Resize
from tlfeat.errors import StoreError
from tlfeat.features.entry import Entry
from tlfeat.features.folder import NOT_IN_DIGEST
from tlfeat.features.forward import Unread, embedded_chunks, network_of
from tlfeat.features.recipe import Recipe
from tlfeat.features.store import FeatureStore
from tlfeat.where import Where

TOLERANCE = 1e-4  # of |a - b| / (1 + |a|), what engines may differ by in float32
SHORTER_TOLERANCE = 0.05  # of 1 - cosine, in a shorter precision, which processors differ by


class Reextracted(NamedTuple):
    """What came of embedding some rows again."""

    name: str
    rows: int
    worst: float  # the largest |stored - new| / (1 + |stored|); of a shorter precision 1 - cosine
    tolerance: float = TOLERANCE

    @property
    def equal(self) -> bool:
        """Whether all rows are within the tolerance."""
        return self.worst <= self.tolerance


def reextract(
    entry: Entry | str,
    dataset: Dataset,
    count: int,
    *,
    weights: str | Path | None = None,
    where: Where = Where(),
    seed: int = 0,
) -> Reextracted:
    """Embed random pictures of a dataset again and compare them with their stored rows.

    Parameters
    ----------
    entry : Entry or str
        Its name, as `list_cache` gives it.
    dataset : Dataset
        Has the pictures.
    count : int
        How many rows, at the most.
    weights : str or Path, optional
        A weight file, where the entry was made with one.
    where : Where
    seed : int
        Of the choice.

    Returns
    -------
    reextracted : Reextracted

    Raises
    ------
    StoreError
        If the entry has no picture of the dataset, or one cannot be read any more.
    WeightsError
        If the weights are not those of the entry.

    Examples
    --------
    >>> entry = tlfeat.extract("garments").recipe.entry_name  # doctest: +SKIP
    >>> tlfeat.reextract(entry, tlfeat.open_dataset("garments"), 20).equal  # doctest: +SKIP
    True
    """
    if isinstance(entry, str):
        entry = FeatureStore(where.cache_folder).open(entry)
    recipe = Recipe.from_dict({k: v for k, v in entry.recipe.items() if k not in NOT_IN_DIGEST})
    stored = set(entry.digests())
    there = {s.digest: s for s in dataset.samples if s.digest in stored}
    if not there:
        raise StoreError(
            f"{entry.name} has no picture of {dataset.name}: name a dataset that was embedded."
        )
    chosen = np.random.default_rng(seed).permutation(sorted(there))[:count].tolist()
    request = network_of([recipe], weights)
    dataset.expect([there[digest] for digest in chosen])
    pictures = (Unread(digest, partial(dataset.read, there[digest]), digest) for digest in chosen)
    new = []
    for picture in chain.from_iterable(
        embedded_chunks(pictures, request, Resize(**recipe.resize), where)
    ):
        if picture.features is None:
            raise StoreError(f"{there[picture.id].id} is stored, and now {picture.reason}.")
        new.append(picture.features[0])
    old = entry.read(chosen)
    again = np.stack(new).astype(recipe.dtype).astype(np.float32)
    if recipe.precision != "float32":
        worst = 1 - least_cosine([old], [again])
        return Reextracted(entry.name, len(chosen), worst, SHORTER_TOLERANCE)
    worst = float(np.max(np.abs(old - again) / (1 + np.abs(old))))
    return Reextracted(entry.name, len(chosen), worst)
