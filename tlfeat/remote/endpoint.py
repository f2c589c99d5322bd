"""Objects on a server: listed, read and written through fsspec, with patience.

Every request is tried again, with back-off, while there is hope: a server that stumbles (500, a
body cut short) is asked a few times for one object, which is then left out like a file that
cannot be read. A server that does not answer at all, or is busy (503, 429), is waited for, the
longer if it has answered before, and then it is an error that names it, not thousands of pictures
left out.

Who may read is settled by each driver in its own ways (for s3: the environment, ~/.aws, roles);
nothing of that passes through here.
"""

import importlib
import os
import random
import re
import shutil
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from datetime import datetime
from email.utils import parsedate_to_datetime
from functools import cache
from pathlib import Path
from typing import IO, Any, NamedTuple, TypeVar
from urllib.parse import urlsplit

from tlfeat.errors import DataError
from tlfeat.remote.urls import is_web, scheme_of, sendable, without_secrets

T = TypeVar("T")

AT_ONCE = 48  # requests under way: at 100 ms each, as many pictures as eight cores embed
TRIES = 8  # for one object, of a server that answers
KNOWN_SECONDS = 60.0  # that a server which has answered before is waited for
NEW_SECONDS = 8.0  # that one which never has is
_PIECE = 2**20  # bytes
_FIRST_PAUSE, _LONGEST_PAUSE = 0.1, 2.0  # seconds

_S3 = frozenset({"s3", "s3a"})
_PACKAGES = {"s3": "s3fs", "s3a": "s3fs", "http": "aiohttp", "https": "aiohttp"}
_BUSY = frozenset({408, 425, 429, 502, 503, 504})  # nobody is there who could answer
_REFUSED = frozenset({401, 403})
# What drivers call it where there was no answer at all.
_SILENT = re.compile(r"Connect|Timeout|Disconnect|HTTPClientError|gaierror|ClientOSError")


class RemoteObject(NamedTuple):
    """One object of a server, as a listing or a question tells of it."""

    url: str
    size: int | None
    etag: str
    modified_ns: int | None
    ranges: bool = True  # parts of it can be asked for


class Endpoint:
    """A server, or what stands for one: all objects of a scheme and host.

    Safe in threads; `endpoint_of` gives it.
    """

    def __init__(self, scheme: str, name: str) -> None:
        self.scheme, self.name = scheme, name
        self._lock = threading.Lock()
        self._answered = False
        self._silent_since: float | None = None  # the first request of those that got no answer

    def __reduce__(self) -> tuple[Any, ...]:
        return endpoint_of, (self._example,)

    @property
    def _example(self) -> str:
        return f"{self.scheme}://{self.name if is_web(self.scheme + '://') else ''}"

    def about(self, url: str) -> RemoteObject | None:
        """Ask for one object; None where it is a folder.

        Raises
        ------
        FileNotFoundError
            If nothing is there.
        OSError
            If the server does not let it be seen.
        DataError
            If the server does not answer, or wants credentials that are not there.
        """
        found = self._asked(
            url, lambda: _filesystem(self.scheme, patient=False).info(sendable(url))
        )
        return None if found.get("type") == "directory" else _as_object(url, found)

    def objects(self, url: str) -> list[RemoteObject]:
        """List all objects below a folder, sorted by their URLs; raises like `about`."""
        system = _filesystem(self.scheme, patient=True)
        found = self._asked(url, lambda: system.find(url, detail=True, withdirs=False))
        top, base = url.rstrip("/"), str(system._strip_protocol(url)).rstrip("/")
        listed = (_as_object(top + name.removeprefix(base), one) for name, one in found.items())
        return sorted(
            (one for one in listed if not one.url.endswith("/")), key=lambda one: one.url
        )

    def read(self, url: str, start: int, stop: int) -> bytes:
        """Read the bytes of an object from `start` to before `stop`; raises like `about`."""
        system = _filesystem(self.scheme, patient=False)

        def part() -> bytes:
            data = bytes(system.cat_file(sendable(url), start=start, end=stop))
            if len(data) < stop - start:
                raise _CutShort(f"{len(data):,} of {stop - start:,} bytes came")
            return data if len(data) == stop - start else data[start:stop]  # parts are not given

        return self._asked(url, part)

    def gives_parts(self, url: str) -> bool:
        """Say whether a part of an object is given, or all of it whatever is asked for."""
        if not is_web(url):
            return True
        system = _filesystem(self.scheme, patient=False)
        return len(self._asked(url, lambda: system.cat_file(sendable(url), start=1, end=2))) == 1

    def read_whole(self, url: str) -> bytes:
        """Read an object whose size is not known; raises like `about`."""
        system = _filesystem(self.scheme, patient=False)
        return self._asked(url, lambda: bytes(system.cat_file(sendable(url))))

    def fetch(self, url: str, file: IO[bytes]) -> None:
        """Read a whole object into a file, from its beginning; raises like `about`."""
        system = _filesystem(self.scheme, patient=False)

        def fetched() -> None:
            file.seek(0)
            file.truncate()
            with system.open(sendable(url), "rb", block_size=0) as stream:
                shutil.copyfileobj(stream, file, _PIECE)
            file.flush()

        self._asked(url, fetched)

    def put(self, path: Path, url: str) -> None:
        """Write a file to a URL, whole or not at all; raises like `about`."""
        self._asked(url, lambda: _filesystem(self.scheme, patient=True).put_file(str(path), url))

    def _asked(self, url: str, ask: Callable[[], T]) -> T:
        """Ask until there is an answer, or no more hope for one."""
        pauses, tried, began = _pauses(), 0, time.monotonic()
        while True:
            try:
                answer = ask()
            except Exception as error:  # each driver has its own
                told = _understood(error)
            else:
                self._hear()
                return answer
            if told.kind == "silent":
                self._doubt(told.why)
            else:
                self._hear()
            tried += told.kind == "stumbled"
            if told.kind not in ("silent", "stumbled"):
                raise _final(told, url)
            if tried >= TRIES or time.monotonic() - began > 2 * KNOWN_SECONDS:  # others come
                raise OSError(5, f"the server failed again and again ({told.why})")
            time.sleep(next(pauses))

    def _hear(self) -> None:
        with self._lock:
            self._answered, self._silent_since = True, None

    def _doubt(self, why: str) -> None:
        """Note that no answer came; raise where there is no hope any more."""
        now = time.monotonic()
        with self._lock:
            if self._silent_since is None:
                self._silent_since = now
            silent = now - self._silent_since
            patience = KNOWN_SECONDS if self._answered else NEW_SECONDS
        if silent > patience:
            raise DataError(
                f"{self._where} does not answer, for {silent:.0f} s now ({why}): see whether it "
                "is up and reached from here, then run again; what is done is kept."
            )

    @property
    def _where(self) -> str:
        """Name the server, as the driver does where it knows one."""
        client = getattr(_filesystem(self.scheme, patient=False), "_s3", None)
        url = getattr(getattr(client, "meta", None), "endpoint_url", None)
        return f"The server {url}" if url else f"The server of {self._example}"


def endpoint_of(url: str) -> Endpoint:
    """Give the endpoint of a URL, one for all that are on the same server.

    Raises
    ------
    DataError
        If no driver for its scheme is installed.
    """
    scheme = scheme_of(url)
    return _endpoint(scheme, urlsplit(url).netloc.rpartition("@")[2] if is_web(url) else "")


@cache
def _endpoint(scheme: str, name: str) -> Endpoint:
    _filesystem(scheme, patient=False)
    return Endpoint(scheme, name)


def _filesystem(scheme: str, *, patient: bool) -> Any:
    """Open fsspec's driver of a scheme; a patient one tries each page of a listing again.

    Any other is asked again by `Endpoint`, which knows what to wait for.
    """
    said = tuple(sorted(one for one in os.environ.items() if one[0].startswith("AWS_")))
    return _opened(scheme, patient, said if scheme in _S3 else ())


@cache
def _opened(scheme: str, patient: bool, said: tuple[tuple[str, str], ...]) -> Any:
    """Open a driver as what is said in the environment wants it."""
    package = _PACKAGES.get(scheme)
    try:
        import fsspec

        if package:
            importlib.import_module(package)
        settings = _settings(scheme, patient)
        return fsspec.filesystem(
            scheme, use_listings_cache=False, skip_instance_cache=True, **settings
        )
    except ImportError as error:
        extra = "'tlfeat[cloud]'" if package else error.name or f"fsspec's driver of {scheme}"
        raise DataError(
            f"Reading {scheme}:// needs a package that is not installed ({error.name}): "
            f"pip install {extra}."
        ) from error
    except ValueError as error:
        raise DataError(
            f"{scheme}:// is no place that is known here; wanted s3://, https:// or another "
            "scheme that fsspec has a driver for."
        ) from error


def _settings(scheme: str, patient: bool) -> dict[str, Any]:
    """Give the driver's settings: as many requests at once as are made, and who tries again."""
    if scheme in ("http", "https"):
        return {"encoded": True, "client_kwargs": {"trust_env": True}}
    if scheme not in _S3:
        return {}
    from fsspec.config import conf

    said = conf.get("s3", {}).get("config_kwargs", {})
    tries = 6 if patient else 1
    ours = {
        "max_pool_connections": AT_ONCE,
        "retries": {"mode": "standard", "total_max_attempts": tries},
        "connect_timeout": 5,
        "read_timeout": 20,
    }
    return {"config_kwargs": {**ours, **said}}


class _CutShort(OSError):  # noqa: N818 - says what it is
    """A body that ended too soon."""


class _Told(NamedTuple):
    """What an error means: silent, stumbled, gone, refused or closed; and in a few words."""

    kind: str
    why: str


def _understood(error: Exception) -> _Told:
    """Tell what went wrong, whichever driver raised it; its own words may hold secrets."""
    if isinstance(error, DataError):
        raise error
    chain = [error, *(one for one in (error.__cause__, error.__context__) if one is not None)]
    status = next((found for one in chain if (found := _status(one))), None)
    if status is not None:
        if status in (404, 410):
            return _Told("gone", f"status {status}")
        if status in _REFUSED:
            return _Told("refused", f"status {status}")
        kind = "silent" if status in _BUSY else "stumbled" if status >= 500 else "refused"
        return _Told(kind, f"status {status}")
    names = [type(one).__name__ for one in chain]
    if any("Credential" in name or "Token" in name for name in names):
        return _Told("closed", "no credentials were found")
    if isinstance(error, _CutShort):
        return _Told("stumbled", str(error))
    if any("Payload" in name or "IncompleteRead" in name for name in names):
        return _Told("stumbled", "a body was cut short")
    if isinstance(error, FileNotFoundError | IsADirectoryError) and len(chain) == 1:
        return _Told("gone", "no such object")
    if isinstance(error, PermissionError):
        return _Told("refused", "not allowed")
    silent = next((name for name in reversed(names) if _SILENT.search(name)), None)
    return _Told("silent", silent) if silent else _Told("stumbled", names[0])


def _final(told: _Told, url: str) -> Exception:
    """Give the error where asking again would not help."""
    shown = without_secrets(url)
    if told.kind == "gone":
        return FileNotFoundError(2, f"not found at {shown}")
    if told.kind == "refused":
        return PermissionError(13, f"the server lets nobody read it ({told.why})")
    return DataError(
        f"{shown!r} cannot be read: {told.why}. Give credentials as the driver takes them (for "
        "s3: AWS_PROFILE, AWS_ACCESS_KEY_ID or ~/.aws; a public bucket: FSSPEC_S3_ANON=true)."
    )


def _status(error: BaseException) -> int | None:
    """Give the HTTP status that an error of a driver tells, or None."""
    response = getattr(error, "response", None)
    if isinstance(response, dict):  # botocore's
        told = response.get("ResponseMetadata", {}).get("HTTPStatusCode")
        return told if isinstance(told, int) else None
    for name in ("status", "status_code", "code"):
        told = getattr(error, name, None)
        if isinstance(told, int) and 400 <= told < 600:
            return told
    return None


def _as_object(url: str, found: dict[str, Any]) -> RemoteObject:
    named = {
        name.lower().replace("-", "").replace("_", ""): value for name, value in found.items()
    }
    moments = (_nanoseconds(named.get(name)) for name in ("lastmodified", "mtime", "updated"))
    size = named.get("size")
    return RemoteObject(
        url,
        None if size is None else int(size),
        str(named.get("etag") or "").strip('"'),
        next((moment for moment in moments if moment is not None), None),
        ranges=named.get("partial") is not False,
    )


def _nanoseconds(moment: object) -> int | None:
    """Give a moment in nanoseconds since 1970, however a driver tells it."""
    if isinstance(moment, str):
        moment = _parsed(moment)
    if isinstance(moment, datetime):
        return int(moment.timestamp() * 1e9)
    return int(moment * 1e9) if isinstance(moment, int | float) else None


def _parsed(moment: str) -> datetime | None:
    for parse in (parsedate_to_datetime, datetime.fromisoformat):
        with suppress(ValueError):
            return parse(moment)
    return None


def _pauses() -> Iterator[float]:
    """Give the seconds between tries: twice as long each time, for no two readers alike."""
    longest = _FIRST_PAUSE
    while True:
        yield longest * (0.5 + random.random() / 2)  # noqa: S311 - no secret hangs on it
        longest = min(2 * longest, _LONGEST_PAUSE)
