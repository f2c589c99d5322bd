"""The tables of a study: one leaderboard for people, one long table for machines.

Runs are ranked by validation, and "best" means best by validation: test is looked at
once, at the end, and chooses nothing.
"""

import csv
import io
import re
from collections.abc import Collection, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, NamedTuple

import numpy as np

from tlfeat.data.check import commonest, uneven_classes
from tlfeat.data.names import counted
from tlfeat.errors import TlfeatError
from tlfeat.features.recipe import short_spec
from tlfeat.files import write_text
from tlfeat.heads.metric import WORDS, usual_metric
from tlfeat.runs.caveats import doubts, stand_in_lines, timed_by_keras
from tlfeat.runs.costs import seed_spread, train_seconds
from tlfeat.runs.labels import full_names, relabelled, run_labels
from tlfeat.runs.measured import chosen_by
from tlfeat.runs.metrics import METRICS
from tlfeat.runs.ranked import RankedRun
from tlfeat.runs.ranking import rank
from tlfeat.runs.record import Run, as_text
from tlfeat.runs.statistics import keep_intervals, known_intervals

if TYPE_CHECKING:
    import pandas as pd

RESULTS_CSV = "results.csv"
RESULTS_MD = "results.md"
CSV_COLUMNS = (
    "study", "run", "kind", "backbone", "features", "head", "seed",
    "split", "metric", "class", "value", "low", "high", "n",
)  # fmt: skip
BESIDE: Final = " *"  # marks a run that was there before
_TITLES: Final = {
    "accuracy": "val %",
    "balanced-accuracy": "val balanced %",
    "macro-f1": "val F1 %",
    "log-loss": "val log loss",
    "roc-auc": "val AUC",
}
_NAMED: Final = 4  # runs that a sentence lists
S1_START = "[comment]: # (result_table_start)"
S1_END = "[comment]: # (result_table_end)"


class Column(NamedTuple):
    """One column of the leaderboard."""

    title: str
    cells: list[str]
    is_number: bool = True
    drop: int = 0  # where there is no room for all, the highest go first; 0 stays


def leaderboard(ranked: Sequence[RankedRun], beside: Collection[str] = ()) -> list[Column]:
    """Give the table that people read, a row a line, in the order given.

    Heads are told apart by backbone, features and head; a column of these that would say the
    same in every row is left out, as `caption` says it once. Where that does not name every
    run, as with fine-tunes, their own names do, without what all of them share. Where classes are
    uneven, balanced accuracy comes first, and the last row is of always naming the largest class.

    Parameters
    ----------
    ranked : sequence of RankedRun
        From `rank`.
    beside : collection of str
        Names of those that were there before and not asked for; marked by BESIDE.
    """
    columns = _said_by_settings(ranked)
    if any(run.is_finetune for run in ranked) or _twice(columns):
        labels = run_labels(ranked) if len(ranked) > 1 else {}  # alone, it stands for itself
        names = [labels.get(run.name, run.name) for run in ranked]
        columns = [Column("run", names, is_number=False)]
    named, uneven = columns[-1], majority(ranked[0])
    for row, run in enumerate(ranked):
        named.cells[row] += BESIDE if run.name in beside else ""
    if len(ranked) > 1:
        columns.insert(0, Column("#", [place(run) for run in ranked]))
    columns += _what_differs(ranked)
    balanced = [_percent(run, "test", "balanced_accuracy") for run in ranked]
    if uneven is not None:
        columns.append(Column("balanced %", balanced))
    columns.append(validation_column(ranked))
    columns.append(Column("test %", [_percent(run, "test", "accuracy") for run in ranked]))
    columns.append(Column("95%", [_interval(run, "test", "accuracy") for run in ranked], drop=2))
    if any(len(run.seeds) > 1 for run in ranked):
        columns.append(Column("seeds", [_spread(run) for run in ranked]))
    if uneven is None:
        columns.append(Column("balanced %", balanced, drop=5))
    positive = _positive(ranked)
    name, metric = (f"F1 {positive} %", "f1") if positive else ("F1 %", "f1_macro")
    columns.append(Column(name, [_percent(run, "test", metric) for run in ranked], drop=4))
    losses = [_number(_get(run, "test", "log_loss"), 3) for run in ranked]
    columns.append(Column("log loss", losses, drop=3))
    columns.append(Column("train s", [_number(train_seconds(run), 1) for run in ranked]))
    costs = [_number(run.ms_per_image, 1) for run in ranked]
    columns.append(Column("ms/image", costs, drop=1))
    if uneven is not None:
        for column in columns:
            column.cells.append(uneven.cells.get(column.title, "-"))
        named.cells[-1] = f"always {uneven.largest}"
    return columns


def validation_column(ranked: Sequence[RankedRun]) -> Column:
    """Give what ranks, on validation, a cell a line."""
    metric = ranked[0].standing.metric
    return Column(_TITLES[metric], [_validation(metric, run.standing.value) for run in ranked])


def _validation(metric: str, value: float) -> str:
    if not np.isfinite(value):
        return "-"
    return f"{100 * value:.1f}" if "%" in _TITLES[metric] else f"{value:.3f}"


def _what_differs(ranked: Sequence[RankedRun]) -> list[Column]:
    """Give the size of the pictures and their number, where they are not the same for all."""
    sizes = [str(run.pictures.size) for run in ranked]
    trained = [f"{run.n_train:,}" for run in ranked]
    columns = [Column("px", sizes), Column("trained on", trained, drop=6)]
    return [column for column in columns if len(set(column.cells)) > 1]


def place(run: RankedRun) -> str:
    """Write a line's place, as in 1= where it is tied."""
    return f"{run.standing.place}{'=' if run.standing.tied else ''}"


class Majority(NamedTuple):
    """What always naming the largest class of train gives, where classes are uneven."""

    largest: str
    most: int  # train pictures of it
    smallest: str
    fewest: int
    cells: dict[str, str]  # of the leaderboard, by title


def majority(run: RankedRun) -> Majority | None:
    """Give the baseline of always naming the largest class; None where classes are even."""
    uneven = uneven_classes(run.dataset.counts.get("train", {}))
    if uneven is None:
        return None
    cells = {}
    for split, title in (("validation", "val %"), ("test", "test %")):
        classes = run.metrics.get(split, {}).get("per_class", {})
        counts = {name: values["n"] for name, values in classes.items() if values["n"]}
        # The column of validation is of the rows that all runs have, which may be fewer.
        same = split == "test" or sum(counts.values()) == run.standing.n
        if counts and same:
            share = counts.get(uneven.largest, 0) / sum(counts.values())
            cells[title] = f"{100 * share:.1f}"
            balanced = "balanced %" if split == "test" else "val balanced %"
            cells[balanced] = f"{100 * (uneven.largest in counts) / len(counts):.1f}"
    return Majority(*uneven, cells)


def _said_by_settings(ranked: Sequence[RankedRun]) -> list[Column]:
    columns = []
    for title, values in (
        ("backbone", [run.backbone for run in ranked]),
        ("features", [short_spec(run.features) for run in ranked]),
    ):
        if len(set(values)) > 1:
            columns.append(Column(title, values, is_number=False))
    return [*columns, Column("head", [_head(run) for run in ranked], is_number=False)]


def _twice(columns: Sequence[Column]) -> bool:
    """Say whether two rows read the same."""
    rows = list(zip(*(column.cells for column in columns), strict=True))
    return len(set(rows)) < len(rows)


def caption(ranked: Sequence[RankedRun]) -> str:
    """Say in words what was compared on what, and which run is best by validation."""
    best = ranked[0]
    said = [{run.backbone for run in ranked}, {short_spec(run.features) for run in ranked}]
    same = [values.pop() for values in said if len(values) == 1]
    sizes = sorted({run.n_train for run in ranked})
    trained = " or ".join(f"{n:,}" for n in sizes) if len(sizes) < 3 else f"up to {sizes[-1]:,}"
    text = f"{' '.join(same)}: " if same else ""
    text += f"trained on {trained} pictures of {len(best.dataset.classes)} classes"
    pixels = sorted({run.pictures.size for run in ranked})
    if len(pixels) > 1:
        text += f", of {' or '.join(map(str, pixels))} pixels a side"
    text += f"; {_ranked_by(ranked)}"
    test = best.metrics.get("test")
    text += "." if test is None else f"; test: {test['n']:,} pictures."
    if test is not None and len(ranked) > 1:
        labels = run_labels(ranked)
        right = f"{100 * test['accuracy']:.1f}% right on test"
        text += f" Best by {best.standing.by}: {labels[best.name]}, {right}"
        tied = [labels[run.name] for run in ranked[1:] if run.standing.place == 1]
        text += f"; within a standard error of it: {_listed(tied)}." if tied else "."
    return f"{text} {full_names(ranked)}".rstrip()


def _ranked_by(ranked: Sequence[RankedRun]) -> str:
    standing = ranked[0].standing
    what = "validation pictures" if _has_validation(ranked[0]) else "train pictures, out of fold"
    metrics = chosen_by(ranked)
    by, why = "", ""
    if standing.metric != "accuracy" or len(metrics) > 1:
        by = f"{WORDS[standing.metric]} on "
    if len(metrics) > 1:
        why = f"; settings were chosen by {' or '.join(WORDS[one] for one in metrics)}"
    if not standing.same_rows:
        return f"ranked by {by}{what}, which are not the same for all runs{why}"
    most = max(run.metrics["validation"]["n"] for run in ranked)
    for_all = " (the only ones that all runs were judged on)" if standing.n < most else ""
    return f"ranked by {by}{standing.n:,} {what}{for_all}{why}"


def _listed(names: Sequence[str]) -> str:
    """Name a few of some runs."""
    more = len(names) - _NAMED
    return ", ".join(names if more <= 1 else [*names[:_NAMED], f"{more} more"])


def remarks(ranked: Sequence[RankedRun], beside: Collection[str] = ()) -> list[str]:
    """Say what a reader of the table must know: stand-ins, leaks, skipped pictures, warnings."""
    said: dict[str, None] = {}
    if any(run.name in beside for run in ranked):
        said[f"{BESIDE.strip()} was in the study's folder and is not asked for now."] = None
    said |= dict.fromkeys(stand_in_lines(ranked))
    said |= dict.fromkeys(doubts(ranked))
    if slow := timed_by_keras(ranked):
        said[slow] = None
    if uneven := majority(ranked[0]):
        said[
            f"Classes are uneven, {uneven.most:,} train pictures of {uneven.largest} and "
            f"{uneven.fewest:,} of {uneven.smallest}: look at balanced accuracy first."
        ] = None
    if any(train_seconds(run) is None for run in ranked):
        said[
            "train s and ms/image are not known where embedding was not measured on this machine."
        ] = None
    unchecked = [run.name for run in ranked if not all(one.is_checked for one in run.seeds)]
    if unchecked:
        said[
            "Unchecked, as the version that made them kept no digests of their files: "
            f"{_listed(unchecked)}."
        ] = None
    said |= dict.fromkeys(text for run in ranked for text in _remarks_on(run))
    labels = run_labels(ranked)
    return [relabelled(text, labels) for text in said]


def _remarks_on(run: RankedRun) -> list[str]:
    """Say what a reader must know of one line, in words that other lines may share."""
    left_out = {} if run.auto is None else run.auto["left_out"]
    said = [
        f"{run.backbone}: {features} was not tried, as it has {why}."
        for features, why in left_out.items()
    ]
    if skipped := run.dataset.skipped:
        why = commonest([one["reason"] for one in skipped])
        said.append(f"{counted(len(skipped), 'picture')} left out{why}.")
    said += [f"{run.name}: {warning}" for warning in run.warnings]
    if edges := _edges(run):
        said.append(
            f"{run.name}: best at the edge of what was tried ({edges}); more is tried with "
            "--set head.KEY=VALUE,VALUE."
        )
    return said


def _edges(run: RankedRun) -> str:
    """Name settings whose best value is the first or last that a search tried."""
    if run.is_finetune:
        return ""
    head = run.head_settings
    return ", ".join(f"{name}={as_text(head.chosen[name])}" for name in head.edges)


def write_results(folder: Path, runs: Sequence[Run], metric: str | None = None) -> None:
    """Write results.csv and results.md of a study.

    Parameters
    ----------
    folder : Path
        The study's.
    runs : sequence of Run
        All on the same dataset and split.
    metric : str, optional
        What ranks, see `rank`.
    """
    ranked = rank(runs, metric=metric)
    keep_intervals(ranked)
    write_text(folder / RESULTS_CSV, results_csv(ranked))
    lines = [f"# {folder.name}", "", caption(ranked), "", *markdown_table(ranked), ""]
    lines += [f"- {remark}" for remark in remarks(ranked)]
    write_text(folder / RESULTS_MD, "\n".join(lines).rstrip() + "\n")


def results_csv(ranked: Sequence[RankedRun]) -> str:
    """Give a row for each run, split, metric and class, as the text of results.csv."""
    text = io.StringIO(newline="")
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(CSV_COLUMNS)
    for line in ranked:
        for run in line.seeds:
            writer.writerows(_long_rows(run))
    return text.getvalue()


def read_results(file: Path | io.StringIO) -> "pd.DataFrame":
    """Read the text of results.csv; a class may be called NA, so only what is empty is missing."""
    import pandas as pd

    return pd.read_csv(file, keep_default_na=False, na_values=[""])


def markdown_table(ranked: Sequence[RankedRun]) -> list[str]:
    """Give the leaderboard as the lines of a Markdown table, the best in bold."""
    columns = leaderboard(ranked)
    lines = ["| " + " | ".join(escape_markdown(column.title) for column in columns) + " |"]
    lines.append("|" + "|".join("---:" if column.is_number else "---" for column in columns) + "|")
    best = best_rows(ranked)
    for row in range(len(columns[0].cells)):
        cells = [escape_markdown(column.cells[row]) for column in columns]
        if row in best:
            cells = [f"**{cell}**" for cell in cells]
        lines.append("| " + " | ".join(cells) + " |")
    return lines


def best_rows(ranked: Sequence[RankedRun]) -> frozenset[int]:
    """Give the rows of a leaderboard that are best: several where they are tied."""
    if len(ranked) == 1:
        return frozenset()
    return frozenset(row for row, run in enumerate(ranked) if run.standing.place == 1)


def escape_markdown(text: str) -> str:
    r"""Write text so that Markdown shows it as it is, in a table too.

    Examples
    --------
    >>> print(escape_markdown("a|b <i> *c* d_e"))
    a\|b &lt;i&gt; \*c\* d_e
    """
    text = " ".join(text.split()).replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
    return re.sub(r"([\\|*`\[\]])", r"\\\1", text)


def write_into(path: Path, ranked: Sequence[Run]) -> None:
    """Put the table of test and train results between its two markers in a file.

    Parameters
    ----------
    path : Path
        A Markdown file with the lines `S1_START` and `S1_END`; what stands between them
        is replaced, the rest is kept byte for byte. A file that is not there is made.
    ranked : sequence of Run

    Raises
    ------
    TlfeatError
        If the file has not each marker once, in order.
    """
    lines = [
        "| Model name | Test accuracy | Test loss | Train accuracy | Train loss "
        "| Time_train (s) |",
        "|---|---:|---:|---:|---:|---:|",
    ]
    for run in ranked:
        cells = [
            _number(_get(run, split, metric), 4)
            for split in ("test", "train")
            for metric in ("accuracy", "log_loss")
        ]
        cells.append(_number(train_seconds(run), 4))
        lines.append(f"| {escape_markdown(run.name)} | " + " | ".join(cells) + " |")
    try:
        with path.open(encoding="utf-8", newline="") as file:
            text = file.read()
    except FileNotFoundError:
        text = f"{S1_START}\n{S1_END}\n"
    except (OSError, UnicodeDecodeError) as error:
        raise TlfeatError(f"{path} cannot be read as text: {error}.") from None
    start, end = text.find(S1_START), text.find(S1_END)
    if start < 0 or end < start or text.count(S1_START) != 1 or text.count(S1_END) != 1:
        raise TlfeatError(
            f"{path} must have the line `{S1_START}` once and the line `{S1_END}` once after it: "
            "put them where the table belongs."
        )
    newline = "\r\n" if "\r\n" in text else "\n"
    table = newline.join(["", "", *lines, "", ""])
    write_text(path, text[: start + len(S1_START)] + table + text[end:])


def _long_rows(run: Run) -> list[list[Any]]:
    common = [run.study.name, run.name, run.kind, run.backbone, run.features, _head(run), run.seed]
    rows: list[list[Any]] = []
    intervals = known_intervals(run)
    for split, metrics in run.metrics.items():
        # Validation figures are of the settings that won on them, which no interval allows for.
        n, ends = metrics["n"], intervals.get(split, {}) if split == "test" else {}
        for metric in METRICS:
            if metrics[metric] is not None:
                low, high = ends.get(metric, ("", ""))
                rows.append([*common, split, metric, "", metrics[metric], low, high, n])
        for name, values in metrics["per_class"].items():
            for metric in ("precision", "recall", "f1"):
                low, high = ends["per_class"][name][metric] if ends else ("", "")
                rows.append([*common, split, metric, name, values[metric], low, high, values["n"]])
    rows.append([*common, "", "n_train", "", run.n_train, "", "", ""])
    for part, seconds in run.seconds.items():
        if seconds is not None:
            rows.append([*common, "", f"seconds_{part}", "", seconds, "", "", ""])
    if run.ms_per_image is not None:
        rows.append([*common, "", "ms_per_image", "", run.ms_per_image, "", "", ""])
    return rows


def _head(run: Run) -> str:
    """Name the head with the settings that were given for it, or a fine-tune's modes."""
    if run.is_finetune:
        return "+".join(phase["mode"] for phase in run.phases)
    head = run.head_settings
    words = [head.name, *(f"{key}={as_text(value)}" for key, value in sorted(head.params.items()))]
    if not head.search:
        words.append("no search")
    if head.class_weight:
        words.append(head.class_weight)
    if head.metric != usual_metric(head.class_weight):
        words.append(f"by {head.metric}")
    if head.refit:
        words.append("refit")
    if run.seed:
        words.append(f"seed {run.seed}")
    return " ".join(words)


def _has_validation(run: Run) -> bool:
    return "validation" in run.dataset.counts


def _positive(runs: Sequence[Run]) -> str | None:
    names = {(run.metrics.get("test") or run.metrics["train"]).get("positive") for run in runs}
    return names.pop() if len(names) == 1 else None


def _get(run: Run, split: str, metric: str) -> float | None:
    value = run.metrics.get(split, {}).get(metric)
    return None if value is None else float(value)


def _percent(run: Run, split: str, metric: str) -> str:
    value = _get(run, split, metric)
    return "-" if value is None else f"{100 * value:.1f}"


def _interval(run: Run, split: str, metric: str) -> str:
    ends = known_intervals(run).get(split, {}).get(metric)
    return "-" if ends is None else f"{100 * ends[0]:.1f}–{100 * ends[1]:.1f}"


def _spread(run: RankedRun) -> str:
    """Write lowest and highest accuracy of so many seeds."""
    if (spread := seed_spread(run)) is None:
        return "-"
    return f"{100 * spread[0]:.1f}–{100 * spread[1]:.1f} ({spread[2]})"


def _number(value: float | None, digits: int) -> str:
    return "-" if value is None else f"{value:.{digits}f}"
