"""Write a feature matrix to a file that other tools read."""

import json
import tempfile
from pathlib import Path

import numpy as np

from tlfeat.data.names import location
from tlfeat.errors import TlfeatError
from tlfeat.features.matrix import Features
from tlfeat.files import replacing
from tlfeat.remote.endpoint import endpoint_of
from tlfeat.remote.urls import is_url, is_web, name_of

SUFFIXES = (".npz", ".parquet")


def check_target(target: str | Path) -> None:
    """Refuse a name that does not say which format is wanted, or a server that is not written to.

    Raises
    ------
    TlfeatError
        If it ends in neither .npz nor .parquet, or is a URL of HTTP.
    """
    if _suffix(target) not in SUFFIXES:
        raise TlfeatError(
            f"Features cannot be written to {location(target)}: the name must end in .npz or "
            ".parquet."
        )
    if is_url(str(target)):
        if is_web(str(target)):
            raise TlfeatError(
                f"Features cannot be written to {location(target)}: HTTP only reads; wanted a "
                "file, or a URL such as s3://BUCKET/features.npz."
            )
        endpoint_of(str(target))


def write_features(features: Features, target: str | Path) -> None:
    """Write features, labels and splits to one file.

    Parameters
    ----------
    features : Features
    target : str or Path
        A file, or a URL such as s3://BUCKET/features.npz. .npz: X, y, ids, split, group, digest,
        classes, recipes (JSON). .parquet: id, label, split, group, digest and a column
        feature_0, feature_1, ... for each feature.
        Replaced as a whole if it is there.

    Raises
    ------
    TlfeatError
        If the name has another suffix, or the file cannot be written.

    Examples
    --------
    >>> tlfeat.write_features(tlfeat.extract("garments"), "garments.npz")  # doctest: +SKIP
    """
    check_target(target)
    if not is_url(str(target)):
        with replacing(Path(target)) as fresh:
            _write(features, fresh)
        return
    with tempfile.TemporaryDirectory(prefix="tlfeat-") as folder:
        made = Path(folder) / f"features{_suffix(target)}"
        _write(features, made)
        try:
            endpoint_of(str(target)).put(made, str(target))
        except OSError as error:
            raise TlfeatError(
                f"{location(target)} cannot be written ({error.strerror or error}): see whether "
                "the bucket is there and may be written to, or choose another place."
            ) from error


def _suffix(target: str | Path) -> str:
    return Path(name_of(str(target)) if is_url(str(target)) else target).suffix


def _write(features: Features, path: Path) -> None:
    if path.suffix == ".npz":
        _write_npz(features, path)
    else:
        _write_parquet(features, path)


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
