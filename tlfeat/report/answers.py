"""What runs say of single pictures: confusions, mistakes, how sure they are, where they lie."""

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from tlfeat.report import figures
from tlfeat.report.contents import MOST_CHOSEN, Part, predictions_label
from tlfeat.report.drawing import Draw
from tlfeat.report.front import SIX, sure_and_right
from tlfeat.report.picture_map import map_figures, map_values
from tlfeat.report.pictures import MISTAKES, PagePictures
from tlfeat.runs.calibration import calibration_error
from tlfeat.runs.statistics import known_intervals

if TYPE_CHECKING:
    import pandas as pd

_CONFUSIONS = 12  # pairs of classes that the list names
_CALLED = 3  # classes that a picture is said to be called
_WRONG_SHOWN = 36  # pictures that every run gets wrong


def answers(part: Part, draw: Draw) -> dict[str, Any]:
    """Draw what runs say, class by class and all together, and give what the template shows.

    Parameters
    ----------
    part : Part
        With predictions of one run or more.
    draw : callable
        Saves an Axes under a name and gives its picture.

    Returns
    -------
    values : dict
    """
    import pandas as pd

    confusion, per_class = part.predictions[0].confusion, _class_f1(part)
    table = pd.DataFrame(confusion, part.classes, part.outputs[: confusion.shape[1]])
    return {
        "judged": [predictions_label(part, one.run) for one in part.predictions[:MOST_CHOSEN]],
        "n_judged": len(part.predictions),
        "confusion": draw("confusion", figures.draw_confusion(table)),
        "confusions": _largest(confusion, part),
        "f1": draw("class-f1", figures.draw_class_f1(per_class)),
        "unseen": sorted(set(part.classes) - set(per_class["class"])),
        "per_class": per_class.sort_values(["f1", "class"]).to_dict("records"),
        "most_mistakes": MISTAKES,
        "wrong_count": len(part.everywhere_wrong),
        "reliability": _reliability(part, draw),
        "map_figures": map_figures(part, draw),
    }


def single_answers(part: Part, pictures: PagePictures) -> dict[str, Any]:
    """Give what the template and the page's script show of single pictures.

    Parameters
    ----------
    part : Part
    pictures : PagePictures

    Returns
    -------
    values : dict
    """
    small = pictures.small
    values: dict[str, Any] = {"pictures": len(small), "json": None, "map": None}
    if part.predictions and part.facts is not None:
        values |= {
            "front_mistakes": cards(part, part.mistakes(0)[:SIX], small, 0),
            "mistakes": cards(part, part.mistakes(0), small, 0),
            "wrong": cards(part, part.everywhere_wrong[:_WRONG_SHOWN], small, None),
            "json": _for_script(part, pictures),
            "map": map_values(part, small),
        }
    return values


def _largest(confusion: np.ndarray, part: Part) -> list[dict[str, Any]]:
    """Give the commonest mistakes of a confusion matrix."""
    off = confusion.copy()
    off[np.arange(len(off)), np.arange(len(off))] = 0
    rows = []
    for place in np.argsort(-off, axis=None, kind="stable")[:_CONFUSIONS]:
        i, j = divmod(int(place), off.shape[1])
        if not off[i, j]:
            break
        rows.append(
            {
                "true": part.classes[i],
                "predicted": part.outputs[j],
                "n": int(off[i, j]),
                "of": int(confusion[i].sum()),
            }
        )
    return rows


def _class_f1(part: Part) -> "pd.DataFrame":
    """Give precision, recall and F1 of each class for the best run whose pictures are shown."""
    import pandas as pd

    run = part.predictions[0].run
    measured = run.metrics[part.split]["per_class"]
    ends = known_intervals(run)[part.split]["per_class"]
    table = pd.DataFrame(
        [
            {
                "class": name,
                **measured[name],
                "low": ends[name]["f1"][0],
                "high": ends[name]["f1"][1],
            }
            for name in part.classes
            if measured[name]["n"]
        ]
    )
    table.attrs["split"] = part.split
    return table


def cards(
    part: Part, places: np.ndarray, small: Mapping[str, str], number: int | None
) -> list[dict[str, Any]]:
    """Give pictures with what they are and what a run, or every run, calls them."""
    assert part.facts is not None
    found = []
    for place in places:
        judges = part.predictions if number is None else [part.predictions[number]]
        predicted = [part.outputs[int(one.predicted[place])] for one in judges]
        card = {
            "id": part.facts.ids[place],
            "true": part.classes[part.facts.true[place]],
            "picture": small.get(part.facts.digests[place]),
            "predicted": _commonest(predicted),
            "sure": "",
        }
        if number is not None:
            card["sure"] = sureness(judges[0].confidence[place], judges[0].run.gives_probabilities)
        found.append(card)
    return found


def _commonest(predicted: Sequence[str]) -> str:
    """Name what most runs call a picture.

    >>> _commonest(["hat", "shirt", "hat"]), _commonest(["a", "b", "c", "d", "e"])
    ('hat or shirt', 'a or b or c or 2 others')
    """
    names = [name for name, _ in Counter(predicted).most_common()]
    rest = len(names) - _CALLED
    shown = names if rest <= 1 else [*names[:_CALLED], f"{rest} others"]
    return " or ".join(shown)


def sureness(confidence: float, is_probability: bool) -> str:
    """Write how sure a run is of a prediction."""
    return f"{100 * confidence:.0f}%" if is_probability else f"margin {confidence:.2f}"


def _reliability(part: Part, draw: Draw) -> dict[str, Any] | None:
    rows, drawn = [], None
    for one in part.predictions:
        fit = one.calibration
        if fit is None:
            continue
        label = predictions_label(part, one.run)
        if drawn is None:
            bins = fit.bins.copy()
            bins.attrs["split"] = part.split
            before = fit.before if fit.is_used else None
            drawn = {
                "run": label,
                "svg": draw("reliability", figures.draw_reliability(bins, before=before)),
                "bins": bins.to_dict("records"),
                "sizes": _sizes(bins["n"]),
            }
        said, right = sure_and_right(one)
        rows.append(
            {
                "run": label,
                "sure": f"{said:.1f}",
                "right": f"{right:.1f}",
                "before": f"{100 * calibration_error(fit.before):.1f}",
                "temperature": "-" if fit.temperature is None else f"{fit.temperature:.2f}",
                "after": "-" if fit.after is None else f"{100 * calibration_error(fit.after):.1f}",
                "used": "yes" if fit.is_used else "no",
            }
        )
    without = [part.labels[one.run.name] for one in part.predictions if one.calibration is None]
    return None if drawn is None else {**drawn, "rows": rows, "without": without}


def _sizes(n: "pd.Series[int]") -> str:
    """Say how many predictions are in the bins."""
    least, most = int(n.min()), int(n.max())
    several = f"{least:,}" if least == most else f"{least:,} to {most:,}"
    bins = "one bin" if len(n) == 1 else f"{len(n)} bins"
    return f"{bins} of {several} predictions"


def _for_script(part: Part, shown: PagePictures) -> dict[str, Any]:
    """Give the data of the confusion matrices and the mistakes."""
    assert part.facts is not None
    chosen = part.chosen
    digests = part.facts.digests[chosen]
    pictures = list(dict.fromkeys(d for d in digests if d in shown.small))
    place = {digest: i for i, digest in enumerate(pictures)}
    runs = []
    for one in part.predictions[:MOST_CHOSEN]:
        i, j = np.nonzero(one.confusion)
        runs.append(
            {
                "name": predictions_label(part, one.run),
                "probability": one.run.gives_probabilities,
                "cells": np.column_stack([i, j, one.confusion[i, j]]).tolist(),
                "predicted": one.predicted[chosen].tolist(),
                "sure": [float(f"{value:.3g}") for value in one.confidence[chosen]],
            }
        )
    return {
        "classes": part.classes,
        "outputs": part.outputs,
        "split": part.split,
        "known": len(chosen) == len(part.facts),
        "ids": part.facts.ids[chosen].tolist(),
        "true": part.facts.true[chosen].tolist(),
        "everywhere": np.flatnonzero(np.isin(chosen, part.everywhere_wrong)).tolist(),
        "picture": [place.get(digest, -1) for digest in digests],
        "pictures": [shown.small[digest] for digest in pictures],
        "large": {place[digest]: uri for digest, uri in shown.large.items()},
        "files": shown.files,
        "runs": runs,
    }
