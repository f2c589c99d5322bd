"""Which runs of a study's folder can be compared with each other."""

from pathlib import Path

from tlfeat.data.dataset import Dataset
from tlfeat.runs.record import Run, find_runs


def comparable_runs(folder: Path, dataset: Dataset) -> list[Run]:
    """Give a study's finished runs on exactly this dataset and split."""
    return [
        run
        for run in find_runs(folder)
        if run.dataset.fingerprint == dataset.fingerprint
        and run.split.fingerprint == dataset.split_fingerprint
    ]
