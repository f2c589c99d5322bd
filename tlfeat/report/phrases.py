"""What a page says in words: the summary, what is missing, how to do it again."""

from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from tlfeat.errors import DamagedFile
from tlfeat.files import read_toml
from tlfeat.runs.costs import train_seconds
from tlfeat.runs.paired import Pair
from tlfeat.runs.ranked import RankedRun
from tlfeat.runs.record import RECORD, Run, scan_runs
from tlfeat.runs.statistics import known_intervals
from tlfeat.where import STUDY_FILE

_NAMED = 4  # runs that a sentence lists
MOST_LISTED = 6


def summary(ranked: Sequence[RankedRun], pairs: Sequence[Pair], labels: dict[str, str]) -> str:
    """Say in two sentences which run to use and how sure that is.

    Parameters
    ----------
    ranked : sequence of RankedRun
        Best by validation first.
    pairs : sequence of Pair
    labels : dict
        Run name to what tables call it.

    Returns
    -------
    text : str
    """
    best = ranked[0]
    of = f"Best of {len(ranked)} runs by {best.standing.by}" if len(ranked) > 1 else "The only run"
    name = labels[best.name]
    sizes = {run.pictures.size for run in ranked}
    pixels = f" at {best.pictures.size} pixels" if len(sizes) > 1 else ""
    text = f"{of}: {name} on {best.backbone}{pixels}, "
    if "test" not in best.metrics:
        accuracy = best.metrics["validation"]["accuracy"]
        return text + (
            f"with {100 * accuracy:.1f}% right on validation. There are no test pictures, so "
            "nothing here says how it does on pictures that chose nothing."
        )
    test = best.metrics["test"]
    text += f"with {100 * test['accuracy']:.1f}% of {test['n']:,} test pictures right"
    ends = known_intervals(best).get("test", {}).get("accuracy")
    if ends:
        text += f" (95% interval {100 * ends[0]:.1f} to {100 * ends[1]:.1f})"
    text += "."
    tied = sum(run.standing.place == 1 for run in ranked) - 1
    if tied:
        others = "another one is" if tied == 1 else f"{tied} others are"
        text += f" By {best.standing.by} {others} tied with it, within a standard error."
    alike, worse, better = _against(best, pairs)
    if not (alike or worse or better):
        return text
    parts = []
    if alike:
        by_cost = {run.name: train_seconds(run) for run in ranked}
        cheapest = min(alike, key=lambda one: by_cost[one] or 0.0)
        part = f"no difference is shown between it and {_listed(alike, labels)}"
        mine, theirs = by_cost[best.name], by_cost[cheapest]
        if mine is not None and theirs is not None and theirs < 0.8 * mine:
            which = f"of which {labels[cheapest]}" if len(alike) > 1 else "which"
            part += f", {which} trains in {_seconds(theirs)} instead of {_seconds(mine)}"
        parts.append(part)
    if worse:
        parts.append(f"{_listed(worse, labels)} {'is' if len(worse) == 1 else 'are'} worse")
    if better:
        parts.append(
            f"{_listed(better, labels)} {'is' if len(better) == 1 else 'are'} better on test, "
            "which chooses nothing"
        )
    said = "; ".join(parts)
    return f"{text} On test, {said}."


def _against(best: Run, pairs: Iterable[Pair]) -> tuple[list[str], list[str], list[str]]:
    """Sort the other runs into those no different, worse and better than the best."""
    alike: list[str] = []
    worse: list[str] = []
    better: list[str] = []
    for pair in pairs:
        if best.name not in (pair.one, pair.other):
            continue
        other = pair.other if pair.one == best.name else pair.one
        ahead = pair.difference > 0 if pair.one == best.name else pair.difference < 0
        (alike if not pair.shown else worse if ahead else better).append(other)
    return alike, worse, better


def listed(texts: Sequence[str], most: int = MOST_LISTED) -> str:
    """Join texts as a sentence does, the first of them where there are many.

    >>> listed(["lda", "knn"]), listed(["a", "b", "c", "d"], most=2)
    ('lda and knn', 'a, b and 2 more')
    """
    shown = list(texts[:most])
    if len(texts) > most:
        shown.append(f"{len(texts) - most} more")
    return shown[0] if len(shown) == 1 else f"{', '.join(shown[:-1])} and {shown[-1]}"


def _listed(names: Sequence[str], labels: dict[str, str]) -> str:
    return listed([labels[name] for name in names], _NAMED)


def _seconds(value: float) -> str:
    return f"{value:,.1f}\u00a0s" if value < 100 else f"{value:,.0f}\u00a0s"


def missing_runs(study: Path, finished: Iterable[Run]) -> list[str]:
    """Name the runs of a study that are asked for or begun, and not finished.

    Parameters
    ----------
    study : Path
        Its folder.
    finished : iterable of Run

    Returns
    -------
    sentences : list of str
    """
    done = list(finished)
    names = {run.name for run in done}
    said = []
    rows: Any = []
    if not (study / STUDY_FILE).exists():
        said.append(f"{study.name} has no {STUDY_FILE}: it was stopped before it was written.")
    else:
        try:
            rows = read_toml(study / STUDY_FILE).get("run")
        except DamagedFile as error:
            said.append(str(error))
    rows = rows if isinstance(rows, list) else []
    wanted = [str(row.get("name", "?")) for row in rows if isinstance(row, dict)]
    lacking = [name for name in wanted if name not in names]
    said += [f"{name}: asked for in {STUDY_FILE}, not finished." for name in lacking]
    damaged = scan_runs(study).damaged
    for folder in sorted((study / "runs").glob("*")):
        name = folder.name.rpartition("-")[0] or folder.name
        if folder.name in damaged:
            why = damaged[folder.name]
        elif folder.is_dir() and not (folder / RECORD).exists():
            why = "begun, not finished; run the study again to go on."
        else:
            continue
        said = [text for text in said if not text.startswith(f"{name}: ")]
        said.append(f"{name}: {why}")
    return said
