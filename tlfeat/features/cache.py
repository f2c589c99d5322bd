"""The feature store as a user sees it: by its folder, not by an object that opens it."""

from collections.abc import Iterable, Iterator
from pathlib import Path

from tlfeat.features.maintenance import (
    Item,
    Pruned,
    Verified,
    list_items,
    prune,
    verify_all,
)
from tlfeat.features.store import FeatureStore
from tlfeat.watch import SILENT, Watch
from tlfeat.where import Where


def list_cache(cache: str | Path | None = None) -> list[Item]:
    """List the feature entries and the exported networks of the store, the longest unused first.

    Parameters
    ----------
    cache : str or Path, optional
        Folder of the feature store; $TLFEAT_CACHE or ./cache if None.

    Returns
    -------
    items : list of Item
        Quick: rows are counted, not checked. An entry that cannot be read has a `problem`.

    Examples
    --------
    >>> sum(item.bytes for item in tlfeat.list_cache()) / 1e6  # megabytes  # doctest: +SKIP
    """
    return list_items(FeatureStore(Where(cache).cache_folder))


def verify_cache(cache: str | Path | None = None, *, watch: Watch = SILENT) -> Iterator[Verified]:
    """Check every stored row against its checksum, an entry at a time; nothing is changed.

    Parameters
    ----------
    cache : str or Path, optional
        Folder of the feature store; $TLFEAT_CACHE or ./cache if None.
    watch : Watch
        Hears of the progress, a step a row.

    Yields
    ------
    verified : Verified
        `sound` where all is as it was written.

    Examples
    --------
    >>> all(entry.sound for entry in tlfeat.verify_cache())  # doctest: +SKIP
    True
    """
    return verify_all(FeatureStore(Where(cache).cache_folder), watch)


def prune_cache(plan: Iterable[Item], *, watch: Watch = SILENT) -> list[Pruned]:
    """Delete items of the store, but for what was used or replaced since they were listed.

    Parameters
    ----------
    plan : iterable of Item
        Some of those of `list_cache`, as `plan_prune` chooses them, or you.
    watch : Watch
        Hears of the progress, a step an item.

    Returns
    -------
    pruned : list of Pruned
        `kept` says why one was left.

    Raises
    ------
    StoreError
        If a folder cannot be renamed or deleted, or is being written to.

    Examples
    --------
    >>> plan = tlfeat.plan_prune(tlfeat.list_cache(), unused_for=30 * 86400)  # doctest: +SKIP
    >>> done = tlfeat.prune_cache(plan)  # doctest: +SKIP
    """
    return prune(plan, watch)
