"""The network of a fine-tune, as an engine runs it."""

from pathlib import Path

from tlfeat.backbones.model_files import ModelRequest
from tlfeat.errors import TlfeatError
from tlfeat.files import file_digest
from tlfeat.runs.record import MODEL, Run


def finetuned_network(run: Run, weights: str | Path | None = None) -> ModelRequest:
    """Ask for the network that a fine-tune has left.

    Parameters
    ----------
    run : Run
    weights : str or Path, optional
        Refused: a fine-tune has its weights in its own file.

    Raises
    ------
    TlfeatError
        If weights are given, or the file is gone.
    """
    if weights is not None:
        raise TlfeatError(
            f"{run.path} is a fine-tune, whose weights are in its {MODEL}: leave --weights out."
        )
    path = run.file(MODEL)
    if not path.is_file():
        raise TlfeatError(f"{path} is not there any more: remove {run.path} and train it again.")
    digest = run.files.get(MODEL) or file_digest(path)
    rule = run.pictures
    return ModelRequest(run.name, path, digest, rule.size, rule.precision)
