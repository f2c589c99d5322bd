"""`tlfeat extract`: embed every picture of a dataset once and keep the features."""

from pathlib import Path
from typing import Annotated

import typer

from tlfeat_cli.opening import open_data
from tlfeat_cli.options import (
    BackboneOpt,
    CacheOpt,
    ColumnsOpt,
    DataArg,
    DtypeOpt,
    EngineOpt,
    FeaturesOpt,
    JobsOpt,
    JsonOpt,
    LimitOpt,
    PrecisionOpt,
    QuietOpt,
    RehashOpt,
    RetryOpt,
    SeedOpt,
    SizeOpt,
    SplitSeedOpt,
    SplitsOpt,
    WeightsOpt,
    comma_list,
)
from tlfeat_cli.terminal import TerminalWatch, print_json, say


def extract(
    dataset: DataArg,
    backbone: BackboneOpt = ["efficientnet-lite0"],  # noqa: B006 - Typer wants a list
    features: FeaturesOpt = ["last:avg"],  # noqa: B006
    weights: WeightsOpt = "imagenet",
    size: SizeOpt = None,
    precision: PrecisionOpt = "float32",
    dtype: DtypeOpt = "float32",
    engine: EngineOpt = "auto",
    splits: SplitsOpt = None,
    columns: ColumnsOpt = None,
    split_seed: SplitSeedOpt = 0,
    limit: LimitOpt = None,
    rehash: RehashOpt = False,
    retry_failed: RetryOpt = False,
    seed: SeedOpt = 0,
    out: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE.npz|.parquet", help="Also write the matrix, labels and splits to a file."
        ),
    ] = None,
    cache: CacheOpt = None,
    jobs: JobsOpt = None,
    as_json: JsonOpt = False,
    quiet: QuietOpt = False,
) -> None:
    """Embed every picture of a dataset once and keep the features."""
    watch = TerminalWatch(quiet)
    watch.doing(f"reading {dataset}")
    from tlfeat.errors import TlfeatError
    from tlfeat.features.export import check_target, write_features
    from tlfeat.features.extract import embed
    from tlfeat.features.matrix import load_features
    from tlfeat.features.recipe import request_features
    from tlfeat.features.store import FeatureStore
    from tlfeat.places import cache_folder

    if out is not None:
        check_target(out)
    store = FeatureStore(cache_folder(cache))
    requests = [
        request_features(
            name,
            spec,
            weights=weights,
            size=size,
            precision=precision,
            dtype=dtype,
            seed=seed,
            cache=store.root,
        )
        for name in comma_list(backbone)
        for spec in comma_list(features)
    ]
    if out is not None and len(requests) > 1:
        raise TlfeatError("--out takes one matrix: name one backbone and one --features.")
    table = open_data(dataset, cache, watch, splits, columns, split_seed, limit, rehash)
    done = embed(
        table, requests, store, engine=engine, jobs=jobs, retry_failed=retry_failed, watch=watch
    )
    if out is not None:
        write_features(load_features(table, requests[0], store, done.failures), out)
    entries = list(
        dict.fromkeys(recipe.entry_name for request in requests for recipe in request.recipes)
    )
    failed = len(table.skipped) + len(done.failures)
    if as_json:
        print_json(
            {
                "pictures": done.images,
                "embedded": done.embedded,
                "failed": failed,
                "seconds": round(done.seconds, 3),
                "out": None if out is None else str(out),
                "entries": [str(store.root / "features" / name) for name in entries],
            }
        )
        return
    rate = f" ({done.embedded / done.seconds:.0f} a second)" if done.embedded else ""
    say(
        f"{done.images:,} pictures: {done.embedded:,} embedded in {done.seconds:.1f} s{rate}, "
        f"{done.there:,} were there."
    )
    if failed:
        say(f"{failed} cannot be used and are left out: `tlfeat data {dataset}` names them.")
    for name in entries:
        say(str(store.root / "features" / name))
    if out is not None:
        say(str(out))
