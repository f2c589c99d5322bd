"""`tlfeat backbones`: the networks that can embed a picture."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Final

import typer

from tlfeat.backbones.network_facts import (
    NetworkFacts,
    facts_file,
    how_to_say,
    write_facts,
)
from tlfeat.backbones.network_files import (
    describe_network,
    find_network,
    is_network_file,
    is_preset,
)
from tlfeat.errors import NetworkError, TlfeatError, UnknownName, did_you_mean
from tlfeat.features.settings import FeatureSettings
from tlfeat.settings import settings_of
from tlfeat.where import Where
from tlfeat_cli.expand import expand
from tlfeat_cli.options import JsonOpt
from tlfeat_cli.terminal import print_json, print_table, say

_MUST_BE_SAID: Final = {
    "scaling": "scaling=torch",
    "pictures": "size=224",
    "feature": "output=NAME",
}

if TYPE_CHECKING:
    from tlfeat.backbones.table import Backbone


@expand(features=("size",), where=("cache",))
def backbones(
    pattern: Annotated[
        str | None,
        typer.Argument(
            metavar="PATTERN|FILE",
            help="Names to list, such as 'mobilenet*', or a network's file: .onnx, .xml, .keras; "
            "or hub:PRESET.",
        ),
    ] = None,
    say_of_it: Annotated[
        list[str] | None,
        typer.Option(
            "--say",
            metavar="KEY=VALUE",
            help="What must be known of a file and is not in it; written beside it. KEY= takes it "
            "back. "
            f"KEY is one of {', '.join(settings_of(NetworkFacts))}.",
        ),
    ] = None,
    layers: Annotated[
        bool, typer.Option("--layers", help="List the layers of one network, with shapes.")
    ] = False,
    features: FeatureSettings = FeatureSettings(),
    where: Where = Where(),
    as_json: JsonOpt = False,
) -> None:
    """List the frozen networks: size, features, parameters, licence, weights."""
    if say_of_it:
        if not is_network_file(pattern) or is_preset(pattern):
            raise UnknownName("--say is of a network's file: name one, .onnx, .xml or .keras.")
        path = Path(pattern).expanduser()
        write_facts(path, dict(map(_fact, say_of_it)))
        say(f"Written: {facts_file(path)}", style="dim")
    if is_network_file(pattern) and not layers:
        _show_file(pattern, as_json)
        return
    if layers:
        _list_layers(pattern, features.size, where.cache_folder, as_json)
        return
    from tlfeat.backbones.table import list_backbones
    from tlfeat.backbones.weights import weights_here
    from tlfeat.runs.results import Column

    rows = list_backbones(pattern)
    if not rows:
        hint = did_you_mean(str(pattern), [row.name for row in list_backbones()])
        raise UnknownName(
            f"No backbone matches {pattern!r}.{hint} `tlfeat backbones` lists them all."
        )
    here = [weights_here(row) for row in rows]
    if as_json:
        print_json(
            [
                {
                    "name": row.name,
                    "size": row.size,
                    "dim": row.dim,
                    "parameters": row.parameters,
                    "licence": row.licence,
                    "weights_here": there,
                }
                for row, there in zip(rows, here, strict=True)
            ]
        )
        return
    print_table(
        [
            Column("name", [row.name for row in rows], is_number=False),
            Column("size", [str(row.size) for row in rows]),
            Column("features", [str(row.dim) for row in rows]),
            Column("parameters", [f"{row.parameters / 1e6:.1f} M" for row in rows], drop=1),
            Column("licence", [row.licence for row in rows], is_number=False, drop=2),
            Column(
                "ImageNet weights", [_where(r, t) for r, t in zip(rows, here, strict=True)], False
            ),
        ]
    )
    say(f"{sum(here)} of {len(rows)} have their weights here now.", style="dim")


def _list_layers(name: str | None, size: int | None, cache: Path, as_json: bool) -> None:
    from tlfeat.backbones.networks import list_layers
    from tlfeat.runs.results import Column

    if name is None:
        raise UnknownName("--layers lists one network's: give its name too.")
    size = size or find_network(name).size
    shapes = list_layers(name, size, cache=cache)
    if as_json:
        print_json({layer: list(shape) for layer, shape in shapes.items()})
        return
    print_table(
        [
            Column("layer", list(shapes), is_number=False),
            Column(
                "height x width x channels", [" x ".join(map(str, s)) for s in shapes.values()]
            ),
        ]
    )
    say(f"At {size} pixels. Take one with --features LAYER:POOL.", style="dim")


def _show_file(named: str, as_json: bool) -> None:
    """Show what is understood of a network's file, and what must still be said."""
    told = describe_network(named)
    if as_json:
        print_json(told)
    else:
        width = max(map(len, told))
        for name, text in told.items():
            if text or name in _MUST_BE_SAID:
                say(f"{name:<{width}}  {text or 'not said'}")
    for name, fact in _MUST_BE_SAID.items():
        if not told[name]:
            raise NetworkError(f"{named} cannot be used yet: {how_to_say(Path(named), fact)}.")


def _fact(text: str) -> tuple[str, str]:
    key, equals, value = text.partition("=")
    if not equals:
        raise TlfeatError(f"--say {text!r} cannot be read: wanted KEY=VALUE, as scaling=torch.")
    return key.strip(), value.strip()


def _where(row: "Backbone", here: bool) -> str:
    if here:
        return "here"
    if row.weights.extra:
        return f"in tlfeat[{row.weights.extra}]"
    return "from Keras"
