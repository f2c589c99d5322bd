"""The tables of a study: one leaderboard for people, one long table for machines.

Runs are ranked by validation, and "best" means best by validation: test is looked at
once, at the end, and chooses nothing.
"""

import csv
import io
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

from tlfeat.data.names import counted
from tlfeat.errors import TlfeatError
from tlfeat.files import write_text
from tlfeat.runs.costs import seed_spread, train_seconds
from tlfeat.runs.metrics import METRICS
from tlfeat.runs.record import Run, as_text
from tlfeat.runs.statistics import known_intervals

RESULTS_CSV = "results.csv"
RESULTS_MD = "results.md"
CSV_COLUMNS = (
    "study", "run", "kind", "backbone", "features", "head", "seed",
    "split", "metric", "class", "value", "low", "high", "n",
)  # fmt: skip
S1_START = "[comment]: # (result_table_start)"
S1_END = "[comment]: # (result_table_end)"


class Column(NamedTuple):
    """One column of the leaderboard."""

    title: str
    cells: list[str]
    is_number: bool = True
    drop: int = 0  # where there is no room for all, the highest go first; 0 stays


def rank(runs: Sequence[Run]) -> list[Run]:
    """Order runs, best first: by validation accuracy, then log loss, then name."""

    def key(run: Run) -> tuple[float, float, str]:
        validation = run.metrics.get("validation") or run.metrics["train"]
        loss = validation["log_loss"]
        return -validation["accuracy"], float("inf") if loss is None else loss, run.name

    return sorted(runs, key=key)


def leaderboard(ranked: Sequence[Run]) -> list[Column]:
    """Give the table that people read, a row a run, in the order given.

    Heads are told apart by backbone, features and head; a column of these that would say the
    same in every row is left out, as `caption` says it once. Where that does not name every
    run, as with fine-tunes, their own names do.
    """
    columns = _said_by_settings(ranked)
    if any(run.record["kind"] == "finetune" for run in ranked) or _twice(columns):
        columns = [Column("run", [run.name for run in ranked], is_number=False)]
    trained = [f"{run.record['n_train']:,}" for run in ranked]
    if len(set(trained)) > 1:
        columns.append(Column("trained on", trained, drop=6))
    columns.append(Column("val %", [_percent(run, "validation", "accuracy") for run in ranked]))
    columns.append(Column("test %", [_percent(run, "test", "accuracy") for run in ranked]))
    columns.append(Column("95%", [_interval(run, "test", "accuracy") for run in ranked], drop=2))
    if spread := seed_spread(ranked):
        columns.append(Column("seeds", [_spread(spread.get(run.name)) for run in ranked]))
    balanced = [_percent(run, "test", "balanced_accuracy") for run in ranked]
    columns.append(Column("balanced %", balanced, drop=5))
    positive = _positive(ranked)
    name, metric = (f"F1 {positive} %", "f1") if positive else ("F1 %", "f1_macro")
    columns.append(Column(name, [_percent(run, "test", metric) for run in ranked], drop=4))
    losses = [_number(_get(run, "test", "log_loss"), 3) for run in ranked]
    columns.append(Column("log loss", losses, drop=3))
    columns.append(Column("train s", [_number(train_seconds(run), 1) for run in ranked]))
    costs = [_number(run.record["ms_per_image"], 1) for run in ranked]
    columns.append(Column("ms/image", costs, drop=1))
    return columns


def _said_by_settings(ranked: Sequence[Run]) -> list[Column]:
    columns = []
    for title in ("backbone", "features"):
        values = [str(run.record[title]) for run in ranked]
        if len(set(values)) > 1:
            columns.append(Column(title, values, is_number=False))
    return [*columns, Column("head", [_head(run) for run in ranked], is_number=False)]


def _twice(columns: Sequence[Column]) -> bool:
    """Say whether two rows read the same."""
    rows = list(zip(*(column.cells for column in columns), strict=True))
    return len(set(rows)) < len(rows)


def caption(ranked: Sequence[Run]) -> str:
    """Say in words what was compared on what, and which run is best by validation."""
    best = ranked[0].record
    counts = {split: metrics["n"] for split, metrics in best["metrics"].items()}
    counts["validation"] = max(run.metrics.get("validation", {}).get("n", 0) for run in ranked)
    same = [
        str(best[field])
        for field in ("backbone", "features")
        if len({run.record[field] for run in ranked}) == 1
    ]
    how = "validation pictures" if _has_validation(ranked[0]) else "train pictures, out of fold"
    parts = [f"{' '.join(same)}: " if same else ""]
    sizes = sorted({run.record["n_train"] for run in ranked})
    trained = " or ".join(f"{n:,}" for n in sizes) if len(sizes) < 3 else f"up to {sizes[-1]:,}"
    parts.append(f"trained on {trained} pictures of {len(best['dataset']['classes'])} ")
    parts.append(f"classes; ranked by {counts.get('validation', 0):,} {how}{_fewer(ranked)}")
    if "test" in counts:
        parts.append(f"; test: {counts['test']:,} pictures")
    text = "".join(parts) + "."
    if "test" in counts and len(ranked) > 1:
        accuracy = best["metrics"]["test"]["accuracy"]
        text += f" Best by validation: {ranked[0].name}, {100 * accuracy:.1f}% right on test."
    return text


def _fewer(ranked: Sequence[Run]) -> str:
    """Say where fine-tunes, which hold one fold out, are ranked by fewer pictures than heads."""
    counts = {run.metrics.get("validation", {}).get("n", 0) for run in ranked}
    least = min(counts)
    return f" (fine-tunes by {least:,} of them)" if len(counts) > 1 else ""


def remarks(ranked: Sequence[Run]) -> list[str]:
    """Say what a reader of the table must know: stand-ins, skipped pictures, warnings."""
    said: dict[str, None] = dict.fromkeys(stand_in_lines(ranked))
    for run in ranked:
        if skipped := run.record["dataset"]["skipped"]:
            said[f"{counted(len(skipped), 'picture')} left out: `tlfeat data` says why."] = None
        for warning in run.record["warnings"]:
            said[f"{run.name}: {warning}"] = None
    return list(said)


def stand_in_lines(runs: Sequence[Run]) -> list[str]:
    """Say what stands in for what in some runs, as few lines as it takes.

    Parameters
    ----------
    runs : sequence of Run
        Those of one table or figure.

    Returns
    -------
    lines : list of str
        None where nothing stands in.
    """
    names: dict[str, list[str]] = {}
    for run in runs:
        for part in str(run.record["stand_in"] or "").split("; "):
            if part:
                names.setdefault(part, []).append(run.name)
    lines = []
    for part, of in names.items():
        if len(of) == len(runs):
            who = "Stand-in"
        elif 2 * len(of) > len(runs):
            others = [run.name for run in runs if run.name not in of]
            who = f"Stand-in (all but {', '.join(others)})"
        else:
            who = f"Stand-in ({', '.join(of)})"
        lines.append(f"{who}: {part}.")
    return lines


def write_results(folder: Path, runs: Sequence[Run]) -> None:
    """Write results.csv and results.md of a study.

    Parameters
    ----------
    folder : Path
        The study's.
    runs : sequence of Run
        All on the same dataset and split.
    """
    ranked = rank(runs)
    text = io.StringIO(newline="")
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(CSV_COLUMNS)
    for run in ranked:
        writer.writerows(_long_rows(run))
    write_text(folder / RESULTS_CSV, text.getvalue())
    lines = [f"# {folder.name}", "", caption(ranked), "", *markdown_table(ranked), ""]
    lines += [f"- {remark}" for remark in remarks(ranked)]
    write_text(folder / RESULTS_MD, "\n".join(lines).rstrip() + "\n")


def markdown_table(ranked: Sequence[Run]) -> list[str]:
    """Give the leaderboard as the lines of a Markdown table, the first run in bold."""
    columns = leaderboard(ranked)
    lines = ["| " + " | ".join(escape_markdown(column.title) for column in columns) + " |"]
    lines.append("|" + "|".join("---:" if column.is_number else "---" for column in columns) + "|")
    for row in range(len(ranked)):
        cells = [escape_markdown(column.cells[row]) for column in columns]
        if row == 0 and len(ranked) > 1:
            cells = [f"**{cell}**" for cell in cells]
        lines.append("| " + " | ".join(cells) + " |")
    return lines


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
    record, study = run.record, run.path.parent.parent.name
    common = [study, run.name, record["kind"], record["backbone"], record["features"]]
    common += [_head(run), record["seed"]]
    rows: list[list[Any]] = []
    intervals = known_intervals(run)
    for split, metrics in record["metrics"].items():
        n, ends = metrics["n"], intervals.get(split, {})
        for metric in METRICS:
            if metrics[metric] is not None:
                low, high = ends.get(metric, ("", ""))
                rows.append([*common, split, metric, "", metrics[metric], low, high, n])
        for name, values in metrics["per_class"].items():
            for metric in ("precision", "recall", "f1"):
                low, high = ends["per_class"][name][metric] if ends else ("", "")
                rows.append([*common, split, metric, name, values[metric], low, high, values["n"]])
    rows.append([*common, "", "n_train", "", record["n_train"], "", "", ""])
    for part, seconds in record["seconds"].items():
        if seconds is not None:
            rows.append([*common, "", f"seconds_{part}", "", seconds, "", "", ""])
    if record["ms_per_image"] is not None:
        rows.append([*common, "", "ms_per_image", "", record["ms_per_image"], "", "", ""])
    return rows


def _head(run: Run) -> str:
    """Name the head with the settings that were given for it, or a fine-tune's modes."""
    if run.record["kind"] == "finetune":
        return "+".join(phase["mode"] for phase in run.record["phases"])
    head = run.record["head"]
    words = [
        head["name"],
        *(f"{key}={as_text(value)}" for key, value in sorted(head["params"].items())),
    ]
    if not head["search"]:
        words.append("no search")
    if head["class_weight"]:
        words.append(head["class_weight"])
    if head["refit"]:
        words.append("refit")
    if run.record["seed"]:
        words.append(f"seed {run.record['seed']}")
    return " ".join(words)


def _has_validation(run: Run) -> bool:
    return "validation" in run.record["dataset"]["counts"]


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


def _spread(found: tuple[float, float, int] | None) -> str:
    """Write lowest and highest accuracy of so many seeds."""
    return "-" if found is None else f"{100 * found[0]:.1f}–{100 * found[1]:.1f} ({found[2]})"


def _number(value: float | None, digits: int) -> str:
    return "-" if value is None else f"{value:.{digits}f}"
