"""What pictures look like: a small one, sizes, brightness, sharpness; read when asked for.

Features tell what is in a picture; these numbers tell how it is made. Pictures are read when
they are first asked for.
"""

import hashlib
from collections.abc import Callable, Sequence
from typing import Final, NamedTuple, TypeVar

import numpy as np
import numpy.typing as npt
from PIL import Image

from tlfeat.data.dataset import Dataset
from tlfeat.data.decode import UndecodableImage, decode, picture_size
from tlfeat.data.prefetch import chunks_ahead
from tlfeat.data.samples import Sample
from tlfeat.data.sources.base import Picture
from tlfeat.errors import DataError
from tlfeat.watch import SILENT, Watch

SIDE: Final = 32  # of the small picture
_SIZE: Final = 224  # at which sharpness is measured: that of what networks see
_EDGE: Final = 16  # the border is such a part of a side wide
_CHUNK: Final = 64

T = TypeVar("T")

NUMBERS: Final = ("width", "height", "brightness", "contrast", "sharpness", "border")


class Looks:
    """What the pictures of some samples look like; what was read once is kept.

    Parameters
    ----------
    dataset : Dataset
    samples : sequence of Sample
        One for each picture; indexes below count them.
    jobs : int, optional
        Threads; one a core if None.
    watch : Watch
        Hears of the progress.
    """

    def __init__(
        self,
        dataset: Dataset,
        samples: Sequence[Sample],
        *,
        jobs: int | None = None,
        watch: Watch = SILENT,
    ) -> None:
        self._dataset, self._samples, self._jobs, self._watch = dataset, samples, jobs, watch
        self._small: npt.NDArray[np.uint8] | None = None
        self._looks: list[Look] | None = None

    @property
    def small(self) -> npt.NDArray[np.uint8]:
        """Small pictures; (n_pictures, SIDE, SIDE, 3)."""
        if self._small is None:
            self._small = np.stack(self._each(lambda data: decode(data, SIDE)))
        return self._small

    def pixels(self) -> list[str]:
        """Give what tells the pixels of each picture apart, as a network sees them."""
        return [one.pixels for one in self._looked]

    def numbers(self) -> dict[str, npt.NDArray[np.float64]]:
        """Give the numbers of all pictures.

        Returns
        -------
        numbers : dict of str to ndarray of shape (n_pictures,)
            Those of `Look`.
        """
        table = np.array([one.numbers for one in self._looked], dtype=np.float64)
        return {name: table[:, i] for i, name in enumerate(NUMBERS)}

    @property
    def _looked(self) -> "list[Look]":
        if self._looks is None:
            both = self._each(_both)  # the small ones too, since the bytes are there
            self._small = np.stack([small for small, _ in both])
            self._looks = [look for _, look in both]
        return self._looks

    def _each(self, see: Callable[[Picture], T]) -> list[T]:
        """Read every picture and see something of it."""

        def seen(sample: Sample) -> T:
            try:
                return see(self._dataset.read(sample))
            except (UndecodableImage, OSError) as error:
                raise DataError(
                    f"{sample.id} has features and cannot be read any more ({error}): bring it "
                    "back, or open the set without it."
                ) from error

        found: list[T] = []
        self._dataset.expect(self._samples)
        self._watch.start("looking", len(self._samples))
        try:
            for chunk in chunks_ahead(seen, self._samples, length=_CHUNK, threads=self._jobs):
                found += chunk
                self._watch.step(len(chunk))
        finally:
            self._watch.finish()
        return found


class Look(NamedTuple):
    """Numbers of one picture.

    Attributes
    ----------
    numbers : tuple of float
        As `NUMBERS` names them: width and height in pixels, as it is shown; the mean and the
        deviation of grey, 0 to 255; the variance of the Laplacian by that of grey; the mean of
        grey along the edges.
    pixels : str
        A digest of the square that networks see, and of the size.
    """

    numbers: tuple[float, ...]
    pixels: str


def _both(data: Picture) -> tuple[npt.NDArray[np.uint8], Look]:
    return decode(data, SIDE), look(decode(data, _SIZE), *picture_size(data))


def look(square: npt.NDArray[np.uint8], width: int, height: int) -> Look:
    """Measure one picture.

    Parameters
    ----------
    square : ndarray of shape (side, side, 3), uint8
    width, height : int
        Of the picture as it is.
    """
    grey = np.asarray(Image.fromarray(square).convert("L"), dtype=np.float32)
    edge = len(grey) // _EDGE
    inner = grey[edge:-edge, edge:-edge]
    border = float((grey.sum() - inner.sum()) / (grey.size - inner.size))
    laplacian = (
        grey[:-2, 1:-1] + grey[2:, 1:-1] + grey[1:-1, :-2] + grey[1:-1, 2:] - 4 * grey[1:-1, 1:-1]
    )
    variance = float(grey.var())
    sharpness = float(laplacian.var()) / max(variance, 1.0)
    pixels = hashlib.sha256(square.tobytes() + f"{width}x{height}".encode()).hexdigest()
    return Look((width, height, float(grey.mean()), variance**0.5, sharpness, border), pixels)
