"""The same packages on every node: what makes numbers must not differ between them."""

from collections.abc import Mapping
from typing import Any

from tlfeat.errors import ClusterError


def _asker() -> Any:
    """Make the function that asks, so that it travels by value: a node may lack tlfeat."""

    def versions() -> dict[str, str]:
        from contextlib import suppress
        from importlib.metadata import PackageNotFoundError, version
        from platform import python_version

        found = {"Python": python_version()}
        for name in (
            *("tlfeat", "numpy", "scipy", "scikit-learn", "pillow"),
            *("openvino", "tensorflow", "keras"),
        ):
            found[name] = "none"
            with suppress(PackageNotFoundError):
                found[name] = version(name)
        return found

    return versions


node_versions = _asker()


def check_versions(ours: Mapping[str, str], theirs: Mapping[str, Mapping[str, str]]) -> None:
    """Refuse a cluster of which a node has not the versions of this process.

    Parameters
    ----------
    ours : mapping of str to str
        Package to version.
    theirs : mapping
        The same by the name of each node.

    Raises
    ------
    ClusterError
        Naming the node, and both versions of all that differs.

    Examples
    --------
    >>> check_versions({"numpy": "2.1"}, {"a": {"numpy": "2.1"}})
    """
    for node, found in theirs.items():
        other = [
            f"{name} {found.get(name, 'none')} (here {version})"
            for name, version in ours.items()
            if found.get(name, "none") != version
        ]
        if other:
            raise ClusterError(
                f"{node} has {', '.join(other)}: install the same versions on every node, since "
                "features and runs would depend on where they were computed."
            )
