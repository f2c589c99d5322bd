"""What a cluster is asked for and told, without one."""

import gc
import pickle
import socket
import sys
import weakref
from concurrent.futures import Future
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from pictures import class_folder
from source_makers import (
    as_csv,
    as_hdf5,
    as_npz,
    as_parquet,
    as_tar,
    as_webdataset,
    as_zip,
)

from tlfeat.cluster.join import clustered, read_address
from tlfeat.cluster.trouble import errors_as_ours
from tlfeat.cluster.versions import check_versions, node_versions
from tlfeat.data.dataset import open_dataset
from tlfeat.data.digests import digest_of
from tlfeat.errors import ClusterError, HeadError, TlfeatError
from tlfeat.heads.ground import Ground
from tlfeat.heads.pool import Portable, Sparing, run_jobs
from tlfeat.runs.writing import _VERSIONED
from tlfeat.studies.finetunes import Ended, _begun, _ready, _settle
from tlfeat.where import Where


def test_all_that_runs_are_recorded_to_hang_on_must_be_the_same():
    assert {*_VERSIONED} <= node_versions().keys()


def test_a_ground_that_nobody_uses_is_gone_at_once():
    ground = Ground(np.eye(6, dtype=np.float32), np.array([0, 1] * 3), 2, None)
    np.testing.assert_array_equal(
        pickle.loads(pickle.dumps(ground.parts[1])).rows, ground.parts[1].rows
    )
    there = weakref.ref(ground)
    gc.disable()
    try:
        del ground
        assert there() is None
    finally:
        gc.enable()


def test_a_dataset_travels_without_how_it_was_named(tmp_path):
    dataset = replace(open_dataset(class_folder(tmp_path / "set")), given="https://me:word@host/a")
    assert b"word" not in pickle.dumps(dataset)


@pytest.mark.parametrize("text", ["spark", "ray:", "ray:host", "ray://host:10001", "rays", ""])
def test_what_names_no_cluster_is_told_what_does(text):
    with pytest.raises(ClusterError, match=rf"ray:HOST:PORT.* Got {text!r} instead"):
        read_address(text)
    with pytest.raises(ClusterError, match=r"ray:HOST:PORT"), clustered(Where(cluster=text)):
        pytest.fail("it was taken")


def test_an_address_where_nobody_listens_is_told_at_once():
    pytest.importorskip("ray")
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        address = f"127.0.0.1:{free.getsockname()[1]}"
        wanted = rf"no Ray cluster at {address} \(Connection refused\): start its head"
        with (
            clustered(Where(cluster=f"ray:{address}")) as cluster,
            pytest.raises(ClusterError, match=wanted),
        ):
            _ = cluster.cpus


def test_without_ray_the_extra_is_named(monkeypatch):
    monkeypatch.setitem(sys.modules, "ray", None)
    with (
        clustered(Where(cluster="ray")) as cluster,
        pytest.raises(ClusterError, match=r"pip install 'tlfeat\[ray\]'"),
    ):
        _ = cluster.cpus


def test_all_that_is_inside_shares_a_cluster_which_is_not_joined_for_nothing(monkeypatch):
    monkeypatch.setitem(sys.modules, "ray", None)
    with clustered(Where(cluster="ray")) as outer, clustered(Where(cluster="ray")) as inner:
        assert outer is inner
    with clustered(Where(cluster="ray")) as later:
        assert later is not outer
    with clustered(Where()) as none:
        assert none is None


def test_a_node_with_other_versions_is_named_with_both():
    ours = node_versions()
    assert ours["tlfeat"] != "none"
    check_versions(ours, {"one": dict(ours)})
    theirs = {**ours, "numpy": "1.0", "Python": "3.9"}
    wanted = rf"^two has Python 3\.9 \(here {ours['Python']}\), numpy 1\.0 \(here "
    with pytest.raises(ClusterError, match=wanted):
        check_versions(ours, {"one": dict(ours), "two": theirs})


MAKERS = [as_csv, as_zip, as_tar, as_webdataset, as_parquet, as_npz, as_hdf5]


@pytest.mark.parametrize("make", [lambda folder, path: folder, lambda *_: "digits", *MAKERS])
def test_an_open_source_reads_in_another_process_too(tmp_path, make):
    cloudpickle = pytest.importorskip("ray").cloudpickle
    dataset = open_dataset(make(class_folder(tmp_path / "set"), tmp_path / "other"))
    dataset.read(dataset.samples[0])  # whatever it opens for that
    travelled = cloudpickle.loads(cloudpickle.dumps(dataset.source))
    for sample in dataset.samples[:5]:
        assert digest_of(travelled.read(sample.locator)) == sample.digest


def test_a_file_becomes_a_copy_and_what_is_large_is_sent_once(tmp_path, monkeypatch):
    pytest.importorskip("ray")
    from tlfeat.cluster import parcels

    class Large:
        pass

    store: list[object] = []
    sender = parcels.Sender(
        SimpleNamespace(put=lambda thing: store.append(thing) or len(store) - 1), Large
    )
    monkeypatch.setattr("ray.get", lambda reference: store[reference])
    (tmp_path / "weights.h5").write_bytes(b"numbers")
    large = Large()
    sent = {"file": tmp_path / "weights.h5", "folder": tmp_path, "large": large}
    sender.pack(sent)
    received = parcels.Received(sender.pack(sent))
    assert len(store) == 2
    copy = received.thing["file"]
    assert copy != tmp_path / "weights.h5"
    assert (copy.name, copy.read_bytes()) == ("weights.h5", b"numbers")
    assert received.thing["folder"] == tmp_path
    assert sender.unpack(received.answered([received.thing["large"]]))[0] is large


def test_what_a_worker_raised_is_raised_here():
    exceptions = pytest.importorskip("ray.exceptions")
    ray = SimpleNamespace(exceptions=exceptions, is_initialized=lambda: True)
    failed = exceptions.RayTaskError("f", "a traceback", HeadError("one class only"))
    with pytest.raises(HeadError, match=r"^one class only$"), errors_as_ours(ray):
        raise failed.as_instanceof_cause()
    with pytest.raises(ClusterError, match=r"What is finished is kept"), errors_as_ours(ray):
        raise exceptions.NodeDiedError("the last node died")
    with pytest.raises(ValueError, match=r"a defect"), errors_as_ours(ray):
        raise exceptions.RayTaskError(
            "f", "a defect", ValueError("a defect")
        ).as_instanceof_cause()


def test_only_portable_tasks_are_done_elsewhere_and_sparing_ones_nowhere():
    done: list[str] = []

    def job():
        mine, sent, _ = yield [
            lambda: done.append("here") or 1,
            Portable(done.append, "elsewhere"),
            Sparing(done.append, "for nothing"),
        ]
        return mine, sent

    assert run_jobs([job()], 2, elsewhere=lambda task: task.args) == [(1, ("elsewhere",))]
    assert done == ["here"]


def planned(name: str, parent: str | None = None) -> SimpleNamespace:
    return SimpleNamespace(name=name, parent=parent, epoch=None, start=None)


def test_a_fine_tune_waits_for_its_parent_and_is_refused_without():
    first, child, orphan = planned("first"), planned("child", "first"), planned("orphan", "gone")
    ended = Ended({}, {})
    waiting = [first, child, orphan]
    assert _ready(waiting, {}, ended) == [first]
    assert waiting == [first, child]
    assert ended.refused == {"orphan": "gone, which it starts from, is not finished."}
    assert _ready([child], {Future(): first}, ended) == []
    ended.done["first"] = SimpleNamespace(path=Path("runs/first"))
    assert _ready([child], {}, ended) == [child]


def test_a_lost_cluster_is_no_reason_to_refuse_a_run():
    def begin(job: object, effort: object) -> object:
        raise TlfeatError("too few pictures")

    ended = Ended({}, {})
    future = _begun(planned("one"), lambda *_: None, begin, None, ended)
    _settle(planned("one"), future, ended, raises=False)
    assert ended.refused == {"one": "too few pictures"}
    lost: Future[object] = Future()
    lost.set_exception(ClusterError("The Ray cluster failed"))
    with pytest.raises(ClusterError):
        _settle(planned("two"), lost, ended, raises=False)
