"""Opening the dataset that the user named, for every command alike."""

from pathlib import Path
from typing import TYPE_CHECKING

from tlfeat_cli.options import assignments
from tlfeat_cli.terminal import TerminalWatch

if TYPE_CHECKING:
    from tlfeat.data.dataset import Dataset


def open_data(
    path: str,
    cache: Path | None,
    watch: TerminalWatch,
    splits: str | None = None,
    columns: str | None = None,
    split_seed: int = 0,
    limit: int | None = None,
    rehash: bool = False,
) -> "Dataset":
    """Open a dataset with the digests that the cache remembers."""
    from tlfeat.data.dataset import open_dataset
    from tlfeat.data.digests import DigestIndex
    from tlfeat.places import cache_folder

    told = 0

    def progress(done: int, total: int) -> None:
        nonlocal told
        if told == 0:
            watch.start("reading", total)
        watch.step(done - told)
        told = done

    try:
        return open_dataset(
            path,
            splits=assignments(splits, "--splits"),
            columns=assignments(columns, "--columns"),
            split_seed=split_seed,
            limit=limit,
            digests=DigestIndex(cache_folder(cache)),
            rehash=rehash,
            progress=progress,
        )
    finally:
        watch.finish()
