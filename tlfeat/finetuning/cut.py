"""The cached cut: what lies below a frozen layer is computed once and kept in the store.

A frozen or a partial phase never changes what lies below its cut. So those activations are
embedded like any features, and a tail, which shares its layers with the whole network, is
trained on them. Nothing needs to be copied back: the layers are the same objects.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Final

import numpy as np

from tlfeat.backbones.table import Backbone
from tlfeat.errors import TlfeatError
from tlfeat.features.matrix import open_entry
from tlfeat.features.settings import FeatureRequest
from tlfeat.features.store import FeatureStore
from tlfeat.finetuning.assemble import Network
from tlfeat.finetuning.modes import find_cut
from tlfeat.finetuning.pictures import Ints
from tlfeat.finetuning.plan import Phase

_CHUNK: Final = 256  # rows read from the store at a time


@dataclass(frozen=True)
class Cut:
    """Where a network is cut, and the part above."""

    layer: str  # as the store knows it
    pool: str
    dtype: str
    tail: Any  # keras.Model from the cut's activation to probabilities


def cut_network(
    network: Network, backbone: Backbone | None, phase: Phase, dtype: str = "float16"
) -> Cut | None:
    """Cut a network where a phase begins to train.

    Parameters
    ----------
    network : Network
    backbone : Backbone or None
    phase : Phase
    dtype : {"float16", "float32"}
        Of activations in the store; pooled features are float32 in any case, as heads have them.

    Returns
    -------
    cut : Cut or None
        None where the phase trains everything, or where the network cannot be parted at one
        activation (NASNet's cells look back two).
    """
    import keras

    if backbone is None:
        return None
    if phase.mode == "frozen":
        if not network.reads_last:  # then what is fed to the classifier is no row of features
            return None
        pixels = keras.Input((backbone.dim,), name="pooled")
        tail = keras.Model(pixels, _follow(pixels, network.classifier), name="tail")
        return Cut("last", "avg", "float32", tail)
    if phase.cut_name is None:
        return None
    layer, tensor = find_cut(backbone, network.base, phase.cut_name)
    higher = [output for output in network.base.outputs if output is not tensor]
    try:
        above = keras.Model(tensor, higher, name="above_the_cut")
    except ValueError:  # something reaches over the cut
        return None
    activation = keras.Input(tensor.shape[1:], name="activation")
    given = above(activation)
    answers = iter(given if isinstance(given, list | tuple) else [given])
    read = [activation if output is tensor else next(answers) for output in network.base.outputs]
    x = _follow(read if len(read) > 1 else read[0], [*network.pooling, *network.classifier])
    return Cut(layer, "none", dtype, keras.Model(activation, x, name="tail"))


def _follow(x: Any, layers: Sequence[Any]) -> Any:
    for layer in layers:
        x = layer(x)
    return x


class Activations:
    """What lies at a cut, for some pictures, from the store.

    Parameters
    ----------
    rows : ndarray of shape (n,)
        The numbers that the pictures will be asked for by.
    digests : sequence of str
        Theirs.
    request : FeatureRequest
    store : FeatureStore
    memory : int
        Bytes to keep at the most; with more they are read again each time.
    """

    def __init__(
        self,
        rows: Ints,
        digests: Sequence[str],
        request: FeatureRequest,
        store: FeatureStore,
        memory: int,
    ) -> None:
        self._entry = open_entry(store, request.recipes[0])
        self._digests = list(digests)
        self.failure: TlfeatError | None = None
        self.shape, self.dtype = self._entry.shape, np.dtype(np.float32)
        self._place = np.full(int(rows.max(initial=-1)) + 1, -1)
        self._place[rows] = np.arange(len(rows))
        self._kept = None
        if len(rows) * self.row_bytes <= memory:
            self._kept = np.empty((len(rows), *self.shape), self._entry.dtype)
            for start in range(0, len(rows), _CHUNK):
                part = rows[start : start + _CHUNK]
                self._kept[start : start + len(part)] = self._read(part)

    @property
    def row_bytes(self) -> int:
        """Bytes that those of a picture take in the store."""
        return self._entry.row_bytes

    def _read(self, rows: Ints) -> np.ndarray:
        return self._entry.read([self._digests[place] for place in self._place[rows]])

    def of_epoch(self, epoch: int) -> "Activations":
        """Give the same in every epoch."""
        return self

    def take(self, batches: Sequence[Ints]) -> Iterator[np.ndarray]:
        """Give the activations of each batch as float32."""
        for batch in batches:
            if self._place[batch].min(initial=0) < 0:
                raise IndexError("Activations are asked for that were not said to be needed.")
            if self._kept is not None:
                yield self._kept[self._place[batch]].astype(np.float32, copy=False)
            else:
                yield self._read(batch)
