"""`tlfeat report`: one page of one study, or of several."""

from pathlib import Path
from typing import Annotated

import typer

from tlfeat.where import Where
from tlfeat_cli.expand import expand
from tlfeat_cli.following import opening
from tlfeat_cli.options import JsonOpt, QuietOpt
from tlfeat_cli.terminal import TerminalWatch, print_json, say, suggest


@expand(where=("cache",))
def report(
    studies: Annotated[
        list[Path],
        typer.Argument(metavar="STUDY_DIR...", help="Folders that `tlfeat compare` printed."),
    ],
    out: Annotated[
        Path | None,
        typer.Option(
            metavar="DIR", help="Folder of the report.  [default: the study's, if it is one]"
        ),
    ] = None,
    where: Where = Where(),
    as_json: JsonOpt = False,
    quiet: QuietOpt = False,
) -> None:
    """Write the report of finished runs: one page, its figures and tables."""
    watch = TerminalWatch(quiet)
    watch.doing("writing the report")
    from tlfeat.report.merge import write_report

    page = write_report(studies, out, cache=where.cache, watch=watch)
    if as_json:
        print_json({"page": str(page), "folder": str(page.parent)})
        return
    say(f"Report: {page}")
    suggest(opening(page), quiet)
