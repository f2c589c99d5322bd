"""Exports of real runs, in environments that have the runtime of their format and nothing else."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from tlfeat import compare, export, open_dataset, predict
from tlfeat.deploy.formats import FORMATS
from tlfeat.finetuning.plan import Phase
from tlfeat.studies.finetune import finetune

HEADS = ("logistic", "lda", "mlp", "svm-linear", "svm-rbf", "knn", "ensemble")


@pytest.fixture(scope="module")
def root(tmp_path_factory):
    return tmp_path_factory.mktemp("elsewhere")


@pytest.fixture(scope="module")
def runs(root, shared_data):
    """Give a run of each head on the garments, and a fine-tune, by name."""
    where = {"cache": root / "cache", "reports": root / "reports"}
    done = compare(shared_data / "clothing", heads=HEADS, **where)
    found = {run.head_settings.name: run for run in done.runs}
    tuned = finetune(shared_data / "clothing", phases=[Phase("full", 1)], size=96, **where)
    return found | {"finetune": tuned}


@pytest.fixture(scope="module")
def files(shared_data):
    """Give the files of all test pictures."""
    dataset = open_dataset(shared_data / "clothing")
    mine = [one for one in dataset.samples if one.split == "test"]
    return [shared_data / "clothing" / one.id for one in mine]


def environment(root, requirements):
    """Make an environment of what an export asks for, unless there is one."""
    wanted = requirements.read_text()
    folder = root / ("environment-" + "-".join(line.split("=")[0] for line in wanted.split()))
    python = folder / "bin" / "python"
    if not python.exists():
        subprocess.run([sys.executable, "-m", "venv", folder], check=True)
        install = [python, "-m", "pip", "install", "--quiet", "-r", requirements]
        subprocess.run(install, check=True)
    return python


@pytest.mark.slow
@pytest.mark.parametrize("row", FORMATS, ids=lambda row: row.name)
@pytest.mark.parametrize("name", [*HEADS, "finetune"])
def test_a_fresh_environment_says_the_same_of_all_test_pictures(root, runs, files, name, row):
    run = runs[name]
    done = export(run, row.name, out=root / name / row.name, cache=root / "cache")
    python = environment(root, done.folder / "requirements.txt")
    here = {"cwd": root, "capture_output": True, "text": True}
    lacking = subprocess.run([python, "-I", "-c", "import tlfeat"], **here, check=False)
    assert "No module named 'tlfeat'" in lacking.stderr
    said = subprocess.run(
        [python, "-I", done.folder / "predict.py", *files],
        env={**os.environ, "TF_CPP_MIN_LOG_LEVEL": "3"},
        **here,
        check=True,
    )
    answers = [json.loads(line) for line in said.stdout.splitlines() if line.startswith("{")]
    assert [Path(one["picture"]) for one in answers] == files
    for ours, theirs in zip(
        predict(run, files, top=len(done.labels), cache=root / "cache"), answers, strict=True
    ):
        shares = dict(ours.top)
        assert theirs["probabilities"] == pytest.approx(shares, abs=1e-3)
        first, second = sorted(shares.values())[-2:][::-1]
        assert theirs["label"] == ours.label or first - second < 1e-3
