"""Names of splits, classes and pictures, as they come from disk and as they are shown.

What could go wrong: a file name is bytes, not text. Two names must never become one id, an id
must be safe to print on one line of a terminal, and where a dataset lies must be written so that
it can be opened again.
"""

import os
import re
import unicodedata
from collections.abc import Iterable
from pathlib import Path
from urllib.parse import unquote_to_bytes

from tlfeat.remote.urls import without_secrets

TRAIN, VALIDATION, TEST = "train", "validation", "test"
SPLITS = (TRAIN, VALIDATION, TEST)

_SYNONYMS = {
    "train": TRAIN,
    "training": TRAIN,
    "val": VALIDATION,
    "valid": VALIDATION,
    "validation": VALIDATION,
    "test": TEST,
    "testing": TEST,
}

_URI = "file://"

# Overrides of the writing direction can make a terminal or a page show another name.
_BIDI = frozenset("\u200e\u200f\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069")


def canonical_split(name: str) -> str | None:
    """Give our name of a split, whatever the case, or None where it is not one.

    Examples
    --------
    >>> canonical_split("Training"), canonical_split("val"), canonical_split("dress")
    ('train', 'validation', None)
    """
    return _SYNONYMS.get(name.strip().lower())


def printable(name: str) -> str:
    r"""Write a name on one line; different names stay different.

    Bytes that are not UTF-8, control characters and backslashes are escaped; everything else,
    emoji included, stays as it is.

    Examples
    --------
    >>> printable("two\nlines"), printable("caf\udce9.jpg")
    ('two\\nlines', 'caf\\xe9.jpg')
    """
    if name.isprintable() and "\\" not in name:
        return name
    return "".join(map(_escape, name))


def location(path: str | Path) -> str:
    r"""Write where something lies: the path as it is, or as a file URI where it is not UTF-8.

    Of a URL, password and signature are left out.

    Examples
    --------
    >>> location("data/café"), location("/data/caf\udce9")
    ('data/café', 'file:///data/caf%E9')
    """
    text = without_secrets(str(path))
    try:
        text.encode()
    except UnicodeEncodeError:
        return Path(path).expanduser().absolute().as_uri()
    return text


def as_path(place: str) -> Path:
    r"""Give the path that `location` wrote, or that a user did.

    Examples
    --------
    >>> str(as_path("data/café")), str(as_path("file:///data/caf%E9"))
    ('data/café', '/data/caf\udce9')
    """
    if place.startswith(f"{_URI}/"):
        return Path(os.fsdecode(unquote_to_bytes(place.removeprefix(_URI))))
    return Path(place).expanduser()


def label_name(name: str) -> str:
    """Give a class its name: printable, and one form for accents however they were typed."""
    return unicodedata.normalize("NFC", printable(name))


def sort_labels(names: Iterable[str]) -> tuple[str, ...]:
    """Sort class names: as numbers where all of them are numbers, else as text.

    Examples
    --------
    >>> sort_labels(["10", "9"]), sort_labels(["hat", "dress"])
    (('9', '10'), ('dress', 'hat'))
    """
    unique = set(names)
    if all(re.fullmatch(r"-?[0-9]+", name) for name in unique):
        return tuple(sorted(unique, key=lambda name: (int(name), name)))
    return tuple(sorted(unique))


def counted(count: int, what: str) -> str:
    """Write a number of things.

    Examples
    --------
    >>> counted(1, "picture"), counted(1797, "picture"), counted(2, "class")
    ('1 picture', '1,797 pictures', '2 classes')
    """
    plural = what + ("es" if what.endswith("s") else "s")
    return f"{count:,} {what if count == 1 else plural}"


def be(count: int, one: str = "is", more: str = "are") -> str:
    """Choose the verb that goes with a number of things."""
    return one if count == 1 else more


def _escape(char: str) -> str:
    if char == "\\":
        return "\\\\"
    if "\udc80" <= char <= "\udcff":  # how Python holds a byte that is not UTF-8
        return f"\\x{ord(char) - 0xDC00:02x}"
    if char in _BIDI or unicodedata.category(char) in {"Cc", "Cs", "Zl", "Zp"}:
        return char.encode("unicode_escape", "surrogatepass").decode("ascii")
    return char
