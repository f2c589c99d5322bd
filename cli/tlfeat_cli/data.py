"""`tlfeat data`: what was understood of a dataset, before anything is computed on it."""

from typing import Annotated

import typer

from tlfeat_cli.options import (
    CacheOpt,
    ColumnsOpt,
    DataArg,
    JobsOpt,
    JsonOpt,
    LimitOpt,
    QuietOpt,
    RehashOpt,
    SplitSeedOpt,
    SplitsOpt,
)
from tlfeat_cli.terminal import TerminalWatch, print_json, print_table, say

SHOWN = 20  # broken pictures that are named; --json names them all


def data(
    dataset: DataArg,
    splits: SplitsOpt = None,
    columns: ColumnsOpt = None,
    split_seed: SplitSeedOpt = 0,
    limit: LimitOpt = None,
    rehash: RehashOpt = False,
    check: Annotated[
        bool, typer.Option("--check/--no-check", help="Decode every picture to find broken ones.")
    ] = True,
    cache: CacheOpt = None,
    jobs: JobsOpt = None,
    as_json: JsonOpt = False,
    quiet: QuietOpt = False,
) -> None:
    """Show what was understood of a dataset: classes, counts, splits, problems."""
    from tlfeat.data.broken import find_broken
    from tlfeat.runs.results import Column
    from tlfeat_cli.opening import open_data

    watch = TerminalWatch(quiet)
    table = open_data(dataset, cache, watch, splits, columns, split_seed, limit, rehash)
    broken = list(table.skipped)
    if check:
        broken += find_broken(table, jobs=jobs, watch=watch)
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
    say(f"{table.name}: {len(table):,} pictures, {len(table.classes)} classes ({table.kind})")
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
        print_table(columns_, best=len(table.classes))
    for note in table.notes:
        say(f"- {note}")
    if broken:
        say(f"\n{len(broken)} pictures cannot be used and are left out:")
        for one in broken[:SHOWN]:
            say(f"- {one.id}: {one.reason}")
        if len(broken) > SHOWN:
            say(f"- and {len(broken) - SHOWN} more; --json names them all")
    elif check:
        say("\nEvery picture can be decoded.")
