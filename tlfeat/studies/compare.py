"""Compare heads on frozen features of one dataset: the main job, from pictures to table."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Unpack

from tlfeat.backbones.table import DEFAULT_BACKBONE
from tlfeat.data.dataset import Dataset, as_dataset
from tlfeat.errors import HeadError, TlfeatError
from tlfeat.features.settings import AUTO, FeatureSettings, OtherOptions, read_options
from tlfeat.heads.table import DEFAULT_HEADS, check_settings, get_head
from tlfeat.runs.measured import shared_metric
from tlfeat.runs.orders import HeadPlan
from tlfeat.runs.ranked import RankedRun
from tlfeat.runs.ranking import rank
from tlfeat.runs.record import comparable_runs
from tlfeat.runs.results import RESULTS_CSV, read_results
from tlfeat.runs.shot_fits import check_shots, measure_shots
from tlfeat.runs.shots import ShotCurve, Size, read_sizes
from tlfeat.settings import explained, several
from tlfeat.studies.execute import Ran, run_planned
from tlfeat.studies.plan import Study
from tlfeat.studies.planned import planned_head
from tlfeat.where import Where

if TYPE_CHECKING:
    import pandas as pd


@dataclass(frozen=True)
class Comparison:
    """What `compare` gives.

    Attributes
    ----------
    folder : Path
        The study's folder, with index.html, results.md, results.csv and figures.
    runs : list of RankedRun
        All finished runs of the study on this dataset and split, best by validation first; those
        that differ in their seed alone are one.
    beside : frozenset of str
        Names of those that were there before and were not asked for.
    refused : dict of str to str
        Name of a run that could not be trained, and why.
    fresh : int
        Runs that were not finished before.
    shots : tuple of ShotCurve
        What each of those that were asked for is worth with fewer train pictures, in the order
        of `runs`; empty where no sizes were given.
    """

    folder: Path
    runs: list[RankedRun]
    beside: frozenset[str]
    refused: dict[str, str]
    fresh: int
    shots: tuple[ShotCurve, ...] = ()

    @property
    def best(self) -> RankedRun:
        """The best by validation of those that were asked for."""
        return next(run for run in self.runs if run.name not in self.beside)

    def table(self) -> "pd.DataFrame":
        """Read results.csv: a row for each run, split, metric and class."""
        return read_results(self.folder / RESULTS_CSV)


@explained(FeatureSettings, Where, without=["backbone"])
def compare(
    dataset: Dataset | str | Path,
    backbones: Sequence[str | FeatureSettings] | str | FeatureSettings = (DEFAULT_BACKBONE,),
    heads: Sequence[str] | str = DEFAULT_HEADS,
    *,
    features: Sequence[str] | str = (AUTO,),
    params: Mapping[str, Any] | None = None,
    search: bool = True,
    class_weight: str | None = None,
    refit: bool = False,
    metric: str | None = None,
    seeds: int = 1,
    shots: Sequence[int | str] | int | str = (),
    retry_failed: bool = False,
    on_ranked: Callable[[Comparison], None] | None = None,
    **options: Unpack[OtherOptions],
) -> Comparison:
    """Train every head on every backbone's features and compare them.

    Finished runs are not run again, and no picture is embedded twice.

    Parameters
    ----------
    dataset : Dataset, str or Path
        What `open_dataset` gives, or takes.
    backbones : str, FeatureSettings, or sequence of these
        Names of `list_backbones`, or networks with their settings.
    heads : str or sequence of str
        Names of `list_heads`. Every combination of backbone, head and features is a run.
    features : str or sequence of str
        Such as "last:avg". "auto" are each head's best of a few layers, on held rows;
        the page "Heads" says how.
    params : mapping, optional
        Settings that are given, not searched; each goes to the heads that have it.
    search : bool
        As in `train`.
    class_weight : {None, "balanced"}
        As in `train`.
    refit : bool
        As in `train`.
    metric : str, optional
        What the search makes best on validation, and what runs are ranked by: "accuracy",
        "balanced-accuracy", "macro-f1", "log-loss" or "roc-auc". Usually accuracy, and balanced
        accuracy where class_weight is "balanced".
    seeds : int
        Repeat every run with so many seeds, `seed` and those after it.
    shots : int, str, or sequence of these
        Pictures a class, such as 5, 10, 20, 50 and "all": each head is also fitted to so many
        train pictures, from the same features, and what twice the pictures would bring is told
        as a range; see the page "How many more pictures". Of several seeds the first is.
    retry_failed : bool
        Try pictures again that could not be decoded before.
    on_ranked : callable, optional
        Hears the comparison as soon as runs are ranked, before pictures are looked over and the
        page is drawn.
    **options
        weights, size, resize, precision, dtype, seed: see `FeatureSettings`; the seed is of folds
        and heads too. cache, reports, name, engine, jobs, watch: see `Where`.

    Returns
    -------
    comparison : Comparison

    Raises
    ------
    TlfeatError
        If the dataset, a backbone, weights, features, a head or a setting cannot be
        used, or if every head was refused.

    Examples
    --------
    >>> comparison = tlfeat.compare("garments", heads=["lda", "logistic"])  # doctest: +SKIP
    >>> comparison.best.name  # doctest: +SKIP
    """
    if seeds < 1:
        raise TlfeatError(f"seeds is {seeds}: give 1 or more.")
    sizes = read_sizes(several(shots)) if several(shots) else ()
    given = _settings_by_head(several(heads), params or {})
    networks = [read_options(one, options)[0] for one in dict.fromkeys(several(backbones))]
    where = read_options(DEFAULT_BACKBONE, options)[1]
    runs = [
        planned_head(
            replace(network, features=spec, seed=network.seed + number),
            HeadPlan(head, mine, search, class_weight, refit, network.seed + number, metric),
        )
        for number in range(seeds)
        for network in networks
        for spec in dict.fromkeys(several(features))
        for head, mine in given.items()
    ]
    dataset = as_dataset(dataset, where)
    if sizes:
        check_shots(dataset, [run.head for run in runs if run.head is not None])
    ran = run_planned(
        Study(tuple(runs), joins=True), dataset, where, retry_failed=retry_failed, with_page=True
    )
    if not ran.runs:
        raise HeadError(" ".join(dict.fromkeys(ran.refused.values())))
    beside = comparable_runs(ran.folder, dataset)
    metric = shared_metric(list(ran.runs.values()))
    asked = {run.id for run in ran.runs.values()}
    ranked = rank(beside, asked, metric)
    names = frozenset(run.name for run in ranked if run.id not in asked)
    comparison = Comparison(ran.folder, ranked, names, ran.refused, ran.fresh)
    if on_ranked is not None:
        on_ranked(comparison)
    if sizes:
        comparison = replace(comparison, shots=_measured(dataset, ran, ranked, sizes, where))
    ran.report(beside, dataset, where, metric)
    return comparison


def _measured(
    dataset: Dataset, ran: Ran, ranked: Sequence[RankedRun], sizes: Sequence[Size], where: Where
) -> tuple[ShotCurve, ...]:
    """Fit the heads that were asked for to parts of train, those of several seeds by the first."""
    jobs = {job.id: job for job in ran.heads}
    lines = [line for line in ranked if line.id in jobs]
    file = measure_shots(dataset, [jobs[line.id] for line in lines], sizes, where)
    return tuple(file.curves(lines))


def _settings_by_head(
    heads: Sequence[str], params: Mapping[str, Any]
) -> dict[str, dict[str, Any]]:
    """Give each head the settings that it has; one that none of them has is an error."""
    names = {get_head(head).name: {s.name for s in get_head(head).settings} for head in heads}
    for key, value in params.items():
        if not any(key in known for known in names.values()):
            check_settings(next(iter(names)), {key: value})
    return {
        name: {key: value for key, value in params.items() if key in known}
        for name, known in names.items()
    }
