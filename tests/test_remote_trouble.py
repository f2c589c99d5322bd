"""Servers that are slow, bad, changing or gone: nothing is lost unseen, nobody waits for long."""

import functools
import gc
import socket
import sys
import threading
import time
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("s3fs")
pytest.importorskip("moto")

from object_server import (
    Proxy,
    files_below,
    fresh,
    s3_server,
    settings_of,
    upload,
)
from pictures import class_folder, png, write, write_folder
from source_makers import as_tar, as_webdataset

from tlfeat.data.dataset import open_dataset
from tlfeat.data.digests import DigestIndex
from tlfeat.data.names import location
from tlfeat.deploy.pictures import listed
from tlfeat.errors import DataError
from tlfeat.remote import blocks, endpoint, kept
from tlfeat.remote.endpoint import endpoint_of
from tlfeat.remote.fetchers import AT_ONCE
from tlfeat.remote.urls import without_secrets


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return class_folder(tmp_path / "set")


def test_a_bad_server_changes_nothing(
    proxy: Proxy, server: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(endpoint, "_FIRST_PAUSE", 0.01)
    folder = class_folder(tmp_path / "set", each=40)
    upload(server, "bucket", files_below(folder))
    upload(server, "bucket", {"all.tar": as_tar(folder, tmp_path / "all.tar").read_bytes()})
    monkeypatch.setattr("tlfeat.remote.blocks.BLOCK", 4096)
    proxy.failing = 0.3
    wanted = {sample.digest for sample in open_dataset(folder).samples}
    wanted_of_a = {sample.digest for sample in open_dataset(folder / "a").samples}
    for place in ("s3://bucket/a", "s3://bucket/all.tar"):
        there = open_dataset(place)
        assert there.skipped == ()
        found = {sample.digest for sample in there.samples}
        assert found == (wanted if place.endswith("tar") else wanted_of_a), place
    assert proxy.mishaps > 10


def test_latency_is_waited_for_once_and_not_for_each_picture(
    proxy: Proxy, server: str, tmp_path: Path
) -> None:
    folder = class_folder(tmp_path / "set", each=100)
    upload(server, "bucket", files_below(folder))
    open_dataset("s3://bucket")
    proxy.delay, proxy.most, proxy.requests[:] = 0.1, 0, []
    dataset = open_dataset("s3://bucket", jobs=1)
    assert len(proxy.gets) == len(dataset) == 200
    assert proxy.most > AT_ONCE // 2


def test_a_tar_of_which_a_part_cannot_be_read_is_an_error_and_not_remembered(
    proxy: Proxy, server: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(endpoint, "_FIRST_PAUSE", 0.001)
    monkeypatch.setattr(blocks, "BLOCK", 4096)
    folder = class_folder(tmp_path / "set", each=40)
    upload(server, "bucket", {"a.tar": as_tar(folder, tmp_path / "a.tar").read_bytes()})

    def late(status: int, request: Any) -> int:
        start = int((request.headers.get("Range") or "=0-").partition("=")[2].partition("-")[0])
        return status if start > 30_000 else 0

    for status in (500, 403):
        proxy.refusing = functools.partial(late, status)
        with pytest.raises(DataError, match=r"a\.tar' cannot be read"):
            open_dataset("s3://bucket/a.tar", digests=DigestIndex(tmp_path / "cache"))
        proxy.refusing = lambda request: 0
    there = open_dataset("s3://bucket/a.tar", digests=DigestIndex(tmp_path / "cache"))
    assert len(there) == 80


def test_who_may_read_no_longer_is_told_and_nothing_is_left_out(
    proxy: Proxy, server: str, tmp_path: Path
) -> None:
    folder = class_folder(tmp_path / "set", each=60)
    upload(server, "bucket", files_below(folder))
    for status in (403, 401):
        proxy.requests.clear()
        proxy.refusing = lambda request: status * (len(proxy.requests) > 40)  # noqa: B023
        with pytest.raises(DataError, match=rf"status {status}.*Give credentials as the driver"):
            open_dataset("s3://bucket")


def test_one_object_that_may_not_be_read_is_left_out(
    proxy: Proxy, server: str, folder: Path
) -> None:
    upload(server, "bucket", files_below(folder))
    proxy.refusing = lambda request: 403 * request.path.endswith("a/1.png")
    there = open_dataset("s3://bucket")
    assert [s.id for s in there.skipped] == ["a/1.png"]
    assert len(there) == len(open_dataset(folder)) - 1


def test_an_object_that_has_grown_is_no_picture_of_before(
    proxy: Proxy, server: str, folder: Path
) -> None:
    upload(server, "bucket", files_below(folder))
    there = open_dataset("s3://bucket")
    upload(server, "bucket", {"a/0.png": png(1) + b"more" * 500})
    with pytest.raises(OSError, match="changed while it was read"):
        fresh(there).read(there.samples[0])


def test_an_archive_that_is_replaced_meanwhile_is_an_error(
    proxy: Proxy, server: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(blocks, "BLOCK", 4096)
    monkeypatch.setattr(blocks, "_LOOK", 0.0)
    folder = class_folder(tmp_path / "set", each=40)
    upload(server, "bucket", {"a.tar": as_tar(folder, tmp_path / "a.tar").read_bytes()})
    there = fresh(open_dataset("s3://bucket/a.tar"))
    other = class_folder(tmp_path / "other", each=41)
    upload(server, "bucket", {"a.tar": as_tar(other, tmp_path / "b.tar").read_bytes()})
    with pytest.raises(DataError, match="was changed while it was read: run again"):
        there.read(there.samples[0])


def test_what_is_kept_has_one_limit_for_all(
    proxy: Proxy, server: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    gc.collect()
    shards = tmp_path / "shards"
    shards.mkdir()
    for number in range(12):
        some = write_folder(tmp_path / str(number), [f"a/{number}-{i}.png" for i in range(9)])
        as_webdataset(some, shards / f"{number}.tar")
    upload(server, "bucket", {f"shards/{k}": v for k, v in files_below(shards).items()})
    used = kept._ACCOUNT._used
    monkeypatch.setattr(kept, "MOST_BYTES", used + 40_000)
    monkeypatch.setattr(blocks, "BLOCK", 4096)
    threads = threading.active_count()
    there = open_dataset("s3://bucket/shards")
    assert len(there) == 108
    assert kept._ACCOUNT._used <= used + 40_000
    assert threading.active_count() <= threads + AT_ONCE
    del there
    gc.collect()
    assert kept._ACCOUNT._used == used


def test_rows_that_name_one_object_twice_are_fetched_ahead_too(
    proxy: Proxy, server: str, tmp_path: Path
) -> None:
    folder = class_folder(tmp_path / "set", each=60)
    names = [p.relative_to(tmp_path).as_posix() for p in sorted(folder.rglob("*.png"))]
    lines = [f"{name},{name.split('/')[1]}" for name in [*names, names[0]]]
    write(tmp_path / "t.csv", "\n".join(["path,label", *lines]).encode())
    upload(server, "bucket", files_below(tmp_path))
    open_dataset("s3://bucket/t.csv")
    proxy.delay, proxy.requests[:] = 0.05, []
    there = open_dataset("s3://bucket/t.csv", jobs=1)
    assert len(there) == 121
    proxy.most = 0
    again = fresh(there)
    again.expect(again.samples)
    assert all(again.read(sample) for sample in again.samples)
    assert proxy.most > AT_ONCE // 2


def test_named_pictures_are_fetched_ahead_and_by_what_they_hold(
    proxy: Proxy, server: str, tmp_path: Path
) -> None:
    folder = class_folder(tmp_path / "set", each=60)
    write(folder / "unnamed", png(999))
    upload(server, "bucket", files_below(folder))
    names = sorted(p.relative_to(folder).as_posix() for p in folder.rglob("*.png"))
    endpoint_of("s3://bucket").about("s3://bucket/unnamed")
    proxy.delay, proxy.most = 0.05, 0
    found = list(listed([f"s3://bucket/{name}" for name in [*names, "unnamed", "a/gone.png"]]))
    read = [one.read() for one in found[:-1]]
    assert read == [(folder / name).read_bytes() for name in [*names, "unnamed"]]
    assert proxy.most > AT_ONCE // 2
    with pytest.raises(FileNotFoundError, match=r"not found at s3://bucket/a/gone\.png"):
        found[-1].read()


def test_a_named_object_that_is_far_too_large_is_not_read(
    proxy: Proxy, server: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tlfeat.deploy.pictures.MAX_BYTES", 100)
    upload(server, "bucket", {"large.png": png(1)})
    (found,) = listed(["s3://bucket/large.png"])
    with pytest.raises(OSError, match="larger than the 100 bytes that are read"):
        found.read()
    assert proxy.gets == []


def test_a_folder_is_asked_for_what_it_is_no_oftener_than_it_must(
    proxy: Proxy, server: str
) -> None:
    upload(server, "bucket", {f"a/{n}.png": png(n) for n in range(3)})
    assert len([one.read() for one in listed(["s3://bucket/a"])]) == 3
    asked = [path for how, path in proxy.requests if how == "HEAD"]
    assert len(asked) == 2  # whether it is one picture, and what it is


def test_a_server_that_never_answers_is_given_up(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(endpoint, "NEW_SECONDS", 0.5)
    monkeypatch.setattr(endpoint, "_SOCKET_SECONDS", 0.6)
    with socket.create_server(("127.0.0.1", 0)) as silent:
        url = f"http://127.0.0.1:{silent.getsockname()[1]}"
        for name, value in settings_of(url).items():
            monkeypatch.setenv(name, value)
        began = time.monotonic()
        for place in ("s3://bucket/set", f"{url}/set.zip"):
            with pytest.raises(DataError, match=r"does not answer, for 1 s now"):
                open_dataset(place)
        assert time.monotonic() - began < 10


def test_whoever_is_interrupted_waits_for_no_server(
    proxy: Proxy, server: str, folder: Path
) -> None:
    upload(server, "bucket", files_below(folder))
    there = fresh(open_dataset("s3://bucket"))
    proxy.delay = 30.0
    there.expect(there.samples)
    threading.Timer(0.3, there.expect, [()]).start()
    began = time.monotonic()
    with pytest.raises(OSError, match="given up"):
        there.read(there.samples[0])
    assert time.monotonic() - began < 10
    proxy.delay = 0.0


def test_the_official_gtsrb_is_refused_where_its_tracks_would_be_lost(
    proxy: Proxy, server: str
) -> None:
    upload(server, "bucket", {"g/Final_Training/Images/00000/GT-00000.csv": b"Filename;ClassId"})
    with pytest.raises(DataError, match=r"tables tell what must stay together"):
        open_dataset("s3://bucket/g")


@pytest.mark.parametrize(
    "url",
    [
        "https://ghp_0123secret@host/a.zip",
        "https://me:0123secret@host/a.zip",
        "https://me:pass/0123secret@host/a.zip",
        "https://host/a.zip?jwt=0123secret",
        "https://host/a.zip?id=1;sig=0123secret",
        "https://host/a.zip#0123secret",
        "abfs://me:0123secret@account/a",
        "abfs://container/a?sig=0123secret",
        "zip://a.png::https://me:0123secret@host/a.zip",
        "https://[0123secret/a.zip",
    ],
)
def test_no_url_shows_a_secret(url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(endpoint, "NEW_SECONDS", 0.0)
    assert "0123secret" not in without_secrets(url)
    assert "0123secret" not in location(url)
    with pytest.raises(DataError) as told:
        open_dataset(url)
    assert "0123secret" not in str(told.value)


def test_a_server_that_comes_back_is_waited_for(
    server: str, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with s3_server() as url:
        port = int(url.rpartition(":")[2])
        for name, value in settings_of(url).items():
            monkeypatch.setenv(name, value)
        upload(url, "bucket", files_below(folder))
        there = open_dataset("s3://bucket")
    found: list[bytes | Any] = []
    reads = threading.Thread(
        target=lambda: found.extend(fresh(there).read(s) for s in there.samples)
    )
    reads.start()
    time.sleep(0.5)
    assert found == []
    with s3_server(port) as url:
        reads.join(30)
    assert found == [there.read(sample) for sample in there.samples]


def test_a_server_that_is_gone_is_an_error_that_names_it(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(endpoint, "NEW_SECONDS", 0.3)
    endpoint._endpoint.cache_clear()
    for name, value in settings_of("http://127.0.0.1:9").items():
        monkeypatch.setenv(name, value)
    with pytest.raises(DataError, match=r"^The server http://127.0.0.1:9 does not answer, for "):
        open_dataset("s3://bucket/set")
    with pytest.raises(DataError, match=r"^The server of http://127.0.0.1:9 does not answer"):
        open_dataset("http://127.0.0.1:9/set.zip")
    table = write(tmp_path / "t.csv", b"path,label\nhttp://127.0.0.1:9/a.png,a\n")
    with pytest.raises(DataError, match=r"127.0.0.1:9 does not answer"):
        open_dataset(table)


def test_who_has_no_credentials_is_told_how_to_give_them(
    server: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    for name in settings_of(server):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("AWS_ENDPOINT_URL", server)
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    monkeypatch.setenv("HOME", str(tmp_path))
    with pytest.raises(DataError, match=r"no credentials were found.*Give .* FSSPEC_S3_ANON=true"):
        open_dataset("s3://bucket/set")


def test_a_place_that_nobody_knows_is_refused() -> None:
    with pytest.raises(
        DataError, match=r"^nosuch:// is no place that can be read here .*; wanted s3"
    ):
        open_dataset("nosuch://bucket/set")


def test_a_missing_driver_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    endpoint._opened.cache_clear()
    monkeypatch.setitem(sys.modules, "s3fs", None)
    with pytest.raises(DataError, match=r"pip install 'tlfeat\[cloud\]'\.$"):
        open_dataset("s3://bucket/set")
