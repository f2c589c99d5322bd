"""Find a finished run by what a user calls it: its folder, its name, or its study.

A name is never guessed: one that fits two runs, or none, is answered with what there is.
"""

from pathlib import Path

from tlfeat.errors import TlfeatError, UnknownName, did_you_mean
from tlfeat.runs.ranking import rank
from tlfeat.runs.record import RECORD, Run, find_runs, load_run
from tlfeat.where import Where

_NAMED = 5  # runs, of those that one name fits


def find_run(name: str | Path, reports: str | Path | None = None) -> Run:
    """Find a finished run.

    Parameters
    ----------
    name : str or Path
        A run's folder; a study's folder or name, for its best run by validation; or a run's
        name, with its digits or without, and after its study's name and a slash or without.
    reports : str or Path, optional
        Folder of the studies; $TLFEAT_REPORTS or ./reports if None.

    Returns
    -------
    run : Run

    Raises
    ------
    UnknownName
        If no run is called so, or several are.
    TlfeatError
        If there is no run at all, or it cannot be read.

    Examples
    --------
    >>> run = tlfeat.find_run("garments")  # the best of that study by validation  # doctest: +SKIP
    """
    path = Path(name).expanduser()
    if (path / RECORD).is_file():
        return load_run(path)
    if runs := find_runs(path):
        return _best(runs)
    studies = {folder: find_runs(folder) for folder in study_folders(reports)}
    named = [pair for folder, runs in studies.items() for pair in _names(folder, runs)]
    if not named:
        raise TlfeatError(
            f"There is no finished run in {Where(reports=reports).reports_folder}: "
            "`tlfeat train` makes one."
        )
    wanted = str(name).rstrip("/")
    # Ranking reads predictions, so only the study that is meant is ranked.
    fitting = [_best(runs) for given, runs in named if given == wanted]
    by_path = {run.path: run for run in fitting}
    if not by_path:
        hint = did_you_mean(wanted, (given for given, _ in named))
        raise UnknownName(f"No run or study is called {wanted!r}.{hint} `tlfeat runs` lists them.")
    if len(by_path) > 1:
        several = [f"{run.study.name}/{run.path.name}" for run in by_path.values()]
        more = ", ..." if len(several) > _NAMED else ""
        raise UnknownName(
            f"{len(several)} runs are called {wanted!r}: say which, "
            f"{', '.join(several[:_NAMED])}{more}."
        )
    return fitting[0]


def as_run(run: Run | str | Path) -> Run:
    """Give a run, found where it is only named."""
    return run if isinstance(run, Run) else find_run(run)


def find_study_folder(name: str | Path, reports: str | Path | None = None) -> Path:
    """Find the folder of a study that has finished runs, by its folder or its name.

    Raises
    ------
    UnknownName
        If there is none.
    """
    path = Path(name).expanduser()
    if any((path / "runs").glob(f"*/{RECORD}")):
        return path
    by_name = {folder.name: folder for folder in study_folders(reports)}
    folder = by_name.get(str(name).rstrip("/"))
    if folder is None:
        raise UnknownName(
            f"There is no study with a finished run at {str(name)!r} or of that name in "
            f"{Where(reports=reports).reports_folder}.{did_you_mean(str(name), by_name)}"
        )
    return folder


def study_folders(reports: str | Path | None = None) -> list[Path]:
    """Give the folders of the studies that have finished runs, by name."""
    folders = sorted(Where(reports=reports).reports_folder.glob("*/runs"))
    return [runs.parent for runs in folders if any(runs.glob(f"*/{RECORD}"))]


def _best(runs: list[Run]) -> Run:
    """Give the best by validation."""
    return runs[0] if len(runs) == 1 else rank(runs)[0]


def _names(folder: Path, runs: list[Run]) -> list[tuple[str, list[Run]]]:
    """Give every name of a study's runs with the run; the study's own is of all of them."""
    named = [(folder.name, runs)] if runs else []
    for run in runs:
        for name in dict.fromkeys((run.path.name, run.name)):
            named += [(name, [run]), (f"{folder.name}/{name}", [run])]
    return named
