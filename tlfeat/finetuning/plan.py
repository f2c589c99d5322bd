"""What a fine-tune is asked to be: a list of phases, and what stays the same through them.

Everything in here can change a run's numbers, so all of it goes into the run's id. Reading it
imports neither NumPy nor TensorFlow.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields, replace
from types import MappingProxyType
from typing import Any, Final, NamedTuple

from tlfeat.errors import TlfeatError, UnknownName, did_you_mean
from tlfeat.finetuning.augment import AUGMENTATIONS
from tlfeat.finetuning.choices import Choice, read_choice
from tlfeat.finetuning.optimisers import OPTIMISERS
from tlfeat.finetuning.schedules import SCHEDULES

TOPS: Final = ("new", "own", "imagenet")
LOSSES: Final = ("cross-entropy", "mse")
PRECISIONS: Final = ("float32", "mixed")
DEFAULT_CUT: Final = "stage4"
_WARMUP_SHARE: Final = 0.1  # of a phase's steps


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
    """A stretch of training with one optimiser.

    Attributes
    ----------
    mode : {"scratch", "frozen", "partial", "full", "lp-ft"}
    epochs : int
        0 trains nothing: the network is only evaluated.
    learning_rate : float, optional
        The mode's own where None.
    schedule, optimiser : Choice
        From `SCHEDULES` and `OPTIMISERS`; text and mappings are read too.
    warmup : int, optional
        Steps in which the rate rises; a tenth of the phase where None.
    cut : str, optional
        In mode partial: training begins after this stage or layer; a number N means the last N
        blocks. stage4 where None.
    train_batchnorm : bool
        Let batch normalisations that are trained over learn and count again.
    label_smoothing : float
    class_weight : {None, "balanced"}
    clip_norm : float, optional
        Of all gradients together.
    patience : int, optional
        Stop the phase when the validation loss has not fallen for so many epochs, and go back
        to the best one.
    """

    mode: str = "frozen"
    epochs: int = 10
    learning_rate: float | None = None
    schedule: Choice | str | Mapping[str, Any] = "cosine"
    warmup: int | None = None
    optimiser: Choice | str | Mapping[str, Any] = "adam"
    cut: str | None = None
    train_batchnorm: bool = False
    label_smoothing: float = 0.0
    class_weight: str | None = None
    clip_norm: float | None = None
    patience: int | None = None

    @property
    def rate(self) -> float:
        """The learning rate that the phase begins with."""
        return MODES[self.mode].learning_rate if self.learning_rate is None else self.learning_rate

    @property
    def schedule_choice(self) -> Choice:
        """The schedule, read."""
        return read_choice(self.schedule, SCHEDULES, "schedule")

    @property
    def optimiser_choice(self) -> Choice:
        """The optimiser, read."""
        return read_choice(self.optimiser, OPTIMISERS, "optimiser")

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
            (self.optimiser_choice, usual.optimiser_choice),
        ):
            if given != other:
                words.append(given.name)
                words += [
                    f"{key}={value}"
                    for key, value in given.settings.items()
                    if given.name != other.name or value != other.settings[key]
                ]
        for name in ("warmup", "label_smoothing", "clip_norm", "patience"):
            if getattr(self, name) != getattr(usual, name):
                words.append(f"{name.split('_')[-1]}{getattr(self, name):g}")
        words += ["batchnorm"] if self.train_batchnorm else []
        return words + ([self.class_weight] if self.class_weight else [])

    def warmup_steps(self, steps: int) -> int:
        """Give how many of a phase's steps warm it up."""
        return min(steps, round(_WARMUP_SHARE * steps) if self.warmup is None else self.warmup)

    def checked(self) -> "Phase":
        """Give the phase with its choices read, or say what is wrong."""
        if self.mode not in MODES:
            raise UnknownName(
                f"Unknown mode {self.mode!r}.{did_you_mean(self.mode, MODES)} "
                f"There are {', '.join(MODES)}."
            )
        if self.cut is not None and self.mode != "partial":
            raise TlfeatError(
                f"A cut belongs to mode partial, and this phase is {self.mode}: leave it out."
            )
        limits: tuple[tuple[str, float, float], ...] = (
            ("epochs", 0, 1e6),
            ("learning_rate", 1e-12, 1e3),
            ("warmup", 0, 1e9),
            ("label_smoothing", 0, 0.99),
            ("clip_norm", 1e-12, 1e12),
            ("patience", 1, 1e6),
        )
        for name, least, most in limits:
            value = getattr(self, name)
            if value is not None and not (
                isinstance(value, int | float) and least <= value <= most
            ):
                raise TlfeatError(
                    f"{name} must be a number from {least:g} to {most:g}. Got {value!r} instead."
                )
        for name in ("epochs", "warmup", "patience"):
            if not isinstance(getattr(self, name), int | None):
                raise TlfeatError(f"{name} must be a whole number, got {getattr(self, name)!r}.")
        if self.class_weight not in (None, "balanced"):
            raise TlfeatError(
                f"Class weights must be balanced or none. Got {self.class_weight!r} instead."
            )
        return replace(self, schedule=self.schedule_choice, optimiser=self.optimiser_choice)

    def as_dict(self) -> dict[str, Any]:
        """Give all that decides the phase, as plain values."""
        plain = {field.name: getattr(self, field.name) for field in fields(self)}
        return plain | {
            "learning_rate": self.rate,
            "schedule": self.schedule_choice.as_dict(),
            "optimiser": self.optimiser_choice.as_dict(),
            "cut": self.cut_name,
        }


def read_phase(values: Mapping[str, Any], defaults: Phase | None = None) -> Phase:
    """Make a phase of a mapping, as study files have it.

    Raises
    ------
    UnknownName
        If a phase has no such setting.
    TlfeatError
        If a value is not what the setting takes.
    """
    known = [field.name for field in fields(Phase)]
    for key in values:
        if key not in known:
            raise UnknownName(
                f"A phase has no setting {key!r}.{did_you_mean(key, known)} "
                f"It has {', '.join(known)}."
            )
    given = dict(values)
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


@dataclass(frozen=True)
class Top:
    """What stands on the network and gives the probabilities.

    Attributes
    ----------
    kind : {"new", "own", "imagenet"}
        "new": average pooling and dense layers; "own": the network's own classifier, untrained,
        for the dataset's classes; "imagenet": its own 1000 outputs, of which the first k are
        taken for the dataset's k classes.
    hidden : tuple of int
        Sizes of dense layers (ReLU) below the last one, for "new".
    dropout : float
        Before the last layer, for "new".
    """

    kind: str = "new"
    hidden: tuple[int, ...] = ()
    dropout: float = 0.0

    def checked(self) -> "Top":
        """Give it back, or say what is wrong."""
        if self.kind not in TOPS:
            raise UnknownName(
                f"Unknown top {self.kind!r}.{did_you_mean(self.kind, TOPS)} "
                f"There are {', '.join(TOPS)}."
            )
        if self.kind != "new" and (self.hidden or self.dropout):
            raise TlfeatError(
                f"Dense layers and dropout belong to a new top, and this is {self.kind}: leave "
                "them out."
            )
        if any(not isinstance(size, int) or size < 1 for size in self.hidden):
            raise TlfeatError(f"Dense layers have sizes of 1 or more. Got {self.hidden}.")
        if not 0 <= self.dropout < 1:
            raise TlfeatError(f"Dropout must be from 0 to below 1. Got {self.dropout}.")
        return self


def check_loss(loss: str, phases: Sequence[Phase]) -> None:
    """Refuse what a loss has no meaning for."""
    if loss == "mse" and any(phase.label_smoothing for phase in phases):
        raise TlfeatError("Label smoothing belongs to the loss cross-entropy, not to mse.")


def check_phases(phases: Sequence[Phase], top: Top, *, from_parent: bool) -> tuple[Phase, ...]:
    """Check that a list of phases makes sense together.

    Raises
    ------
    TlfeatError
        If a phase is wrong, or comes where it cannot.
    """
    checked = tuple(phase.checked() for phase in phases)
    if not checked:
        raise TlfeatError("A fine-tune needs a phase: give a mode.")
    for number, phase in enumerate(checked):
        if phase.mode in ("scratch", "lp-ft") and (number or from_parent):
            raise TlfeatError(
                f"Mode {phase.mode} decides what a run starts from, so it comes first and not "
                "after another phase or run: use full."
            )
    if checked[0].mode == "lp-ft" and (top.kind != "new" or top.hidden):
        raise TlfeatError(
            "In mode lp-ft the top is a logistic regression: it has no dense layers of other "
            "sizes and is no classifier of the network's own."
        )
    if checked[0].mode == "scratch" and top.kind == "imagenet":
        raise TlfeatError(
            "The 1000 outputs of ImageNet mean nothing with random weights: use --top own."
        )
    return checked


def read_augmentations(given: Sequence[Any]) -> tuple[Choice, ...]:
    """Read a list of augmentations."""
    return tuple(read_choice(one, AUGMENTATIONS, "augmentation") for one in given)
