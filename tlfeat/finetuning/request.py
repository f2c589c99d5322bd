"""What a fine-tune is asked to be, read and checked: all that decides it beside the data."""

from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from importlib.metadata import version
from typing import Any

from tlfeat.backbones.network_files import is_network_file
from tlfeat.backbones.precision import TRAINED_IN
from tlfeat.backbones.table import Backbone, Output, get_backbone
from tlfeat.backbones.weights import Weights, resolve_weights
from tlfeat.data.resize import DECODER, Resize
from tlfeat.errors import TlfeatError
from tlfeat.features.recipe import PictureRule
from tlfeat.features.settings import AUTO, FeatureSettings
from tlfeat.finetuning import plain_cnn
from tlfeat.finetuning.assemble import Network, assemble, load_network
from tlfeat.finetuning.augment import AUGMENTATIONS
from tlfeat.finetuning.callbacks import PATIENCE_METHOD
from tlfeat.finetuning.norms import NORMS_METHOD
from tlfeat.finetuning.optimizers import OPTIMIZERS
from tlfeat.finetuning.parents import KEPT_TOP, KEPT_TOP_METHOD, Parent, picture_side
from tlfeat.finetuning.plan import may_end_where_it_began
from tlfeat.finetuning.refit import REFIT_METHOD
from tlfeat.finetuning.schedules import SCHEDULES
from tlfeat.finetuning.settings import REFIT, Classifier, FinetuneSettings
from tlfeat.finetuning.tops import TOP_METHOD
from tlfeat.heads.table import get_head
from tlfeat.runs.orders import AUTO_METHODS
from tlfeat.settings import checked_values


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
    precision: str
    seed: int
    settings: FinetuneSettings  # checked, as asked for

    @classmethod
    def settle(
        cls,
        network: FeatureSettings,
        settings: FinetuneSettings,
        parent: Parent | None = None,
        *,
        precision: str | None = None,
    ) -> "FinetuneRequest":
        """Check what the user said, and find the weights that are meant by it.

        Parameters
        ----------
        network : FeatureSettings
            Of the network and the pictures that it sees.
        settings : FinetuneSettings
        parent : Parent, optional
            What is started from; its network and weights are taken, not those of `network`.
        precision : str, optional
            The one that was asked for beside a parent.

        Raises
        ------
        TlfeatError
            If something in it cannot be, or does not fit the rest.
        """
        settings = settings.checked(from_parent=parent is not None)
        computes_in = network.precision if parent is None else parent.precision
        if computes_in not in TRAINED_IN:
            raise TlfeatError(
                f"A network is trained in {' or '.join(TRAINED_IN)}, not in {computes_in}: leave "
                "precision out. `tlfeat predict RUN --precision bfloat16` runs what was trained "
                "in float32 faster."
            )
        checked_values(replace(network, resize=network.rule.rule, weights=str(network.weights)))
        name = network.backbone if parent is None else parent.backbone
        if parent is None and is_network_file(name):
            from_it = (
                f"start from it with --from {name}"
                if name.endswith(".keras")
                else ("only one of Keras can be trained on, with --from FILE.keras")
            )
            raise TlfeatError(f"{name} is a network in a file, which gives features: {from_it}.")
        row = None if name in (None, plain_cnn.NAME) else get_backbone(str(name))
        name = row.name if row else name
        if parent is None:
            size = network.size or (row.size if row else plain_cnn.SIZE)
        else:
            name = name or parent.model.stem
            size = network.size or parent.size or picture_side(parent.model)
            if precision not in (None, parent.precision):
                raise TlfeatError(
                    f"{parent.model} computes in {parent.precision} and precision is {precision}: "
                    "a run keeps that of the model it starts from, so leave precision out."
                )
        plain_cnn.check_size(row, str(name), size)
        request = cls(
            str(name),
            row,
            _weights(row, network, settings, parent),
            parent,
            size,
            network.rule,
            computes_in,
            network.seed,
            settings,
        )
        if settings.cut_views and not request.can_cut:
            raise TlfeatError(
                f"cut_views is {settings.cut_views}, but nothing is kept below a cut of {name} in "
                f"precision {request.precision}: take float32, and a network of the table."
            )
        return request

    @property
    def can_cut(self) -> bool:
        """Whether activations may be kept: a phase has a cut and nothing changes what is below."""
        phases = self.settings.phases
        has_cut = any(phase.is_parted for phase in phases)
        may_cut = self.settings.budget is not None and phases[0].mode == "auto"
        return (
            (has_cut or may_cut)
            and self.parent is None
            and self.row is not None
            and (not self.settings.augment or self.settings.cut_views > 0)
            and self.settings.cut_dtype != "none"
            and self.precision == "float32"
        )

    @property
    def starts_from_head(self) -> bool:
        """Whether the top begins as a logistic regression of frozen features."""
        return self.settings.phases[0].starts_from_head

    @property
    def head_features(self) -> FeatureSettings:
        """What that regression may read: in mode auto the best of what heads choose from."""
        return FeatureSettings(
            self.backbone,
            AUTO if self.settings.phases[0].mode == "auto" else FeatureSettings.features,
            weights=self.weights.name,
            size=self.size,
            resize=self.resize,
            seed=self.seed,
        )

    @property
    def head_class_weight(self) -> str | None:
        """How that regression weighs classes; lp-ft always took them as they are."""
        first = self.settings.phases[0]
        return None if first.mode == "lp-ft" else first.class_weight

    @property
    def kept_dtype(self) -> str | None:
        """How activations at a cut are kept; None where they are not."""
        return self.settings.cut_dtype if self.can_cut else None

    @property
    def stand_in(self) -> str | None:
        """Say so where pretrained weights were wanted and random ones are there, or were."""
        if self.parent is not None:
            return self.parent.stand_in
        wanted = self.settings.phases[0].mode != "scratch"
        return "random weights" if self.weights.kind == "random" and wanted else None

    @property
    def weights_name(self) -> str | None:
        """What the user would call the weights; None where the run starts from a model."""
        if self.parent is not None:
            return None
        return self.weights.name

    def classifier_for(self, n_classes: int) -> Classifier:
        """Give the one that the run has: as asked for, or that of what it starts from."""
        if (
            self.parent is not None
            and self.parent.top is not None
            and self.keeps_classifier(n_classes)
        ):
            return Classifier(**{**self.parent.top, "hidden": tuple(self.parent.top["hidden"])})
        return self.settings.classifier or Classifier()

    def keeps_classifier(self, n_classes: int) -> bool:
        """Say whether the run goes on with the top of what it starts from."""
        return (
            self.parent is not None
            and self.settings.classifier is None
            and self.parent.outputs in (None, n_classes)
        )

    def standardises(self, n_classes: int) -> bool:
        """Say whether the top is a new one that begins at zero, on standardised features."""
        if self.starts_from_head or self.settings.phases[0].mode == "scratch":
            return False
        is_new = self.classifier_for(n_classes).kind == "new"
        return is_new and not self.keeps_classifier(n_classes)

    def decisive(self, n_classes: int, *, refits: bool = False) -> dict[str, Any]:
        """Give what decides the run, as plain values, by the names of its record."""
        classifier = self.classifier_for(n_classes)
        pictures = PictureRule(
            self.size,
            self.resize,
            self.row.scaling if self.row else "inside",
            DECODER,
            self.precision,
            [choice.as_dict() for choice in self.settings.changes] or "plain",
        )
        decisive = {
            "backbone": self.backbone,
            "weights_digest": self.weights.digest,
            "pictures": pictures.as_dict(),
            "phases": [phase.as_dict() for phase in self.settings.phases],
            "top": {**asdict(classifier), "hidden": list(classifier.hidden)},
            "keeps_top": self.keeps_classifier(n_classes),
            "loss": self.settings.loss,
            "batch": self.settings.batch,
            "seed": self.seed,
            "parent": asdict(self.parent.facts) if self.parent else None,
            "cut_dtype": self.kept_dtype,
        }
        # left out where all are as at first, so that the ids of runs from before them stay
        methods = dict(self.methods)
        if self.standardises(n_classes) and TOP_METHOD > 1:
            methods["top"] = TOP_METHOD
        if self.keeps_classifier(n_classes) and self.parent and self.parent.standardises:
            methods[KEPT_TOP] = KEPT_TOP_METHOD
        if refits:
            methods[REFIT] = REFIT_METHOD
        since = {"methods": methods, "later_settings": self.settings.later}
        return decisive | {name: values for name, values in since.items() if values}

    @property
    def methods(self) -> dict[str, int]:
        """Methods of what is chosen, where they are not the first: an id changes with them."""
        chosen = [(AUGMENTATIONS, choice) for choice in self.settings.changes]
        for phase in self.settings.phases:
            chosen.append((SCHEDULES, phase.schedule_choice))
            chosen.append((OPTIMIZERS, phase.optimizer_choice))
        methods: dict[str, int] = {}
        if self.starts_from_head:
            methods["logistic"] = get_head("logistic").method
        if self.settings.phases[0].mode == "auto":
            methods |= {"features": AUTO_METHODS["method"], "screening": AUTO_METHODS["screening"]}
        if any(phase.trains_norms for phase in self.settings.phases):
            methods["norms"] = NORMS_METHOD
        phases = self.settings.phases
        # of a file of somebody else only the built network tells whether its top is kept
        keeps_top = self.parent is not None and self.settings.classifier is None
        if any(
            may_end_where_it_began(phases, number, keeps_top=keeps_top)
            for number in range(len(phases))
        ):
            methods["patience"] = PATIENCE_METHOD
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
        if self.stand_in and self.parent is None:
            parts.append("random")
        parts += self.settings.unusual()
        if self.precision != "float32":
            parts.append(self.precision)
        if self.parent is not None:
            epoch = self.parent.facts.epoch
            parts.append("from-epoch" + str(epoch) if epoch else "from-run")
        if self.seed:
            parts.append(f"seed{self.seed}")
        return "-".join(parts)

    def network(self, n_classes: int, outputs: Sequence[Output]) -> Network:
        """Build the network that training starts from; a new top reads these outputs of it."""
        if self.parent is None:
            return assemble(
                self.row,
                self.size,
                self.weights,
                n_classes,
                self.settings.classifier or Classifier(),
                outputs=outputs,
                standardises=self.standardises(n_classes),
                precision=self.precision,
                seed=self.seed,
            )
        return load_network(
            self.parent.model,
            self.size,
            n_classes,
            self.settings.classifier,
            weights=self.parent.weights,
            precision=self.precision,
            seed=self.seed,
        )


def _weights(
    row: Backbone | None,
    network: FeatureSettings,
    settings: FinetuneSettings,
    parent: Parent | None,
) -> Weights:
    if parent is not None:
        return Weights("file", parent.weights or parent.model, parent.facts.sha256)
    scratch = settings.phases[0].mode == "scratch"
    if row is None:
        if not scratch or (settings.classifier or Classifier()).kind != "new":
            raise TlfeatError(
                f"{plain_cnn.NAME} has no pretrained weights and no classifier of its own: train "
                "it in mode scratch with a new top."
            )
        identity = f"random:{network.seed}:{version('keras')}"
        return Weights("random", None, identity, network.seed)
    if scratch and network.weights not in ("imagenet", "random"):
        raise TlfeatError("Mode scratch takes random weights: leave the weight file out.")
    return resolve_weights(row, "random" if scratch else network.weights, seed=network.seed)


def native_size(backbone: str) -> int:
    """Give the side of the pictures that a network was made for."""
    return plain_cnn.SIZE if backbone == plain_cnn.NAME else get_backbone(backbone).size
