"""Joining a Ray cluster, or starting one on this machine for as long as it is needed.

Ray is imported, and the cluster joined, only when the first piece of work is for it: a warm run
waits for neither.
"""

import logging
import os
import platform
import re
import socket
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from functools import cached_property
from threading import Thread
from typing import Any, Final

from tlfeat.cluster.versions import check_versions, node_versions
from tlfeat.cores import usable_cores
from tlfeat.errors import ClusterError, first_line
from tlfeat.watch import Watch
from tlfeat.where import Where

# Ray opens a connection to count its users, and tells its own news on the terminal, unless told.
_QUIET: Final = {
    "RAY_USAGE_STATS_ENABLED": "0",
    "RAY_BACKEND_LOG_LEVEL": "fatal",
    "RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO": "0",
}
_PATIENCE: Final = 10.0  # seconds in which the head may not answer
_current: "Cluster | None" = None


def read_address(text: str) -> str | None:
    """Give the address in ray[:ADDRESS]; None where a cluster is to be started here.

    Raises
    ------
    ClusterError
        If it is something else.

    Examples
    --------
    >>> read_address("ray"), read_address("ray:10.0.0.1:6379")
    (None, '10.0.0.1:6379')
    """
    read = re.fullmatch(r"ray(?::([^/]+:[0-9]+))?", text)
    if read is None:
        raise ClusterError(
            "cluster must be ray, a cluster that is started on this machine, or ray:HOST:PORT, "
            f"that of the head node, as in ray:10.0.0.1:6379. Got {text!r} instead."
        )
    return read[1]


@contextmanager
def clustered(where: Where) -> Iterator["Cluster | None"]:
    """Give the cluster that work is to be done on; None where it is to be done here.

    All inside share it: who asks again gets the same one. It is joined when it is first used; one
    that is started for this is stopped at the end, one that the process is connected to already
    is used, whatever the address, and left alone.

    Raises
    ------
    ClusterError
        If `where.cluster` names none.
    """
    global _current
    if where.cluster is None:
        yield None
        return
    address = read_address(where.cluster)
    if _current is not None:
        yield _current
        return
    _current = Cluster(address, where.jobs, where.watch)
    try:
        yield _current
    finally:
        cluster, _current = _current, None
        cluster.leave()


class Cluster:
    """A Ray cluster, joined when it is first used.

    Parameters
    ----------
    address : str or None
        Of its head node; None starts one on this machine.
    jobs : int, optional
        Workers at the most; one a core of the cluster if None.
    watch : Watch
    """

    def __init__(self, address: str | None, jobs: int | None, watch: Watch) -> None:
        self._address, self._jobs, self._watch = address, jobs, watch
        self._is_ours = self._is_lost = False

    @cached_property
    def ray(self) -> Any:
        """The module, connected.

        Raises
        ------
        ClusterError
            If Ray is not installed, the cluster does not answer, or a node has other versions.
        """
        ray = _import_ray()
        if not ray.is_initialized():
            at = self._address
            self._watch.doing("starting Ray on this machine" if at is None else f"joining {at}")
            self._connect(ray)
            self._is_ours = True
        try:
            check_versions(node_versions(), self._on_each_node(ray, node_versions))
        except BaseException:
            self.leave()
            raise
        return ray

    def _connect(self, ray: Any) -> None:
        how: dict[str, Any] = {"address": self._address}
        if self._address is None:
            # "local" starts one even where RAY_ADDRESS names another
            how = {"address": "local", "num_cpus": self._jobs or usable_cores()}
            how["include_dashboard"] = False
        try:
            if self._address is not None:
                _knock(self._address)  # Ray would try for minutes
            with _silent_foreign_code():
                ray.init(**how, log_to_driver=False, logging_level=logging.ERROR)
            _show_news(False)
        except (ConnectionError, RuntimeError, ValueError, OSError) as error:
            where = self._address or "this machine"
            raise ClusterError(
                f"There is no Ray cluster at {where} ({_reason(error)}): start its "
                "head with `ray start --head --port=6379`, and name it as ray:HOST:6379 on a "
                "machine that is part of it."
            ) from error

    @cached_property
    def cpus(self) -> int:
        """Workers that may be busy at once."""
        there = int(self.ray.cluster_resources().get("CPU", 0))
        if there < 1:
            raise ClusterError("The Ray cluster has no CPUs: start a node with one or more.")
        return min(there, self._jobs or there)

    @property
    def cpus_of_a_node(self) -> int:
        """The most that one piece of work can have."""
        return max(int(node["Resources"].get("CPU", 0)) for node in _nodes(self.ray))

    @cached_property
    def gpus(self) -> int:
        """GPUs of the whole cluster."""
        return int(self.ray.cluster_resources().get("GPU", 0))

    @property
    def is_of_this_machine(self) -> bool:
        """Whether all of its nodes are processes of this machine."""
        here = platform.node()
        return all(node["NodeManagerHostname"] == here for node in _nodes(self.ray))

    def on_each_node(self, function: Callable[..., Any], *arguments: Any) -> dict[str, Any]:
        """Call a function once on every node; give what it returned by the node's name."""
        return self._on_each_node(self.ray, function, *arguments)

    @staticmethod
    def _on_each_node(ray: Any, function: Callable[..., Any], *arguments: Any) -> dict[str, Any]:
        from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

        task = ray.remote(num_cpus=0)(function)
        asked = {}
        for node in _nodes(ray):
            on_it = NodeAffinitySchedulingStrategy(node["NodeID"], soft=False)
            name = f"{node['NodeManagerHostname']} (node {node['NodeID'][:8]})"
            asked[name] = task.options(scheduling_strategy=on_it).remote(*arguments)
        told = {}
        for name, answer in asked.items():
            try:
                told[name] = ray.get(answer)
            except ray.exceptions.RayTaskError:
                raise
            except ray.exceptions.RayError:  # the node has died, and is no part of it any more
                continue
        return told

    def check(self) -> None:
        """See that the head still answers; Ray itself waits, and then ends the process unasked.

        Raises
        ------
        ClusterError
            If it has not for a while.
        """
        address = self.ray.get_runtime_context().gcs_address
        until = time.monotonic() + _PATIENCE
        while True:
            try:
                return _knock(address)
            except OSError as error:
                if time.monotonic() > until:
                    self._is_lost = True
                    raise ClusterError(
                        f"The head of the Ray cluster at {address} does not answer any more "
                        f"({_reason(error)}). What is finished is kept: the same command goes on "
                        "from there once a cluster is there."
                    ) from error
                time.sleep(1)

    def leave(self) -> None:
        """Let go of a cluster that was joined, or started, for this."""
        if self._is_ours:
            self._is_ours = False
            # one that is lost is not waited for
            leaving = Thread(target=_import_ray().shutdown, daemon=True)
            leaving.start()
            leaving.join(_PATIENCE if self._is_lost else None)
            _show_news(True)
        vars(self).pop("ray", None)


def _knock(address: str) -> None:
    """See that something listens at HOST:PORT; raise OSError where nothing does."""
    host, _, port = address.rpartition(":")
    socket.create_connection((host.strip("[]"), int(port)), timeout=_PATIENCE).close()


def _reason(error: Exception) -> str:
    told = error.strerror if isinstance(error, OSError) else None
    return (told or first_line(error)).rstrip(".")


def _nodes(ray: Any) -> list[dict[str, Any]]:
    """Give the nodes that work is done on."""
    there = [node for node in ray.nodes() if node["Alive"]]
    return [one for one in there if one["Resources"].get("CPU") or one["Resources"].get("GPU")]


def _import_ray() -> Any:
    for name, value in _QUIET.items():
        os.environ.setdefault(name, value)
    try:
        import ray
        import ray.data
        import ray.exceptions
    except ImportError as error:
        raise ClusterError(
            f"A cluster needs Ray, which is not installed ({first_line(error)}): "
            "pip install 'tlfeat[ray]'"
        ) from error
    logging.getLogger("ray.data").setLevel(logging.ERROR)
    return ray


def _show_news(shown: bool) -> None:
    """Let what nodes report, such as the last lines of one that died, be printed on stdout or not.

    `log_to_driver` leaves them, and the switch of Ray's debugger is the only one.
    """
    with suppress(ImportError):
        from ray._private import worker

        worker._worker_logs_enabled = shown


@contextmanager
def _silent_foreign_code() -> Iterator[None]:
    """Let what is not Python write nothing to the terminal; Python's own stderr goes on."""
    try:
        is_real = sys.stderr.fileno() == 2
    except (AttributeError, OSError, ValueError):
        is_real = False
    if not is_real:
        yield
        return
    shown, kept = sys.stderr, os.dup(2)
    nothing = os.open(os.devnull, os.O_WRONLY)
    sys.stderr = os.fdopen(kept, "w", buffering=1, closefd=False)
    os.dup2(nothing, 2)
    try:
        yield
    finally:
        sys.stderr = shown
        os.dup2(kept, 2)
        os.close(nothing)
        os.close(kept)
