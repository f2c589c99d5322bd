"""What an audit says in words and tables, for the terminal and for its page."""

from typing import Any, Final

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


_SO: Final = {
    (TEST, TRAIN): "test is too good by them",
    (TEST, VALIDATION): "settings and ranks were chosen on them",
    (VALIDATION, TRAIN): "what validation chooses and ranks is too good by them",
}


def _leaks(audit: Audit) -> list[str]:
    said = []
    counts = {split: sum(by_class.values()) for split, by_class in audit.dataset.counts().items()}
    for (held, learned), so in _SO.items():
        n = len(audit.leaked(held, learned))
        if n:
            said.append(
                f"{n:,} of {counts[held]:,} {held} pictures {be(n)} in {learned} too, as they are "
                f"or changed: {so}."
            )
    return said


def _scenes(audit: Audit) -> list[str]:
    said = []
    copies = _ids(audit)
    n = len({one.id for one in audit.leaked(TEST, TRAIN, (*PAIRS,))} - copies)
    if n:
        what = "more test picture" if copies else "test picture"
        said.append(f"{counted(n, what)} {be(n, 'is', 'are')} of a scene that is in train.")
    scenes = audit.scenes
    if scenes is not None and scenes.matters:
        said.append(
            f"{scenes.pictures:,} pictures come in {scenes.n:,} scenes. Where folds part them, "
            f"lda has {100 * scenes.parted:.1f}% right out of fold, where not "
            f"{100 * scenes.together:.1f}%: what is chosen or judged on folds is too good by "
            f"{100 * (scenes.parted - scenes.together):.1f} points. --groups auto keeps scenes "
            "together."
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
    if not n or audit.judge is None:
        return []
    return [
        f"{counted(n, 'label')} {be(n)} in doubt: the other pictures say another class, by a head "
        f"that has {100 * audit.judge:.1f}% right."
    ]


def _shortcut(audit: Audit) -> list[str]:
    found = audit.shortcut
    if found is None or not (found.is_far_above_chance or found.told):
        return []
    if found.is_far_above_chance:
        best = max(found.alone, key=lambda name: found.alone[name])
        return [
            f"Size, shape and light alone have {100 * found.right:.1f}% right (the commonest "
            f"class is {100 * found.chance:.1f}%), {best} by itself "
            f"{100 * found.alone[best]:.1f}%: a network may learn the camera instead of the thing."
        ]
    classes = audit.dataset.classes
    names = ", ".join(
        f"{classes[label]} ({100 * hits:.0f}% of it are called so, {100 * others:.0f}% of others)"
        for label, hits, others in found.told
    )
    return [f"Size, shape and light alone tell some classes: {names}."]


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
    copies, scenes = audit.lines, audit.scene_lines
    said = [
        "Pairs: each picture's ten nearest by features, confirmed by small pictures: in grey laid "
        "on each other, whole, cut and mirrored; in colour patch by patch. Each likeness is "
        "counted in deviations of pairs of one class, and the three are added. From "
        f"{copies.copies:.1f} a pair is one picture if nothing else of its class is nearly as "
        f"alike; from {scenes.scenes:.1f} it is of one scene, where scenes stand apart from the "
        "rest of their class."
    ]
    if copies.strangers:
        said.append(
            f"These lines are this set's own: they lie where the tail of {copies.strangers:,} "
            "pictures with their nearest of another class would let 0.05 pairs of the set through "
            "(one picture), or tie one picture in a thousand to a stranger of its class (scene), "
            "but not below 8 and 5 nor above half of what a picture has with itself."
        )
    else:
        said.append(
            "There are too few pictures of different classes to tell lines from: these are 15 and "
            "12, as sets of photographs usually have them."
        )
    if audit.judge is not None:
        said.append(
            "Labels: a logistic head that has not seen the scene, and has "
            f"{100 * audit.judge:.1f}% right; confident learning (Northcutt 2021). A hard class "
            "has doubts too: they are to be looked at, not believed."
        )
    said.append(
        "Odd pictures: beyond four deviations of the set, by its median and quartiles, or by the "
        "factors that are named."
    )
    if audit.shortcut is not None:
        said.append(
            "Size, shape and light: an RBF SVM on area, width by height, mean and deviation of "
            "grey, and mean grey of the border, out of fold; far above chance is a quarter of the "
            "way from chance to all right, of a class a quarter more of its own than of the rest."
        )
    return said


def as_plain(audit: Audit) -> dict[str, Any]:
    """Give an audit as plain JSON values; what is not known is null."""
    shortcut, scenes = audit.shortcut, audit.scenes
    classes = audit.dataset.classes
    return {
        "pictures": len(audit.dataset),
        "line": audit.lines.copies,
        "scene_line": audit.scene_lines.scenes,
        "strangers": audit.lines.strangers,
        "findings": [one._asdict() for one in audit.findings],
        "judge": audit.judge,
        "scenes": None if scenes is None else {**vars(scenes), "matters": scenes.matters},
        "shortcut": None
        if shortcut is None
        else {
            **vars(shortcut),
            "is_far_above_chance": shortcut.is_far_above_chance,
            "told": [
                {"class": classes[label], "right": hits, "others": others}
                for label, hits, others in shortcut.told
            ],
        },
        "costs": [
            {
                **vars(one),
                "without": one.without if one.leaked < one.n else None,
                "interval_without": one.interval_without if one.leaked < one.n else None,
            }
            for one in audit.costs
        ],
        "notes": list(audit.notes),
    }
