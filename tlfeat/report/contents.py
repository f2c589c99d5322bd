"""All that a page shows of the runs on one dataset, worked out before anything is drawn."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from tlfeat.errors import TlfeatError
from tlfeat.report.pictures import MISTAKES, choose_samples, confident_mistakes
from tlfeat.report.projection import PictureMap, map_pictures
from tlfeat.runs.calibration import Calibration, calibrate
from tlfeat.runs.labels import run_labels
from tlfeat.runs.paired import Pair, compare_pairs
from tlfeat.runs.predictions import SplitPredictions, aligned, read_predictions
from tlfeat.runs.ranked import RankedRun
from tlfeat.runs.ranking import rank
from tlfeat.runs.record import HISTORY, Run

if TYPE_CHECKING:
    import pandas as pd

MOST_CHOSEN = 24  # runs, the best, whose every prediction the page knows
OTHER = "(another output)"  # a network may have outputs that are no class of the dataset


class RunPredictions(NamedTuple):
    """What one run said of the pictures that are shown."""

    run: RankedRun
    predicted: np.ndarray  # (n_samples,), int
    confidence: np.ndarray  # (n_samples,), of the prediction: probability, or margin of scores
    calibration: Calibration | None
    confusion: np.ndarray  # (n_classes, n_outputs), int


@dataclass(frozen=True)
class Part:
    """The runs on one dataset and split, and what there is to show of them.

    Attributes
    ----------
    ranked : list of Run
        Best by validation first, no two of one name.
    labels : dict
        Run name to what tables call it.
    split : {"test", "validation"}
        What mistakes and confusion are of: test where there is one.
    facts : SplitPredictions or None
        Ids, digests and true classes of that split; None where no run's predictions are there.
    predictions : list of RunPredictions
        Of the runs whose predictions are there and of the same pictures.
    pairs : list of Pair
    chosen : ndarray of int
        Places of the samples whose predictions the page knows one by one.
    everywhere_wrong : ndarray of int
        Places of the samples that every run gets wrong.
    map : PictureMap or None
        Where pictures of all splits lie by their features; None where the store has none.
    histories : dict of run name to DataFrame
    notes : list of str
        What could not be shown, and why.
    """

    ranked: list[RankedRun]
    labels: dict[str, str]
    split: str
    facts: SplitPredictions | None = None
    predictions: list[RunPredictions] = field(default_factory=list)
    pairs: list[Pair] = field(default_factory=list)
    chosen: np.ndarray = field(default_factory=lambda: np.empty(0, int))
    everywhere_wrong: np.ndarray = field(default_factory=lambda: np.empty(0, int))
    map: PictureMap | None = None
    histories: dict[str, "pd.DataFrame"] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)

    @property
    def classes(self) -> list[str]:
        """Names of the classes."""
        return list(self.ranked[0].dataset.classes)

    @property
    def outputs(self) -> list[str]:
        """Names of the columns of a confusion matrix."""
        wide = any(one.confusion.shape[1] > len(self.classes) for one in self.predictions)
        return [*self.classes, OTHER] if wide else list(self.classes)

    def mistakes(self, number: int) -> np.ndarray:
        """Places of the most confident mistakes of a judged run."""
        assert self.facts is not None
        one = self.predictions[number]
        return confident_mistakes(one.predicted != self.facts.true, one.confidence, MISTAKES)


def split_by_data(runs: Sequence[Run], metric: str | None = None) -> list[list[RankedRun]]:
    """Put runs together that can be compared: of one dataset and one split.

    Parameters
    ----------
    runs : sequence of Run
        The same run may be there twice.
    metric : str, optional
        What ranks, see `rank`.

    Returns
    -------
    parts : list of list of RankedRun
        In the order of their first runs, each best by validation first.
    """
    found: dict[tuple[str, str], dict[str, Run]] = {}
    for run in runs:
        key = run.dataset.fingerprint, run.split.fingerprint
        found.setdefault(key, {}).setdefault(run.id, run)
    return [rank(list(part.values()), metric=metric) for part in found.values()]


def gather(
    ranked: list[RankedRun],
    cache: Path | None,
    most_samples: int,
    found: Callable[[], Mapping[str, Sequence[str]]] = dict,
) -> Part:
    """Work out what a page shows of comparable runs.

    Parameters
    ----------
    ranked : list of RankedRun
        Best by validation first.
    cache : Path, optional
        The feature store, for the map.
    most_samples : int
        Whose predictions the page may know one by one.
    found : callable, optional
        Gives what is known of single pictures, see `found_pictures`; may wait for it.

    Returns
    -------
    part : Part
    """
    split = "test" if any("test" in run.metrics for run in ranked) else "validation"
    by_run, by_picture, notes = _read_alike(ranked, split)
    part = Part(ranked, run_labels(ranked), split, histories=_histories(ranked), notes=notes)
    if not by_run:
        return part

    facts = by_picture[0]
    outputs = max(one.confusion.shape[1] for one in by_run)
    judged = [one.run for one in by_run[:MOST_CHOSEN]]
    laid_out = None if cache is None else map_pictures(judged, outputs, cache, found)
    if laid_out is None:
        notes.append("No map: the feature store here has not the features of these runs.")
    chosen = choose_samples(
        facts.true,
        np.stack([one.predicted for one in by_run]),
        np.stack([one.confidence for one in by_run]),
        most_samples,
    )
    names, correct = [one.run.name for one in by_run], [one.share_correct for one in by_picture]
    return replace(
        part,
        facts=facts,
        predictions=by_run,
        pairs=compare_pairs(names, by_picture) if split == "test" else [],
        chosen=chosen,
        everywhere_wrong=np.flatnonzero(np.all(np.equal(correct, 0), axis=0)),
        map=laid_out,
    )


def _read_alike(
    ranked: Sequence[RankedRun], split: str
) -> tuple[list[RunPredictions], list[SplitPredictions], list[str]]:
    """Read the predictions of the runs that have them on the same pictures; say of which not."""
    by_run: list[RunPredictions] = []
    by_picture: list[SplitPredictions] = []
    notes: list[str] = []
    for run in ranked:
        try:
            predictions = read_predictions(run, split)
        except TlfeatError as error:
            notes.append(f"{run.name} is in the tables only: {error}")
            continue
        same = aligned([*by_picture[:1], predictions])
        if not len(predictions) or same is None:
            notes.append(f"{run.name} is in the tables only: its {split} pictures are others.")
            continue
        by_run.append(_summarise(run, same[-1], split))
        # Scores of all runs at once may be gigabytes; what is needed of them is kept above.
        by_picture.append(replace(same[-1], scores=None))
    return by_run, by_picture, notes


def predictions_label(part: Part, run: RankedRun) -> str:
    """Name whose predictions are shown: of several seeds those of the first."""
    label = part.labels[run.name]
    return label if len(run.seeds) < 2 else f"{label}, seed {run.seeds[0].seed}"


def _summarise(run: RankedRun, predictions: SplitPredictions, split: str) -> RunPredictions:
    scores, k = predictions.scores, len(run.dataset.classes)
    assert scores is not None
    if run.gives_probabilities:
        confidence = scores.max(axis=1)
        used = None if run.is_finetune else run.head_settings.temperature
        held = _held_out(run, split) if used is None else None
        calibration = calibrate(predictions.true, scores, held, used=used)
    else:
        top = np.partition(scores, -2, axis=1)[:, -2:]
        confidence, calibration = top[:, 1] - top[:, 0], None
    predicted = np.minimum(predictions.predicted, k)  # all that is no class is one column
    confusion = np.zeros((k, max(k, int(predicted.max()) + 1)), dtype=np.int64)
    np.add.at(confusion, (predictions.true, predicted), 1)
    return RunPredictions(run, predicted, confidence.astype(np.float64), calibration, confusion)


def _held_out(run: RankedRun, split: str) -> tuple[np.ndarray, np.ndarray] | None:
    """Give the validation predictions that a temperature for the test split is fitted on."""
    if split != "test" or "validation" not in run.metrics:
        return None
    validation = read_predictions(run, "validation")
    if validation.scores is None or not len(validation):
        return None
    return validation.true, validation.scores


def _histories(runs: Sequence[Run]) -> dict[str, "pd.DataFrame"]:
    found = {}
    for run in runs:
        path = run.path / HISTORY
        if path.exists():
            import pandas as pd

            table = pd.read_csv(path)
            if len(table):
                found[run.name] = table
    return found


def duplicates(run: Run) -> list[list[tuple[str, str]]]:
    """Give the pictures of a dataset that are there more than once.

    Parameters
    ----------
    run : Run
        Any run on the dataset; its predictions name every picture.

    Returns
    -------
    sets : list of list of (id, class)
        Empty where the predictions are gone.
    """
    classes = run.dataset.classes
    by_digest: dict[str, dict[str, str]] = {}
    for split in run.metrics:
        try:
            predictions = read_predictions(run, split, scores=False)
        except TlfeatError:
            return []
        for identity, digest, true in zip(
            predictions.ids, predictions.digests, predictions.true, strict=True
        ):
            by_digest.setdefault(digest, {})[identity] = classes[true]
    return [list(same.items()) for same in by_digest.values() if len(same) > 1]
