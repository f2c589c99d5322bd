"""`tlfeat runs`: the finished runs."""

from typing import TYPE_CHECKING, Annotated

import typer

from tlfeat_cli.options import JsonOpt, ReportsOpt
from tlfeat_cli.terminal import complain, print_json, print_table, say

if TYPE_CHECKING:
    from tlfeat.runs.record import Run


def runs(
    study: Annotated[
        str | None,
        typer.Argument(
            metavar="[STUDY]", help="A study's folder or name.  [default: all studies]"
        ),
    ] = None,
    reports: ReportsOpt = None,
    as_json: JsonOpt = False,
) -> None:
    """List the finished runs, best by validation first in each study."""
    from tlfeat.errors import TlfeatError
    from tlfeat.places import reports_folder
    from tlfeat.runs.find import find_study_folder, study_folders
    from tlfeat.runs.ranking import rank
    from tlfeat.runs.record import scan_runs

    folders = study_folders(reports) if study is None else [find_study_folder(study, reports)]
    scanned = {folder: scan_runs(folder) for folder in folders}
    found = {
        folder: [run for line in rank(runs.runs) for run in line.seeds]
        for folder, runs in scanned.items()
    }
    for runs in scanned.values():
        for why in runs.damaged.values():
            complain(why)
    if as_json:
        print_json([{"path": str(r.path), **r.record} for mine in found.values() for r in mine])
        return
    if not found:
        raise TlfeatError(
            f"There is no finished run in {reports_folder(reports)}: `tlfeat train` makes one."
        )
    for folder, mine in found.items():
        say(str(folder), style="bold")
        _print(mine)
        say()
    say(
        "`tlfeat predict RUN PICTURES...` takes a run's name, or a study's for its best by "
        "validation. A run's folder: STUDY/runs/RUN.",
        style="dim",
    )


def _print(found: "list[Run]") -> None:
    from tlfeat.runs.results import Column

    def accuracy(title: str, split: str) -> Column:
        values = [run.metrics.get(split, {}).get("accuracy") for run in found]
        return Column(title, ["-" if value is None else f"{100 * value:.1f}" for value in values])

    made = [run.record["created"][:16].replace("T", " ") for run in found]
    trained = [f"{run.record['n_train']:,}" for run in found]
    print_table(
        [
            Column("run", [run.path.name for run in found], is_number=False),
            accuracy("val %", "validation"),
            accuracy("test %", "test"),
            Column("trained on", trained, drop=1),
            Column("made", made, is_number=False, drop=2),
        ]
    )
