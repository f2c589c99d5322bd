"""Where things lie and how the work is done: all that changes no number."""

import os
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import ClassVar, Protocol, TypedDict

from tlfeat.errors import DamagedFile, TlfeatError
from tlfeat.files import read_toml
from tlfeat.settings import setting, settings_of
from tlfeat.watch import SILENT, Watch

ENGINES = ("auto", "openvino", "tensorflow")
STUDY_FILE = "study.toml"


class WhereOptions(TypedDict, total=False):
    """The fields of `Where` as functions take them."""

    cache: str | Path | None
    reports: str | Path | None
    name: str | None
    engine: str
    jobs: int | None
    cluster: str | None
    watch: Watch


class _Named(Protocol):
    """A dataset, as far as the folder of its study goes."""

    @property
    def name(self) -> str: ...
    @property
    def path(self) -> str: ...
    @property
    def fingerprint(self) -> str: ...


@dataclass(frozen=True)
class Where:
    """Where things lie and how the work is done; nothing in it changes a number.

    Attributes
    ----------
    cache : str or Path, optional
        Folder of the feature store; $TLFEAT_CACHE or ./cache if None.
    reports : str or Path, optional
        Folder of all studies; $TLFEAT_REPORTS or ./reports if None.
    name : str, optional
        Of the study; the dataset's if None.
    engine : {"auto", "openvino", "tensorflow"}
        What runs a network; no feature depends on it beyond 1e-4.
    jobs : int, optional
        Threads that read, decode, run networks and train heads; one a core if None.
    cluster : str, optional
        "ray" or "ray:HOST:PORT": pictures are embedded, heads and fine-tunes trained by the
        workers of a Ray cluster, which is started on this machine or found at the address.
    watch : Watch
        Hears of the progress.

    Raises
    ------
    TlfeatError
        If there is no such engine, or `jobs` is no number of threads.

    Examples
    --------
    >>> tlfeat.Where().cache_folder  # what `tlfeat cache path` prints  # doctest: +SKIP
    """

    panel: ClassVar = "Where and how"  # of a help page

    cache: str | Path | None = setting(
        None,
        "text",
        "Folder of the feature store.  [default: $TLFEAT_CACHE or ./cache]",
        metavar="DIR",
    )
    reports: str | Path | None = setting(
        None,
        "text",
        "Folder of the reports.  [default: $TLFEAT_REPORTS or ./reports]",
        metavar="DIR",
    )
    name: str | None = setting(None, "text", "Name of the study.  [default: the dataset's]")
    engine: str = setting(
        "auto",
        "text",
        "What runs the network: OpenVINO on a CPU, TensorFlow on a GPU.",
        words=ENGINES,
    )
    jobs: int | None = setting(
        None, "whole", "Threads.  [default: one a core]", metavar="N", least=1
    )
    cluster: str | None = setting(
        None,
        "text",
        "Do the work on a Ray cluster: that of the head node at ADDRESS, or a new one here.",
        metavar="ray[:ADDRESS]",
    )
    watch: Watch = field(default=SILENT)

    def __post_init__(self) -> None:
        """Refuse an engine or a number of threads that cannot be."""
        known = settings_of(self)
        for name in ("engine", "jobs"):
            known[name].check(getattr(self, name))

    @property
    def cache_folder(self) -> Path:
        """The folder of the feature store: as said, else $TLFEAT_CACHE, else ./cache."""
        return Path(self.cache or os.environ.get("TLFEAT_CACHE") or "cache")

    @property
    def reports_folder(self) -> Path:
        """The folder of all studies: as said, else $TLFEAT_REPORTS, else ./reports.

        Raises
        ------
        TlfeatError
            If its name is not UTF-8: neither Parquet nor TensorFlow writes there.
        """
        folder = Path(self.reports or os.environ.get("TLFEAT_REPORTS") or "reports")
        try:
            str(folder).encode()
        except UnicodeEncodeError:
            raise TlfeatError(
                f"Reports cannot be written to {str(folder)!r}: its name is not UTF-8; choose "
                "another folder with --reports or TLFEAT_REPORTS."
            ) from None
        return folder

    def study_folder(self, dataset: _Named) -> Path:
        """Choose the folder of the study of a dataset; nothing is written.

        Where another dataset has taken the name, "-2" is added, then "-3" and so on.

        Raises
        ------
        DamagedFile
            If the file of a study that has taken the name cannot be read.
        """
        wanted = re.sub(r"[^\w.=-]+", "-", self.name or dataset.name).strip("-.") or "study"
        folder, number = self.reports_folder / wanted, 1
        while (folder / STUDY_FILE).exists() and not _is_of(folder, dataset):
            number += 1
            folder = self.reports_folder / f"{wanted}-{number}"
        return folder


def location_of(dataset: _Named) -> str:
    """Give where a dataset lies, so that it is found from anywhere."""
    path = Path(dataset.path)
    return str(path.resolve()) if path.exists() else dataset.path


def _is_of(folder: Path, dataset: _Named) -> bool:
    try:
        data = read_toml(folder / STUDY_FILE).get("data", {})
    except DamagedFile as error:
        raise DamagedFile(f"{error} Or choose another --name.") from None
    return isinstance(data, Mapping) and bool(
        data.get("path") == location_of(dataset) or data.get("fingerprint") == dataset.fingerprint
    )
