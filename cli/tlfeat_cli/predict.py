"""`tlfeat predict`: labels for new pictures, from a finished run."""

import csv
import json
import sys
from collections.abc import Iterator
from itertools import chain
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from tlfeat.where import Where
from tlfeat_cli.expand import expand
from tlfeat_cli.options import (
    JsonOpt,
    MovedWeightsOpt,
    PicturesArg,
    QuietOpt,
    RunArg,
    picture_names,
)
from tlfeat_cli.terminal import TerminalWatch, complain, settle

if TYPE_CHECKING:
    from tlfeat.deploy.predict import Prediction


@expand(where=("cache", "reports", "engine", "jobs"))
def predict(
    run: RunArg,
    pictures: PicturesArg,
    top: Annotated[int, typer.Option(min=1, metavar="K", help="How many classes to name.")] = 1,
    weights: MovedWeightsOpt = None,
    where: Where = Where(),
    as_json: JsonOpt = False,
    quiet: QuietOpt = False,
) -> None:
    """Predict pictures with a finished run: CSV on stdout, or JSON lines with --json."""
    watch = TerminalWatch(quiet)
    watch.doing(f"loading {run}")
    from tlfeat.data.names import be, counted
    from tlfeat.deploy.predict import predict as predict_pictures
    from tlfeat.runs.find import find_run

    chosen = find_run(run, where.reports)
    if chosen.path != Path(run):
        watch.note(f"Run: {chosen.path}")
    found = predict_pictures(
        chosen,
        picture_names(pictures),
        top=top,
        weights=weights,
        engine=where.engine,
        cache=where.cache,
        jobs=where.jobs,
        watch=watch,
    )
    done = unlabelled = 0
    for one in _printed(found, top, as_json):
        done += 1
        unlabelled += one.label is None
    if unlabelled:
        complain(
            f"{unlabelled:,} of {counted(done, 'picture')} {be(unlabelled, 'has', 'have')} no "
            "label: `reason` says why."
        )
        raise typer.Exit(1)


def _printed(found: "Iterator[Prediction]", top: int, as_json: bool) -> "Iterator[Prediction]":
    """Print each prediction, then pass it on."""
    from tlfeat.deploy.predict import as_json as to_json

    if as_json:
        for one in found:
            settle()
            print(json.dumps(to_json(one), ensure_ascii=True), flush=True)
            yield one
        return
    first = next(found, None)  # a mistake is answered before anything is printed
    settle()
    if first is None:
        return
    sys.stdout.reconfigure(errors="backslashreplace")  # type: ignore[union-attr]
    writer = csv.writer(sys.stdout, lineterminator="\n")
    kind = first.score_kind
    more = [f"{what}_{rank}" for rank in range(2, top + 1) for what in ("label", kind)]
    writer.writerow(["id", "label", kind, *more, "reason"])
    for one in chain([first], found):
        cells = [cell for label, score in one.top for cell in (label, f"{score:.6g}")]
        cells += [""] * (2 * top - len(cells))
        writer.writerow([one.id, *cells, one.reason])
        yield one
