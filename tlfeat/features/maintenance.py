"""What lies in the cache, whether it is sound, and how to make room.

Nothing is deleted by looking: `plan_prune` says what would go, so that a command can
ask, and `prune` does it. A folder is renamed before it is deleted, so that a reader
finds either all of it or nothing.
"""

import re
import shutil
import time
from collections.abc import Iterable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from fnmatch import fnmatchcase
from itertools import count
from pathlib import Path
from typing import Literal, NamedTuple, TypeAlias

from tlfeat.errors import StoreError, UnknownName, did_you_mean
from tlfeat.features import disk
from tlfeat.features.disk import DamagedEntry
from tlfeat.features.entry import Entry
from tlfeat.features.folder import (
    DAMAGED,
    FEATURES,
    INDEX,
    RECIPE,
    bytes_in,
    identity,
    move_away,
)
from tlfeat.features.store import FeatureStore
from tlfeat.files import NEW
from tlfeat.watch import SILENT, Watch

Kind: TypeAlias = Literal["features", "network", "damaged", "leftover"]

TRASH = ".trash-"
LEFTOVER_SECONDS = 3600.0  # a folder that is being made is never this old
_OURS = {FEATURES, INDEX, RECIPE}
_UNFINISHED_NETWORK = re.compile(r"\..+\.[0-9a-f]{32}")  # as earlier versions left them


@dataclass(frozen=True)
class Item:
    """One folder of the cache."""

    kind: Kind  # "damaged" was set aside; "leftover" was being made or deleted at a kill
    name: str
    path: Path
    rows: int | None  # of features that can be read
    bytes: int
    last_used: float  # seconds since 1970
    problem: str | None  # what hinders reading it
    identity: tuple[int, int] | None


class Verified(NamedTuple):
    """What `verify` found in one entry."""

    name: str
    rows: int
    bad_rows: tuple[int, ...]  # that do not match their checksum
    problem: str | None  # what else is wrong

    @property
    def sound(self) -> bool:
        """Whether everything is as it was written."""
        return not self.bad_rows and self.problem is None


class Pruned(NamedTuple):
    """What became of one item of a plan."""

    item: Item
    kept: str | None  # why it was left; None if it is deleted


def list_items(store: FeatureStore) -> list[Item]:
    """List all feature entries and exported networks, the longest unused first.

    Parameters
    ----------
    store : FeatureStore

    Returns
    -------
    items : list of Item
        Quick: rows are counted, not checked. An entry that cannot be read is listed with
        its problem. Folders that are not the store's own are not listed.
    """
    items = [_features(store, path) for path in _folders(store.folder)]
    items += [_network(path) for path in _folders(store.root / "networks")]
    return sorted((item for item in items if item), key=lambda item: (item.last_used, item.name))


def verify(entry: Entry, watch: Watch = SILENT) -> Verified:
    """Check every row of an entry against its checksum; nothing is changed.

    Parameters
    ----------
    entry : Entry
    watch : Watch
        Hears of the progress, a step a row.

    Returns
    -------
    verified : Verified
    """
    rows = 0
    try:
        rows = entry.rows
        watch.start(f"checking {entry.name}", rows)
        bad = entry.bad_rows(watch.step)
    except DamagedEntry as error:
        return Verified(entry.name, rows, (), str(error))
    finally:
        watch.finish()
    return Verified(entry.name, rows, tuple(bad), None)


def verify_all(store: FeatureStore, watch: Watch = SILENT) -> Iterator[Verified]:
    """Check every entry of a store; yields as it goes."""
    for name in store.names():
        try:
            entry = store.open(name)
        except DamagedEntry as error:
            yield Verified(name, 0, (), str(error))
        else:
            yield verify(entry, watch)


def plan_prune(
    items: Sequence[Item],
    *,
    names: Iterable[str] = (),
    unused_for: float | None = None,
    max_bytes: int | None = None,
    leftovers: bool = False,
    now: float | None = None,
) -> list[Item]:
    """Say what pruning would delete; nothing is deleted yet.

    Parameters
    ----------
    items : sequence of Item
        As `list_items` gives them.
    names : iterable of str
        These, wildcards allowed.
    unused_for : float, optional
        Whatever was not used for so many seconds.
    max_bytes : int, optional
        As much as is needed for the rest to take no more than this: what was damaged or
        left over first, then the longest unused.
    leftovers : bool
        What was damaged or left over.
    now : float, optional
        Seconds since 1970; the clock's if None.

    Returns
    -------
    plan : list of Item
        In the order of `items`.

    Raises
    ------
    UnknownName
        If a name matches nothing.

    Examples
    --------
    >>> plan = tlfeat.plan_prune(tlfeat.list_cache(), max_bytes=10**10)  # doctest: +SKIP
    >>> [item.name for item in plan]  # doctest: +SKIP
    []
    """
    moment = time.time() if now is None else now
    # A folder that somebody may be making at this moment is not a candidate at all.
    settled = [
        item
        for item in items
        if item.kind != "leftover"
        or item.name.startswith(TRASH)
        or moment - item.last_used > LEFTOVER_SECONDS
    ]
    chosen = set()
    for pattern in names:
        found = {item.path for item in settled if fnmatchcase(item.name, pattern)}
        if not found:
            known = [item.name for item in settled]
            raise UnknownName(
                f"Nothing in the cache is called {pattern!r}.{did_you_mean(pattern, known)} "
                "`tlfeat cache ls` lists what there is."
            )
        chosen |= found
    for item in settled:
        stale = unused_for is not None and moment - item.last_used > unused_for
        if stale or (leftovers and _worthless(item)):
            chosen.add(item.path)
    if max_bytes is not None:
        kept = sum(item.bytes for item in items if item.path not in chosen)
        for item in sorted(settled, key=lambda item: (not _worthless(item), item.last_used)):
            if kept <= max_bytes:
                break
            if item.path not in chosen:
                chosen.add(item.path)
                kept -= item.bytes
    return [item for item in items if item.path in chosen]


def prune(plan: Iterable[Item], watch: Watch = SILENT) -> list[Pruned]:
    """Delete what was planned, but for what was used or replaced since.

    Parameters
    ----------
    plan : iterable of Item
        As `plan_prune` gives it.
    watch : Watch
        Hears of the progress, a step an item.

    Returns
    -------
    pruned : list of Pruned

    Raises
    ------
    StoreError
        If a folder cannot be renamed or deleted, or is being written to.
    """
    items = list(plan)
    watch.start("pruning", len(items))
    done = []
    try:
        for item in items:
            done.append(Pruned(item, _delete(item)))
            watch.step()
    finally:
        watch.finish()
    return done


def _delete(item: Item) -> str | None:
    """Delete one item; say why not, if it was left."""
    if _last_used(item.path, item.kind) > item.last_used:
        return "it was used since"
    moved = move_away(item.path, _trash(item.path), item.identity)
    if moved is None:
        return "it was replaced or deleted since"
    with disk.writing(moved):
        shutil.rmtree(moved)
    return None


def _trash(path: Path) -> Iterator[Path]:
    return (path.with_name(f"{TRASH}{path.name.lstrip('.')}-{number}") for number in count(1))


def _folders(parent: Path) -> list[Path]:
    try:
        return [path for path in parent.iterdir() if path.is_dir() and not path.is_symlink()]
    except (FileNotFoundError, NotADirectoryError):
        return []
    except OSError as error:
        raise StoreError(
            f"The cache folder {parent} cannot be read ({error.strerror}): check its permissions."
        ) from error


def _features(store: FeatureStore, path: Path) -> Item | None:
    name = path.name
    if name.startswith((NEW, TRASH)):
        return _item("leftover", path)
    # A folder of the user's that happens to lie here is none of our business.
    if not any((path / file).exists() for file in _OURS):
        return None
    if DAMAGED in name:
        return _item("damaged", path)
    try:
        return _item("features", path, store.open(name).rows)
    except StoreError as error:
        return _item("features", path, problem=str(error))


def _network(path: Path) -> Item | None:
    if path.name.startswith((NEW, TRASH)) or _UNFINISHED_NETWORK.fullmatch(path.name):
        return _item("leftover", path)
    return _item("network", path) if (path / "network.json").exists() else None


def _item(kind: Kind, path: Path, rows: int | None = None, problem: str | None = None) -> Item:
    return Item(
        kind=kind,
        name=path.name,
        path=path,
        rows=rows,
        bytes=bytes_in(path),
        last_used=_last_used(path, kind),
        problem=problem,
        identity=identity(path),
    )


def _last_used(path: Path, kind: Kind) -> float:
    """Give when an item was used last, as well as is known."""
    marks = {"features": RECIPE, "network": "network.json"}
    for mark in (path / marks[kind], path) if kind in marks else (path,):
        with suppress(OSError):
            return mark.stat().st_mtime
    return 0.0


def _worthless(item: Item) -> bool:
    return item.kind in ("damaged", "leftover")
