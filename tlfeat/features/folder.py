"""The folder of a store entry: made, recognised and moved away as a whole."""

import json
import os
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, suppress
from datetime import UTC, datetime
from hashlib import sha256
from pathlib import Path
from typing import Any

import numpy as np

from tlfeat.errors import StoreError
from tlfeat.features import disk, npy
from tlfeat.features.disk import DamagedEntry
from tlfeat.features.index import Index, create, damaged, sqlite_errors
from tlfeat.files import making_folder

RECIPE, FEATURES, INDEX = "recipe.json", "features.npy", "index.sqlite"
DAMAGED = ".damaged"
NOT_IN_DIGEST = frozenset({"engine", "versions", "created", "licence"})


def describe(
    recipe: Mapping[str, Any], shape: tuple[int, ...], dtype: np.dtype[Any]
) -> dict[str, str]:
    """Give what an index remembers of the entry that it was made for."""
    return {
        "shape": json.dumps(shape),
        "dtype": dtype.name,
        "recipe": sha256(canonical(recipe).encode()).hexdigest(),
    }


def make_entry(
    path: Path, recipe: Mapping[str, Any], shape: tuple[int, ...], dtype: np.dtype[Any]
) -> None:
    """Make an entry without rows: under another name, then renamed.

    Where another process makes the same entry meanwhile, the first one stays. A kill
    leaves at most a folder of another name, which the next one to make an entry clears away.

    Raises
    ------
    StoreError
        If the folder cannot be written to.
    """
    fields = {"created": datetime.now(UTC).isoformat(timespec="seconds"), **recipe}
    text = json.dumps(dict(sorted(fields.items())), indent=2, ensure_ascii=False) + "\n"
    with disk.writing(path.parent):
        with making_folder(path) as new:
            disk.write_synced(new / RECIPE, text.encode())
            disk.write_synced(new / FEATURES, npy.header(0, shape, dtype))
            create(new / INDEX, describe(recipe, shape, dtype))
            disk.sync_folder(new)
        disk.sync_folder(path.parent)


def move_away(path: Path, names: Iterator[Path], suspect: tuple[int, int] | None) -> Path | None:
    """Rename an entry to the first free name, when no writer is at work in it.

    Parameters
    ----------
    path : Path
    names : iterator of Path
        Names beside it to choose from.
    suspect : tuple of int, optional
        The `identity` that the folder must have; any if None.

    Returns
    -------
    moved : Path or None
        None if the folder is gone, or is another one by now.

    Raises
    ------
    StoreError
        If it cannot be renamed, or a writer does not end.
    """
    if not path.parent.is_dir():
        return None
    with disk.writing(path.parent), disk.folder_lock(path.parent), ExitStack() as stack:
        # The writers' lock, where the index still has one to give: a writer that waits for
        # it finds the folder gone when it gets it, and never writes into its successor.
        with suppress(DamagedEntry), sqlite_errors(path / INDEX):
            stack.callback(Index(path / INDEX, writing=True).close)
        found = identity(path)
        if found is None or (suspect is not None and found != suspect):
            return None
        target = next(name for name in names if not os.path.lexists(name))
        path.rename(target)
        disk.sync_folder(path.parent)
        return target


def identity(path: Path) -> tuple[int, int] | None:
    """Give what tells a folder from its successors of the same name, or None if it is gone."""
    try:
        found = path.stat()
    except OSError:
        return None
    return found.st_dev, found.st_ino


def bytes_in(folder: Path) -> int:
    """Give the bytes of all files below a folder."""
    total = 0
    for parent, _, names in os.walk(folder):
        for name in names:
            with suppress(OSError):
                total += Path(parent, name).lstat().st_size
    return total


def canonical(recipe: Mapping[str, Any]) -> str:
    """Give what a recipe decides as one text; equal texts are equal recipes."""
    decisive = {field: value for field, value in recipe.items() if field not in NOT_IN_DIGEST}
    return json.dumps(decisive, sort_keys=True, separators=(",", ":"))


def read_recipe(path: Path) -> dict[str, Any]:
    """Give the recipe of an entry, or raise DamagedEntry."""
    try:
        recipe = json.loads((path / RECIPE).read_bytes())
    except FileNotFoundError as error:
        raise damaged(path, "recipe.json is missing") from error
    except ValueError as error:
        raise damaged(path, "recipe.json cannot be read") from error
    except OSError as error:
        raise StoreError(
            f"{path / RECIPE} cannot be read ({error.strerror}): check its permissions."
        ) from error
    if not isinstance(recipe, dict):
        raise damaged(path, "recipe.json cannot be read")
    return recipe
