"""study.md: the tables and figures of a study, each kind of study in its own way.

"s1": the result table between its markers, the models' graphs, the curves of each model. "s2":
metrics by split and model with seconds, curves of the metrics, the models. "curves": accuracy and
loss, the runs that start from one another on one picture, a few runs as pairs, many as small
multiples.
"""

import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from tlfeat.files import write_text
from tlfeat.runs.caveats import stand_in_lines
from tlfeat.runs.costs import train_seconds
from tlfeat.runs.freshness import has_key, key_of
from tlfeat.runs.ranking import rank
from tlfeat.runs.record import Run
from tlfeat.runs.results import S1_END, S1_START, write_into
from tlfeat.studies.draw import (
    Curve,
    draw_model,
    draw_multiples,
    draw_pairs,
    draw_panels,
    draw_together,
)
from tlfeat.studies.models import model_parts
from tlfeat.studies.phrases import paragraph
from tlfeat.studies.plan import Study

if TYPE_CHECKING:
    from matplotlib.figure import Figure

PAGE = "study.md"
FIGURES = "figures/study"  # those of the report stand one folder above
_DRAWN = re.compile(rf"\]\(({FIGURES}/[^)]+)\)")
_WORDS = 4  # the line of the page that the paragraph stands in
_FEW = 4  # runs that are drawn as pairs; more are small multiples
_PANELS = (
    ("loss", ("loss",)),
    ("accuracy", ("accuracy",)),
    ("precision and recall", ("precision", "recall")),
    ("F1", ("f1",)),
)


def study_words(folder: Path, study: Study, runs: Sequence[Run]) -> str:
    """Give the paragraph about a study: as study.md has it, where that is of these runs."""
    page = folder / PAGE
    if has_key(page, _key(folder, study, runs)):
        return page.read_text(encoding="utf-8").splitlines()[_WORDS]
    return paragraph(runs, study.metric)


def write_tables(folder: Path, study: Study, runs: Sequence[Run], words: str) -> None:
    """Write study.md and the figures of a study, unless they are of these runs.

    Parameters
    ----------
    folder : Path
        The study's.
    study : Study
    runs : sequence of Run
        Those that are finished, in the order of the file.
    words : str
        From `study_words`.
    """
    page, key = folder / PAGE, _key(folder, study, runs)
    if has_key(page, key):
        text = page.read_text(encoding="utf-8")
        if all((folder / place).exists() for place in _DRAWN.findall(text)):
            return
    lines = [f"[comment]: # (made of {key})", "", f"# {folder.name}", "", words, ""]
    if study.changes:
        lines += ["Changed by [quick] and --set, so these are not the study's full settings:", ""]
        lines += [f"- `{change}`" for change in study.changes] + [""]
    missing = [run.name for run in study.runs if run.name not in {made.name for made in runs}]
    left_out = [f"{name} (left out: {why})" for name, why in study.left_out.items()]
    if missing or left_out:
        lines += [f"Not in here: {', '.join([*missing, *left_out])}.", ""]
    parts = {"s1": _s1, "s2": _s2, "curves": _curves, None: _plain}[study.table]
    lines += parts(folder, study, runs)
    write_text(page, "\n".join(lines).rstrip() + "\n")
    if study.table == "s1":
        write_into(page, runs)


def _key(folder: Path, study: Study, runs: Sequence[Run]) -> str:
    ours = Path(__file__).parent
    around = ("runs/*.py", "report/style.py", "finetuning/curves.py")
    code = [*ours.glob("*.py"), *(path for place in around for path in ours.parent.glob(place))]
    planned = [[run.name, run.parent, run.epoch] for run in study.runs]
    return key_of(
        code,
        runs,
        [folder.name, study.table, study.metric, study.changes, study.left_out, planned],
    )


def _s1(folder: Path, study: Study, runs: Sequence[Run]) -> list[str]:
    lines = ["## Results", "", S1_START, S1_END, "", *_sizes(runs), *_note(runs)]
    lines += _models(folder, runs)
    tuned = [run for run in runs if run.is_finetune]
    if not tuned:
        return lines
    lines += ["## Accuracy and loss", "", "| model | accuracy | loss |", "|---|---|---|"]
    for run in tuned:
        curve = _curve(run)
        if not curve.rows:
            lines.append(f"| {run.name} | only evaluated | only evaluated |")
            continue
        cells = []
        for metric in ("accuracy", "loss"):
            figure = draw_panels(curve, ((metric, (metric,)),), columns=1)
            cells.append(f"![{metric}]({_save(figure, folder, f'{metric}-{run.name}')})")
        lines.append(f"| {run.name} | {' | '.join(cells)} |")
    return [*lines, "", *_note(tuned)]


def _s2(folder: Path, study: Study, runs: Sequence[Run]) -> list[str]:
    named = [run.metrics["train"].get("positive") for run in runs]
    positive = next((name for name in named if name), None)
    of = f" of {positive}" if positive else ", means over classes"
    splits = [split for split in ("train", "validation", "test") if split in runs[0].metrics]
    lines = ["## Metrics", "", f"Precision, recall and F1{of}, on whole splits.", ""]
    names = _names(runs, "model")
    lines += [
        f"{names.title} split | n | accuracy % | precision % | recall % | F1 % | inference s |",
        f"{names.rule}---|---:|---:|---:|---:|---:|---:|",
    ]
    for run in runs:
        for split in splits:
            if split not in run.metrics:
                continue
            metrics = run.metrics[split]
            values = [metrics["accuracy"], *_precision_recall_f1(metrics, positive)]
            cells = [f"{100 * value:.2f}" for value in values]
            seconds = _inference(run, split, metrics["n"])
            cells.append("-" if seconds is None else f"{seconds:.1f}")
            lines.append(
                f"{names.cells[run.name]} {split} | {metrics['n']:,} | {' | '.join(cells)} |"
            )
    lines += [
        "",
        *_note(runs),
        "| model | train s | parameters | trained |",
        "|---|---:|---:|---:|",
    ]
    for run in runs:
        size = run.parameters
        cost = f"{train_seconds(run) or 0:,.1f} | {size.total:,} | {size.trainable:,}"
        lines.append(f"| {run.name} | {cost} |")
    lines += ["", *_note(runs)]
    curves = [_curve(run) for run in runs if run.is_finetune]
    if curves:
        lines += ["## Curves", ""]
    for curve in curves:
        if curve.rows:
            path = _save(draw_panels(curve, _PANELS), folder, f"curves-{curve.name}")
            lines += [f"![Loss, accuracy, precision, recall and F1 of {curve.name}]({path})", ""]
    return [*lines, *_models(folder, runs)]


def _precision_recall_f1(metrics: Mapping[str, Any], positive: str | None) -> list[float]:
    """Give the three of the positive class; a network of 1000 outputs has it among others."""
    if positive is None:
        return [metrics[f"{name}_macro"] for name in _MEASURED]
    return [metrics["per_class"][positive][name] for name in _MEASURED]


_MEASURED = ("precision", "recall", "f1")


def _curves(folder: Path, study: Study, runs: Sequence[Run]) -> list[str]:
    lines = _plain(folder, study, runs)
    tuned = {run.name: run for run in runs if run.is_finetune}
    families: dict[str, list[str]] = {}  # a run, and those that start from its checkpoints
    for planned in study.runs:
        if planned.epoch is not None and planned.name in tuned and planned.parent in tuned:
            families.setdefault(planned.parent, [planned.parent]).append(planned.name)
    if not tuned:
        return lines
    lines += ["## Curves", ""]
    epochs = {planned.name: planned.epoch or 0 for planned in study.runs}
    for parent, names in families.items():
        some = [tuned[name] for name in names]
        curves = [_curve(run, epochs[run.name]) for run in some]
        marks = {metric: _mark(curves, metric) for metric in ("accuracy", "loss")}
        figure = draw_together(curves, marks, stand_in_lines(some))
        lines += [
            f"![Curves of {', '.join(names)}]({_save(figure, folder, f'from-{parent}')})",
            "",
        ]
        best, least = marks["accuracy"], marks["loss"]
        lines += [
            f"Best validation accuracy: {100 * best[2]:.2f}% in epoch {best[1]} ({best[0]}). "
            f"Least validation loss: {least[2]:.3f} in epoch {least[1]} ({least[0]}).",
            "",
        ]
    joined = {name for names in families.values() for name in names}
    rest = [run for name, run in tuned.items() if name not in joined and run.history]
    curves = [_curve(run) for run in rest]
    if 0 < len(rest) <= _FEW:
        path = _save(draw_pairs(curves, stand_in_lines(rest)), folder, "pairs")
        lines += [f"![Accuracy and loss of {', '.join(run.name for run in rest)}]({path})", ""]
    elif rest:
        for metric in ("accuracy", "loss"):
            columns = 4 if len(rest) % 3 else 3
            figure = draw_multiples(curves, metric, columns, stand_in_lines(rest))
            lines += [f"![{metric} of {len(rest)} runs]({_save(figure, folder, metric)})", ""]
    return lines


def _plain(folder: Path, study: Study, runs: Sequence[Run]) -> list[str]:
    """Give one table of all runs, with the best epochs of those that have any."""
    ranked = rank(runs, metric=study.metric)
    names = _names(ranked, "run", bold=ranked[0] if len(runs) > 1 else None)
    titles = "val % | best epoch | least loss, epoch | test % | trained parameters | train s"
    lines = ["## Results", "", f"{names.title} {titles} |", f"{names.rule}{'---:|' * 6}"]
    for run in ranked:
        cells = [_percent(run, "validation"), *_best_epochs(run), _percent(run, "test")]
        cells += [f"{run.parameters.trainable:,}", f"{train_seconds(run) or 0:,.1f}"]
        lines.append(f"{names.cells[run.name]} {' | '.join(cells)} |")
    return [*lines, "", *_note(runs)]


class _Names(NamedTuple):
    """What the lines of a table begin with."""

    title: str
    rule: str
    cells: dict[str, str]  # by a run's name


def _names(runs: Sequence[Run], title: str, bold: Run | None = None) -> _Names:
    """Give a table's names of runs, and the sides of their pictures where they differ."""
    said = {run.name: f"**{run.name}**" if run is bold else run.name for run in runs}
    if len({run.pictures.size for run in runs}) == 1:
        return _Names(f"| {title} |", "|---|", {run: f"| {name} |" for run, name in said.items()})
    cells = {run.name: f"| {said[run.name]} | {run.pictures.size} |" for run in runs}
    return _Names(f"| {title} | px |", "|---|---:|", cells)


def _sizes(runs: Sequence[Run]) -> list[str]:
    """Say under a table of fixed columns which runs saw pictures of which size."""
    sides = sorted({run.pictures.size for run in runs})
    if len(sides) == 1:
        return []
    parts = [
        f"{side} ({', '.join(r.name for r in runs if r.pictures.size == side)})" for side in sides
    ]
    first, *rest = parts
    first = first.replace(" (", " pixels a side (", 1)
    return [f"Pictures: {', '.join([first, *rest])}.", ""]


def _models(folder: Path, runs: Sequence[Run]) -> list[str]:
    lines = ["## Models", "", "| model | graph | layers |", "|---|---|---|"]
    for run in runs:
        ax = draw_model(model_parts(run), stand_in_lines([run]))
        figure = ax.get_figure(root=True)
        assert figure is not None
        path = _save(figure, folder, f"model-{run.name}")
        there = [
            f"[{word}](runs/{run.path.name}/{name})"
            for name, word in (("model.png", "graph"), ("summary.txt", "list"))
            if (run.path / name).exists()
        ]
        lines.append(f"| {run.name} | ![graph]({path}) | {', '.join(there) or '-'} |")
    return [*lines, "", *_note(runs)]


def _note(runs: Sequence[Run]) -> list[str]:
    """Say under a table what stands in for what in it."""
    lines = stand_in_lines(runs)
    return [*(f"- {line}" for line in lines), ""] if lines else []


def _curve(run: Run, begins: int = 0) -> Curve:
    start = (run.start or {}).get("validation") or {}
    return Curve(run.name, run.history, begins, start, stand_in_lines([run]))


def _mark(curves: Sequence[Curve], metric: str) -> tuple[str, int, float]:
    """Find the best epoch of all, by validation."""
    found = [
        (curve.name, curve.begins + row["epoch"], float(row[f"val_{metric}"]))
        for curve in curves
        for row in curve.rows
        if row[f"val_{metric}"] is not None
    ]
    sign = -1 if metric == "accuracy" else 1
    return min(found, key=lambda one: sign * one[2])


def _best_epochs(run: Run) -> list[str]:
    best = run.best_epoch
    if not best:
        return ["-", "-"]
    row = next(row for row in run.history if row["epoch"] == best["loss"])
    loss = row["val_loss"]
    return [str(best["accuracy"]), "-" if loss is None else f"{loss:.3f}, {best['loss']}"]


def _percent(run: Run, split: str) -> str:
    return f"{100 * run.metrics[split]['accuracy']:.1f}" if split in run.metrics else "-"


def _inference(run: Run, split: str, n: int) -> float | None:
    """Give the seconds that a split takes, pictures and all; of a head worked out from one."""
    seconds = run.seconds.get(f"predict_{split}")
    if seconds is not None:
        return float(seconds)
    each = run.ms_per_image
    return None if each is None else n * float(each) / 1000


def _save(figure: "Figure", folder: Path, name: str) -> str:
    """Write a figure and give the place of its picture, for the page."""
    from tlfeat.report.style import save

    safe = re.sub(r"[^A-Za-z0-9_=-]+", "-", name).strip("-")
    path = folder / FIGURES / f"{safe}.png"
    save(figure.axes[0], path.parent / safe)
    return f"{FIGURES}/{path.name}"
