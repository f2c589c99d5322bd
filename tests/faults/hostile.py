"""Files that would run code if they were believed: refused, and nothing is run."""

import io
import json
import os
import pickle
import shutil
import zipfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import h5py
import numpy as np
from pictures import colour_folders

from faults.common import FAST, Answer, Outcome, Scene, answer


class Canary:
    """Something whose unpickling makes a file."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple[Any, ...]:
        return os.mkdir, (str(self.path),)


def of_files(scene: Scene, count: int) -> Outcome:
    """Hand each kind of hostile file to the command that would read it."""
    outcome = Outcome("hostile files")
    cache, data = scene.cache(), colour_folders(scene.folder / "set", per_class=8, side=24)
    where = ("--cache", cache, "--reports", scene.folder / "reports")
    made = answer("train", data, "--head", "lda", *FAST, *where)
    if made.crash or made.code:
        outcome.wrong.append(f"train does not even run undisturbed: {made.said}")
        return outcome
    [run] = (scene.folder / "reports").glob("*/runs/*")
    for name, make, arguments in _cases(scene, data, run):
        if outcome.tried == count:
            break
        canary = scene.folder / f"canary-{outcome.tried}"
        make(canary)
        outcome.tried += 1
        said = answer(*arguments, "--cache", cache)
        outcome.wrong += _problems(name, said, canary)
    return outcome


def _problems(name: str, said: Answer, canary: Path) -> Iterator[str]:
    if canary.exists():
        yield f"{name}: code was run"
    if said.crash:
        yield f"{name}: {said.crash}"
    if not said.code:
        yield f"{name}: taken without a word"


def _cases(
    scene: Scene, data: Path, run: Path
) -> Iterator[tuple[str, Callable[[Path], object], tuple[object, ...]]]:
    picture = next(data.rglob("*.png"))
    sound = (run / "head.skops").read_bytes()
    predict = ("predict", run, picture)
    heads = {
        "skops with a function": _with_function,
        "skops with another type": _with_type,
        "skops of deep JSON": lambda schema, canary: "[" * 100_000,
    }
    for name, change in heads.items():

        def altered(canary: Path, change: Any = change) -> None:
            _rewrite(run / "head.skops", sound, lambda schema: change(schema, canary))

        yield name, altered, predict
    (run / "head.skops").write_bytes(sound)
    yield (
        "skops that is a pickle",
        lambda canary: (run / "head.skops").write_bytes(pickle.dumps(Canary(canary))),
        predict,
    )
    (run / "head.skops").write_bytes(sound)
    weights = scene.folder / "weights"
    weights.mkdir()
    files = {
        "pickled.pth": _pickled,
        "torch.pth": _torch,
        "lambda.keras": _lambda,
        "lambda.h5": _lambda,
        "attributes.h5": _attributes,
        "text.weights.h5": lambda path, canary: path.write_text("no weights"),
    }
    for file, write in files.items():
        network = "efficientnet-lite0" if file.endswith(".pth") else "mobilenet"
        yield (
            file,
            lambda canary, write=write, file=file: write(weights / file, canary),
            ("extract", data, "--backbone", network, *FAST, "--weights", weights / file),
        )
    arrays = scene.folder / "objects.npz"
    yield (
        "npz of objects",
        lambda canary: np.savez(
            arrays,
            x_train=np.zeros((4, 8, 8), np.uint8),
            y_train=np.array([Canary(canary)] * 4, dtype=object),
        ),
        ("data", arrays),
    )
    pictures = scene.folder / "pickled.npz"
    yield (
        "npz of pickled pictures",
        lambda canary: np.savez(pictures, x_train=np.array([Canary(canary)] * 4, dtype=object)),
        ("data", pictures),
    )


def _rewrite(path: Path, sound: bytes, change: Callable[[Any], Any]) -> None:
    with zipfile.ZipFile(io.BytesIO(sound)) as file:
        parts = {name: file.read(name) for name in file.namelist()}
    changed = change(json.loads(parts["schema.json"]))
    text = changed if isinstance(changed, str) else json.dumps(changed)
    with zipfile.ZipFile(path, "w") as file:
        for name, part in (parts | {"schema.json": text.encode()}).items():
            file.writestr(name, part)


def _with_function(schema: Any, canary: Path) -> Any:
    schema["content"]["content"]["verbose"] = {
        "__class__": "mkdir",
        "__module__": "os",
        "__loader__": "FunctionNode",
        "content": {"module_path": "os", "function": "mkdir"},
    }
    return schema


def _with_type(schema: Any, canary: Path) -> Any:
    schema["content"]["content"]["memory"] = {
        "__class__": "Canary",
        "__module__": "faults.hostile",
        "__loader__": "ObjectNode",
        "content": {"__class__": "dict", "__module__": "builtins", "content": {}},
    }
    return schema


def _pickled(path: Path, canary: Path) -> None:
    path.write_bytes(pickle.dumps(Canary(canary)))


def _torch(path: Path, canary: Path) -> None:
    with zipfile.ZipFile(path, "w") as file:
        file.writestr("archive/data.pkl", pickle.dumps({"weight": Canary(canary)}, 2))
        file.writestr("archive/version", "3\n")


def _lambda(path: Path, canary: Path) -> None:
    from tlfeat.backbones.keras_runtime import import_keras

    keras = import_keras()

    def trap(pixels: Any) -> Any:
        __import__("os").makedirs(str(canary), exist_ok=True)
        return pixels

    pixels = keras.Input((32, 32, 3))
    keras.Model(pixels, keras.layers.Lambda(trap)(pixels)).save(path)
    shutil.rmtree(canary, ignore_errors=True)  # building it has run it


def _attributes(path: Path, canary: Path) -> None:
    with h5py.File(path, "w") as file:
        file.attrs["layer_names"] = np.array([b"a" * 40] * 3)
        file.attrs["model_config"] = json.dumps({"class_name": "Lambda", "config": {}})
