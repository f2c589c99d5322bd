"""What a fine-tune starts from when it is not a backbone: another run, or a model file."""

import re
import zipfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from tlfeat.errors import TlfeatError
from tlfeat.files import file_digest
from tlfeat.finetuning.assemble import STANDARDISE
from tlfeat.finetuning.checkpoint import epoch_file, judged_file
from tlfeat.runs.facts import ParentFacts
from tlfeat.runs.record import MODEL, RECORD, load_run

_IMAGENET = 1000  # classes
_FILES = (".keras", ".h5", ".hdf5")
OF_DATA: Final = "data: "  # what a record's stand-in says of pictures begins with
_HALF = re.compile(r'"(mixed_)?float16"')  # a layer's policy, as a saved model describes it
KEPT_TOP: Final = "kept-top"  # of a parent whose top standardises
KEPT_TOP_METHOD: Final = 2  # 1 standardised it anew, by features that training had changed


@dataclass(frozen=True)
class Parent:
    """A model to start from.

    Attributes
    ----------
    model : Path
        The file with the architecture, and with the weights where `weights` is None.
    weights : Path or None
        The weights after an epoch.
    facts : ParentFacts
        What a run's record says of its parent.
    backbone : str or None
        The network's name, where the model is ours.
    size : int or None
        Side of the pictures that it was trained on, where it is ours.
    precision : {"float32", "mixed"}
        What its layers compute in; a saved model keeps it.
    """

    model: Path
    weights: Path | None
    facts: ParentFacts
    backbone: str | None
    size: int | None
    precision: str
    top: Mapping[str, Any] | None = None  # as a record has it, where it is ours
    outputs: int | None = None
    stand_in: str | None = None  # what its network stands in for
    standardises: bool = False  # whether its top begins with a standardisation


def find_parent(given: str | Path) -> Parent:
    """Find what a run shall start from.

    Parameters
    ----------
    given : str or Path
        A run's folder; RUN@EPOCH for its weights after an epoch; or a `.keras` or `.h5` file.

    Raises
    ------
    TlfeatError
        If there is no such run, epoch or file.
    """
    text = str(given)
    epoch: int | None = None
    match = re.fullmatch(r"(.+)@(\d+)", text)
    if match and not Path(text).exists():
        text, epoch = match[1], int(match[2])
    path = Path(text).expanduser()
    if path.is_dir() and (path / RECORD).exists():
        return _of_run(path, epoch)
    if epoch is not None:
        raise TlfeatError(f"There is no finished run at {path}: an epoch is of a run's folder.")
    if path.is_file() and path.suffix in _FILES:
        facts = ParentFacts(file_digest(path), file=path.name)
        standardises = f'"{STANDARDISE}"' in _description(path)
        return Parent(path, None, facts, None, None, _precision(path), standardises=standardises)
    raise TlfeatError(
        f"Nothing to start from at {path}: wanted the folder of a finished run, RUN@EPOCH, or a "
        ".keras or .h5 file with a whole network."
    )


def _of_run(folder: Path, epoch: int | None) -> Parent:
    run = load_run(folder)
    if not run.is_finetune:
        raise TlfeatError(
            f"{folder} is a {run.kind} on features: a fine-tune starts from a "
            "fine-tune; modes auto and lp-ft start from the logistic head."
        )
    model = run.file(MODEL)
    if not model.is_file():
        raise TlfeatError(f"{model} is not there any more: remove {folder} and train it again.")
    weights = None
    if epoch is not None:
        weights = epoch_file(folder, epoch)
        if not weights.is_file():
            there = [int(p.name[6:10]) for p in sorted(weights.parent.glob("epoch-*.weights.h5"))]
            kept = f"it has {there[0]} to {there[-1]}" if there else "it kept none"
            raise TlfeatError(
                f"{folder.name} has no checkpoint of epoch {epoch}: {kept}. Remove {folder} and "
                "train it again with --keep all, or start from its end."
            )
    elif run.refit is not None:
        weights = judged_file(folder)
        if not weights.is_file():
            raise TlfeatError(
                f"{folder.name} was trained again on its held pictures, and the weights before "
                f"that are not there any more: remove {folder} and train it again."
            )
    facts = ParentFacts(file_digest(weights or model), run.id, run.name, epoch)
    return Parent(
        model,
        weights,
        facts,
        run.backbone,
        run.pictures.size,
        _precision(model),
        run.top,
        _IMAGENET if run.top["kind"] == "imagenet" else len(run.dataset.classes),
        _of_network(run.stand_in),
        {"top", KEPT_TOP} & (run.methods or {}).keys() != set(),
    )


def _of_network(stand_in: str | None) -> str | None:
    """Leave out what was said of its pictures: a run that starts from it has its own."""
    parts = [part for part in (stand_in or "").split("; ") if not part.startswith(OF_DATA)]
    return "; ".join(parts) or None


def picture_side(path: Path) -> int:
    """Give the side of the pictures that a model of somebody else takes.

    Raises
    ------
    TlfeatError
        If it takes any, so that the side must be said.
    """
    from tlfeat.backbones.keras_files import load_model

    shape = tuple(getattr(load_model(path), "input_shape", ()) or ())
    if len(shape) == 4 and isinstance(shape[1], int):
        return shape[1]
    raise TlfeatError(
        f"{path} takes pictures of any size ({shape or 'several inputs'}): say by --size which "
        "it is to be trained on."
    )


def _precision(path: Path) -> str:
    """Read from a model's own description what it computes in."""
    return "mixed" if _HALF.search(_description(path)) else "float32"


def _description(path: Path) -> str:
    """Read a model's own description; nothing where it cannot be read."""
    import h5py

    try:
        if zipfile.is_zipfile(path):
            with zipfile.ZipFile(path) as file:
                return file.read("config.json").decode()
        else:
            with h5py.File(path) as file:
                return str(file.attrs["model_config"])
    except Exception:  # zipfile and h5py raise whatever a damaged file makes them
        return ""  # Keras, which reads it next, says what is wrong with it
