"""A run's id: the digest of what decides its numbers, never of versions, times or names.

A finished run is found by its id, so the digest keeps the keys that the first version gave its
settings, whatever records and code call them today. Nothing else knows these keys.
"""

import hashlib
import json
from collections.abc import Mapping
from typing import Any, Final

from tlfeat.data.dataset import Dataset

# What decides a run beside the dataset, by the names of its record.
_HEAD: Final = ("recipes", "auto", "head")
_FINETUNE: Final = (
    "recipes", "phases", "top", "keeps_top", "loss", "batch", "seed", "cut_dtype", "methods",
    "later_settings",
)  # fmt: skip


def run_identity(kind: str, dataset: Dataset, settings: Mapping[str, Any]) -> str:
    """Digest what decides a run.

    Parameters
    ----------
    kind : {"head", "finetune"}
    dataset : Dataset
    settings : mapping
        By the names of a record, others are left alone. Of a head: head, and recipes or, where it
        chooses its features, auto. Of a fine-tune: backbone, weights_digest, pictures, phases,
        top, keeps_top, loss, batch, seed, cut_dtype, methods and later settings where they are
        not as at first, and parent.

    Returns
    -------
    identity : str
        SHA-256, in hexadecimal.
    """
    decisive = dict(settings)
    if kind == "finetune":
        network = {"backbone": settings["backbone"], "weights": settings["weights_digest"]}
        decisive["recipes"] = [{**settings["pictures"], **network}]
        decisive["phases"] = [_first_spelling(phase) for phase in settings["phases"]]
    keys = _HEAD if kind == "head" else _FINETUNE
    parent = settings.get("parent")
    return _digest(
        {
            "kind": kind,
            "dataset": dataset.fingerprint,
            "split": dataset.split_fingerprint,
            "parent": None if parent is None else _origin(parent),
            **{key: decisive[key] for key in keys if key in decisive},
        }
    )


def _origin(parent: Mapping[str, Any]) -> dict[str, Any]:
    """Give what decides a run of what it starts from: the name of a run changes nothing."""
    keys = ("file", "sha256") if parent["file"] else ("run", "epoch", "sha256")
    return {key: parent[key] for key in keys}


def _first_spelling(phase: Mapping[str, Any]) -> dict[str, Any]:
    return {"optimiser" if key == "optimizer" else key: phase[key] for key in phase}


def _digest(settings: Mapping[str, Any]) -> str:
    text = json.dumps(settings, sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(text.encode()).hexdigest()
