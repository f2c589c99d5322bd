"""`tlfeat finetune`: train a network end to end, beside the heads."""

from dataclasses import replace
from pathlib import Path
from typing import Annotated, Any

import typer

from tlfeat.data.names import location
from tlfeat.errors import TlfeatError
from tlfeat.features.settings import FeatureSettings
from tlfeat.finetuning.plan import Phase, read_phase
from tlfeat.finetuning.settings import Classifier, Effort, FinetuneSettings
from tlfeat.settings import said_values
from tlfeat.where import Where
from tlfeat_cli.expand import expand
from tlfeat_cli.following import prediction
from tlfeat_cli.opening import DataOptions
from tlfeat_cli.options import DataArg, JsonOpt, QuietOpt, refuse_options, was_given
from tlfeat_cli.terminal import (
    TerminalWatch,
    complain,
    print_json,
    print_table,
    say,
    suggest,
    tell,
)

_PHASE, _NETWORK, _TRAINING, _GOING = "Phase", "Network", "Training", "Where and how"


@expand(network=("weights", "size", "resize"))
def finetune(
    context: typer.Context,
    dataset: DataArg,
    backbone: Annotated[
        str, typer.Option(help="The network, or plain-cnn.", rich_help_panel=_NETWORK)
    ] = "efficientnet-lite0",
    common: Phase = Phase("auto"),
    phase: Annotated[
        list[str] | None,
        typer.Option(
            metavar="KEY=VALUE,...",
            help="One phase of several, such as mode=frozen,epochs=3; repeat it. What it leaves "
            "out is as in the options above.",
            rich_help_panel=_PHASE,
        ),
    ] = None,
    network: FeatureSettings = FeatureSettings(),
    start: Annotated[
        str | None,
        typer.Option(
            "--from",
            metavar="RUN|RUN@EPOCH|FILE",
            help="Start from another run, its checkpoint, or a .keras or .h5 file.",
            rich_help_panel=_NETWORK,
        ),
    ] = None,
    classifier: Classifier = Classifier(),
    precision: Annotated[
        str | None,
        typer.Option(
            metavar="float32|mixed",
            help="What is computed in; where nothing is said, that of --from, or float32.",
            rich_help_panel=_NETWORK,
        ),
    ] = None,
    settings: FinetuneSettings = FinetuneSettings(),
    show_augmented: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE.png",
            help="Only draw what the model would see.",
            rich_help_panel=_TRAINING,
        ),
    ] = None,
    seed: Annotated[
        int,
        typer.Option(
            help="Of new weights, order, augmentation and folds.", rich_help_panel=_TRAINING
        ),
    ] = 0,
    options: DataOptions = DataOptions(),
    effort: Effort = Effort(),
    memory: Annotated[
        float,
        typer.Option(
            min=0,
            metavar="GB",
            help="For decoded pictures or activations.",
            rich_help_panel=_GOING,
        ),
    ] = 2.0,
    where: Where = Where(),
    as_json: JsonOpt = False,
    quiet: QuietOpt = False,
) -> None:
    """Train a network end to end and keep the run beside those of the heads."""
    where = replace(where, watch=TerminalWatch(quiet))
    where.watch.doing(f"reading {location(dataset)}")
    from tlfeat.finetuning.request import native_size
    from tlfeat.studies.finetune import finetune as train_run

    if start is not None:
        refuse_options(context, ("backbone", "weights"), "is what --from brings: leave it out.")
    if (start is not None or phase) and not was_given(context, "mode"):
        common = replace(common, mode="full")  # auto decides what a run starts from
    phases = [read_phase(_phase_values(text), common) for text in phase or []] or [common]
    opened = options.open(dataset, where)
    if show_augmented is not None:
        from tlfeat.finetuning.preview import draw_augmented

        side = network.size or native_size(backbone)
        say(f"Drawn: {draw_augmented(opened, settings.changes, side, show_augmented, seed=seed)}")
        return
    where.watch.doing(f"loading {start or backbone}")
    try:
        run = train_run(
            opened,
            backbone if start is None else None,
            phases,
            weights=network.weights if start is None else None,
            start=start,
            size=network.size,
            resize=network.resize,
            top=None if classifier == Classifier() else classifier,
            precision=precision,
            seed=seed,
            **said_values(settings),
            **said_values(effort),
            memory=int(memory * 2**30),
            **vars(where),
        )
    except KeyboardInterrupt:
        complain("Stopped. The same command with --resume goes on from here.")
        raise typer.Exit(130) from None
    if as_json:
        print_json({"path": str(run.path), **run.record})
        return
    _print(run, opened)
    suggest(prediction(run, opened, where), quiet)


def _print(run: Any, dataset: Any) -> None:
    from tlfeat.runs.ranking import rank
    from tlfeat.runs.results import leaderboard, remarks

    print_table(leaderboard(rank([run])), kept_in=str(run.path))
    tell(f"{run.parameters.trainable:,} of {run.parameters.total:,} parameters trained.")
    _say_start(run)
    _say_best_head(run, dataset)
    best = run.best_epoch
    if best:
        tell(
            f"Best validation accuracy in epoch {best['accuracy']}, least validation loss in "
            f"epoch {best['loss']}."
        )
    if run.refit is not None:
        tell(
            f"Held rows judged and chose; then it was trained again on all {run.n_train:,} "
            "pictures, theirs too."
        )
    for remark in remarks(rank([run])):
        tell(f"- {remark}")
    say(f"Run: {run.path}")


def _say_start(run: Any) -> None:
    """Say what head a run began as, and how far it went from there."""
    head = (run.start or {}).get("logistic")
    if head is None:
        return
    features, right = head.get("features", "last:avg"), 100 * head["validation_accuracy"]
    line = f"It began as a logistic regression of {features}, {right:.1f}% right on validation"
    if "solver" in run.phases[0]:
        line += "; mode frozen has no better one, so no epoch was trained (a rate asks for steps)"
    share = run.phases[0].get("share")
    if share is not None:
        line += "; tried once more, gently" if "retried" in run.phases[0] else ""
        line += f"; held rows chose {100 * share:.0f}% of the way from there to the last epoch"
    tell(f"{line}.")


def _say_best_head(run: Any, dataset: Any) -> None:
    """Name the best head of the study, if it has one."""
    from tlfeat.runs.ranking import rank
    from tlfeat.runs.record import comparable_runs

    runs = comparable_runs(run.path.parents[1], dataset)
    heads = [one for one in runs if not one.is_finetune]
    if heads:
        best = rank(heads)[0]
        right = 100 * best.metrics["validation"]["accuracy"]
        tell(f"The best head of this study: {best.name}, {right:.1f}% of validation.")


def _phase_values(text: str) -> dict[str, Any]:
    from tlfeat.finetuning.choices import read_value

    values: dict[str, Any] = {}
    for part in text.split(","):
        key, equals, value = part.partition("=")
        if not (key.strip() and equals and value.strip()):
            raise TlfeatError(f"--phase {text!r} cannot be read at {part!r}: wanted KEY=VALUE.")
        values[key.strip().replace("-", "_")] = read_value(value.strip())
    return values
