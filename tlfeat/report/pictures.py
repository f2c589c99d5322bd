"""Which pictures a page shows, and how they get into it.

A page is one file that people mail to each other, so both their number and their bytes are
bounded; the page says how many it left out.
"""

import base64
import io
import os
from collections.abc import Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from types import MappingProxyType
from typing import NamedTuple
from urllib.parse import quote

import numpy as np
from PIL import Image

from tlfeat.cores import usable_cores
from tlfeat.data.dataset import Dataset
from tlfeat.data.decode import UndecodableImage, decode_within
from tlfeat.data.samples import Sample
from tlfeat.errors import DataError
from tlfeat.watch import SILENT, Watch

SIDE = 96  # pixels, of the longer side; what is smaller stays as it is
MOST_PICTURES = 1_200
MOST_BYTES = 2_200_000  # as text, of all small pictures of a page
LARGE_SIDE = 400  # pixels, of those that are looked at more closely
MOST_LARGE, MOST_LARGE_BYTES = 60, 500_000
MOST_SAMPLES = 4_000  # whose predictions the page knows one by one
MISTAKES = 24  # most confident ones that are shown of each run
_BLOCK = 64


class PagePictures(NamedTuple):
    """The pictures that a page has.

    Attributes
    ----------
    small : dict of str to str
        Digest to data URI.
    large : dict of str to str
        The same, of the few that tell most, to be looked at more closely.
    files : str or None
        URL of the folder that the samples' ids are paths in, relative to the page; None where
        they are no such paths.
    """

    small: Mapping[str, str] = MappingProxyType({})
    large: Mapping[str, str] = MappingProxyType({})
    files: str | None = None


def page_pictures(
    dataset: Dataset,
    wanted: Sequence[str],
    ids: Sequence[str],
    digests: Sequence[str],
    folder: Path,
    *,
    share: int = 1,
    watch: Watch = SILENT,
) -> PagePictures:
    """Make the pictures of a page.

    Parameters
    ----------
    dataset : Dataset
    wanted : sequence of str
        Digests of the pictures to show, the most wanted first.
    ids, digests : sequence of str
        Of the samples that can be looked at more closely, the most wanted first.
    folder : Path
        Of the page.
    share : int
        How many datasets share the page's bytes.
    watch : Watch
        Hears of the progress.

    Returns
    -------
    pictures : PagePictures
    """
    small = thumbnails(
        dataset,
        wanted,
        most=MOST_PICTURES // share,
        most_bytes=MOST_BYTES // share,
        watch=watch,
    )
    large = thumbnails(
        dataset,
        [digest for digest in digests if digest in small],
        most=MOST_LARGE // share,
        most_bytes=MOST_LARGE_BYTES // share,
        side=LARGE_SIDE,
    )
    return PagePictures(small, large, _files(dataset, ids, folder))


def _files(dataset: Dataset, ids: Sequence[str], folder: Path) -> str | None:
    """Give the way from a page to the folder that ids are paths in; they may be none."""
    root = Path(dataset.path)
    first = next((one for one in ids if "\\" not in one), None)  # of the others ids are escaped
    if first is None or not (root / first).is_file():
        return None
    return quote(Path(os.path.relpath(root, folder)).as_posix())


def choose_samples(
    true: np.ndarray,
    predicted: np.ndarray,
    confidence: np.ndarray,
    most: int = MOST_SAMPLES,
) -> np.ndarray:
    """Choose the samples that tell most, in the order in which they deserve a picture.

    Parameters
    ----------
    true : ndarray of shape (n_samples,), int
    predicted : ndarray of shape (n_runs, n_samples), int
        The best run first.
    confidence : ndarray of shape (n_runs, n_samples)
    most : int

    Returns
    -------
    chosen : ndarray of shape (n_chosen,), int
        What every run gets wrong, each run's most confident mistakes, then mistakes and right
        answers in turn from all cells of the confusion matrices.
    """
    wrong = predicted != true
    order: list[Iterable[int]] = [np.flatnonzero(wrong.all(axis=0))[: 5 * MISTAKES]]
    order += [
        confident_mistakes(wrong[run], confidence[run], MISTAKES) for run in range(len(predicted))
    ]
    for run in range(len(predicted)):
        mistakes = np.flatnonzero(wrong[run])
        order.append(_in_turn(mistakes, true[mistakes] * 10_000 + predicted[run][mistakes]))
    rest = np.arange(len(true))
    order.append(_in_turn(rest, true))
    return np.array(
        list(dict.fromkeys(int(i) for part in order for i in part))[:most], dtype=np.int64
    )


def confident_mistakes(wrong: np.ndarray, confidence: np.ndarray, most: int) -> np.ndarray:
    """Give the mistakes of a run that it was surest of, the surest first."""
    places = np.flatnonzero(wrong)
    return places[np.argsort(-confidence[places], kind="stable")][:most]


def _in_turn(places: np.ndarray, cells: np.ndarray) -> np.ndarray:
    """Order places so that every cell gives its first before any gives its second."""
    order = np.argsort(cells, kind="stable")
    starts = np.r_[True, np.diff(cells[order]) != 0]
    first = np.maximum.accumulate(np.where(starts, np.arange(len(order)), 0))
    turn = np.arange(len(order)) - first
    return np.asarray(places[order][np.argsort(turn, kind="stable")])


def thumbnails(
    dataset: Dataset,
    digests: Sequence[str],
    *,
    most: int = MOST_PICTURES,
    most_bytes: int = MOST_BYTES,
    side: int = SIDE,
    watch: Watch = SILENT,
) -> dict[str, str]:
    """Make small pictures of a dataset's samples, as data URIs.

    Parameters
    ----------
    dataset : Dataset
    digests : sequence of str
        The most wanted first.
    most, most_bytes : int
        Where to stop.
    side : int
        Pixels of the longer side.
    watch : Watch
        Hears of the progress.

    Returns
    -------
    pictures : dict of str to str
        Digest to data URI; a picture that cannot be read any more is left out.
    """
    by_digest = {sample.digest: sample for sample in dataset.samples}
    wanted = [by_digest[d] for d in dict.fromkeys(digests) if d in by_digest][:most]

    def small(sample: Sample) -> str | None:
        try:
            return webp_uri(Image.fromarray(decode_within(dataset.read(sample), side)))
        except (UndecodableImage, OSError, DataError):  # its server may be gone: the rest stands
            return None

    found: dict[str, str] = {}
    spent = 0
    dataset.expect(wanted)
    watch.start("small pictures", len(wanted))
    try:
        with ThreadPoolExecutor(usable_cores()) as pool:
            for start in range(0, len(wanted), _BLOCK):
                block = wanted[start : start + _BLOCK]
                for sample, uri in zip(block, pool.map(small, block), strict=True):
                    watch.step()
                    if uri is None or spent + len(uri) > most_bytes:
                        continue
                    found[sample.digest] = uri
                    spent += len(uri)
                if spent > 0.98 * most_bytes:
                    break
    finally:
        watch.finish()
    return found


def webp_uri(image: Image.Image, quality: int = 68) -> str:
    """Write a picture as a WebP data URI."""
    file = io.BytesIO()
    image.save(file, "WEBP", quality=quality, method=3)
    return "data:image/webp;base64," + base64.b64encode(file.getvalue()).decode("ascii")
