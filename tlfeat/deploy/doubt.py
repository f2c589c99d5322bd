"""What a run says of its own doubt: pictures of no kind that it knows, and sets of classes."""

from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import numpy as np

from tlfeat.errors import TlfeatError
from tlfeat.heads.novelty import Novelty, load_novelty
from tlfeat.runs.conformal import conformal_sets, least_probability
from tlfeat.runs.predictions import SplitPredictions, read_predictions
from tlfeat.runs.record import NOVELTY, Run
from tlfeat.watch import Watch


class Doubts(NamedTuple):
    """What is doubtful of some pictures; None where it was not asked.

    Attributes
    ----------
    typical : ndarray of shape (n,), or None
        Share of held-out pictures that are at least as far from all that is known.
    known : ndarray of shape (n,), bool, or None
    members : ndarray of shape (n, n_classes), bool, or None
        The classes in the set of each picture.
    """

    typical: np.ndarray | None
    known: np.ndarray | None
    members: np.ndarray | None


@dataclass(frozen=True)
class Doubt:
    """How a run's doubt is told; nothing of it where nothing was asked.

    Attributes
    ----------
    reject : float or None
        Share of pictures like those of train that may be called unknown.
    novelty : Novelty or None
    least : float or None
        Probability from which a class is in the set.
    """

    reject: float | None = None
    novelty: Novelty | None = None
    least: float | None = None

    @classmethod
    def of(cls, run: Run, reject: float | None, coverage: float | None, watch: Watch) -> "Doubt":
        """Read what a run keeps to tell its doubt by.

        Parameters
        ----------
        run : Run
        reject : float or None
            Above 0, at most 0.5.
        coverage : float or None
            From 0.5, below 1.
        watch : Watch
            Hears where neither share can be counted on.

        Raises
        ------
        TlfeatError
            If a share is no such share, or held-out pictures are too few for it, or the run
            keeps nothing to tell it by.
        """
        if reject is not None and not 0 < reject <= 0.5:
            raise TlfeatError(
                f"The share to reject must be above 0 and at most 0.5; got {reject:.4g}."
            )
        if coverage is not None and not 0.5 <= coverage < 1:
            raise TlfeatError(
                f"The coverage must be from 0.5 and below 1; got {coverage:.4g}: 0.9 is usual."
            )
        if reject is None and coverage is None:
            return cls()
        held = read_predictions(run, "validation", scores=coverage is not None)
        novelty = None if reject is None else _novelty(run, reject)
        least = None
        if coverage is not None:
            if not run.gives_probabilities:
                raise TlfeatError(
                    f"{run.path} gives scores and no probabilities, so sets cannot be told: "
                    "train it again."
                )
            least = least_probability(held, coverage)
        _note_groups(held, watch)
        return cls(reject, novelty, least)

    def tell(self, features: np.ndarray, scores: np.ndarray) -> Doubts:
        """Tell what is doubtful of some pictures.

        Parameters
        ----------
        features : ndarray of shape (n, d)
        scores : ndarray of shape (n, n_classes)

        Returns
        -------
        doubts : Doubts
        """
        typical = None if self.novelty is None else self.novelty.typical(features)
        return Doubts(
            typical,
            None if typical is None or self.reject is None else typical > self.reject,
            None if self.least is None else conformal_sets(scores, self.least),
        )


def _novelty(run: Run, reject: float) -> Novelty:
    if run.is_finetune:
        raise TlfeatError(
            f"{run.path} is a fine-tune, and what is unknown is told by frozen features: ask a "
            "head of the same study."
        )
    path: Path = run.file(NOVELTY)
    if not path.is_file():
        raise TlfeatError(
            f"{path} is not there: the run was made before tlfeat kept it, or its pictures of a "
            "class were too few. Remove the run's folder and make it again."
        )
    novelty = load_novelty(path)
    needed = int(np.ceil(1 / reject - 1e-9)) - 1
    if len(novelty.held) < needed:
        raise TlfeatError(
            f"A share of {reject:.4g} cannot be told from {len(novelty.held)} held-out pictures: "
            f"{needed} are needed. Reject more."
        )
    return novelty


def _note_groups(held: SplitPredictions, watch: Watch) -> None:
    """Say where held-out pictures are not as independent as the shares suppose."""
    clusters = held.clusters
    if clusters is not None:
        watch.note(
            f"The {len(held):,} held-out pictures come in {clusters.max() + 1:,} groups or "
            "copies. The stated shares suppose pictures that have nothing to do with each other: "
            "for pictures of new groups they hold only about."
        )
