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

from tlfeat.errors import DataError, first_line
from tlfeat.remote.fetchers import AT_ONCE
from tlfeat.remote.urls import is_web, scheme_of, sendable, without_secrets

T = TypeVar("T")

TRIES = 8  # for one object, of a server that answers; and refusals in a row that are one of all
KNOWN_SECONDS = 60.0  # that a server which has answered before is waited for
NEW_SECONDS = 8.0  # that one which never has is
_SOCKET_SECONDS = 15.0  # in which nothing comes
_PIECE = 2**20  # bytes
_FIRST_PAUSE, _LONGEST_PAUSE = 0.1, 2.0  # seconds

_S3 = frozenset({"s3", "s3a"})
_PACKAGES = {"s3": "s3fs", "s3a": "s3fs", "http": "aiohttp", "https": "aiohttp"}
_BUSY = frozenset({408, 425, 429, 502, 503, 504})  # nobody is there who could answer
# What S3 calls it where whoever asks is not, or no longer, somebody who may.
_CLOSED = re.compile(r"Expired|InvalidAccessKey|SignatureDoesNotMatch|InvalidToken|TooSkewed")
# What drivers call it where there was no answer at all, and where there was half of one.
_SILENT = re.compile(r"Connect|Timeout|Disconnect|HTTPClientError|gaierror|ClientOSError")
_CUT_SHORT = re.compile(r"Payload|IncompleteRead|ContentLength")
_BROKEN = re.compile(r"ResponseParser|ClientError|EOF")


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

    Parameters
    ----------
    example : str
        A URL of it, without what it names there.
    """

    def __init__(self, example: str) -> None:
        self._example = example
        self._lock = threading.Lock()
        self._answered = False
        self._silent_since: float | None = None  # the first request of those that got no answer
        self._silent_last = 0.0
        self._refusals = 0  # since something was given last

    def __reduce__(self) -> tuple[Any, ...]:
        return endpoint_of, (self._example,)

    def _system(self, *, patient: bool = False) -> Any:
        return _filesystem(self._example, patient)

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
        found = self._asked(url, lambda: self._system().info(sendable(url)))
        return None if found.get("type") == "directory" else _as_object(url, found)

    def objects(self, url: str) -> list[RemoteObject]:
        """List all objects below a folder, sorted by their URLs; raises like `about`."""
        system = self._system(patient=True)
        found = self._asked(url, lambda: system.find(url, detail=True, withdirs=False))
        top, base = url.rstrip("/"), str(system._strip_protocol(url)).rstrip("/")
        listed = (_as_object(top + name.removeprefix(base), one) for name, one in found.items())
        return sorted(
            (one for one in listed if not one.url.endswith("/")), key=lambda one: one.url
        )

    def read(self, url: str, start: int, stop: int, *, more: int = 0) -> bytes:
        """Read the bytes of an object from `start` to before `stop`; raises like `about`.

        And up to `more` behind them, if there are any.
        """
        system = self._system()

        def part() -> bytes:
            data = bytes(system.cat_file(sendable(url), start=start, end=stop + more))
            if len(data) < stop - start:
                raise _CutShort(f"{len(data):,} of {stop - start:,} bytes came")
            if len(data) > stop - start + more:  # all of it, though a part was asked for
                data = data[start : stop + more]
            return data

        return self._asked(url, part)

    def read_object(self, one: RemoteObject) -> bytes:
        """Read an object whole; raises like `about`, and OSError if it has grown meanwhile."""
        if one.size is None or not one.ranges:
            system = self._system()
            return self._asked(one.url, lambda: bytes(system.cat_file(sendable(one.url))))
        data = self.read(one.url, 0, one.size, more=1)
        if len(data) > one.size:
            raise OSError(5, "it was changed while it was read: run again")
        return data

    def gives_parts(self, url: str) -> bool:
        """Say whether a part of an object is given, or all of it whatever is asked for."""
        if not is_web(url):
            return True
        from fsspec.asyn import sync

        system = self._system()

        async def status() -> int:
            session = await system.set_session()
            async with session.get(sendable(url), headers={"Range": "bytes=1-1"}) as answer:
                answer.raise_for_status()
                return int(answer.status)

        return bool(self._asked(url, lambda: sync(system.loop, status)) == 206)

    def fetch(self, url: str, file: IO[bytes]) -> None:
        """Read a whole object into a file, from its beginning; raises like `about`."""
        system = self._system()

        def fetched() -> None:
            file.seek(0)
            file.truncate()
            with system.open(sendable(url), "rb", block_size=0) as stream:
                shutil.copyfileobj(stream, file, _PIECE)
            file.flush()

        self._asked(url, fetched)

    def put(self, path: Path, url: str) -> None:
        """Write a file to a URL, whole or not at all; raises like `about`."""
        self._asked(url, lambda: self._system(patient=True).put_file(str(path), url))

    def _asked(self, url: str, ask: Callable[[], T]) -> T:
        """Ask until there is an answer, or no more hope for one."""
        pauses, tried, began = _pauses(), 0, time.monotonic()
        while True:
            try:
                answer = ask()
            except Exception as error:  # each driver has its own
                told = _understood(error)
            else:
                self._hear(is_given=True)
                return answer
            if told.kind == "silent":
                self._doubt(told.why, began)
            else:
                self._hear(is_given=told.kind == "gone")
            tried += told.kind == "stumbled"
            if told.kind not in ("silent", "stumbled"):
                raise self._final(told, url)
            if tried >= TRIES or time.monotonic() - began > 2 * KNOWN_SECONDS:  # others come
                raise OSError(5, f"the server failed again and again ({told.why})")
            time.sleep(next(pauses))

    def _hear(self, *, is_given: bool) -> None:
        with self._lock:
            self._answered, self._silent_since = True, None
            self._refusals = 0 if is_given else self._refusals

    def _doubt(self, why: str, began: float) -> None:
        """Note that no answer came; raise where there is no hope any more."""
        now = time.monotonic()
        with self._lock:
            stale = now - self._silent_last > KNOWN_SECONDS  # of another day in a notebook
            if self._silent_since is None or stale:
                self._silent_since = began
            self._silent_last = now
            silent = now - self._silent_since
            patience = KNOWN_SECONDS if self._answered else NEW_SECONDS
        if silent > patience:
            raise DataError(
                f"{self._where} does not answer, for {silent:.0f} s now ({why}): see whether it "
                "is up and reached from here, then run again; what is done is kept."
            )

    def _final(self, told: "_Told", url: str) -> Exception:
        """Give the error where asking again would not help."""
        shown = without_secrets(url)
        if told.kind == "gone":
            return FileNotFoundError(2, f"not found at {shown}")
        with self._lock:
            self._refusals += 1
            all_refused = self._refusals >= TRIES
        if told.kind == "refused" and not all_refused:
            return PermissionError(13, f"the server does not give it ({told.why})")
        return DataError(
            f"{shown!r} cannot be read, nor what was asked for before it ({told.why}). Give "
            "credentials as the driver takes them (for s3: AWS_PROFILE, AWS_ACCESS_KEY_ID or "
            "~/.aws; a public bucket: FSSPEC_S3_ANON=true), then run again; what is done is kept."
        )

    @property
    def _where(self) -> str:
        """Name the server, as the driver does where it knows one."""
        client = getattr(self._system(), "_s3", None)
        url = getattr(getattr(client, "meta", None), "endpoint_url", None)
        return f"The server {url or 'of ' + without_secrets(self._example)}"


def endpoint_of(url: str) -> Endpoint:
    """Give the endpoint of a URL, one for all that are on the same server.

    Raises
    ------
    DataError
        If it is no URL that can be read, or no driver for its scheme is installed.
    """
    scheme, host = scheme_of(url), url.partition("://")[2].partition("/")[0]
    host = host.rpartition("@")[2] if is_web(url) else host
    if "::" in url or without_secrets(url).endswith("://..."):
        raise DataError(
            f"{without_secrets(url)} is no URL that is read: wanted one server, as in "
            "s3://BUCKET/FOLDER or https://HOST/FILE."
        )
    if not host:
        raise DataError(f"{url} names no place: wanted {scheme}://PLACE.")
    server = os.environ.get("AWS_ENDPOINT_URL_S3") or os.environ.get("AWS_ENDPOINT_URL", "")
    is_s3 = scheme in _S3
    return _endpoint(f"{scheme}://{'any' if is_s3 else host}", server if is_s3 else "")


@cache
def _endpoint(example: str, server: str) -> Endpoint:
    """Make one for each server that stands behind a scheme."""
    _filesystem(example, patient=False)
    return Endpoint(example)


def _filesystem(example: str, patient: bool) -> Any:
    """Open fsspec's driver for a server; a patient one tries each page of a listing again.

    Any other is asked again by `Endpoint`, which knows what to wait for.
    """
    said = tuple(sorted(one for one in os.environ.items() if one[0].startswith("AWS_")))
    return _opened(example, patient, said if scheme_of(example) in _S3 else ())


@cache
def _opened(example: str, patient: bool, said: tuple[tuple[str, str], ...]) -> Any:
    """Open a driver as what is said in the environment wants it."""
    scheme = scheme_of(example)
    package = _PACKAGES.get(scheme)
    try:
        import fsspec

        if package:
            importlib.import_module(package)
        settings = _settings(example, patient)
        system = fsspec.filesystem(
            scheme, use_listings_cache=False, skip_instance_cache=True, **settings
        )
    except ImportError as error:
        extra = (
            "pip install 'tlfeat[cloud]'" if package else f"install fsspec's driver of {scheme}"
        )
        raise DataError(
            f"Reading {scheme}:// needs a package that is not installed "
            f"({error.name or first_line(error)}): {extra}."
        ) from error
    except (ValueError, TypeError) as error:
        raise DataError(
            f"{scheme}:// is no place that can be read here ({first_line(error)}); wanted s3://, "
            "https:// or another scheme that fsspec has a driver for."
        ) from error
    if scheme in _S3 and not patient:
        system.retries = 1
    return system


def _settings(example: str, patient: bool) -> dict[str, Any]:
    """Give the driver's settings: as many requests at once as are made, and who tries again."""
    import fsspec

    scheme = scheme_of(example)
    if is_web(example):
        from aiohttp import ClientTimeout

        waits = ClientTimeout(total=None, sock_connect=5, sock_read=_SOCKET_SECONDS)
        plain = {"Accept-Encoding": "identity"}  # sizes are of what is stored
        return {
            "encoded": True,
            "client_kwargs": {"trust_env": True, "timeout": waits, "headers": plain},
        }
    if scheme not in _S3:
        driver = fsspec.get_filesystem_class(scheme)
        return dict(driver._get_kwargs_from_urls(example))
    said = fsspec.config.conf.get("s3", {}).get("config_kwargs", {})
    tries = 6 if patient else 1
    ours = {
        "max_pool_connections": AT_ONCE,
        "retries": {"mode": "standard", "total_max_attempts": tries},
        "connect_timeout": 5,
        "read_timeout": _SOCKET_SECONDS,
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
    names = [type(one).__name__ for one in chain]
    code = next((found for one in chain if (found := _code(one))), "")
    if _CLOSED.search(code):
        return _Told("closed", code)
    if any(_CUT_SHORT.search(name) for name in names):  # aiohttp gives them a status of 400
        return _Told("stumbled", "a body was cut short")
    status = next((number for one in chain if (number := _status(one))), None)
    if status is not None:
        return _of_status(status)
    if any("Credential" in name or "TokenRetrieval" in name for name in names):
        return _Told("closed", "no credentials were found")
    return _of_kind(error, names)


def _of_kind(error: Exception, names: list[str]) -> _Told:
    """Tell what an error without a status means, by what it and its causes are called."""
    if isinstance(error, _CutShort):
        return _Told("stumbled", str(error))
    for kind, pattern in (("silent", _SILENT), ("stumbled", _BROKEN)):
        name = next((name for name in reversed(names) if pattern.search(name)), None)
        if name:
            return _Told(kind, name)
    if isinstance(error, FileNotFoundError | IsADirectoryError):
        return _Told("gone", "no such object")
    if isinstance(error, OSError) and not isinstance(error, PermissionError):
        return _Told("stumbled", names[0])
    return _Told("refused", names[0])


def _of_status(status: int) -> _Told:
    """Tell what an HTTP status means."""
    why = f"status {status}"
    if status in (404, 410):
        return _Told("gone", why)
    if status in (401, 407):
        return _Told("closed", why)
    return _Told("silent" if status in _BUSY else "stumbled" if status >= 500 else "refused", why)


def _code(error: BaseException) -> str:
    """Give what S3 calls an error, or nothing."""
    response = getattr(error, "response", None)
    told = response.get("Error", {}).get("Code") if isinstance(response, dict) else None
    return str(told or "")


def _status(error: BaseException) -> int | None:
    """Give the HTTP status that an error of a driver tells, or None."""
    response = getattr(error, "response", None)
    if isinstance(response, dict):  # botocore's
        told = response.get("ResponseMetadata", {}).get("HTTPStatusCode")
        return told if isinstance(told, int) else None
    for name in ("status", "status_code", "code"):
        number = getattr(error, name, None)
        if isinstance(number, int) and 400 <= number < 600:
            return number
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
