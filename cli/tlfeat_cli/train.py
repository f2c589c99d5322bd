"""`tlfeat train`: one head on frozen features."""

from collections.abc import Iterator, Mapping
from dataclasses import replace
from typing import TYPE_CHECKING, Annotated

import typer

from tlfeat.data.names import location
from tlfeat.features.settings import FeatureSettings
from tlfeat.where import Where
from tlfeat_cli.expand import expand
from tlfeat_cli.following import prediction
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
from tlfeat_cli.terminal import TerminalWatch, print_json, print_table, say, suggest, tell

if TYPE_CHECKING:
    from tlfeat.runs.record import Run


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
    where.watch.doing(f"reading {location(dataset)}")
    from tlfeat.runs.ranking import rank
    from tlfeat.runs.results import leaderboard, remarks
    from tlfeat.studies.train import train as train_run

    opened = options.open(dataset, where)
    run = train_run(
        opened,
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
    print_table(leaderboard(rank([run])), kept_in=str(run.path))
    chosen = ", ".join(_chosen(run))
    if chosen:
        tell(f"Chosen: {chosen}.")
    for remark in remarks(rank([run])):
        tell(f"- {remark}")
    say(f"Run: {run.path}")
    suggest(prediction(run, opened, where), quiet)


def _chosen(run: "Run") -> Iterator[str]:
    """Say what a run chose on held rows: its features, its settings, its members."""
    if run.auto is not None:
        yield f"features {run.features}"
    for key, value in run.head_settings.chosen.items():
        if isinstance(value, Mapping):
            yield from (f"{weight:.2f} {member}" for member, weight in value.items())
        else:
            yield f"{key} = {value}"
