"""Open what was finished: a study with its runs as a table, or the runs of all studies."""

import io
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from tlfeat.errors import TlfeatError
from tlfeat.runs.find import find_study_folder, study_folders
from tlfeat.runs.ranked import RankedRun
from tlfeat.runs.ranking import rank
from tlfeat.runs.record import Run, scan_runs
from tlfeat.runs.results import read_results, results_csv

if TYPE_CHECKING:
    import pandas as pd


@dataclass(frozen=True)
class FinishedStudy:
    """What `open_study` gives.

    Attributes
    ----------
    folder : Path
        The study's. `index.html` is its page, where one was written.
    runs : list of RankedRun
        The finished runs, best by validation first; those that differ in their seed alone are
        one, whose `seeds` has each.
    damaged : dict of str to str
        Name of a run's folder that is not as it was written, and what is wrong with it.
    """

    folder: Path
    runs: list[RankedRun]
    damaged: dict[str, str]

    @property
    def name(self) -> str:
        """The name of the study."""
        return self.folder.name

    @property
    def best(self) -> RankedRun:
        """The best by validation.

        Raises
        ------
        TlfeatError
            If every run is damaged.
        """
        if not self.runs:
            raise TlfeatError(
                f"{self.folder} has no run that can be read: {' '.join(self.damaged.values())}"
            )
        return self.runs[0]

    def table(self) -> "pd.DataFrame":
        """Give a row for each run, split, metric and class, with the columns of results.csv."""
        return read_results(io.StringIO(results_csv(self.runs)))


def open_study(name: str | Path, reports: str | Path | None = None) -> FinishedStudy:
    """Open a study that has finished runs; nothing is trained.

    Parameters
    ----------
    name : str or Path
        Its folder, or its name.
    reports : str or Path, optional
        Folder of all studies; $TLFEAT_REPORTS or ./reports if None.

    Returns
    -------
    study : FinishedStudy

    Raises
    ------
    UnknownName
        If there is none.

    Examples
    --------
    >>> study = tlfeat.open_study("garments")  # doctest: +SKIP
    >>> table = study.table()  # doctest: +SKIP
    >>> table[(table["split"] == "test") & (table["metric"] == "accuracy")]  # doctest: +SKIP
    """
    folder = find_study_folder(name, reports)
    scanned = scan_runs(folder)
    return FinishedStudy(folder, rank(scanned.runs), scanned.damaged)


def list_runs(study: str | Path | None = None, reports: str | Path | None = None) -> list[Run]:
    """List the finished runs, study by study, in each the best by validation first.

    Parameters
    ----------
    study : str or Path, optional
        The folder or the name of one; all of `reports` if None.
    reports : str or Path, optional
        Folder of all studies; $TLFEAT_REPORTS or ./reports if None.

    Returns
    -------
    runs : list of Run
        Every seed is one of its own; damaged ones are left out, as `open_study` says.

    Raises
    ------
    UnknownName
        If there is no such study.

    Examples
    --------
    >>> [(run.study.name, run.name) for run in tlfeat.list_runs()]  # doctest: +SKIP
    """
    names = study_folders(reports) if study is None else [study]
    studies = [open_study(one, reports) for one in names]
    return [run for one in studies for line in one.runs for run in line.seeds]
