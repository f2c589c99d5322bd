"""What a fine-tune will take, from its first steps, and how many epochs a time allows."""

from dataclasses import dataclass
from typing import Final

from tlfeat.data.names import counted
from tlfeat.finetuning.averages import SHARES
from tlfeat.finetuning.plan import Phase

MEASURED_STEPS: Final = 5  # after the first one, which builds the graph
FEW: Final = 3  # epochs below which training above a cut gives more than training everything
LONG: Final = 60.0  # seconds from which a time is said aloud
FORWARD: Final = 1 / 3  # of a training step: two more go back through the network


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
    forward_steps : int
        To judge the network: mostly those of the validation rows.
    saved : float
        To keep what an epoch gave.
    end : float
        To export the network and evaluate it on all splits.
    again : int
        Steps of an epoch of the training that follows, on all of train; 0 where none does.
    """

    step: float
    build: float
    steps: int
    forward_steps: int
    saved: float
    end: float
    again: int = 0

    @property
    def epoch(self) -> float:
        """Of an epoch, judged and kept."""
        return self.steps * self.step + self._judged + self.saved

    @property
    def _judged(self) -> float:
        return self.forward_steps * FORWARD * self.step

    def left(self, steps: int, *, goes_back: bool, ends: bool = True) -> float:
        """Give what so many steps take, and what comes after them in a phase, or in the run."""
        after = (len(SHARES) * self._judged if goes_back else 0.0) + (self.end if ends else 0.0)
        return steps / self.steps * self.epoch + after

    def refit(self, epochs: int) -> float:
        """Give what so many epochs of the training that follows take, and its beginning."""
        if not self.again:
            return 0.0
        # the network is made, its head fitted, and its graph built
        return 2 * self.build + epochs * (self.again * self.step + self.saved)

    def epochs(self, seconds: float, most: int, *, goes_back: bool) -> int:
        """Give how many epochs fit into a time, what comes after them included."""
        each = self.epoch + self.refit(1) - self.refit(0)
        free = seconds - self.total(0, goes_back=goes_back)
        return max(0, min(most, int(free / each)))

    def total(self, epochs: int, *, goes_back: bool) -> float:
        """Give what so many epochs take, what comes before and after them included."""
        trained = self.left(epochs * self.steps, goes_back=goes_back)
        return self.build + trained + self.refit(epochs)

    def said(self, epochs: int, phase: Phase, spent: float) -> str:
        """Say how many epochs of a phase will fit, and when all is done."""
        where = f" above {phase.cut_name}" if phase.cut_name else ""
        total = spoken(spent + self.total(epochs, goes_back=phase.goes_back))
        if not epochs:
            return (
                f"No epoch{where} fits into the budget: one takes {spoken(self.epoch)}, and all "
                f"else {total}. The network stays as it begins."
            )
        again = ", and as many again on the held rows too" if self.again else ""
        return (
            f"{counted(epochs, 'epoch')}{where} of {spoken(self.epoch)} will fit{again}: all is "
            f"done in about {total} from the beginning."
        )


def spoken(seconds: float) -> str:
    """Say a duration.

    >>> spoken(75), spoken(163), spoken(4000), spoken(90000)
    ('75 s', '2 min 40 s', '67 min', '25.0 h')
    """
    if seconds < 120:
        return f"{seconds:.0f} s"
    if seconds < 600:
        minutes, tens = divmod(round(seconds / 10), 6)
        return f"{minutes} min {10 * tens} s" if tens else f"{minutes} min"
    return f"{seconds / 60:.0f} min" if seconds < 3 * 3600 else f"{seconds / 3600:.1f} h"
