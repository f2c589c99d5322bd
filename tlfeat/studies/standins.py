"""What stands in for what a study asks for: other pictures, another network, random weights.

A stand-in is never passed off as the real thing: its text is in each run's record, and under
every table and figure.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from tlfeat.data.dataset import Dataset
from tlfeat.finetuning.parents import OF_DATA
from tlfeat.studies.plan import Study
from tlfeat.studies.planned import PlannedRun


def data_stand_in(study: Study, dataset: Dataset) -> str | None:
    """Say which pictures stand in for those that the study asks for.

    Parameters
    ----------
    study : Study
        Where its [data] says what is `expected`, that is compared; else the path.
    dataset : Dataset

    Returns
    -------
    text : str or None
        None where they are the ones that are meant. Of a file that expects no numbers, as
        one's own, a part is as good as the whole: its tables say how many there were.
    """
    if not study.data:
        return None
    expected: Mapping[str, int] = study.data.get("expected", {})
    counts = {split: sum(classes.values()) for split, classes in dataset.counts().items()}
    found = {"classes": len(dataset.classes), **counts}
    cut = study.data.get("limit") is not None
    # the pictures of a set that was cut say nothing, its classes do
    compared = {"classes"} if cut else set(expected)
    if any(found.get(name, 0) != expected[name] for name in compared & set(expected)):
        return (
            f"{OF_DATA}{dataset.name} ({_counted(found)}) instead of {study.named_data} "
            f"({_counted(expected)})"
        )
    named = study.data["path"] == study.named_data
    if not expected and not named:
        return f"{OF_DATA}{dataset.name} ({_counted(found)}) instead of {study.named_data}"
    proven = not cut and "train" in expected
    if not named and not proven and dataset.name != Path(study.named_data).name:
        return (
            f"{OF_DATA}{dataset.name} ({_counted(found)}) taken for {study.named_data}, unproven"
        )
    if cut and expected:
        return f"{OF_DATA}cut to {_counted(found)}"
    return None


def run_stand_in(planned: PlannedRun, data: str | None) -> str | None:
    """Join what a run's network and its pictures stand in for."""
    parts = (planned.stand_in or "").split("; ")
    # a file that is settled says it already
    if not any(part.startswith(OF_DATA) for part in parts):
        parts.append(data or "")
    return "; ".join(dict.fromkeys(part for part in parts if part)) or None


def _counted(found: Mapping[str, Any]) -> str:
    words = {"classes": "classes", "train": "train", "validation": "validation", "test": "test"}
    return ", ".join(f"{found[name]:,} {word}" for name, word in words.items() if name in found)
