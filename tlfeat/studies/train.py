"""Train one head on frozen features of a dataset: a study of one run."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any, Unpack

from tlfeat.backbones.table import DEFAULT_BACKBONE
from tlfeat.data.dataset import Dataset, as_dataset
from tlfeat.errors import HeadError
from tlfeat.features.settings import FeatureSettings, Options, read_options
from tlfeat.report.page import refresh_report
from tlfeat.runs.orders import HeadPlan
from tlfeat.runs.record import Run
from tlfeat.settings import explained
from tlfeat.studies.execute import run_planned
from tlfeat.studies.plan import Study
from tlfeat.studies.planned import planned_head
from tlfeat.where import Where


@explained(FeatureSettings, Where)
def train(
    dataset: Dataset | str | Path,
    backbone: str | FeatureSettings = DEFAULT_BACKBONE,
    head: str = "logistic",
    *,
    params: Mapping[str, Any] | None = None,
    search: bool = True,
    class_weight: str | None = None,
    refit: bool = False,
    metric: str | None = None,
    **options: Unpack[Options],
) -> Run:
    """Train one head on frozen features and keep the run.

    Parameters
    ----------
    dataset : Dataset, str or Path
        What `open_dataset` gives, or takes.
    backbone : str or FeatureSettings
        A name of `list_backbones`, or all settings in one.
    head : str
        A name of `list_heads`.
    params : mapping, optional
        Settings of the head that are given, not searched.
    search : bool
        Choose the other settings on validation; the head's defaults if False.
    class_weight : {None, "balanced"}
        "balanced" gives every class the same total weight.
    refit : bool
        After the choice, train on train and validation together.
    metric : str, optional
        What the search makes best on validation: "accuracy", "balanced-accuracy", "macro-f1",
        "log-loss" or "roc-auc". Usually accuracy, and balanced accuracy where class_weight is
        "balanced".
    **options
        features, weights, size, resize, precision, dtype, seed: see `FeatureSettings`; the seed is
        of folds and heads too. cache, reports, name, engine, jobs, watch: see `Where`.

    Returns
    -------
    run : Run
        The finished run; if the same one was finished before, that one.

    Raises
    ------
    TlfeatError
        If the dataset, backbone, weights, features, head or a setting cannot be used.

    Examples
    --------
    >>> run = tlfeat.train("garments", head="lda")  # doctest: +SKIP
    >>> run.metrics["test"]["accuracy"]  # doctest: +SKIP
    """
    settings, where = read_options(backbone, options)
    plan = HeadPlan(head, params or {}, search, class_weight, refit, settings.seed, metric)
    planned = planned_head(settings, plan)
    dataset = as_dataset(dataset, where)
    ran = run_planned(Study((planned,), joins=True), dataset, where)
    for reason in ran.refused.values():
        raise HeadError(reason)
    refresh_report(ran.folder, dataset, cache=where.cache_folder, watch=where.watch)
    return ran.runs[planned.name]
