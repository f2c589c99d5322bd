"""Make the report of one study again, or one report of several."""

from collections.abc import Sequence
from pathlib import Path

from tlfeat.errors import TlfeatError
from tlfeat.files import write_text
from tlfeat.report.page import write_page
from tlfeat.runs.record import find_runs
from tlfeat.runs.reopen import dataset_of
from tlfeat.watch import SILENT, Watch
from tlfeat.where import STUDY_FILE, Where


def write_report(
    studies: Sequence[str | Path] | str | Path,
    out: str | Path | None = None,
    *,
    cache: str | Path | None = None,
    watch: Watch = SILENT,
) -> Path:
    """Write the report of finished studies; nothing is trained or embedded.

    Parameters
    ----------
    studies : str or Path, or sequence of these
        Study folders. Runs on the same dataset and split are compared with each other,
        whichever study they are from.
    out : str or Path, optional
        Folder of the report; the study's own where there is one study.
    cache : str or Path, optional
        Folder of the feature store, for the map; $TLFEAT_CACHE or ./cache if None.
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

    Examples
    --------
    >>> page = tlfeat.write_report("reports/garments")  # doctest: +SKIP
    """
    from tlfeat.report.contents import split_by_data
    from tlfeat.report.latex import latex_table
    from tlfeat.report.page import RESULTS_TEX
    from tlfeat.runs.results import write_results

    studies = [studies] if isinstance(studies, str | Path) else studies
    homes = list(dict.fromkeys(Path(study).resolve() for study in studies))
    for home in homes:
        if not ((home / "runs").is_dir() or (home / STUDY_FILE).is_file()):
            raise TlfeatError(
                f"{home} is no study: wanted a folder with {STUDY_FILE} or runs/, such as "
                "`tlfeat compare` prints."
            )
    if not homes:
        raise TlfeatError("No study is given: name one folder of a study or more.")
    if out is None and len(homes) > 1:
        raise TlfeatError(
            f"{len(homes)} studies are to become one report: say where to with out, --out DIR."
        )
    folder = homes[0] if out is None else Path(out).resolve()
    runs = [run for home in homes for run in find_runs(home)]
    store = Where(cache).cache_folder
    datasets = [
        dataset
        for dataset in (dataset_of(home, runs, store, watch) for home in homes)
        if dataset is not None
    ]
    page = write_page(folder, runs, dataset=datasets, cache=store, studies=homes, watch=watch)
    parts = split_by_data(runs)
    for number, ranked in enumerate(parts, 1):
        name = Path(ranked[0].dataset.source).name or "dataset"
        place = folder if len(parts) == 1 else folder / f"{number}-{name}"
        write_results(place, ranked)
        write_text(place / RESULTS_TEX, latex_table(ranked))
    return page
