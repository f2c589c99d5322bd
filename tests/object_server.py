"""An S3 server on loopback, and a proxy before it that delays, fails and cuts bodies short."""

import asyncio
import logging
import pickle
import random
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, cast

from tlfeat.data.dataset import Dataset

KEY, SECRET = "AKIAOFNOBODYTESTED77", "a-secret-that-is-written-nowhere-1"


@contextmanager
def s3_server(port: int = 0) -> Iterator[str]:
    """Run moto's S3 server and give its URL."""
    from moto.server import ThreadedMotoServer

    logging.getLogger("werkzeug").setLevel(logging.ERROR)
    server = ThreadedMotoServer(ip_address="127.0.0.1", port=port, verbose=False)
    server.start()
    host, number = server.get_host_and_port()
    try:
        yield f"http://{host}:{number}"
    finally:
        server.stop()


def client(url: str) -> Any:
    """Give boto3's client of a server."""
    import boto3

    return boto3.client(
        "s3",
        endpoint_url=url,
        region_name="us-east-1",
        aws_access_key_id=KEY,
        aws_secret_access_key=SECRET,
    )


def upload(url: str, bucket: str, files: dict[str, bytes]) -> None:
    """Make a bucket, unless it is there, and put objects into it."""
    s3 = client(url)
    s3.create_bucket(Bucket=bucket)
    for key, data in files.items():
        s3.put_object(Bucket=bucket, Key=key, Body=data)


def files_below(folder: Path) -> dict[str, bytes]:
    """Read all files below a folder, by their paths in it."""
    return {
        path.relative_to(folder).as_posix(): path.read_bytes()
        for path in sorted(folder.rglob("*"))
        if path.is_file()
    }


def fresh(dataset: Dataset) -> Dataset:
    """Give a dataset as another process has it: nothing is fetched yet."""
    return cast("Dataset", pickle.loads(pickle.dumps(dataset)))


class Proxy:
    """A proxy before a server, which counts what it is asked and is as bad as it is told.

    Attributes
    ----------
    delay : float
        Seconds before each answer.
    failing : float
        Share of requests that get 503, no answer at all, or half of their body, in turn.
    refusing : callable
        Gives the status that a request is refused with, or 0.
    requests : list of (method, path)
    most : int
        Requests that were under way at once.
    """

    def __init__(self, server: str) -> None:
        self.server = server
        self.delay = self.failing = 0.0
        self.requests: list[tuple[str, str]] = []
        self.refusing: Callable[[Any], int] = lambda request: 0
        self.mishaps = self.most = self._now = 0
        self._random = random.Random(0)
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, daemon=True)

    def __enter__(self) -> "Proxy":
        self._thread.start()
        self.url = self._wait(self._start())
        return self

    def __exit__(self, *exc: object) -> None:
        self._wait(self._runner.cleanup())
        self._wait(self._session.close())
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()

    @property
    def gets(self) -> list[str]:
        """What was fetched, listings left out."""
        return [path for how, path in self.requests if how == "GET" and "list-type" not in path]

    def _wait(self, work: Any) -> Any:
        return asyncio.run_coroutine_threadsafe(work, self._loop).result()

    async def _start(self) -> str:
        from aiohttp import ClientSession, TCPConnector, web

        self._session = ClientSession(connector=TCPConnector(limit=0), auto_decompress=False)
        app = web.Application(client_max_size=2**30)
        app.router.add_route("*", "/{path:.*}", self._answer)
        self._runner = web.AppRunner(app, access_log=None, shutdown_timeout=1)
        await self._runner.setup()
        site = web.TCPSite(self._runner, "127.0.0.1", 0)
        await site.start()
        return f"http://127.0.0.1:{self._runner.addresses[0][1]}"

    async def _answer(self, request: Any) -> Any:
        self.requests.append((request.method, request.path_qs))
        self._now += 1
        self.most = max(self.most, self._now)
        try:
            await asyncio.sleep(self.delay)
            return await self._passed_on(request)
        finally:
            self._now -= 1

    async def _passed_on(self, request: Any) -> Any:
        from aiohttp import web

        status = self.refusing(request)
        if status:
            return web.Response(status=status, text="")
        fails = self._random.random() < self.failing
        self.mishaps += fails
        kind = ("error", "silence", "cut")[self.mishaps % 3] if fails else ""
        if kind == "error":
            return web.Response(status=503, text="")
        if kind == "silence":
            request.transport.close()
            return web.Response()
        headers = {k: v for k, v in request.headers.items() if k.lower() != "host"}
        async with self._session.request(
            request.method,
            self.server + request.path_qs,
            headers=headers,
            data=await request.read(),
            skip_auto_headers=("User-Agent", "Accept-Encoding"),
            allow_redirects=False,
        ) as answer:
            body = await answer.read()
            dropped = ("transfer-encoding", "connection", "date", "server")
            kept = {k: v for k, v in answer.headers.items() if k.lower() not in dropped}
            if kind == "cut" and len(body) > 1:
                response = web.StreamResponse(status=answer.status, headers=kept)
                await response.prepare(request)
                await response.write(body[: len(body) // 2])
                request.transport.close()
                return response
            return web.Response(status=answer.status, headers=kept, body=body)


def settings_of(url: str) -> dict[str, str]:
    """Give the environment in which s3:// is a server on loopback."""
    return {
        "AWS_ENDPOINT_URL": url,
        "AWS_ACCESS_KEY_ID": KEY,
        "AWS_SECRET_ACCESS_KEY": SECRET,
        "AWS_DEFAULT_REGION": "us-east-1",
    }
