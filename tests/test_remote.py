"""Pictures on servers: s3:// and https:// as sources."""

import functools
import http.server
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pytest

pytest.importorskip("s3fs")
pytest.importorskip("moto")

from conftest import SIZE
from object_server import (
    KEY,
    SECRET,
    Proxy,
    client,
    files_below,
    upload,
)
from pictures import class_folder, colour_folders, png, write, write_folder
from source_makers import as_csv, as_tar, as_webdataset, as_zip

from tlfeat.data.dataset import Dataset, default_name, open_dataset
from tlfeat.data.digests import DigestIndex
from tlfeat.errors import DataError
from tlfeat.features.extract import embed, extract
from tlfeat.features.settings import FeatureSettings
from tlfeat.remote import endpoint
from tlfeat.remote.endpoint import endpoint_of
from tlfeat.where import Where


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return class_folder(tmp_path / "set")


def digests(dataset: Dataset) -> list[tuple[str, str, str | None]]:
    return [(s.digest, str(dataset.label_name(s)), s.split) for s in dataset.samples]


def test_a_folder_on_s3_is_the_folder_on_disk(proxy: Proxy, server: str, folder: Path) -> None:
    write(folder / "a" / "notes.txt", b"no picture")
    write(folder / "a" / ".hidden", b"no picture")
    write(folder / "a" / "nothing.png", b"")
    write(folder / "a" / "unnamed", png(99))
    upload(server, "bucket", {f"my set/{k}": v for k, v in files_below(folder).items()})
    here, there = open_dataset(folder), open_dataset("s3://bucket/my set/")
    assert digests(there) == digests(here)
    assert [s.id for s in there.samples] == [s.id for s in here.samples]
    assert [(s.id, s.reason) for s in there.skipped] == [(s.id, s.reason) for s in here.skipped]
    assert there.notes == here.notes
    assert (there.kind, there.name, there.path) == ("folder", "my set", "s3://bucket/my set/")


@pytest.mark.slow
def test_a_listing_of_several_pages_is_whole(proxy: Proxy, server: str) -> None:
    upload(server, "bucket", {f"{n:04d}.png": png(n % 50) for n in range(1100)})
    assert len(endpoint_of("s3://bucket").objects("s3://bucket")) == 1100


def test_each_picture_is_fetched_once_and_never_again_for_its_digest(
    proxy: Proxy, server: str, folder: Path, tmp_path: Path
) -> None:
    upload(server, "bucket", files_below(folder))
    first = open_dataset("s3://bucket", digests=DigestIndex(tmp_path / "cache"))
    for sample in first.samples:
        first.read(sample)
    assert len(proxy.gets) == len(first)
    proxy.requests.clear()
    again = open_dataset("s3://bucket", digests=DigestIndex(tmp_path / "cache"))
    assert digests(again) == digests(first)
    assert proxy.gets == []
    changed = first.samples[0]
    upload(server, "bucket", {changed.id: png(12345)})
    proxy.requests.clear()
    once_more = open_dataset("s3://bucket", digests=DigestIndex(tmp_path / "cache"))
    assert len(proxy.gets) == 1
    assert changed.digest not in {sample.digest for sample in once_more.samples}


@pytest.mark.parametrize("make", [as_zip, as_tar, as_webdataset])
def test_an_archive_on_s3_is_read_in_place(
    proxy: Proxy, server: str, folder: Path, tmp_path: Path, make: Any
) -> None:
    archive = make(folder, tmp_path / "set.archive.tar")
    upload(server, "bucket", {archive.name: archive.read_bytes()})
    here, there = open_dataset(archive), open_dataset(f"s3://bucket/{archive.name}")
    assert {s.digest for s in there.samples} == {s.digest for s in open_dataset(folder).samples}
    assert digests(there) == digests(here)
    assert there.kind == here.kind
    assert [there.read(s) for s in there.samples] == [here.read(s) for s in here.samples]


def test_a_large_tar_is_read_in_blocks_each_once(
    proxy: Proxy, server: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tlfeat.remote.blocks.BLOCK", 4096)
    folder = class_folder(tmp_path / "set", each=40)
    archive = as_tar(folder, tmp_path / "set.tar")
    upload(server, "bucket", {"set.tar": archive.read_bytes()})
    there = open_dataset("s3://bucket/set.tar")
    read = [there.read(sample) for sample in there.samples]
    assert sorted(read) == sorted(files_below(folder).values())
    assert len(proxy.gets) <= -(-archive.stat().st_size // 4096) + 1


def test_a_tar_that_is_known_is_not_fetched_to_be_listed(
    proxy: Proxy, server: str, folder: Path, tmp_path: Path
) -> None:
    cache = tmp_path / "cache"
    archive = as_webdataset(folder, tmp_path / "set.tar")
    upload(server, "bucket", {"set.tar": archive.read_bytes()})
    first = open_dataset("s3://bucket/set.tar", digests=DigestIndex(cache))
    proxy.requests.clear()
    again = open_dataset("s3://bucket/set.tar", digests=DigestIndex(cache))
    assert digests(again) == digests(first)
    assert len(proxy.gets) <= 1  # its first bytes tell what it is
    assert again.read(again.samples[0]) == first.read(first.samples[0])
    for path in (cache / "listings").iterdir():
        path.write_bytes(path.read_bytes()[:-9])
    third = open_dataset("s3://bucket/set.tar", digests=DigestIndex(cache))
    assert digests(third) == digests(first)
    more = write_folder(tmp_path / "more", ["a/9.png", "b/9.png"], first_seed=50)
    upload(server, "bucket", {"set.tar": as_webdataset(more, tmp_path / "o.tar").read_bytes()})
    assert len(open_dataset("s3://bucket/set.tar", digests=DigestIndex(cache))) == 2


def test_shards_and_compressed_archives_are_one_set(
    proxy: Proxy, server: str, folder: Path, tmp_path: Path
) -> None:
    shards = tmp_path / "shards"
    shards.mkdir()
    as_webdataset(folder, shards / "train-000.tar")
    more = write_folder(tmp_path / "more", ["a/9.png", "b/9.png"], first_seed=50)
    as_webdataset(more, shards / "test-000.tar")
    upload(server, "bucket", {f"shards/{k}": v for k, v in files_below(shards).items()})
    here, there = open_dataset(shards), open_dataset("s3://bucket/shards")
    assert digests(there) == digests(here)
    assert there.counts().keys() == {"train", "test"}
    packed = as_tar(folder, tmp_path / "set.tar.gz", "w:gz")
    upload(server, "bucket", {"set.tar.gz": packed.read_bytes()})
    assert digests(open_dataset("s3://bucket/set.tar.gz")) == digests(open_dataset(packed))


def test_a_table_lists_what_lies_beside_it_or_anywhere(
    proxy: Proxy, server: str, folder: Path, tmp_path: Path
) -> None:
    table = as_csv(folder, tmp_path / "table.csv")
    upload(server, "bucket", {f"x/{k}": v for k, v in files_below(tmp_path).items()})
    here, there = open_dataset(table), open_dataset("s3://bucket/x/table.csv")
    assert digests(there) == digests(here)
    lines = [f"s3://bucket/x/{s.id},{here.label_name(s)}" for s in here.samples]
    mixed = write(tmp_path / "mixed.csv", "\n".join(["path,label", *lines]).encode())
    assert digests(open_dataset(mixed)) == digests(here)


def test_what_is_not_found_is_counted_and_left_out(
    proxy: Proxy, server: str, folder: Path, tmp_path: Path
) -> None:
    as_csv(folder, tmp_path / "table.csv")
    upload(server, "bucket", files_below(tmp_path))
    there = open_dataset("s3://bucket/table.csv")
    gone = there.samples[0].id
    client(server).delete_object(Bucket="bucket", Key=gone)
    again = open_dataset("s3://bucket/table.csv")
    assert len(again) == len(there) - 1
    assert [(s.id, s.reason.split(" at ")[0]) for s in again.skipped] == [
        (gone, "cannot be read: not found")
    ]
    with pytest.raises(DataError, match=r"^Nothing lies at 's3://bucket/nowhere'; expected a fol"):
        open_dataset("s3://bucket/nowhere")
    with pytest.raises(DataError, match=r"^Nothing lies at 's3://nobucket/a'"):
        open_dataset("s3://nobucket/a")


@contextmanager
def web_server(folder: Path, handler: type[Any]) -> Iterator[str]:
    """Serve a folder over HTTP."""
    made = functools.partial(handler, directory=str(folder))
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), made) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_address[1]}"
        server.shutdown()


class Plain(http.server.SimpleHTTPRequestHandler):
    """Gives no parts of files."""

    seen: tuple[str, ...] = ()

    def log_message(self, *said: object) -> None:
        Plain.seen += (self.path,)


class Ranges(Plain):
    """Gives parts of files, with ETags, as large servers do."""

    def do_GET(self) -> None:
        path = Path(self.translate_path(self.path))
        if not path.is_file():
            self.send_error(404)
            return
        data = path.read_bytes()
        said = self.headers.get("Range")
        part = data
        if said:
            start, stop = said.removeprefix("bytes=").split("-")
            part = data[int(start) : int(stop) + 1]
            self.send_response(206)
            self.send_header("Content-Range", f"bytes {start}-{stop}/{len(data)}")
        else:
            self.send_response(200)
        self.send_header("Content-Length", str(len(part)))
        self.send_header("Accept-Ranges", "bytes")
        self.send_header("ETag", '"1"')
        self.end_headers()
        self.wfile.write(part)


@pytest.mark.parametrize("handler", [Plain, Ranges])
def test_archives_and_tables_over_http(
    tmp_path: Path, folder: Path, handler: type[Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tlfeat.remote.blocks.BLOCK", 512)
    as_zip(folder, tmp_path / "set.zip")
    as_tar(folder, tmp_path / "set.tar")
    table = as_csv(folder, tmp_path / "table.csv")
    wanted = digests(open_dataset(table))
    (tmp_path / "set.tar").rename(tmp_path / "my set.tar")
    with web_server(tmp_path, handler) as url:
        for name in ("set.zip", "my set.tar", "table.csv"):
            there = open_dataset(f"{url}/{name}?download=1")
            assert sorted(digests(there)) == sorted(wanted), name
            assert len({there.read(s) for s in there.samples}) == len(set(wanted))
        with pytest.raises(DataError, match=r"not found|^Nothing lies at "):
            open_dataset(f"{url}/nothing.zip")


def test_a_page_is_no_folder(tmp_path: Path, folder: Path) -> None:
    with web_server(tmp_path, Plain) as url, pytest.raises(DataError, match=r"folders cannot be"):
        open_dataset(f"{url}/set/")


def test_secrets_of_urls_are_kept_nowhere(tmp_path: Path, folder: Path) -> None:
    as_zip(folder, tmp_path / "set.zip")
    as_csv(folder, tmp_path / "table.csv")
    secret = "X-Amz-Signature=0123456789abcdef"
    with web_server(tmp_path, Plain) as url:
        lines = [f"{url}/set/a/{p.name}?{secret},a" for p in (folder / "a").iterdir()]
        write(tmp_path / "signed.csv", "\n".join(["path,label", *lines]).encode())
        for name in ("set.zip", "signed.csv"):
            host = url.replace("http://", "http://me:password@")
            place = f"{url if name.endswith('csv') else host}/{name}?{secret}"
            cache = tmp_path / "cache"
            dataset = open_dataset(place, digests=DigestIndex(cache))
            ids = "".join(sample.id for sample in dataset.samples)
            assert "0123456789abcdef" not in ids + dataset.path + dataset.name
            assert "password" not in ids + dataset.path
            assert b"0123456789abcdef" not in (cache / "files.sqlite").read_bytes()
            assert b"password" not in (cache / "files.sqlite").read_bytes()
        with pytest.raises(DataError) as told:
            open_dataset(f"{url}/no.zip?{secret}")
    assert "0123456789abcdef" not in str(told.value)


def test_a_dataset_is_named_after_its_place() -> None:
    assert default_name("s3://bucket/birds/") == "birds"
    assert default_name("https://host/a/birds.tar.gz?sig=1") == "birds"
    assert default_name("s3://bucket") == "bucket"


def test_one_embedding_serves_folder_archives_and_a_bad_server(
    proxy: Proxy, server: str, tmp_path: Path, cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(endpoint, "_FIRST_PAUSE", 0.01)
    folder = class_folder(tmp_path / "colours", each=30)
    upload(server, "bucket", {f"colours/{k}": v for k, v in files_below(folder).items()})
    for make, name in ((as_zip, "a.zip"), (as_tar, "a.tar"), (as_webdataset, "w.tar")):
        upload(server, "bucket", {name: make(folder, tmp_path / name).read_bytes()})
    here = extract(folder, size=SIZE, cache=tmp_path / "here")
    proxy.failing = 0.3
    there = extract("s3://bucket/colours", size=SIZE, cache=cache)
    assert proxy.mishaps > 10
    assert there.digests == here.digests
    np.testing.assert_allclose(there.X, here.X, atol=1e-5)
    request = FeatureSettings(size=SIZE).resolve(cache)
    for place in ("s3://bucket/a.zip", "s3://bucket/a.tar", "s3://bucket/w.tar", folder):
        done = embed(open_dataset(place), [request], Where(cache=cache))
        assert (done.images, done.embedded) == (60, 0), place


def test_keys_show_up_in_no_file_and_no_line(
    proxy: Proxy, server: str, tmp_path: Path, run: Any
) -> None:
    pictures = colour_folders(tmp_path / "colours", per_class=8)
    upload(server, "bucket", {f"colours/{k}": v for k, v in files_below(pictures).items()})
    out = "s3://bucket/features.npz"
    printed = run("data", "s3://bucket/colours")
    printed += run("extract", "s3://bucket/colours", "--size", 32, "--out", out)
    printed += run("compare", "s3://bucket/colours", "--size", 32, "--head", "lda,knn")
    study = tmp_path / "reports" / "colours"
    printed += run("predict", study, "s3://bucket/colours/red", code=0)
    printed += run("report", study)
    assert client(server).head_object(Bucket="bucket", Key="features.npz")["ContentLength"] > 1000
    for path in (*tmp_path.rglob("*"),):
        if path.is_file():
            data = path.read_bytes()
            assert KEY.encode() not in data, path
            assert SECRET.encode() not in data, path
    assert KEY not in printed
    assert SECRET not in printed


def test_an_endpoint_is_the_same_for_all_who_ask() -> None:
    assert endpoint_of("https://host/a") is endpoint_of("https://me@host/b")
    assert endpoint_of("https://host/a") is not endpoint_of("https://other/a")
