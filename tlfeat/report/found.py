"""What each section of a page found, in the few words beside its title."""

from collections.abc import Mapping
from typing import Any

import numpy as np

from tlfeat.report.contents import Part
from tlfeat.report.phrases import listed
from tlfeat.runs.shot_words import TWICE


def found(part: Part, values: Mapping[str, Any]) -> dict[str, str]:
    """Say in a few words what each section found.

    Parameters
    ----------
    part : Part
    values : mapping of str to Any
        What the template shows.

    Returns
    -------
    words : dict of str to str
        By section; empty where there is nothing to say.
    """
    words = dict.fromkeys(("mistakes", "confusion", "classes", "sure", "curves"), "")
    words["pairs"] = _pairs(values["pairs"])
    words["shots"] = _shots(values["shots"])
    words["map"] = _map(part)
    words["cost"] = _cost(values["costs"])
    words["data"] = f"{sum(values['data']['totals']):,} pictures of {len(part.classes):,} classes"
    if part.histories:
        words["curves"] = f"of {len(part.histories)} fine-tune{'s' * (len(part.histories) > 1)}"
    if part.predictions and part.facts is not None:
        best, label = part.predictions[0], values["judged"][0]
        wrong = int(np.count_nonzero(best.predicted != part.facts.true))
        words["mistakes"] = f"{_number(wrong)} of {len(part.facts):,} by {label}"
        if len(part.predictions) > 1:
            words["mistakes"] += f", {_number(len(part.everywhere_wrong))} by all"
        words["confusion"] = _confusion(values["confusions"])
        words["classes"] = _classes(values["per_class"])
        words["sure"] = _sure(values["reliability"])
    return words


def _pairs(pairs: Mapping[str, Any]) -> str:
    if not pairs["n"]:
        return ""
    return f"a difference is shown in {_number(pairs['n_shown'])} of {pairs['n']:,}"


def _number(n: int) -> str:
    return f"{n:,}" if n else "none"


def _cost(costs: Mapping[str, Any]) -> str:
    if not costs["axes"] or len(costs["points"]) < 2:
        return ""
    axis = costs["axes"][0]
    verb = "nothing is cheaper and better than" if len(axis["front"]) == 1 else "the front is"
    return f"by {axis['word']} {verb} {listed(axis['front'], 2)}"


def _confusion(rows: list[dict[str, Any]]) -> str:
    if not rows:
        return "none"
    first = rows[0]
    return f"{first['true']} called {first['predicted']}: {first['n']} of {first['of']}"


def _classes(rows: list[dict[str, Any]]) -> str:
    if not rows:
        return ""
    ends = [f"{100 * row['f1']:.0f}% of {row['class']}" for row in (rows[0], rows[-1])]
    return f"F1 from {ends[0]} to {ends[1]}" if len(rows) > 1 else f"F1 {ends[0]}"


def _sure(reliability: Mapping[str, Any] | None) -> str:
    if reliability is None:
        return ""
    row = reliability["rows"][0]
    return f"{row['run']} is {row['sure']}% sure and right in {row['right']}%"


def _shots(shots: Mapping[str, Any] | None) -> str:
    """Give the range for twice the pictures of the first run that has one."""
    columns = (shots or {}).get("table")
    if not columns or columns[-1]["title"] != TWICE:
        return ""
    ranges = zip(columns[0]["cells"], columns[-1]["cells"], strict=True)
    run, ends = next(((run, ends) for run, ends in ranges if ends != "-"), ("", ""))
    return f"twice as many would bring {run} to {ends}%" if run else ""


def _map(part: Part) -> str:
    if part.map is None:
        return ""
    return f"{len(part.map.pictures):,} pictures, by {part.labels[part.map.run.name]}"
