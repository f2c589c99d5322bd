"""Calling functions on the workers of a cluster, as if they were called here."""

from collections.abc import Callable
from threading import Lock
from typing import Any, Final, TypeVar

from tlfeat.cluster.join import Cluster
from tlfeat.cluster.parcels import Parcel, Received, Sender
from tlfeat.cluster.trouble import errors_as_ours

T = TypeVar("T")

TRIES: Final = 5  # of what is lost with its worker
_LOOK: Final = 5.0  # seconds after which it is seen whether the cluster is still there


class Caller:
    """Calls functions on a cluster; from any thread, and each call waits for its answer.

    What a lost worker was at is done again by another.

    Parameters
    ----------
    cluster : Cluster
    large : type
        Of what many calls need: each such object is sent to the cluster once.
    cpus, gpus : int
        Of a node, that one call takes.
    own_process : bool
        Whether each call has one, which ends with it.
    """

    def __init__(
        self,
        cluster: Cluster,
        large: type,
        *,
        cpus: int = 1,
        gpus: int = 0,
        own_process: bool = False,
    ) -> None:
        self._ray, self._check = cluster.ray, cluster.check
        self._sender = Sender(self._ray, large)
        self._waiting: set[Any] = set()
        self._lock, self._is_over = Lock(), False
        task = self._ray.remote(
            num_cpus=cpus,
            num_gpus=gpus,
            max_retries=TRIES,  # what kills every worker that has it must not go on for ever
            max_calls=1 if own_process else 0,
            scheduling_strategy="SPREAD",
        )
        self._task = task(_answer)

    def __call__(self, function: Callable[[], T]) -> T:
        """Call a function, such as a `partial`, on some worker.

        Raises
        ------
        ClusterError
            If the cluster is lost.
        Exception
            What the function raised.
        """
        parcel = self._sender.pack(function)
        with errors_as_ours(self._ray):
            asked = self._task.remote(parcel)
            with self._lock:
                self._waiting.add(asked)
                is_over = self._is_over
            try:
                if is_over:
                    self._ray.cancel(asked, force=True)
                answer = self._answer_to(asked)
            finally:
                self._waiting.discard(asked)
        result: T = self._sender.unpack(answer)
        return result

    def _answer_to(self, asked: Any) -> bytes:
        while True:
            try:
                answer: bytes = self._ray.get(asked, timeout=_LOOK)
                return answer
            except self._ray.exceptions.GetTimeoutError:
                self._check()

    def cancel(self) -> None:
        """End all that is still waited for, or asked later, which then fails where it is."""
        with self._lock:
            self._is_over, waiting = True, tuple(self._waiting)
        for asked in waiting:
            self._ray.cancel(asked, force=True)


def _answer(parcel: Parcel) -> bytes:
    received = Received(parcel)
    return received.answered(received.thing())
