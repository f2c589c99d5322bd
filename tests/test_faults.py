"""A tenth of the series of faults; `make faults` runs all of it."""

from pathlib import Path

import pytest
from faults.common import Scene
from faults.series import SERIES, Part

# Both wait for the writer and the checksums of a run's record.
KNOWN = {
    "flips": pytest.mark.xfail(reason="run.json has no checksum yet", strict=False),
    "disks": pytest.mark.xfail(reason="run.json is not written by tlfeat.files yet", strict=False),
}


@pytest.mark.parametrize(
    "part",
    [pytest.param(part, marks=KNOWN.get(part.name, ()), id=part.name) for part in SERIES],
)
def test_no_fault_does_harm(part: Part, tmp_path: Path, networks: Path) -> None:
    outcome = part.run(Scene(tmp_path, networks), part.tenth)
    assert outcome.tried == part.tenth
    assert outcome.wrong == []
