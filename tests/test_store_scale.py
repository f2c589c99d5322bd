"""What a use of the store reads does not grow with what the store holds."""

import json
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from store_writer import DIM, digest, digests, entry_in, put, rows

from tlfeat.errors import StoreError
from tlfeat.features import disk, npy, soundness
from tlfeat.features.index import Index
from tlfeat.features.store import DamagedEntry, Entry

BENCHMARK = Path(__file__).parents[1] / "benchmarks/bench_scale.py"


Looks = list[str]  # through a whole index, as they are taken


@pytest.fixture
def looks(monkeypatch: pytest.MonkeyPatch) -> Looks:
    real = Index.contradiction
    taken: Looks = []

    def look(self: Index, *, exhaustive: bool = False) -> str | None:
        taken.append("exhaustive" if exhaustive else "quick")
        return real(self, exhaustive=exhaustive)

    monkeypatch.setattr(Index, "contradiction", look)
    return taken


@pytest.fixture
def settled(entry: Entry, monkeypatch: pytest.MonkeyPatch) -> Iterator[Entry]:
    """An entry whose index was written long enough ago for its stamp to be trusted."""
    monkeypatch.setattr(soundness, "RACY_NS", 0)
    return entry


def process(entry: Entry) -> Entry:
    """Give the entry as another process has it, which knows nothing yet."""
    return entry_in(entry.path.parents[1])


def rot(entry: Entry, wanted: bytes, monkeypatch: pytest.MonkeyPatch) -> None:
    """Spoil the last copy of some bytes in the index as a disk does: no stamp tells."""
    stamp = soundness._stamp_of(entry.path)
    path = entry.path / "index.sqlite"
    data = bytearray(path.read_bytes())
    data[data.rindex(wanted)] ^= 1
    path.write_bytes(data)
    monkeypatch.setattr(soundness, "_stamp_of", lambda _: stamp)


# How often an index is looked through


def test_an_index_is_looked_through_once_for_all_processes(settled: Entry, looks: Looks) -> None:
    for _ in range(3):
        assert process(settled).missing(digests(0, 4)) == []
        assert np.array_equal(process(settled).read(digests(3, 1)), rows(3, 1))
    assert looks == ["quick"]


def test_an_index_that_was_added_to_is_looked_through_again(settled: Entry, looks: Looks) -> None:
    process(settled).missing(digests(0))
    put(settled, 5)
    looks.clear()
    assert process(settled).missing(digests(5)) == []
    assert process(settled).missing(digests(5)) == []
    assert looks == ["quick"]


def test_the_stamp_of_an_index_that_was_just_written_is_not_trusted(
    entry: Entry, looks: Looks
) -> None:
    for _ in range(2):
        process(entry).missing(digests(0))
    assert looks == ["quick"] * 2
    assert not (entry.path / soundness.CHECKED).exists()


def test_on_a_network_disk_no_stamp_is_trusted(
    settled: Entry, looks: Looks, monkeypatch: pytest.MonkeyPatch
) -> None:
    process(settled).missing(digests(0))
    monkeypatch.setattr(disk, "filesystem_of", lambda _: "nfs4")
    process(settled).missing(digests(0))
    assert looks == ["quick"] * 2


@pytest.mark.parametrize("text", ["", "[1, 2", "null", "[1, 2, 3, 4, 1]", "\xff"])
def test_what_was_remembered_of_an_index_is_not_believed_once_spoilt(
    settled: Entry, looks: Looks, text: str
) -> None:
    process(settled).missing(digests(0))
    (settled.path / soundness.CHECKED).write_text(text, encoding="latin-1")
    process(settled).missing(digests(0))
    assert looks == ["quick"] * 2


def test_a_process_that_adds_looks_through_the_index_itself_and_once(
    settled: Entry, looks: Looks
) -> None:
    process(settled).missing(digests(0))
    other = process(settled)
    put(other, 5)
    put(other, 6)
    assert other.missing(digests(7)) == digests(7)
    assert looks == ["quick"] * 2


def test_verifying_looks_up_every_digest_whatever_is_remembered(
    settled: Entry, looks: Looks
) -> None:
    process(settled).missing(digests(0))
    assert process(settled).bad_rows() == []
    assert looks == ["quick", "exhaustive"]


def test_an_entry_that_was_moved_away_meanwhile_is_not_made_again(
    settled: Entry, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = Index.contradiction

    def slow(self: Index, *, exhaustive: bool = False) -> str | None:
        found = real(self, exhaustive=exhaustive)
        settled.path.rename(settled.path.with_name("elsewhere"))
        return found

    stamp = soundness._stamp_of(settled.path)
    monkeypatch.setattr(soundness, "_stamp_of", lambda _: stamp)
    monkeypatch.setattr(Index, "contradiction", slow)
    assert process(settled).missing(digests(0)) == []
    assert not settled.path.exists()


# Damage that the stamp does not tell


def test_damage_that_hides_a_row_is_found_before_it_is_embedded_again(
    settled: Entry, monkeypatch: pytest.MonkeyPatch
) -> None:
    process(settled).missing(digests(0))
    rot(settled, bytes.fromhex(digest(3)), monkeypatch)
    assert process(settled).missing(digests(0)) == []  # what is found needs no look
    for use in (lambda e: e.missing(digests(3)), lambda e: e.read(digests(3))):
        with pytest.raises(DamagedEntry, match=r"index\.sqlite"):
            use(process(settled))


def test_damage_of_what_is_not_asked_for_is_found_before_anything_is_added(
    settled: Entry, monkeypatch: pytest.MonkeyPatch
) -> None:
    process(settled).missing(digests(0))
    rot(settled, bytes.fromhex(digest(3)), monkeypatch)
    with pytest.raises(DamagedEntry, match=r"index\.sqlite"):
        put(process(settled), 5)
    assert len(np.load(settled.path / "features.npy")) == 5


def test_a_spoilt_reason_is_found_when_it_is_given(
    settled: Entry, monkeypatch: pytest.MonkeyPatch
) -> None:
    settled.append([], np.empty((0, DIM)), {digest(9): "a reason"})
    process(settled).missing(digests(0))
    rot(settled, b"a reason", monkeypatch)
    with pytest.raises(DamagedEntry, match=r"index\.sqlite"):
        process(settled).failures(digests(9))


def test_a_writer_that_commits_while_an_index_is_looked_through_does_no_harm(
    entry: Entry, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The two sums over the rows are of one moment, or they would differ."""
    index = Index(entry.path / "index.sqlite")
    real, tried = index._contradiction, []

    def between(exhaustive: bool) -> str | None:
        assert index.count() == 5  # the moment of the first look is that of all
        monkeypatch.setattr("tlfeat.features.index.BUSY_SECONDS", 0.0)
        with pytest.raises(StoreError, match=r"Another process"):
            put(process(entry), 5)
        tried.append(True)
        return real(exhaustive)

    monkeypatch.setattr(index, "_contradiction", between)
    assert index.contradiction() is None
    index.close()
    assert tried
    assert put(process(entry), 5) == 1


# What a read reads


def windows(monkeypatch: pytest.MonkeyPatch) -> list[tuple[int, int]]:
    """Note the first and the last of the rows of each part of features.npy that is mapped."""
    real, mapped = npy.map_rows, []

    def noted(fd: int, start: int, stop: int, *form: Any) -> np.ndarray:
        mapped.append((start, stop - 1))
        return real(fd, start, stop, *form)

    monkeypatch.setattr(npy, "map_rows", noted)
    return mapped


def test_rows_are_read_forwards_and_few_at_a_time(
    entry: Entry, monkeypatch: pytest.MonkeyPatch
) -> None:
    put(entry, *range(5, 40))
    monkeypatch.setattr("tlfeat.features.entry._CHUNK_BYTES", 3 * 4 * DIM)
    mapped, asked = windows(monkeypatch), (30, 4, 5, 12, 31, 6, 5)
    assert np.array_equal(entry.read(digests(*asked)), rows(*asked))
    assert mapped == [(4, 5), (6, 30), (31, 31)]
    assert np.array_equal(entry.read(digests(*sorted(asked))), rows(*sorted(asked)))


def test_checking_every_row_holds_a_chunk_of_them_at_a_time(
    entry: Entry, monkeypatch: pytest.MonkeyPatch
) -> None:
    put(entry, *range(5, 17))
    monkeypatch.setattr("tlfeat.features.entry._CHUNK_BYTES", 7 * 4 * DIM)
    mapped = windows(monkeypatch)
    entry.check(digests(*range(17)))
    assert entry.bad_rows() == []
    assert mapped == [(0, 6), (7, 13), (14, 16)] * 2


def test_rows_far_into_a_file_are_mapped_from_a_page_of_theirs(tmp_path: Path) -> None:
    entry = entry_in(tmp_path)
    put(entry, *range(3000))  # 96 kB: more than a page of any system
    asked = (2500, 2501, 2502)
    mapped = entry.read(digests(*asked))
    assert not mapped.flags.owndata
    assert np.array_equal(mapped, rows(*asked))
    assert np.array_equal(entry.read(digests(2999, 2400)), rows(2999, 2400))


def test_a_file_that_is_cut_while_it_is_read_is_damaged(
    entry: Entry, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = Index.checksums

    def cutting(self: Index, asked: np.ndarray) -> np.ndarray:
        os.truncate(entry.path / "features.npy", 200)
        return real(self, asked)

    monkeypatch.setattr(Index, "checksums", cutting)
    with pytest.raises(DamagedEntry, match=r"cut short"):
        entry.read(digests(4, 0))


def test_a_dataset_is_found_and_checked_in_one_opening(
    entry: Entry, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = entry.path / "features.npy"
    data = bytearray(path.read_bytes())
    data[-1] ^= 1
    path.write_bytes(data)
    assert entry.missing(digests(9, 0, 1), check=True) == digests(9)
    with pytest.raises(DamagedEntry, match=r"row 4"):
        process(entry).missing(digests(9, 4), check=True)


def queries(monkeypatch: pytest.MonkeyPatch, entry: Entry, use: Callable[[Entry], object]) -> int:
    """Count the statements that a use of the entry takes."""
    from tlfeat.features import index

    real, said = index._connect, []

    def traced(*arguments: Any) -> Any:
        connection = real(*arguments)
        connection.set_trace_callback(said.append)
        return connection

    with monkeypatch.context() as patch:
        patch.setattr(index, "_connect", traced)
        use(entry)
    return len(said)


def test_a_look_up_of_many_takes_no_more_statements_than_one_of_few(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    entry = entry_in(tmp_path)
    put(entry, *range(3000))
    entry.missing(digests(0))
    few, many = (
        queries(monkeypatch, entry, lambda e, n=n: e.read(digests(*range(0, 2 * n, 2))))
        for n in (10, 1500)
    )
    assert few == many


def test_digests_of_another_length_are_a_mistake_of_the_caller(entry: Entry) -> None:
    with pytest.raises(ValueError, match=r"has 64 hexadecimal digits"):
        entry.missing(["00ff"])


# The benchmark, and what it must show


def measured(tmp_path: Path, *options: str) -> Any:
    out = tmp_path / "found.json"
    command = [sys.executable, str(BENCHMARK), *options, "--json", str(out)]
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, sys.path))}
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL, env=environment)
    return json.loads(out.read_text())


def test_the_benchmark_measures_what_grows(tmp_path: Path) -> None:
    found = measured(tmp_path, "--rows", "300", "--width", "4")
    assert found["300"].keys() >= {"append_us", "look_up_us", "gather_ratio", "verify_us"}


@pytest.mark.slow
@pytest.mark.timeout(1800)
def test_a_million_rows_cost_each_what_ten_thousand_do(tmp_path: Path) -> None:
    found = measured(tmp_path, "--rows", "10000,1000000")
    few, many = found["10000"], found["1000000"]
    assert many["first_s"] < 1.5
    assert many["again_s"] < 0.1
    assert many["gather_ratio"] <= 4
    assert many["look_up_us"] <= 1.5 * few["look_up_us"]
    assert many["append_us"] <= 1.5 * few["append_us"]
    assert max(many[f"{task}_mb"] for task in ("look_up", "gather", "verify")) < 500


@pytest.mark.slow
@pytest.mark.timeout(1800)
def test_a_hundred_thousand_files_that_are_stored_are_extracted_again_in_eight_seconds(
    tmp_path: Path,
) -> None:
    found = measured(tmp_path, "--rows", "300", "--width", "4", "--files", "100000")
    assert found["extract"]["warm_s"] < 8
