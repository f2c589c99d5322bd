"""Decoding: every way a file can hold a known picture gives that picture."""

import io
import struct
import zlib
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from pictures import encode, scene
from PIL import Image, features

from tlfeat.data.decode import UndecodableImage, decode, decode_within
from tlfeat.data.resize import Resize
from tlfeat.errors import DataError

# pytest puts its own filters in the place of those that decoding sets.
pytestmark = [
    pytest.mark.filterwarnings("ignore::PIL.Image.DecompressionBombWarning"),
    pytest.mark.filterwarnings(r"ignore::UserWarning:PIL\.\w+ImagePlugin"),
]

SIZE = 32
SCENE = scene()
WANTED = decode(SCENE, SIZE)
needs_avif = pytest.mark.skipif(not features.check("avif"), reason="this Pillow has no AVIF")


def far(got, wanted=WANTED):
    """The mean and the largest difference of two pictures."""
    difference = np.abs(got.astype(int) - wanted.astype(int))
    return difference.mean(), difference.max()


def test_heic_is_read_where_pillow_heif_is_installed_and_turned_once():
    pillow_heif = pytest.importorskip("pillow_heif")
    pixels = np.zeros((40, 60, 3), np.uint8)
    pixels[:, :30] = (200, 30, 30)
    file = io.BytesIO()
    exif = Image.Exif()
    exif[0x0112] = 6  # to be turned a quarter
    picture = pillow_heif.from_pillow(Image.fromarray(pixels))
    picture.save(file, quality=95, exif=exif.tobytes())
    square = decode(file.getvalue(), 32).astype(int)
    assert square[4, 16, 0] > 150  # red is above after the turn
    assert square[28, 16, 0] < 60


@pytest.mark.parametrize(
    ("kind", "how", "mean"),
    [
        ("PNG", {}, 0),
        ("PPM", {}, 0),
        ("BMP", {}, 0),
        ("TIFF", {}, 0),
        ("TIFF", {"compression": "tiff_lzw"}, 0),
        ("WEBP", {"lossless": True}, 0),
        ("JPEG2000", {}, 0.5),
        ("JPEG", {"quality": 95}, 1.5),
        ("JPEG", {"quality": 95, "progressive": True}, 1.5),
        ("WEBP", {"quality": 95}, 2),
        pytest.param("AVIF", {"quality": 95}, 2, marks=needs_avif),
        ("GIF", {}, 4),
    ],
)
def test_every_format_gives_the_picture(kind, how, mean):
    assert far(decode(encode(SCENE, kind, **how), SIZE))[0] <= mean


def test_the_answer_is_a_square_of_rgb_bytes():
    assert (WANTED.shape, WANTED.dtype) == ((SIZE, SIZE, 3), np.uint8)
    assert WANTED.flags.c_contiguous
    assert WANTED.flags.writeable


TURNS = {
    1: lambda a: a,
    2: lambda a: a[:, ::-1],
    3: lambda a: a[::-1, ::-1],
    4: lambda a: a[::-1],
    5: lambda a: a.transpose(1, 0, 2),
    6: lambda a: np.rot90(a, 1),
    7: lambda a: a[::-1, ::-1].transpose(1, 0, 2),
    8: lambda a: np.rot90(a, -1),
}


@pytest.mark.parametrize("rule", ["squash", "crop", "pad"])
@pytest.mark.parametrize("kind", ["PNG", "JPEG", "TIFF", "WEBP"])
@pytest.mark.parametrize("orientation", range(1, 9))
def test_exif_orientation_is_undone(orientation, kind, rule):
    exif = Image.Exif()
    exif[0x0112] = orientation
    stored = np.ascontiguousarray(TURNS[orientation](scene(240, 180)))
    how = {"lossless": True} if kind == "WEBP" else {}
    got = decode(encode(stored, kind, exif=exif, **how), SIZE, Resize(rule))
    assert far(got, decode(scene(240, 180), SIZE, Resize(rule)))[0] < 1.5


@pytest.mark.parametrize("orientation", range(1, 9))
def test_a_picture_as_it_is_shown_keeps_its_shape_and_is_never_enlarged(orientation):
    exif = Image.Exif()
    exif[0x0112] = orientation
    stored = encode(np.ascontiguousarray(TURNS[orientation](scene(240, 180))), "PNG", exif=exif)
    assert (decode_within(stored, 240) == scene(240, 180)).all()
    small = decode_within(stored, 96)
    height, width, _ = scene(240, 180).shape
    assert small.shape == (96 * height // 240, 96 * width // 240, 3)
    wanted = Image.fromarray(scene(240, 180)).resize(small.shape[1::-1])
    assert far(small, np.asarray(wanted))[0] < 2
    with pytest.raises(UndecodableImage, match="zero bytes"):
        decode_within(b"", 96)


def test_a_damaged_exif_block_does_not_damage_the_picture():
    data = encode(SCENE, "JPEG", quality=95, exif=b"Exif\0\0MM\0*\xff\xff\xff\xffrubbish")
    assert far(decode(data, SIZE))[0] < 1.5


def test_grey_palette_and_one_bit():
    grey = Image.fromarray(SCENE).convert("L")
    wanted = decode(np.asarray(grey), SIZE)
    assert (wanted[..., 0] == wanted[..., 2]).all()
    assert far(decode(encode(grey), SIZE), wanted) == (0, 0)
    palette = Image.fromarray(SCENE).quantize(256)
    assert far(
        decode(encode(palette), SIZE), decode(np.asarray(palette.convert("RGB")), SIZE)
    ) == (0, 0)
    bits = Image.new("1", (20, 20), 1)
    assert (decode(encode(bits), SIZE) == 255).all()


def test_alpha_lies_over_white_and_hidden_colours_stay_hidden():
    hidden = np.dstack([SCENE, np.zeros(SCENE.shape[:2], np.uint8)])
    assert (decode(encode(hidden), SIZE) == 255).all()
    assert (decode(encode(Image.fromarray(hidden).convert("LA")), SIZE) == 255).all()
    assert (decode(encode(hidden, "WEBP", lossless=True, exact=True), SIZE) == 255).all()
    assert (decode(hidden, SIZE) == 255).all()
    half = np.dstack([np.zeros_like(SCENE), np.full(SCENE.shape[:2], 128, np.uint8)])
    assert np.abs(decode(encode(half), SIZE).astype(int) - 127).max() <= 1


def test_transparent_palette_and_transparent_colour_lie_over_white():
    palette = Image.new("P", (8, 8), 1)
    palette.putpalette([0, 0, 0, 10, 20, 30])
    assert (decode(encode(palette, transparency=1), SIZE) == 255).all()
    assert (decode(encode(palette, "GIF", transparency=1), SIZE) == 255).all()
    colour = Image.new("RGB", (8, 8), (10, 20, 30))
    assert (decode(encode(colour, transparency=(10, 20, 30)), SIZE) == 255).all()
    assert (decode(encode(colour), SIZE) == (10, 20, 30)).all()


def test_cmyk_and_ycck():
    cmyk = Image.fromarray(SCENE).convert("CMYK")
    assert far(decode(encode(cmyk, "TIFF"), SIZE))[0] < 1
    assert far(decode(encode(cmyk, "JPEG", quality=95), SIZE))[0] < 2
    ycck = as_ycck(encode(cmyk_of_ycck(SCENE), "JPEG", quality=95, subsampling=0))
    assert far(decode(ycck, SIZE))[0] < 3


def cmyk_of_ycck(rgb):
    """The bands that, read as YCCK, are this picture: YCbCr of its inks, and no black."""
    # Adobe stores ink inverted, and Pillow inverts once more when it writes.
    y, cb, cr = Image.fromarray(255 - rgb).convert("YCbCr").split()
    inverted = [Image.fromarray(255 - np.asarray(band)) for band in (y, cb, cr)]
    return Image.merge("CMYK", [*inverted, Image.new("L", y.size, 0)])


def as_ycck(jpeg):
    """Turn the transform byte of Adobe's marker from 0 (CMYK) to 2 (YCCK)."""
    at = jpeg.index(b"Adobe")
    return jpeg[: at + 11] + b"\x02" + jpeg[at + 12 :]


def test_sixteen_bits_are_scaled_not_clipped():
    deep = sixteen(SCENE[..., 0])
    wanted = decode(SCENE[..., 0], SIZE)
    for kind in ("PNG", "TIFF", "JPEG2000"):
        assert far(decode(encode(deep, kind), SIZE), wanted)[1] <= 1, kind
    pgm = b"P5 64 48 65535\n" + deep.astype(">u2").tobytes()
    assert far(decode(pgm, SIZE), wanted)[1] <= 1
    big = b"".join(tiff_grey16(deep, ">"))
    assert far(decode(big, SIZE), wanted)[1] <= 1
    assert far(decode(png48(sixteen(SCENE)), SIZE))[1] <= 1


def sixteen(values):
    """The same picture in 16 bits; the lower eight say something else."""
    return values.astype(np.uint16) * 256 + (255 - values)


def tiff_grey16(values, order):
    """A TIFF of either byte order."""
    height, width = values.shape
    pixels = values.astype(f"{order}u2").tobytes()
    tags = [(256, width), (257, height), (258, 16), (259, 1), (262, 1)]
    tags += [(273, 8 + 2 + 12 * 9 + 4), (277, 1), (278, height), (279, len(pixels))]
    yield (b"MM\0*" if order == ">" else b"II*\0") + struct.pack(f"{order}IH", 8, len(tags))
    for tag, value in tags:
        kind, code = (3, "HH") if value < 65536 and tag != 273 else (4, "I")
        packed = struct.pack(order + code, *((value, 0) if kind == 3 else (value,)))
        yield struct.pack(f"{order}HHI", tag, kind, 1) + packed
    yield struct.pack(f"{order}I", 0) + pixels


def png_of(width, height, depth, colour, data):
    def chunk(name, body):
        return (
            struct.pack(">I", len(body)) + name + body + struct.pack(">I", zlib.crc32(name + body))
        )

    head = struct.pack(">IIBBBBB", width, height, depth, colour, 0, 0, 0)
    return (
        b"\x89PNG\r\n\x1a\n"
        + chunk(b"IHDR", head)
        + chunk(b"IDAT", zlib.compress(data))
        + chunk(b"IEND", b"")
    )


def png48(values):
    rows = b"".join(b"\0" + row.astype(">u2").tobytes() for row in values)
    return png_of(values.shape[1], values.shape[0], 16, 2, rows)


def test_the_first_frame_of_an_animation_counts():
    frames = [Image.fromarray(SCENE), Image.new("RGB", (64, 48), "red")]
    for kind, how in (
        ("GIF", {}),
        ("WEBP", {"lossless": True}),
        ("PNG", {}),
        ("TIFF", {}),
        ("MPO", {"quality": 95}),
    ):
        file = io.BytesIO()
        frames[0].save(file, kind, save_all=True, append_images=frames[1:], **how)
        assert far(decode(file.getvalue(), SIZE))[0] < 4, kind


def test_draft_changes_little_and_can_be_turned_off():
    data = encode(scene(1600, 1200), "JPEG", quality=95)
    fast, slow = decode(data, SIZE), decode(data, SIZE, Resize(draft=False))
    assert far(fast, slow)[0] < 1
    assert far(fast, decode(scene(1600, 1200), SIZE))[0] < 1.5


@pytest.mark.parametrize("rule", ["squash", "crop", "pad"])
def test_draft_leaves_at_least_twice_the_size(rule, monkeypatch):
    asked = []
    real = Image.Image.resize

    def spy(self, *args, **kwargs):
        asked.append(self.size)
        return real(self, *args, **kwargs)

    monkeypatch.setattr(Image.Image, "resize", spy)
    decode(encode(scene(1600, 800), "JPEG"), 90, Resize(rule))
    assert asked == [{"squash": (400, 200), "crop": (800, 400), "pad": (200, 100)}[rule]]


def test_crop_and_pad_keep_proportions():
    wide = np.zeros((100, 300, 3), np.uint8)
    wide[:, 100:200] = 200
    assert (decode(wide, 64, Resize("crop")) == 200).all()
    padded = decode(wide, 60, Resize("pad"))
    assert (padded[:20] == 127).all()
    assert (padded[40:] == 127).all()
    assert (padded[30, 25:35] == 200).all()
    assert (padded[30, :15] == 0).all()


def test_without_antialias_fine_stripes_alias():
    stripes = np.zeros((256, 256), np.uint8)
    stripes[:, ::2] = 255
    smooth = decode(stripes, SIZE)
    rough = decode(stripes, SIZE, Resize(antialias=False, filter="nearest"))
    assert np.abs(smooth.astype(int) - 127).max() <= 6
    assert set(np.unique(rough)) <= {0, 255}


def test_arrays_of_all_allowed_shapes():
    for shape in ((9, 7), (9, 7, 1), (9, 7, 3), (9, 7, 4), (1, 1)):
        assert decode(np.full(shape, 255, np.uint8), SIZE).shape == (SIZE, SIZE, 3)


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        (np.zeros((8, 8, 3), np.float32), r"float32; wanted uint8 .* \(255 \* x\)"),
        (np.zeros((8, 8, 3), np.int64), "int64"),
        (np.zeros((3, 8, 8), np.uint8), r"\(3, 8, 8\); wanted"),
        (np.zeros((0, 8), np.uint8), "no pixels"),
        (b"", "zero bytes"),
        (b"a text file named .jpg", "not a picture"),
        (b"\0\0\0\x18ftypheic\0\0\0\0", "HEIC, which needs pillow-heif: .* convert it to JPEG"),
        (b"\0\0\0\x18ftyphevc\0\0\0\0", "HEIC, which needs pillow-heif: .* convert it to JPEG"),
        (b"\0\0\0\x0cJXL \r\n\x87\n", "JPEG XL, .* convert it to JPEG"),
        (b"8BPS\0\1", "Photoshop, .* convert it to JPEG"),
        (encode(SCENE, "AVIF")[:100], "AVIF, but torn"),
        (b"%!PS-Adobe-3.0 EPSF-3.0\n", "not a picture"),
        (encode(SCENE, "JPEG")[:-200], "truncated"),
        (encode(SCENE, "PNG")[:200], "broken"),
        (encode(Image.new("F", (4, 4)), "TIFF"), "floating point"),
        (encode(Image.new("I", (4, 4)), "TIFF"), "32-bit integer"),
    ],
)
def test_what_cannot_be_decoded_says_why(data, reason):
    with pytest.raises(UndecodableImage, match=reason):
        decode(data, SIZE)


def test_the_content_decides_not_the_name():
    assert far(decode(encode(SCENE, "PNG"), SIZE))[1] == 0  # bytes have no name at all


def test_a_decompression_bomb_is_refused_before_it_unpacks():
    with pytest.raises(UndecodableImage, match="pixels"):
        decode(png_of(30_000, 30_000, 8, 2, b"\0" * 1000), SIZE)
    with pytest.raises(UndecodableImage, match="unpack to more than"):
        decode(png_of(12_000, 9_000, 8, 2, b"\0" * 1000), SIZE)


def test_a_very_large_jpeg_is_decoded_at_a_fraction():
    data = encode(Image.new("L", (11_000, 9_000), 77), "JPEG")
    assert np.abs(decode(data, SIZE).astype(int) - 77).max() <= 1


@pytest.mark.parametrize(("what", "value"), [("rule", "sqash"), ("filter", "cubic")])
def test_unknown_resize_rules_are_refused(what, value):
    with pytest.raises(DataError, match=f"Unknown resize {what} '{value}'.*Did you mean"):
        Resize(**{what: value})


def test_the_rule_goes_into_the_recipe():
    assert Resize().as_dict() == {
        "rule": "squash",
        "filter": "bicubic",
        "antialias": True,
        "draft": True,
    }


def test_threads_give_the_same_pixels():
    data = [encode(scene(40 + i, 30), "JPEG") for i in range(40)]
    with ThreadPoolExecutor(4) as pool:
        parallel = list(pool.map(lambda d: decode(d, SIZE), data))
    assert all((a == decode(d, SIZE)).all() for a, d in zip(parallel, data, strict=True))


def _seeds():
    found = [encode(SCENE, kind) for kind in ("PNG", "JPEG", "GIF", "BMP", "PPM", "TIFF", "WEBP")]
    found += [encode(SCENE, "JPEG2000"), encode(SCENE, "ICO"), encode(SCENE, "PCX")]
    found += [encode(SCENE, "JPEG", progressive=True), encode(SCENE, "TIFF", compression="jpeg")]
    found += [encode(SCENE, "TIFF", compression="tiff_adobe_deflate"), encode(SCENE, "QOI")]
    if features.check("avif"):
        found.append(encode(SCENE, "AVIF"))
    return found


SEEDS = _seeds()


@settings(max_examples=300, deadline=None, suppress_health_check=list(HealthCheck))
@given(
    st.sampled_from(range(len(SEEDS))),
    st.lists(st.tuples(st.floats(0, 1), st.binary(max_size=6)), max_size=6),
    st.floats(0, 1),
    st.booleans(),
)
def test_mutated_files_never_crash(which, changes, keep, cut):
    data = bytearray(SEEDS[which])
    for where, new in changes:
        at = int(where * (len(data) - 1)) if where > 0.5 else int(where * min(len(data) - 1, 128))
        data[at : at + len(new)] = new
    if cut:
        data = data[: int(keep * len(data))]
    try:
        assert decode(bytes(data), SIZE).shape == (SIZE, SIZE, 3)
    except UndecodableImage as error:
        reason = str(error)
        assert reason.isprintable(), reason
