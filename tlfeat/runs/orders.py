"""A head that is asked for: its settings, and its run's name, id and folder."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from tlfeat.data.dataset import Dataset
from tlfeat.features.recipe import FeatureRequest
from tlfeat.heads.table import check_settings, get_head
from tlfeat.runs.identity import run_identity
from tlfeat.runs.record import as_text, run_folder
from tlfeat.runs.study import resolved_head


@dataclass(frozen=True)
class HeadPlan:
    """A head that is asked for; every field can change its numbers."""

    head: str
    params: Mapping[str, Any] = field(default_factory=dict)  # explicit values, not searched
    search: bool = True
    class_weight: str | None = None  # None or "balanced"
    refit: bool = False  # after the choice, train on train and validation
    seed: int = 0

    def checked(self) -> "HeadPlan":
        """Give the plan with its values read, or say what is wrong with them."""
        row = get_head(self.head)
        params = check_settings(row.name, self.params)
        return HeadPlan(row.name, params, self.search, self.class_weight, self.refit, self.seed)


@dataclass(frozen=True)
class HeadOrder:
    """A run that is asked for: a head on a feature matrix."""

    request: FeatureRequest
    plan: HeadPlan  # checked
    name: str = ""  # of the run; made of its settings if empty


def method_of(head: str) -> dict[str, int]:
    """Give what tells a head's runs from those that an older method of it made."""
    method = get_head(head).method
    return {"method": method} if method > 1 else {}


class HeadJob:
    """An order with its run's name, id and folder."""

    def __init__(self, dataset: Dataset, order: HeadOrder, study: Path) -> None:
        self.dataset, self.request, self.plan = dataset, order.request, order.plan
        self.features = matrix_key(order.request)
        self.id = run_identity(
            "head",
            dataset,
            {
                "recipes": [recipe.as_dict() for recipe in order.request.recipes],
                "head": asdict(order.plan) | method_of(order.plan.head),
            },
        )
        self.name = order.name or _name_of(order.request, order.plan)
        self.folder = run_folder(study, self.name, self.id)

    def resolved(self) -> dict[str, Any]:
        """Give the run as a study file has it."""
        request, plan = self.request, self.plan
        return resolved_head(
            self.name,
            request.recipes[0].as_dict(),
            asdict(plan) | {"name": plan.head},
            backbone=request.backbone.name,
            weights=weights_name(request),
            features=request.spec,
            seed=plan.seed,
            stand_in=request.stand_in,
        )


def weights_name(request: FeatureRequest) -> str:
    """Name weights as a record does: the file's path, imagenet or random."""
    if request.weights.kind == "file" and request.weights.path is not None:
        return str(request.weights.path.resolve())
    return request.weights.kind


def matrix_key(request: FeatureRequest) -> tuple[str, ...]:
    """Tell feature matrices apart."""
    return tuple(recipe.entry_name for recipe in request.recipes)


def _name_of(request: FeatureRequest, plan: HeadPlan) -> str:
    """Name a run by what is not as usual in its settings."""
    parts = [request.backbone.name]
    if request.size != request.backbone.size:
        parts.append(str(request.size))
    if request.weights.kind != "imagenet":
        parts.append(request.weights.kind)
    if request.spec != "last:avg":
        parts.append(request.spec.replace(":", "-"))
    parts.append(plan.head)
    parts += [f"{key}={as_text(value)}" for key, value in sorted(plan.params.items())]
    recipe = request.recipes[0]
    parts += [part for part in (recipe.precision, recipe.dtype) if part != "float32"]
    if not plan.search:
        parts.append("no-search")
    if plan.class_weight:
        parts.append(plan.class_weight)
    if plan.refit:
        parts.append("refit")
    if plan.seed:
        parts.append(f"seed{plan.seed}")
    return "-".join(parts)
