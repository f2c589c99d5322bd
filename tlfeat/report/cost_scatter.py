"""What runs cost and what they give for it: one scatter, whose axis is chosen on the page."""

from typing import Any

from tlfeat.report import figures
from tlfeat.report.contents import Part
from tlfeat.report.drawing import Draw
from tlfeat.runs.costs import COSTS, cost_table


def costs_section(part: Part, draw: Draw) -> dict[str, Any]:
    """Draw validation accuracy against each cost, and give the points for the page's script.

    Parameters
    ----------
    part : Part
    draw : callable
        Saves an Axes under a name and gives its picture.

    Returns
    -------
    values : dict
        axes (label, title, word and front of each cost that is known), points (a run each) and
        figure, the picture of the first, for readers without script and for paper.
    """
    table = cost_table(part.ranked)
    table["run"] = [part.labels[name] for name in table["run"]]
    known = [cost for cost in COSTS if table[cost.column].notna().any()]
    if not table["validation"].notna().any():
        known = []
    drawn = [
        draw(
            f"cost-{cost.column.replace('_', '-')}",
            figures.draw_cost(table, cost.column, cost.label),
        )
        for cost in known
    ]
    fronts = [table[f"front_{cost.column}"] for cost in known]
    points = [
        {
            "name": row["run"],
            "kind": row["kind"],
            "validation": _known(100 * row["validation"]),
            "validation_text": _text(100 * row["validation"]),
            "costs": [_known(row[cost.column]) for cost in known],
            "texts": [_text(row[cost.column]) for cost in known],
            "front": [bool(row[f"front_{cost.column}"]) for cost in known],
        }
        for row in table.to_dict("records")
    ]
    axes = [
        {
            "label": cost.label,
            "title": cost.title,
            "word": cost.word,
            "front": list(table[front].sort_values(cost.column)["run"]),
        }
        for cost, front in zip(known, fronts, strict=True)
    ]
    return {
        "axes": axes,
        "points": points,
        "figure": drawn[0] if drawn else None,
    }


def _known(value: float) -> float | None:
    return None if value != value else float(f"{value:.6g}")


def _text(value: float) -> str:
    return "-" if value != value else f"{value:,.1f}"
