"""Changed copies of the training pictures, so that what lies at a cut is kept for them as well.

A view is what a picture becomes by the augmentations once: drawn by a seed that is made of the
run's, the picture and the view's number, and the same ever after. So it is a picture like any,
embedded once and kept in the store under a name made of all that made it. An epoch takes one view
of each picture, the next epoch another.
"""

import json
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from hashlib import sha256
from importlib.metadata import version
from typing import Any

import numpy as np

from tlfeat.data.dataset import Dataset
from tlfeat.data.resize import DECODER, Resize
from tlfeat.data.sources.base import Listing, Picture
from tlfeat.errors import TlfeatError
from tlfeat.finetuning.augment import AUGMENTATIONS
from tlfeat.finetuning.choices import Choice
from tlfeat.finetuning.pictures import Ints, Pictures, Rows

Augment = Callable[[Any, Any, Any], tuple[Any, Any]]  # from `build_augmentation`


@dataclass(frozen=True)
class ViewRule:
    """All that decides a view beside the picture and the view's number."""

    choices: tuple[Choice, ...]
    size: int
    resize: Resize
    seed: int

    @cached_property
    def _said(self) -> str:
        made_by = {
            "changes": [
                {**one.as_dict(), "method": AUGMENTATIONS[one.name].method_of(one.settings)}
                for one in self.choices
            ],
            "size": self.size,
            "resize": self.resize.as_dict(),
            "decoder": DECODER,
            "seed": self.seed,
            "keras": version("keras"),  # whose layers draw
        }
        return json.dumps(made_by, sort_keys=True)

    def digest(self, picture: str, number: int) -> str:
        """Give the key of a view's features: SHA-256 of all that it is made by."""
        return sha256(f"{self._said} view {number} of {picture}".encode()).hexdigest()


class DrawnViews:
    """A source of views; safe in threads.

    Parameters
    ----------
    pictures : Pictures
    augment : callable
        Of `rule.choices`.
    rule : ViewRule
    """

    kind = "views"

    def __init__(self, pictures: Pictures, augment: Augment, rule: ViewRule) -> None:
        self.pictures, self.rule, self._augment = pictures, rule, augment
        self._label = np.ones((1, 1), np.float32)  # no change here mixes labels

    def listing(self) -> Listing:
        """Give nothing: samples are made by `viewed`."""
        return Listing(())

    def read(self, locator: Any) -> Picture:
        """Draw the view of a row of `Pictures` and a number.

        Raises
        ------
        DataError
            If the picture can no longer be decoded.
        """
        row, number = locator
        digest = int(self.pictures.samples[row].digest, 16)
        state = np.random.SeedSequence([self.rule.seed, digest]).generate_state(1)[0]
        seed = np.array([state & 0x7FFFFFFF, number], np.int32)
        changed, _ = self._augment(self.pictures.square(row)[None], self._label, seed)
        drawn: Picture = np.rint(np.asarray(changed)[0]).astype(np.uint8)
        return drawn


def viewed(dataset: Dataset, source: DrawnViews, rows: Ints, n: int) -> Dataset:
    """Give a dataset of views of some pictures.

    Parameters
    ----------
    dataset : Dataset
        Of the pictures.
    source : DrawnViews
    rows : ndarray of int
        Of the pictures, in `source`.
    n : int
        Views of each.

    Returns
    -------
    dataset : Dataset
        View by view, each in the order of the rows. Its digests say what a view is made by, and
        are not those of its pixels.
    """
    whole = source.pictures.samples
    samples = tuple(
        whole[row]._replace(
            id=f"{whole[row].id}, view {number + 1}",
            locator=(int(row), number),
            digest=source.rule.digest(whole[row].digest, number),
        )
        for number in range(n)
        for row in rows
    )
    return replace(dataset, samples=samples, source=source, is_derived=True)


class ViewedRows:
    """What lies at a cut: of the pictures as they are, or of the views that an epoch takes.

    Parameters
    ----------
    plain : Rows
        Of the pictures as they are, by row number.
    views : sequence of Rows
        Of each view.
    firsts : ndarray of shape (n_rows,), int
        The view that each row begins with; see `first_views`.
    epoch : int, optional
        None for the pictures as they are.
    """

    def __init__(
        self, plain: Rows, views: Sequence[Rows], firsts: Ints, epoch: int | None = None
    ) -> None:
        self._plain, self._views, self._firsts, self._epoch = plain, views, firsts, epoch
        self.shape, self.dtype = plain.shape, plain.dtype
        self.failure: TlfeatError | None = None

    def of_epoch(self, epoch: int) -> "ViewedRows":
        """Give what an epoch is trained on: of each picture the view whose turn it is."""
        return ViewedRows(self._plain, self._views, self._firsts, epoch)

    def take(self, batches: Sequence[Ints]) -> Iterator[np.ndarray]:
        """Give the activations of each batch."""
        if self._epoch is None:
            yield from self._plain.take(batches)
            return
        for batch in batches:
            turns = (self._firsts[batch] + self._epoch) % len(self._views)
            taken = np.empty((len(batch), *self.shape), self.dtype)
            for turn in np.unique(turns):
                mine = turns == turn
                (taken[mine],) = self._views[turn].take([batch[mine]])
            yield taken


def first_views(n_rows: int, n_views: int, seed: int) -> Ints:
    """Draw the view that each row begins with, so that every epoch has some of all."""
    return np.random.default_rng([seed, n_views]).integers(n_views, size=n_rows)
