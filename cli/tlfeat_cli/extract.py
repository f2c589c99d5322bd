"""`tlfeat extract`: embed every picture of a dataset once and keep the features."""

from dataclasses import replace
from typing import TYPE_CHECKING, Annotated

import typer

from tlfeat.data.names import location
from tlfeat.features.settings import FeatureSettings
from tlfeat.where import Where
from tlfeat_cli.expand import expand
from tlfeat_cli.following import on_data
from tlfeat_cli.opening import DataOptions
from tlfeat_cli.options import (
    BackboneOpt,
    DataArg,
    FeaturesOpt,
    JsonOpt,
    QuietOpt,
    RetryOpt,
    comma_list,
)
from tlfeat_cli.terminal import TerminalWatch, print_json, say, suggest, tell

if TYPE_CHECKING:
    from tlfeat.features.extract import Embedded


@expand(where=("cache", "reports", "name", "engine", "jobs", "cluster"))
def extract(
    dataset: DataArg,
    backbone: BackboneOpt = ["efficientnet-lite0"],  # noqa: B006 - Typer wants a list
    features: FeaturesOpt = ["last:avg"],  # noqa: B006
    settings: FeatureSettings = FeatureSettings(),
    options: DataOptions = DataOptions(),
    retry_failed: RetryOpt = False,
    out: Annotated[
        str | None,
        typer.Option(
            metavar="FILE.npz|.parquet",
            help="Also write the matrix, labels and splits to a file, or to s3://BUCKET/FILE.",
        ),
    ] = None,
    where: Where = Where(),
    as_json: JsonOpt = False,
    quiet: QuietOpt = False,
) -> None:
    """Embed every picture of a dataset once and keep the features."""
    where = replace(where, watch=TerminalWatch(quiet))
    where.watch.doing(f"reading {location(dataset)}")
    from tlfeat.errors import TlfeatError
    from tlfeat.features.calibrate import calibrated
    from tlfeat.features.candidates import Candidates
    from tlfeat.features.export import check_target, write_features
    from tlfeat.features.extract import embed
    from tlfeat.features.matrix import load_features
    from tlfeat.features.store import FeatureStore

    if out is not None:
        check_target(out)
    store = FeatureStore(where.cache_folder)
    opened = options.open(dataset, where)
    said = [
        replace(settings, backbone=name, features=spec)
        for name in comma_list(backbone)
        for spec in comma_list(features)
    ]
    asked = [Candidates.of(calibrated(one, opened, where), store.root) for one in said]
    requests = [request for one in asked for request in one.requests]
    if out is not None and len(requests) > 1:
        raise TlfeatError(
            "--out takes one matrix: name one backbone and one --features such as last:avg."
        )
    for one in asked:
        for spec, why in one.left_out.items():
            where.watch.note(f"{one.settings.backbone}: {spec} is left out, as it has {why}.")
    done = embed(opened, requests, where, retry_failed=retry_failed)
    if out is not None:
        write_features(load_features(opened, requests[0], store, done.failures), out)
    entries = list(
        dict.fromkeys(recipe.entry_name for request in requests for recipe in request.recipes)
    )
    failed = len(opened.skipped) + len(done.failures)
    if as_json:
        print_json(
            {
                "pictures": done.images,
                "embedded": done.embedded,
                "failed": failed,
                "seconds": round(done.seconds, 3),
                "out": None if out is None else location(out),
                "entries": [str(store.root / "features" / name) for name in entries],
            }
        )
        return
    _tell_what_was_done(done, failed, location(dataset))
    for name in entries:
        say(str(store.root / "features" / name))
    if out is not None:
        say(location(out))
    if len(opened.classes) > 1:
        of_features = {"backbone": comma_list(backbone), "features": comma_list(features)}
        command = on_data("compare", dataset, options, where, settings.unusual() | of_features)
        suggest(command, quiet)


def _tell_what_was_done(done: "Embedded", failed: int, place: str) -> None:
    rate = f" ({done.embedded / done.seconds:.0f} a second)" if done.embedded else ""
    tell(
        f"{done.images:,} pictures: {done.embedded:,} embedded in {done.seconds:.1f} s{rate}, "
        f"{done.there:,} were there."
    )
    if failed:
        tell(f"{failed} cannot be used and are left out: `tlfeat data {place}` names them.")
