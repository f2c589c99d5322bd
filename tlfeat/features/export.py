"""Write a feature matrix to a file that other tools read."""

import json
from pathlib import Path

import numpy as np

from tlfeat.errors import TlfeatError
from tlfeat.features.matrix import Features
from tlfeat.files import replacing

SUFFIXES = (".npz", ".parquet")


def check_target(path: Path) -> None:
    """Refuse a file name that does not say which format is wanted.

    Raises
    ------
    TlfeatError
        If it ends in neither .npz nor .parquet.
    """
    if path.suffix not in SUFFIXES:
        raise TlfeatError(
            f"Features cannot be written to {path}: the name must end in .npz or .parquet."
        )


def write_features(features: Features, path: Path) -> None:
    """Write features, labels and splits to one file.

    Parameters
    ----------
    features : Features
    path : Path
        .npz: X, y, ids, split, group, digest, classes, recipes (JSON). .parquet: id, label,
        split, group, digest and a column feature_0, feature_1, ... for each feature.
        Replaced as a whole if it is there.

    Raises
    ------
    TlfeatError
        If the name has another suffix, or the file cannot be written.
    """
    check_target(path)
    with replacing(path) as fresh:
        if path.suffix == ".npz":
            _write_npz(features, fresh)
        else:
            _write_parquet(features, fresh)


def _write_npz(features: Features, path: Path) -> None:
    recipes = json.dumps([recipe.as_dict() for recipe in features.recipes])
    np.savez(
        path,
        X=features.X,
        y=features.y,
        ids=np.array(features.ids, dtype=np.str_),
        split=features.split,
        group=np.array([name or "" for name in features.group_names], dtype=np.str_),
        digest=np.array(features.digests, dtype=np.str_),
        classes=np.array(features.classes, dtype=np.str_),
        recipes=np.array(recipes),
    )


def _write_parquet(features: Features, path: Path) -> None:
    import pyarrow as pa
    import pyarrow.parquet as pq

    labels = [features.classes[label] if label >= 0 else None for label in features.y]
    columns = {
        "id": pa.array(features.ids, pa.string()),
        "label": pa.array(labels, pa.string()),
        "split": pa.array([split or None for split in features.split.tolist()], pa.string()),
        "group": pa.array(features.group_names, pa.string()),
        "digest": pa.array(features.digests, pa.string()),
    }
    columns |= {f"feature_{i}": pa.array(features.X[:, i]) for i in range(features.X.shape[1])}
    recipes = json.dumps([recipe.as_dict() for recipe in features.recipes])
    table = pa.table(columns).replace_schema_metadata({"tlfeat.recipes": recipes})
    with path.open("wb") as file:  # a folder's name may be no text, which pyarrow does not take
        pq.write_table(table, file)
