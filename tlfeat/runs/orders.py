"""A head that is asked for: its settings, and its run's name, id and folder."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import Any, Final

from tlfeat.backbones.network_files import is_network_file
from tlfeat.data.dataset import Dataset
from tlfeat.features.candidates import Candidates
from tlfeat.features.settings import FeatureSettings
from tlfeat.heads.metric import check_metric, usual_metric
from tlfeat.heads.table import ENSEMBLE, SCREEN, check_class_weight, check_settings, get_head
from tlfeat.runs.identity import run_identity
from tlfeat.runs.record import as_text, run_folder

# raised when `--features auto` gives other numbers: its own, and that of what screens
AUTO_METHODS: Final = {"method": 1, "screening": get_head(SCREEN).method}


@dataclass(frozen=True)
class HeadPlan:
    """A head that is asked for; every field can change its numbers."""

    head: str
    params: Mapping[str, Any] = field(default_factory=dict)  # explicit values, not searched
    search: bool = True
    class_weight: str | None = None  # None or "balanced"
    refit: bool = False  # after the choice, train on train and validation
    seed: int = 0
    metric: str | None = None  # what the search makes best; checked, it is never None

    def checked(self) -> "HeadPlan":
        """Give the plan with its values read, or say what is wrong with them."""
        row = get_head(self.head)
        params = check_settings(row.name, self.params)
        check_class_weight(row, self.class_weight)
        metric = self.metric or usual_metric(self.class_weight)
        check_metric(metric)
        return replace(self, head=row.name, params=params, metric=metric)

    def as_dict(self) -> dict[str, Any]:
        """Give what decides an id; the usual metric is left out, as before there were any."""
        values = asdict(self)
        if self.metric == usual_metric(self.class_weight):
            del values["metric"]
        return values | self.methods

    @property
    def methods(self) -> dict[str, Any]:
        """Give what tells its runs from those that an older method made; nothing of the first."""
        row = get_head(self.head)
        told: dict[str, Any] = {"method": row.method} if row.method > 1 else {}
        if row.name == ENSEMBLE:
            usual = next(one.default for one in row.settings if one.name == "members")
            members = str(self.params.get("members", usual)).split("+")
            told["members"] = {name: get_head(name).method for name in members}
        return told


@dataclass(frozen=True)
class HeadJob:
    """A run that is asked for: a head on the best of some feature matrices, in a study."""

    dataset: Dataset
    candidates: Candidates
    plan: HeadPlan  # checked
    study: Path
    given_name: str = ""
    stand_in: str | None = None  # what the run stands in for

    @cached_property
    def id(self) -> str:
        """SHA-256 of all that decides the run."""
        matrices = [
            [recipe.as_dict() for recipe in one.recipes] for one in self.candidates.requests
        ]
        settings: dict[str, Any] = {"head": self.plan.as_dict()}
        if self.candidates.settings.is_auto:
            settings["auto"] = {**AUTO_METHODS, "candidates": matrices}
        else:
            (settings["recipes"],) = matrices
        return run_identity("head", self.dataset, settings)

    @property
    def name(self) -> str:
        """What tables call it: as it was given, or made of its settings."""
        return self.given_name or head_name(self.candidates.settings, self.plan)

    @cached_property
    def folder(self) -> Path:
        """Of the run."""
        return run_folder(self.study, self.name, self.id)


def head_name(settings: FeatureSettings, plan: HeadPlan) -> str:
    """Name a head's run by what is not as usual in its settings."""
    unusual = settings.unusual()
    unusual.pop("seed", None)  # the head has the same
    if is_network_file(settings.backbone):
        unusual.pop("weights", None)  # it is the same file
    if unusual.get("weights") not in (None, "random"):
        unusual["weights"] = "file"
    before = [unusual.pop(name) for name in ("size", "weights", "features") if name in unusual]
    parts = [settings.backbone, *map(as_text, before), plan.head]
    parts += [f"{key}={as_text(value)}" for key, value in sorted(plan.params.items())]
    parts += [name if value is True else as_text(value) for name, value in unusual.items()]
    if not plan.search:
        parts.append("no-search")
    if plan.class_weight:
        parts.append(plan.class_weight)
    if plan.metric not in (None, usual_metric(plan.class_weight)):
        parts.append(f"by-{plan.metric}")  # balanced-accuracy alone would be taken for a weight
    if plan.refit:
        parts.append("refit")
    if plan.seed:
        parts.append(f"seed{plan.seed}")
    return "-".join(parts).replace(":", "-")
