"""`tlfeat explain`: where in a picture a linear head or top sees its class."""

import csv
import io
from pathlib import Path
from typing import Annotated

import typer

from tlfeat.where import Where
from tlfeat_cli.expand import expand
from tlfeat_cli.opening import chosen_run
from tlfeat_cli.options import MovedWeightsOpt, PicturesArg, QuietOpt, RunArg, picture_names
from tlfeat_cli.terminal import TerminalWatch, complain, say

MAPS = "maps.csv"


@expand(where=("cache", "reports", "engine", "jobs"))
def explain(
    run: RunArg,
    pictures: PicturesArg,
    out: Annotated[
        Path, typer.Option(metavar="DIR", help="Where the maps go: a new or an empty folder.")
    ],
    label: Annotated[
        str | None,
        typer.Option(
            "--class", metavar="NAME", help="The class to look for.  [default: the predicted one]"
        ),
    ] = None,
    weights: MovedWeightsOpt = None,
    where: Where = Where(),
    quiet: QuietOpt = False,
) -> None:
    """Show where a linear head sees a class: maps whose mean, with the bias, is the logit."""
    watch = TerminalWatch(quiet)
    watch.doing(f"loading {run}")
    from tlfeat.deploy.explain import draw_explanation
    from tlfeat.deploy.explain import explain as explain_pictures
    from tlfeat.errors import TlfeatError
    from tlfeat.files import write_bytes, write_text

    if out.exists() and (not out.is_dir() or any(out.iterdir())):
        raise TlfeatError(f"{out} is there already and not empty: name a new folder with --out.")
    chosen = chosen_run(run, where, watch)
    table = io.StringIO()
    writer = csv.writer(table, lineterminator="\n")
    writer.writerow(["id", "map", "class", "predicted", "logit", "bias", "reason"])
    drawn_maps = unused = 0
    for number, one in enumerate(
        explain_pictures(
            chosen,
            picture_names(pictures),
            label=label,
            weights=weights,
            engine=where.engine,
            cache=where.cache,
            jobs=where.jobs,
            watch=watch,
        )
    ):
        if one.reason:
            unused += 1
            writer.writerow([one.id, "", "", "", "", "", one.reason])
            continue
        name = f"{number:05}.png"
        file = io.BytesIO()
        draw_explanation(one).save(file, "PNG")
        write_bytes(out / name, file.getvalue())
        numbers = [f"{one.logit:.6g}", f"{one.bias:.6g}"]
        writer.writerow([one.id, name, one.label, one.predicted, *numbers, ""])
        drawn_maps += 1
    write_text(out / MAPS, table.getvalue())
    say(f"{drawn_maps:,} maps: {out}; {out / MAPS} says which is of which picture.")
    if unused:
        complain(f"{unused:,} pictures cannot be used: `reason` says why.")
        raise typer.Exit(1)
