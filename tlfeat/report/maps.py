"""Where a linear run looked when it was surest of what is wrong: maps of its mistakes."""

from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, NamedTuple

import numpy as np
from PIL import Image

from tlfeat.errors import TlfeatError
from tlfeat.report.answers import cards
from tlfeat.report.contents import Part, predictions_label
from tlfeat.report.pictures import webp_uri

if TYPE_CHECKING:
    from tlfeat.data.dataset import Dataset
    from tlfeat.data.sources.base import Picture
    from tlfeat.deploy.explain import Explanation

MAPS: Final = 12  # mistakes of which there are maps
_SIDE: Final = 128  # pixels, of the picture and of the map beside it


class Maps(NamedTuple):
    """Maps of a run's most confident mistakes.

    Attributes
    ----------
    number : int
        Of the judged run.
    places : ndarray of shape (n,), int
        Of the mistakes.
    pictures : dict of str to str
        Digest to the picture beside its map, as a data URI.
    """

    number: int
    places: np.ndarray
    pictures: dict[str, str]


def mistake_maps(part: Part, dataset: "Dataset", cache: Path | None) -> Maps | None:
    """Map the most confident mistakes of the best run that has maps, and mistakes.

    Parameters
    ----------
    part : Part
    dataset : Dataset
        Where the pictures are read from.
    cache : Path, optional
        The feature store, which has the exported network.

    Returns
    -------
    maps : Maps or None
        Of the class that each was taken for; None where that would take more than a moment,
        as the network is not exported, or pictures, weights or the head are gone.
    """
    from tlfeat.deploy.explain import explain, is_at_hand, why_no_maps

    if part.facts is None or cache is None:
        return None
    number = next(
        (
            number
            for number, one in enumerate(part.predictions)
            if not one.run.is_finetune
            and why_no_maps(one.run) is None
            and len(part.mistakes(number))
        ),
        None,
    )
    if number is None:
        return None
    run = part.predictions[number].run
    by_digest = {sample.digest: sample for sample in dataset.samples}
    pictures: dict[str, Picture] = {}
    places = part.mistakes(number)[:MAPS]
    for digest in part.facts.digests[places]:
        with suppress(OSError, KeyError):  # it is gone: the page says so of all pictures
            pictures[digest] = dataset.read(by_digest[digest])
    try:
        if not pictures or not is_at_hand(run, cache):
            return None
        # one thread, beside the one that draws the figures
        found = list(explain(run, pictures.values(), engine="openvino", cache=cache, jobs=1))
    except TlfeatError:  # weights or the head are gone: the page is whole without
        return None
    uris = {
        digest: webp_uri(_beside(one), quality=72)
        for digest, one in zip(pictures, found, strict=True)
        if one.label is not None
    }
    there = [place for place in places if part.facts.digests[place] in uris]
    return Maps(number, np.array(there), uris) if there else None


def map_section(part: Part, maps: Maps | None) -> dict[str, Any] | None:
    """Give what the template shows of maps."""
    if maps is None:
        return None
    run = part.predictions[maps.number].run
    return {
        "run": predictions_label(part, run),
        "cards": cards(part, maps.places, maps.pictures, maps.number),
    }


def _beside(one: "Explanation") -> Image.Image:
    from tlfeat.deploy.explain import draw_explanation

    return draw_explanation(one).resize((2 * _SIDE, _SIDE), Image.Resampling.LANCZOS)
