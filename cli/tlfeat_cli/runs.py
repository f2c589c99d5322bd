"""`tlfeat runs`: the finished runs."""

from typing import TYPE_CHECKING, Annotated

import typer

from tlfeat.where import Where
from tlfeat_cli.expand import expand
from tlfeat_cli.options import JsonOpt
from tlfeat_cli.terminal import complain, print_json, print_table, say, tell

if TYPE_CHECKING:
    from tlfeat.runs.ranked import RankedRun


@expand(where=("reports",))
def runs(
    study: Annotated[
        str | None,
        typer.Argument(
            metavar="[STUDY]", help="A study's folder or name.  [default: all studies]"
        ),
    ] = None,
    where: Where = Where(),
    as_json: JsonOpt = False,
) -> None:
    """List the finished runs, best by validation first in each study."""
    from tlfeat.errors import TlfeatError
    from tlfeat.runs.find import study_folders
    from tlfeat.runs.finished import open_study

    names = study_folders(where.reports) if study is None else [study]
    studies = [open_study(name, where.reports) for name in names]
    for one in studies:
        for why in one.damaged.values():
            complain(why)
    if as_json:
        every = (run for one in studies for line in one.runs for run in line.seeds)
        print_json([{"path": str(run.path), **run.record} for run in every])
        return
    if not any(one.runs for one in studies):
        raise TlfeatError(
            f"There is no finished run in {where.reports_folder}: `tlfeat train` makes one."
        )
    for one in studies:
        if not one.runs:
            continue
        say(str(one.folder), style="bold")
        _print(one.runs)
        say()
    tell(
        "val is on the pictures that all runs of the study were judged on, of several seeds "
        "their mean. `tlfeat predict RUN PICTURES...` takes a run's name, or a study's for its "
        "best. A run's folder: STUDY/runs/RUN.",
        style="dim",
    )


def _print(ranked: "list[RankedRun]") -> None:
    from tlfeat.runs.results import Column, place, validation_column

    rows = [(line, run) for line in ranked for run in line.seeds]
    test = [run.metrics.get("test", {}).get("accuracy") for _, run in rows]
    made = [run.created[:16].replace("T", " ") for _, run in rows]
    print_table(
        [
            Column("#", [place(line) for line, _ in rows]),
            Column("run", [run.path.name for _, run in rows], is_number=False),
            validation_column([line for line, _ in rows]),
            Column("test %", ["-" if one is None else f"{100 * one:.1f}" for one in test]),
            Column("trained on", [f"{run.n_train:,}" for _, run in rows], drop=1),
            Column("made", made, is_number=False, drop=2),
        ]
    )
