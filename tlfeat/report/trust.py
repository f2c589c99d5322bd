"""What must be known of the pictures before a number on them is believed.

The part of an audit that costs next to nothing is kept in the study's folder, for its page and for
whoever looks at it again.
"""

import json
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tlfeat.audit.kept import TRUST, as_kept, read_kept
from tlfeat.errors import TlfeatError
from tlfeat.features.settings import FeatureSettings
from tlfeat.files import write_text
from tlfeat.heads.threads import one_numeric_thread
from tlfeat.runs.freshness import key_of
from tlfeat.watch import SILENT
from tlfeat.where import Where

if TYPE_CHECKING:
    from tlfeat.data.dataset import Dataset


def look_over(
    folder: Path, dataset: "Dataset", network: FeatureSettings, where: Where
) -> list[str]:
    """Look the pictures of a study over, by features that are stored, unless it was done.

    Parameters
    ----------
    folder : Path
        Of the study.
    dataset : Dataset
    network : FeatureSettings
        By whose features they are looked over, whatever layers are asked for.
    where : Where

    Returns
    -------
    sentences : list of str
        What was found, or why the pictures were not looked over.
    """
    settings = replace(network, features=FeatureSettings().features)
    key = _key(dataset, settings)
    kept = read_kept(folder)
    if kept.get("key") == key:
        return list(kept["found"])
    try:
        # the page is drawn meanwhile, and shows how far it is: leave it a core
        with one_numeric_thread():
            found = _found(dataset, settings, replace(where, watch=SILENT))
    except TlfeatError as error:  # a picture that is gone: the runs are finished all the same
        where.watch.note(f"The pictures were not looked over: {error}")
        return []
    if found is None:
        said = [
            "The pictures were not looked over, as the store has no last:avg of "
            f"{settings.backbone} at this size: `tlfeat audit` does it."
        ]
        found = {"fingerprint": dataset.fingerprint, "found": said}
    else:  # else the store may have it the next time
        found["key"] = key
    with suppress(TlfeatError):
        write_text(folder / TRUST, json.dumps(found, indent=1, ensure_ascii=False) + "\n")
    return list(found["found"])


def _found(dataset: "Dataset", settings: FeatureSettings, where: Where) -> dict[str, Any] | None:
    """Look pictures over; None where the store has not what is needed for it."""
    from tlfeat.audit.audit import quick_audit
    from tlfeat.audit.groups import MANY
    from tlfeat.audit.pictures import Pictures
    from tlfeat.report.audit_words import headlines

    if len(dataset) > MANY:
        said = f"{len(dataset):,} pictures were not looked over: `tlfeat audit` does it."
        return {"fingerprint": dataset.fingerprint, "found": [said]}
    pictures = Pictures.stored(dataset, settings, where)
    if pictures is None:
        return None
    audit = quick_audit(pictures, where)
    return {**as_kept(audit), "found": headlines(audit)[1:]}


def _key(dataset: "Dataset", settings: FeatureSettings) -> str:
    """Digest what the sentences are made of: pictures, network, the code that finds them."""
    ours = Path(__file__)
    code = (ours, ours.with_name("audit_words.py"), *ours.parents[1].glob("audit/*.py"))
    return key_of(code, [], [dataset.fingerprint, str(settings)])
