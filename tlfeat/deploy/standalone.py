"""The predict.py of an exported model, which knows nothing of tlfeat.

It has the one rule for pictures that the model was trained by, written out, and the runtime of the
model's format alone. `load_...` stand in it as they stand here, but for hints and their docstrings
of one line, and read exports here too.
"""

import inspect
from collections.abc import Callable
from typing import Any, Final

from tlfeat.data.decode import CROP_MARGIN, PAD_GREY
from tlfeat.data.resize import Resize

_Model = Callable[[Any], Any]  # (n, size, size, 3) of uint8 to probabilities


def load_onnx(path: str) -> _Model:
    """Open an ONNX file."""
    import onnxruntime

    model = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
    return lambda pixels: model.run(None, {model.get_inputs()[0].name: pixels})[0]


def load_openvino(path: str) -> _Model:
    """Open a network of OpenVINO."""
    import openvino

    exact = {"INFERENCE_PRECISION_HINT": "f32"}
    model = openvino.Core().compile_model(path, "CPU", exact)
    return lambda pixels: model(pixels)[0]


def load_keras(path: str) -> _Model:
    """Open a file of Keras."""
    import keras

    model = keras.saving.load_model(path)
    return lambda pixels: model.predict_on_batch(pixels)


def load_savedmodel(path: str) -> _Model:
    """Open a SavedModel of TensorFlow."""
    import tensorflow as tf

    model = tf.saved_model.load(path)
    return lambda pixels: model.serve(tf.constant(pixels)).numpy()


def load_litert(path: str) -> _Model:
    """Open a LiteRT file; it takes one picture at a time."""
    from ai_edge_litert.interpreter import Interpreter

    model = Interpreter(path)
    model.allocate_tensors()
    i, o = model.get_input_details()[0]["index"], model.get_output_details()[0]["index"]
    return lambda pixels: (model.set_tensor(i, pixels), model.invoke(), model.get_tensor(o))[2]


_SCRIPT: Final = '''\
"""Say what pictures show: python predict.py PICTURE..., a line of JSON for each."""
import json, pathlib, sys
import numpy as np
from PIL import Image

def square(path):
    image = Image.open(path)
{square}
    return np.asarray(image if turn is None else image.transpose(turn))
{load}
here = pathlib.Path(__file__).resolve().parent
labels = (here / "labels.txt").read_text(encoding="utf-8").rstrip("\\n").split("\\n")
model = load(str(here / "{model}"))
def said(name):
    try:
        shares = [float(one) for one in model(square(name)[None])[0]]
    except Exception as error:
        return {{"picture": name, "label": None, "reason": str(error)}}
    found = dict(sorted(zip(labels, shares), key=lambda one: -one[1]))
    return {{"picture": name, "label": next(iter(found)), "probabilities": found}}
for name in sys.argv[1:]: print(json.dumps(said(name)), flush=True)
'''
_MODES: Final = """\
turn = {2: 0, 3: 3, 4: 1, 5: 5, 6: 4, 7: 6, 8: 2}.get(image.getexif().get(274))
if image.mode == "F" or (image.mode == "I" and image.format == "TIFF"):
    raise ValueError("pixels whose range nobody knows: scale them to 8 bits first")
if image.mode.startswith("I"):  # 16 bits
    image = Image.fromarray((np.asarray(image) >> 8).clip(0, 255).astype(np.uint8))
if image.mode[-1] in "Aa" or "transparency" in image.info:
    image = Image.alpha_composite(Image.new("RGBA", image.size, "#fff"), image.convert("RGBA"))
image = image.convert("RGB")"""


def predict_script(load: Callable[[str], _Model], model: str, size: int, resize: Resize) -> str:
    """Write the script that predicts with one runtime, by one rule for pictures.

    Parameters
    ----------
    load : callable
        A `load_...` of this module.
    model : str
        Name of the model beside the script.
    size : int
        Side of the model's pictures in pixels.
    resize : Resize

    Returns
    -------
    text : str
        40 lines at the most.
    """
    lines = [*_draft(size, resize), *_MODES.splitlines(), *_resized(size, resize)]
    return _SCRIPT.format(
        square="\n".join(f"    {line}" for line in lines), load=_plain(load), model=model
    )


def _plain(load: Callable[[str], _Model]) -> str:
    """Give the text of a function without hints, docstring and blank lines."""
    lines = [line for line in inspect.getsource(load).splitlines()[1:] if line.strip()]
    return "\n".join(["def load(path):", *(line for line in lines if '"""' not in line)])


def _draft(size: int, resize: Resize) -> list[str]:
    """Let JPEG decode at a fraction of its size."""
    if not resize.draft:
        return []
    least = 2 * (size + CROP_MARGIN * (resize.rule == "crop"))
    sides = f"({least}, {least})"
    if resize.rule == "pad":
        sides = f"[max(1, {least} * side // max(image.size)) for side in image.size]"
    return ['if image.format in ("JPEG", "MPO"):', f'    image.draft("RGB", {sides})']


def _resized(size: int, resize: Resize) -> list[str]:
    """Bring the picture to a square."""
    kind = resize.filter.upper()
    if not resize.antialias:
        kind = {"BOX": "NEAREST", "LANCZOS": "BICUBIC"}.get(kind, kind)
    first = f"how = Image.Resampling.{kind}"

    def scaled(to: str, box: str = "(0, 0, *image.size)") -> str:
        if resize.antialias:
            return f"image.resize({to}, how, {box})"
        return f"image.transform({to}, Image.Transform.EXTENT, {box}, how)"

    if resize.rule == "squash":
        return [first, f"image = {scaled(f'({size}, {size})')}"]
    if resize.rule == "crop":
        return [
            first,
            f"side = min(image.size) * {size} / {size + CROP_MARGIN}",
            "left, top = [(whole - side) / 2 for whole in image.size]",
            f"image = {scaled(f'({size}, {size})', '(left, top, left + side, top + side)')}",
        ]
    return [
        first,
        f"to = [max(1, round({size} * side / max(image.size))) for side in image.size]",
        f"small = {scaled('to')}",
        f'image = Image.new("RGB", ({size}, {size}), ({PAD_GREY},) * 3)',
        f"image.paste(small, (({size} - to[0]) // 2, ({size} - to[1]) // 2))",
    ]
