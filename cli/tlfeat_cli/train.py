"""`tlfeat train`: one head on frozen features."""

from dataclasses import replace
from typing import Annotated

import typer

from tlfeat.features.settings import FeatureSettings
from tlfeat.where import Where
from tlfeat_cli.expand import expand
from tlfeat_cli.opening import DataOptions
from tlfeat_cli.options import (
    ClassWeightOpt,
    DataArg,
    JsonOpt,
    MetricOpt,
    QuietOpt,
    RefitOpt,
    SearchOpt,
    SetOpt,
    head_settings,
)
from tlfeat_cli.terminal import TerminalWatch, print_json, print_table, say


@expand()
def train(
    dataset: DataArg,
    matrix: FeatureSettings = FeatureSettings(),
    head: Annotated[str, typer.Option(help="The head.")] = "logistic",
    settings: SetOpt = None,
    search: SearchOpt = True,
    class_weight: ClassWeightOpt = None,
    refit: RefitOpt = False,
    metric: MetricOpt = None,
    options: DataOptions = DataOptions(),
    where: Where = Where(),
    as_json: JsonOpt = False,
    quiet: QuietOpt = False,
) -> None:
    """Train one head on frozen features and keep the run."""
    where = replace(where, watch=TerminalWatch(quiet))
    where.watch.doing(f"reading {dataset}")
    from tlfeat.runs.ranking import rank
    from tlfeat.runs.results import leaderboard, remarks
    from tlfeat.studies.train import train as train_run

    run = train_run(
        options.open(dataset, where),
        matrix,
        head,
        params=head_settings(settings),
        search=search,
        class_weight=class_weight,
        refit=refit,
        metric=metric,
        **vars(where),
    )
    if as_json:
        print_json({"path": str(run.path), **run.record})
        return
    print_table(leaderboard(rank([run])))
    chosen = ", ".join(f"{key} = {value}" for key, value in run.head_settings.chosen.items())
    if chosen:
        say(f"Chosen: {chosen}.")
    for remark in remarks(rank([run])):
        say(f"- {remark}")
    say(f"Run: {run.path}")
