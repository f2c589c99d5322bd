"""What a fine-tune is asked to be, read and checked: all that decides it beside the data."""

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any, Final

from tlfeat.backbones.table import Backbone, get_backbone
from tlfeat.backbones.weights import Weights, resolve_weights
from tlfeat.data.resize import DECODER, Resize
from tlfeat.errors import NetworkError, TlfeatError
from tlfeat.features.recipe import PictureRule
from tlfeat.finetuning import plain_cnn
from tlfeat.finetuning.assemble import Network, assemble, load_network
from tlfeat.finetuning.augment import AUGMENTATIONS
from tlfeat.finetuning.choices import Choice
from tlfeat.finetuning.optimisers import OPTIMISERS
from tlfeat.finetuning.parents import Parent, picture_side
from tlfeat.finetuning.plan import (
    LOSSES,
    PRECISIONS,
    Phase,
    Top,
    check_loss,
    check_phases,
    read_augmentations,
)
from tlfeat.finetuning.schedules import SCHEDULES

CUT_DTYPES: Final = ("float16", "float32")
BATCH: Final = 32  # pictures a step, where nobody says


@dataclass(frozen=True)
class FinetuneRequest:
    """All that decides a fine-tune, beside the data.

    `settle` reads and checks what the user gave; the rest follows from it.
    """

    backbone: str
    row: Backbone | None
    weights: Weights
    parent: Parent | None
    size: int
    resize: Resize
    phases: tuple[Phase, ...]
    top: Top | None  # as asked for
    augment: tuple[Choice, ...]
    loss: str
    batch: int
    precision: str
    seed: int
    cut_dtype: str | None  # as asked for

    @classmethod
    def settle(
        cls,
        backbone: str,
        phases: Sequence[Phase],
        weights: str | Path,
        parent: Parent | None,
        size: int | None,
        resize: Resize | None,
        top: Top | None,
        augment: Sequence[Any],
        loss: str,
        batch: int,
        precision: str | None,
        seed: int,
        cut_dtype: str | None,
    ) -> "FinetuneRequest":
        """Read what the user gave, as `finetune` takes it, or say what is wrong with it.

        Raises
        ------
        TlfeatError
            If something in it cannot be, or does not fit the rest.
        """
        given_top = None if top is None else top.checked()
        checked = check_phases(phases, given_top or Top(), from_parent=parent is not None)
        for what, value, allowed in (
            ("loss", loss, LOSSES),
            ("precision", precision, (None, *PRECISIONS)),
            ("cut_dtype", cut_dtype, (None, *CUT_DTYPES)),
        ):
            if value not in allowed:
                raise TlfeatError(
                    f"Unknown {what} {value!r}: must be one of {', '.join(filter(None, allowed))}."
                )
        check_loss(loss, checked)
        if batch < 1:
            raise TlfeatError(f"A batch has 1 picture or more. Got {batch}.")
        called = backbone if parent is None else (parent.backbone or parent.model.stem)
        row: Backbone | None
        if called == plain_cnn.NAME or (parent is not None and parent.backbone is None):
            row, own, least = None, plain_cnn.SIZE, plain_cnn.MIN_SIZE
        else:
            row = get_backbone(called)
            called, own, least = row.name, row.size, row.min_size
        if parent is not None:
            own = parent.size or size or picture_side(parent.model)
            if precision not in (None, parent.precision):
                raise TlfeatError(
                    f"{parent.model} computes in {parent.precision} and precision is {precision}: "
                    "a run keeps that of the model it starts from, so leave precision out."
                )
            precision = parent.precision
        side = own if size is None else size
        if side < least:
            raise NetworkError(f"{called} needs pictures of at least {least} pixels, got {side}.")
        if row is None and parent is None:
            found = cls._plain(checked, given_top or Top(), seed)
        elif parent is not None:
            found = Weights("file", parent.weights or parent.model, parent.facts.sha256)
        else:
            assert row is not None
            scratch = checked[0].mode == "scratch"
            if scratch and weights not in ("imagenet", "random"):
                raise TlfeatError("Mode scratch takes random weights: leave the weight file out.")
            found = resolve_weights(row, "random" if scratch else weights, seed=seed)
        return cls(
            called,
            row,
            found,
            parent,
            side,
            resize or Resize(),
            checked,
            given_top,
            read_augmentations(augment),
            loss,
            batch,
            precision or "float32",
            seed,
            cut_dtype,
        )

    @staticmethod
    def _plain(phases: tuple[Phase, ...], top: Top, seed: int) -> Weights:
        if phases[0].mode != "scratch" or top.kind != "new":
            raise TlfeatError(
                f"{plain_cnn.NAME} has no pretrained weights and no classifier of its own: train "
                "it in mode scratch with a new top."
            )
        return Weights("random", None, f"random:{seed}:{version('keras')}", seed)

    @property
    def can_cut(self) -> bool:
        """Whether activations may be kept: a phase has a cut and nothing changes what is below."""
        return (
            any(phase.mode in ("frozen", "partial") for phase in self.phases)
            and self.parent is None
            and self.row is not None
            and not self.augment
            and self.precision == "float32"
        )

    @property
    def kept_dtype(self) -> str | None:
        """How activations at a cut are kept; None where they are not."""
        return self.cut_dtype if self.can_cut else None

    @property
    def stand_in(self) -> str | None:
        """Say so where pretrained weights were wanted and random ones are there, or were."""
        if self.parent is not None:
            return self.parent.stand_in
        wanted = self.phases[0].mode != "scratch"
        return "random weights" if self.weights.kind == "random" and wanted else None

    @property
    def weights_name(self) -> str | None:
        """What the user would call the weights; None where the run starts from a model."""
        if self.parent is not None:
            return None
        return self.weights.name

    def top_for(self, n_classes: int) -> Top:
        """Give the top that the run has: the one asked for, or that of what it starts from."""
        if self.parent is not None and self.parent.top is not None and self.keeps_top(n_classes):
            return Top(**{**self.parent.top, "hidden": tuple(self.parent.top["hidden"])})
        return self.top or Top()

    def keeps_top(self, n_classes: int) -> bool:
        """Say whether the run goes on with the top of what it starts from."""
        return (
            self.parent is not None
            and self.top is None
            and self.parent.outputs in (None, n_classes)
        )

    def settings(self, n_classes: int) -> dict[str, Any]:
        """Give what decides the run, as plain values, by the names of its record."""
        top = self.top_for(n_classes)
        pictures = PictureRule(
            self.size,
            self.resize,
            self.row.scaling if self.row else "inside",
            DECODER,
            self.precision,
            [choice.as_dict() for choice in self.augment] or "plain",
        )
        settings = {
            "backbone": self.backbone,
            "weights_digest": self.weights.digest,
            "pictures": pictures.as_dict(),
            "phases": [phase.as_dict() for phase in self.phases],
            "top": {**asdict(top), "hidden": list(top.hidden)},
            "keeps_top": self.keeps_top(n_classes),
            "loss": self.loss,
            "batch": self.batch,
            "seed": self.seed,
            "parent": asdict(self.parent.facts) if self.parent else None,
            "cut_dtype": self.kept_dtype,
        }
        # left out where all are the first, so that the ids of runs from before them stay
        return settings | ({"methods": self.methods} if self.methods else {})

    @property
    def methods(self) -> dict[str, int]:
        """Methods of what is chosen, where they are not the first: an id changes with them."""
        chosen = [(AUGMENTATIONS, choice) for choice in self.augment]
        for phase in self.phases:
            chosen.append((SCHEDULES, phase.schedule_choice))
            chosen.append((OPTIMISERS, phase.optimiser_choice))
        methods: dict[str, int] = {}
        for table, choice in chosen:
            method = table[choice.name].method_of(choice.settings)
            if method > 1:
                methods[choice.name] = max(method, methods.get(choice.name, 0))
        return methods

    def name(self) -> str:
        """Make a name of what is out of the ordinary."""
        parts = [self.backbone]
        if self.row is None or self.size != self.row.size:
            parts.append(str(self.size))
        modes = [phase.mode for phase in self.phases]
        if self.weights.kind == "random" and modes[0] != "scratch":
            parts.append("random")
        for phase in self.phases:
            cut = f"-{phase.cut_name}" if phase.cut_name else ""
            parts += [f"{phase.mode}{cut}-{phase.epochs}", *phase.unusual()]
        if self.top is not None:
            if self.top.kind != "new":
                parts.append(f"{self.top.kind}-top")
            parts += [str(units) for units in self.top.hidden]
            parts += [f"dropout{self.top.dropout:g}"] if self.top.dropout else []
        parts += [choice.name for choice in self.augment]
        if self.loss != "cross-entropy":
            parts.append(self.loss)
        if self.batch != BATCH:
            parts.append(f"batch{self.batch}")
        if self.precision != "float32":
            parts.append(self.precision)
        if self.parent is not None:
            epoch = self.parent.facts.epoch
            parts.append("from-epoch" + str(epoch) if epoch else "from-run")
        if self.seed:
            parts.append(f"seed{self.seed}")
        return "-".join(parts)

    def network(self, n_classes: int) -> Network:
        """Build the network that training starts from."""
        if self.parent is None:
            return assemble(
                self.row,
                self.size,
                self.weights,
                n_classes,
                self.top or Top(),
                precision=self.precision,
                seed=self.seed,
            )
        return load_network(
            self.parent.model,
            self.size,
            n_classes,
            self.top,
            weights=self.parent.weights,
            precision=self.precision,
            seed=self.seed,
        )


def native_size(backbone: str) -> int:
    """Give the side of the pictures that a network was made for."""
    return plain_cnn.SIZE if backbone == plain_cnn.NAME else get_backbone(backbone).size
