"""A second training, on the held rows too, with what they chose in the first.

Held rows say how long each phase is trained, how far its weights go back and what the top reads,
and they judge the network that has not learned from them. Then they are pictures like any
others: the network that is kept is trained from the beginning on all of train.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Final

from tlfeat.finetuning.checkpoint import State
from tlfeat.finetuning.plan import Phase
from tlfeat.finetuning.settings import REFIT

# 1 lost no epoch of a budget for it, and left the head that a run ended as where it would have
REFIT_METHOD: Final = 2


@dataclass(frozen=True)
class Settled:
    """What held rows have chosen for each phase.

    Attributes
    ----------
    epochs : tuple of int
        After which it ends; its learning rate goes the way of all that were asked for.
    chosen : mapping of str to mapping
        By the number of a phase, as text: what `Chosen` has.
    head : mapping
        Of the logistic regression that training starts from: its features and settings.
    retried : mapping of str to mapping
        By the number of a phase, as text: how it was trained once more, where it was.
    """

    epochs: tuple[int, ...]
    chosen: Mapping[str, Mapping[str, float]]
    head: Mapping[str, Any]
    retried: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)

    @classmethod
    def of(cls, state: State) -> "Settled":
        """Read what a training that has ended has chosen."""
        epochs, head = tuple(state.kept), state.start.get("logistic", {})
        if head and state.chosen.get("0", {}).get("share") == 0:
            epochs = (0, *epochs[1:])  # all the way back to the head, which has its temperature
        return cls(epochs, state.chosen, head, state.retried)

    @property
    def is_head(self) -> bool:
        """Whether nothing is trained but the head: it costs seconds, whatever the budget."""
        return bool(self.head) and not any(self.epochs)

    def phases(self, wanted: Sequence[Phase], plan: Mapping[str, Any]) -> tuple[Phase, ...]:
        """Give the phases as they are trained again: where nothing is held nothing is chosen."""
        return tuple(
            _unattended(as_trained(phase, plan, self.retried.get(str(number))))
            if epochs
            else replace(phase, epochs=0)
            for number, (phase, epochs) in enumerate(zip(wanted, self.epochs, strict=True))
        )


def as_trained(phase: Phase, plan: Mapping[str, Any], retried: Mapping[str, Any] | None) -> Phase:
    """Give a phase as it is trained: as a budget has planned it, and gently where it went back."""
    planned = replace(phase, **plan)
    if not retried:
        return planned
    return replace(planned, learning_rate=retried["learning_rate"], epochs=retried["epochs"])


def refit_folder(run: Path) -> Path:
    """Give the folder, within a run's, of the training on all of train."""
    return run / REFIT


def _unattended(phase: Phase) -> Phase:
    """Give a phase without patience; what it says of steps is said, so that none is solved."""
    if phase.patience is None:
        return phase
    return replace(
        phase, patience=None, learning_rate=phase.rate, optimizer=phase.optimizer_choice
    )
