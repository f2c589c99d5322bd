"""The studies that come with tlfeat, and what a user may have meant by the name of one."""

import tomllib
from pathlib import Path
from typing import Final, NamedTuple

from tlfeat.errors import UnknownName, did_you_mean

_FOLDER: Final = Path(__file__).parent


class BuiltIn(NamedTuple):
    """A study file of ours."""

    name: str
    summary: str  # the first line of the file
    path: Path

    @property
    def data(self) -> str:
        """The dataset that it asks for."""
        return str(tomllib.loads(self.path.read_text(encoding="utf-8"))["data"]["path"])


def list_studies() -> list[BuiltIn]:
    """Give the studies that come with tlfeat, by name."""
    found = []
    for path in sorted(_FOLDER.glob("*.toml")):
        with path.open(encoding="utf-8") as file:
            found.append(BuiltIn(path.stem, file.readline().lstrip("# ").strip(), path))
    return found


def get_study(name: str) -> BuiltIn:
    """Give the study of that name; '-', '_' and case are equal.

    Raises
    ------
    UnknownName
        If there is none.
    """
    by_name = {study.name: study for study in list_studies()}
    found = by_name.get(name.strip().lower().replace("_", "-"))
    if found is None:
        raise UnknownName(
            f"There is no study {name!r}.{did_you_mean(name, by_name)} There are "
            f"{', '.join(by_name)}; a file of your own ends in .toml."
        )
    return found


def find_study(target: str) -> Path | None:
    """Give the file of a study that a target names: a `.toml` file, or a built-in study.

    Parameters
    ----------
    target : str
        What a user typed.

    Returns
    -------
    path : Path or None
        None where the target is no study: what exists at that path is a dataset.
    """
    path = Path(target).expanduser()
    if path.suffix == ".toml":
        return path
    if path.exists():
        return None
    wanted = target.strip().lower().replace("_", "-")
    return next((study.path for study in list_studies() if study.name == wanted), None)
