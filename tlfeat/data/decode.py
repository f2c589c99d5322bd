"""From a picture's bytes, or an array, to RGB pixels of the size that a network wants.

What could go wrong, and is looked after here: a rotated photograph (EXIF), colours hidden under
transparent pixels, 16 bits clipped to white, CMYK, a file that lies about what it is, one that
unpacks to gigabytes. Whatever is wrong with a picture, the answer is `UndecodableImage`.

The rule is part of every recipe: a change of the numbers raises `tlfeat.data.resize.DECODER`.

Pictures of more than `MAX_HEADER_PIXELS`, or that would unpack to more than `MAX_PIXELS` (a large
JPEG is decoded at a fraction of its size), are refused. Pillow's own warning between its
limits is therefore silenced.
"""

import io
import warnings
from collections.abc import Callable
from functools import cache

import numpy as np
import numpy.typing as npt
from PIL import Image, UnidentifiedImageError

from tlfeat.data.layout import AVIF_BRANDS, HEIC_BRANDS
from tlfeat.data.names import printable
from tlfeat.data.resize import Resize
from tlfeat.data.sources.base import Picture
from tlfeat.errors import DataError

MAX_PIXELS = 89_478_485  # a quarter of a GiB as RGB; Pillow's limit for a warning
MAX_HEADER_PIXELS = 2 * MAX_PIXELS  # Pillow's limit for an error

# Formats that are pictures; MPO is opened as JPEG. Others that Pillow knows run other programs
# (EPS), are hard to tell from text (TGA, XPM), or hold no photographs.
FORMATS = (
    *("JPEG", "PNG", "PPM", "BMP", "DIB", "GIF", "TIFF", "WEBP"),
    *("AVIF", "JPEG2000", "ICO", "PCX", "QOI"),
)

_COMMON = ("JPEG", "PNG", "PPM", "BMP", "GIF", "TIFF", "WEBP", "AVIF", "JPEG2000")

_FILTERS = {
    "nearest": Image.Resampling.NEAREST,
    "box": Image.Resampling.BOX,
    "bilinear": Image.Resampling.BILINEAR,
    "bicubic": Image.Resampling.BICUBIC,
    "lanczos": Image.Resampling.LANCZOS,
}
PAD_GREY = 127
CROP_MARGIN = 32  # ImageNet's evaluation: the shorter side to size + 32, then the centre

_ORIENTATION = 0x0112
_TRANSPOSE = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}

warnings.simplefilter("ignore", Image.DecompressionBombWarning)
# A damaged tag is no news to the user: the picture decodes, or it is skipped with its reason.
warnings.filterwarnings("ignore", category=UserWarning, module=r"PIL\.\w+ImagePlugin")


class UndecodableImage(DataError):  # noqa: N818 - reads as a sentence where it is raised
    """A picture that cannot be decoded; the message is the reason."""


def decode(data: Picture, size: int, resize: Resize = Resize()) -> npt.NDArray[np.uint8]:
    """Decode a picture and bring it to a square of RGB pixels.

    Parameters
    ----------
    data : bytes or ndarray
        A file of any common format, told by its content; or uint8 of shape (height, width),
        (height, width, 1), (height, width, 3) or (height, width, 4), the last with alpha.
    size : int
        Pixels a side.
    resize : Resize
        How the picture becomes a square.

    Returns
    -------
    pixels : ndarray of shape (size, size, 3), uint8
        RGB; alpha over white; turned as EXIF says; the first frame of an animation.

    Raises
    ------
    UndecodableImage
        Whatever is wrong with the picture.
    """
    return _decoded(data, size, resize, lambda image: _resize(image, size, resize))


def decode_within(data: Picture, side: int) -> npt.NDArray[np.uint8]:
    """Decode a picture as it is shown: in its own shape, made smaller where it is too large.

    Parameters
    ----------
    data : bytes or ndarray
        As `decode` takes it.
    side : int
        Pixels that neither side is to exceed. What is smaller keeps its size.

    Returns
    -------
    pixels : ndarray of shape (height, width, 3), uint8
        As `decode` gives them.

    Raises
    ------
    UndecodableImage
        Whatever is wrong with the picture.
    """
    resize = Resize(rule="pad")

    def within(image: Image.Image) -> Image.Image:
        if max(image.size) <= side:
            return image
        return _scale(image, _fitted(image.size, side), _whole(image.size), resize)

    return _decoded(data, side, resize, within)


def _decoded(
    data: Picture, size: int, resize: Resize, scaled: Callable[[Image.Image], Image.Image]
) -> npt.NDArray[np.uint8]:
    """Decode a picture, bring it to its size, then turn it: what is small is turned sooner."""
    try:
        image = _from_array(data) if isinstance(data, np.ndarray) else _open(data, size, resize)
        orientation = _orientation(image)
        small = scaled(_flatten(image))
        turn = _TRANSPOSE.get(orientation)
        if turn is not None:
            small = small.transpose(turn)
        return np.array(small if small.mode == "RGB" else small.convert("RGB"))
    except UndecodableImage:
        raise
    except UnidentifiedImageError:
        raise UndecodableImage(_unknown(bytes(data[:16]))) from None
    except Image.DecompressionBombError:
        raise UndecodableImage(f"more than {MAX_HEADER_PIXELS:,} pixels") from None
    except MemoryError:
        raise UndecodableImage("needs more memory than there is") from None
    except Exception as error:  # Pillow's readers raise almost anything on broken files
        raise UndecodableImage(_reason(error)) from error


def pixels_of(image: Image.Image) -> npt.NDArray[np.uint8]:
    """Give the pixels of a PIL picture as `decode` sees those of its file.

    Parameters
    ----------
    image : Image

    Returns
    -------
    pixels : ndarray of shape (height, width) or (height, width, 3), uint8
        Alpha over white; turned as EXIF says.

    Raises
    ------
    UndecodableImage
        If nobody knows the range of its pixels.
    """
    turn = _TRANSPOSE.get(_orientation(image))
    flat = _flatten(image)
    return np.asarray(flat if turn is None else flat.transpose(turn))


def picture_size(data: Picture) -> tuple[int, int]:
    """Give the width and height of a picture as it is shown; a file's header tells them.

    Parameters
    ----------
    data : bytes or ndarray
        As for `decode`.

    Returns
    -------
    width, height : int
        In pixels, after the turn that EXIF asks for.

    Raises
    ------
    UndecodableImage
        If the bytes are no picture.
    """
    if isinstance(data, np.ndarray):
        height, width = data.shape[:2]
        return width, height
    try:
        image = _identified(data)
    except Exception as error:  # as in `decode`
        raise UndecodableImage(_reason(error)) from error
    width, height = image.size
    return (height, width) if _orientation(image) >= 5 else (width, height)


def decodable() -> dict[str, bool]:
    """Say which formats can be read here, by reading a small picture of each.

    Returns
    -------
    able : dict of str to bool
        HEIC is told by whether pillow-heif is installed, since Pillow does not write it.
    """
    able = {}
    for kind in _COMMON:
        file = io.BytesIO()
        try:
            Image.new("RGB", (16, 16), "red").save(file, kind)
            able[kind] = decode(file.getvalue(), 8).shape == (8, 8, 3)
        except (OSError, KeyError, UndecodableImage):
            able[kind] = False
    return {**able, "HEIC": _reads_heic()}


def _open(data: bytes, size: int, resize: Resize) -> Image.Image:
    if not data:
        raise UndecodableImage("zero bytes")
    image = _identified(data)
    width, height = image.size
    if width * height > MAX_HEADER_PIXELS:
        raise UndecodableImage(f"{width} x {height} is more than {MAX_HEADER_PIXELS:,} pixels")
    if resize.draft and image.format in ("JPEG", "MPO"):
        image.draft("RGB", _draft_size(width, height, size, resize.rule))
    width, height = image.size
    if width * height > MAX_PIXELS:
        raise UndecodableImage(
            f"{width} x {height} would unpack to more than {MAX_PIXELS:,} pixels"
        )
    image.load()
    return image


def _identified(data: bytes) -> Image.Image:
    try:
        return Image.open(io.BytesIO(data), formats=FORMATS)
    except UnidentifiedImageError:
        if not (_is_heic(data) and _reads_heic()):
            raise
        return Image.open(io.BytesIO(data), formats=("HEIF",))


def _is_heic(head: bytes) -> bool:
    return head[4:8] == b"ftyp" and head[8:12] in HEIC_BRANDS


@cache
def _reads_heic() -> bool:
    """Let Pillow read HEIC, if pillow-heif is installed."""
    try:
        import pillow_heif
    except ImportError:
        return False
    pillow_heif.register_heif_opener()
    return True


def _draft_size(width: int, height: int, size: int, rule: str) -> tuple[int, int]:
    """Give the least size to decode at; sizes are before any turn, so both sides count."""
    if rule == "pad":
        longer = max(width, height)
        return max(1, 2 * size * width // longer), max(1, 2 * size * height // longer)
    side = 2 * (size + CROP_MARGIN if rule == "crop" else size)
    return side, side


def _from_array(array: npt.NDArray[np.uint8]) -> Image.Image:
    if array.dtype != np.uint8:
        raise UndecodableImage(
            f"an array of {array.dtype}; wanted uint8 from 0 to 255: for values from 0 to 1 use "
            "(255 * x).round().astype('uint8')"
        )
    if array.ndim == 3 and array.shape[2] == 1:
        array = array[:, :, 0]
    if not (array.ndim == 2 or (array.ndim == 3 and array.shape[2] in (3, 4))):
        raise UndecodableImage(
            f"an array of shape {array.shape}; wanted (height, width) or (height, width, 3)"
        )
    if array.size == 0:
        raise UndecodableImage(f"an array of shape {array.shape} holds no pixels")
    if array.shape[0] * array.shape[1] > MAX_PIXELS:
        raise UndecodableImage(
            f"an array of shape {array.shape} is more than {MAX_PIXELS:,} pixels"
        )
    return Image.fromarray(np.ascontiguousarray(array))


def _orientation(image: Image.Image) -> int:
    """Read EXIF's orientation; a damaged EXIF block does not damage the picture."""
    try:
        value = image.getexif().get(_ORIENTATION, 1)
    except Exception:  # the block is foreign bytes, and only the picture matters
        return 1
    return value if isinstance(value, int) else 1


def _flatten(image: Image.Image) -> Image.Image:
    """Bring any mode to L or RGB."""
    mode = image.mode
    if mode.startswith("I;16"):
        return Image.fromarray((np.asarray(image) >> 8).astype(np.uint8))
    if mode == "I" and image.format in ("PNG", "PPM", "JPEG2000"):  # 16 bits in 32
        return Image.fromarray((np.asarray(image) >> 8).clip(0, 255).astype(np.uint8))
    if mode in ("I", "F"):
        raise UndecodableImage(
            f"{'32-bit integer' if mode == 'I' else 'floating point'} pixels, whose range nobody "
            "knows; scale them to 8 bits first"
        )
    if mode in ("LA", "La", "PA", "RGBA", "RGBa") or "transparency" in image.info:
        image = image.convert("RGBA")
        white = Image.new("RGBA", image.size, "white")
        white.alpha_composite(image)
        return white.convert("RGB")
    if mode in ("L", "RGB"):
        return image
    return image.convert("L" if mode == "1" else "RGB")


def _resize(image: Image.Image, size: int, resize: Resize) -> Image.Image:
    width, height = image.size
    if resize.rule == "crop":
        side = min(width, height) * size / (size + CROP_MARGIN)
        left, top = (width - side) / 2, (height - side) / 2
        return _scale(image, (size, size), (left, top, left + side, top + side), resize)
    whole = _whole(image.size)
    if resize.rule == "squash" or width == height:
        return _scale(image, (size, size), whole, resize)
    to = _fitted(image.size, size)
    square = Image.new(image.mode, (size, size), (PAD_GREY,) * len(image.getbands()))
    square.paste(_scale(image, to, whole, resize), ((size - to[0]) // 2, (size - to[1]) // 2))
    return square


def _whole(size: tuple[int, int]) -> tuple[float, float, float, float]:
    return 0.0, 0.0, float(size[0]), float(size[1])


def _fitted(size: tuple[int, int], side: int) -> tuple[int, int]:
    """Give width and height of the same shape whose longer one is a side long."""
    width, height = size
    longer = max(size)
    return max(1, round(side * width / longer)), max(1, round(side * height / longer))


def _scale(
    image: Image.Image,
    to: tuple[int, int],
    box: tuple[float, float, float, float],
    resize: Resize,
) -> Image.Image:
    kind = _FILTERS[resize.filter]
    if resize.antialias:
        return image.resize(to, kind, box=box)
    nearest_of = {Image.Resampling.BOX: Image.Resampling.NEAREST}
    plain = nearest_of.get(kind, Image.Resampling.BICUBIC if resize.filter == "lanczos" else kind)
    return image.transform(to, Image.Transform.EXTENT, box, plain)


def _unknown(head: bytes) -> str:
    if head[4:8] == b"ftyp" and head[8:12] in AVIF_BRANDS:
        return "AVIF, but torn, or Pillow was built without it"
    if _is_heic(head):
        return (
            "HEIC, which needs pillow-heif: pip install 'tlfeat[heif]', then --retry-failed; or "
            "convert it to JPEG"
        )
    kind = ""
    if head.startswith((b"\0\0\0\x0cJXL ", b"\xff\x0a")):
        kind = "JPEG XL"
    elif head.startswith(b"8BPS"):
        kind = "Photoshop"
    if kind:
        return f"{kind}, which cannot be read here: convert it to JPEG first"
    return "not a picture, or of a format that is not read"


def _reason(error: Exception) -> str:
    text = printable(" ".join(str(error).split()))
    return f"broken: {text or type(error).__name__}"[:200]
