"""GTSRB, the German traffic signs, in its official folders and `;` tables.

    Final_Training/Images/00000/GT-00000.csv, 00000_00000.ppm ...
    Final_Test/Images/00000.ppm ...
    GT-final_test.csv (beside them or in Final_Test/Images)

What could go wrong: thirty frames of one sign are one track, the first part of a training file's
name; frames of one track on both sides of a split would make any number too good. So the track
is the group.
"""

import csv
import os
from collections.abc import Hashable
from pathlib import Path

from tlfeat.data.names import printable
from tlfeat.data.sources.base import (
    Listing,
    Picture,
    Row,
    SkippedRow,
    SourceOptions,
    file_problem,
    read_file,
    refuse_columns,
    stamp_of,
)
from tlfeat.errors import DataError

_TRAIN, _TEST = "Final_Training", "Final_Test"


def detect(path: Path, names: frozenset[str], options: SourceOptions) -> "GtsrbSource | None":
    """Know the official folders, or a folder around them."""
    for root in (path, path / "GTSRB"):
        training = root / _TRAIN / "Images"
        if training.is_dir() and next(training.glob("*/GT-*.csv"), None) is not None:
            return GtsrbSource(root, options)
    return None


class GtsrbSource:
    """The official set; a locator is the path of a file."""

    kind = "gtsrb"

    def __init__(self, path: Path, options: SourceOptions):
        refuse_columns(options, "GTSRB")
        self.path = path

    def listing(self) -> Listing:
        """List the training frames by class and track, then the test pictures."""
        found: list[Row | SkippedRow] = []
        for table in sorted((self.path / _TRAIN / "Images").glob("*/GT-*.csv")):
            for name, label in _read_table(table):
                group = f"{label}/{name.split('_')[0]}"
                found.append(self._row(table.parent / name, label, "train", group))
        test = self.path / _TEST / "Images"
        notes = []
        if test.is_dir():
            places = (self.path, self.path.parent, test, test.parent)
            truth = [place / "GT-final_test.csv" for place in places]
            table_of_test = next((table for table in truth if table.is_file()), None)
            if table_of_test is None:
                notes.append("the test pictures are left out: there is no GT-final_test.csv")
            else:
                for name, label in _read_table(table_of_test):
                    found.append(self._row(test / name, label, "test", None))
        rows = [row for row in found if isinstance(row, Row)]
        return Listing(rows, [row for row in found if isinstance(row, SkippedRow)], notes)

    def read(self, locator: Hashable) -> Picture:
        """Read the bytes of one picture."""
        assert isinstance(locator, str)
        return read_file(locator)

    def _row(self, path: Path, label: str, split: str, group: str | None) -> Row | SkippedRow:
        identity = printable(path.relative_to(self.path).as_posix())
        try:
            status = path.stat()
        except OSError as error:
            return SkippedRow(identity, f"cannot be read: {error.strerror}", label, split)
        problem = file_problem(status)
        if problem:
            return SkippedRow(identity, problem, label, split)
        return Row(identity, os.fspath(path), label, split, group, stamp_of(path, status))


def _read_table(path: Path) -> list[tuple[str, str]]:
    """Read (file name, class of five digits) of one `;` table."""
    try:
        with path.open(newline="", encoding="utf-8-sig") as file:
            lines = csv.DictReader(file, delimiter=";")
            return [(line["Filename"], f"{int(line['ClassId']):05d}") for line in lines]
    except (KeyError, TypeError, ValueError, csv.Error) as error:
        raise DataError(
            f"{str(path)!r} is not one of GTSRB's tables: expected the columns Filename and "
            "ClassId, with ';' between."
        ) from error
