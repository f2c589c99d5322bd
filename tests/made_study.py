"""Studies that tests make without training anything: predictions, and records to go with them."""

import csv
import hashlib
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from tlfeat.data.dataset import Dataset
from tlfeat.features.matrix import open_entry
from tlfeat.features.recipe import Recipe
from tlfeat.features.store import FeatureStore
from tlfeat.machine import machine
from tlfeat.runs.metrics import evaluate
from tlfeat.runs.record import PREDICTIONS, Run, run_folder
from tlfeat.runs.writing import versions, write_predictions, write_record

ODD_NAMES = ["<img src=x onerror=alert(1)>", "كلب صغير", "x" * 80, "$\\frac{a}{b}$"]


class Row(NamedTuple):
    id: str
    digest: str
    group: str | None
    label: int
    split: str


def made_rows(classes: Sequence[str], counts: dict[str, int], groups: int = 0) -> list[Row]:
    """Make samples without pictures; `groups` samples share a group, where it is given."""
    rows = []
    for split, n in counts.items():
        for i in range(n):
            digest = hashlib.sha256(f"{split}{i}".encode()).hexdigest()
            group = f"{split}-{i // groups}" if groups else None
            name = f"{split}/{classes[i % len(classes)]}/{i:05}.png"
            rows.append(Row(name, digest, group, i % len(classes), split))
    return rows


def rows_of(dataset: Dataset) -> list[Row]:
    return [Row(s.id, s.digest, s.group, s.label or 0, s.split or "") for s in dataset.samples]


def make_run(
    study: Path,
    name: str,
    classes: Sequence[str],
    rows: Sequence[Row],
    *,
    skill: float = 2.5,
    seed: int = 0,
    kind: str = "head",
    score_kind: str = "probability",
    outputs: int | None = None,
    source: str = "gone",
    fingerprint: str = "made",
    **changes: Any,
) -> Run:
    """Write a finished run whose scores are noise around the truth.

    `outputs` of the model may be more than the classes; `changes` are fields of the record.
    """
    random = np.random.default_rng(seed)
    k = outputs or len(classes)
    names = [*classes, *(f"output {i}" for i in range(len(classes), k))]
    metrics, parts = {}, []
    by_split = {
        split: [row for row in rows if row.split == split]
        for split in dict.fromkeys(row.split for row in rows)
    }
    by_split.setdefault("validation", by_split["train"])  # out of fold
    for split, some in by_split.items():
        true = np.array([row.label for row in some])
        hard = np.random.default_rng(len(some)).normal(size=(len(some), k))
        scores = hard + 0.4 * random.normal(size=(len(some), k)) + skill * np.eye(k)[true]
        if score_kind == "probability":
            scores = np.exp(scores) / np.exp(scores).sum(axis=1, keepdims=True)
        scores = scores.astype(np.float32)
        metrics[split] = evaluate(true, scores, names, score_kind)
        per_class = metrics[split]["per_class"]
        metrics[split]["per_class"] = {one: per_class[one] for one in classes}
        parts.append(
            {
                "id": [row.id for row in some],
                "digest": [row.digest for row in some],
                "split": [split] * len(some),
                "fold": [None] * len(some),
                "group": [row.group for row in some],
                "true": true,
                "scores": scores,
            }
        )
    digest = hashlib.sha256(f"{name} {fingerprint}".encode()).hexdigest()
    folder = run_folder(study, name, digest)
    folder.mkdir(parents=True)
    write_predictions(folder / PREDICTIONS, parts)
    splits = dict.fromkeys(row.split for row in rows)
    record: dict[str, Any] = {
        "id": digest,
        "name": name,
        "kind": kind,
        "created": "2026-01-01T00:00:00+00:00",
        "backbone": "efficientnet-lite0",
        "features": "last:avg" if kind == "head" else "pixels",
        "dataset": {
            "source": source,
            "kind": "folder",
            "fingerprint": fingerprint,
            "classes": list(classes),
            "counts": {
                split: {
                    one: sum(r.label == i and r.split == split for r in rows)
                    for i, one in enumerate(classes)
                }
                for split in splits
            },
            "skipped": [],
        },
        "split": {"rule": "source", "seed": 0, "fingerprint": "made"},
        "weights_digest": RECIPE["weights"],
        "pictures": {key: RECIPE[key] for key in PICTURES},
        "recipes": [RECIPE] if kind == "head" else [],
        "parent": None,
        "seed": 0,
        "n_train": sum(row.split == "train" for row in rows),
        "parameters": {"total": 4_000_000, "trainable": 5_000},
        "metrics": metrics,
        "seconds": {"extract": 3.0, "search": 1.0, "fit": 2.0, "predict": 0.1},
        "ms_per_image": 12.0,
        "stand_in": None,
        "versions": versions(),
        "machine": machine(),
        "warnings": [],
    }
    if kind == "head":
        record["head"] = {
            "name": name.removeprefix("efficientnet-lite0-"),
            "params": {},
            "search": True,
            "class_weight": None,
            "refit": False,
            "grid": {},
            "chosen": {"C": 1.0},
            "tried": [],
            "converged": True,
            "score_kind": score_kind,
        }
    else:
        record |= {
            "phases": [{"mode": "frozen", "epochs": 4}, {"mode": "full", "epochs": 2}],
            "top": {"kind": "new", "hidden": [], "dropout": 0.0},
            "keeps_top": False,
            "cut_dtype": None,
            "history": [],
            "best_epoch": {},
            "loss": "cross-entropy",
            "batch": 32,
            "file_bytes": 17_000_000,
        }
        _write_history(folder / "history.csv")
    return write_record(folder, record | changes)


def seeded(
    study: Path, name: str, seed: int, skill: float = 2.0, *, draw: int | None = None
) -> Run:
    """Write a head's run of one seed; `draw` decides its predictions, its seed if None.

    What the search chose is another thing for each seed, as it may be.
    """
    rows = made_rows(["a", "b", "c"], {"train": 30, "validation": 60, "test": 300})
    run = make_run(
        study,
        f"{name}-seed{seed}",
        ["a", "b", "c"],
        rows,
        skill=skill,
        seed=seed if draw is None else draw,
    )
    head = {**run.record["head"], "name": name, "chosen": {"alpha": float(seed)}}
    return write_record(run.path, {**run.record, "seed": seed, "head": head})


RECIPE: dict[str, Any] = {
    "backbone": "efficientnet-lite0",
    "weights": "0" * 64,
    "layer": "last",
    "pool": "avg",
    "size": 224,
    "resize": {"rule": "squash", "filter": "bicubic", "antialias": True, "draft": True},
    "scaling": "lite",
    "precision": "float32",
    "dtype": "float32",
    "feature_shape": [1280],
    "decoder": 1,
    "view": "plain",
    "schema": 1,
}


PICTURES = ("size", "resize", "scaling", "decoder", "precision", "view")


def _write_history(path: Path) -> None:
    with path.open("w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["epoch", "phase", "mode", "loss", "accuracy", "val_loss", "val_accuracy"])
        for epoch in range(1, 7):
            phase, mode = (1, "frozen") if epoch <= 4 else (2, "full")
            writer.writerow([epoch, phase, mode, 2 / epoch, 0.5, 2 / epoch + 0.2, 0.4])


def with_features(
    cache: Path, rows: Sequence[Row], width: int = 16, seed: int = 0
) -> dict[str, Any]:
    """Store features of made pictures, near each other in a class; give their recipe."""
    recipe = Recipe.from_dict({**RECIPE, "feature_shape": [width]})
    random = np.random.default_rng(seed)
    middles = random.normal(size=(1 + max(row.label for row in rows), width))
    labels = np.array([row.label for row in rows])
    X = (middles[labels] + 0.5 * random.normal(size=(len(rows), width))).astype(np.float32)
    open_entry(FeatureStore(cache), recipe).append([row.digest for row in rows], X)
    return recipe.as_dict()
