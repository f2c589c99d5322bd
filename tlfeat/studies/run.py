"""Run a study file: what is not finished of it, its tables, its page."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Unpack

from tlfeat.audit.groups import find_groups
from tlfeat.data.dataset import OPENED_BY, Dataset, open_dataset
from tlfeat.data.digests import DigestIndex
from tlfeat.data.groups import AUTO_GROUPS, Grouping
from tlfeat.data.names import location
from tlfeat.errors import DataError, TlfeatError, WeightsError
from tlfeat.runs.caveats import stand_in_lines
from tlfeat.runs.record import Run
from tlfeat.settings import explained
from tlfeat.studies.execute import run_planned
from tlfeat.studies.plan import Study, read_study
from tlfeat.studies.tables import PAGE, study_words, write_tables
from tlfeat.studies.weights import has_imagenet_top, weights_of
from tlfeat.where import Where, WhereOptions

Progress = Callable[[int, int], None]


@dataclass(frozen=True)
class StudyResult:
    """What `run_study` gives.

    Attributes
    ----------
    folder : Path
        The study's folder.
    runs : list of Run
        Those that are finished, in the order of the file.
    refused : dict of str to str
        Name of a run that could not be trained or is left out, and why.
    fresh : int
        Runs that were not finished before.
    page : Path
        The study's tables and figures in one Markdown file.
    paragraph : str
        What won, by how much, at what cost.
    stand_ins : list of str
        What stands in for what.
    metric : str or None
        What ranks, see `Study`.
    """

    folder: Path
    runs: list[Run]
    refused: dict[str, str]
    fresh: int
    page: Path
    paragraph: str
    stand_ins: list[str]
    metric: str | None = None


def open_data(
    study: Study,
    where: Where = Where(),
    *,
    rehash: bool = False,
    progress: Progress | None = None,
) -> Dataset:
    """Open the dataset of a study and check that it is what the file asks for.

    Raises
    ------
    DataError
        If it is not there, of another layout, or of other pictures than the file says.
    """
    data = study.data
    asked = {name: data[name] for name in OPENED_BY if name in data}
    finds = asked.get("groups") == AUTO_GROUPS
    if finds:
        del asked["groups"]
    elif "groups" in asked:
        asked["groups"] = _groups(study, asked["groups"])
    path = str(data["path"])
    if study.folder is not None and not Path(path).expanduser().exists():
        beside = study.folder / path
        path = str(beside) if beside.exists() else path
    try:
        dataset = open_dataset(
            Path(path).expanduser() if Path(path).expanduser().exists() else path,
            **asked,
            digests=DigestIndex(where.cache_folder),
            rehash=rehash,
            jobs=where.jobs,
            progress=progress,
        )
    except DataError as error:
        raise DataError(
            f"{study.file}: [data] path = {location(path)!r}: {error} Say where the pictures are, "
            "or name a stand-in, by --data PATH."
        ) from None
    layout = data.get("layout")
    if layout is not None and dataset.kind != layout:
        raise DataError(
            f"{study.file}: [data] layout = {layout!r}, and {dataset.path} is {dataset.kind!r}: "
            f"--set data.layout={dataset.kind} if that is meant."
        )
    if finds:
        dataset = find_groups(dataset, **vars(_named(where, study)))
    wanted = data.get("fingerprint")
    if wanted is not None and dataset.fingerprint != wanted:
        raise DataError(
            f"{study.file}: {dataset.path} has not the pictures, labels, splits and groups that "
            f"the file says (fingerprint {dataset.fingerprint[:12]}..., wanted {wanted[:12]}...): "
            "take the line fingerprint out to run on these."
        )
    return dataset


def _named(where: Where, study: Study) -> Where:
    return replace(where, name=where.name or study.name)


def _groups(study: Study, groups: str) -> str | Path:
    """Give a file of groups where it lies beside the study; see that it can be read."""
    beside = (study.folder or Path()) / groups
    said = beside if groups.lower().endswith(".csv") and beside.is_file() else groups
    try:
        Grouping.of(said)
    except DataError as error:
        raise DataError(f"{study.file}: [data] groups = {groups!r}: {error}") from None
    return said


def check_weights(study: Study) -> None:
    """See that all weights are here or can be downloaded, before anything is computed.

    Raises
    ------
    WeightsError
        Naming the file that is missing, and how to name a stand-in.
    """
    looked_at = set()
    for run in study.runs:
        key = (run.network.backbone, run.network.weights, has_imagenet_top(run))
        if run.start is not None or run.is_scratch or key in looked_at:
            continue
        looked_at.add(key)
        try:
            weights_of(run, study.folder)
        except WeightsError as error:
            raise WeightsError(
                f"{study.file}: run {run.name!r}: {error} To run the study with a stand-in: "
                f"--set {run.backbone_key}=efficientnet-lite0"
            ) from None


@explained(Where)
def run_study(
    study: Study | str | Path,
    dataset: Dataset | None = None,
    *,
    data: str | None = None,
    quick: bool = False,
    settings: Sequence[str] | str = (),
    retry_failed: bool = False,
    on_ranked: Callable[[StudyResult], None] | None = None,
    **options: Unpack[WhereOptions],
) -> StudyResult:
    """Run what is not finished of a study, and write its tables and figures.

    Stopped anywhere, the same call goes on where it stopped.

    Parameters
    ----------
    study : Study, str or Path
        From `read_study`, or a study file.
    dataset : Dataset, optional
        From `open_data`; opened here if None.
    data : str, optional
        Where the pictures are, instead of what the file says.
    quick : bool
        Use the file's section [quick].
    settings : str or sequence of str
        KEY=VALUE by dotted key, such as "defaults.size=96"; they win over [quick].
    retry_failed : bool
        Try pictures again that could not be decoded before.
    on_ranked : callable, optional
        Hears the result as soon as all runs are finished, before its page and figures are drawn.
    **options
        cache, reports, name (the study's own if None), engine, jobs, watch: see `Where`.

    Returns
    -------
    result : StudyResult

    Raises
    ------
    TlfeatError
        If the file is wrong, weights or the dataset cannot be had, or no run could be trained.

    Examples
    --------
    >>> done = tlfeat.run_study("mine.toml", quick=True)  # doctest: +SKIP
    >>> done.paragraph  # doctest: +SKIP
    """
    if not isinstance(study, Study):
        study = read_study(Path(study), quick=quick, settings=settings, data=data)
    where = _named(Where(**options), study)
    check_weights(study)
    dataset = dataset or open_data(study, where)
    ran = run_planned(study, dataset, where, retry_failed=retry_failed, with_page=True)
    if not ran.runs:
        raise TlfeatError(" ".join(dict.fromkeys(ran.refused.values())))
    runs = list(ran.runs.values())
    words, page = study_words(ran.folder, study, runs), ran.folder / PAGE
    result = StudyResult(
        ran.folder, runs, ran.refused, ran.fresh, page, words, stand_in_lines(runs), study.metric
    )
    if on_ranked is not None:
        on_ranked(result)
    ran.report(runs, dataset, where, study.metric)
    write_tables(ran.folder, study, runs, words)
    return result


def as_json(result: StudyResult) -> dict[str, Any]:
    """Give a result as plain values, for scripts."""
    return {
        "folder": str(result.folder),
        "page": str(result.page),
        "words": result.paragraph,
        "stand_ins": result.stand_ins,
        "runs": [{"path": str(run.path), **run.record} for run in result.runs],
        "refused": result.refused,
    }
