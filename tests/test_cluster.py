"""On a Ray cluster all comes out as on one machine, whatever dies on the way."""

import dataclasses
import os
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from conftest import SIZE

from tlfeat.cluster.calls import Caller
from tlfeat.cluster.join import clustered
from tlfeat.data.dataset import Dataset, open_dataset
from tlfeat.data.digests import DigestIndex
from tlfeat.errors import ClusterError
from tlfeat.features.extract import embed, extract
from tlfeat.features.matrix import Features, open_entry
from tlfeat.features.settings import FeatureSettings
from tlfeat.features.store import FeatureStore
from tlfeat.studies.compare import compare
from tlfeat.studies.run import run_study
from tlfeat.watch import Watch
from tlfeat.where import Where

ray = pytest.importorskip("ray")

NODES = 3
STUDY = """
schema = 1
name = "six"
[data]
path = {path!r}
[defaults]
backbone = "plain-cnn"
size = 32
batch = 16
[[run]]
name = "rate-{{learning_rate}}"
learning_rate = [1e-2, 1e-3, 1e-4, 1e-5]
keep = "all"
[[run.phase]]
mode = "scratch"
epochs = 1
[[run]]
name = "on-{{start}}"
start = [1e-2, 1e-3]
from = "rate-{{start}}@1"
[[run.phase]]
mode = "full"
epochs = 1
"""


@pytest.fixture(scope="module")
def nodes() -> Iterator[Any]:
    """Give a cluster of three nodes of one processor, which are processes of this machine."""
    from ray.cluster_utils import Cluster

    cluster = Cluster(
        initialize_head=True, head_node_args={"num_cpus": 1, "include_dashboard": False}
    )
    for _ in range(NODES - 1):
        cluster.add_node(num_cpus=1)
    yield cluster
    cluster.shutdown()


@pytest.fixture
def cluster(nodes: Any) -> Iterator[str]:
    """Give what names the cluster, and see that it is left at the end."""
    yield f"ray:{nodes.address}"
    assert not ray.is_initialized()


class OnFirstRow(Watch):
    """Does something once, when the first rows have come."""

    def __init__(self, do: Callable[[], object]) -> None:
        self.do, self.rows = do, 0

    def step(self, n: int = 1) -> None:
        before, self.rows = self.rows, self.rows + n
        if n and not before:
            self.do()


def rows_of(data: Path, cache: Path, **settings: Any) -> tuple[Features, int]:
    """Give the features that are stored, and the number of rows; nothing may be missing."""
    dataset = open_dataset(data, digests=DigestIndex(cache))
    request = FeatureSettings(**settings).resolve(cache)
    watch = OnFirstRow(lambda: pytest.fail("a picture was missing"))
    features = extract(dataset, FeatureSettings(**settings), cache=cache, watch=watch)
    return features, open_entry(FeatureStore(cache), request.recipes[0]).rows


def check_loss_of_a_node(nodes: Any, cluster: str, data: Path, cache: Path, alone: Path) -> None:
    """Embed on the cluster, of which a node dies on the way, and alone; compare."""

    def lose_a_node() -> None:
        mine = ray.get_runtime_context().get_node_id()  # of the one that this process talks to
        lost = next(node for node in nodes.worker_nodes if node.node_id != mine)
        nodes.remove_node(lost, allow_graceful=False)

    watch = OnFirstRow(lose_a_node)
    dataset = open_dataset(data, digests=DigestIndex(cache))
    request = FeatureSettings(size=SIZE).resolve(cache)
    try:
        done = embed(dataset, [request], Where(cache, cluster=cluster, watch=watch))
    finally:
        nodes.add_node(num_cpus=1)
    pictures = len({sample.digest for sample in dataset.samples})
    assert done.embedded == pictures
    assert watch.rows == pictures
    (alone / "networks").symlink_to((cache / "networks").resolve())
    extract(open_dataset(data), size=SIZE, cache=alone)
    here, there = rows_of(data, alone, size=SIZE), rows_of(data, cache, size=SIZE)
    assert here[1] == there[1] == pictures
    assert here[0].ids == there[0].ids
    np.testing.assert_allclose(there[0].X, here[0].X, atol=1e-5)


@pytest.fixture
def alone(tmp_path: Path) -> Path:
    """Give the folder of a store beside the one that the cluster's driver writes."""
    (tmp_path / "alone").mkdir()
    return tmp_path / "alone"


@pytest.mark.slow
def test_a_node_that_dies_on_the_way_costs_no_row(
    nodes, cluster, cache, alone, make_pictures, tmp_path
):
    data = make_pictures(tmp_path / "many", per_class=100)
    check_loss_of_a_node(nodes, cluster, data, cache, alone)


@pytest.mark.slow
def test_traffic_signs_lose_no_row_either(nodes, cluster, cache, alone, shared_data):
    check_loss_of_a_node(nodes, cluster, shared_data / "gtsrb", cache, alone)


def test_broken_pictures_and_several_layers_are_as_on_one_machine(cluster, cache, alone, pictures):
    (pictures / "red" / "notes.jpg").write_text("no picture")
    settings = {"size": SIZE, "features": "last:avg+stage4:grid2"}
    (alone / "networks").symlink_to((cache / "networks").resolve())
    here = extract(pictures, cache=alone, **settings)
    there = extract(pictures, cache=cache, cluster=cluster, **settings)
    assert there.skipped == here.skipped
    assert len(there.skipped) == 1
    np.testing.assert_allclose(there.X, here.X, atol=1e-5)


def test_what_was_done_before_an_interrupt_is_kept(cluster, cache, pictures):
    def interrupt() -> None:
        raise KeyboardInterrupt

    dataset, request = open_dataset(pictures), FeatureSettings(size=SIZE).resolve(cache)
    where = Where(cache, cluster=cluster)
    with pytest.raises(KeyboardInterrupt):
        embed(dataset, [request], dataclasses.replace(where, watch=OnFirstRow(interrupt)))
    again = embed(dataset, [request], where)
    assert again.there > 0
    assert again.there + again.embedded == 36


class OnlyHere:
    """A source of pictures that this process alone can read."""

    kind = "folder"

    def __init__(self, source: Any) -> None:
        self.source, self.process = source, os.getpid()

    def read(self, locator: Any) -> Any:
        if os.getpid() != self.process:
            raise FileNotFoundError("No such file or directory")
        return self.source.read(locator)


def test_pictures_that_a_node_lacks_are_one_sentence(cluster, cache, pictures, monkeypatch):
    from ray import cloudpickle

    cloudpickle.register_pickle_by_value(__import__(__name__))
    dataset = open_dataset(pictures)
    dataset = dataclasses.replace(dataset, source=OnlyHere(dataset.source))
    request = FeatureSettings(size=SIZE).resolve(cache)
    wanted = rf"\(node \w+\) \(and {NODES - 1} more of {NODES} nodes\) cannot read the picture "
    with pytest.raises(ClusterError, match=wanted + r".*No such file.*s3://"):
        embed(dataset, [request], Where(cache, cluster=cluster))
    assert open_entry(FeatureStore(cache), request.recipes[0]).rows == 0


@pytest.mark.slow
def test_actors_with_a_gpu_are_sent_squares(nodes, cache, alone, pictures):
    node = nodes.add_node(num_cpus=1, num_gpus=1)  # which it says it has
    try:
        there = extract(pictures, cache=cache, size=SIZE, cluster=f"ray:{nodes.address}")
    finally:
        nodes.remove_node(node)
    np.testing.assert_allclose(there.X, extract(pictures, cache=alone, size=SIZE).X, atol=1e-4)


def end_at_once() -> None:
    os._exit(1)


def test_what_kills_every_worker_ends_with_a_sentence(cluster):
    with clustered(Where(cluster=cluster)) as joined:
        call = Caller(joined, Dataset)
        with pytest.raises(ClusterError, match="The Ray cluster failed: "):
            call(end_at_once)


def table_of(study: Path) -> list[str]:
    """Give the lines of results.csv but for the times."""
    lines = (study / "results.csv").read_text(encoding="utf-8").splitlines()
    return [line for line in lines if "seconds" not in line and "ms_per_image" not in line]


@pytest.mark.parametrize("validation", [False, True])
def test_heads_have_the_same_table(cluster, cache, tmp_path, make_pictures, validation):
    data = tmp_path / "set"
    make_pictures(data / "train", per_class=12)
    make_pictures(data / "test", per_class=4, seed=1)
    if validation:
        make_pictures(data / "validation", per_class=4, seed=2)
    asked = {"heads": ["logistic", "mlp", "ensemble", "knn"], "features": ["last:avg"]}
    settings = FeatureSettings(size=SIZE)
    tables = [
        table_of(
            compare(data, [settings], cache=cache, reports=tmp_path / name, **asked, **how).folder
        )
        for name, how in (("here", {}), ("there", {"cluster": cluster}))
    ]
    assert len(tables[0]) > 40
    assert tables[0] == tables[1]


@pytest.mark.slow
def test_fine_tunes_run_side_by_side_and_have_the_same_ids(
    cluster, cache, tmp_path, pictures, monkeypatch
):
    (tmp_path / "six.toml").write_text(STUDY.format(path=str(pictures)))
    most, running, lock = 0, 0, threading.Lock()
    call = Caller.__call__

    def counted(self: Caller, function: Callable[[], Any]) -> Any:
        nonlocal most, running
        with lock:
            running += 1
            most = max(most, running)
        try:
            return call(self, function)
        finally:
            with lock:
                running -= 1

    monkeypatch.setattr(Caller, "__call__", counted)
    ids = []
    for name, how in (("here", {}), ("there", {"cluster": cluster})):
        done = run_study(tmp_path / "six.toml", cache=cache, reports=tmp_path / name, **how)
        assert not done.refused
        assert all((run.path / "model.keras").is_file() for run in done.runs)
        ids.append({run.name: run.id for run in done.runs})
    assert len(ids[0]) == 6
    assert ids[0] == ids[1]
    assert most == NODES
