"""The feature matrices that a head may choose from: those of "auto", or the one that is named."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Final

from tlfeat.backbones.table import Backbone
from tlfeat.features.recipe import Recipe, write_spec
from tlfeat.features.settings import AUTO, FeatureRequest, FeatureSettings

MOST_COLUMNS: Final = 4096  # of a candidate; wider ones cost more than they were seen to give
_LAST: Final = "last:avg"
_GRID: Final = "stage4:grid4"
_JOINED: Final = ("stage3", "stage4", "stage5")


@dataclass(frozen=True)
class Candidates:
    """The feature matrices that a head may choose from, all of one forward pass.

    Attributes
    ----------
    settings : FeatureSettings
        As they were asked for, with nothing else left open.
    requests : tuple of FeatureRequest
        The simplest first; one where the features are named.
    left_out : mapping of str to str
        SPEC to the reason why it is none.
    """

    settings: FeatureSettings
    requests: tuple[FeatureRequest, ...]
    left_out: Mapping[str, str]

    @classmethod
    def of(cls, settings: FeatureSettings, cache: Path | None = None) -> "Candidates":
        """Settle the candidates of some settings.

        Parameters
        ----------
        settings : FeatureSettings
        cache : Path, optional
            Where the shapes of named layers are remembered.

        Raises
        ------
        TlfeatError
            As from `FeatureSettings.resolve`.
        """
        settings = settings.checked()
        if not settings.is_auto:
            request = settings.resolve(cache)
            return cls(request.settings, (request,), {})
        first = replace(settings, features=_LAST).resolve(cache)
        asked = replace(first.settings, features=AUTO)
        requests, left_out = [first], {}
        for spec in specs_of(first.backbone)[1:]:
            request = replace(asked, features=spec).resolve(cache)
            if request.columns > MOST_COLUMNS:
                left_out[spec] = f"{request.columns:,} columns, more than {MOST_COLUMNS:,}"
            else:
                requests.append(request)
        return cls(asked, tuple(requests), left_out)

    @property
    def first(self) -> FeatureRequest:
        """The simplest: the network, its weights and what it sees are those of all."""
        return self.requests[0]

    @property
    def recipes(self) -> dict[str, Recipe]:
        """Every part of any candidate by its digest."""
        return {one.digest: one for request in self.requests for one in request.recipes}

    def joined(self, parts: Sequence[str]) -> FeatureRequest:
        """Ask for some parts side by side, by their digests."""
        known = self.recipes
        recipes = tuple(known[part] for part in parts)
        settings = replace(self.first.settings, features=write_spec(recipes))
        return replace(self.first, settings=settings, recipes=recipes)

    @property
    def stand_in(self) -> str | None:
        """Say that the weights are random, see `FeatureRequest.stand_in`."""
        return self.first.stand_in


def specs_of(backbone: Backbone) -> list[str]:
    """Give the features that `auto` tries of a network, the simplest first.

    Examples
    --------
    >>> from tlfeat.backbones.table import get_backbone
    >>> specs_of(get_backbone("efficientnet_lite0"))
    ['last:avg', 'stage3:avg+stage4:avg+stage5:avg+last:avg', 'stage4:grid4']
    """
    stages = backbone.layers
    # a fifth stage that is as wide as the last activation is that one, or is normalised to it
    joined = [
        name
        for name in _JOINED
        if name in stages and (name != "stage5" or stages[name].channels != backbone.dim)
    ]
    specs = [_LAST]
    if joined:
        specs.append("+".join(f"{name}:avg" for name in (*joined, "last")))
    if "stage4" in stages:
        specs.append(_GRID)
    return specs
