"""What a user can say of a fine-tune beside its network, each setting once.

The command line, study files and names of runs are made of the fields below and of those of a
`Phase`. Checking them looks nothing up and imports neither NumPy nor TensorFlow.
"""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, ClassVar, Final

from tlfeat.errors import TlfeatError
from tlfeat.finetuning.augment import MIXERS, read_augmentations
from tlfeat.finetuning.choices import Choice
from tlfeat.finetuning.mode_table import FROM_A_HEAD
from tlfeat.finetuning.plan import Phase, read_phase
from tlfeat.settings import checked_values, setting, settings_of, unusual_values, unusual_words

if TYPE_CHECKING:
    from tlfeat.runs.record import Run

REFIT: Final = "refit"
_SECONDS: Final = {"s": 1, "m": 60, "h": 3600}


@dataclass(frozen=True)
class Classifier:
    """What stands on the network and gives the probabilities; users call it the top.

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

    panel: ClassVar = "Network"  # of a help page

    kind: str = setting(
        "new",
        "text",
        "New dense layers, the network's own classifier, or its own 1000 outputs.",
        name="top",
        words=("new", "own", "imagenet"),
    )
    hidden: tuple[int, ...] = setting(
        (), "sizes", "Dense layers of a new top, such as 512-256.", metavar="N-N-..."
    )
    dropout: float = setting(
        0.0, "number", "Below the last layer.", metavar="X", least=0, most=0.999
    )

    def checked(self) -> "Classifier":
        """Give it with the sizes of its layers read, or say what is wrong."""
        read = replace(self, hidden=checked_values(self)["hidden"])
        if read.kind != "new" and (read.hidden or read.dropout):
            raise TlfeatError(
                f"Dense layers and dropout belong to a new top, and this is {read.kind}: leave "
                "them out."
            )
        return read

    def unusual(self) -> list[str]:
        """Say what is not as a classifier has it by itself, for a name."""
        words = [f"{self.kind}-top"] if self.kind != "new" else []
        words += [str(size) for size in self.hidden]
        return words + ([f"dropout{self.dropout:g}"] if self.dropout else [])


@dataclass(frozen=True)
class FinetuneSettings:
    """What a user can say of a fine-tune beside its network.

    Attributes
    ----------
    phases : tuple of Phase
        One after the other, each with a new optimizer.
    classifier : Classifier, optional
        None for one new dense layer, or for what the run that it starts from has.
    augment : sequence of str, mapping or Choice
        Random changes to the training pictures, see `AUGMENTATIONS`.
    loss : {"cross-entropy", "mse"}
    batch : int
        Pictures a step.
    cut_dtype : {"float16", "float32", "none"}
        How activations below a cut are kept in the store; "none" trains through the whole
        network each time, as augmentation does without `cut_views`.
    cut_views : int
        Changed copies of each training picture of which activations are kept below a cut, so that
        augmentation does not cost the cut; each epoch takes one of each picture. 0 keeps none and
        trains through the whole network.
    budget : str, optional
        The time that the run may take, such as "4m", everything included: of the phase's epochs
        as many are trained as fit into it, and in mode auto above a cut where few would.
    refit : bool, optional
        Whether all is trained once more with what held rows have chosen, on these too; where None
        in mode auto, on data without a validation split.
    """

    panel: ClassVar = "Training"  # of a help page

    phases: tuple[Phase, ...] = ()
    classifier: Classifier | None = None
    augment: Sequence[str | Mapping[str, Any] | Choice] = setting(
        (),
        "choices",
        "flip, crop, rotation, zoom, translation, contrast, randaugment, mixup, cutmix.",
        metavar="NAME[:KEY=VALUE],...",
    )
    loss: str = setting("cross-entropy", "text", "", words=("cross-entropy", "mse"))
    batch: int = setting(32, "whole", "Pictures a step.", metavar="N", least=1)
    cut_dtype: str = setting(
        "float16",
        "text",
        "Of what is kept below a cut; none trains through the whole network.",
        words=("float16", "float32", "none"),
    )
    cut_views: int = setting(
        0,
        "whole",
        "Changed copies of each training picture that are kept below a cut, one an epoch; with 0 "
        "changed pictures go through the whole network.",
        metavar="N",
        least=0,
        most=1000,
        later=True,
    )
    budget: str | None = setting(
        None,
        "text",
        "Train only as many epochs as fit into this time, all else included.",
        metavar="90s|4m|1.5h",
        later=True,
    )
    refit: bool | None = setting(
        None,
        "flag",
        "After the choices, train once more with them, on the held rows too.  [default: in mode "
        "auto where the data have no validation split]",
        panel="Held rows",
    )

    @classmethod
    def of_run(cls, run: "Run") -> "FinetuneSettings":
        """Give the settings of a finished fine-tune.

        Raises
        ------
        TlfeatError
            If this version could not make it again.
        """
        known = settings_of(Phase)
        return cls(
            tuple(
                read_phase({name: phase[name] for name in phase if name in known})
                for phase in run.phases
            ),
            None if run.keeps_top else Classifier(**run.top).checked(),
            read_augmentations(() if run.pictures.view == "plain" else run.pictures.view),
            run.loss,
            run.batch,
            run.cut_dtype or "none",
            **{REFIT: _refit_of(run)}
            | {settings_of(cls)[name].field: value for name, value in run.later_settings.items()},
        )

    @property
    def changes(self) -> tuple[Choice, ...]:
        """The augmentations, read."""
        return read_augmentations(self.augment or ())

    def checked(self, *, from_parent: bool) -> "FinetuneSettings":
        """Give the settings with all choices read.

        Parameters
        ----------
        from_parent : bool
            Whether the run starts from another or from a file, which has a classifier.

        Raises
        ------
        UnknownName
            If a setting has no such word, or a table no such row.
        TlfeatError
            If another setting cannot be, or does not go with the rest.
        """
        checked_values(self)
        read = replace(
            self,
            phases=tuple(phase.checked() for phase in self.phases),
            classifier=None if self.classifier is None else self.classifier.checked(),
            augment=self.changes,
            budget=None if self.budget is None else said_seconds(read_seconds(self.budget)),
        )
        read = replace(read, phases=_solved_first(read, from_parent))
        _check_order(read.phases, from_parent)
        _check_budget(read)
        _check_views(read, from_parent)
        if read.refit and read.follows_held_rows:
            raise TlfeatError(
                "The schedule plateau follows the loss of held rows, and in a refit none are "
                "held: leave one of the two out."
            )
        _check_classifier(read.phases[0], read.classifier or Classifier(), from_parent)
        if read.loss == "mse":
            if any(phase.label_smoothing for phase in read.phases):
                raise TlfeatError("Label smoothing belongs to the loss cross-entropy, not to mse.")
            read = replace(read, phases=tuple(map(_without_smoothing, read.phases)))
        return read

    @property
    def may_keep(self) -> bool:
        """Whether a phase may be trained on what is kept below a cut.

        Where the first that takes steps trains everything, nothing stays as it was stored.
        """
        first = self.phases[0]
        if first.mode == "auto" and self.budget is not None and first.train is None:
            return True
        return next((phase.is_parted for phase in self.phases if phase.takes_steps), False)

    @property
    def follows_held_rows(self) -> bool:
        """Whether a learning rate follows the loss of held rows."""
        return any(phase.schedule_choice.name == "plateau" for phase in self.phases)

    def refits(self, *, splits_validation: bool) -> bool:
        """Say whether all is trained once more, on data with a validation split or without."""
        if self.refit is None:
            is_auto = self.phases[0].mode == "auto"
            return is_auto and not splits_validation and not self.follows_held_rows
        return self.refit

    @property
    def seconds(self) -> float | None:
        """The budget, read."""
        return None if self.budget is None else read_seconds(self.budget)

    @property
    def later(self) -> dict[str, Any]:
        """Settings that came after the first version, where they are unusual."""
        values = unusual_values(self)
        later = {name: values[name] for name in values if settings_of(self)[name].later}
        # by itself it is left where a budget has no time for it, so asked for it is another run
        return later | ({REFIT: True} if self.budget and self.refit else {})

    def unusual(self) -> list[str]:
        """Say what the phases are and what else is not as when nobody says, for a name."""
        words: list[str] = []
        for phase in self.phases:
            part = phase.train or phase.cut_name
            cut = f"-{part}" if part else ""
            is_open = self.budget and phase.epochs == Phase.epochs
            epochs = "" if is_open or phase.is_solved else f"-{phase.epochs}"
            words += [f"{phase.mode}{cut}{epochs}", *phase.unusual()]
        words += [] if self.classifier is None else self.classifier.unusual()
        words += [choice.name for choice in self.changes]
        words += unusual_words(self, without=("augment", "cut_dtype", REFIT))
        return words + ([] if self.refit is None else [REFIT if self.refit else f"no-{REFIT}"])


@dataclass(frozen=True)
class Effort:
    """How a fine-tune is gone about; nothing in it changes a number.

    Attributes
    ----------
    resume : bool
        Go on with this very run where it was broken off.
    keep : {"last", "all"}
        The weights that a run ends with, or those of every epoch too.
    h5 : bool
        Save the model as `.h5` too.
    devices : int
        GPUs to train on (MirroredStrategy); 0 takes all.
    memory : int
        Bytes of decoded pictures, or of activations, that may be kept.
    """

    panel: ClassVar = "Where and how"  # of a help page

    resume: bool = setting(False, "flag", "Go on with this run where it was broken off.")
    keep: str = setting(
        "last",
        "text",
        "Keep the weights of every epoch for --from RUN@EPOCH, or those at the end alone.",
        words=("all", "last"),
    )
    h5: bool = setting(False, "flag", "Save the model as .h5 too.")
    devices: int = setting(1, "whole", "GPUs; 0 for all.", metavar="N", least=0)
    memory: int = 2 * 2**30

    def __post_init__(self) -> None:
        checked_values(self)


def read_seconds(text: str) -> float:
    """Read a time.

    Raises
    ------
    TlfeatError
        If it is none.

    Examples
    --------
    >>> read_seconds("90s"), read_seconds("4m"), read_seconds("1.5h")
    (90.0, 240.0, 5400.0)
    """
    found = re.fullmatch(r"(\d+(?:\.\d+)?)([smh])", text.strip())
    seconds = float(found[1]) * _SECONDS[found[2]] if found else 0.0
    if not seconds:
        raise TlfeatError(
            f"budget must be a time as 90s, 4m or 1.5h, and not nothing. Got {text!r} instead."
        )
    return seconds


def said_seconds(seconds: float) -> str:
    """Write a time as `read_seconds` reads it, always in the same way.

    >>> said_seconds(240), said_seconds(90), said_seconds(5400)
    ('4m', '90s', '90m')
    """
    unit = next(name for name in "hms" if seconds % _SECONDS[name] == 0 or name == "s")
    return f"{seconds / _SECONDS[unit]:g}{unit}"


def _refit_of(run: "Run") -> bool | None:
    """Say whether a run was a refit, as far as that does not follow from its mode."""
    held_out = str(run.record["split"].get("validation", "")).startswith("fold")
    by_itself = held_out and run.phases[0]["mode"] == "auto"
    if REFIT in (run.methods or {}):
        return None if by_itself else True
    return False if by_itself else None


def _without_smoothing(phase: Phase) -> Phase:
    return replace(phase, label_smoothing=0.0) if phase.smoothing else phase


def _solved_first(read: FinetuneSettings, from_parent: bool) -> tuple[Phase, ...]:
    """Leave to the solver what it has the answer of: one new layer on the network as it came."""
    top = read.classifier or Classifier()
    can = not (from_parent or read.changes or top.hidden or top.dropout or top.kind != "new")
    can = can and read.loss == "cross-entropy"
    return tuple(
        phase.at_once() if can and not number else phase.in_steps()
        for number, phase in enumerate(read.phases)
    )


def _check_order(phases: Sequence[Phase], from_parent: bool) -> None:
    if not phases:
        raise TlfeatError("A fine-tune needs a phase: give a mode.")
    for number, phase in enumerate(phases):
        if phase.mode in ("scratch", *FROM_A_HEAD) and (number or from_parent):
            raise TlfeatError(
                f"Mode {phase.mode} decides what a run starts from, so it comes first and not "
                "after another phase or run: use full."
            )


def _check_budget(read: FinetuneSettings) -> None:
    if read.budget is not None and (len(read.phases) > 1 or not read.phases[0].epochs):
        raise TlfeatError(
            "A budget decides how many epochs a run has, so it has one phase, with epochs: leave "
            "the budget or the other phases out."
        )


def _check_views(read: FinetuneSettings, from_parent: bool) -> None:
    """Refuse views where nothing would be kept of them."""
    if not read.cut_views:
        return
    mixing = [one.name for one in read.changes if one.name in MIXERS]
    wanted = ""
    if not read.changes:
        wanted = "views are changed copies of pictures: say how by augment"
    elif mixing:
        wanted = (
            f"{mixing[0]} mixes the pictures of a batch, so no copies can be kept: leave it out"
        )
    elif from_parent or read.cut_dtype == "none":
        wanted = "a run that starts from another, or has cut_dtype none, keeps nothing of a cut"
    elif not read.may_keep:
        wanted = (
            "no phase trains above a cut what was not trained before: take mode frozen or "
            "partial, or auto with a cut or a budget"
        )
    if wanted:
        raise TlfeatError(f"cut_views is {read.cut_views}, but {wanted}.")


def _check_classifier(first: Phase, classifier: Classifier, from_parent: bool) -> None:
    if first.mode in FROM_A_HEAD and (classifier.kind != "new" or classifier.hidden):
        raise TlfeatError(
            f"In mode {first.mode} the top is a logistic regression: it has no dense layers of "
            "other sizes and is no classifier of the network's own: take mode full."
        )
    if first.mode == "scratch" and classifier.kind == "imagenet":
        raise TlfeatError(
            "The 1000 outputs of ImageNet mean nothing with random weights: use --top own."
        )
    if from_parent and classifier.kind != "new":
        raise TlfeatError(
            f"top = {classifier.kind!r} is of a network that starts from weights: a run that "
            "starts from another keeps the top it has, or takes a new one."
        )
