"""Trained heads as files: skops, never pickle.

A `head.skops` is a file of skops that holds the pipeline, so `skops.io.load` opens it without
tlfeat. Beside the pipeline it has a member `tlfeat.json`: the head, its classes, its settings.
Before anything is built from a file, the types of all objects in it are compared with the exact
list of its head; whatever is not on it is refused.
"""

import json
import zlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final
from zipfile import BadZipFile, ZipFile

from tlfeat.errors import HeadError, UnknownName, first_line
from tlfeat.files import replacing
from tlfeat.heads.table import CALIBRATION_TYPES, Head, get_head
from tlfeat.heads.trained import TrainedHead

_FACTS: Final = "tlfeat.json"
_SCHEMA: Final = 1
# What zipfile and json raise on damaged files, and on deep ones (RecursionError).
_DAMAGE: Final = (
    *(OSError, BadZipFile, zlib.error, EOFError),
    *(KeyError, TypeError, ValueError, RuntimeError),
)


@dataclass(frozen=True)
class LoadedHead(TrainedHead):
    """A trained head from a file."""

    classes: tuple[str, ...]  # the names behind the class indexes


def save_head(fitted: TrainedHead, path: str | Path, *, classes: Sequence[str]) -> Path:
    """Save a trained head.

    Parameters
    ----------
    fitted : TrainedHead
    path : str or Path
        `head.skops` by custom. Replaced as a whole if it is there.
    classes : sequence of str
        The names behind the class indexes.

    Returns
    -------
    path : Path

    Raises
    ------
    TlfeatError
        If the disk is full, or refuses the file.
    """
    import skops.io

    path = Path(path)
    if len(classes) != fitted.n_classes:
        raise ValueError(f"{fitted.n_classes} classes need as many names; got {len(classes)}.")
    facts = {
        "schema": _SCHEMA,
        "head": fitted.name,
        "classes": list(classes),
        "settings": dict(fitted.settings),
        "score_kind": fitted.score_kind,
    }
    with replacing(path) as part:
        skops.io.dump(fitted.pipeline, part)
        with ZipFile(part, "a") as file:
            file.writestr(_FACTS, json.dumps(facts, ensure_ascii=True, indent=1))
    return path


def load_head(path: str | Path) -> LoadedHead:
    """Load a trained head, building nothing that is not on its head's list of types.

    Raises
    ------
    HeadError
        If the file is not there, is not a head's, or holds an object of another type.
    """
    import skops.io

    path = Path(path)
    head, facts = _inspect(path)
    try:
        # all types are on the head's list by now; of those that skops does not trust by itself
        # only scikit-learn's calibration is meant
        pipeline = skops.io.load(path, trusted=list(CALIBRATION_TYPES))
        labels = [int(label) for label in pipeline.classes_]
    except Exception as error:
        raise HeadError(f"{path} cannot be read as a head: {first_line(error)}") from error
    if not labels or min(labels) < 0 or max(labels) >= len(facts["classes"]):
        raise HeadError(
            f"{path} was altered: its head tells class {max(labels, default=0)} and it names "
            f"{len(facts['classes'])}. Train it again."
        )
    return LoadedHead(
        head.name,
        pipeline,
        facts["settings"],
        facts["score_kind"],
        len(facts["classes"]),
        tuple(facts["classes"]),
    )


def _inspect(path: Path) -> tuple[Head, Mapping[str, Any]]:
    """Read what a file says of itself, and refuse it if it holds other types than its head's."""
    try:
        with ZipFile(path) as file:
            # ours are not compressed: what unpacks to more than the file would fill the memory
            if sum(member.file_size for member in file.infolist()) > path.stat().st_size:
                raise ValueError("it unpacks to more than it holds")
            facts = json.loads(file.read(_FACTS))
            schema = json.loads(file.read("schema.json"))
        head = get_head(str(facts["head"]))
        if facts["score_kind"] not in ("probability", "score"):
            raise ValueError("its scores are of no known kind")
        if not isinstance(facts["settings"], dict) or not all(
            isinstance(name, str) for name in facts["classes"]
        ):
            raise TypeError("settings and classes")
        found = set(_types(schema))
    except FileNotFoundError:
        raise HeadError(f"There is no head at {path}.") from None
    except (*_DAMAGE, UnknownName) as error:
        raise HeadError(
            f"{path} is not a head that tlfeat saved ({type(error).__name__}: {error})."
        ) from error
    strange = sorted(found - head.file_types)
    if strange:
        raise HeadError(
            f"{path} is refused: a {head.name} has no object of type {strange[0]!r}, so the file "
            "was altered, or written by another version of scikit-learn."
        )
    return head, facts


def _types(node: Any) -> Iterator[str]:
    """Give the type of every object, and the name of every type or function, in a schema."""
    if isinstance(node, list):
        for part in node:
            yield from _types(part)
    elif isinstance(node, dict):
        if "__class__" in node:
            yield f"{node.get('__module__')}.{node['__class__']}"
        for key, part in node.items():
            if key not in ("__class__", "__module__"):
                yield from _types(part)
