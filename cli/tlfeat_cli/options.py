"""Options that several commands share: one spelling, one help text."""

import json
import sys
from collections.abc import Iterator, Sequence
from typing import Annotated, Any

import typer

from tlfeat.errors import TlfeatError

_DATA, _NETWORK, _HEAD, _WHERE = "Data", "Features", "Heads", "Where and how"

DataArg = Annotated[
    str,
    typer.Argument(
        metavar="DATA",
        help="A folder of pictures, an archive, a table, an array file, an s3:// or "
        "https:// URL, or digits.",
    ),
]
RunArg = Annotated[
    str,
    typer.Argument(
        metavar="RUN",
        help="A run's folder or name, as `tlfeat runs` shows it; or a study's, for its best "
        "run by validation.",
    ),
]
PicturesArg = Annotated[
    list[str],
    typer.Argument(
        metavar="PICTURES...",
        help="Files, folders, tables, archives, URLs of them, or - for a list on stdin.",
    ),
]
MovedWeightsOpt = Annotated[
    str | None,
    typer.Option(
        "--weights", metavar="FILE", help="Where the run's weights are, if they were moved."
    ),
]
RetryOpt = Annotated[
    bool,
    typer.Option("--retry-failed", help="Try broken pictures once more.", rich_help_panel=_DATA),
]
BackboneOpt = Annotated[
    list[str],
    typer.Option(
        metavar="A,B",
        help="Frozen networks; `tlfeat backbones` lists them.",
        rich_help_panel=_NETWORK,
    ),
]
FeaturesOpt = Annotated[
    list[str],
    typer.Option(
        metavar="SPEC",
        help="LAYER:POOL[+LAYER:POOL]; LAYER last, stage1 to stage5 or a name; POOL avg, max, "
        "gridN or none. auto: each head's best of a few, on held rows.",
        rich_help_panel=_NETWORK,
    ),
]
HeadOpt = Annotated[
    list[str],
    typer.Option(metavar="X,Y", help="Heads; `tlfeat heads` lists them.", rich_help_panel=_HEAD),
]
SetOpt = Annotated[
    list[str] | None,
    typer.Option(
        "--set",
        metavar="head.KEY=VALUE",
        help="Give a setting instead of searching it, such as head.C=1. May be repeated.",
        rich_help_panel=_HEAD,
    ),
]
SearchOpt = Annotated[
    bool,
    typer.Option(
        "--search/--no-search",
        help="Choose the settings on validation, or take the defaults.",
        rich_help_panel=_HEAD,
    ),
]
ClassWeightOpt = Annotated[
    str | None,
    typer.Option(
        metavar="balanced", help="Give every class the same weight.", rich_help_panel=_HEAD
    ),
]
RefitOpt = Annotated[
    bool,
    typer.Option(
        "--refit",
        help="After the choice, train on train and validation together.",
        rich_help_panel=_HEAD,
    ),
]
MetricOpt = Annotated[
    str | None,
    typer.Option(
        metavar="NAME",
        help="What settings are chosen and runs ranked by: accuracy, balanced-accuracy, macro-f1, "
        "log-loss or roc-auc. Usually accuracy; balanced-accuracy with --class-weight balanced.",
        rich_help_panel=_HEAD,
    ),
]
JsonOpt = Annotated[
    bool, typer.Option("--json", help="Print JSON for scripts.", rich_help_panel=_WHERE)
]
QuietOpt = Annotated[
    bool, typer.Option("--quiet", "-q", help="No progress, no notes.", rich_help_panel=_WHERE)
]


def comma_list(values: list[str]) -> list[str]:
    """Split "A,B" and repeated options into one list."""
    found = [part.strip() for value in values for part in value.split(",") if part.strip()]
    if not found:
        raise TlfeatError("An option that takes a list was given an empty one: name one or more.")
    return found


def picture_names(pictures: list[str]) -> Iterator[str]:
    """Give what was named, and for "-" what stands on stdin, a line each."""
    for name in pictures:
        if name == "-":
            yield from (line.rstrip("\r\n") for line in sys.stdin if line.strip())
        else:
            yield name


def share(text: str | None, option: str) -> float | None:
    """Read "1%" or "0.01"."""
    if text is None:
        return None
    number = text.strip().removesuffix("%")
    try:
        value = float(number)
    except ValueError:
        raise TlfeatError(
            f"{option} {text!r} is no share: wanted one such as 1% or 0.01."
        ) from None
    return value / 100 if text.strip().endswith("%") else value


def assignments(text: str | None, option: str) -> dict[str, str] | None:
    """Read "a=b,c=d"."""
    if text is None:
        return None
    pairs = {}
    for part in text.split(","):
        key, equals, value = part.partition("=")
        if not (key.strip() and equals and value.strip()):
            raise TlfeatError(f"{option} {text!r} cannot be read at {part!r}: wanted OURS=THEIRS.")
        pairs[key.strip()] = value.strip()
    return pairs


def head_settings(values: list[str] | None) -> dict[str, Any]:
    """Read head.KEY=VALUE settings; a value is JSON where it can be, else text."""
    settings: dict[str, Any] = {}
    for text in values or []:
        key, equals, value = text.partition("=")
        place, dot, name = key.strip().partition(".")
        if not equals or place != "head" or not dot or not name:
            raise TlfeatError(
                f"--set {text!r} cannot be read: wanted head.KEY=VALUE, as head.C=1."
            )
        try:
            settings[name] = json.loads(value)
        except json.JSONDecodeError:
            settings[name] = value
    return settings


def refuse_options(context: typer.Context, names: Sequence[str], why: str) -> None:
    """Refuse options that were given and mean nothing here."""
    for parameter in context.command.params:
        if parameter.name in names and was_given(context, str(parameter.name)):
            raise TlfeatError(f"{parameter.opts[0]} {why}")


def was_given(context: typer.Context, name: str) -> bool:
    """Say whether an option was typed."""
    source = context.get_parameter_source(name)
    return source is not None and source.name not in ("DEFAULT", "DEFAULT_MAP")
