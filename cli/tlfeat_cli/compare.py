"""`tlfeat compare`: every head on every network's features, or a whole study, in one table."""

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from tlfeat.features.settings import AUTO, FeatureSettings
from tlfeat.heads.table import DEFAULT_HEADS
from tlfeat.where import Where
from tlfeat_cli.expand import expand
from tlfeat_cli.following import prediction
from tlfeat_cli.opening import DataOptions
from tlfeat_cli.options import (
    BackboneOpt,
    ClassWeightOpt,
    FeaturesOpt,
    HeadOpt,
    JsonOpt,
    MetricOpt,
    QuietOpt,
    RefitOpt,
    RetryOpt,
    SearchOpt,
    comma_list,
    head_settings,
    refuse_options,
)
from tlfeat_cli.studies import run_study_file
from tlfeat_cli.terminal import TerminalWatch, end, print_json, print_table, say, suggest, tell

if TYPE_CHECKING:
    from tlfeat.studies.compare import Comparison

_STUDY = "A study"


@expand()
def compare(
    context: typer.Context,
    target: Annotated[
        str,
        typer.Argument(
            metavar="[TARGET]",
            help="A study file (.toml), a folder of pictures or anything else that holds them, "
            "or a study of `tlfeat studies`.",
        ),
    ] = "digits",
    data: Annotated[
        str | None,
        typer.Option(
            metavar="PATH",
            help="The pictures, or a stand-in for them.",
            rich_help_panel=_STUDY,
        ),
    ] = None,
    quick: Annotated[
        bool,
        typer.Option("--quick", help="Use the file's section [quick].", rich_help_panel=_STUDY),
    ] = False,
    backbone: BackboneOpt = ["efficientnet-lite0"],  # noqa: B006 - Typer wants a list
    head: HeadOpt = [*DEFAULT_HEADS],  # noqa: B006
    features: FeaturesOpt = [AUTO],  # noqa: B006
    network: FeatureSettings = FeatureSettings(),
    settings: Annotated[
        list[str] | None,
        typer.Option(
            "--set",
            metavar="KEY=VALUE",
            help="Give a head's setting instead of searching it, head.C=1; or change a study by "
            "dotted key: data.KEY, defaults.KEY, run.NAME.KEY. May be repeated.",
            rich_help_panel="Heads",
        ),
    ] = None,
    search: SearchOpt = True,
    class_weight: ClassWeightOpt = None,
    refit: RefitOpt = False,
    metric: MetricOpt = None,
    seeds: Annotated[
        int,
        typer.Option(
            metavar="N",
            min=1,
            help="Repeat every run with N seeds, --seed and those after it, and show the spread.",
        ),
    ] = 1,
    shots: Annotated[
        list[str] | None,
        typer.Option(
            metavar="N,N,all",
            help="Also fit every head to so many train pictures a class, such as 5,10,20,50,all, "
            "and say what twice the pictures would bring. Nothing is embedded again.",
        ),
    ] = None,
    options: DataOptions = DataOptions(),
    retry_failed: RetryOpt = False,
    into: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE.md",
            help="Also write the results between the result_table markers of a Markdown file.",
        ),
    ] = None,
    where: Where = Where(),
    as_json: JsonOpt = False,
    quiet: QuietOpt = False,
) -> None:
    """Train every head on every network's features, or run a study, and compare in one table."""
    from tlfeat.studies.builtin import find_study

    study = find_study(target)
    if study is not None:
        refuse_options(
            context,
            ("shots",),
            f"is for heads on pictures, and {target} is a study: `tlfeat compare PICTURES --head "
            "X,Y --shots ...` draws the curves.",
        )
        run_study_file(
            study,
            context,
            data=data,
            quick=quick,
            settings=settings or [],
            where=where,
            rehash=options.rehash,
            retry_failed=retry_failed,
            into=into,
            as_json=as_json,
            quiet=quiet,
        )
        return
    refuse_options(context, ("data", "quick"), f"belongs to a study, and {target} is none.")
    where = replace(where, watch=TerminalWatch(quiet))
    where.watch.doing(f"reading {target}")
    from tlfeat.runs.results import write_into
    from tlfeat.studies.compare import compare as compare_heads

    backbones, heads, specs = comma_list(backbone), comma_list(head), comma_list(features)
    params = head_settings(settings)
    dataset = options.open(target, where)
    done = compare_heads(
        dataset,
        [replace(network, backbone=name) for name in backbones],
        heads,
        features=specs,
        params=params,
        search=search,
        class_weight=class_weight,
        refit=refit,
        metric=metric,
        seeds=seeds,
        shots=comma_list(shots) if shots else (),
        retry_failed=retry_failed,
        on_ranked=None if as_json else _print_table,
        **vars(where),
    )
    if into is not None:
        write_into(into, done.runs)
    if as_json:
        _print_json(done, bool(shots))
    else:
        if done.shots:
            _print_shots(done)
        _print_page(done)
        suggest(prediction(done.best, dataset, where), quiet)
    end(done.refused)


def _print_table(done: "Comparison") -> None:
    """Print what was ranked and what must be known of it, while the page is drawn."""
    from tlfeat.runs.results import RESULTS_CSV, best_rows, caption, leaderboard, remarks

    table = leaderboard(done.runs, done.beside)
    print_table(table, best_rows(done.runs), kept_in=str(done.folder / RESULTS_CSV))
    say()
    tell(caption(done.runs))
    for remark in remarks(done.runs, done.beside):
        tell(f"- {remark}")


def _print_json(done: "Comparison", with_shots: bool) -> None:
    """Print all of it for scripts."""
    from tlfeat.runs.shot_words import shot_values

    print_json(
        {
            "folder": str(done.folder),
            "runs": [
                {"path": str(run.path), "asked": line.name not in done.beside, **run.record}
                for line in done.runs
                for run in line.seeds
            ],
            "refused": done.refused,
            **({"shots": shot_values(done.shots)} if with_shots else {}),
        }
    )


def _print_shots(done: "Comparison") -> None:
    """Print what fewer train pictures give, and what twice as many would."""
    from tlfeat.runs.shot_words import (
        foretell,
        shot_caption,
        shot_labels,
        shot_sentences,
        shot_table,
    )

    told = foretell(done.shots, shot_labels(done.runs))
    say()
    print_table(shot_table(told))
    say()
    tell(shot_caption(told, done.runs))
    for sentence in shot_sentences(told):
        tell(f"- {sentence}")


def _print_page(done: "Comparison") -> None:
    """Print what was found of the pictures, and where the page is."""
    from tlfeat.audit.kept import known_of
    from tlfeat.report.page import INDEX

    for found in known_of([done.folder], done.runs[0].dataset.fingerprint):
        tell(f"! {found}")
    say(f"Report: {done.folder / INDEX}")
