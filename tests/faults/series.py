"""All parts of the series, and how often each is tried when all of it is run."""

from collections.abc import Callable
from typing import Final, NamedTuple

from faults import crowds, flips, full_disks, hostile, kills, markup, mutants
from faults.common import Outcome, Scene


class Part(NamedTuple):
    """One part of the series."""

    name: str
    run: Callable[[Scene, int], Outcome]
    whole: int  # how often when all is run
    few: int  # how often beside every other test


SERIES: Final = (
    Part("extract", kills.of_extract, 160, 16),
    Part("compare", kills.of_compare, 20, 2),
    Part("audit", kills.of_audit, 24, 2),
    Part("finetune", kills.of_finetune, 18, 1),
    Part("study", kills.of_study, 30, 1),
    Part("cache", kills.of_cache_commands, 16, 2),
    Part("crowd", crowds.of_writers_and_readers, 24, 3),
    Part("disks", full_disks.of_commands, 70, 7),
    Part("pictures", mutants.of_pictures, 1700, 170),
    Part("hostile", hostile.of_files, 12, 12),
    Part("markup", markup.of_names, 12, 2),
    Part("flips", flips.of_files, 300, 10),
)
