"""Groups that a dataset does not tell: pictures that are one, or of one scene, belong together."""

from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Final, Unpack

from tlfeat.audit.pictures import Pictures
from tlfeat.data.dataset import Dataset, as_dataset, open_dataset
from tlfeat.data.digests import DigestIndex
from tlfeat.data.groups import (
    AUTO_GROUPS,
    GroupRow,
    groups_file,
    read_groups,
    write_groups,
)
from tlfeat.data.names import counted
from tlfeat.data.splits import components
from tlfeat.features.settings import FeatureSettings
from tlfeat.settings import explained
from tlfeat.where import Where, WhereOptions

MANY: Final = 20_000  # pictures; of more every picture with every other takes minutes


@explained(Where)
def find_groups(dataset: Dataset | str | Path, **options: Unpack[WhereOptions]) -> Dataset:
    """Find which pictures of a dataset belong together, and open it with these groups.

    Copies and pictures of one scene, such as frames of one film, are a group; what the source
    tells stays together as well. Folds, splits that are made here, intervals and tests then take
    whole groups. They are found once, by the features of the default network, and kept in
    groups.csv in the study's folder: that file is read ever after.

    Parameters
    ----------
    dataset : Dataset, str or Path
        What `open_dataset` gives, or takes.
    **options
        cache, reports, name, engine, jobs, watch: see `Where`.

    Returns
    -------
    dataset : Dataset
        The same pictures with their groups. Where the source has no test split, the split that
        is made keeps groups together, and may be another than before.

    Raises
    ------
    TlfeatError
        If the dataset, the default network or the store cannot be used, or groups.csv cannot be
        read.

    Examples
    --------
    >>> dataset = tlfeat.find_groups("garments")  # doctest: +SKIP
    >>> run = tlfeat.train(dataset, head="lda")  # doctest: +SKIP
    """
    where = Where(**options)
    dataset = as_dataset(dataset, where)
    file = groups_file(where.study_folder(dataset), dataset.asked)
    known = read_groups(file) if file.exists() else {}
    there = {sample.digest for sample in dataset.samples}
    found: Mapping[str, str] = {}
    if not known.keys() >= there:
        found = _found(dataset, where)
    groups = _named(dataset, [known, found], known)
    if groups != {digest: known.get(digest) for digest in there}:
        keep_groups(file, dataset, known | groups)
    sizes = Counter(groups.values())
    alone = sizes.pop("", 0)
    where.watch.note(
        f"Groups: {len(there) - alone:,} of {counted(len(there), 'picture')} in "
        f"{counted(len(sizes), 'group')}, as {file} has them."
    )
    grouped = open_dataset(
        dataset.given or dataset.path,
        **{**dataset.asked, "groups": file},
        digests=DigestIndex(where.cache_folder),
        jobs=where.jobs,
    )
    return replace(grouped, asked={**grouped.asked, "groups": AUTO_GROUPS})


def keep_groups(file: Path, dataset: Dataset, groups: Mapping[str, str]) -> None:
    """Write the groups of pictures, by their digests, with the ids that a person knows."""
    ids = {sample.digest: sample.id for sample in reversed(dataset.samples)}
    write_groups(file, [GroupRow(one, group, ids.get(one, "")) for one, group in groups.items()])


def _found(dataset: Dataset, where: Where) -> dict[str, str]:
    """Number the pictures that are one, or of one scene, by their digests."""
    if len(dataset) > MANY:
        where.watch.note(
            f"Every one of {len(dataset):,} pictures is compared with every other, which takes "
            "minutes; it is done once."
        )
    pictures = Pictures.read(dataset, FeatureSettings(), where)
    where.watch.doing("looking for pictures that belong together")
    pictures.compare()
    scenes = pictures.one_of_row(pictures.copies.pairs, pictures.scenes.pairs)
    where.watch.finish()
    return dict(zip(pictures.features.digests, map(str, scenes), strict=True))


def _named(
    dataset: Dataset, ways: Sequence[Mapping[str, str]], known: Mapping[str, str]
) -> dict[str, str]:
    """Join what belongs together in any way, what the source tells too, and name it.

    Groups of before only grow, and keep their names; else one that holds a group of the source,
    and no other, has its name. Each digest gets its group, "" where it is alone.
    """
    digests = [sample.digest for sample in dataset.samples]
    told = [sample.group for sample in dataset.samples]
    number = components(digests, told)
    for way in ways:
        number = components([str(one) for one in number], [way.get(d) or None for d in digests])
        number = components(digests, [str(one) for one in number])
    members: dict[int, list[int]] = defaultdict(list)
    for place, one in enumerate(number):
        members[one].append(place)
    groups: dict[str, str] = {}
    for rows in members.values():
        mine = {digests[row] for row in rows}
        before = {known[digest] for digest in mine if known.get(digest)}
        theirs = {name for name in (told[row] for row in rows) if name is not None}
        name = f"scene-{min(mine)[:12]}" if len(mine) > 1 else ""
        if before or len(theirs) == 1:
            name = min(before or theirs)
        groups |= dict.fromkeys(mine, name)
    return groups
