"""Whether the index of an entry can be believed, and how little must be read to know.

A row that is found is checked where it is read: its checksum ties picture, row number and bytes
together. What damage of the index could do unseen is hide rows, which would be embedded again, or
end the rows early, so that others are written over them. So the whole index is looked through

    once for each state of its file, which is remembered by the file's stamp (checked.json), and
    by each process itself before it believes that a picture is missing, and before it writes:
    a disk can spoil bytes without touching the stamp.

As for pictures, the stamp of a file that changed less than 2 s ago is not trusted, since another
change could share its times; nor is any on a disk that is not known to be this machine's own,
since over a network old ones may be told.
"""

import json
import time
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

from tlfeat.features import disk
from tlfeat.features.folder import INDEX, canonical, read_recipe
from tlfeat.features.index import Index, damaged

CHECKED = "checked.json"
# Filesystems of disks of this machine; overlay is what containers see of one.
LOCAL = frozenset(
    (
        *("ext2", "ext3", "ext4", "xfs", "btrfs", "zfs", "f2fs", "bcachefs", "tmpfs", "ramfs"),
        *("overlay", "jfs", "reiserfs", "apfs", "hfs"),
    )
)
_SCHEMA = 1  # raised when what was looked through before must be looked through again
RACY_NS = 2_000_000_000  # times of a younger file may not show a second change

_Folder = tuple[int, int]  # what tells a folder from its successors of the same name


class Soundness:
    """What a process knows of the soundness of one entry.

    Parameters
    ----------
    path : Path
        The entry's folder.
    recipe : mapping of str to JSON values
        That it must be of.
    about : mapping of str to str
        That its index must say.
    """

    def __init__(self, path: Path, recipe: Mapping[str, Any], about: Mapping[str, str]) -> None:
        self._path = path
        self._recipe = recipe
        self._about = about
        self._compared: _Folder | None = None  # the folder that was compared with the recipe
        self._looked_through: _Folder | None = None  # that whose index this process went through

    def forget(self) -> None:
        """Know nothing any more."""
        self._compared = self._looked_through = None

    def check(self, index: Index, folder: _Folder | None) -> None:
        """See that the entry is of the recipe, and that its index was looked through.

        Parameters
        ----------
        index : Index
            Of the folder, open.
        folder : tuple of int
            The folder's identity.

        Raises
        ------
        DamagedEntry
            If the entry is not as it was written.
        """
        if folder is None or self._compared != folder:
            self._compare(index)
            self._compared = folder
        if folder is not None and self._looked_through == folder:
            return
        stamp = _stamp_of(self._path)
        if stamp is None or stamp != _remembered(self._path):
            self.look_through(index, folder)
            if stamp is not None and stamp == _stamp_of(self._path):
                _remember(self._path, stamp)

    def look_through(self, index: Index, folder: _Folder | None, *, anew: bool = False) -> None:
        """Look through the whole index, unless this process has; `anew`, in any case.

        Raises
        ------
        DamagedEntry
            If it is not as it was written.
        """
        if anew or folder is None or self._looked_through != folder:
            wrong = index.contradiction(exhaustive=anew)
            if wrong:
                raise damaged(self._path, wrong)
            self._looked_through = folder

    def _compare(self, index: Index) -> None:
        wrong = index.foreign()
        if not wrong and index.about() != self._about:
            wrong = "its index belongs to another recipe"
        if not wrong and canonical(read_recipe(self._path)) != canonical(self._recipe):
            wrong = "recipe.json is not the recipe that was asked for"
        if wrong:
            raise damaged(self._path, wrong)


def _stamp_of(path: Path) -> list[int] | None:
    """Give the stamp of an entry's index, or None where it is not to be trusted."""
    try:
        status = (path / INDEX).stat()
        old = time.time_ns() - max(status.st_mtime_ns, status.st_ctime_ns) >= RACY_NS
    except OSError:
        return None
    if not old or disk.filesystem_of(path) not in LOCAL:
        return None
    return [status.st_size, status.st_mtime_ns, status.st_ctime_ns, status.st_ino, _SCHEMA]


def _remembered(path: Path) -> object:
    with suppress(OSError, ValueError):
        return json.loads((path / CHECKED).read_bytes())
    return None


def _remember(path: Path, stamp: list[int]) -> None:
    # Not made again if the folder is gone; half of it, or in a successor, it is not believed.
    with suppress(OSError):  # a read-only cache is looked through by each process
        (path / CHECKED).write_text(json.dumps(stamp), encoding="ascii")
