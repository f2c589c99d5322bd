"""The feature matrix of a dataset, as heads take it."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from tlfeat.data.dataset import Dataset
from tlfeat.data.samples import Sample, Skipped
from tlfeat.data.splits import components
from tlfeat.errors import StoreError
from tlfeat.features.recipe import Recipe
from tlfeat.features.settings import FeatureRequest
from tlfeat.features.store import Entry, FeatureStore


@dataclass(frozen=True)
class Features:
    """Features of a dataset: a row for each sample that could be read.

    Attributes
    ----------
    X : ndarray of shape (n_samples, dim), float32
        Outputs of several layers stand side by side, each flattened. May be a read-only
        view of the store.
    y : ndarray of shape (n_samples,), int
        Index into `classes`; -1 where a sample has no label.
    ids : tuple of str
        Sample ids, such as paths relative to the dataset.
    split : ndarray of shape (n_samples,), str
        "train", "validation" or "test"; "" where the dataset has no labels.
    groups : ndarray of shape (n_samples,), int
        Samples of one group, or of one picture, share a number and never part.
    group_names : tuple of (str or None)
        The dataset's own name of each sample's group.
    digests : tuple of str
        SHA-256 of each sample's picture.
    classes : tuple of str
    recipes : tuple of Recipe
        One for each part of `X`, from left to right.
    skipped : tuple of Skipped
        Samples that are not in the matrix, with the reasons.

    Examples
    --------
    >>> features = tlfeat.extract("garments")  # doctest: +SKIP
    >>> features.rows("train").shape, features.rows("test").shape  # doctest: +SKIP
    """

    X: np.ndarray
    y: np.ndarray
    ids: tuple[str, ...]
    split: np.ndarray
    groups: np.ndarray
    group_names: tuple[str | None, ...]
    digests: tuple[str, ...]
    classes: tuple[str, ...]
    recipes: tuple[Recipe, ...]
    skipped: tuple[Skipped, ...]

    @property
    def recipe(self) -> Recipe:
        """The recipe, where one part is all there is.

        Raises
        ------
        ValueError
            If the matrix is joined from several recipes: see `recipes`.
        """
        if len(self.recipes) != 1:
            raise ValueError(f"These features are joined from {len(self.recipes)} recipes.")
        return self.recipes[0]

    def rows(self, split: str) -> np.ndarray:
        """Give the row numbers of a split."""
        return np.flatnonzero(self.split == split)


def load_features(
    dataset: Dataset,
    request: FeatureRequest,
    store: FeatureStore,
    failures: Mapping[str, str] | None = None,
) -> Features:
    """Read the features of a dataset from the store; nothing is embedded.

    Parameters
    ----------
    dataset : Dataset
    request : FeatureRequest
    store : FeatureStore
    failures : mapping of str to str, optional
        Digest to reason, for pictures that could not be read this time; those that the
        store knows to be broken are left out in any case.

    Returns
    -------
    features : Features

    Raises
    ------
    StoreError
        If a picture is neither in the store nor known to be broken.
    """
    entries = [open_entry(store, recipe) for recipe in request.recipes]
    digests = list(dict.fromkeys(sample.digest for sample in dataset.samples))
    reasons = dict(failures or {})
    for entry in entries:
        reasons |= entry.failures(digests)
    good = [sample for sample in dataset.samples if sample.digest not in reasons]
    bad = [sample for sample in dataset.samples if sample.digest in reasons]
    for entry in entries:
        if lacking := entry.missing([sample.digest for sample in good]):
            raise StoreError(
                f"{entry.path.name} lacks {len(lacking)} pictures of {dataset.name}: run "
                "`tlfeat extract` on it first."
            )
    return Features(
        X=_matrix(entries, [sample.digest for sample in good]),
        y=np.array([-1 if s.label is None else s.label for s in good], dtype=np.int64),
        ids=tuple(sample.id for sample in good),
        split=np.array([sample.split or "" for sample in good], dtype=np.str_),
        groups=inseparable(good),
        group_names=tuple(sample.group for sample in good),
        digests=tuple(sample.digest for sample in good),
        classes=dataset.classes,
        recipes=request.recipes,
        skipped=(
            *dataset.skipped,
            *(Skipped(s.id, reasons[s.digest], s.label, s.split) for s in bad),
        ),
    )


def open_entry(store: FeatureStore, recipe: Recipe) -> Entry:
    """Open the store entry of a recipe, or one that is made when it is first written."""
    return store.entry(recipe.as_dict(), recipe.entry_name, recipe.feature_shape, recipe.dtype)


def _matrix(entries: Sequence[Entry], digests: Sequence[str]) -> np.ndarray:
    parts = [e.read(digests).reshape(len(digests), math.prod(e.shape)) for e in entries]
    return parts[0] if len(parts) == 1 else np.hstack(parts)


def inseparable(samples: Sequence[Sample]) -> np.ndarray:
    """Number the sets of samples that share a group or a picture, directly or in a chain."""
    first = components([one.digest for one in samples], [one.group for one in samples])
    return np.unique(first, return_inverse=True)[1].astype(np.int64)
