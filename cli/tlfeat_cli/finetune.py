"""`tlfeat finetune`: train a network end to end, beside the heads."""

from dataclasses import replace
from pathlib import Path
from typing import Annotated, Any

import typer

from tlfeat.errors import TlfeatError
from tlfeat.features.settings import FeatureSettings
from tlfeat.where import Where
from tlfeat_cli.expand import expand
from tlfeat_cli.opening import DataOptions
from tlfeat_cli.options import DataArg, JsonOpt, QuietOpt, comma_list, refuse_options
from tlfeat_cli.terminal import TerminalWatch, complain, print_json, print_table, say

_NO_TOP = ("new", None, 0.0)
_PHASE, _NETWORK, _TRAINING, _GOING = "Phase", "Network", "Training", "Where and how"


@expand(network=("weights", "size", "resize"))
def finetune(
    context: typer.Context,
    dataset: DataArg,
    backbone: Annotated[
        str, typer.Option(help="The network, or plain-cnn.", rich_help_panel=_NETWORK)
    ] = "efficientnet-lite0",
    mode: Annotated[
        str,
        typer.Option(
            metavar="scratch|frozen|partial|full|lp-ft",
            help="What is trained.",
            rich_help_panel=_PHASE,
        ),
    ] = "full",
    epochs: Annotated[
        int,
        typer.Option(min=0, metavar="N", help="0 only evaluates.", rich_help_panel=_PHASE),
    ] = 10,
    learning_rate: Annotated[
        float | None,
        typer.Option(
            metavar="X", help="To begin with.  [default: the mode's]", rich_help_panel=_PHASE
        ),
    ] = None,
    schedule: Annotated[
        str,
        typer.Option(
            metavar="NAME[:KEY=VALUE]",
            help="constant, cosine, cosine-restarts, step, exponential or plateau.",
            rich_help_panel=_PHASE,
        ),
    ] = "cosine",
    warmup: Annotated[
        int | None,
        typer.Option(
            min=0,
            metavar="STEPS",
            help="In which the rate rises.  [default: a tenth of the phase]",
            rich_help_panel=_PHASE,
        ),
    ] = None,
    optimiser: Annotated[
        str,
        typer.Option(
            metavar="NAME[:KEY=VALUE]", help="adam, adamw or sgd.", rich_help_panel=_PHASE
        ),
    ] = "adam",
    cut: Annotated[
        str | None,
        typer.Option(
            metavar="STAGE|LAYER|N",
            help="In mode partial, train what comes after this, or the last N blocks.  "
            "[default: stage4]",
            rich_help_panel=_PHASE,
        ),
    ] = None,
    train_batchnorm: Annotated[
        bool,
        typer.Option(
            "--train-batchnorm",
            help="Train batch normalisations above the cut too.",
            rich_help_panel=_PHASE,
        ),
    ] = False,
    label_smoothing: Annotated[
        float, typer.Option(min=0, metavar="X", rich_help_panel=_PHASE, help="Of cross-entropy.")
    ] = 0.0,
    class_weight: Annotated[
        str | None,
        typer.Option(
            metavar="balanced", help="Give every class the same weight.", rich_help_panel=_PHASE
        ),
    ] = None,
    clip_norm: Annotated[
        float | None,
        typer.Option(metavar="X", help="Of all gradients together.", rich_help_panel=_PHASE),
    ] = None,
    patience: Annotated[
        int | None,
        typer.Option(
            min=1,
            metavar="EPOCHS",
            help="Stop when the validation loss has not fallen for so long, and go back to the "
            "best epoch.",
            rich_help_panel=_PHASE,
        ),
    ] = None,
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
    top: Annotated[
        str,
        typer.Option(
            metavar="new|own|imagenet",
            help="New dense layers, the network's own classifier, or its own 1000 outputs.",
            rich_help_panel=_NETWORK,
        ),
    ] = "new",
    hidden: Annotated[
        str | None,
        typer.Option(
            metavar="N-N-...",
            help="Dense layers of a new top, such as 512-256.",
            rich_help_panel=_NETWORK,
        ),
    ] = None,
    dropout: Annotated[
        float,
        typer.Option(min=0, metavar="X", help="Below the last layer.", rich_help_panel=_NETWORK),
    ] = 0.0,
    precision: Annotated[
        str | None,
        typer.Option(
            metavar="float32|mixed",
            help="What is computed in; where nothing is said, that of --from, or float32.",
            rich_help_panel=_NETWORK,
        ),
    ] = None,
    augment: Annotated[
        list[str] | None,
        typer.Option(
            metavar="NAME[:KEY=VALUE],...",
            help="flip, crop, rotation, zoom, translation, contrast, randaugment, mixup, cutmix.",
            rich_help_panel=_TRAINING,
        ),
    ] = None,
    show_augmented: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE.png",
            help="Only draw what the model would see.",
            rich_help_panel=_TRAINING,
        ),
    ] = None,
    loss: Annotated[
        str, typer.Option(metavar="cross-entropy|mse", help="", rich_help_panel=_TRAINING)
    ] = "cross-entropy",
    batch: Annotated[
        int, typer.Option(min=1, metavar="N", help="Pictures a step.", rich_help_panel=_TRAINING)
    ] = 32,
    seed: Annotated[
        int,
        typer.Option(
            help="Of new weights, order, augmentation and folds.", rich_help_panel=_TRAINING
        ),
    ] = 0,
    cut_dtype: Annotated[
        str,
        typer.Option(
            metavar="float16|float32|none",
            help="Of what is kept below a cut; none trains through the whole network.",
            rich_help_panel=_TRAINING,
        ),
    ] = "float16",
    options: DataOptions = DataOptions(),
    resume: Annotated[
        bool,
        typer.Option(
            "--resume", help="Go on with this run where it was broken off.", rich_help_panel=_GOING
        ),
    ] = False,
    keep: Annotated[
        str,
        typer.Option(
            metavar="all|last",
            help="Keep the weights of every epoch, or what --resume needs.",
            rich_help_panel=_GOING,
        ),
    ] = "all",
    h5: Annotated[
        bool, typer.Option("--h5", help="Save the model as .h5 too.", rich_help_panel=_GOING)
    ] = False,
    devices: Annotated[
        int, typer.Option(min=0, metavar="N", help="GPUs; 0 for all.", rich_help_panel=_GOING)
    ] = 1,
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
    where.watch.doing(f"reading {dataset}")
    from tlfeat.finetuning.plan import Phase, Top, read_phase
    from tlfeat.finetuning.request import native_size
    from tlfeat.studies.finetune import finetune as train_run

    if start is not None:
        refuse_options(context, ("backbone", "weights"), "is what --from brings: leave it out.")
    common = Phase(
        mode=mode,
        epochs=epochs,
        learning_rate=learning_rate,
        schedule=schedule,
        warmup=warmup,
        optimiser=optimiser,
        cut=cut,
        train_batchnorm=train_batchnorm,
        label_smoothing=label_smoothing,
        class_weight=class_weight,
        clip_norm=clip_norm,
        patience=patience,
    )
    phases = [read_phase(_phase_values(text), common) for text in phase or []] or [common]
    changes = comma_list(augment) if augment else []
    opened = options.open(dataset, where)
    if show_augmented is not None:
        from tlfeat.finetuning.preview import draw_augmented

        side = network.size or native_size(backbone)
        say(f"Drawn: {draw_augmented(opened, changes, side, show_augmented, seed=seed)}")
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
            top=Top(top, _hidden(hidden), dropout) if (top, hidden, dropout) != _NO_TOP else None,
            augment=changes,
            loss=loss,
            batch=batch,
            precision=precision,
            seed=seed,
            cut_dtype=None if cut_dtype == "none" else cut_dtype,
            resume=resume,
            keep=keep,
            h5=h5,
            devices=devices,
            memory=int(memory * 2**30),
            **vars(where),
        )
    except KeyboardInterrupt:
        complain("Stopped. The same command with --resume goes on from here.")
        raise typer.Exit(130) from None
    _print(run, as_json)


def _print(run: Any, as_json: bool) -> None:
    from tlfeat.runs.ranking import rank
    from tlfeat.runs.results import leaderboard, remarks

    if as_json:
        print_json({"path": str(run.path), **run.record})
        return
    print_table(leaderboard(rank([run])))
    say(f"{run.parameters.trainable:,} of {run.parameters.total:,} parameters trained.")
    best = run.best_epoch
    if best:
        say(
            f"Best validation accuracy in epoch {best['accuracy']}, least validation loss in "
            f"epoch {best['loss']}."
        )
    for remark in remarks(rank([run])):
        say(f"- {remark}")
    say(f"Run: {run.path}")


def _phase_values(text: str) -> dict[str, Any]:
    from tlfeat.finetuning.choices import read_value

    values: dict[str, Any] = {}
    for part in text.split(","):
        key, equals, value = part.partition("=")
        if not (key.strip() and equals and value.strip()):
            raise TlfeatError(f"--phase {text!r} cannot be read at {part!r}: wanted KEY=VALUE.")
        values[key.strip().replace("-", "_")] = read_value(value.strip())
    return values


def _hidden(text: str | None) -> tuple[int, ...]:
    if text is None:
        return ()
    try:
        return tuple(int(part) for part in text.split("-"))
    except ValueError:
        raise TlfeatError(f"--hidden {text!r} cannot be read: wanted sizes, as 512-256.") from None
