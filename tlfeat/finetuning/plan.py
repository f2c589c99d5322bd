"""What a phase of a fine-tune is asked to be.

Everything in here can change a run's numbers, so all of it goes into the run's id. Reading it
imports neither NumPy nor TensorFlow.
"""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, ClassVar, Final

from tlfeat.errors import TlfeatError, UnknownName, did_you_mean
from tlfeat.finetuning.choices import Choice, read_choice
from tlfeat.finetuning.mode_table import FROM_A_HEAD, MODES, PARTED
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
NORMS: Final = "norm"  # the batch normalisations alone
_STAGES: Final = re.compile(r"stage(\d)(?:\.\.stage(\d))?")
_NAMED_BY_ITSELF: Final = (
    "mode", "epochs", "learning_rate", "schedule", "optimizer", "cut", "train", "ema", "wise_ft",
    "retry",
)  # fmt: skip
_OF_STEPS: Final = (
    "learning_rate",
    "warmup",
    "optimizer",
    "clip_norm",
    "patience",
    "ema",
    "wise_ft",
)
_AVERAGED: Final = 10  # the weights of a step fade in this part of a phase's steps
_LONGEST: Final = 1000  # steps
_GENTLER: Final = 0.1  # of the learning rate
GENTLE_CHANGES: Final = ("flip", "crop")  # of a gentler try that is told no others


@dataclass(frozen=True)
class Phase:
    """A stretch of training with one optimizer.

    Attributes
    ----------
    mode : {"auto", "scratch", "frozen", "partial", "full", "lp-ft"}
    epochs : int
        At the most, where there is a budget. 0 trains nothing: the network is only evaluated.
    learning_rate : float, optional
        The mode's own where None.
    schedule, optimizer : Choice
        From `SCHEDULES` and `OPTIMIZERS`; text and mappings are read too.
    warmup : int, optional
        Steps in which the rate rises; a tenth of the phase where None.
    cut : str, optional
        Training begins after this stage or layer; a number N means the last N blocks. Where
        None, stage4 in mode partial; mode auto trains everything.
    train : str, optional
        In modes partial and auto, train some stages alone, such as stage3..stage5, or batch
        normalisations alone, norm; and the top. Instead of a cut.
    label_smoothing : float, optional
        Of cross-entropy; the mode's own where None.
    clip_norm : float, optional
        Of all gradients together; the mode's own where None.
    patience : int, optional
        Stop the phase when the validation loss has not fallen for so many epochs, and go back
        to the best one, or to where the phase began if that had been trained.
    train_batchnorm : bool
        Let batch normalisations that are trained over learn and count again.
    class_weight : {None, "balanced"}
    ema : float, optional
        Judge and keep a moving average of the weights: of each step's this share stays in the
        next one's; 0 for none. Where None, none but in mode auto, where a tenth of the phase is
        averaged over.
    wise_ft : {None, "on", "off"}
        At the end of the phase go back towards where it began as far as held rows are as good
        there; the mode's own where None.
    retry : {None, "on", "off"}
        Where held rows go all the way back, train once more at a tenth of the rate, on pictures
        that are flipped and cropped where no other changes are asked for, and let them choose
        again; for phases that train everything. The mode's own where None.
    """

    panel: ClassVar = "Phase"  # of a help page

    mode: str = setting("frozen", "text", "What is trained.", words=tuple(MODES))
    epochs: int = setting(
        10,
        "whole",
        "Fewer where a budget allows fewer; 0 only evaluates.",
        metavar="N",
        least=0,
        most=_MOST_EPOCHS,
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
    optimizer: Choice | str | Mapping[str, Any] | None = setting(
        None,
        "choice",
        "adam, adamw or sgd.  [default: the mode's, adam or adamw]",
        metavar="NAME[:KEY=VALUE]",
        old_name="optimiser",
    )
    cut: str | None = setting(
        None,
        "layer",
        "In modes partial and auto, train what comes after this, or the last N blocks.  "
        "[default: stage4 in partial]",
        metavar="STAGE|LAYER|N",
    )
    train: str | None = setting(
        None,
        "text",
        "In modes partial and auto, train these stages alone, or batch normalisations (norm), and "
        "the top.",
        metavar="STAGE..STAGE|norm",
        later=True,
    )
    label_smoothing: float | None = setting(
        None,
        "number",
        "Of cross-entropy.  [default: 0.1 in mode auto]",
        metavar="X",
        least=0,
        most=0.99,
    )
    clip_norm: float | None = setting(
        None,
        "number",
        "Of all gradients together.  [default: 1 in mode auto]",
        metavar="X",
        above=0,
        most=1e12,
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
    ema: float | None = setting(
        None,
        "number",
        "Judge and keep a moving average of the weights; 0 for none.  [default: over a tenth of "
        "the phase in mode auto]",
        metavar="DECAY",
        least=0,
        most=0.99999,
        later=True,
    )
    wise_ft: str | None = setting(
        None,
        "text",
        "End between where it began and came to, as held rows choose.  [default: on in mode auto]",
        words=("on", "off"),
        later=True,
    )
    retry: str | None = setting(
        None,
        "text",
        "Where held rows choose where it began, train once more at a tenth of the rate, on "
        "changed pictures.  [default: on in mode auto]",
        words=("on", "off"),
        later=True,
    )

    @property
    def rate(self) -> float:
        """The learning rate that the phase begins with."""
        return MODES[self.mode].learning_rate if self.learning_rate is None else self.learning_rate

    @property
    def is_solved(self) -> bool:
        """Whether the top is the solver's own answer: frozen, and nothing is said of steps."""
        usual = Phase("frozen")
        return (
            self.mode == "frozen"
            and self.epochs > 0
            and all(getattr(self, name) is None for name in _OF_STEPS)
            and not self.smoothing
            and self.schedule_choice == usual.schedule_choice
        )

    @property
    def takes_steps(self) -> bool:
        """Whether anything is trained: a solved phase is what its top began as."""
        return self.epochs > 0 and not self.is_solved

    @property
    def starts_from_head(self) -> bool:
        """Whether the top begins as a logistic regression where this is the first phase."""
        return self.mode in FROM_A_HEAD or self.is_solved

    def in_steps(self) -> "Phase":
        """Give the phase as one that takes steps, where the solver has no answer."""
        if not self.is_solved:
            return self
        return replace(self, learning_rate=self.rate, optimizer=self.optimizer_choice)

    def at_once(self) -> "Phase":
        """Give the phase without what says nothing of one that is solved."""
        return replace(self, epochs=1, train_batchnorm=False) if self.is_solved else self

    @property
    def trains_norms(self) -> bool:
        """Whether batch normalisations above the cut learn and count."""
        return self.train_batchnorm or self.mode == "scratch" or self.train == NORMS

    @property
    def schedule_choice(self) -> Choice:
        """The schedule, read."""
        return read_choice(self.schedule, SCHEDULES, "schedule")

    @property
    def optimizer_choice(self) -> Choice:
        """The optimizer, read."""
        given = MODES[self.mode].optimizer if self.optimizer is None else self.optimizer
        return read_choice(given, OPTIMIZERS, "optimizer")

    @property
    def greatest_norm(self) -> float | None:
        """What the norm of all gradients together is clipped to."""
        return MODES[self.mode].clip_norm if self.clip_norm is None else self.clip_norm

    @property
    def smoothing(self) -> float:
        """How far labels are from sure, in cross-entropy."""
        usual = MODES[self.mode].label_smoothing
        return usual if self.label_smoothing is None else self.label_smoothing

    @property
    def is_averaged(self) -> bool:
        """Whether a moving average of the weights is kept."""
        return MODES[self.mode].averages if self.ema is None else self.ema > 0

    @property
    def goes_back(self) -> bool:
        """Whether the phase ends between where it began and where it came to."""
        return MODES[self.mode].averages if self.wise_ft is None else self.wise_ft == "on"

    @property
    def tries_again(self) -> bool:
        """Whether the phase is trained once more, gently, where it goes all the way back."""
        usual = MODES[self.mode].averages and self.goes_back
        return not self.is_parted and (usual if self.retry is None else self.retry == "on")

    def gentler(self) -> "Phase":
        """Give the phase as it is trained where it went all the way back."""
        return replace(self, learning_rate=_GENTLER * self.rate)

    @property
    def cut_name(self) -> str | None:
        """What a phase trains what comes after; None where it is not parted so."""
        if self.train is not None:
            first = self.stages[0] if self.stages else 1
            return f"stage{first - 1}" if first > 1 else None
        return (self.cut or DEFAULT_CUT) if self.mode == "partial" else self.cut

    @property
    def stages(self) -> tuple[int, int] | None:
        """The first and the last stage that are trained alone."""
        found = _STAGES.fullmatch(self.train or "")
        return (int(found[1]), int(found[2] or found[1])) if found else None

    @property
    def is_parted(self) -> bool:
        """Whether what lies below never changes, so that it may be kept."""
        return self.mode == "frozen" or self.cut_name is not None

    def _in_one_way(self) -> "Phase":
        """Give the phase with its stages written in one way: stage3 for stage3..stage3."""
        first, last = self.stages or (0, 1)
        return replace(self, train=f"stage{first}") if first == last else self

    def unusual(self) -> list[str]:
        """Say what is not as a phase has it by itself, for a name."""
        usual, words = Phase(self.mode), []
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
        if self.ema is not None and (self.ema or usual.is_averaged):
            words.append(f"ema{self.ema:g}" if self.ema else "no-ema")
        if self.goes_back != usual.goes_back:
            words.append("wise" if self.goes_back else "no-wise")
        if self.shortest().retry is not None:
            words.append("retry" if self.tries_again else "no-retry")
        return words + unusual_words(self.shortest(), without=_NAMED_BY_ITSELF)

    def warmup_steps(self, steps: int) -> int:
        """Give how many of a phase's steps warm it up."""
        return min(steps, round(_WARMUP_SHARE * steps) if self.warmup is None else self.warmup)

    def checked(self) -> "Phase":
        """Give the phase with its choices read, or say what is wrong."""
        checked_values(self)  # kept as they came: an id tells 1 and 1.0 apart
        if self.cut is not None and self.mode not in PARTED:
            raise TlfeatError(
                f"A cut belongs to modes {' and '.join(PARTED)}, and this phase is {self.mode}: "
                "leave it out."
            )
        if self.train is not None:
            self._check_train()
        if self.trains_norms and (self.is_averaged or self.goes_back):
            raise TlfeatError(
                "Weights are averaged (ema, wise_ft) where batch normalisations are frozen, and "
                f"this phase {'is scratch' if self.mode == 'scratch' else 'trains them'}: leave "
                "one of the two out, or take mode full where you said neither."
            )
        if self.retry == "on" and (self.is_parted or not self.goes_back):
            raise TlfeatError(
                "A phase is tried again (retry) where it trains everything and goes back towards "
                "where it began (wise_ft): leave the cut and train out, and wise_ft on."
            )
        read = replace(self._in_one_way(), schedule=self.schedule_choice)
        if self.is_solved:  # until it is known whether the solver has its answer
            return read
        return replace(read, optimizer=self.optimizer_choice)

    def _check_train(self) -> None:
        """Refuse stages that are none, and those beside another cut."""
        first, last = self.stages or (0, 0)
        if self.train != NORMS and not 1 <= first <= last <= 5:
            raise TlfeatError(
                f"train must be stages of stage1 to stage5, such as stage3..stage5, or {NORMS}. "
                f"Got {self.train!r} instead."
            )
        if self.mode not in PARTED:
            raise TlfeatError(
                f"train belongs to modes {' and '.join(PARTED)}, and this phase is {self.mode}: "
                "leave it out."
            )
        if self.cut not in (None, self.cut_name):
            raise TlfeatError(
                f"train = {self.train} says what is trained, and so does cut = {self.cut}: leave "
                "one of the two out."
            )

    def shortest(self) -> "Phase":
        """Leave out what is said as the mode has it in any case."""
        usual = Phase(self.mode)
        same: dict[str, Any] = {}
        if self.greatest_norm == usual.greatest_norm:
            same["clip_norm"] = None
        if self.smoothing == usual.smoothing:
            same["label_smoothing"] = None
        if self.ema == 0 and not usual.is_averaged:
            same["ema"] = None
        if self.goes_back == usual.goes_back:
            same["wise_ft"] = None
        cannot = self.is_parted or not self.goes_back
        if cannot or self.tries_again == usual.tries_again:
            same["retry"] = None
        return replace(self, **same)

    def decay(self, steps: int) -> float:
        """Give that of the moving average of the weights, in a phase of so many steps.

        Where nothing is said it averages over a tenth of them: with 1 - 10 / n as the decay, what
        the first of n steps gave counts by a share of exp(-10) in the end.
        """
        if self.ema is not None or not self.is_averaged:
            return self.ema or 0.0
        return 1 - _AVERAGED / min(max(steps, 2 * _AVERAGED), _AVERAGED * _LONGEST)

    def as_dict(self) -> dict[str, Any]:
        """Give all that decides the phase, as plain values."""
        unusual, usual = unusual_values(self), Phase(self.mode)
        if self.is_solved:  # no step is taken, so nothing of steps decides anything
            return {
                "mode": self.mode,
                "epochs": self.epochs,
                "class_weight": self.class_weight,
                "solver": "logistic",
            }
        averages = {
            "ema": (self.ema, self.is_averaged or usual.is_averaged),
            "wise_ft": ("on" if self.goes_back else "off", self.goes_back or usual.goes_back),
            "retry": ("on" if self.tries_again else "off", self.tries_again or bool(self.retry)),
        }
        plain = {
            name: value
            for name, value in said_values(self).items()
            if name not in averages and (name in unusual or not settings_of(self)[name].later)
        }
        return plain | {
            "learning_rate": self.rate,
            "schedule": self.schedule_choice.as_dict(),
            "optimizer": self.optimizer_choice.as_dict(),
            "clip_norm": self.greatest_norm,
            "label_smoothing": self.smoothing,
            "cut": self.cut_name,
            # left out where there is none, so that the ids of runs from before them stay
            **{name: value for name, (value, is_said) in averages.items() if is_said},
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
    learned = any(one.epochs for one in phases[:number]) or phases[0].starts_from_head
    return phase.patience is not None and (learned or keeps_top)


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
    if given.get("mode", base.mode) not in PARTED or {"cut", "train"} & given.keys():
        base = replace(base, cut=None, train=None)  # meant for phases that have one and say none
    return replace(base, **given).checked()


def read_phases(given: Any) -> list[Phase]:
    """Read phases as a function takes them: a mode, a phase, a mapping, or several of these."""
    if isinstance(given, str):
        return [Phase(given)]
    if isinstance(given, Phase | Mapping):
        given = [given]
    return [one if isinstance(one, Phase) else read_phase(one) for one in given]
