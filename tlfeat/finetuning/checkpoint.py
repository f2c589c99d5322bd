"""What a broken-off run goes on from: one file, written whole or not at all.

`checkpoints/resume.npz` holds the weights, the optimizer, the states of random layers, and the
history so far, as they were after the last whole epoch, or at the step where Ctrl-C came. It is
written under another name and renamed; the epoch's row in history.csv comes out of it.
"""

import json
import os
import zipfile
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Final

import numpy as np

from tlfeat.files import replacing

CHECKPOINTS: Final = "checkpoints"
_RESUME: Final = "resume.npz"
_FACTS: Final = "facts"


@dataclass
class State:
    """Where a run is."""

    phase: int = 0  # the phase that it is in, from 0
    phase_epoch: int = 0  # whole epochs of that phase
    step: int = 0  # steps of the epoch after those
    history: list[dict[str, Any]] = field(default_factory=list)
    seconds: float = 0.0  # of training so far
    # seconds by what was taken; None where that was not measured on this machine
    extract: dict[str, float | None] = field(default_factory=dict)
    search_seconds: float | None = None  # of the logistic regression that training starts from
    outputs: list[list[str]] = field(default_factory=list)  # layers and poolings that it reads
    step_seconds: float = 0.0  # of the epoch's steps so far
    callbacks: dict[str, Any] = field(default_factory=dict)
    start: dict[str, Any] = field(default_factory=dict)  # before the first step
    # epochs and cut that the budget allows; nothing where there is none
    plan: dict[str, Any] = field(default_factory=dict)
    costs: dict[str, Any] = field(default_factory=dict)  # that the plan was made by
    # whether there is time to train once more on the held rows too, where a budget decides it
    may_refit: bool = True
    trainable: list[int] = field(default_factory=list)  # parameters, by phase
    kept: list[int] = field(default_factory=list)  # by phase: the epoch that it went back to
    # by the number of a phase, as text: what held rows chose at its end
    chosen: dict[str, dict[str, Any]] = field(default_factory=dict)
    # by the same: how a phase that went all the way back is trained once more
    retried: dict[str, dict[str, Any]] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)

    @property
    def epoch(self) -> int:
        """Whole epochs of the run."""
        return len(self.history)


Arrays = dict[str, list[np.ndarray]]


def resume_file(folder: Path) -> Path:
    """Give the place of the file that a run goes on from."""
    return folder / CHECKPOINTS / _RESUME


def epoch_file(folder: Path, epoch: int) -> Path:
    """Give the place of a run's weights after an epoch, counted from 1."""
    return folder / CHECKPOINTS / f"epoch-{epoch:04}.weights.h5"


def judged_file(folder: Path) -> Path:
    """Give the place of the weights that held rows have judged, in a run's folder.

    A run that starts from it holds the same rows out: it may not have learned from them.
    """
    return folder / CHECKPOINTS / "judged.weights.h5"


def save_state(folder: Path, state: State, arrays: Arrays) -> None:
    """Write the state of a run.

    Parameters
    ----------
    folder : Path
        The run's.
    state : State
    arrays : dict of str to list of ndarray
        Such as "weights", "optimizer".
    """
    named = {f"{kind}.{i}": a for kind, part in arrays.items() for i, a in enumerate(part)}
    facts = json.dumps(asdict(state)).encode()
    with replacing(resume_file(folder)) as fresh, fresh.open("wb") as file:
        named[_FACTS] = np.frombuffer(facts, np.uint8)
        np.savez(file, allow_pickle=False, **named)
        file.flush()
        os.fsync(file.fileno())


def load_state(folder: Path) -> tuple[State, Arrays] | None:
    """Read the state of a run, or None where there is none that is whole."""
    try:
        with resume_file(folder).open("rb") as raw, np.load(raw, allow_pickle=False) as file:
            state = State(**json.loads(file[_FACTS].tobytes()))
            numbered: dict[str, dict[int, np.ndarray]] = {}
            for name in file.files:
                kind, dot, number = name.rpartition(".")
                if dot:
                    numbered.setdefault(kind, {})[int(number)] = file[name]
    except (OSError, ValueError, TypeError, KeyError, EOFError, zipfile.BadZipFile):
        return None
    return state, {kind: [part[i] for i in range(len(part))] for kind, part in numbered.items()}


def values_of(variables: Sequence[Any]) -> list[np.ndarray]:
    """Give the values of Keras variables."""
    return [np.array(variable.value.numpy()) for variable in variables]


def assign(variables: Sequence[Any], values: Sequence[np.ndarray]) -> None:
    """Give Keras variables their values."""
    for variable, value in zip(variables, values, strict=True):
        variable.assign(value)
