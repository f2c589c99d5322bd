"""What travels between this process and workers: pickled, but for what is sent once.

A matrix or a dataset that many tasks need is put into the object store; parcels have its name, and
a worker reads it once for all of them. A path of a file that lies here becomes, on a worker, the
path of a copy of it.
"""

import atexit
import io
import os
import pickle
import shutil
import tempfile
from collections.abc import Callable, Mapping
from functools import cache, lru_cache
from pathlib import Path
from threading import Lock
from typing import Any, Final, NamedTuple

from tlfeat.files import clear_abandoned, make_folder, new_name

_KEPT: Final = 2  # large objects that a worker keeps


class Parcel(NamedTuple):
    """Something on its way to workers."""

    data: bytes
    sent: Mapping[str, Any]  # name to reference, of what lies in the object store


class Sender:
    """Makes parcels, and remembers what was sent already; from any thread.

    Parameters
    ----------
    ray : module
    large : type, optional
        Each object of this type is put into the object store once, and parcels have its name.
    """

    def __init__(self, ray: Any, large: type | None = None) -> None:
        self._ray, self._large, self._lock = ray, large, Lock()
        self._sent: dict[str, Any] = {}
        self._objects: dict[str, Any] = {}  # which thereby keep their id

    def pack(self, thing: Any) -> Parcel:
        """Pickle something for a worker."""
        used: dict[str, Any] = {}

        def name_of(one: Any) -> str | None:
            make: Callable[[], Any]
            if isinstance(one, Path) and one.is_file():
                name, make = f"file {one}", lambda: (one.name, one.read_bytes())
            elif self._large is not None and isinstance(one, self._large):
                name, make = f"object {id(one)}", lambda: one
            else:
                return None
            with self._lock:
                if name not in self._sent:
                    self._objects[name], self._sent[name] = one, self._ray.put(make())
                used[name] = self._sent[name]
            return name

        return Parcel(_dumps(thing, name_of), used)

    def unpack(self, answer: bytes) -> Any:
        """Read what `Received.answered` has packed."""
        return _Reader(io.BytesIO(answer), self._objects.__getitem__).load()


class Received:
    """A parcel, opened by a worker."""

    def __init__(self, parcel: Parcel) -> None:
        self._sent = parcel.sent
        self._found: dict[str, Any] = {}  # which thereby keep their id
        self.thing = _Reader(io.BytesIO(parcel.data), self._find).load()

    def answered(self, thing: Any) -> bytes:
        """Pickle something for who has sent the parcel."""
        names = {id(one): name for name, one in self._found.items()}
        return _dumps(thing, lambda one: names.get(id(one)))

    def _find(self, name: str) -> Any:
        if name.startswith("file "):
            return _copy_of(self._sent[name])
        self._found[name] = fetched(self._sent[name])
        return self._found[name]


@lru_cache(maxsize=_KEPT)
def fetched(reference: Any) -> Any:
    """Give what lies in the object store, read once in each process that works."""
    import ray

    return ray.get(reference)


@cache
def _copy_of(reference: Any) -> Path:
    """Write a file once in each process that works; it goes with the process."""
    import ray

    name, data = ray.get(reference)
    path = Path(tempfile.mkdtemp(dir=_folder()), name)
    path.write_bytes(data)
    return path


@cache
def _folder() -> Path:
    folder = new_worker_folder()
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    return folder


def new_worker_folder() -> Path:
    """Make a folder of a worker; of those whose workers were killed the next one clears away."""
    mine = Path(tempfile.gettempdir(), f"tlfeat-workers-{os.getuid()}")
    make_folder(mine)
    clear_abandoned(mine)
    folder = new_name(mine / "files")
    folder.mkdir(mode=0o700)
    return folder


def _dumps(thing: Any, name_of: Callable[[Any], str | None]) -> bytes:
    """Pickle something, and functions that have no module; what has a name by it alone."""
    from ray import cloudpickle

    class Writer(cloudpickle.Pickler):  # type: ignore[misc]
        def persistent_id(self, one: Any) -> str | None:
            return name_of(one)

    buffer = io.BytesIO()
    Writer(buffer, protocol=5).dump(thing)
    return buffer.getvalue()


class _Reader(pickle.Unpickler):
    def __init__(self, file: io.BytesIO, find: Callable[[str], Any]) -> None:
        super().__init__(file)
        self._find = find

    def persistent_load(self, name: str) -> Any:
        return self._find(name)
