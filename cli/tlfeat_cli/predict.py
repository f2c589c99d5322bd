"""`tlfeat predict`: labels for new pictures, from a finished run."""

import csv
import json
import sys
from collections.abc import Iterator, Sequence
from itertools import chain
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from tlfeat.where import Where
from tlfeat_cli.expand import expand
from tlfeat_cli.opening import chosen_run
from tlfeat_cli.options import (
    JsonOpt,
    MovedWeightsOpt,
    PicturesArg,
    QuietOpt,
    RunArg,
    picture_names,
    share,
)
from tlfeat_cli.terminal import TerminalWatch, complain, settle

if TYPE_CHECKING:
    from tlfeat.deploy.exported_model import Export
    from tlfeat.deploy.predict import Prediction
    from tlfeat.runs.record import Run


@expand(where=("cache", "reports", "engine", "jobs"))
def predict(
    run: RunArg,
    pictures: PicturesArg,
    top: Annotated[int, typer.Option(min=1, metavar="K", help="How many classes to name.")] = 1,
    reject: Annotated[
        str | None,
        typer.Option(
            metavar="SHARE",
            help="Say whether each picture is known; of those like train's SHARE at most is "
            "called unknown, such as 1%.",
        ),
    ] = None,
    coverage: Annotated[
        str | None,
        typer.Option(
            metavar="SHARE",
            help="Give a set of classes that holds the true one for SHARE of pictures, such as "
            "90%.",
        ),
    ] = None,
    weights: MovedWeightsOpt = None,
    precision: Annotated[
        str | None,
        typer.Option(
            metavar="float32|bfloat16",
            help="What a fine-tuned network computes in.  [default: as it was trained]",
        ),
    ] = None,
    where: Where = Where(),
    as_json: JsonOpt = False,
    quiet: QuietOpt = False,
) -> None:
    """Predict pictures with a finished run: CSV on stdout, or JSON lines with --json."""
    watch = TerminalWatch(quiet)
    watch.doing(f"loading {run}")
    from tlfeat.data.names import be, counted
    from tlfeat.deploy.predict import predict as predict_pictures

    found = predict_pictures(
        _chosen(run, where, watch),
        picture_names(pictures),
        top=top,
        reject=share(reject, "--reject"),
        coverage=share(coverage, "--coverage"),
        weights=weights,
        precision=precision,
        engine=where.engine,
        cache=where.cache,
        jobs=where.jobs,
        watch=watch,
    )
    done = unlabelled = unknown = 0
    asked = ["known", "typical"] * (reject is not None) + ["set"] * (coverage is not None)
    for one in _printed(found, top, asked, as_json):
        done += 1
        unlabelled += one.label is None
        unknown += one.known is False
    if reject is not None:
        of = counted(done - unlabelled, "picture")
        watch.note(f"{unknown:,} of {of} {be(unknown)} unlike what the run was trained on.")
    if unlabelled:
        complain(
            f"{unlabelled:,} of {counted(done, 'picture')} {be(unlabelled, 'has', 'have')} no "
            "label: `reason` says why."
        )
        raise typer.Exit(1)


def _chosen(run: str, where: Where, watch: TerminalWatch) -> "Run | Export":
    """Find the run, or the exported model, that a user named."""
    from tlfeat.deploy.exported_model import is_export, load_export

    folder = Path(run).expanduser()
    if is_export(folder):
        return load_export(folder)
    return chosen_run(run, where, watch)


def _printed(
    found: "Iterator[Prediction]", top: int, doubts: Sequence[str], as_json: bool
) -> "Iterator[Prediction]":
    """Print each prediction, with the columns of doubt that were asked for, then pass it on."""
    from tlfeat.deploy.predict import as_json as to_json

    if as_json:
        for one in found:
            settle()
            print(json.dumps(to_json(one, doubts), ensure_ascii=True), flush=True)
            yield one
        return
    first = next(found, None)  # a mistake is answered before anything is printed
    settle()
    if first is None:
        return
    sys.stdout.reconfigure(errors="backslashreplace")  # type: ignore[union-attr]
    writer = csv.writer(sys.stdout, lineterminator="\n")
    kind = first.score_kind
    more = [f"{what}_{rank}" for rank in range(2, top + 1) for what in ("label", kind)]
    header = ["id", "label", kind, *more]
    writer.writerow([*header, *doubts, "reason"])
    for one in chain([first], found):
        cells = [one.id, *(cell for label, score in one.top for cell in (label, f"{score:.6g}"))]
        cells += [""] * (len(header) - len(cells))
        values = _doubts(one)
        writer.writerow([*cells, *(values[name] for name in doubts), one.reason])
        yield one


def _doubts(one: "Prediction") -> dict[str, str]:
    """Write what is doubtful of a picture as cells, empty where it cannot be used."""
    return {
        "known": "" if one.known is None else "yes" if one.known else "no",
        "typical": "" if one.typical is None else f"{one.typical:.3g}",
        "set": "|".join(one.classes or ()),
    }
