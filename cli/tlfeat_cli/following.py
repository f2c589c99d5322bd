"""The command that comes after another: what a user would type next, complete and quoted."""

import shutil
import sys
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tlfeat.data.names import as_path, location
from tlfeat.settings import unusual_values
from tlfeat.where import Where
from tlfeat_cli.opening import DataOptions

if TYPE_CHECKING:
    from tlfeat.data.dataset import Dataset
    from tlfeat.runs.record import Run


def on_data(
    command: str, data: str, options: DataOptions, where: Where, said: Mapping[str, Any] = {}
) -> list[str]:
    """Give a command on the same pictures, in the same places, with other settings beside them."""
    from tlfeat.report.commands import as_options

    of_data = unusual_values(replace(options, rehash=False))
    return ["tlfeat", command, location(data), *as_options({**said, **of_data}), *_places(where)]


def prediction(run: "Run", dataset: "Dataset", where: Where) -> list[str] | None:
    """Give the command that predicts a picture, of test where there is one, by a run.

    None where its name is not UTF-8, which no terminal shows.
    """
    picture, cache = _example(dataset), replace(where, reports=None, name=None)
    if location(as_path(picture)) != str(as_path(picture)):
        return None
    return ["tlfeat", "predict", str(run.path), picture, *_places(cache)]


def opening(page: Path) -> list[str] | None:
    """Give the command that opens a page; None where this machine has none."""
    opener = "open" if sys.platform == "darwin" else "xdg-open"
    return [opener, str(page)] if shutil.which(opener) else None


def _places(where: Where) -> list[str]:
    """Give the options that say where things are kept, as far as a user said it."""
    from tlfeat.report.commands import as_options

    said = unusual_values(where)
    return as_options({name: said[name] for name in ("cache", "reports", "name") if name in said})


def _example(dataset: "Dataset") -> str:
    """Name a picture of the dataset; what holds them all, where none is a file of its own."""
    sample = next((one for one in dataset.samples if one.split == "test"), dataset.samples[0])
    picture = as_path(dataset.path) / sample.id
    return str(picture) if picture.is_file() else dataset.path
