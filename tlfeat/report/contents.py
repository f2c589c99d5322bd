"""All that a page shows of the runs on one dataset, worked out before anything is drawn."""

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from tlfeat.errors import TlfeatError
from tlfeat.report.phrases import run_labels
from tlfeat.report.pictures import MISTAKES, choose_samples, confident_mistakes
from tlfeat.report.projection import Projection, choose_points, project, read_features
from tlfeat.runs.calibration import Calibration, calibrate
from tlfeat.runs.outcomes import Outcome, aligned, read_outcome
from tlfeat.runs.paired import Pair, compare_pairs
from tlfeat.runs.ranked import RankedRun
from tlfeat.runs.ranking import rank
from tlfeat.runs.record import HISTORY, Run

if TYPE_CHECKING:
    import pandas as pd

OTHER = "(another output)"  # a network may have outputs that are no class of the dataset


class Judged(NamedTuple):
    """What one run said of the pictures that are shown."""

    run: RankedRun
    predicted: np.ndarray  # (n_samples,), int
    confidence: np.ndarray  # (n_samples,), of the prediction: probability, or margin of scores
    is_probability: bool
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
    facts : Outcome or None
        Ids, digests and true classes of that split; None where no run's predictions are there.
    judged : list of Judged
        Of the runs whose predictions are there and of the same pictures.
    pairs : list of Pair
    chosen : ndarray of int
        Places of the samples whose predictions the page knows one by one.
    everywhere_wrong : ndarray of int
        Places of the samples that every run gets wrong.
    projections : list of Projection
    projected_run : Run or None
        Whose features are projected.
    points : ndarray of int
        Places of the samples that are projected.
    histories : dict of run name to DataFrame
    notes : list of str
        What could not be shown, and why.
    """

    ranked: list[RankedRun]
    labels: dict[str, str]
    split: str
    facts: Outcome | None = None
    judged: list[Judged] = field(default_factory=list)
    pairs: list[Pair] = field(default_factory=list)
    chosen: np.ndarray = field(default_factory=lambda: np.empty(0, int))
    everywhere_wrong: np.ndarray = field(default_factory=lambda: np.empty(0, int))
    projections: list[Projection] = field(default_factory=list)
    projected_run: RankedRun | None = None
    points: np.ndarray = field(default_factory=lambda: np.empty(0, int))
    histories: dict[str, "pd.DataFrame"] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)

    @property
    def classes(self) -> list[str]:
        """Names of the classes."""
        return list(self.ranked[0].dataset.classes)

    @property
    def outputs(self) -> list[str]:
        """Names of the columns of a confusion matrix."""
        wide = any(j.confusion.shape[1] > len(self.classes) for j in self.judged)
        return [*self.classes, OTHER] if wide else list(self.classes)

    def mistakes(self, number: int) -> np.ndarray:
        """Places of the most confident mistakes of a judged run."""
        assert self.facts is not None
        one = self.judged[number]
        return confident_mistakes(one.predicted != self.facts.true, one.confidence, MISTAKES)


def split_by_data(runs: Sequence[Run]) -> list[list[RankedRun]]:
    """Put runs together that can be compared: of one dataset and one split.

    Parameters
    ----------
    runs : sequence of Run
        The same run may be there twice.

    Returns
    -------
    parts : list of list of RankedRun
        In the order of their first runs, each best by validation first.
    """
    found: dict[tuple[str, str], dict[str, Run]] = {}
    for run in runs:
        key = run.dataset.fingerprint, run.split.fingerprint
        found.setdefault(key, {}).setdefault(run.id, run)
    return [rank(list(part.values())) for part in found.values()]


def gather(ranked: list[RankedRun], cache: Path | None, most_samples: int) -> Part:
    """Work out what a page shows of comparable runs.

    Parameters
    ----------
    ranked : list of RankedRun
        Best by validation first.
    cache : Path, optional
        The feature store, for the projection.
    most_samples : int
        Whose predictions the page may know one by one.

    Returns
    -------
    part : Part
    """
    notes: list[str] = []
    split = "test" if any("test" in run.metrics for run in ranked) else "validation"
    outcomes: list[tuple[RankedRun, Outcome]] = []
    judged: list[Judged] = []
    for run in ranked:
        try:
            read = read_outcome(run, split)
        except TlfeatError as error:
            notes.append(f"{run.name} is in the tables only: {error}")
            continue
        same = aligned([outcomes[0][1], read]) if outcomes else [read]
        if not len(read) or same is None:
            notes.append(f"{run.name} is in the tables only: its {split} pictures are others.")
            continue
        judged.append(_judge(run, same[-1], split))
        # Scores of all runs at once may be gigabytes; what is needed of them is kept above.
        same[-1] = replace(same[-1], scores=None)
        outcomes.append((run, same[-1]))
    labels, histories = run_labels(ranked), _histories(ranked)
    if not judged:
        return Part(ranked, labels, split, histories=histories, notes=notes)

    facts = outcomes[0][1]
    predicted = np.stack([one.predicted for one in judged])
    points = choose_points(len(facts))
    projections: list[Projection] = []
    projected: RankedRun | None = None
    found = None if cache is None else read_features(ranked, cache, list(facts.digests[points]))
    if found is None or len(points) < 3:
        notes.append("No projection: the feature store here has not the features of these runs.")
    else:
        projected, X = found
        projections = project(X)
    chosen = choose_samples(
        facts.true,
        predicted,
        np.stack([one.confidence for one in judged]),
        points.tolist() if projections else [],
        most_samples,
    )
    return Part(
        ranked,
        labels,
        split,
        facts,
        judged,
        compare_pairs([run.name for run, _ in outcomes], [one for _, one in outcomes])
        if split == "test"
        else [],
        chosen,
        np.flatnonzero(np.all([_right(one) == 0 for _, one in outcomes], axis=0)),
        projections,
        projected,
        points if projections else np.empty(0, int),
        histories,
        notes,
    )


def _right(outcome: Outcome) -> np.ndarray:
    """Give how much of a line is right of each picture: all or nothing, or a share of seeds."""
    return outcome.right if outcome.share is None else outcome.share


def judged_label(part: Part, run: RankedRun) -> str:
    """Name whose predictions are shown: of several seeds those of the first."""
    label = part.labels[run.name]
    return label if len(run.seeds) < 2 else f"{label}, seed {run.seeds[0].seed}"


def _judge(run: RankedRun, outcome: Outcome, split: str) -> Judged:
    assert outcome.scores is not None
    k = len(run.dataset.classes)
    scores = outcome.scores
    is_probability = run.gives_probabilities
    calibration = None
    if is_probability:
        confidence = scores.max(axis=1)
        held_out = None
        if split == "test" and "validation" in run.metrics:
            validation = read_outcome(run, "validation")
            if validation.scores is not None and len(validation):
                held_out = (validation.true, validation.scores)
        calibration = calibrate(outcome.true, scores, held_out)
    else:
        top = np.partition(scores, -2, axis=1)[:, -2:]
        confidence = top[:, 1] - top[:, 0]
    called = np.minimum(outcome.predicted, k)  # all that is no class is one column
    confusion = np.zeros((k, max(k, int(called.max()) + 1)), dtype=np.int64)
    np.add.at(confusion, (outcome.true, called), 1)
    return Judged(
        run, called, confidence.astype(np.float64), is_probability, calibration, confusion
    )


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
            outcome = read_outcome(run, split, scores=False)
        except TlfeatError:
            return []
        for identity, digest, true in zip(outcome.ids, outcome.digests, outcome.true, strict=True):
            by_digest.setdefault(digest, {})[identity] = classes[true]
    return [list(same.items()) for same in by_digest.values() if len(same) > 1]
