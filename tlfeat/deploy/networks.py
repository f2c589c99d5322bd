"""What a run needs to be used: its rule for pictures, the network of a fine-tune."""

from pathlib import Path
from typing import Final

from tlfeat.backbones.model_files import ModelRequest
from tlfeat.data.resize import DECODER
from tlfeat.errors import TlfeatError
from tlfeat.features.recipe import PictureRule
from tlfeat.files import file_digest
from tlfeat.runs.record import MODEL, Run

_OTHER: Final = ("float32", "bfloat16")  # trained in, and taken for answers


def checked_rule(run: Run) -> PictureRule:
    """Give the rule for pictures that a run was trained by, if it is this version's.

    Raises
    ------
    TlfeatError
        If pictures are decoded in another way now.
    """
    rule = run.picture_rule
    if rule.decoder != DECODER:
        raise TlfeatError(
            f"{run.path} was trained on pictures decoded by rule {rule.decoder} and this tlfeat "
            f"has rule {DECODER}: train it again."
        )
    return rule


def finetuned_network(
    run: Run, weights: str | Path | None = None, precision: str | None = None
) -> ModelRequest:
    """Ask for the network that a fine-tune has left.

    Parameters
    ----------
    run : Run
    weights : str or Path, optional
        Refused: a fine-tune has its weights in its own file.
    precision : str, optional
        What it computes in; what it was trained in if None. One that was trained in float32 takes
        bfloat16 too.

    Raises
    ------
    TlfeatError
        If weights are given, the file is gone, or it cannot compute in that.
    """
    if weights is not None:
        raise TlfeatError(
            f"{run.path} is a fine-tune, whose weights are in its {MODEL}: leave --weights out."
        )
    path = run.file(MODEL)
    if not path.is_file():
        raise TlfeatError(f"{path} is not there any more: remove {run.path} and train it again.")
    digest = run.files.get(MODEL) or file_digest(path)
    rule = run.picture_rule
    if precision not in (None, rule.precision) and (rule.precision, precision) != _OTHER:
        raise TlfeatError(
            f"{run.path} was trained in {rule.precision} and cannot compute in {precision}: leave "
            "--precision out."
        )
    return ModelRequest(run.name, path, digest, rule.size, precision or rule.precision)
