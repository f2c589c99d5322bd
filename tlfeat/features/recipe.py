"""A recipe is all that decides a feature's numbers; its digest names a store entry.

Two features are the same feature exactly when their recipes are equal, so whatever
can change a number belongs in here, and whatever cannot (engine, versions, dates)
stays out. Nothing in here imports TensorFlow.
"""

import hashlib
import json
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, fields
from functools import cached_property
from pathlib import Path
from typing import Any

from tlfeat.backbones.network_facts import facts_file
from tlfeat.backbones.network_files import FileBackbone, find_network
from tlfeat.backbones.table import POOL, Output
from tlfeat.backbones.weights import Weights, resolve_weights
from tlfeat.data.resize import DECODER, Resize
from tlfeat.errors import TlfeatError, WeightsError

SCHEMA = 1
MOST_PIXELS = 8192  # of the side of a picture that a network sees


@dataclass(frozen=True)
class PictureRule:
    """What a network sees of a picture."""

    size: int  # pixels, of the square
    resize: Resize
    scaling: str  # of pixels; "inside" where the model does it
    decoder: int
    precision: str  # of the forward pass
    view: str | Sequence[Mapping[str, Any]]  # "plain", or the augmentations of a fine-tune

    def as_dict(self) -> dict[str, Any]:
        """Give the rule as plain JSON values."""
        view = self.view if isinstance(self.view, str) else [dict(one) for one in self.view]
        return {**vars(self), "resize": self.resize.as_dict(), "view": view}

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> "PictureRule":
        """Read a rule back from what `as_dict` gave; a recipe has the same fields, and more."""
        known = {one.name: values[one.name] for one in fields(cls)}
        return cls(**{**known, "resize": Resize(**values["resize"])})


@dataclass(frozen=True)
class Recipe:
    """What one feature matrix is made by; every field changes its numbers."""

    backbone: str
    weights: str  # SHA-256 of the weight file, or random:seed:keras-version
    layer: str  # "last", "stage1" to "stage5", or a layer's name
    pool: str  # "avg", "max", "gridN" or "none"
    size: int  # pixels, of the square that the network sees
    resize: dict[str, Any]
    scaling: str
    precision: str
    dtype: str  # of the stored rows
    feature_shape: tuple[int, ...]
    decoder: int = DECODER
    view: str = "plain"  # no augmentation
    schema: int = SCHEMA

    def as_dict(self) -> dict[str, Any]:
        """Give the recipe as plain JSON values."""
        return {**asdict(self), "feature_shape": list(self.feature_shape)}

    @classmethod
    def from_dict(cls, fields: dict[str, Any]) -> "Recipe":
        """Read a recipe back from what `as_dict` gave."""
        return cls(**{**fields, "feature_shape": tuple(fields["feature_shape"])})

    @property
    def pictures(self) -> PictureRule:
        """What its network sees of a picture."""
        return PictureRule.from_dict(vars(self))

    @cached_property
    def digest(self) -> str:
        """SHA-256 of the canonical JSON, in hexadecimal."""
        text = json.dumps(self.as_dict(), sort_keys=True, separators=(",", ":"))
        return hashlib.sha256(text.encode()).hexdigest()

    @property
    def entry_name(self) -> str:
        """Folder name of the store entry."""
        layer = re.sub(r"[^A-Za-z0-9_.]+", "_", self.layer)
        return f"{self.backbone}-{self.size}-{layer}-{self.pool}-{self.digest[:10]}"


def parse_spec(spec: str) -> tuple[Output, ...]:
    """Read a feature SPEC, LAYER:POOL[+LAYER:POOL...].

    Parameters
    ----------
    spec : str
        LAYER is "last", "stage1" to "stage5" or a layer's name; POOL is "avg", "max",
        "none" or "gridN" (average over N x N cells), "avg" where it is left out.

    Returns
    -------
    outputs : tuple of Output

    Raises
    ------
    TlfeatError
        If a part has no layer, an unknown pooling, or is there twice.

    Examples
    --------
    >>> [(o.layer, o.pool) for o in parse_spec("stage4:grid4+last")]
    [('stage4', 'grid4'), ('last', 'avg')]
    """
    outputs = []
    for part in spec.split("+"):
        layer, colon, pool = part.strip().rpartition(":")  # names of ONNX may have colons
        if not colon:
            layer, pool = pool, ""
        pool = pool or "avg"
        if not layer or not POOL.fullmatch(pool):
            raise TlfeatError(
                f"Features {spec!r} cannot be read at {part!r}: wanted LAYER:POOL with POOL one "
                "of avg, max, none, grid1 to grid99, such as last:avg or stage4:grid4+last:avg."
            )
        outputs.append(Output(layer, pool))
    if len(set(outputs)) < len(outputs):
        raise TlfeatError(f"Features {spec!r} name the same part twice: leave one out.")
    return tuple(outputs)


def write_spec(parts: Iterable[Output | Recipe]) -> str:
    """Give the SPEC of some parts, with all poolings said."""
    return "+".join(f"{part.layer}:{part.pool}" for part in parts)


def short_spec(spec: str) -> str:
    """Give a joined SPEC without the usual pooling, which reading it gives back.

    Examples
    --------
    >>> short_spec("stage4:avg+last:avg"), short_spec("last:avg")
    ('stage4+last', 'last:avg')
    """
    return spec.replace(":avg", "") if "+" in spec else spec


def find_weights(recipe: Recipe, where: str | Path | None = None) -> Weights:
    """Find the very weights that a recipe names.

    Parameters
    ----------
    recipe : Recipe
    where : str or Path, optional
        "imagenet", "random" or a file; whichever of the first two the recipe tells if None.

    Returns
    -------
    weights : Weights

    Raises
    ------
    WeightsError
        If they are not there, or are others.
    """
    seed = 0
    if recipe.weights.startswith("random:"):
        seed = int(recipe.weights.split(":")[1])
        where = where or "random"
    row = find_network(recipe.backbone, where or "imagenet", moved=True)
    found = resolve_weights(row, where or "imagenet", seed=seed)
    if found.digest != recipe.weights and isinstance(row, FileBackbone):
        raise WeightsError(
            f"{row.file.path} is not the network that features were made with, or what "
            f"{facts_file(row.file.path).name} says of it has changed: put back what was there."
        )
    if found.digest != recipe.weights:
        named = f"The weights {where or 'imagenet'!s} of {recipe.backbone} are not the ones wanted"
        if found.kind == "random":
            raise WeightsError(
                f"{named} ({found.digest}, wanted {recipe.weights}): this version of Keras draws "
                "other ones. Make features and heads again."
            )
        raise WeightsError(
            f"{named} ({found.digest[:12]}..., wanted {recipe.weights[:12]}...): name the file "
            "that features and heads were made with."
        )
    return found
