"""Make the report of one study again, or one report of several."""

from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tlfeat.data.names import as_path
from tlfeat.errors import DamagedFile, TlfeatError
from tlfeat.files import read_toml, write_text
from tlfeat.report.page import write_report
from tlfeat.runs.record import Run, find_runs
from tlfeat.watch import SILENT, Watch
from tlfeat.where import STUDY_FILE, Where

if TYPE_CHECKING:
    from tlfeat.data.dataset import Dataset


def report(
    studies: Sequence[str | Path],
    out: str | Path | None = None,
    *,
    cache: str | Path | None = None,
    watch: Watch = SILENT,
) -> Path:
    """Write the report of finished runs; nothing is trained or embedded.

    Parameters
    ----------
    studies : sequence of str or Path
        Study folders. Runs on the same dataset and split are compared with each other,
        whichever study they are from.
    out : str or Path, optional
        Folder of the report; the study's own where there is one study.
    cache : str or Path, optional
        Folder of the feature store, for the projection; $TLFEAT_CACHE or ./cache if None.
    watch : Watch
        Hears of the progress.

    Returns
    -------
    page : Path
        index.html. Beside it are figures/, results.csv, results.md and results.tex; with
        several datasets those three are in a folder for each.

    Raises
    ------
    TlfeatError
        If a folder is no study, or several studies are given without `out`.
    """
    from tlfeat.report.contents import split_by_data
    from tlfeat.report.latex import latex_table
    from tlfeat.report.page import RESULTS_TEX
    from tlfeat.runs.results import write_results

    homes = list(dict.fromkeys(Path(study).resolve() for study in studies))
    for home in homes:
        if not ((home / "runs").is_dir() or (home / STUDY_FILE).is_file()):
            raise TlfeatError(
                f"{home} is no study: wanted a folder with {STUDY_FILE} or runs/, such as "
                "`tlfeat compare` prints."
            )
    if out is None and len(homes) != 1:
        raise TlfeatError(
            f"{len(homes)} studies are to become one report: say where to with --out DIR."
        )
    folder = homes[0] if out is None else Path(out).resolve()
    runs = [run for home in homes for run in find_runs(home)]
    store = Where(cache).cache_folder
    datasets = [
        dataset
        for dataset in (_dataset(home, runs, store, watch) for home in homes)
        if dataset is not None
    ]
    page = write_report(folder, runs, dataset=datasets, cache=store, studies=homes, watch=watch)
    parts = split_by_data(runs)
    for number, ranked in enumerate(parts, 1):
        name = Path(ranked[0].dataset.source).name or "dataset"
        place = folder if len(parts) == 1 else folder / f"{number}-{name}"
        write_results(place, ranked)
        write_text(place / RESULTS_TEX, latex_table(ranked))
    return page


def _dataset(home: Path, runs: Sequence[Run], cache: Path, watch: Watch) -> "Dataset | None":
    """Open the dataset of a study where it still is; nothing is ever downloaded for a report."""
    from tlfeat.data.dataset import OPENED_BY, open_dataset
    from tlfeat.data.digests import DigestIndex
    from tlfeat.data.groups import AUTO_GROUPS, groups_file

    places = [run.dataset.source for run in runs if run.study == home]
    asked: dict[str, Any] = {}
    with suppress(DamagedFile):  # the page says so
        data = read_toml(home / STUDY_FILE).get("data")
        if isinstance(data, dict) and isinstance(data.get("path"), str):
            places.insert(0, data["path"])
            asked = {name: data[name] for name in OPENED_BY if name in data}
            if asked.get("groups") == AUTO_GROUPS:
                asked["groups"] = groups_file(home, asked)
    for place in dict.fromkeys(places):
        if place != "digits" and not as_path(place).exists():
            continue
        try:
            return open_dataset(place, **asked, digests=DigestIndex(cache))
        except TlfeatError as error:
            watch.note(f"{place} cannot be opened, so the page has no pictures of it: {error}")
    return None
