"""`tlfeat doctor`: whether this machine can do the work, and what to do if not."""

from dataclasses import replace

import typer

from tlfeat.where import Where
from tlfeat_cli.expand import expand
from tlfeat_cli.options import JsonOpt, QuietOpt
from tlfeat_cli.terminal import TerminalWatch, print_json, print_table, say, tell

_MARKS = {"good": "ok", "note": "note", "bad": "WRONG"}


@expand(where=("cache", "reports"))
def doctor(where: Where = Where(), as_json: JsonOpt = False, quiet: QuietOpt = False) -> None:
    """Look at versions, engines and their numbers, decoders, room and the store."""
    where = replace(where, watch=TerminalWatch(quiet))
    where.watch.doing("looking at this machine")
    from tlfeat.features.doctor import check_machine
    from tlfeat.runs.results import Column

    points = list(check_machine(**vars(where)))
    wrong = [point for point in points if point.state == "bad"]
    if as_json:
        print_json([point._asdict() for point in points])
    else:
        print_table(
            [
                Column("", [_MARKS[point.state] for point in points], is_number=False),
                Column("what", [point.what for point in points], is_number=False),
                Column("found", [point.found for point in points], is_number=False),
            ],
            best={i for i, point in enumerate(points) if point.state == "bad"},
        )
        say()
        for point in points:
            if point.advice:
                tell(f"- {point.what}: {point.advice}")
        if not any(point.advice for point in points):
            say("Nothing is to be done.")
    if wrong:
        raise typer.Exit(1)
