"""The feature matrices that heads are trained on, read from the store once each."""

import copy
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from threading import Lock
from typing import TYPE_CHECKING, Self

from tlfeat.data.check import commonest
from tlfeat.data.dataset import Dataset
from tlfeat.data.names import counted
from tlfeat.errors import HeadError
from tlfeat.features.candidates import Candidates
from tlfeat.features.extract import embed, seconds_an_image
from tlfeat.features.matrix import Features, load_features
from tlfeat.features.settings import FeatureRequest
from tlfeat.features.store import FeatureStore
from tlfeat.where import Where

if TYPE_CHECKING:
    from tlfeat.heads.arrays import Ints
    from tlfeat.heads.grounds import Candidate, Grounds
    from tlfeat.heads.novelty import Novelty


@dataclass(frozen=True)
class Choice:
    """Matrices of the same rows that a head chooses from."""

    candidates: Candidates
    features: Mapping[str, Features]  # by SPEC

    @property
    def first(self) -> Features:
        """The simplest: rows, classes and splits are those of all."""
        return self.features[self.candidates.first.settings.features]


class Matrices:
    """The feature matrices of a dataset, embedded where they are missing.

    Parameters
    ----------
    dataset : Dataset
    asked : sequence of Candidates
    where : Where
    retry_failed : bool
        Try pictures again that could not be decoded before.
    meanwhile : callable, optional
        Done while pictures are embedded, see `embed`.
    """

    def __init__(
        self,
        dataset: Dataset,
        asked: Sequence[Candidates],
        where: Where,
        *,
        retry_failed: bool,
        meanwhile: Callable[[], object] | None = None,
    ) -> None:
        self.dataset, self.store = dataset, FeatureStore(where.cache_folder)
        wanted = {request.key: request for one in asked for request in one.requests}
        done = embed(
            dataset,
            list(wanted.values()),
            where,
            retry_failed=retry_failed,
            meanwhile=meanwhile,
        )
        self._failures = done.failures
        self._read: dict[tuple[str, ...], Features] = {}
        self._made: dict[tuple[tuple[str, ...], int], Candidate] = {}
        self._grounds: dict[tuple[tuple[tuple[str, ...], ...], int], Grounds] = {}
        self._novelties: dict[tuple[tuple[str, ...], int], Novelty | None] = {}
        self._learning = Lock()
        self.train_rows: Callable[[Features], Ints] = _all_train_rows

    def learning_from(self, train_rows: "Callable[[Features], Ints]") -> Self:
        """Give the same matrices, read once for both, of which heads learn some train rows only.

        Parameters
        ----------
        train_rows : callable
            Takes a matrix and gives the numbers of those rows.
        """
        part = copy.copy(self)
        part._made, part._grounds, part.train_rows = {}, {}, train_rows
        return part

    def choice(self, candidates: Candidates) -> Choice:
        """Read the matrices that a head chooses from; a picture that one lacks, all lack."""
        choice = Choice(
            candidates, {one.settings.features: self._features(one) for one in candidates.requests}
        )
        _check_left(self.dataset, choice.first)
        return choice

    def joined(self, choice: Choice, parts: Sequence[str]) -> tuple[FeatureRequest, Features]:
        """Give the matrix of some parts of the candidates, by their keys, from left to right."""
        request = choice.candidates.joined(parts)
        known = self._read.get(request.key)
        return request, known or self._loaded(request)  # what one head alone takes is not kept

    def seconds_an_image(self, request: FeatureRequest) -> float | None:
        """Give what embedding a picture took where that was measured on this machine."""
        digests = [sample.digest for sample in self.dataset.samples]
        return seconds_an_image(self.store, request, digests)

    def grounds(self, choice: Choice, seed: int) -> "Grounds":
        """Give the rows of train and validation: one object for all heads on these matrices."""
        from tlfeat.heads.grounds import Grounds

        requests = choice.candidates.requests
        key = tuple(request.key for request in requests), seed
        if key not in self._grounds:
            self._grounds[key] = Grounds(
                [
                    self._candidate(request, choice.features[request.settings.features], seed)
                    for request in requests
                ]
            )
        return self._grounds[key]

    def novelty(
        self, request: FeatureRequest, features: Features, fold: "Ints | None", seed: int
    ) -> "Novelty | None":
        """Learn what tells known from unknown features: once for all heads on one matrix.

        Safe in threads. The folds are those of all heads of one seed.
        """
        from tlfeat.heads.novelty import learn_novelty

        key = request.key, seed
        with self._learning:
            if key not in self._novelties:
                self._novelties[key] = learn_novelty(
                    features.X,
                    features.y,
                    features.rows("train"),
                    fold=fold,
                    held=features.rows("validation") if fold is None else None,
                    seed=seed,
                )
            return self._novelties[key]

    def _features(self, request: FeatureRequest) -> Features:
        if request.key not in self._read:
            self._read[request.key] = self._loaded(request)
        return self._read[request.key]

    def _loaded(self, request: FeatureRequest) -> Features:
        return load_features(self.dataset, request, self.store, self._failures)

    def _candidate(self, request: FeatureRequest, features: Features, seed: int) -> "Candidate":
        key = request.key, seed
        if key not in self._made:
            self._made[key] = _candidate(request, features, self.train_rows(features), seed)
        return self._made[key]


def _all_train_rows(features: Features) -> "Ints":
    return features.rows("train")


def _candidate(
    request: FeatureRequest, features: Features, train: "Ints", seed: int
) -> "Candidate":
    from tlfeat.heads.fit import checked_rows
    from tlfeat.heads.ground import Ground
    from tlfeat.heads.grounds import Candidate

    X, y, k = features.X, features.y, len(features.classes)
    validation = features.rows("validation")
    held = None
    if len(validation):
        held = checked_rows(X[validation], y[validation], k, "validation")
    rows = checked_rows(X[train], y[train], k, "train")
    ground = Ground(*rows, k, features.groups[train], held, seed, features.groups[validation])
    return Candidate(request.settings.features, ground, request.parts)


def _check_left(dataset: Dataset, features: Features) -> None:
    """Refuse once, not head by head, what is left of too few classes."""
    rows = features.rows("train")
    there = len(set(features.y[rows].tolist()))
    if there < 2 and features.skipped:
        why = commonest([one.reason for one in features.skipped])
        raise HeadError(
            f"{dataset.path}: {there} of {len(features.classes)} classes has a train picture that "
            f"can be used, and a head needs two. {counted(len(features.skipped), 'picture')} left "
            f"out{why}."
        )
