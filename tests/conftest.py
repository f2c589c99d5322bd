"""What several tests share."""

import os
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from object_server import Proxy, client, s3_server, settings_of
from pictures import colour_folders
from store_writer import entry_in, put

from tlfeat.features.store import Entry

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

SIZE = 32  # pixels: the least that the default backbone takes, so that tests are quick


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Skip what takes long, saying so, unless TLFEAT_SLOW asks for it; begin with it."""
    items.sort(key=lambda item: item.get_closest_marker("slow") is None)
    if os.environ.get("TLFEAT_SLOW") != "1":
        for item in items:
            if item.get_closest_marker("slow"):
                item.add_marker(pytest.mark.skip(reason="slow: set TLFEAT_SLOW=1"))


@pytest.fixture(scope="session")
def shared_data() -> Path:
    """Give the folder of real pictures that lies beside a checkout, where there is one."""
    root = Path(os.environ.get("TLFEAT_SHARED", Path(__file__).parents[2] / "shared")) / "data"
    if not root.is_dir():
        pytest.skip("no real pictures in ../shared/data beside the checkout")
    return root


@pytest.fixture(scope="session")
def networks(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Give a folder for exported networks: each is exported once for all tests."""
    return tmp_path_factory.mktemp("exported")


@pytest.fixture
def cache(tmp_path: Path, networks: Path) -> Path:
    """Give an empty feature store that has the exported networks of other tests."""
    folder = tmp_path / "cache"
    folder.mkdir()
    (folder / "networks").symlink_to(networks)
    return folder


@pytest.fixture
def last_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let heads read the last features alone, so that above a late cut little is trained."""
    monkeypatch.setattr("tlfeat.features.candidates.MOST_COLUMNS", 0)


@pytest.fixture(scope="session")
def browser() -> Iterator[Any]:
    """Give Debian's chromium, driven from outside; nothing is downloaded."""
    chromium = shutil.which("chromium")
    if chromium is None:
        pytest.skip("no chromium here: apt-get install --no-install-recommends chromium")
    api = pytest.importorskip("playwright.sync_api", reason="playwright is not installed")
    with api.sync_playwright() as driver:
        opened = driver.chromium.launch(executable_path=chromium)
        yield opened
        opened.close()


@pytest.fixture
def wide_terminal(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let lines be as long as in a pipe, however wide the terminal is."""
    from tlfeat_cli.terminal import OUT

    monkeypatch.setattr(OUT, "width", 10_000)


@pytest.fixture
def run(
    cache: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, wide_terminal: None
) -> Callable[..., str]:
    """Give a function that runs the command line with a cache and reports of its own."""
    from typer.testing import CliRunner

    from tlfeat_cli.app import app

    monkeypatch.setenv("TLFEAT_CACHE", str(cache))
    monkeypatch.setenv("TLFEAT_REPORTS", str(tmp_path / "reports"))

    def invoke(*arguments: object, code: int = 0) -> str:
        done = CliRunner().invoke(app, [str(a) for a in arguments], catch_exceptions=False)
        assert done.exit_code == code, done.output
        return done.stdout

    return invoke


@pytest.fixture
def make_pictures() -> Callable[..., Path]:
    """Give a function that fills class folders with coloured, noisy pictures."""
    return colour_folders


@pytest.fixture
def pictures(tmp_path: Path, make_pictures: Callable[..., Path]) -> Path:
    """Give a folder of 36 pictures in three classes, without splits."""
    return make_pictures(tmp_path / "colours")


@pytest.fixture
def unchecked_mobilenet(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """Put weights for MobileNet into Keras' folder; give the sentence that warns of them."""
    from tlfeat.backbones.networks import build_base
    from tlfeat.backbones.table import get_backbone
    from tlfeat.backbones.weights import Weights, imagenet_file

    monkeypatch.setenv("KERAS_HOME", str(tmp_path / "keras"))
    row = get_backbone("mobilenet")
    path = imagenet_file(row)
    path.parent.mkdir(parents=True)
    build_base(row, SIZE, Weights("random", None, "fresh", 1)).save(path)
    return (
        "The ImageNet weights of mobilenet, mobilenet_1_0_224_tf_no_top.h5, were not checked: "
        "Keras publishes no hash of that file."
    )


@pytest.fixture
def entry(tmp_path: Path) -> Entry:
    """Give a store's entry of five rows."""
    entry = entry_in(tmp_path)
    put(entry, 0, 1, 2, 3, 4)
    return entry


@pytest.fixture(scope="module")
def server() -> Iterator[str]:
    """Give the URL of an S3 server."""
    with s3_server() as url:
        yield url


@pytest.fixture
def proxy(server: str, monkeypatch: pytest.MonkeyPatch) -> Iterator[Proxy]:
    """Give a proxy that s3:// leads to; the server is empty again at the end."""
    bucket = client(server)
    with Proxy(server) as found:
        for name, value in settings_of(found.url).items():
            monkeypatch.setenv(name, value)
        yield found
    for one in bucket.list_buckets()["Buckets"]:
        pages = bucket.get_paginator("list_objects_v2").paginate(Bucket=one["Name"])
        for key in [key for page in pages for key in page.get("Contents", [])]:
            bucket.delete_object(Bucket=one["Name"], Key=key["Key"])
        bucket.delete_bucket(Bucket=one["Name"])
