"""A line of a table: a run with its place, or runs that differ in their seed alone, as one."""

import json
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final, NamedTuple

from tlfeat.features.settings import AUTO
from tlfeat.heads.metric import WORDS
from tlfeat.runs.record import Run

# what follows from training a phase, and not from what was asked for
_PHASE_RESULTS: Final = (
    "trained_epochs", "trainable", "planned", "retried", "share", "temperature",
)  # fmt: skip


class Standing(NamedTuple):
    """Where a line stands among others, by validation."""

    place: int  # 1 is the best; lines that are tied share it
    tied: bool  # another one is within a standard error
    accuracy: float  # on the rows that all have, 0 to 1
    error: float  # standard error of the value that ranks
    n: int  # rows
    same_rows: bool  # whether there are rows that all have; if not, each is judged on its own
    metric: str = "accuracy"  # that ranks
    value: float = 0.0  # of it; of accuracy the same

    @property
    def by(self) -> str:
        """What ranks, in words; accuracy is not named."""
        if self.metric == "accuracy":
            return "validation"
        return f"{WORDS[self.metric]} on validation"


@dataclass(frozen=True, repr=False)
class RankedRun(Run):
    """A run in a table.

    Where there are several seeds, metrics and times are their means, and the path, with head and
    predictions, is of the first.

    Attributes
    ----------
    seeds : tuple of Run
        The runs behind the line, by seed; one where there is one.
    standing : Standing
    """

    seeds: tuple[Run, ...] = field(default=())
    standing: Standing = field(default=Standing(1, False, 0.0, 0.0, 0, False))


def seed_families(runs: Sequence[Run], asked: Collection[str] | None = None) -> list[list[Run]]:
    """Put runs together that differ in their seed alone.

    Parameters
    ----------
    runs : sequence of Run
        On one dataset and split, no run twice.
    asked : collection of str, optional
        Ids of runs that are kept apart from the others.

    Returns
    -------
    families : list of list of Run
        In the order of their first runs, each by seed. Of one seed there is one run in each.
    """
    by_id = {run.id: run for run in runs}
    families: dict[tuple[str, int], list[Run]] = {}
    often: dict[tuple[str, int], int] = {}
    for run in runs:
        apart = asked is not None and run.id not in asked
        settings, seed = f"{apart} {_without_seed(run, by_id)}", run.seed
        time = often.setdefault((settings, seed), 0)  # the same settings and seed once more
        often[settings, seed] += 1
        families.setdefault((settings, time), []).append(run)
    return [sorted(family, key=lambda run: run.seed) for family in families.values()]


def merged_record(family: Sequence[Run]) -> dict[str, Any]:
    """Give the record of a line: that of the first run, with the means of what was measured."""
    first = dict(family[0].record)
    if len(family) == 1:
        return first
    return {
        **first,
        "metrics": _mean([run.metrics for run in family]),
        "seconds": _mean([run.seconds for run in family]),
        "ms_per_image": _mean([run.ms_per_image for run in family]),
        "warnings": list(dict.fromkeys(text for run in family for text in run.warnings)),
        "name": family[0].name.removesuffix(f"-seed{family[0].seed}"),
        "features": " or ".join(dict.fromkeys(run.features for run in family)),
    }


def _mean(values: Sequence[Any]) -> Any:
    """Give the mean of numbers, in mappings too; None where one of them is None."""
    first = values[0]
    if isinstance(first, Mapping):
        keys = [key for key in first if all(key in value for value in values)]
        return {key: _mean([value[key] for value in values]) for key in keys}
    if any(value is None for value in values):
        return None
    if isinstance(first, int | float) and len(set(values)) > 1:
        return sum(values) / len(values)
    return first


def _without_seed(run: Run, by_id: Mapping[str, Run]) -> str:
    """Give what decides a run but its seed, and that of the run that it starts from."""
    # What follows from the seed is left out, the rest was asked for.
    settings = _without(run.settings, "chosen", "converged", "temperature", "edges")
    settings["phases"] = [_without(phase, *_PHASE_RESULTS) for phase in run.phases]
    # A random network's weights are drawn from the seed too.
    weights, start = run.weights_digest.partition(":")[0], None
    if run.parent is not None:
        known = by_id.get(run.parent.run or "")
        origin = vars(run.parent) if known is None else _without_seed(known, by_id)
        weights, start = "", [run.parent.epoch, origin]  # the weights are those of the parent
    recipes: Sequence[Any] = [{**one.as_dict(), "weights": weights} for one in run.recipes]
    features = run.features
    if run.auto is not None:  # what it chose among; which of them may change with the seed
        features, dtypes = AUTO, {one.dtype for one in run.recipes}
        recipes = [*dtypes, *(one["features"] for one in run.auto["candidates"])]
        recipes += [run.auto.get("method"), run.auto.get("screening")]
    facts: list[Any] = [run.kind, run.backbone, features, settings, weights, recipes]
    facts += [run.pictures.as_dict(), start, run.dataset.fingerprint]
    return json.dumps(facts, sort_keys=True, default=str)


def _without(values: Mapping[str, Any], *keys: str) -> dict[str, Any]:
    return {key: value for key, value in values.items() if key not in keys}
