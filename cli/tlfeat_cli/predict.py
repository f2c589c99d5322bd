"""`tlfeat predict`: labels for new pictures, from a finished run."""

import csv
import json
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated

import typer

from tlfeat_cli.options import CacheOpt, EngineOpt, JobsOpt, JsonOpt, QuietOpt
from tlfeat_cli.terminal import TerminalWatch


def predict(
    run: Annotated[Path, typer.Argument(metavar="RUN_DIR", help="A run's folder.")],
    pictures: Annotated[
        list[str],
        typer.Argument(
            metavar="PICTURES...",
            help="Files, folders, tables, archives, or - for a list on stdin.",
        ),
    ],
    top: Annotated[int, typer.Option(min=1, metavar="K", help="How many classes to name.")] = 1,
    weights: Annotated[
        str | None,
        typer.Option(metavar="FILE", help="Where the run's weights are, if they were moved."),
    ] = None,
    engine: EngineOpt = "auto",
    cache: CacheOpt = None,
    jobs: JobsOpt = None,
    as_json: JsonOpt = False,
    quiet: QuietOpt = False,
) -> None:
    """Predict pictures with a finished run: CSV on stdout, or JSON lines with --json."""
    from tlfeat.deploy.predict import as_json as to_json
    from tlfeat.deploy.predict import predict as predict_pictures
    from tlfeat.runs.record import load_run

    found = predict_pictures(
        load_run(run),
        _names(pictures),
        top=top,
        weights=weights,
        engine=engine,
        cache=cache,
        jobs=jobs,
        watch=TerminalWatch(quiet),
    )
    if as_json:
        for one in found:
            print(json.dumps(to_json(one), ensure_ascii=True), flush=True)
        return
    sys.stdout.reconfigure(errors="backslashreplace")  # type: ignore[union-attr]
    writer = csv.writer(sys.stdout, lineterminator="\n")
    more = [f"{what}_{rank}" for rank in range(2, top + 1) for what in ("label", "score")]
    writer.writerow(["id", "label", "score", *more, "reason"])
    for one in found:
        cells = [cell for label, score in one.top for cell in (label, f"{score:.6g}")]
        cells += [""] * (2 * top - len(cells))
        writer.writerow([one.id, *cells, one.reason])


def _names(pictures: list[str]) -> Iterator[str]:
    for name in pictures:
        if name == "-":
            yield from (line.rstrip("\r\n") for line in sys.stdin if line.strip())
        else:
            yield name
