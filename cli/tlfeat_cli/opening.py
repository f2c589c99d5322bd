"""Opening the dataset, or the run, that the user named, for every command alike."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar

from tlfeat.settings import setting
from tlfeat.watch import Watch
from tlfeat.where import Where
from tlfeat_cli.options import assignments

if TYPE_CHECKING:
    from tlfeat.data.dataset import Dataset
    from tlfeat.runs.record import Run


@dataclass(frozen=True)
class DataOptions:
    """What can be said of a dataset beside its place."""

    panel: ClassVar = "Data"

    splits: str | None = setting(
        None,
        "text",
        "Which of the dataset's splits to use, such as train=training,test=validation.",
        metavar="OURS=THEIRS,...",
    )
    columns: str | None = setting(
        None,
        "text",
        "Names of a table's columns, such as path=file,label=species.",
        metavar="OURS=THEIRS,...",
    )
    groups: str | None = setting(
        None,
        "text",
        "What stays together in folds and splits: auto finds copies and scenes, none forgets what "
        "the source tells; or a table's column, or a groups.csv.",
        metavar="GROUPS",
    )
    split_seed: int = setting(0, "whole", "Seed of the split that is made.")
    limit: int | None = setting(
        None,
        "whole",
        "Use N pictures at most, evenly over splits and classes.",
        metavar="N",
        least=1,
    )
    rehash: bool = setting(False, "flag", "Read every picture again to see what changed.")

    def open(self, path: str, where: Where) -> "Dataset":
        """Open a dataset with the digests that the cache remembers."""
        from tlfeat.data.dataset import open_dataset
        from tlfeat.data.digests import DigestIndex
        from tlfeat.data.groups import AUTO_GROUPS

        finds = self.groups == AUTO_GROUPS
        dataset = opened(
            where.watch,
            lambda progress: open_dataset(
                path,
                splits=assignments(self.splits, "--splits"),
                columns=assignments(self.columns, "--columns"),
                groups=None if finds else self.groups,
                split_seed=self.split_seed,
                limit=self.limit,
                digests=DigestIndex(where.cache_folder),
                rehash=self.rehash,
                jobs=where.jobs,
                progress=progress,
            ),
        )
        if not finds:
            return dataset
        from tlfeat.audit.groups import find_groups

        return find_groups(dataset, **vars(where))


def chosen_run(name: str, where: Where, watch: Watch) -> "Run":
    """Find the run that the user named, and say which it is where a name was not its folder."""
    from tlfeat.runs.find import find_run

    chosen = find_run(name, where.reports)
    if chosen.path != Path(name):
        watch.note(f"Run: {chosen.path}")
    return chosen


def opened(watch: Watch, open_it: "Callable[[Callable[[int, int], None]], Dataset]") -> "Dataset":
    """Open a dataset while the watch hears how many pictures are read."""
    told = 0

    def progress(done: int, total: int) -> None:
        nonlocal told
        if told == 0:
            watch.start("reading", total)
        watch.step(done - told)
        told = done

    try:
        return open_it(progress)
    finally:
        watch.finish()
