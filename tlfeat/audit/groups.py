"""Groups that a dataset does not tell: pictures that are one, or of one scene, belong together."""

from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Unpack

import numpy as np

from tlfeat.audit.pictures import Pictures
from tlfeat.data.dataset import Dataset, as_dataset, open_dataset
from tlfeat.data.digests import DigestIndex
from tlfeat.data.groups import AUTO_GROUPS, GROUPS, GroupRow, read_groups, write_groups
from tlfeat.data.names import counted
from tlfeat.data.splits import components
from tlfeat.features.settings import FeatureSettings
from tlfeat.settings import explained
from tlfeat.where import Where, WhereOptions


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
    """
    where = Where(**options)
    dataset = as_dataset(dataset, where)
    file = where.study_folder(dataset) / GROUPS
    known = read_groups(file) if file.exists() else {}
    there = {sample.digest for sample in dataset.samples}
    if not known.keys() >= there:
        found = _found(dataset, known, where)
        ids = {sample.digest: sample.id for sample in reversed(dataset.samples)}
        gone = {digest: group for digest, group in known.items() if digest not in there}
        known = gone | {sample.digest: found[sample.digest] for sample in dataset.samples}
        write_groups(file, [GroupRow(d, group, ids.get(d, "")) for d, group in known.items()])
    sizes = Counter(known[digest] for digest in there)
    alone = sizes.pop("", 0)
    where.watch.note(
        f"Groups: {len(there) - alone:,} of {counted(len(there), 'picture')} in "
        f"{counted(len(sizes), 'group')}, as {file} has them."
    )
    grouped = open_dataset(
        dataset.path,
        **{**dataset.asked, "groups": file},
        digests=DigestIndex(where.cache_folder),
        jobs=where.jobs,
    )
    return replace(grouped, asked={**grouped.asked, "groups": AUTO_GROUPS})


def _found(dataset: Dataset, known: Mapping[str, str], where: Where) -> dict[str, str]:
    """Give each digest its group, "" where it has none but the one that its source tells.

    Groups that are known already only grow, and keep their names.
    """
    pictures = Pictures.read(dataset, FeatureSettings(), where)
    where.watch.doing("looking for pictures that belong together")
    pictures.compare()
    scenes = pictures.one_of_row(pictures.copies.pairs, pictures.scenes.pairs)
    where.watch.finish()
    number = dict(zip(pictures.features.digests, map(str, scenes), strict=True))
    digests = [sample.digest for sample in dataset.samples]
    joined = _joined(
        digests,
        [
            [sample.group for sample in dataset.samples],
            [number.get(digest) for digest in digests],
            [known.get(digest) or None for digest in digests],
        ],
    )
    told = components(digests, [sample.group for sample in dataset.samples])
    members: dict[int, list[int]] = defaultdict(list)
    for place, one in enumerate(joined):
        members[one].append(place)
    found: dict[str, str] = {}
    for rows in members.values():
        mine = {digests[row] for row in rows}
        names = {known[digest] for digest in mine if known.get(digest)}
        name = ""
        if names or len({told[row] for row in rows}) > 1:
            name = min(names) if names else f"scene-{min(mine)[:12]}"
        found |= dict.fromkeys(mine, name)
    return found


def _joined(digests: Sequence[str], ways: Sequence[Sequence[str | None]]) -> list[int]:
    """Join what is of one digest, or of one group in any of several ways, in a chain too."""
    number = np.arange(len(digests))
    for groups in ways:
        number = np.array(components([str(one) for one in number], groups))
        number = np.array(components(digests, [str(one) for one in number]))
    return number.tolist()
