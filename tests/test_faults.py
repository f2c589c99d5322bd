"""A few of each of the series of faults; `make faults` runs all of it."""

from pathlib import Path

import pytest
from faults.common import Scene
from faults.series import SERIES, Part

SLOW = ("finetune", "study", "disks", "flips")


@pytest.mark.parametrize(
    "part",
    [
        pytest.param(part, id=part.name, marks=[pytest.mark.slow] if part.name in SLOW else [])
        for part in SERIES
    ],
)
def test_no_fault_does_harm(part: Part, tmp_path: Path, networks: Path) -> None:
    outcome = part.run(Scene(tmp_path, networks), part.few)
    assert outcome.tried == part.few
    assert outcome.wrong == []
