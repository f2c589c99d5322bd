"""Look a dataset over: copies, leaks, labels, odd pictures, shortcuts, and what they cost.

Everything is told from features that the store has, and from the pictures themselves, which are
decoded once; no network runs a second time, and nothing of the pictures is changed.
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
from tlfeat.features.settings import FeatureSettings, OtherOptions, read_options
from tlfeat.heads.fit import fit_head
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
    line, scene_line : float
        From how many deviations two pictures count as one, and as of one scene; see `find_alike`.
    judge : float
        Share that the head has right out of fold whose doubts of labels are told.
    scenes : Scenes or None
        What it tells that scenes are parted; None where labels were not judged.
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
    line: float
    scene_line: float
    judge: float
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
    """
    settings, where = read_options(backbone, options)
    dataset = as_dataset(dataset, where)
    pictures = Pictures.read(dataset, settings, where)
    numbers = pictures.looks.numbers()
    where.watch.doing("comparing pictures with each other")
    findings = [*_copies(pictures), *_near(pictures, pictures.looks.pixels()), *_scenes(pictures)]
    findings += _odd(pictures, find_odd(numbers, pictures.whole.nearest))
    judged = _judge(pictures, numbers, where)
    features = pictures.features
    groups = dict(zip(features.digests, map(str, pictures.group_of_row), strict=True))
    runs = comparable_runs(where.study_folder(dataset), dataset)
    return Audit(
        dataset,
        in_order([*findings, *judged.doubts]),
        dict(zip(features.digests, map(str, pictures.scene_of_row), strict=True)),
        pictures.whole.line,
        pictures.laid_out.scene_line,
        judged.right,
        judged.scenes,
        judged.shortcut,
        tuple(count_costs(runs, groups)),
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
    features = pictures.features
    groups = pictures.scene_of_row
    rows = np.flatnonzero(features.y >= 0)
    weighed = None
    if len(np.unique(groups)) < _FEWER * len(np.unique(features.groups)):
        with suppress(HeadError):
            weighed = _weigh(pictures, rows, where.jobs or usable_cores())
    return Audit(
        pictures.dataset,
        in_order([*_copies(pictures), *_near(pictures, None), *_scenes(pictures)]),
        dict(zip(features.digests, map(str, groups), strict=True)),
        pictures.whole.line,
        pictures.laid_out.scene_line,
        0.0,
        weighed,
        None,
        (),
        (),
    )


class _Judged(NamedTuple):
    """What heads say of a dataset."""

    doubts: list[Finding]
    right: float  # of the head whose doubts they are, out of fold
    scenes: Scenes | None
    shortcut: Shortcut | None
    notes: tuple[str, ...]


def _judge(
    pictures: Pictures, numbers: Mapping[str, npt.NDArray[np.float64]], where: Where
) -> _Judged:
    """Train heads whose held rows tell what is wrong; none is kept."""
    watch, jobs, seed = where.watch, where.jobs or usable_cores(), pictures.seed
    rows = np.flatnonzero(pictures.features.y >= 0)
    y, scenes = pictures.features.y[rows], pictures.scene_of_row[rows]
    picture, n_classes = pictures.picture[rows], len(pictures.dataset.classes)
    try:
        watch.doing("judging labels by the other pictures")
        doubts, right = _doubts(pictures, rows, jobs)
        watch.doing("weighing scenes")
        weighed = _weigh(pictures, rows, jobs)
        watch.doing("looking for what tells classes without looking")
        mine = {name: values[picture] for name, values in numbers.items()}
        shortcut = find_shortcut(mine, y, scenes, n_classes, seed=seed, jobs=jobs)
    except HeadError as error:
        return _Judged([], 0.0, None, None, (f"Labels were not judged: {error}",))
    finally:
        watch.finish()
    return _Judged(doubts, right, weighed, shortcut, ())


def _weigh(pictures: Pictures, rows: npt.NDArray[np.int64], jobs: int) -> Scenes:
    return weigh_scenes(
        pictures.features.X[rows],
        pictures.features.y[rows],
        pictures.features.groups[rows],
        pictures.scene_of_row[rows],
        len(pictures.dataset.classes),
        seed=pictures.seed,
        jobs=jobs,
    )


def _copies(pictures: Pictures) -> list[Finding]:
    """Give the samples that are one file's bytes, each with the first of them."""
    rows = np.arange(len(pictures.picture))
    first = pictures.first[pictures.picture]
    return [pictures.pair(BYTES, (first[row], row)) for row in rows[first != rows]]


def _near(pictures: Pictures, pixels: Sequence[str] | None) -> list[Finding]:
    """Give the pairs of pictures that are one, those of the same pixels where these are known."""
    copies = pictures.copies
    found = []
    for i, (one, other) in enumerate(copies.pairs.tolist()):
        rows = pictures.first[[one, other]]
        if pixels is not None and pixels[one] == pixels[other]:
            found.append(pictures.pair(PIXELS, rows))
            continue
        note = f"features {copies.cosine[i]:.2f}, grey {copies.likeness[i]:.2f}"
        note += ", mirrored" if copies.mirrored[i] else ""
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
    pictures: Pictures, rows: npt.NDArray[np.int64], jobs: int
) -> tuple[list[Finding], float]:
    """Give the labels that are likely wrong, and how right the head is that says so."""
    features, classes = pictures.features, pictures.dataset.classes
    y = features.y[rows]
    fitted = fit_head(
        HEAD,
        features.X[rows],
        y,
        n_classes=len(classes),
        groups=pictures.scene_of_row[rows],
        seed=pictures.seed,
        jobs=jobs,
    )
    found = []
    for row, label, likely, own in zip(*doubt_labels(fitted.held_scores, y), strict=True):
        said = pictures.said(int(rows[row]))
        note = f"looks like {classes[label]} ({likely:.2f}), not {said[3]} ({own:.2f})"
        found.append(Finding(LABEL, *said, score=float(likely - own), note=note))
    return found, float((fitted.held_scores.argmax(axis=1) == y).mean())
