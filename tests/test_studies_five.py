"""The five studies start with the networks that they name, are stopped, and go on.

With few pictures and random weights; everything else is as their files have it, but for the
number of epochs, and for the size of those whose pictures are larger than a test can wait for.
Building and training five large networks takes minutes: they are marked slow.
"""

import csv
from dataclasses import replace

import pytest

from tlfeat.studies.builtin import get_study
from tlfeat.studies.plan import read_study
from tlfeat.studies.run import run_study
from tlfeat.watch import Watch

pytestmark = [pytest.mark.timeout(1800), pytest.mark.slow]

# study, the run to stop, settings
CASES = {
    "gtsrb-nasnet": ("nasnet_mobile_with_classifier", ["run.*.epochs=2"]),
    "pcam-mobilenet": ("mobilenet", ["defaults.size=32", "run.mobilenet.phase.2.epochs=1",
                                     "run.mobilenet.phase.1.epochs=1"]),
    "food101-efficientnet": ("fine-1", ["defaults.size=32", "run.transfer.epochs=1",
                                        "run.fine-{start}.start=[1]",
                                        "run.fine-{start}.epochs=2"]),
    "wildlife-mobilenetv2": ("e-full-1e-06", ["defaults.size=32", "defaults.epochs=2"]),
    "wildlife-efficientnet": ("scratch", ["defaults.size=32", "defaults.epochs=2"]),
}  # fmt: skip


class Stopper(Watch):
    """Stops the work at a step of one run."""

    def __init__(self, run, step):
        self.run, self.left, self.on = run, step, False

    def part(self, name):
        self.on = self.on or name == self.run

    def start(self, what, total):
        self.training = what.startswith("training ")

    def step(self, n=1):
        if self.on and self.training:
            self.left -= n
            if self.left < 0:
                raise KeyboardInterrupt


def family(study, name):
    """Give a study with one run and those that it starts from, to save time."""
    by_name = {run.name: run for run in study.runs}
    wanted = [name]
    while by_name[wanted[-1]].parent:
        wanted.append(by_name[wanted[-1]].parent)
    return replace(study, runs=tuple(run for run in study.runs if run.name in wanted))


@pytest.mark.parametrize("name", CASES)
def test_a_study_passes_its_first_steps_is_stopped_and_goes_on(name, make_pictures, tmp_path):
    pictures = make_pictures(tmp_path / "pictures", per_class=8, side=32)
    run_name, settings = CASES[name]
    settings = ["defaults.weights=random", "defaults.batch=8", *settings]
    full = read_study(get_study(name).path, settings=settings, data=str(pictures))
    study = family(full, run_name)
    where = {"cache": tmp_path / "cache", "reports": tmp_path / "reports"}
    with pytest.raises(KeyboardInterrupt):
        run_study(study, watch=Stopper(run_name, 3), **where)
    folder = tmp_path / "reports" / name
    unfinished = next(folder.glob(f"runs/{run_name}-????????"))
    assert not (unfinished / "run.json").exists()
    assert (unfinished / "checkpoints" / "resume.npz").exists()

    done = run_study(study, **where)
    runs = {run.name: run for run in done.runs}
    assert list(runs) == [run.name for run in study.runs]
    with (unfinished / "history.csv").open() as file:
        assert [row["epoch"] for row in csv.DictReader(file)] == ["1", "2"]
    assert runs[run_name].path == unfinished
    # the scratch run of this one uses no weights, so random ones stand in for nothing
    random = "random weights" in str(runs[run_name].record["stand_in"])
    assert random == (name != "wildlife-efficientnet")
    assert "data: pictures (3 classes" in str(runs[run_name].record["stand_in"])
    planned = next(run for run in study.runs if run.name == run_name)
    if planned.parent:
        parent = runs[run_name].record["parent"]
        assert parent["run"] == runs[planned.parent].id
        assert parent["epoch"] == planned.epoch
