"""Which quantised network `int8` is: it is settled on pictures of train, once a dataset."""

from collections.abc import Sequence
from dataclasses import replace
from typing import Final

import numpy as np

from tlfeat.backbones.network_request import NetworkRequest
from tlfeat.backbones.precision import INT8
from tlfeat.backbones.quantised import kept_digest, quantise
from tlfeat.backbones.table import Output
from tlfeat.data.dataset import Dataset
from tlfeat.data.decode import UndecodableImage, decode
from tlfeat.data.samples import Sample
from tlfeat.errors import DataError
from tlfeat.features.candidates import Candidates
from tlfeat.features.settings import FeatureSettings
from tlfeat.where import Where

PICTURES: Final = 300  # that NNCF takes ranges from


def calibrated(settings: FeatureSettings, dataset: Dataset, where: Where) -> FeatureSettings:
    """Give settings whose precision is the quantised network that int8 means for a dataset.

    Parameters
    ----------
    settings : FeatureSettings
        Others than int8 stay as they are.
    dataset : Dataset
        The network is quantised on some of its pictures of train, drawn by the seed; on any where
        it has no such split.
    where : Where
        With the store that keeps the network.

    Returns
    -------
    settings : FeatureSettings

    Raises
    ------
    NetworkError
        If it cannot be quantised.
    DataError
        If not one picture can be read.
    """
    if settings.precision != INT8:
        return settings
    candidates = Candidates.of(replace(settings, precision="float32"), where.cache_folder)
    first = candidates.first
    outputs = {Output(recipe.layer, recipe.pool): None for recipe in candidates.recipes.values()}
    request = NetworkRequest(
        first.backbone, first.size, first.weights, tuple({Output(): None, **outputs})
    )
    drawn = _drawn(dataset, settings.seed)
    sample = [one.digest for one in drawn]
    digits = kept_digest(request, sample, where.cache_folder)
    if digits is None:
        watch = where.watch
        watch.doing(f"quantising {first.backbone.name} on {len(drawn)} pictures of train, once")
        squares = _squares(dataset, drawn, first.size, settings)
        digits = quantise(request, sample, squares, where.cache_folder, watch.note)
        watch.finish()
    return replace(settings, precision=f"{INT8}:{digits}")


def _drawn(dataset: Dataset, seed: int) -> list[Sample]:
    """Draw pictures of train, no two alike; the same whatever order they come in."""
    train = [one for one in dataset.samples if one.split == "train"] or dataset.samples
    by_digest = {one.digest: one for one in train}
    names = np.random.default_rng(seed).permutation(sorted(by_digest))
    return [by_digest[str(name)] for name in names[:PICTURES]]


def _squares(
    dataset: Dataset, drawn: Sequence[Sample], size: int, settings: FeatureSettings
) -> np.ndarray:
    squares = []
    dataset.expect(drawn)
    for one in drawn:
        try:
            squares.append(decode(dataset.read(one), size, settings.rule))
        except (OSError, UndecodableImage):
            continue
    if not squares:
        raise DataError(f"None of {len(drawn)} pictures of {dataset.path} can be read.")
    return np.stack(squares)
