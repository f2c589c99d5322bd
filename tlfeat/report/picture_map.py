"""What the template and the script get of the map: points, names and what is known of each.

Ten thousand points are a line of letters each for places, classes and answers, so that they
cost a page little; names share their beginnings.
"""

import base64
from collections import Counter
from collections.abc import Mapping, Sequence
from itertools import pairwise
from typing import Any, Final

import numpy as np

from tlfeat.audit.findings import GRAVITY
from tlfeat.audit.kept import digest_start
from tlfeat.report import figures
from tlfeat.report.contents import Part, predictions_label
from tlfeat.report.drawing import Draw
from tlfeat.report.projection import Projection, choose_points
from tlfeat.report.style import CLASS_COLOURS

MOST_DRAWN: Final = 600  # points of the figure
_UNITS: Final = 4095  # places are from 0 to this, across and up
_LONGEST_PREFIX: Final = 255  # letters that a name shares with the one before it


def map_figures(part: Part, draw: Draw) -> list[dict[str, Any]]:
    """Draw the pictures that the best run was judged on, for the folder, paper and no script.

    Parameters
    ----------
    part : Part
    draw : callable
        Saves an Axes under a name and gives its picture.

    Returns
    -------
    figures : list of dict
        One a projection, with its name, what its axes are, and how many pictures it has.
    """
    import pandas as pd

    if part.map is None:
        return []
    pictures, called = part.map.pictures, part.map.called[0]
    judged = np.flatnonzero((called >= 0) & (pictures.split == part.split))
    if not len(judged):
        judged = np.flatnonzero(called >= 0)
    judged = judged[choose_points(np.zeros(len(judged), dtype=bool), MOST_DRAWN)]
    drawn = []
    for one in part.map.projections:
        table = pd.DataFrame(
            {
                "x": one.points[judged, 0],
                "y": one.points[judged, 1],
                "class": [part.classes[i] for i in pictures.true[judged]],
                "right": called[judged] == pictures.true[judged],
            }
        )
        table.attrs = {"x_label": one.x_label, "y_label": one.y_label}
        svg = draw(f"projection-{one.name.lower()}", figures.draw_projection(table))
        drawn.append({"name": one.name, "n": len(judged), "svg": svg})
    return drawn


def wanted_pictures(part: Part, most: int) -> list[str]:
    """Give the digests of the pictures that a page wants to show, the most wanted first.

    Parameters
    ----------
    part : Part
        With facts.
    most : int
        How many the page may show: half of them are of the map's other splits, where it has them.

    Returns
    -------
    digests : list of str
    """
    assert part.facts is not None
    chosen = list(part.facts.digests[part.chosen])
    if part.map is None:
        return chosen
    pictures, called = part.map.pictures, part.map.called[0]
    others = np.flatnonzero(~np.isin(pictures.ids.astype(str), part.facts.ids.astype(str)))
    order = np.random.default_rng(0).permutation(others)  # from everywhere, always the same
    wrong = (called[order] >= 0) & (called[order] != pictures.true[order])
    aside = list(pictures.digests[order[np.argsort(~wrong, kind="stable")]])
    return [*chosen[: most // 2], *aside[: most // 2], *chosen[most // 2 :], *aside[most // 2 :]]


def map_values(part: Part, small: Mapping[str, str]) -> dict[str, Any] | None:
    """Give what the template and the script show of the map; None where there is none.

    Parameters
    ----------
    part : Part
    small : mapping of str to str
        Digest to the data URI of a small picture.

    Returns
    -------
    values : dict
        "json" is for the script. "starts", of each picture, is what `with_found` goes by.
    """
    one = part.map
    if one is None or part.facts is None:
        return None
    sample = {part.facts.ids[place]: i for i, place in enumerate(part.chosen)}
    samples = np.array([sample.get(identity, -1) for identity in one.pictures.ids])
    aside = np.flatnonzero(samples < 0)
    extra = [i for i in aside if one.pictures.digests[i] in small]
    pictured = np.zeros(len(samples), np.int64)
    pictured[extra] = np.arange(1, len(extra) + 1)
    splits = list(Counter(one.pictures.split).items())
    return {
        "n": len(one.pictures),
        "of": one.of,
        "splits": splits,
        "spec": one.spec,
        "own": one.own,
        "run": part.labels[one.run.name],
        "judged": predictions_label(part, part.predictions[0].run),
        "pictured": sum(digest in small for digest in one.pictures.digests),
        "few": len(part.classes) <= len(CLASS_COLOURS),
        "projections": [{"name": p.name, "x": p.x_label, "y": p.y_label} for p in one.projections],
        "starts": [digest_start(digest) for digest in one.pictures.digests],
        "words": [],
        "json": {
            "splits": splits,
            "sample": packed(samples + 1),
            "names": front_coded([one.pictures.ids[i] for i in aside]),
            "true": packed(one.pictures.true),
            "called": [packed(called + 1) for called in one.called],
            "places": [_placed(p) for p in one.projections],
            "pictured": packed(pictured),
            "pictures": [small[one.pictures.digests[i]] for i in extra],
            "colours": CLASS_COLOURS,
            "found": None,
        },
    }


def with_found(
    values: dict[str, Any] | None, found: Mapping[str, Sequence[str]]
) -> dict[str, Any] | None:
    """Add what was found of the pictures that are drawn.

    Parameters
    ----------
    values : dict or None
        What `map_values` gave.
    found : mapping of str to sequence of str
        See `found_pictures`.

    Returns
    -------
    values : dict or None
    """
    if values is None:
        return None
    starts = np.array(values["starts"], dtype=str)
    of, words = np.zeros(len(starts), np.int64), []
    for word, digests in found.items():
        there = np.isin(starts, np.array(digests, dtype=str))
        if there.any():
            words.append(word)
            of[there] = len(words)
    ranks = [GRAVITY.index(word) for word in words]
    told = {"words": words, "ranks": ranks, "of": packed(of)} if words else None
    return {**values, "words": words, "json": {**values["json"], "found": told}}


def _placed(one: Projection) -> dict[str, Any]:
    """Give the places of a projection in whole units, from corner to corner."""
    low = one.points.min(axis=0)
    span = np.maximum(np.ptp(one.points, axis=0), 1e-9)
    units = np.rint(_UNITS * (one.points - low) / span).astype(np.int64)
    return {"name": one.name, "x": packed(units[:, 0]), "y": packed(units[:, 1])}


def packed(values: np.ndarray) -> list[Any]:
    """Write whole numbers from 0 to 65,535 as bits a number and Base64, the low byte first.

    Parameters
    ----------
    values : ndarray of shape (n,), int

    Returns
    -------
    packed : [8 or 16, str]

    Examples
    --------
    >>> packed(np.array([1, 2])), packed(np.array([1, 256]))
    ([8, 'AQI='], [16, 'AQAAAQ=='])
    """
    bits = 8 if values.max(initial=0) < 256 else 16
    as_bytes = np.asarray(values).astype("<u1" if bits == 8 else "<u2").tobytes()
    return [bits, base64.b64encode(as_bytes).decode("ascii")]


def front_coded(names: Sequence[str]) -> dict[str, Any]:
    """Write names by how much of the one before they begin with, and their rest.

    Parameters
    ----------
    names : sequence of str
        Neighbours that begin alike cost least.

    Returns
    -------
    coded : dict
        "shared", packed, in UTF-16 units as a script counts letters; and "rest", a list of str.

    Examples
    --------
    >>> front_coded(["test/cat/1.png", "test/cat/2.png"])["rest"]
    ['test/cat/1.png', '2.png']
    """
    shared = [_alike(before, name) for before, name in pairwise(["", *names])]
    units = [
        len(name[:n].encode("utf-16-le", "surrogatepass")) // 2
        for name, n in zip(names, shared, strict=True)
    ]
    rest = [name[n:] for name, n in zip(names, shared, strict=True)]
    return {"shared": packed(np.array(units, np.int64)), "rest": rest}


def _alike(one: str, other: str) -> int:
    """Count the letters that two names begin with, both the same."""
    pairs = zip(one[:_LONGEST_PREFIX], other, strict=False)
    same = next((i for i, (a, b) in enumerate(pairs) if a != b), None)
    return min(len(one), len(other), _LONGEST_PREFIX) if same is None else same
