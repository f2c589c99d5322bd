"""Presets of keras-hub as networks: `hub:NAME`, or `hub:FOLDER` where one was saved.

A preset is a folder: the network's configuration, its weights, and how its pixels are scaled
(image_converter.json). The folder is read here without keras-hub, whose import takes seconds;
the network is built by it. Pictures are brought to the network's size by our own rule.
"""

import contextlib
import json
import sys
from pathlib import Path
from typing import Any, Final

from tlfeat.backbones.network_facts import NetworkFacts
from tlfeat.backbones.understood import Understood
from tlfeat.errors import NetworkError, UnknownName, WeightsError, did_you_mean, first_line

PREFIX: Final = "hub:"
SUFFIX: Final = ".hub"  # of what runs and entries call a preset
_CONFIG, _CONVERTER, _METADATA = "config.json", "image_converter.json", "metadata.json"
_CHANNELS: Final = 3


def preset_folder(preset: str) -> Path:
    """Give the folder of a preset, which is downloaded where it has only a name.

    Raises
    ------
    NetworkError
        If keras-hub is not installed.
    UnknownName
        If it has no such preset.
    WeightsError
        If it cannot be downloaded.
    """
    folder = Path(preset).expanduser()
    if folder.is_dir():
        return folder.absolute()
    if folder.is_absolute() or preset.startswith((".", "~")):
        raise WeightsError(f"There is no preset at {folder}: wanted a folder with {_CONFIG}.")
    handles = _handles()
    if preset not in handles and preset.count("/") < 2:
        raise UnknownName(
            f"keras-hub has no preset {preset!r}.{did_you_mean(preset, handles)} It has "
            f"{len(handles)} of networks for pictures."
        )
    handle = handles.get(preset, preset).removeprefix("kaggle://")
    import kagglehub

    try:
        with contextlib.redirect_stdout(sys.stderr):
            return Path(kagglehub.model_download(handle)).absolute()
    except Exception as error:  # whatever its connection raises
        raise WeightsError(
            f"The preset {preset} cannot be downloaded ({first_line(error)[:160]}): name a folder "
            f"that has it, {PREFIX}FOLDER."
        ) from error


def _handles() -> dict[str, str]:
    """Give where each preset of a network for pictures is, by its name."""
    models = _import_keras_hub().models
    backbones = [getattr(models, name) for name in dir(models) if name.endswith("Backbone")]
    takes_pictures = [
        one for one in backbones if one is not models.Backbone and _takes_pictures(one)
    ]
    return {
        name: str(facts["kaggle_handle"])
        for one in takes_pictures
        for name, facts in one.presets.items()
        if "kaggle_handle" in facts
    }


def _takes_pictures(backbone: Any) -> bool:
    import inspect

    names = inspect.signature(backbone.__init__).parameters
    # one with a vocabulary writes text about pictures
    return ("image_shape" in names or "vision_encoder" in names) and "vocabulary_size" not in names


def _import_keras_hub() -> Any:
    from tlfeat.backbones.keras_runtime import import_keras

    import_keras()
    try:
        import keras_hub
    except ImportError as error:
        raise NetworkError(
            f"hub: needs keras-hub, which cannot be imported ({error}): pip install 'tlfeat[hub]'."
        ) from error
    return keras_hub


def preset_files(folder: Path) -> list[Path]:
    """Give the files of a preset that decide its numbers."""
    files = [folder / _CONFIG, folder / _CONVERTER, *sorted(folder.glob("*.weights.*"))]
    return [file for file in files if file.is_file()]


def preset_facts(folder: Path) -> NetworkFacts:
    """Read from a preset how its pixels are scaled, and the side that its pictures have.

    Raises
    ------
    NetworkError
        If it does not say.
    """
    said = _read(folder / _CONVERTER)["config"]
    scale, offset = _three(said.get("scale"), 1.0), _three(said.get("offset"), 0.0)
    means = [-o / s / 255 for s, o in zip(scale, offset, strict=True)]
    sides = said.get("image_size") or [None]
    return NetworkFacts(
        mean=",".join(map(repr, means)),
        std=",".join(repr(1 / (255 * s)) for s in scale),
        size=sides[0],
        licence="as its page on kaggle.com says",
    )


def _three(value: Any, usual: float) -> list[float]:
    if value is None:
        return [usual] * _CHANNELS
    return [float(x) for x in value] if isinstance(value, list) else [float(value)] * _CHANNELS


def understood_preset(folder: Path) -> Understood:
    """Read what a preset says of its network.

    Raises
    ------
    NetworkError
        If it is none of a network for pictures.
    """
    config = _read(folder / _CONFIG)
    shape = config["config"].get("image_shape")
    vision = config["config"].get("vision_encoder")
    if shape is None and isinstance(vision, dict):
        shape = vision.get("config", {}).get("image_shape")
    if not isinstance(shape, list) or shape[-1] != _CHANNELS or shape[0] != shape[1]:
        raise NetworkError(
            f"The preset {folder} is a {config.get('class_name')}, which takes no squares of "
            "three channels: wanted a network for pictures."
        )
    count = 0
    with contextlib.suppress(NetworkError):
        count = int(_read(folder / _METADATA).get("parameter_count", 0))
    return Understood(shape[0], count, f"pictures, of {config['class_name']}", {})


def _read(file: Path) -> dict[str, Any]:
    try:
        values = json.loads(file.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise NetworkError(
            f"{file} cannot be read ({error}): wanted a whole preset of keras-hub."
        ) from error
    if not isinstance(values, dict):
        raise NetworkError(f"{file} holds no object: wanted a whole preset of keras-hub.")
    return values


def load_preset(folder: Path) -> Any:
    """Build the network of a preset with keras-hub; of one for text too, what sees pictures.

    Raises
    ------
    WeightsError
        If it cannot be loaded.
    """
    hub = _import_keras_hub()
    try:
        model = hub.models.Backbone.from_preset(str(folder))
    except Exception as error:  # whatever keras-hub raises
        raise WeightsError(
            f"The preset {folder} cannot be loaded ({first_line(error)[:160]})."
        ) from error
    return getattr(model, "vision_encoder", model)
