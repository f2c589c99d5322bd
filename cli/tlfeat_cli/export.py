"""`tlfeat export`: a run as one file, from pixels to probabilities."""

import shlex
from pathlib import Path
from typing import Annotated

import typer

from tlfeat.where import Where
from tlfeat_cli.expand import expand
from tlfeat_cli.opening import chosen_run
from tlfeat_cli.options import JsonOpt, MovedWeightsOpt, QuietOpt, RunArg
from tlfeat_cli.terminal import TerminalWatch, print_json, say, suggest, tell


@expand(where=("cache", "reports", "jobs"))
def export(
    run: RunArg,
    format: Annotated[
        str,
        typer.Option(
            metavar="NAME", help="onnx, openvino, keras, savedmodel or litert; see docs/export.md."
        ),
    ],
    out: Annotated[
        Path | None,
        typer.Option(metavar="DIR", help="A new folder.  [default: export/FORMAT in the run's]"),
    ] = None,
    precision: Annotated[
        str,
        typer.Option(
            metavar="float32|float16|int8",
            help="Of the weights in the file: float16 for openvino and litert, int8 for litert.",
        ),
    ] = "float32",
    data: Annotated[
        str | None,
        typer.Option(metavar="DATA", help="Where the run's pictures are, if they were moved."),
    ] = None,
    weights: MovedWeightsOpt = None,
    where: Where = Where(),
    as_json: JsonOpt = False,
    quiet: QuietOpt = False,
) -> None:
    """Write a run as one file that gives the same answers without tlfeat, and compare the two."""
    watch = TerminalWatch(quiet)
    watch.doing(f"loading {run}")
    from tlfeat.deploy.export import export as export_run
    from tlfeat.deploy.exported_model import SCRIPT

    chosen = chosen_run(run, where, watch)
    done = export_run(
        chosen,
        format,
        out=out,
        precision=precision,
        dataset=data,
        weights=weights,
        cache=where.cache,
        jobs=where.jobs,
        watch=watch,
    )
    if as_json:
        print_json(done.as_dict())
        return
    tell(done.parity.sentence(precision))
    say(f"Model: {done.model}")
    say(f"Without tlfeat: python {shlex.quote(str(done.folder / SCRIPT))} PICTURE...")
    suggest(["tlfeat", "predict", str(done.folder), data or chosen.dataset.source], quiet)
