"""`tlfeat data`: what was understood of a dataset, before anything is computed on it."""

from dataclasses import replace
from typing import TYPE_CHECKING, Annotated

import typer

from tlfeat.data.names import location
from tlfeat.where import Where
from tlfeat_cli.expand import expand
from tlfeat_cli.following import on_data
from tlfeat_cli.opening import DataOptions
from tlfeat_cli.options import DataArg, JsonOpt, QuietOpt
from tlfeat_cli.terminal import TerminalWatch, print_json, print_table, say, suggest, tell

if TYPE_CHECKING:
    from tlfeat.data.samples import Skipped

SHOWN = 20  # lines of broken pictures; --json names them all
_ALIKE = 4  # pictures from which a common reason is said once


@expand(where=("cache", "reports", "name", "jobs"))
def data(
    dataset: DataArg,
    options: DataOptions = DataOptions(),
    check: Annotated[
        bool, typer.Option("--check/--no-check", help="Decode every picture to find broken ones.")
    ] = True,
    where: Where = Where(),
    as_json: JsonOpt = False,
    quiet: QuietOpt = False,
) -> None:
    """Show what was understood of a dataset: classes, counts, splits, problems."""
    watch = TerminalWatch(quiet)
    watch.doing(f"reading {location(dataset)}")
    from tlfeat.data.broken import find_broken
    from tlfeat.data.names import be, counted
    from tlfeat.runs.results import Column

    table = options.open(dataset, replace(where, watch=watch))
    broken = list(table.skipped)
    if check:
        broken += find_broken(table, jobs=where.jobs, watch=watch)
    counts = table.counts()
    if as_json:
        print_json(
            {
                "name": table.name,
                "kind": table.kind,
                "classes": list(table.classes),
                "counts": counts,
                "unlabelled": table.unlabelled,
                "split_rule": table.split_rule,
                "fingerprint": table.fingerprint,
                "notes": list(table.notes),
                "broken": [{"id": one.id, "reason": one.reason} for one in broken],
            }
        )
        return
    found = f"{counted(len(table), 'picture')}, {counted(len(table.classes), 'class')}"
    say(f"{table.name}: {found} ({table.kind})")
    rule = "as the source has it" if table.split_rule == "source" else table.split_rule
    say(f"Split: {rule}." if counts else "No labels: for extract and predict only.")
    if counts:
        say()
        total = {split: sum(by_class.values()) for split, by_class in counts.items()}
        columns_ = [Column("class", [*table.classes, "all"], is_number=False)]
        columns_ += [
            Column(
                split,
                [*(f"{by_class[name]:,}" for name in table.classes), f"{total[split]:,}"],
            )
            for split, by_class in counts.items()
        ]
        print_table(columns_, best={len(table.classes)})
    for note in table.notes:
        tell(f"- {note}")
    if broken:
        n = len(broken)
        say(f"\n{counted(n, 'picture')} cannot be used and {be(n)} left out:")
        lines = _by_reason(broken)
        for line in lines[:SHOWN]:
            tell(f"- {line}")
        if len(lines) > SHOWN:
            say(f"- and {len(lines) - SHOWN} more; --json names them all")
    elif check:
        say("\nEvery picture can be decoded.")
    suggest(on_data("compare" if counts else "extract", dataset, options, where), quiet)


def _by_reason(broken: "list[Skipped]") -> list[str]:
    by_reason: dict[str, list[str]] = {}
    for one in broken:
        by_reason.setdefault(one.reason, []).append(one.id)
    lines = []
    for reason, ids in by_reason.items():
        if len(ids) < _ALIKE:
            lines += [f"{identity}: {reason}" for identity in ids]
        else:
            lines.append(f"{len(ids):,} pictures, such as {ids[0]}: {reason}")
    return lines
