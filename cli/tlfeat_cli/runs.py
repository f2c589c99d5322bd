"""`tlfeat runs`: the finished runs."""

from pathlib import Path
from typing import Annotated

import typer

from tlfeat_cli.options import JsonOpt, ReportsOpt
from tlfeat_cli.terminal import print_json, print_table, say


def runs(
    study: Annotated[
        Path | None,
        typer.Argument(metavar="[STUDY_DIR]", help="A study's folder.  [default: all studies]"),
    ] = None,
    reports: ReportsOpt = None,
    as_json: JsonOpt = False,
) -> None:
    """List the finished runs, best by validation first in each study."""
    from tlfeat.errors import TlfeatError
    from tlfeat.places import reports_folder
    from tlfeat.runs.record import find_runs
    from tlfeat.runs.results import Column, rank

    root = reports_folder(reports)
    studies = [study] if study else sorted(path.parent for path in root.glob("*/runs"))
    found = [(folder, run) for folder in studies for run in rank(find_runs(folder))]
    if as_json:
        print_json([{"path": str(run.path), **run.record} for _, run in found])
        return
    if not found:
        raise TlfeatError(
            f"There is no finished run in {study or root}: `tlfeat train` makes one."
        )

    def accuracy(split: str) -> Column:
        values = [run.metrics.get(split, {}).get("accuracy") for _, run in found]
        cells = ["-" if value is None else f"{100 * value:.1f}" for value in values]
        return Column(f"{split} %", cells)

    print_table(
        [
            Column("study", [folder.name for folder, _ in found], is_number=False),
            Column("run", [run.path.name for _, run in found], is_number=False),
            Column("trained on", [f"{run.record['n_train']:,}" for _, run in found]),
            accuracy("validation"),
            accuracy("test"),
            Column("made", [run.record["created"][:16] for _, run in found], is_number=False),
        ]
    )
    say(f"Folders: {(study or root / 'STUDY') / 'runs' / 'RUN'}", style="dim")
