"""Processes that embed the same pictures, killed or side by side, end with one whole store."""

import random
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from conftest import SIZE

from tlfeat.features import pipeline
from tlfeat.features.extract import extract
from tlfeat.features.settings import FeatureSettings
from tlfeat.features.store import FeatureStore

BACKBONE = "efficientnet-lite0"


# Embeds a dataset and writes a byte to stdout for each picture that goes to the engine.
WORKER = """
import os
import sys
from pathlib import Path
from tlfeat.data.dataset import open_dataset
from tlfeat.data.digests import DigestIndex
from tlfeat.features import forward
from tlfeat.features.extract import embed
from tlfeat.features.settings import FeatureSettings
from tlfeat.where import Where

cache = Path(sys.argv[1])
open_engine = forward.open_engine

class Counted:
    device = "CPU"
    def __init__(self, engine):
        self.engine, self.name, self.batch = engine, engine.name, engine.batch
        self.versions, self.close = engine.versions, engine.close
    def run(self, batches):
        def counted():
            for token, pixels in batches:
                os.write(1, b"x" * len(pixels))
                yield token, pixels
        return self.engine.run(counted())

forward.open_engine = lambda *a, **k: Counted(open_engine(*a, **k))
dataset = open_dataset(sys.argv[2], digests=DigestIndex(cache))
embed(dataset, [FeatureSettings("efficientnet-lite0", size=32).resolve()], Where(cache))
"""


@pytest.fixture(scope="module")
def arrays(tmp_path_factory):
    """Give a file of 900 tiny pictures."""
    path = tmp_path_factory.mktemp("arrays") / "tiny.npz"
    random = np.random.default_rng(0)
    pixels = random.integers(0, 256, (900, 8, 8, 3), dtype=np.uint8)
    np.savez(path, x_train=pixels, y_train=np.arange(900) % 3)
    return path


def start(arrays: Path, cache: Path) -> subprocess.Popen[bytes]:
    return subprocess.Popen(
        [sys.executable, "-c", WORKER, str(cache), str(arrays)], stdout=subprocess.PIPE
    )


def finish(worker: subprocess.Popen[bytes]) -> int:
    """Wait for a worker; give the forwards that it did and had not told yet."""
    with worker:
        return len(worker.stdout.read())


def rows_by_digest(arrays, cache):
    features = extract(arrays, BACKBONE, size=SIZE, cache=cache)
    return dict(zip(features.digests, features.X, strict=True))


@pytest.fixture(scope="module")
def undisturbed(arrays, tmp_path_factory, networks):
    folder = tmp_path_factory.mktemp("undisturbed")
    (folder / "networks").symlink_to(networks)
    return rows_by_digest(arrays, folder)


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_thirty_kills_lose_nothing_and_repeat_little(arrays, cache, undisturbed):
    chance = random.Random(0)
    forwards = kills = 0
    for _ in range(30):
        worker = start(arrays, cache)
        forwards += len(worker.stdout.read(chance.randrange(1, 120)))
        worker.kill()
        forwards += finish(worker)
        kills += worker.returncode == -signal.SIGKILL
    last = start(arrays, cache)
    forwards += finish(last)
    assert last.returncode == 0
    assert kills >= 20
    rows = rows_by_digest(arrays, cache)
    assert rows.keys() == undisturbed.keys()
    for digest, row in undisturbed.items():
        np.testing.assert_array_equal(rows[digest], row)
    in_flight = 64
    assert forwards <= len(rows) + kills * (pipeline.BLOCK_ROWS + in_flight)
    assert not list((cache / "features").glob("*.damaged*"))


def test_two_processes_end_with_one_complete_copy(arrays, cache, undisturbed):
    workers = [start(arrays, cache) for _ in range(2)]
    for worker in workers:
        finish(worker)
        assert worker.returncode == 0
    request = FeatureSettings(BACKBONE, size=SIZE).resolve()
    entry = FeatureStore(cache).open(request.recipes[0].entry_name)
    assert entry.rows == len(undisturbed)
    rows = rows_by_digest(arrays, cache)
    assert all(np.array_equal(rows[digest], row) for digest, row in undisturbed.items())
