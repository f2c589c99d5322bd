"""Compare heads on frozen features of one dataset: the main job, from pictures to table."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tlfeat.backbones.table import DEFAULT_BACKBONE
from tlfeat.data.dataset import Dataset, open_dataset
from tlfeat.data.digests import DigestIndex
from tlfeat.errors import HeadError, TlfeatError
from tlfeat.features.recipe import request_features
from tlfeat.features.store import FeatureStore
from tlfeat.heads.table import check_settings, get_head
from tlfeat.places import cache_folder, reports_folder
from tlfeat.runs.orders import HeadOrder, HeadPlan
from tlfeat.runs.ranked import RankedRun
from tlfeat.runs.ranking import rank
from tlfeat.runs.results import RESULTS_CSV, write_results
from tlfeat.runs.study import comparable_runs, study_folder
from tlfeat.runs.train import train_heads
from tlfeat.watch import SILENT, Watch

if TYPE_CHECKING:
    import pandas as pd

DEFAULT_HEADS = ("logistic", "lda", "svm-rbf", "mlp", "knn")


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
    """

    folder: Path
    runs: list[RankedRun]
    beside: frozenset[str]
    refused: dict[str, str]
    fresh: int

    @property
    def best(self) -> RankedRun:
        """The best by validation of those that were asked for."""
        return next(run for run in self.runs if run.name not in self.beside)

    def table(self) -> "pd.DataFrame":
        """Read results.csv: a row for each run, split, metric and class."""
        import pandas as pd

        return pd.read_csv(self.folder / RESULTS_CSV, keep_default_na=False, na_values=[""])


def compare(
    dataset: Dataset | str | Path,
    backbones: Sequence[str] = (DEFAULT_BACKBONE,),
    heads: Sequence[str] = DEFAULT_HEADS,
    *,
    features: Sequence[str] = ("last:avg",),
    weights: str | Path = "imagenet",
    size: int | None = None,
    precision: str = "float32",
    dtype: str = "float32",
    params: Mapping[str, Any] | None = None,
    search: bool = True,
    class_weight: str | None = None,
    refit: bool = False,
    seed: int = 0,
    seeds: int = 1,
    engine: str = "auto",
    cache: str | Path | None = None,
    reports: str | Path | None = None,
    name: str | None = None,
    jobs: int | None = None,
    retry_failed: bool = False,
    watch: Watch = SILENT,
) -> Comparison:
    """Train every head on every backbone's features and compare them.

    Finished runs are not run again, and no picture is embedded twice.

    Parameters
    ----------
    dataset : Dataset, str or Path
        What `open_dataset` gives, or takes.
    backbones, heads, features : sequence of str
        Every combination is a run.
    retry_failed : bool
        Try pictures again that could not be decoded before.
    params : mapping, optional
        Settings that are given, not searched; each goes to the heads that have it.
    seeds : int
        Repeat every run with so many seeds, `seed` and those after it.
    weights, size, precision, dtype, search, class_weight, refit, seed, engine, \
cache, reports, name, jobs, watch
        As in `train`.

    Returns
    -------
    comparison : Comparison

    Raises
    ------
    TlfeatError
        If the dataset, a backbone, weights, features, a head or a setting cannot be
        used, or if every head was refused.
    """
    if seeds < 1:
        raise TlfeatError(f"seeds is {seeds}: give 1 or more.")
    given = _settings_by_head(heads, params or {})
    store = FeatureStore(cache_folder(cache))
    orders: list[HeadOrder] = []
    for number in range(seed, seed + seeds):
        plans = [
            HeadPlan(head, mine, search, class_weight, refit, number).checked()
            for head, mine in given.items()
        ]
        requests = [
            request_features(
                backbone,
                spec,
                weights=weights,
                size=size,
                precision=precision,
                dtype=dtype,
                seed=number,
                cache=store.root,
            )
            for backbone in dict.fromkeys(backbones)
            for spec in dict.fromkeys(features)
        ]
        orders += [HeadOrder(request, plan) for request in requests for plan in plans]
    table = (
        dataset
        if isinstance(dataset, Dataset)
        else open_dataset(dataset, digests=DigestIndex(store.root))
    )
    folder = study_folder(reports_folder(reports), table, name)
    done = train_heads(
        table,
        orders,
        store,
        folder,
        engine=engine,
        jobs=jobs,
        retry_failed=retry_failed,
        watch=watch,
    )
    if not done.runs:
        raise HeadError(" ".join(dict.fromkeys(done.refused.values())))
    runs = comparable_runs(folder, table)
    write_results(folder, runs)
    from tlfeat.report.page import write_report  # reports are made of runs, not runs of reports

    write_report(folder, runs, dataset=table, cache=store.root, refused=done.refused, watch=watch)
    asked = {run.id for run in done.runs}
    ranked = rank(runs, asked)
    beside = frozenset(run.name for run in ranked if run.id not in asked)
    return Comparison(folder, ranked, beside, done.refused, done.fresh)


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
