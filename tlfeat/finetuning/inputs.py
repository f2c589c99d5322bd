"""What a fine-tune is given: its data, its settings, and what each of its phases is trained on."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from tlfeat.backbones.table import Backbone
from tlfeat.data.dataset import Dataset
from tlfeat.data.resize import Resize
from tlfeat.features.extract import embed, seconds_an_image
from tlfeat.features.settings import FeatureSettings
from tlfeat.features.store import FeatureStore
from tlfeat.finetuning.assemble import Network
from tlfeat.finetuning.choices import Choice
from tlfeat.finetuning.cut import Activations, Cut, cut_network
from tlfeat.finetuning.pictures import Part, Pictures, Rows
from tlfeat.finetuning.plan import Phase
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
    def outputs(self) -> tuple[str, ...]:
        """Name each output of the network."""
        return name_outputs(self.dataset.classes, self.one_hot.shape[1])


@dataclass(frozen=True)
class TrainingSettings:
    """How a fine-tune goes; `phases` to `seed` decide its numbers, the rest does not."""

    phases: tuple[Phase, ...]
    augment: tuple[Choice, ...]
    loss: str
    batch: int
    seed: int
    weights: str | Path  # as the user named them
    size: int
    resize: Resize
    cut_dtype: str | None  # of activations at a cut; None: train through the whole network
    budget: float | None  # seconds since the run began
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
    """

    def __init__(self, given: Given, seconds: dict[str, float | None]) -> None:
        self._network, self._backbone, self._data = given.network, given.backbone, given.data
        self._settings, self._where, self._scope = given.settings, given.where, given.scope
        self.seconds = seconds
        self._trained: set[int] = set()  # ids of backbone layers that phases have trained

    def trained(self) -> None:
        """Hear that what is trainable now has been trained: it differs from the store's."""
        self._trained |= {
            id(layer)
            for layer in self._network.backbone_layers
            if layer.trainable and layer.weights
        }

    def of(self, phase: Phase) -> tuple[Cut | None, Rows]:
        """Give what a phase is trained on: pictures, or what lies at its cut."""
        cut = self.cut(phase)
        if cut is not None:
            return cut, self._activations(cut)
        pictures = self._data.pictures
        if pictures.kept:
            self.seconds["pixels"] = pictures.decode_seconds * len(pictures.samples)
        return None, pictures

    def cut(self, phase: Phase) -> Cut | None:
        """Give the cut that a phase is trained above, None where it takes pictures."""
        settings = self._settings
        if settings.cut_dtype is None or settings.augment or not settings.untouched:
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

    def _activations(self, cut: Cut) -> Activations:
        assert self._backbone is not None
        settings, pictures = self._settings, self._data.pictures
        needed = np.concatenate([self._data.parts[n].rows for n in ("train", "validation")])
        wanted = replace(self._data.dataset, samples=tuple(pictures.samples[i] for i in needed))
        of_features = FeatureSettings(
            self._backbone.name,
            f"{cut.layer}:{cut.pool}",
            settings.weights,
            settings.size,
            settings.resize,
            dtype=cut.dtype,
            seed=settings.seed,
        )
        store = FeatureStore(self._where.cache_folder)
        request = of_features.resolve(store.root)
        embed(wanted, [request], self._where)
        each = seconds_an_image(store, request, [one.digest for one in wanted.samples])
        self.seconds[f"{cut.layer}:{cut.pool}"] = None if each is None else each * len(wanted)
        digests = [sample.digest for sample in pictures.samples]
        memory = settings.memory - pictures.kept_bytes
        return Activations(digests, np.sort(needed), request, store, memory)
