"""The script of an exported model is short and sees pictures as tlfeat does."""

import itertools

import numpy as np
import pytest
from pictures import encode, noise, scene
from PIL import Image

from tlfeat.data.decode import decode
from tlfeat.data.resize import FILTERS, RULES, Resize
from tlfeat.deploy.formats import FORMATS
from tlfeat.deploy.standalone import predict_script

SIZE = 24


def square_of(resize):
    """Give the function of the script, which is run up to its model."""
    text = predict_script(FORMATS[0].load, "model.onnx", SIZE, resize)
    names = {}
    exec(text[: text.index("\ndef load(")], names)
    return names["square"]


@pytest.mark.parametrize("row", FORMATS, ids=lambda row: row.name)
@pytest.mark.parametrize("rule", RULES)
def test_a_script_is_short_and_knows_nothing_of_tlfeat(row, rule):
    text = predict_script(row.load, row.model, SIZE, Resize(rule))
    compile(text, "predict.py", "exec")
    assert len(text.splitlines()) <= 40
    assert max(map(len, text.splitlines())) <= 99
    assert "tlfeat" not in text


def odd_pictures():
    rng = np.random.default_rng(0)
    turned = Image.Exif()
    alpha = rng.integers(0, 256, (40, 30, 4), dtype=np.uint8)
    palette = Image.fromarray(scene(30, 50)).quantize(16)
    yield "jpeg", encode(scene(300, 200), "JPEG", quality=90)
    yield "tall jpeg", encode(scene(90, 400), "JPEG", quality=90)
    for turn in range(2, 9):
        turned[0x0112] = turn
        yield f"turned {turn}", encode(scene(61, 43), "JPEG", exif=turned.tobytes())
    yield "grey", encode(noise(1, bands=1))
    yield "grey jpeg", encode(noise(1, 80, 70, bands=1), "JPEG")
    yield "alpha", encode(alpha)
    yield "grey and alpha", encode(Image.fromarray(alpha).convert("LA"))
    yield "palette", encode(palette)
    yield "transparent", encode(palette, "PNG", transparency=3)
    yield "one bit", encode(Image.fromarray(noise(2, bands=1)).convert("1"))
    yield "16 bits", encode(Image.fromarray(rng.integers(0, 65536, (20, 31), dtype=np.uint16)))
    yield "cmyk", encode(Image.fromarray(scene()).convert("CMYK"), "JPEG", quality=95)
    yield "small", encode(noise(3, 5, 4))
    yield "one pixel", encode(noise(4, 1, 1))


@pytest.mark.parametrize("rule", RULES)
@pytest.mark.parametrize("given", [pytest.param(data, id=name) for name, data in odd_pictures()])
def test_a_script_sees_pictures_as_tlfeat_does(tmp_path, rule, given):
    path = tmp_path / "picture"
    path.write_bytes(given)
    ways = itertools.product(FILTERS, (True, False), (True, False))
    for kind, antialias, draft in ways if rule != "crop" else [("bicubic", True, True)]:
        resize = Resize(rule, kind, antialias, draft)
        ours = decode(given, SIZE, resize)
        assert np.array_equal(square_of(resize)(path), ours), resize
