"""The command lines that make runs again, with all that is unusual in them and nothing else."""

import shlex
from collections.abc import Mapping, Sequence
from typing import Any

from tlfeat.finetuning.choices import Choice
from tlfeat.finetuning.plan import Phase
from tlfeat.finetuning.settings import FinetuneSettings
from tlfeat.heads.metric import usual_metric
from tlfeat.runs.record import Run
from tlfeat.settings import unusual_values


def commands(runs: Sequence[Run], source: str) -> list[str]:
    """Give the command lines that make these runs again.

    Parameters
    ----------
    runs : sequence of Run
    source : str
        Where the pictures are.

    Returns
    -------
    lines : list of str
        One a run; runs that differ only in their head or network are joined to one compare. A
        fine-tune that starts from another run of the study names its folder.
    """
    lines: dict[str, None] = {}
    alike: dict[str, list[Run]] = {}
    for run in runs:
        if not run.is_finetune:
            alike.setdefault(_of_head(run), []).append(run)
    for options, family in alike.items():
        networks = list(dict.fromkeys(run.backbone for run in family))
        heads = list(dict.fromkeys(run.head_settings.name for run in family))
        pairs = {(run.backbone, run.head_settings.name) for run in family}
        parted = (
            [networks] if len(pairs) == len(networks) * len(heads) else [[n] for n in networks]
        )
        for some in parted:
            mine = [head for head in heads if (some[0], head) in pairs]
            said = ["--backbone", ",".join(some), "--head", ",".join(mine)]
            lines[_line("compare", source, said) + options] = None
    by_id = {run.id: run for run in runs}
    for run in runs:
        if run.is_finetune:
            lines[_line("finetune", source, _of_finetune(run, by_id))] = None
    return list(lines)


def _line(command: str, source: str, options: Sequence[str]) -> str:
    return shlex.join(["tlfeat", command, source, *options])


def _of_head(run: Run) -> str:
    head = run.head_settings
    settings = run.feature_settings
    unusual = {**settings.unusual(), "features": settings.features}
    unusual.pop("seed", None)
    if settings.is_auto:  # as `compare` has it where nobody says
        del unusual["features"]
    given = as_options(unusual)
    for key, value in sorted(head.params.items()):
        given += ["--set", f"head.{key}={_text(value)}"]
    if not head.search:
        given.append("--no-search")
    if head.class_weight:
        given += ["--class-weight", head.class_weight]
    if head.metric != usual_metric(head.class_weight):
        given += ["--metric", head.metric]
    if head.refit:
        given.append("--refit")
    return f" {shlex.join([*given, '--seed', str(run.seed), *_of_data(run)])}"


def _of_finetune(run: Run, by_id: Mapping[str, Run]) -> list[str]:
    network = unusual_values(run.feature_settings) | {"seed": run.seed}
    training = FinetuneSettings.of_run(run)
    unusual = unusual_values(training)
    if run.parent is not None or (training.augment and not training.cut_views):
        unusual.pop("cut_dtype", None)  # nothing can be kept of it, whatever was asked for
    if run.parent is None:
        start = ["--backbone", network.pop("backbone", run.backbone)]
    else:
        known = by_id.get(run.parent.run or "")
        place = str(known.path.resolve() if known else run.parent.file or run.parent.name)
        start = ["--from", place + (f"@{run.parent.epoch}" if run.parent.epoch else "")]
        network = {name: network[name] for name in network if name in ("size", "resize", "seed")}
    given = [*start, *as_options(network)]
    for phase in training.phases:
        said = ",".join(f"{name}={_text(value)}" for name, value in _of_phase(phase).items())
        given += ["--phase", said]
    if training.classifier is not None:
        classifier = unusual_values(training.classifier)
        if "hidden" in classifier:
            classifier["hidden"] = "-".join(map(str, classifier["hidden"]))
        given += as_options(classifier)
    return [*given, *as_options(unusual), *_of_data(run)]


def _of_phase(phase: Phase) -> dict[str, Any]:
    """Give what is not usual in a phase of its mode."""
    usual = Phase(phase.mode).checked()
    values = {"mode": phase.mode, "epochs": phase.epochs, **unusual_values(phase.shortest())}
    for name, mine, theirs in (
        ("learning_rate", phase.rate, usual.rate),
        ("cut", phase.cut_name, usual.cut_name),
        ("schedule", phase.schedule_choice, usual.schedule_choice),
        ("optimizer", phase.optimizer_choice, usual.optimizer_choice),
    ):
        if mine == theirs:
            values.pop(name, None)
    if phase.train is not None:  # which says where the cut is
        values.pop("cut", None)
    return values


def _of_data(run: Run) -> list[str]:
    asked = {**run.dataset.asked, "split_seed": run.split.seed}
    return as_options({name: value for name, value in asked.items() if value})


def as_options(values: Mapping[str, Any]) -> list[str]:
    """Write settings as options of the command line."""
    return [
        part for name, value in values.items() for part in _option(name.replace("_", "-"), value)
    ]


def _option(name: str, value: Any) -> list[str]:
    if isinstance(value, bool):
        return [f"--{name}" if value else f"--no-{name}"]
    return [f"--{name}", _text(value)]


def _text(value: Any) -> str:
    """Write a value so that reading it gives the very same."""
    if isinstance(value, Choice):
        return _choice(value.as_dict())
    if isinstance(value, Mapping):
        return ",".join(f"{ours}={its}" for ours, its in value.items())
    if isinstance(value, list | tuple):
        return ",".join(map(_text, value))
    if isinstance(value, float):
        return f"{value:g}" if float(f"{value:g}") == value else repr(value)
    return str(value).lower() if isinstance(value, bool) else str(value)


def _choice(values: Mapping[str, Any]) -> str:
    said = [f"{key}={_text(value)}" for key, value in values.items() if key != "name"]
    return ":".join([values["name"], *(one for one in said if not one.endswith("=None"))])
