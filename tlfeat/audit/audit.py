"""Look a dataset over: copies, leaks, labels, odd pictures, shortcuts, and what they cost.

Everything is told from features that the store has, and from the pictures themselves, which are
read once; no network runs a second time, and nothing of the pictures is changed.
"""

from collections import defaultdict
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Final, NamedTuple, Unpack

import numpy as np
import numpy.typing as npt

from tlfeat.audit.alike import joined
from tlfeat.audit.findings import (
    ALIKE,
    BYTES,
    LABEL,
    NEAR,
    PIXELS,
    SCENE,
    Finding,
    in_order,
)
from tlfeat.audit.labels import doubt_labels
from tlfeat.audit.leaks import Cost, count_costs
from tlfeat.audit.lines import Lines
from tlfeat.audit.odd import BLANK, BLURRED, OUTLIER, SHAPE, TINY, Odd, find_odd
from tlfeat.audit.pictures import Pictures
from tlfeat.audit.scenes import Scenes, weigh_scenes
from tlfeat.audit.shortcut import Shortcut, find_shortcut
from tlfeat.backbones.table import DEFAULT_BACKBONE
from tlfeat.cores import usable_cores
from tlfeat.data.dataset import Dataset, as_dataset
from tlfeat.data.names import TRAIN
from tlfeat.data.samples import Sample
from tlfeat.errors import HeadError
from tlfeat.features.calibrate import calibrated
from tlfeat.features.settings import FeatureSettings, OtherOptions, read_options
from tlfeat.heads.fit import score_out_of_fold
from tlfeat.runs.record import comparable_runs
from tlfeat.settings import explained
from tlfeat.where import Where

_FEWER: Final = 0.98  # as many scenes as pictures, below which it is weighed what they tell
HEAD: Final = "logistic"  # whose out-of-fold probabilities say which labels are doubted


@dataclass(frozen=True)
class Audit:
    """What `audit_dataset` finds.

    Attributes
    ----------
    dataset : Dataset
    findings : tuple of Finding
        The gravest kinds first, and in each kind the surest.
    groups : dict of str to str
        Digest of each picture to the name of what it cannot be parted from: pictures that are one,
        or of one scene, directly or in a chain, and groups that the dataset tells, share a name.
    lines, scene_lines : Lines
        From how many deviations two pictures count as one, by `lines.copies`, and as of one scene,
        by `scene_lines.scenes`.
    judge : float or None
        Share that the head has right out of fold whose doubts of labels are told; None where
        labels were not judged.
    scenes : Scenes or None
        What it tells that scenes are parted; None where it was not weighed.
    shortcut : Shortcut or None
        None where there is nothing to tell apart.
    costs : tuple of Cost
        Of each run of the study.
    notes : tuple of str
        What could not be looked at, and why.
    """

    dataset: Dataset
    findings: tuple[Finding, ...]
    groups: dict[str, str]
    lines: Lines
    scene_lines: Lines
    judge: float | None
    scenes: Scenes | None
    shortcut: Shortcut | None
    costs: tuple[Cost, ...]
    notes: tuple[str, ...]

    def of(self, *kinds: str) -> list[Finding]:
        """Give the findings of some kinds."""
        return [one for one in self.findings if one.finding in kinds]

    @property
    def leaks(self) -> list[Finding]:
        """Pairs that are one picture and lie in different splits."""
        return [one for one in self.of(*ALIKE) if one.is_across]

    def together(self, *kinds: str) -> list[list[Sample]]:
        """Give the samples that hang together by pairs of some kinds, two or more each."""
        pairs = [one for one in self.of(*kinds) if one.is_pair]
        digests = sorted({digest for one in pairs for digest in (one.digest, one.other_digest)})
        place = {digest: i for i, digest in enumerate(digests)}
        edges = [(place[one.digest], place[one.other_digest]) for one in pairs]
        number = joined(len(digests), np.array(edges, np.int64).reshape(-1, 2))
        found: dict[int, list[Sample]] = defaultdict(list)
        for sample in self.dataset.samples:
            if sample.digest in place:
                found[int(number[place[sample.digest]])].append(sample)
        return [samples for samples in found.values() if len(samples) > 1]

    def leaked(
        self, split: str, learned: str = TRAIN, kinds: Sequence[str] = ALIKE
    ) -> list[Sample]:
        """Give the samples of a split that hang together with one of another split."""
        return [
            sample
            for same in self.together(*kinds)
            if any(one.split == learned for one in same)
            for sample in same
            if sample.split == split
        ]

    @property
    def conflicts(self) -> list[Finding]:
        """Pairs whose pictures have different labels."""
        return [one for one in self.findings if one.is_conflict]


@explained(FeatureSettings, Where)
def audit_dataset(
    dataset: Dataset | str | Path,
    backbone: str | FeatureSettings = DEFAULT_BACKBONE,
    **options: Unpack[OtherOptions],
) -> Audit:
    """Find what is wrong with a dataset, and what it costs.

    Parameters
    ----------
    dataset : Dataset, str or Path
        What `open_dataset` gives, or takes.
    backbone : str or FeatureSettings
        A name of `list_backbones`, or all settings in one.
    **options
        weights, size, resize, precision, dtype, seed: see `FeatureSettings`.
        cache, reports, name, engine, jobs, watch: see `Where`; runs of the study of that name
        are told with what leaks cost them.

    Returns
    -------
    audit : Audit

    Raises
    ------
    TlfeatError
        If the dataset, backbone, weights, features or store cannot be used, or a picture cannot
        be read any more.

    Examples
    --------
    >>> audit = tlfeat.audit_dataset("garments")  # doctest: +SKIP
    >>> len(audit.leaks), len(audit.findings)  # doctest: +SKIP
    """
    settings, where = read_options(backbone, options)
    dataset = as_dataset(dataset, where)
    pictures = Pictures.read(dataset, calibrated(settings, dataset, where), where)
    numbers = pictures.looks.numbers()
    where.watch.doing("comparing pictures with each other")
    pictures.compare()
    pixels = pictures.same_pixels
    one = pictures.one_of_row(pixels, pictures.copies.pairs)
    scenes = pictures.with_groups(
        pictures.one_of_row(pixels, pictures.copies.pairs, pictures.scenes.pairs)
    )
    findings = [*_copies(pictures), *_same_pixels(pictures, pixels)]
    findings += [*_near(pictures, pixels), *_scenes(pictures)]
    findings += _odd(pictures, find_odd(numbers, pictures.whole.nearest))
    judged = _judge(pictures, numbers, scenes, where)
    digests = pictures.features.digests
    costs = count_costs(
        comparable_runs(where.study_folder(dataset), dataset),
        dict(zip(digests, one.tolist(), strict=True)),
        dict(zip(digests, pictures.with_groups(one).tolist(), strict=True)),
    )
    return Audit(
        dataset,
        in_order([*findings, *judged.doubts]),
        dict(zip(digests, map(str, scenes), strict=True)),
        pictures.whole.lines,
        pictures.laid_out.lines,
        judged.right,
        judged.scenes,
        judged.shortcut,
        tuple(costs),
        judged.notes,
    )


def quick_audit(pictures: Pictures, where: Where) -> Audit:
    """Find what can be told at next to no cost: copies, leaks, scenes.

    Parameters
    ----------
    pictures : Pictures
    where : Where

    Returns
    -------
    audit : Audit
        Pixels, labels, odd pictures, shortcuts and runs are not looked at.
    """
    pictures.compare()
    features = pictures.features
    copies, alike = pictures.copies.pairs, pictures.scenes.pairs
    scenes = pictures.with_groups(pictures.one_of_row(copies, alike))
    weighed = None
    if len(np.unique(scenes)) < _FEWER * len(np.unique(features.groups)):
        with suppress(HeadError):
            weighed = _weigh(pictures, scenes, where.jobs or usable_cores())
    none = np.zeros((0, 2), np.int64)
    return Audit(
        pictures.dataset,
        in_order([*_copies(pictures), *_near(pictures, none), *_scenes(pictures)]),
        dict(zip(features.digests, map(str, scenes), strict=True)),
        pictures.whole.lines,
        pictures.laid_out.lines,
        None,
        weighed,
        None,
        (),
        (),
    )


class _Judged(NamedTuple):
    """What heads say of a dataset."""

    doubts: list[Finding]
    right: float | None  # of the head whose doubts they are, out of fold
    scenes: Scenes | None
    shortcut: Shortcut | None
    notes: tuple[str, ...]


def _judge(
    pictures: Pictures,
    numbers: Mapping[str, npt.NDArray[np.float64]],
    scenes: npt.NDArray[np.int64],
    where: Where,
) -> _Judged:
    """Train heads whose held rows tell what is wrong; none is kept."""
    watch, jobs, seed = where.watch, where.jobs or usable_cores(), pictures.seed
    rows = np.flatnonzero(pictures.features.y >= 0)
    y, picture = pictures.features.y[rows], pictures.picture[rows]
    classes = pictures.dataset.classes
    judged = _judgeable(y, scenes[rows], len(classes))
    notes = [
        f"{classes[label]} was not judged: all its pictures are of one scene or group."
        for label in np.flatnonzero(~judged)
    ]
    try:
        watch.doing("judging labels by the other pictures")
        doubts, right = _doubts(pictures, rows, scenes, judged, jobs)
        watch.doing("weighing scenes")
        weighed = _weigh(pictures, scenes, jobs)
        watch.doing("looking for what tells classes without looking")
        mine = {name: values[picture] for name, values in numbers.items()}
        shortcut = find_shortcut(mine, y, scenes[rows], len(classes), seed=seed, jobs=jobs)
    except HeadError as error:
        return _Judged([], None, None, None, (f"Labels were not judged: {error}",))
    finally:
        watch.finish()
    return _Judged(doubts, right, weighed, shortcut, tuple(notes))


def _judgeable(
    y: npt.NDArray[np.int64], scenes: npt.NDArray[np.int64], n_classes: int
) -> npt.NDArray[np.bool_]:
    """Say which classes a head knows of whatever scene is held out: those of two or more."""
    pairs = np.unique(np.column_stack([y, scenes]), axis=0)
    judged: npt.NDArray[np.bool_] = np.bincount(pairs[:, 0], minlength=n_classes) > 1
    return judged


def _weigh(pictures: Pictures, scenes: npt.NDArray[np.int64], jobs: int) -> Scenes:
    """Weigh scenes on the classes that are judged."""
    y, n_classes = pictures.features.y, len(pictures.dataset.classes)
    rows = np.flatnonzero(y >= 0)
    rows = rows[_judgeable(y[rows], scenes[rows], n_classes)[y[rows]]]
    return weigh_scenes(
        pictures.features.X[rows],
        y[rows],
        pictures.features.groups[rows],
        scenes[rows],
        n_classes,
        seed=pictures.seed,
        jobs=jobs,
    )


def _copies(pictures: Pictures) -> list[Finding]:
    """Give the samples that are one file's bytes, each with the first of them."""
    rows = np.arange(len(pictures.picture))
    first = pictures.first[pictures.picture]
    return [pictures.pair(BYTES, (first[row], row)) for row in rows[first != rows]]


def _same_pixels(pictures: Pictures, pairs: npt.NDArray[np.int64]) -> list[Finding]:
    return [pictures.pair(PIXELS, pictures.first[pair]) for pair in pairs]


def _near(pictures: Pictures, known: npt.NDArray[np.int64]) -> list[Finding]:
    """Give the pairs of pictures that are one, but for those that are known to be the same."""
    copies, same = pictures.copies, joined(len(pictures.first), known)
    found = []
    for i, (one, other) in enumerate(copies.pairs.tolist()):
        if same[one] == same[other]:
            continue
        note = f"features {copies.cosine[i]:.2f}, grey {copies.likeness[i]:.2f}"
        note += ", mirrored" if copies.mirrored[i] else ""
        rows = pictures.first[[one, other]]
        found.append(pictures.pair(NEAR, rows, float(copies.score[i]), note))
    return found


def _scenes(pictures: Pictures) -> list[Finding]:
    """Give the pairs of pictures of one scene, but for those that are one picture."""
    known = set(map(tuple, pictures.copies.pairs.tolist()))
    scenes = pictures.scenes
    return [
        pictures.pair(
            SCENE,
            pictures.first[list(pair)],
            float(scenes.score[i]),
            f"features {scenes.cosine[i]:.2f}, grey {scenes.likeness[i]:.2f}",
        )
        for i, pair in enumerate(map(tuple, scenes.pairs.tolist()))
        if pair not in known
    ]


def _odd(pictures: Pictures, odd: Sequence[Odd]) -> list[Finding]:
    words = {
        BLANK: "grey deviates by {0:.1f} of 255",
        TINY: "{0:.0f} pixels, usually {1:.0f}",
        SHAPE: "{0:.2f} times as wide as high, usually {1:.2f}",
        BLURRED: "sharpness {0:.2g}, usually {1:.2g}",
        OUTLIER: "cosine to its fifth neighbour {0:.2f}, usually {1:.2f}",
    }
    found = []
    for one in odd:
        note = words[one.kind].format(one.value, one.usual)
        said = pictures.said(int(pictures.first[one.picture]))
        found.append(Finding(one.kind, *said, score=one.value, note=note))
    return found


def _doubts(
    pictures: Pictures,
    rows: npt.NDArray[np.int64],
    scenes: npt.NDArray[np.int64],
    judged: npt.NDArray[np.bool_],
    jobs: int,
) -> tuple[list[Finding], float]:
    """Give the labels that are likely wrong, and how right the head is that says so."""
    features, classes = pictures.features, pictures.dataset.classes
    y = features.y[rows]
    held = score_out_of_fold(
        HEAD,
        features.X[rows],
        y,
        n_classes=len(classes),
        groups=scenes[rows],
        seed=pictures.seed,
        jobs=jobs,
    )
    found = []
    doubt = doubt_labels(held, y, judged)
    for row, label, likely, own in zip(*doubt, strict=True):
        said = pictures.said(int(rows[row]))
        note = f"looks like {classes[label]} ({likely:.2f}), not {said[3]} ({own:.2f})"
        found.append(Finding(LABEL, *said, score=float(likely - own), note=note))
    return found, float((held.argmax(axis=1) == y).mean())
