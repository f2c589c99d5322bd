"""What a fine-tune will take, from its first steps, and how many epochs a time allows."""

from dataclasses import dataclass
from typing import Final

from tlfeat.finetuning.averages import SHARES

MEASURED_STEPS: Final = 5  # after the first one, which builds the graph
FEW: Final = 3  # epochs below which training above a cut gives more than training everything
_FORWARD: Final = 1 / 3  # of a training step: two more go back through the network
_SAVED: Final = 0.3  # seconds to keep what an epoch gave


@dataclass(frozen=True)
class Costs:
    """What training on some rows takes, in seconds.

    Attributes
    ----------
    step : float
        Of training.
    build : float
        Of the graph, before the first step.
    steps : int
        An epoch.
    held_steps : int
        To predict the validation rows.
    end : float
        To export the network and evaluate it on all splits.
    """

    step: float
    build: float
    steps: int
    held_steps: int
    end: float

    @property
    def epoch(self) -> float:
        """Of an epoch, validated and kept."""
        return self.steps * self.step + self._held + _SAVED

    @property
    def _held(self) -> float:
        return self.held_steps * _FORWARD * self.step

    def after(self, *, goes_back: bool) -> float:
        """Give what comes after the last epoch."""
        return self.end + (len(SHARES) * self._held if goes_back else 0.0)

    def epochs(self, seconds: float, most: int, *, goes_back: bool) -> int:
        """Give how many epochs fit into a time, what comes after them included."""
        left = seconds - self.build - self.after(goes_back=goes_back)
        return max(0, min(most, int(left / self.epoch)))

    def total(self, epochs: int, *, goes_back: bool) -> float:
        """Give what so many epochs take, what comes after them included."""
        return self.build + epochs * self.epoch + self.after(goes_back=goes_back)
