"""The dataset of finished runs, opened again where it still is."""

from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

from tlfeat.data.dataset import OPENED_BY, Dataset, open_dataset
from tlfeat.data.digests import DigestIndex
from tlfeat.data.groups import AUTO_GROUPS, groups_file
from tlfeat.data.names import as_path
from tlfeat.errors import DamagedFile, TlfeatError
from tlfeat.files import read_toml
from tlfeat.remote.urls import is_url
from tlfeat.runs.record import Run
from tlfeat.watch import Watch
from tlfeat.where import STUDY_FILE


def dataset_of(study: Path, runs: Sequence[Run], cache: Path, watch: Watch) -> Dataset | None:
    """Open the dataset of a study's runs; no hub is ever asked for it.

    Parameters
    ----------
    study : Path
        Its folder.
    runs : sequence of Run
    cache : Path
        The store, which remembers digests.
    watch : Watch
        Hears why it cannot be opened.

    Returns
    -------
    dataset : Dataset or None
        None where it is no longer there.
    """
    places = [run.dataset.source for run in runs if run.study == study]
    asked: dict[str, Any] = {}
    with suppress(DamagedFile):  # who looks at the study says so
        data = read_toml(study / STUDY_FILE).get("data")
        if isinstance(data, dict) and isinstance(data.get("path"), str):
            places.insert(0, data["path"])
            asked = {name: data[name] for name in OPENED_BY if name in data}
            if asked.get("groups") == AUTO_GROUPS:
                asked["groups"] = groups_file(study, asked)
    for place in dict.fromkeys(places):
        if place != "digits" and not is_url(place) and not as_path(place).exists():
            continue
        try:
            return open_dataset(place, **asked, digests=DigestIndex(cache))
        except TlfeatError as error:
            watch.note(f"{place} cannot be opened: {error}")
    return None
