"""The feature store: one folder a recipe, one row a picture, nothing embedded twice.

    cache/features/<backbone>-<size>-<layer>-<pool>-<10 hex>/
        recipe.json   what decides the numbers, and beside it who made them and when
        features.npy  (n_rows, *feature_shape), which plain NumPy opens
        index.sqlite  image digest -> row, checksum; and pictures that cannot be read
        checked.json  the stamp of an index that was looked through, see `soundness`

The index commits last and alone says what is stored: after kill -9 at any moment the
bytes past its count are ignored, and the next block overwrites them. An entry is made
under another name and renamed, so nobody ever sees half of one. What is found damaged
is set aside whole and never repaired in place.
"""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from tlfeat.errors import StoreError
from tlfeat.features.disk import DamagedEntry
from tlfeat.features.entry import Entry
from tlfeat.features.folder import DAMAGED, INDEX, read_recipe
from tlfeat.features.index import Index, damaged, sqlite_errors

__all__ = ["DamagedEntry", "Entry", "FeatureStore"]


class FeatureStore:
    """The folder that all entries are in.

    Parameters
    ----------
    root : Path
        Made, and marked as a cache, when the first row is written.
    """

    def __init__(self, root: Path | str) -> None:
        self.root = Path(root)
        self.folder = self.root / "features"

    def path_of(self, name: str) -> Path:
        """Give the folder of an entry, which need not exist."""
        return self.folder / name

    def entry(
        self, recipe: Mapping[str, Any], name: str, shape: Sequence[int], dtype: str
    ) -> "Entry":
        """Give the entry of a recipe; nothing is read or written yet.

        Parameters
        ----------
        recipe : mapping of str to JSON values
            All that decides the numbers. `engine`, `versions`, `created` and `licence` may
            be among it: they are written down and not compared.
        name : str
            Folder name of the entry.
        shape : sequence of int
            Of one picture's features.
        dtype : {"float32", "float16"}
            Of the stored rows.
        """
        return Entry(self.root, name, recipe, shape, dtype)

    def open(self, name: str) -> "Entry":
        """Give an entry as it lies on the disk.

        Raises
        ------
        StoreError
            If there is none of this name.
        DamagedEntry
            If its recipe or its index cannot be read.
        """
        path = self.path_of(name)
        if not path.is_dir():
            raise StoreError(f"There is no entry {name!r} in {self.folder}.")
        recipe = read_recipe(path)
        with sqlite_errors(path / INDEX):
            index = Index(path / INDEX)
            try:
                about = index.about()
            finally:
                index.close()
        try:
            return self.entry(recipe, name, json.loads(about["shape"]), about["dtype"])
        except (KeyError, ValueError, TypeError) as error:
            raise damaged(path, "index.sqlite does not say what it is the index of") from error

    def names(self) -> list[str]:
        """Give the names of all entries, sorted; not of those that were set aside."""
        try:
            found = [path for path in self.folder.iterdir() if path.is_dir()]
        except OSError:
            return []
        entries = (path.name for path in found if not path.is_symlink())
        return sorted(n for n in entries if not n.startswith(".") and DAMAGED not in n)
