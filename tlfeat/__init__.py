"""Embed every picture once, train heads in seconds, compare them honestly.

The public names are loaded when they are first used: `import tlfeat` is instant
and imports neither NumPy nor TensorFlow.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from tlfeat.audit.audit import audit_dataset
    from tlfeat.audit.groups import find_groups
    from tlfeat.backbones.table import list_backbones
    from tlfeat.data.dataset import Dataset, open_dataset
    from tlfeat.deploy.explain import explain
    from tlfeat.deploy.export import export
    from tlfeat.deploy.exported_model import load_export
    from tlfeat.deploy.predict import predict
    from tlfeat.errors import TlfeatError
    from tlfeat.features.extract import extract
    from tlfeat.features.matrix import Features
    from tlfeat.features.settings import FeatureSettings
    from tlfeat.features.transformer import ImageFeatures
    from tlfeat.heads.classifier import HeadClassifier
    from tlfeat.heads.table import list_heads
    from tlfeat.runs.record import Run, load_run
    from tlfeat.studies.compare import compare
    from tlfeat.studies.finetune import finetune
    from tlfeat.studies.run import run_study
    from tlfeat.studies.train import train

__version__ = "0.1.0"

__all__ = [
    "Dataset",
    "FeatureSettings",
    "Features",
    "HeadClassifier",
    "ImageFeatures",
    "Run",
    "TlfeatError",
    "audit_dataset",
    "compare",
    "explain",
    "export",
    "extract",
    "find_groups",
    "finetune",
    "list_backbones",
    "list_heads",
    "load_export",
    "load_run",
    "open_dataset",
    "predict",
    "run_study",
    "train",
]

_HOME = {
    "Dataset": "tlfeat.data.dataset",
    "FeatureSettings": "tlfeat.features.settings",
    "Features": "tlfeat.features.matrix",
    "HeadClassifier": "tlfeat.heads.classifier",
    "ImageFeatures": "tlfeat.features.transformer",
    "Run": "tlfeat.runs.record",
    "TlfeatError": "tlfeat.errors",
    "audit_dataset": "tlfeat.audit.audit",
    "compare": "tlfeat.studies.compare",
    "explain": "tlfeat.deploy.explain",
    "export": "tlfeat.deploy.export",
    "extract": "tlfeat.features.extract",
    "find_groups": "tlfeat.audit.groups",
    "finetune": "tlfeat.studies.finetune",
    "list_backbones": "tlfeat.backbones.table",
    "list_heads": "tlfeat.heads.table",
    "load_export": "tlfeat.deploy.exported_model",
    "load_run": "tlfeat.runs.record",
    "open_dataset": "tlfeat.data.dataset",
    "predict": "tlfeat.deploy.predict",
    "run_study": "tlfeat.studies.run",
    "train": "tlfeat.studies.train",
}


def __getattr__(name: str) -> Any:
    if name not in _HOME:
        raise AttributeError(f"module 'tlfeat' has no attribute {name!r}")
    return getattr(import_module(_HOME[name]), name)


def __dir__() -> list[str]:
    return sorted([*__all__, "__version__"])
