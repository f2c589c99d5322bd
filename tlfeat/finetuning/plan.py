"""What a phase of a fine-tune is asked to be.

Everything in here can change a run's numbers, so all of it goes into the run's id. Reading it
imports neither NumPy nor TensorFlow.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from types import MappingProxyType
from typing import Any, ClassVar, Final, NamedTuple

from tlfeat.errors import TlfeatError, UnknownName, did_you_mean
from tlfeat.finetuning.augment import AUGMENTATIONS
from tlfeat.finetuning.choices import Choice, read_choice
from tlfeat.finetuning.optimizers import OPTIMIZERS
from tlfeat.finetuning.schedules import SCHEDULES
from tlfeat.settings import (
    checked_values,
    said_values,
    setting,
    settings_of,
    unusual_values,
    unusual_words,
)

DEFAULT_CUT: Final = "stage4"
_WARMUP_SHARE: Final = 0.1  # of a phase's steps
_MOST_EPOCHS: Final = 1_000_000
_NAMED_BY_ITSELF: Final = ("mode", "epochs", "learning_rate", "schedule", "optimizer", "cut")


class Mode(NamedTuple):
    """What a phase trains."""

    name: str
    learning_rate: float  # where none is given
    summary: str


_ROWS: Final = (
    Mode("scratch", 1e-3, "random weights, everything trained"),
    Mode("frozen", 1e-2, "the new top only"),
    Mode("partial", 3e-4, "the new top and what lies above a cut"),
    Mode("full", 3e-4, "everything"),
    Mode("lp-ft", 3e-5, "a logistic regression as the top first, then everything"),
)
MODES: Final[Mapping[str, Mode]] = MappingProxyType({row.name: row for row in _ROWS})


@dataclass(frozen=True)
class Phase:
    """A stretch of training with one optimizer.

    Attributes
    ----------
    mode : {"scratch", "frozen", "partial", "full", "lp-ft"}
    epochs : int
        0 trains nothing: the network is only evaluated.
    learning_rate : float, optional
        The mode's own where None.
    schedule, optimizer : Choice
        From `SCHEDULES` and `OPTIMIZERS`; text and mappings are read too.
    warmup : int, optional
        Steps in which the rate rises; a tenth of the phase where None.
    cut : str, optional
        In mode partial: training begins after this stage or layer; a number N means the last N
        blocks. stage4 where None.
    label_smoothing : float
    clip_norm : float, optional
        Of all gradients together.
    patience : int, optional
        Stop the phase when the validation loss has not fallen for so many epochs, and go back
        to the best one, or to where the phase began if that had been trained.
    train_batchnorm : bool
        Let batch normalisations that are trained over learn and count again.
    class_weight : {None, "balanced"}
    """

    panel: ClassVar = "Phase"  # of a help page

    mode: str = setting("frozen", "text", "What is trained.", words=tuple(MODES))
    epochs: int = setting(
        10, "whole", "0 only evaluates.", metavar="N", least=0, most=_MOST_EPOCHS
    )
    learning_rate: float | None = setting(
        None,
        "number",
        "To begin with.  [default: the mode's]",
        metavar="X",
        above=0,
        most=1e3,
    )
    schedule: Choice | str | Mapping[str, Any] = setting(
        "cosine",
        "choice",
        "constant, cosine, cosine-restarts, step, exponential or plateau.",
        metavar="NAME[:KEY=VALUE]",
    )
    warmup: int | None = setting(
        None,
        "whole",
        "In which the rate rises.  [default: a tenth of the phase]",
        metavar="STEPS",
        least=0,
        most=10**9,
    )
    optimizer: Choice | str | Mapping[str, Any] = setting(
        "adam",
        "choice",
        "adam, adamw or sgd.",
        metavar="NAME[:KEY=VALUE]",
        old_name="optimiser",
    )
    cut: str | None = setting(
        None,
        "layer",
        "In mode partial, train what comes after this, or the last N blocks.  [default: stage4]",
        metavar="STAGE|LAYER|N",
    )
    label_smoothing: float = setting(
        0.0, "number", "Of cross-entropy.", metavar="X", least=0, most=0.99
    )
    clip_norm: float | None = setting(
        None, "number", "Of all gradients together.", metavar="X", above=0, most=1e12
    )
    patience: int | None = setting(
        None,
        "whole",
        "Stop when the validation loss has not fallen for so long, and go back to the best epoch, "
        "or to where the phase began if that had been trained.",
        metavar="EPOCHS",
        least=1,
        most=_MOST_EPOCHS,
    )
    train_batchnorm: bool = setting(False, "flag", "Train batch normalisations above the cut too.")
    class_weight: str | None = setting(
        None, "text", "Give every class the same weight.", words=("balanced",)
    )

    @property
    def rate(self) -> float:
        """The learning rate that the phase begins with."""
        return MODES[self.mode].learning_rate if self.learning_rate is None else self.learning_rate

    @property
    def trains_norms(self) -> bool:
        """Whether batch normalisations above the cut learn and count."""
        return self.train_batchnorm or self.mode == "scratch"

    @property
    def schedule_choice(self) -> Choice:
        """The schedule, read."""
        return read_choice(self.schedule, SCHEDULES, "schedule")

    @property
    def optimizer_choice(self) -> Choice:
        """The optimizer, read."""
        return read_choice(self.optimizer, OPTIMIZERS, "optimizer")

    @property
    def cut_name(self) -> str | None:
        """Where a partial phase begins to train; None in other modes."""
        return (self.cut or DEFAULT_CUT) if self.mode == "partial" else None

    def unusual(self) -> list[str]:
        """Say what is not as a phase has it by itself, for a name."""
        usual, words = Phase(), []
        if self.learning_rate is not None and self.rate != MODES[self.mode].learning_rate:
            words.append(f"{self.rate:g}")
        for given, other in (
            (self.schedule_choice, usual.schedule_choice),
            (self.optimizer_choice, usual.optimizer_choice),
        ):
            if given != other:
                words.append(given.name)
                words += [
                    f"{key}={value}"
                    for key, value in given.settings.items()
                    if given.name != other.name or value != other.settings[key]
                ]
        return words + unusual_words(self, without=_NAMED_BY_ITSELF)

    def warmup_steps(self, steps: int) -> int:
        """Give how many of a phase's steps warm it up."""
        return min(steps, round(_WARMUP_SHARE * steps) if self.warmup is None else self.warmup)

    def checked(self) -> "Phase":
        """Give the phase with its choices read, or say what is wrong."""
        checked_values(self)  # kept as they came: an id tells 1 and 1.0 apart
        if self.cut is not None and self.mode != "partial":
            raise TlfeatError(
                f"A cut belongs to mode partial, and this phase is {self.mode}: leave it out."
            )
        return replace(self, schedule=self.schedule_choice, optimizer=self.optimizer_choice)

    def as_dict(self) -> dict[str, Any]:
        """Give all that decides the phase, as plain values."""
        unusual = unusual_values(self)
        plain = {
            name: value
            for name, value in said_values(self).items()
            if name in unusual or not settings_of(self)[name].later
        }
        return plain | {
            "learning_rate": self.rate,
            "schedule": self.schedule_choice.as_dict(),
            "optimizer": self.optimizer_choice.as_dict(),
            "cut": self.cut_name,
        }


def may_end_where_it_began(phases: Sequence[Phase], number: int, *, keeps_top: bool) -> bool:
    """Say whether what a phase starts from is a candidate of early stopping.

    It is where something has been learned that it could lose: not where the top is new.

    Parameters
    ----------
    phases : sequence of Phase
    number : int
        Of the phase, from 0.
    keeps_top : bool
        Whether the run goes on with the top of another.
    """
    phase = phases[number]
    learned = any(one.epochs or one.mode == "lp-ft" for one in phases[:number])
    return phase.patience is not None and (learned or keeps_top or phase.mode == "lp-ft")


OLD_NAMES: Final = {one.old_name: name for name, one in settings_of(Phase).items() if one.old_name}


def read_phase(values: Mapping[str, Any], defaults: Phase | None = None) -> Phase:
    """Make a phase of a mapping, as study files have it.

    Raises
    ------
    UnknownName
        If a phase has no such setting.
    TlfeatError
        If a value is not what the setting takes.
    """
    given = {OLD_NAMES.get(key, key): value for key, value in values.items()}
    known = settings_of(Phase)
    for key in given:
        if key not in known:
            raise UnknownName(
                f"A phase has no setting {key!r}.{did_you_mean(key, known)} "
                f"It has {', '.join(known)}."
            )
    if given.get("cut") is not None:
        given["cut"] = str(given["cut"])
    base = defaults or Phase()
    if given.get("mode", base.mode) != "partial":
        base = replace(base, cut=None)  # meant for those of the phases that are partial
    return replace(base, **given).checked()


def read_phases(given: Any) -> list[Phase]:
    """Read phases as a function takes them: a mode, a phase, a mapping, or several of these."""
    if isinstance(given, str):
        return [Phase(given)]
    if isinstance(given, Phase | Mapping):
        given = [given]
    return [one if isinstance(one, Phase) else read_phase(one) for one in given]


def read_augmentations(given: Sequence[Any]) -> tuple[Choice, ...]:
    """Read a list of augmentations."""
    return tuple(read_choice(one, AUGMENTATIONS, "augmentation") for one in given)
