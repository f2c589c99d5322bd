"""`tlfeat studies`: the studies that come with tlfeat; and running one for `tlfeat compare`."""

import json
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from tlfeat.where import Where
from tlfeat_cli.following import prediction
from tlfeat_cli.opening import opened
from tlfeat_cli.options import JsonOpt, refuse_options, was_given
from tlfeat_cli.terminal import TerminalWatch, end, print_json, print_table, say, suggest, tell

if TYPE_CHECKING:
    from tlfeat.runs.ranked import RankedRun
    from tlfeat.studies.run import StudyResult

# What `compare` takes beside a study; everything else is said in its file.
_OF_STUDIES = (
    *("target", "data", "quick", "settings", "seed", "limit", "groups", "split_seed", "cache"),
    *(
        "reports",
        "name",
        "jobs",
        "cluster",
        "engine",
        "rehash",
        "retry_failed",
        "into",
        "as_json",
        "quiet",
    ),
)
_KEYS = {"seed": "defaults.seed"} | {
    name: f"data.{name}" for name in ("limit", "groups", "split_seed")
}


def studies(
    name: Annotated[str | None, typer.Argument(help="Print this study's file.")] = None,
    as_json: JsonOpt = False,
) -> None:
    """List the studies that come with tlfeat, or print the file of one."""
    from tlfeat.runs.results import Column
    from tlfeat.studies.builtin import get_study, list_studies

    if name is not None:
        found = get_study(name)
        text = found.path.read_text(encoding="utf-8")
        if as_json:
            print_json({"name": found.name, "summary": found.summary, "file": text})
        else:
            print(text, end="")
        return
    rows = list_studies()
    if as_json:
        print_json([{"name": row.name, "summary": row.summary, "data": row.data} for row in rows])
        return
    print_table(
        [
            Column("name", [row.name for row in rows], is_number=False),
            Column("pictures", [row.data for row in rows], is_number=False),
            Column("what it asks", [row.summary for row in rows], is_number=False),
        ]
    )
    say("`tlfeat compare NAME --data PATH` runs one; add --quick for a small one.", style="dim")


def run_study_file(
    path: Path,
    context: typer.Context,
    *,
    data: str | None,
    quick: bool,
    settings: Sequence[str],
    where: Where,
    rehash: bool,
    retry_failed: bool,
    into: Path | None,
    as_json: bool,
    quiet: bool,
) -> None:
    """Run a study, print its table and where the rest is."""
    others = [str(p.name) for p in context.command.params if p.name not in _OF_STUDIES]
    refuse_options(
        context,
        others,
        "is said in the study's file: --set defaults.KEY=VALUE or run.NAME.KEY=VALUE changes it.",
    )
    watch = TerminalWatch(quiet)
    where = replace(where, watch=watch)
    watch.doing(f"reading {path.name}")
    from tlfeat.runs.results import write_into
    from tlfeat.studies.plan import read_study
    from tlfeat.studies.run import as_json as plain
    from tlfeat.studies.run import check_weights, open_data, run_study

    given = [
        f"{key}={json.dumps(context.params[option])}"
        for option, key in _KEYS.items()
        if was_given(context, option)
    ]
    study = read_study(path, quick=quick, settings=[*given, *settings], data=data)
    for change in study.changes:
        watch.note(f"Changed: {change}")
    for run, reason in study.left_out.items():
        watch.note(f"Left out: {run}, as {reason}.")
    check_weights(study)
    dataset = opened(watch, lambda told: open_data(study, where, rehash=rehash, progress=told))
    result = run_study(
        study,
        dataset,
        retry_failed=retry_failed,
        on_ranked=None if as_json else _print_table,
        **vars(where),
    )
    if into is not None:
        write_into(into, result.runs)
    if as_json:
        print_json(plain(result))
    else:
        _print_pages(result)
        suggest(prediction(_ranked(result)[0], dataset, where), quiet)
    end({run: why for run, why in result.refused.items() if run not in study.left_out})


def _ranked(result: "StudyResult") -> "list[RankedRun]":
    from tlfeat.runs.ranking import rank

    return rank(result.runs, metric=result.metric)


def _print_table(result: "StudyResult") -> None:
    """Print what was ranked and what won, while the pages are drawn."""
    from tlfeat.runs.labels import full_names, relabelled, run_labels
    from tlfeat.runs.results import RESULTS_CSV, best_rows, leaderboard

    ranked = _ranked(result)
    table, csv = leaderboard(ranked), result.folder / RESULTS_CSV
    print_table(table, best_rows(ranked), kept_in=str(csv))
    say()
    words = relabelled(result.paragraph, run_labels(ranked))
    tell(f"{words} {full_names(ranked)}".rstrip())
    for line in result.stand_ins:
        tell(f"- {line}")


def _print_pages(result: "StudyResult") -> None:
    """Print what was found of the pictures, and where the pages are."""
    from tlfeat.audit.kept import known_of
    from tlfeat.report.page import INDEX

    for found in known_of([result.folder], result.runs[0].dataset.fingerprint):
        tell(f"! {found}")
    say(f"Tables and figures: {result.page}")
    say(f"Report: {result.folder / INDEX}")
