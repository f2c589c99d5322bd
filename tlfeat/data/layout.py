"""From the paths of pictures to their splits and labels: train/dress/a.jpg, dress/a.jpg, a.jpg.

Folders, zip and tar archives share these rules:

1. Top folders that hold all the pictures between them and nothing else (an archive's own name,
   `images/`) are looked through.
2. If a train folder is among the top folders, or all of them are named as splits, they are splits.
3. The next folder is the label; folders below it do not matter; no folder, no label.
"""

from collections import Counter
from collections.abc import Collection, Sequence
from typing import NamedTuple

from tlfeat.data.names import TRAIN, be, canonical_split, counted, label_name, printable

PICTURE_SUFFIXES = frozenset(
    (
        *("avif", "bmp", "dib", "gif", "heic", "heif", "ico", "j2k", "jfif", "jp2", "jpe"),
        *("jpeg", "jpg", "jpx", "mpo", "pbm", "pcx", "pgm", "png", "pnm", "ppm", "qoi"),
        *("tif", "tiff", "webp"),
    )
)
# Known not to be pictures: their first bytes need not be looked at.
OTHER_SUFFIXES = frozenset(
    (
        *("cls", "csv", "db", "doc", "docx", "gz", "h5", "htm", "html", "ini", "ipynb", "js"),
        *("json", "jsonl", "lock", "log", "mat", "md", "npy", "npz", "pdf", "pkl", "ps", "py"),
        *("rst", "sh", "sqlite", "tar", "toml", "tsv", "txt", "xls", "xlsx", "xml", "yaml"),
        *("yml", "zip"),
    )
)
_CLUTTER = frozenset({"thumbs.db", "desktop.ini", "__macosx"})

# Of the files that begin with a box "ftyp"; mif1 and msf1 may be either, and phones write HEIC.
AVIF_BRANDS = frozenset((b"avif", b"avis"))
HEIC_BRANDS = frozenset(
    (b"heic", b"heix", b"heim", b"heis", b"hevc", b"hevx", b"hevm", b"hevs", b"mif1", b"msf1")
)
_MAGIC = (
    b"\xff\xd8\xff",
    b"\x89PNG\r\n\x1a\n",
    b"GIF87a",
    b"GIF89a",
    b"II*\x00",
    b"MM\x00*",
    b"qoif",
    b"\x00\x00\x00\x0cjP  ",
    b"\xff\x4f\xff\x51",
)
_PNM = tuple(
    b"P" + kind + space for kind in (b"1", b"2", b"3", b"4", b"5", b"6") for space in (b"\n", b" ")
)


class Place(NamedTuple):
    """What the path of a picture says about it."""

    split: str | None
    label: str | None


def is_clutter(name: str) -> bool:
    """Tell hidden files, macOS' `._*` and `__MACOSX` and Windows' thumbnails by their name."""
    return name.startswith(".") or name.lower() in _CLUTTER


def suffix_of(name: str) -> str:
    """Give the suffix of a file name in lower case without its dot.

    Examples
    --------
    >>> suffix_of("A.JPG"), suffix_of("a")
    ('jpg', '')
    """
    return name.rpartition(".")[2].lower() if "." in name else ""


def looks_like_picture(head: bytes) -> bool:
    """Tell a picture by its first bytes (16 are enough)."""
    return (
        head.startswith(_MAGIC)
        or head.startswith(_PNM)
        or (head[:4] == b"RIFF" and head[8:12] == b"WEBP")
        or (head[4:8] == b"ftyp" and head[8:12] in AVIF_BRANDS | HEIC_BRANDS)
        or (head[:2] == b"BM" and head[6:10] == b"\x00\x00\x00\x00")
    )


def find_places(
    folders: Sequence[tuple[str, ...]], split_names: Collection[str] = ()
) -> tuple[list[Place], list[str]]:
    """Find split and label of each picture from the folders it lies in.

    Parameters
    ----------
    folders : sequence of tuples of str
        For each picture the names of the folders above it, from the top.
    split_names : collection of str
        Names of splits beyond the usual ones, in lower case.

    Returns
    -------
    places : list of Place
    notes : list of str
        What was left without a split, and why.
    """
    different = Counter(folders)
    depth = _shared_depth(different, split_names)
    tops = {parts[depth] for parts in different if len(parts) > depth}
    splits = {top for top in tops if _is_split(top, split_names)}
    has_train = any(canonical_split(top) == TRAIN or top.lower() in split_names for top in splits)
    if not (splits == tops or has_train):
        splits = set()

    places: dict[tuple[str, ...], Place] = {}
    outside: Counter[str] = Counter()
    for parts, count in different.items():
        below = parts[depth:]
        split = below[0] if below and below[0] in splits else None
        if splits and split is None:
            outside["/".join(below) or "the top folder"] += count
            places[parts] = Place(None, None)
            continue
        names = below[1:] if split else below
        places[parts] = Place(split, label_name(names[0]) if names else None)
    notes = []
    if outside:
        n = outside.total()
        where = ", ".join(sorted(printable(name) for name in outside)[:3])
        more = ", ..." if len(outside) > 3 else ""
        notes.append(
            f"{counted(n, 'picture')} {be(n, 'lies', 'lie')} outside the split "
            f"folders (in {where}{more}): no label, no split"
        )
    return [places[parts] for parts in folders], notes


def _is_split(name: str, split_names: Collection[str]) -> bool:
    return canonical_split(name) is not None or name.lower() in split_names


def _shared_depth(different: Collection[tuple[str, ...]], split_names: Collection[str]) -> int:
    """Count the top folders that only wrap the rest."""
    depth = 0
    while True:
        if any(len(parts) <= depth + 1 for parts in different):
            return depth  # pictures right in that folder: it is a class
        tops = {parts[depth] for parts in different}
        if len(tops) != 1 or _is_split(next(iter(tops)), split_names):
            return depth
        depth += 1
