"""What a user can say of a feature matrix, each setting once, and what is meant by it.

The command line, study files, names of runs and the commands that a report prints are all made
of the fields below. Checking them looks nothing up; `resolve` finds the weights.
"""

from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass, fields, replace
from math import prod
from pathlib import Path
from typing import Any, ClassVar, Final, TypedDict, get_type_hints

from tlfeat.backbones.network_files import FileBackbone, find_network
from tlfeat.backbones.precision import INT8, PRECISIONS, get_precision
from tlfeat.backbones.table import DEFAULT_BACKBONE, Backbone
from tlfeat.backbones.weights import Weights, resolve_weights
from tlfeat.data.resize import RULES, Resize
from tlfeat.errors import TlfeatError, did_you_mean
from tlfeat.features.recipe import MOST_PIXELS, SCHEMA, Recipe, parse_spec, write_spec
from tlfeat.settings import checked_values, setting, unusual_values
from tlfeat.where import Where, WhereOptions

AUTO: Final = "auto"


class NetworkOptions(TypedDict, total=False):
    """The fields of `FeatureSettings` as functions take them, beside backbone and features."""

    weights: str | Path
    size: int | None
    resize: str | Resize
    precision: str
    dtype: str
    seed: int


class FeatureOptions(NetworkOptions, total=False):
    """The same with the features."""

    features: str


class OtherOptions(NetworkOptions, WhereOptions, total=False):
    """All that `compare` takes beside backbones and features."""


class Options(FeatureOptions, WhereOptions, total=False):
    """All that `extract` and `train` take beside a backbone."""


@dataclass(frozen=True)
class FeatureSettings:
    """What a user can say of a feature matrix.

    Attributes
    ----------
    backbone : str
        A name of `list_backbones`, or a network's file, .onnx, .xml of OpenVINO or .keras, with
        what must be known of it beside it, or hub: and a preset of keras-hub.
    features : str
        Layers and pooling, LAYER:POOL[+LAYER:POOL...], see `parse_spec`; "auto" lets each head
        choose on held rows.
    weights : str or Path
        "imagenet", "random", or a weight file. A network's file has its own.
    size : int, optional
        Side in pixels of the square that the network sees; its own size if None.
    resize : {"squash", "crop", "pad"} or Resize
        How a picture becomes that square.
    precision : {"float32", "bfloat16", "int8", "mixed"}
        Of the forward pass. bfloat16 is for processors that have it, and for GPUs; mixed
        (float16) is for GPUs; int8 is settled on pictures of train, see `calibrated`.
    dtype : {"float32", "float16"}
        Of the stored rows; `Features.X` is float32 in any case.
    seed : int
        Of random weights.

    Examples
    --------
    >>> settings = tlfeat.FeatureSettings(features="stage4:grid2", size=96)  # doctest: +SKIP
    >>> run = tlfeat.train("garments", settings, head="lda")  # doctest: +SKIP
    """

    panel: ClassVar = "Features"  # of a help page

    backbone: str = setting(
        DEFAULT_BACKBONE,
        "text",
        "The frozen network; `tlfeat backbones` lists them. Or FILE.onnx, .xml, .keras; "
        "hub:PRESET.",
    )
    features: str = setting(
        "last:avg",
        "text",
        "LAYER:POOL[+LAYER:POOL]; LAYER last, stage1 to stage5 or a name; POOL avg, max, gridN or "
        "none. auto: each head's best of a few, on held rows.",
        metavar="SPEC",
    )
    weights: str | Path = setting(
        "imagenet", "text", "Weights of the network.", metavar="imagenet|random|FILE"
    )
    size: int | None = setting(
        None,
        "whole",
        "Side of the square that the network sees.  [default: the network's own]",
        metavar="PIXELS",
        least=1,
        most=MOST_PIXELS,
    )
    resize: str | Resize = setting(
        "squash", "text", "How a picture becomes that square.", words=RULES
    )
    precision: str = setting(
        "float32",
        "text",
        "Of the forward pass; int8:DIGITS is a network that is quantised already.",
        metavar="|".join(PRECISIONS),
    )
    dtype: str = setting("float32", "text", "Of the stored rows.", words=("float32", "float16"))
    seed: int = setting(0, "whole", "Of random weights, of folds and of random heads.")

    def checked(self) -> "FeatureSettings":
        """Give the settings with the backbone's name as its table has it, and all poolings said.

        Raises
        ------
        UnknownName
            If there is no such backbone, or a setting has no such word.
        TlfeatError
            If another setting cannot be.
        """
        row = find_network(self.backbone, self.weights)
        get_precision(self.precision)
        values = checked_values(replace(self, resize=self.rule.rule, weights=str(self.weights)))
        if self.size is not None and self.size < row.min_size:
            raise TlfeatError(
                f"size must be {row.min_size} to {MOST_PIXELS} for {row.name}. Got {self.size} "
                "instead."
            )
        spec = self.features if self.is_auto else write_spec(parse_spec(self.features))
        weights = str(row.file.path) if isinstance(row, FileBackbone) else self.weights
        kept = {"backbone": row.name, "resize": self.resize, "weights": weights}
        return FeatureSettings(**(values | kept | {"features": spec}))

    @property
    def is_auto(self) -> bool:
        """Whether each head is to choose its features, see `Candidates`."""
        return self.features == AUTO

    @property
    def rule(self) -> Resize:
        """How a picture becomes a square, with what a word leaves out."""
        return self.resize if isinstance(self.resize, Resize) else Resize(rule=self.resize)

    def unusual(self) -> dict[str, Any]:
        """Give what is not as when nobody says, in the order of the fields, the backbone aside."""
        values = unusual_values(self)
        with suppress(TlfeatError):  # a file that is gone: its run tells all the same
            if "size" in values and self.size == find_network(self.backbone, self.weights).size:
                values.pop("size")
        return {name: value for name, value in values.items() if name != "backbone"}

    def resolve(self, cache: Path | None = None) -> "FeatureRequest":
        """Settle everything that decides the numbers of the matrix.

        Parameters
        ----------
        cache : Path, optional
            Where the shapes of named layers are remembered.

        Returns
        -------
        request : FeatureRequest

        Raises
        ------
        WeightsError
            If the weights cannot be had.
        UnknownName, TlfeatError
            As from `checked`, or if the network has no such layer.
        """
        from tlfeat.backbones.networks import feature_shape  # what can be said needs no NumPy

        settings = self.checked()
        if settings.precision == INT8:
            raise TlfeatError(
                f"{INT8} is settled on the pictures of a dataset, by which a network is "
                f"quantised: name one that is kept, {INT8}:DIGITS."
            )
        if settings.is_auto:
            raise TlfeatError(
                f"Features {AUTO!r} are chosen head by head, on held rows, so they are no one "
                "matrix: name features such as last:avg, or train heads."
            )
        row, rule = find_network(settings.backbone, settings.weights), settings.rule
        side = row.size if settings.size is None else settings.size
        weights = resolve_weights(row, settings.weights, seed=settings.seed)
        # Rows that were made before EfficientNet's files were scaled once, not twice, are others.
        rescaled = row.family == "efficientnet" and weights.kind == "file"
        recipes = tuple(
            Recipe(
                backbone=row.name,
                weights=weights.digest,
                layer=output.layer,
                pool=output.pool,
                size=side,
                resize=rule.as_dict(),
                scaling=row.scaling,
                precision=settings.precision,
                dtype=settings.dtype,
                feature_shape=feature_shape(row, side, output.layer, output.pool, cache),
                schema=SCHEMA + rescaled,
            )
            for output in parse_spec(settings.features)
        )
        named = replace(settings, size=side, weights=weights.name)
        return FeatureRequest(named, row, weights, recipes)

    @classmethod
    def of_recipe(cls, recipe: Mapping[str, Any], **said: Any) -> "FeatureSettings":
        """Give the settings that made a recipe.

        Parameters
        ----------
        recipe : mapping
            The first of a matrix, as plain values.
        **said
            What a recipe does not tell: features, weights (as the user named them), seed.
        """
        told: dict[str, Any] = {
            one.name: recipe[one.name]
            for one in fields(cls)
            if one.name in recipe and one.name not in said
        }
        rule = Resize(**told["resize"])
        told["resize"] = rule.rule if rule == Resize(rule=rule.rule) else rule
        return cls(**(told | said))


@dataclass(frozen=True)
class FeatureRequest:
    """One feature matrix that is asked for: a network and what to take from it.

    Several outputs are stored one by one and joined, in this order, for the head.
    """

    settings: FeatureSettings  # with nothing left open: side, path of the weights, all poolings
    backbone: Backbone
    weights: Weights
    recipes: tuple[Recipe, ...]

    @property
    def size(self) -> int:
        """Side in pixels of the square that the network sees."""
        return self.recipes[0].size

    @property
    def columns(self) -> int:
        """Numbers a picture."""
        return sum(self.parts.values())

    @property
    def parts(self) -> dict[str, int]:
        """Digest and columns of the recipe of each part, from left to right."""
        return {recipe.digest: prod(recipe.feature_shape) for recipe in self.recipes}

    @property
    def key(self) -> tuple[str, ...]:
        """Tells feature matrices apart."""
        return tuple(recipe.entry_name for recipe in self.recipes)

    @property
    def stand_in(self) -> str | None:
        """Say that the weights are random, which is never a result to show; else None."""
        return "random weights" if self.weights.kind == "random" else None


def read_options(
    backbone: str | FeatureSettings, options: Mapping[str, Any]
) -> tuple[FeatureSettings, Where]:
    """Part what a function was given into settings, which decide numbers, and the rest.

    Parameters
    ----------
    backbone : str or FeatureSettings
        A name is the short form of settings with that backbone.
    options : mapping
        See `Options`; they win over what the settings say.

    Raises
    ------
    TypeError
        If there is no such option.
    """
    known = get_type_hints(Options)
    for name in options:
        if name not in known:
            raise TypeError(f"There is no option {name!r}.{did_you_mean(name, known)}")
    given = FeatureSettings(backbone) if isinstance(backbone, str) else backbone
    of_features = get_type_hints(FeatureOptions)
    said = {name: value for name, value in options.items() if name in of_features}
    where = {name: value for name, value in options.items() if name not in of_features}
    return replace(given, **said), Where(**where)
