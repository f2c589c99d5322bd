"""Where a linear run looked when it was surest of what is wrong: maps of its mistakes."""

import base64
import io
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from PIL import Image

from tlfeat.errors import TlfeatError
from tlfeat.report.answers import sureness
from tlfeat.report.contents import Part, predictions_label

if TYPE_CHECKING:
    from tlfeat.data.dataset import Dataset
    from tlfeat.data.sources.base import Picture

MAPS: Final = 12  # mistakes of which there are maps
_SIDE: Final = 128  # pixels, of the picture and of the map beside it


@dataclass(frozen=True)
class Maps:
    """Maps of a run's most confident mistakes.

    Attributes
    ----------
    run : str
        What the page calls it; empty where no run has maps.
    uris : dict of int to str
        Place of a mistake to the picture beside its map, as a data URI.
    """

    run: str = ""
    uris: dict[int, str] = field(default_factory=dict)


def mistake_maps(part: Part, dataset: "Dataset", cache: Path | None) -> Maps:
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
    maps : Maps
        Of the class that each was taken for; none where that would take more than a moment,
        as the network is not exported, or pictures, weights or the head are gone.
    """
    from tlfeat.deploy.explain import drawn, explain, is_at_hand, why_no_maps

    if part.facts is None or cache is None:
        return Maps()
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
        return Maps()
    run = part.predictions[number].run
    by_digest = {sample.digest: sample for sample in dataset.samples}
    pictures: dict[int, Picture] = {}
    for place in part.mistakes(number)[:MAPS].tolist():
        sample = by_digest.get(part.facts.digests[place])
        with suppress(OSError):  # it is gone: the page says so of all pictures
            if sample is not None:
                pictures[place] = dataset.read(sample)
    try:
        if not pictures or not is_at_hand(run, cache):
            return Maps()
        # one thread, beside the one that draws the figures
        found = list(explain(run, pictures.values(), engine="openvino", cache=cache, jobs=1))
    except TlfeatError:  # weights or the head are gone: the page is whole without
        return Maps()
    uris = {
        place: _data_uri(drawn(one))
        for place, one in zip(pictures, found, strict=True)
        if one.label is not None
    }
    return Maps(predictions_label(part, run), uris) if uris else Maps()


def map_cards(part: Part, maps: Maps) -> dict[str, Any] | None:
    """Give what the template shows of maps: each with what the picture is and was called."""
    if part.facts is None or not maps.uris:
        return None
    judge = next(one for one in part.predictions if predictions_label(part, one.run) == maps.run)
    cards = [
        {
            "id": part.facts.ids[place],
            "true": part.classes[part.facts.true[place]],
            "picture": uri,
            "predicted": part.outputs[int(judge.predicted[place])],
            "sure": sureness(judge.confidence[place], judge.run.gives_probabilities),
        }
        for place, uri in maps.uris.items()
    ]
    return {"run": maps.run, "cards": cards}


def _data_uri(image: Image.Image) -> str:
    file = io.BytesIO()
    small = image.resize((2 * _SIDE, _SIDE), Image.Resampling.LANCZOS)
    small.save(file, "WEBP", quality=72, method=3)
    return "data:image/webp;base64," + base64.b64encode(file.getvalue()).decode("ascii")
