"""`tlfeat audit`: what is wrong with a dataset, and what it costs."""

from dataclasses import replace
from pathlib import Path
from typing import Annotated

import typer

from tlfeat.data.names import location
from tlfeat.features.settings import FeatureSettings
from tlfeat.where import Where
from tlfeat_cli.expand import expand
from tlfeat_cli.opening import DataOptions
from tlfeat_cli.options import DataArg, JsonOpt, QuietOpt
from tlfeat_cli.terminal import TerminalWatch, complain, print_json, print_table, say, tell


@expand(settings=("backbone", "weights", "size", "resize", "precision", "dtype", "seed"))
def audit(
    dataset: DataArg,
    settings: FeatureSettings = FeatureSettings(),
    options: DataOptions = DataOptions(),
    write_clean: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE.csv",
            help="Write a table of the pictures without copies, leaks and blank ones; commands "
            "take it as DATA. No picture is changed.",
        ),
    ] = None,
    where: Where = Where(),
    as_json: JsonOpt = False,
    quiet: QuietOpt = False,
) -> None:
    """Find copies, leaks, doubtful labels and odd pictures, and what they cost."""
    where = replace(where, watch=TerminalWatch(quiet))
    where.watch.doing(f"reading {location(dataset)}")
    from tlfeat.audit.audit import audit_dataset
    from tlfeat.audit.clean import check_table
    from tlfeat.audit.clean import write_clean as write_table
    from tlfeat.report.audit_page import FINDINGS, write_audit
    from tlfeat.report.audit_words import as_plain, cost_columns, finding_columns, headlines

    opened = options.open(dataset, where)
    if write_clean is not None:
        check_table(opened, write_clean)
    found = audit_dataset(opened, settings, **vars(where))
    page = write_audit(found, **vars(where))
    cleaned = None if write_clean is None else write_table(found, write_clean)
    if as_json:
        table = None if cleaned is None else cleaned._asdict()
        print_json({**as_plain(found), "report": str(page), "clean": table})
        return
    for line in headlines(found):
        tell(line)
    if not found.findings:
        say("Nothing was found.")
    else:
        say()
        print_table(finding_columns(found), kept_in=str(page.with_name(FINDINGS)))
    if found.costs:
        say("\nWhat leaks cost on test:")
        print_table(cost_columns(found))
    for note in found.notes:
        tell(f"- {note}")
    say(f"\nReport: {page}")
    if cleaned is not None:
        dropped = ", ".join(f"{n:,} {why}" for why, n in cleaned.left_out.items())
        say(f"{write_clean}: {cleaned.kept:,} pictures; left out: {dropped or 'none'}.")
        for name in cleaned.emptied:
            complain(f"{name} has no train picture left: all were copies of held-out ones.")
