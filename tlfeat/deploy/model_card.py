"""The README.md of an exported model: what it is, what it was measured on, where it ends."""

from collections.abc import Mapping
from importlib.metadata import version
from typing import Any, Final

from tlfeat.audit.kept import read_kept
from tlfeat.backbones.network_files import find_network
from tlfeat.deploy.exported_model import Parity
from tlfeat.deploy.formats import Format
from tlfeat.errors import TlfeatError
from tlfeat.runs.record import Run
from tlfeat.runs.statistics import known_intervals

_METRICS: Final = {
    "accuracy": "accuracy",
    "balanced_accuracy": "balanced accuracy",
    "f1_macro": "macro F1",
    "roc_auc": "ROC AUC",
    "log_loss": "log loss",
}
_MOST_CLASSES: Final = 30  # that are named


def model_card(run: Run, row: Format, precision: str, parity: Parity) -> str:
    """Write the card of an exported model, in Markdown.

    Parameters
    ----------
    run : Run
    row : Format
    precision : str
        Of the file.
    parity : Parity
    """
    side = run.picture_rule.size
    parts = [
        f"# {run.name}",
        _what(run, row, precision),
        "## Use\n\n```\npip install -r requirements.txt\npython predict.py PICTURE...\n```\n\n"
        f"`{row.model}` takes RGB pictures of {side} x {side} pixels as uint8, "
        "(n, height, width, 3), and gives a probability for each line of labels.txt; "
        "how a picture becomes that square stands in preprocess.json, and predict.py does it.",
        f"## Data\n\n{_data(run)}",
        f"## Measured\n\n{_measured(run)}",
        f"## Found in the data\n\n{_found(run)}",
        f"## Made by\n\n{_recipe(run)}",
        f"## This file against the run\n\n{parity.sentence(precision)}",
        f"## Limits\n\n{_limits(run)}",
    ]
    return "\n\n".join(parts) + "\n"


def _what(run: Run, row: Format, precision: str) -> str:
    kind = "fine-tuned end to end" if run.is_finetune else f"with a {run.head_settings.name} head"
    return (
        f"An image classifier: {run.backbone}, {kind}, for {len(run.dataset.classes)} classes. "
        f"Exported to {row.name} ({row.summary}) in {precision} by tlfeat {version('tlfeat')}."
    )


def _data(run: Run) -> str:
    lines = ["| split | pictures |", "|---|---:|"]
    for split, counts in run.dataset.counts.items():
        lines.append(f"| {split} | {sum(counts.values()):,} |")
    classes = [_quoted(name) for name in run.dataset.classes]
    named = ", ".join(classes[:_MOST_CLASSES])
    more = f", and {len(classes) - _MOST_CLASSES} more" if len(classes) > _MOST_CLASSES else ""
    skipped = len(run.dataset.skipped)
    return "\n".join(
        [
            *lines,
            "",
            f"Classes: {named}{more}. Trained on {run.n_train:,} pictures"
            + (f"; {skipped:,} could not be used" if skipped else "")
            + f". Split: {run.split.rule}.",
        ]
    )


def _measured(run: Run) -> str:
    ends = known_intervals(run)
    lines = ["| metric | split | value | 95% interval |", "|---|---|---:|---|"]
    for split in ("test", "validation"):
        said = split if split in run.dataset.counts else "folds of train"
        found: Mapping[str, Any] = run.metrics.get(split, {})
        for key, name in _METRICS.items():
            if found.get(key) is None:
                continue
            interval = ends.get(split, {}).get(key)
            shown = "" if interval is None else f"{interval[0]:.3f} to {interval[1]:.3f}"
            lines.append(f"| {name} | {said} | {found[key]:.3f} | {shown} |")
    return "\n".join(lines)


def _found(run: Run) -> str:
    kept = read_kept(run.study)
    if kept.get("fingerprint") != run.dataset.fingerprint:
        return "The pictures were not looked over: `tlfeat audit` does it."
    found = "\n".join(f"- {text}" for text in kept["found"])
    return found or "They were looked over, and nothing was found that makes its figures untrue."


def _recipe(run: Run) -> str:
    rule = run.picture_rule
    said = [
        f"- network: {run.backbone}, weights {run.weights or 'of its parent'} "
        f"(SHA-256 {run.weights_digest[:12]}), licence of the weights: {_licence(run)}",
        f"- pictures: {rule.size} pixels, {rule.resize.rule} by {rule.resize.filter}",
    ]
    if not run.is_finetune:
        chosen = {**run.head_settings.params, **run.head_settings.chosen}
        settings = ", ".join(f"{name} {value}" for name, value in chosen.items()) or "as usual"
        said.append(f"- features: {run.features}")
        said.append(f"- head: {run.head_settings.name}, {settings}")
    said.append(f"- run: {run.id}, seed {run.seed}, made {run.created[:10]}")
    if run.stand_in:
        said.append(f"- {run.stand_in}")
    return "\n".join(said)


def _licence(run: Run) -> str:
    try:
        return find_network(run.backbone, run.weights or "imagenet", moved=True).licence
    except TlfeatError:
        return "not known"


def _limits(run: Run) -> str:
    lines = [
        "- It knows its classes and nothing else: of a picture of another kind it names one of "
        "them all the same.",
        "- The figures hold for pictures like those above; others may be harder.",
        *(f"- {text}" for text in run.warnings),
    ]
    return "\n".join(lines)


def _quoted(name: str) -> str:
    """Write a name as it is, whatever Markdown would make of it."""
    tick = "``" if "`" in name else "`"
    return f"{tick}{name}{tick}"
