"""Pictures with flipped, cut and spliced bytes: a picture or a reason, always the same."""

import io
import random
import time
import warnings
from collections.abc import Iterator

import numpy as np
from pictures import scene as smooth
from PIL import Image

from faults.common import SIDE, Outcome, Scene
from tlfeat.data.decode import UndecodableImage, decode
from tlfeat.data.resize import Resize

LONGEST = 20.0  # seconds
_FORMATS = (
    ("JPEG", {"quality": 80}),
    ("JPEG", {"quality": 60, "progressive": True}),
    ("PNG", {}),
    ("WEBP", {"quality": 80}),
    ("WEBP", {"lossless": True}),
    ("TIFF", {}),
    ("TIFF", {"compression": "tiff_deflate"}),
    ("TIFF", {"compression": "tiff_lzw"}),
    ("GIF", {}),
    ("BMP", {}),
)


def of_pictures(scene: Scene, count: int) -> Outcome:
    """Decode mutated pictures twice each."""
    outcome = Outcome("mutated pictures")
    chance = random.Random(6)
    sound = list(_encoded())
    for number in range(count):
        kind, data = sound[number % len(sound)]
        mutant = _mutated(data, [other for _, other in sound], chance)
        outcome.tried += 1
        began = time.monotonic()
        first, second = _decoded(mutant), _decoded(mutant)
        if time.monotonic() - began > LONGEST:
            outcome.wrong.append(f"a {kind} takes longer than {LONGEST:.0f} s")
        if isinstance(first, Exception):
            outcome.wrong.append(f"a {kind} raises {type(first).__name__}: {first}")
        elif not np.array_equal(first, second):
            outcome.wrong.append(f"a {kind} is decoded in two ways")
        elif isinstance(first, np.ndarray) and (first.shape, first.dtype) != (
            (SIDE, SIDE, 3),
            np.uint8,
        ):
            outcome.wrong.append(f"a {kind} is decoded to {first.shape}")
    return outcome


def _encoded() -> Iterator[tuple[str, bytes]]:
    grey = Image.fromarray(smooth()[:, :, 0])
    for kind, how in _FORMATS:
        for image in (Image.fromarray(smooth()), grey):
            file = io.BytesIO()
            image.save(file, kind, **how)
            yield kind, file.getvalue()


def _mutated(data: bytes, others: list[bytes], chance: random.Random) -> bytes:
    mutant = bytearray(data)
    what = chance.randrange(4)
    if what == 0:  # flips, most of them where they hurt: in the headers
        for _ in range(chance.choice((1, 1, 2, 8))):
            at = chance.randrange(min(len(mutant), chance.choice((64, len(mutant)))))
            mutant[at] ^= 1 << chance.randrange(8)
    elif what == 1:
        del mutant[chance.randrange(len(mutant)) :]
    elif what == 2:  # the rest of another picture
        other = chance.choice(others)
        mutant[chance.randrange(len(mutant)) :] = other[chance.randrange(len(other)) :]
    else:
        at, length = chance.randrange(len(mutant)), chance.choice((1, 4, 16))
        mutant[at : at + length] = chance.randbytes(length)
    return bytes(mutant)


def _decoded(data: bytes) -> np.ndarray | str | Exception:
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            return decode(data, SIDE, Resize())
    except UndecodableImage as error:
        return str(error)
    except Exception as error:
        return error
