"""The page of an audit: what was found, with the pictures side by side."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Final, Unpack

from tlfeat.audit.audit import Audit
from tlfeat.audit.findings import ALIKE, LABEL, SCENE, Finding, write_findings
from tlfeat.audit.kept import keep_audit
from tlfeat.audit.odd import KINDS
from tlfeat.data.dataset import Dataset
from tlfeat.files import write_text
from tlfeat.report.audit_words import (
    MEANING,
    cost_columns,
    finding_columns,
    headlines,
    how_told,
)
from tlfeat.report.page import INDEX
from tlfeat.report.pictures import thumbnails
from tlfeat.report.render import render
from tlfeat.settings import explained
from tlfeat.watch import SILENT, Watch
from tlfeat.where import Where, WhereOptions

FINDINGS: Final = "findings.csv"
FOLDER: Final = "audit"
_SHOWN: Final = 60  # of a kind; the table has them all


def audit_folder(where: Where, dataset: Dataset) -> Path:
    """Give the folder of a dataset's audit: in that of its study."""
    return where.study_folder(dataset) / FOLDER


@explained(Where)
def write_audit(
    audit: Audit, out: str | Path | None = None, **options: Unpack[WhereOptions]
) -> Path:
    """Write the page of an audit and the table of what was found.

    Parameters
    ----------
    audit : Audit
        From `audit_dataset`.
    out : str or Path, optional
        Folder of the page; audit/ in that of the dataset's study if None, whose own page then
        shows what was found of each picture.
    **options
        reports, name, which say where the study is; watch: see `Where`.

    Returns
    -------
    page : Path
        index.html; findings.csv is beside it.

    Raises
    ------
    TlfeatError
        If the folder cannot be written to.

    Examples
    --------
    >>> page = tlfeat.write_audit(tlfeat.audit_dataset("garments"))  # doctest: +SKIP
    """
    where = Where(**options)
    folder = audit_folder(where, audit.dataset) if out is None else Path(out)
    write_findings(folder / FINDINGS, audit.findings)
    if out is None:
        keep_audit(where.study_folder(audit.dataset), audit)
    return write_audit_page(folder, audit, watch=where.watch)


def write_audit_page(folder: Path, audit: Audit, *, watch: Watch = SILENT) -> Path:
    """Write the page of an audit.

    Parameters
    ----------
    folder : Path
        Where index.html goes.
    audit : Audit
    watch : Watch
        Hears of the progress.

    Returns
    -------
    path : Path
        Of the page.
    """
    pairs, scenes = audit.of(*ALIKE), audit.of(SCENE)
    leaks, conflicts = audit.leaks, [one for one in audit.conflicts if not one.is_across]
    rest = [one for one in pairs if not (one.is_across or one.is_conflict)]
    odd = {kind: audit.of(kind) for kind in KINDS if audit.of(kind)}
    shown = [leaks, conflicts, rest, scenes, audit.of(LABEL), *odd.values()]
    digests = [
        digest
        for some in shown
        for one in some[:_SHOWN]
        for digest in (one.digest, one.other_digest)
        if digest
    ]
    small = thumbnails(audit.dataset, digests, watch=watch)
    said = headlines(audit)
    text = render(
        "audit",
        name=audit.dataset.name,
        headline=said[0],
        sentences=said[1:] or ["Nothing was found that makes its numbers untrue."],
        found=finding_columns(audit),
        pairs=[
            _pairs("leaks", "On both sides of a split", leaks, small),
            _pairs("conflicts", "One picture, two labels", conflicts, small),
            _pairs("copies", "Other copies and near-duplicates", rest, small),
            _pairs("scenes", "Of one scene", scenes, small),
        ],
        labels=_cards(audit.of(LABEL), small),
        n_labels=len(audit.of(LABEL)),
        odd=[(kind, MEANING[kind], len(some), _cards(some, small)) for kind, some in odd.items()],
        shortcut=_shortcut(audit),
        costs=cost_columns(audit) if audit.costs else [],
        how=how_told(audit),
        notes=audit.notes,
        findings=FINDINGS,
    )
    path = folder / INDEX
    write_text(path, text)
    return path


def _pairs(
    id: str, title: str, pairs: Sequence[Finding], small: Mapping[str, str]
) -> dict[str, Any]:
    return {
        "id": id,
        "title": title,
        "n": len(pairs),
        "rows": [
            {
                "what": one.finding,
                "note": one.note,
                "sides": [
                    _side(one.id, one.split, one.label, small.get(one.digest)),
                    _side(
                        one.other, one.other_split, one.other_label, small.get(one.other_digest)
                    ),
                ],
                "conflict": one.is_conflict,
            }
            for one in pairs[:_SHOWN]
        ],
    }


def _side(id: str, split: str, label: str, picture: str | None) -> dict[str, str | None]:
    return {"id": id, "split": split, "label": label, "picture": picture}


def _cards(findings: Sequence[Finding], small: Mapping[str, str]) -> list[dict[str, Any]]:
    return [
        {**_side(one.id, one.split, one.label, small.get(one.digest)), "note": one.note}
        for one in findings[:_SHOWN]
    ]


def _shortcut(audit: Audit) -> dict[str, Any] | None:
    found = audit.shortcut
    if found is None:
        return None
    return {
        "right": f"{100 * found.right:.1f}",
        "interval": f"{100 * found.low:.1f} to {100 * found.high:.1f}",
        "chance": f"{100 * found.chance:.1f}",
        "far": found.is_far_above_chance,
        "alone": [(name, f"{100 * share:.1f}") for name, share in found.alone.items()],
        "told": [
            (audit.dataset.classes[label], f"{100 * hits:.1f}", f"{100 * others:.1f}")
            for label, hits, others in found.told
        ],
    }
