"""What a model is made of, as a table: from pixels to answers, what was trained of it."""

from typing import TYPE_CHECKING

from tlfeat.finetuning.plain_cnn import NAME as PLAIN_CNN
from tlfeat.runs.record import Run

if TYPE_CHECKING:
    import pandas as pd


def model_parts(run: Run) -> "pd.DataFrame":
    """Give the parts of a run's model in order.

    Parameters
    ----------
    run : Run
        Of a head or a fine-tune.

    Returns
    -------
    parts : DataFrame
        part, detail (texts), trained (bool); in its `attrs` "name", of the run, and "caption",
        where it starts and what was trained.
    """
    import pandas as pd

    side = run.pictures.size
    rows: list[tuple[str, str, bool]] = [("pixels", f"{side} x {side} x 3", False)]
    rows += _finetune(run) if run.is_finetune else _head(run)
    parts = pd.DataFrame(rows, columns=["part", "detail", "trained"])
    parts.attrs["name"] = run.name
    parts.attrs["caption"] = f"{_caption(run)}\norange: trained, grey: as it was"
    return parts


def _caption(run: Run) -> str:
    if not run.is_finetune:
        return f"trained: {run.parameters.trainable:,} parameters"
    phases = [phase for phase in run.phases if phase["epochs"] > 0]
    trained = [f"{phase['trainable']:,} ({phase['mode']})" for phase in phases]
    text = f"trained: {', then '.join(trained) or 'nothing, only evaluated'}"
    if run.parent:
        after = f" after epoch {run.parent.epoch}" if run.parent.epoch else ""
        text = f"starts from {run.parent.name or 'a file'}{after}\n{text}"
    return text


def _head(run: Run) -> list[tuple[str, str, bool]]:
    total, trained = run.parameters.total, run.parameters.trainable
    return [
        (run.backbone, f"{(total - trained) / 1e6:.2f} M parameters", False),
        ("features", run.features, False),
        ("standardised", "", True),
        (run.head_settings.name, f"{trained:,} parameters", True),
        ("answer", f"{len(run.dataset.classes)} classes", False),
    ]


def _finetune(run: Run) -> list[tuple[str, str, bool]]:
    phases = [phase for phase in run.phases if phase["epochs"] > 0]
    modes = {phase["mode"] for phase in phases}
    network, whole = run.backbone, f"{run.parameters.total / 1e6:.2f} M parameters in all"
    rows: list[tuple[str, str, bool]] = []
    cuts = {phase["cut"] for phase in phases if phase["mode"] == "partial" and phase["cut"]}
    alone = {phase.get("train") for phase in phases if phase["mode"] != "frozen"}
    if alone and None not in alone:
        rows += [
            (network, whole, False),
            (f"{', '.join(sorted(map(str, alone)))} of it", "", True),
        ]
    elif modes <= {"frozen", "partial"} and cuts:
        cut = sorted(cuts)[0]
        rows += [(f"{network} to {cut}", whole, False), (f"{network} after {cut}", "", True)]
    else:
        rows.append((network, whole, not modes <= {"frozen"}))
    top, classes = run.top, len(run.dataset.classes)
    if top["kind"] == "new":
        if network != PLAIN_CNN:
            rows.append(("average pooling", "", False))
        rows += [(f"dense, {units}", "ReLU", bool(phases)) for units in top["hidden"]]
        if top["dropout"]:
            rows.append(("dropout", f"{top['dropout']:g}", False))
    outputs = f"{classes} of 1000 outputs" if top["kind"] == "imagenet" else f"{classes} classes"
    rows.append((f"dense, softmax ({top['kind']} top)", outputs, bool(phases)))
    return rows
