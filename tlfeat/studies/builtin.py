"""The studies that come with tlfeat, and what a user may have meant by the name of one."""

import tomllib
from pathlib import Path
from typing import Final, NamedTuple

from tlfeat.errors import UnknownName, did_you_mean, nearest

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
    """Give the studies that come with tlfeat, by name.

    Examples
    --------
    >>> [study.name for study in tlfeat.list_studies()][:2]  # doctest: +SKIP
    ['food101-efficientnet', 'gtsrb-nasnet']
    """
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

    Raises
    ------
    UnknownName
        If nothing is there and the name is near to that of a study.
    """
    path = Path(target).expanduser()
    if path.exists():
        return path if path.suffix == ".toml" else None
    by_name = {study.name: study for study in list_studies()}
    built_in = by_name.get(target.strip().lower().replace("_", "-"))
    if built_in is not None:
        return built_in.path
    if path.suffix == ".toml":
        files = [file.name for file in path.parent.glob("*.toml")]
        hint = did_you_mean(path.name, files) or did_you_mean(path.stem, by_name)
        raise UnknownName(f"There is no study file {target!r}.{hint}")
    if ":" in target or target == "digits":  # a dataset by its name
        return None
    near = nearest(target, by_name)
    if near is not None:
        raise UnknownName(
            f"Nothing lies at {target!r}, and no study is called so. Did you mean {near!r}? "
            "`tlfeat studies` lists them."
        )
    return None
