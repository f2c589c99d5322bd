"""What a fine-tune is given: its data, its settings, and what each of its phases is trained on."""

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from tlfeat.backbones.table import Backbone
from tlfeat.data.dataset import Dataset
from tlfeat.data.resize import Resize
from tlfeat.data.samples import Sample
from tlfeat.errors import TlfeatError
from tlfeat.features.extract import embed, seconds_an_image
from tlfeat.features.matrix import open_entry
from tlfeat.features.settings import FeatureRequest, FeatureSettings
from tlfeat.features.store import FeatureStore
from tlfeat.finetuning.assemble import Network
from tlfeat.finetuning.augment import build_augmentation
from tlfeat.finetuning.budget import spoken
from tlfeat.finetuning.choices import Choice
from tlfeat.finetuning.cut import Activations, Cut, cut_network
from tlfeat.finetuning.pictures import Ints, Part, Pictures, Rows
from tlfeat.finetuning.plan import Phase
from tlfeat.finetuning.refit import Settled
from tlfeat.finetuning.views import DrawnViews, ViewedRows, ViewRule, first_views, viewed
from tlfeat.runs.metrics import name_outputs
from tlfeat.where import Where


@dataclass(frozen=True)
class TrainingData:
    """What a fine-tune learns from."""

    dataset: Dataset
    pictures: Pictures
    parts: Mapping[str, Part]
    y: npt.NDArray[np.int64]  # (n_samples,)
    one_hot: npt.NDArray[np.float32]  # (n_samples, n_outputs)

    @property
    def train(self) -> Ints:
        """The rows that are trained on."""
        return self.parts["train"].rows

    @property
    def held(self) -> Ints:
        """The rows that choose and judge; none in a refit."""
        return self.parts["validation"].rows if "validation" in self.parts else self.train[:0]

    @property
    def outputs(self) -> tuple[str, ...]:
        """Name each output of the network."""
        return name_outputs(self.dataset.classes, self.one_hot.shape[1])


@dataclass(frozen=True)
class RefitRows:
    """What all is trained on once more, when held rows have chosen."""

    n: int  # pictures
    is_asked: bool  # whatever epochs a budget loses by it


@dataclass(frozen=True)
class TrainingSettings:
    """How a fine-tune goes; `phases` to `seed`, and `settled`, decide its numbers."""

    phases: tuple[Phase, ...]
    augment: tuple[Choice, ...]
    loss: str
    batch: int
    seed: int
    weights: str | Path  # as the user named them
    size: int
    resize: Resize
    cut_dtype: str | None  # of activations at a cut; None: train through the whole network
    cut_views: int  # kept below a cut of each training picture, where pictures are changed
    budget: float | None  # seconds since the run began
    refit: RefitRows | None  # that all is trained on once more after it
    settled: Settled | None  # what held rows have chosen already, in a refit
    untouched: bool  # the backbone has the weights that `weights` names
    devices: int  # that share a batch
    keep: str  # "all" or "last"
    memory: int


@dataclass(frozen=True)
class Given:
    """All that a fine-tune is given."""

    network: Network
    backbone: Backbone | None  # None for a network that is not of the table
    data: TrainingData
    settings: TrainingSettings
    where: Where
    scope: Callable[[], Any]  # gives the context that models are made and compiled in


class Inputs:
    """What the phases of a fine-tune are trained on.

    Parameters
    ----------
    given : Given
    seconds : dict of str to float or None
        Hears what was taken, and what that took; None where nobody measured it here.
    deadline : float, optional
        When the run's budget ends, by `time.perf_counter`.
    """

    def __init__(
        self,
        given: Given,
        seconds: dict[str, float | None],
        deadline: float | None = None,
    ) -> None:
        self._network, self._backbone, self._data = given.network, given.backbone, given.data
        self._settings, self._where, self._scope = given.settings, given.where, given.scope
        self.seconds, self._deadline = seconds, deadline
        self._store = FeatureStore(self._where.cache_folder)
        self._kept: tuple[tuple[str, str, bool], Rows] | None = None  # of the last cut
        self._trained: set[int] = set()  # ids of backbone layers that phases have trained

    def trained(self) -> None:
        """Hear that what is trainable now has been trained: it differs from the store's."""
        self._trained |= {
            id(layer)
            for layer in self._network.backbone_layers
            if layer.trainable and layer.weights
        }

    def drop(self) -> None:
        """Forget the rows that are kept in memory."""
        self._kept = None

    def of(self, phase: Phase) -> tuple[Cut | None, Rows]:
        """Give what a phase is trained on: pictures, or what lies at its cut."""
        cut = self.cut(phase)
        if cut is not None:
            place = cut.layer, cut.pool, phase.trains_norms
            if self._kept is None or self._kept[0] != place:
                self._kept = None  # the old rows go before the new ones come
                self._kept = place, self._at(cut, phase)
            return cut, self._kept[1]
        self._kept = None
        if self._settings.cut_views and phase.is_parted:
            self._where.watch.note(
                f"No views are kept for mode {phase.mode}: changed pictures go through the whole "
                "network."
            )
        pictures = self._data.pictures
        if pictures.kept:
            self.seconds["pixels"] = pictures.decode_seconds * len(pictures.samples)
        return None, pictures

    def cut(self, phase: Phase) -> Cut | None:
        """Give the cut that a phase is trained above, None where it takes pictures."""
        settings = self._settings
        is_changed = bool(settings.augment) and not settings.cut_views
        if settings.cut_dtype is None or is_changed or not settings.untouched:
            return None
        with self._scope():
            cut = cut_network(self._network, self._backbone, phase, settings.cut_dtype)
        if cut is None:
            if phase.cut_name is not None:
                self._where.watch.note("It cannot be parted there, so it is trained whole.")
            return None
        below = {id(layer) for layer in self._network.backbone_layers}
        below -= {id(layer) for layer in cut.tail._flatten_layers(recursive=True)}
        return None if below & self._trained else cut

    def _at(self, cut: Cut, phase: Phase) -> Rows:
        """Give what lies at a cut, for the pictures as they are and for their views."""
        settings, data = self._settings, self._data
        train, held = data.train, data.held
        n = settings.cut_views
        # means and variances that are trained are computed anew over pictures as they are
        as_they_are = held if n and not phase.trains_norms else np.concatenate([train, held])
        wanted = replace(
            data.dataset, samples=tuple(data.pictures.samples[row] for row in as_they_are)
        )
        request, name = self._request(cut, settings.resize), f"{cut.layer}:{cut.pool}"
        each = self._embed(wanted, request, name)
        memory = (settings.memory - data.pictures.kept_bytes) // (n + 1)

        def activations(
            rows: Ints, samples: Sequence[Sample], made_by: FeatureRequest
        ) -> Activations:
            digests = [sample.digest for sample in samples]
            return Activations(rows, digests, made_by, self._store, memory)

        plain = activations(as_they_are, wanted.samples, request)
        if not n:
            return plain
        augment = build_augmentation(settings.augment, settings.size)
        assert augment is not None
        rule = ViewRule(settings.augment, settings.size, settings.resize, settings.seed)
        views = viewed(data.dataset, DrawnViews(data.pictures, augment, rule), train, n)
        of_views = self._request(cut, Resize())  # they have the size that the network sees
        self._foretell(views, of_views, each)
        self._embed(views, of_views, f"{name}, views")
        parts = [
            activations(train, views.samples[first : first + len(train)], of_views)
            for first in range(0, len(views.samples), len(train))
        ]
        return ViewedRows(plain, parts, first_views(len(data.y), n, settings.seed))

    def _foretell(self, views: Dataset, request: FeatureRequest, each: float | None) -> None:
        """Say what views will take, before they are made; `each` is what a picture took.

        Raises
        ------
        TlfeatError
            If it is more than half of what is left of the budget.
        """
        entry = open_entry(self._store, request.recipes[0])
        missing = len(entry.missing([sample.digest for sample in views.samples]))
        if not missing:
            return
        n, seconds = self._settings.cut_views, missing * (each or 0.0)
        left = None if self._deadline is None else self._deadline - time.perf_counter()
        if left is not None and 2 * seconds > left:
            raise TlfeatError(
                f"{n} views of each training picture take about {spoken(seconds)}, more than "
                f"half of the {spoken(max(left, 0.0))} that are left of the budget: take fewer, "
                "or give more time."
            )
        self._where.watch.note(
            f"{n} views of {len(views.samples) // n:,} pictures are kept below the cut: "
            f"{missing * entry.row_bytes / 1e6:,.0f} MB in the cache"
            + (f", about {spoken(seconds)}." if seconds else ".")
        )

    def _request(self, cut: Cut, resize: Resize) -> FeatureRequest:
        """Give what lies at a cut as features that are asked of the store."""
        assert self._backbone is not None
        settings = self._settings
        return FeatureSettings(
            self._backbone.name,
            f"{cut.layer}:{cut.pool}",
            settings.weights,
            settings.size,
            resize,
            dtype=cut.dtype,
            seed=settings.seed,
        ).resolve(self._store.root)

    def _embed(self, dataset: Dataset, request: FeatureRequest, name: str) -> float | None:
        """Bring pictures into the store; give what each of them took."""
        embed(dataset, [request], self._where)
        digests = [sample.digest for sample in dataset.samples]
        each = seconds_an_image(self._store, request, digests)
        self.seconds[name] = None if each is None else each * len(digests)
        return each
