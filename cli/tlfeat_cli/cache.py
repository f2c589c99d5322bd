"""`tlfeat cache`: what the feature store holds, whether it is sound, and making room."""

import re
import time
from dataclasses import replace
from typing import Annotated

import typer

from tlfeat.where import Where
from tlfeat_cli.expand import expand
from tlfeat_cli.opening import DataOptions
from tlfeat_cli.options import JsonOpt, QuietOpt
from tlfeat_cli.terminal import TerminalWatch, print_json, print_table, say, tell

app = typer.Typer(help="Look at, verify and prune the feature store.", no_args_is_help=True)

_SECONDS = {"h": 3600, "d": 86400, "w": 7 * 86400}
_BYTES = {"k": 10**3, "m": 10**6, "g": 10**9, "t": 10**12}


@app.command("path")
@expand(where=("cache",))
def path(where: Where = Where()) -> None:
    """Print the folder of the feature store."""
    print(where.cache_folder.absolute())


@app.command("ls")
@expand(where=("cache",))
def ls(where: Where = Where(), as_json: JsonOpt = False) -> None:
    """List entries and exported networks, the longest unused first."""
    from tlfeat.features.cache import list_cache
    from tlfeat.runs.results import Column

    items = list_cache(where.cache)
    if as_json:
        print_json(
            [
                {
                    "kind": item.kind,
                    "name": item.name,
                    "rows": item.rows,
                    "bytes": item.bytes,
                    "last_used": item.last_used,
                    "problem": item.problem,
                }
                for item in items
            ]
        )
        return
    if not items:
        say(f"{where.cache_folder} holds nothing yet.")
        return
    print_table(
        [
            Column("name", [item.name for item in items], is_number=False),
            Column("kind", [item.kind for item in items], is_number=False, drop=1),
            Column("rows", ["-" if item.rows is None else f"{item.rows:,}" for item in items]),
            Column("MB", [f"{item.bytes / 1e6:,.1f}" for item in items]),
            Column("last used", [_day(item.last_used) for item in items], is_number=False, drop=2),
        ]
    )
    for item in items:
        if item.problem:
            tell(f"- {item.name}: {item.problem}")
    say(f"{sum(item.bytes for item in items) / 1e6:,.1f} MB in {where.cache_folder}", style="dim")


@app.command("verify")
@expand(where=("cache",))
def verify(
    data: Annotated[
        str | None,
        typer.Argument(
            metavar="[DATA]", help="With --reextract: a dataset that has the pictures."
        ),
    ] = None,
    reextract: Annotated[
        int | None,
        typer.Option(min=1, metavar="N", help="Also embed N random rows of each entry again."),
    ] = None,
    weights: Annotated[
        str | None,
        typer.Option(metavar="FILE", help="With --reextract: the weight file of the entries."),
    ] = None,
    where: Where = Where(),
    quiet: QuietOpt = False,
) -> None:
    """Check every stored row against its checksum; exit 1 if one does not match."""
    watch = TerminalWatch(quiet)
    watch.doing("opening the store")
    from tlfeat.errors import StoreError, TlfeatError
    from tlfeat.features.cache import verify_cache
    from tlfeat.features.reextract import reextract as embed_again

    if (reextract is None) != (data is None):
        raise TlfeatError("--reextract N and DATA go together: give both, or neither.")
    dataset = DataOptions().open(data, replace(where, watch=watch)) if data else None
    sound = True
    for result in verify_cache(where.cache, watch=watch):
        bad = f"{len(result.bad_rows)} of {result.rows:,} rows do not match their checksum"
        verdict = f"{result.rows:,} rows sound" if result.sound else result.problem or bad
        tell(f"{result.name}: {verdict}")
        sound &= result.sound
        if result.sound and dataset is not None and reextract is not None:
            try:
                again = embed_again(result.name, dataset, reextract, weights=weights, where=where)
            except StoreError as error:
                say(f"  {error}")
                continue
            verdict = "equal" if again.equal else "DIFFERENT"
            say(f"  {again.rows} rows embedded again: {verdict}, at most {again.worst:.1e} apart")
            sound &= again.equal
    if not sound:
        tell("What is damaged is set aside and embedded again by the next command that needs it.")
        raise typer.Exit(1)


@app.command("prune")
@expand(where=("cache",))
def prune(
    names: Annotated[
        list[str] | None, typer.Argument(metavar="[NAME]...", help="Entries; wildcards allowed.")
    ] = None,
    unused_for: Annotated[
        str | None,
        typer.Option(metavar="30d", help="Whatever was not used for so long (h, d, w)."),
    ] = None,
    max_size: Annotated[
        str | None,
        typer.Option(metavar="10GB", help="The longest unused, until the rest fits (MB, GB)."),
    ] = None,
    damaged: Annotated[
        bool, typer.Option("--damaged", help="What was set aside as damaged, or left over.")
    ] = False,
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Do not ask.")] = False,
    where: Where = Where(),
    quiet: QuietOpt = False,
) -> None:
    """Delete entries by name, age or total size; shows them and asks first."""
    from tlfeat.errors import TlfeatError
    from tlfeat.features.cache import list_cache, prune_cache
    from tlfeat.features.maintenance import plan_prune

    if not (names or unused_for or max_size or damaged):
        raise TlfeatError(
            "Say what to prune: a name, --unused-for 30d, --max-size 10GB or --damaged."
        )
    plan = plan_prune(
        list_cache(where.cache),
        names=names or (),
        unused_for=_amount(unused_for, _SECONDS, "--unused-for", "30d"),
        max_bytes=None
        if max_size is None
        else int(_amount(max_size, _BYTES, "--max-size", "10GB") or 0),
        leftovers=damaged,
    )
    if not plan:
        say("Nothing to prune.")
        return
    for item in plan:
        say(f"{item.name}  {item.bytes / 1e6:,.1f} MB, last used {_day(item.last_used)}")
    total = sum(item.bytes for item in plan) / 1e6
    if not yes:
        typer.confirm(f"Delete these {len(plan)}, {total:,.1f} MB?", abort=True)
    done = prune_cache(plan, watch=TerminalWatch(quiet))
    for one in done:
        if one.kept:
            tell(f"{one.item.name} was kept: {one.kept}")
    freed = sum(one.item.bytes for one in done if not one.kept) / 1e6
    say(f"Deleted {sum(not one.kept for one in done)}, {freed:,.1f} MB.")


def _amount(text: str | None, units: dict[str, int], option: str, example: str) -> float | None:
    from tlfeat.errors import TlfeatError

    if text is None:
        return None
    read = re.fullmatch(r"\s*(\d+(?:\.\d+)?)\s*([a-z])b?\s*", text.lower())
    if read is None or read[2] not in units:
        raise TlfeatError(
            f"{option} {text!r} cannot be read: wanted a number and one of "
            f"{', '.join(units)}, such as {example}."
        )
    return float(read[1]) * units[read[2]]


def _day(seconds: float) -> str:
    return time.strftime("%Y-%m-%d %H:%M", time.localtime(seconds)) if seconds else "never"
