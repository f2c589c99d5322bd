"""What an audit says in words and tables, for the terminal and for its page."""

from typing import Final

from tlfeat.audit.audit import Audit
from tlfeat.audit.findings import LABEL, ORDER, PAIRS
from tlfeat.audit.leaks import Cost
from tlfeat.data.names import TEST, TRAIN, VALIDATION, be, counted
from tlfeat.runs.results import Column

MEANING: Final = {
    "same bytes": "two samples are one file",
    "same pixels": "two files are one picture",
    "near-duplicate": "one picture: re-encoded, resized, cut or mirrored",
    "same scene": "the next frame, or so alike that it may be",
    "label": "the other pictures say another class",
    "blank": "nothing is to be seen",
    "tiny": "a quarter of the usual size, or less",
    "blurred": "far less sharp than the others",
    "odd shape": "2.5 times as wide or as high as usual",
    "outlier": "far from all other pictures",
}


def headlines(audit: Audit) -> list[str]:
    """Say what a reader must know before a number on this dataset is believed.

    Parameters
    ----------
    audit : Audit

    Returns
    -------
    sentences : list of str
        The first says what was looked at.
    """
    data = audit.dataset
    said = [
        f"{data.name}: {counted(len(data), 'picture')}, {counted(len(data.classes), 'class')}."
    ]
    graver = [
        *_leaks(audit),
        *_scenes(audit),
        *_conflicts(audit),
        *_doubts(audit),
        *_shortcut(audit),
    ]
    return said + graver


def _leaks(audit: Audit) -> list[str]:
    said = []
    counts = {split: sum(by_class.values()) for split, by_class in audit.dataset.counts().items()}
    for held, learned in ((TEST, TRAIN), (TEST, VALIDATION), (VALIDATION, TRAIN)):
        n = len(audit.leaked(held, learned))
        if n:
            what = "test" if held == TEST else "choices on validation"
            said.append(
                f"{n:,} of {counts[held]:,} {held} pictures {be(n)} in {learned} too, as they are "
                f"or changed: {what} {be(1 if held == TEST else 2, 'is', 'are')} too good by them."
            )
    return said


def _scenes(audit: Audit) -> list[str]:
    said = []
    n = len({one.id for one in audit.leaked(TEST, TRAIN, (*PAIRS,))} - _ids(audit))
    if n:
        said.append(
            f"{counted(n, 'more test picture')} {be(n, 'is', 'are')} of a scene that is in train."
        )
    scenes = audit.scenes
    if scenes is not None and scenes.matters:
        said.append(
            f"{scenes.pictures:,} pictures come in {scenes.n:,} scenes. Where folds part them, "
            f"lda has {100 * scenes.parted:.1f}% right out of fold, where not "
            f"{100 * scenes.together:.1f}%: what is chosen or judged on folds is too good by "
            f"{100 * (scenes.parted - scenes.together):.1f} points."
        )
    return said


def _ids(audit: Audit) -> set[str]:
    return {one.id for one in audit.leaked(TEST, TRAIN)}


def _conflicts(audit: Audit) -> list[str]:
    n = len(audit.conflicts)
    if not n:
        return []
    one = next(iter(audit.conflicts))
    return [
        f"{counted(n, 'pair')} of one picture {be(n, 'stands', 'stand')} under two labels, such "
        f"as {one.id} ({one.label}) and {one.other} ({one.other_label})."
    ]


def _doubts(audit: Audit) -> list[str]:
    n = len(audit.of(LABEL))
    if not n:
        return []
    return [
        f"{counted(n, 'label')} {be(n)} in doubt: the other pictures say another class, by a head "
        f"that has {100 * audit.judge:.1f}% right."
    ]


def _shortcut(audit: Audit) -> list[str]:
    found = audit.shortcut
    if found is None or not (found.is_far_above_chance or found.told):
        return []
    best = max(found.alone, key=lambda name: found.alone[name])
    said = (
        f"Size, shape and light alone tell {100 * found.right:.1f}% of the classes (chance "
        f"{100 * found.chance:.1f}%), {best} by itself {100 * found.alone[best]:.1f}%: a network "
        "may learn the camera instead of the thing."
    )
    if not found.is_far_above_chance:
        names = ", ".join(
            f"{audit.dataset.classes[label]} ({100 * share:.0f}%)" for label, share in found.told
        )
        said = f"Size, shape and light alone tell some classes far above chance: {names}."
    return [said]


def finding_columns(audit: Audit) -> list[Column]:
    """Count what was found, a row a kind."""
    kinds = [kind for kind in ORDER if audit.of(kind)]
    rows = [audit.of(kind) for kind in kinds]

    def across(kind: str) -> str:
        return f"{sum(one.is_across for one in audit.of(kind)):,}" if kind in PAIRS else "-"

    return [
        Column("found", kinds, is_number=False),
        Column("times", [f"{len(found):,}" for found in rows]),
        Column("across splits", [across(kind) for kind in kinds], drop=1),
        Column("which is", [MEANING[kind] for kind in kinds], is_number=False, drop=2),
        Column("such as", [found[0].id for found in rows], is_number=False, drop=3),
    ]


def cost_columns(audit: Audit) -> list[Column]:
    """Say what leaks cost each run on test."""
    costs = audit.costs
    return [
        Column("run", [one.run for one in costs], is_number=False),
        Column("test %", [_percent(one.right) for one in costs]),
        Column("95%", [_ends(one.interval) for one in costs], drop=1),
        Column("leaked", [f"{one.leaked:,} of {one.n:,}" for one in costs]),
        Column("without %", [_percent(one.without) for one in costs]),
        Column("95%", [_ends(one.interval_without) for one in costs], drop=1),
        Column("points", [_difference(one) for one in costs]),
    ]


def _percent(share: float) -> str:
    return "-" if share != share else f"{100 * share:.1f}"


def _ends(ends: tuple[float, float]) -> str:
    return "-" if ends[0] != ends[0] else f"{100 * ends[0]:.1f}-{100 * ends[1]:.1f}"


def _difference(cost: Cost) -> str:
    points = 100 * (cost.without - cost.right)
    return "-" if points != points else f"{points + 0.0:+.1f}".replace("-0.0", "+0.0")


def how_told(audit: Audit) -> list[str]:
    """Say how findings were told apart from what is usual, with the numbers of this set."""
    return [
        "Pairs: each picture's ten nearest by features, confirmed by small pictures: in grey laid "
        "on each other, whole, cut and mirrored; in colour patch by patch. Each likeness is "
        "counted in deviations of pairs of one class, and the three are added. From "
        f"{audit.line:.1f} a pair is one picture: pictures of different classes come there once "
        f"in twenty sets of this size. From {audit.scene_line:.1f}, by features of a grid, two "
        "pictures of one class are of one scene: strangers are tied so once in a thousand.",
        "Labels: a logistic head that has not seen the scene; confident learning (Northcutt "
        "2021). A hard class has doubts too: they are to be looked at, not believed.",
        "Odd pictures: beyond four deviations of the set, by its median and quartiles, or by the "
        "factors that are named.",
        "Size, shape and light: an RBF SVM on area, width by height, mean and deviation of grey, "
        "and mean grey of the border, out of fold; far above chance is a quarter of the way from "
        "chance to all right.",
    ]
