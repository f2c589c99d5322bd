"""`tlfeat train`: one head on frozen features."""

from typing import Annotated

import typer

from tlfeat_cli.opening import open_data
from tlfeat_cli.options import (
    CacheOpt,
    ClassWeightOpt,
    ColumnsOpt,
    DataArg,
    DtypeOpt,
    EngineOpt,
    JobsOpt,
    JsonOpt,
    LimitOpt,
    NameOpt,
    PrecisionOpt,
    QuietOpt,
    RefitOpt,
    RehashOpt,
    ReportsOpt,
    SearchOpt,
    SeedOpt,
    SetOpt,
    SizeOpt,
    SplitSeedOpt,
    SplitsOpt,
    WeightsOpt,
    head_settings,
)
from tlfeat_cli.terminal import TerminalWatch, print_json, print_table, say


def train(
    dataset: DataArg,
    backbone: Annotated[str, typer.Option(help="The frozen network.")] = "efficientnet-lite0",
    head: Annotated[str, typer.Option(help="The head.")] = "logistic",
    features: Annotated[
        str, typer.Option(metavar="SPEC", help="LAYER:POOL[+LAYER:POOL].")
    ] = "last:avg",
    weights: WeightsOpt = "imagenet",
    size: SizeOpt = None,
    precision: PrecisionOpt = "float32",
    dtype: DtypeOpt = "float32",
    engine: EngineOpt = "auto",
    settings: SetOpt = None,
    search: SearchOpt = True,
    class_weight: ClassWeightOpt = None,
    refit: RefitOpt = False,
    seed: SeedOpt = 0,
    splits: SplitsOpt = None,
    columns: ColumnsOpt = None,
    split_seed: SplitSeedOpt = 0,
    limit: LimitOpt = None,
    rehash: RehashOpt = False,
    cache: CacheOpt = None,
    reports: ReportsOpt = None,
    name: NameOpt = None,
    jobs: JobsOpt = None,
    as_json: JsonOpt = False,
    quiet: QuietOpt = False,
) -> None:
    """Train one head on frozen features and keep the run."""
    watch = TerminalWatch(quiet)
    watch.doing(f"reading {dataset}")
    from tlfeat.runs.ranking import rank
    from tlfeat.runs.results import leaderboard, remarks
    from tlfeat.runs.train import train as train_run

    table = open_data(dataset, cache, watch, splits, columns, split_seed, limit, rehash)
    run = train_run(
        table,
        backbone,
        head,
        features=features,
        weights=weights,
        size=size,
        precision=precision,
        dtype=dtype,
        params=head_settings(settings),
        search=search,
        class_weight=class_weight,
        refit=refit,
        seed=seed,
        engine=engine,
        cache=cache,
        reports=reports,
        name=name,
        jobs=jobs,
        watch=watch,
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
