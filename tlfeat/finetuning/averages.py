"""Averages of weights: along the training steps, and between where they began and ended.

References
----------
Kumar et al. (2022) train from a linear probe; Wortsman et al. (2022), Robust fine-tuning of
zero-shot models (WiSE-FT), arXiv 2109.01903, average its weights with those it ends in.
"""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any, Final, NamedTuple

import numpy as np

from tlfeat.finetuning.checkpoint import assign, values_of
from tlfeat.heads.objective import Objective
from tlfeat.heads.search import is_more
from tlfeat.heads.temperature import fit_temperature
from tlfeat.log_loss import probabilities

SHARES: Final = (0.0, 0.2, 0.4, 0.6, 0.8, 1.0)  # of the way from the start to the end


class MovingAverage:
    """The moving average that Keras' optimizer keeps of the weights, judged but not trained on.

    Keras itself would put it in the weights' place at the end of each `fit`, which here is that
    of each epoch.

    Parameters
    ----------
    model : keras.Model
        Compiled with an optimizer that has `use_ema`.
    """

    def __init__(self, model: Any) -> None:
        optimizer = getattr(model.optimizer, "inner_optimizer", model.optimizer)
        self._variables = model.trainable_variables
        self._overwrite = optimizer.finalize_variable_values
        optimizer.finalize_variable_values = lambda variables: None

    def settle(self) -> None:
        """Put the average in the place of the weights."""
        self._overwrite(self._variables)

    @contextmanager
    def in_place(self) -> Iterator[None]:
        """Put the average in the place of the weights for a while."""
        trained = values_of(self._variables)
        self.settle()
        try:
            yield
        finally:
            assign(self._variables, trained)


def between(
    start: Sequence[np.ndarray], end: Sequence[np.ndarray], share: float
) -> list[np.ndarray]:
    """Give the weights a share of the way from the start (0) to the end (1)."""
    return [(1 - share) * first + share * last for first, last in zip(start, end, strict=True)]


class Chosen(NamedTuple):
    """What held rows choose at the end of a phase."""

    share: float  # of the way from where the phase began
    temperature: float  # that the logits there are to be divided by


def choose_share(
    true: np.ndarray, scores: Mapping[float, np.ndarray], errors: float = 1.0
) -> Chosen:
    """Choose how far to go from the start towards the end.

    Parameters
    ----------
    true : ndarray of shape (n,)
        Classes of held rows.
    scores : mapping of float to ndarray of shape (n, k)
        Their probabilities at each share of the way; 0 is among them.
    errors : float
        Standard errors that count as no difference.

    Returns
    -------
    chosen : Chosen
        The least share whose log loss, each with the temperature that is best for it, lies above
        the least of all by no more than so many standard errors of their difference; never one
        that has fewer rows right than the start.
    """
    logits = {share: np.log(probabilities(one)) for share, one in scores.items()}
    objective = Objective("accuracy", np.bincount(true, minlength=logits[0.0].shape[1]))
    judged = {share: objective.judge(true, logits[share]) for share in sorted(logits)}
    right = {share: int((one.predicted == true).sum()) for share, one in judged.items()}
    good = [share for share in judged if right[share] >= right[0.0]]
    losses = {share: judged[share].log_losses for share in good}
    best = min(good, key=lambda share: (losses[share].mean(), share))
    share = next(share for share in good if not is_more(losses[share], losses[best], errors))
    return Chosen(share, fit_temperature(true, logits[share]))
