"""Embed every picture once, train heads in seconds, compare them honestly.

The public names are loaded when they are first used: `import tlfeat` is instant
and imports neither NumPy nor TensorFlow.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from tlfeat.audit.audit import audit_dataset
    from tlfeat.audit.clean import write_clean
    from tlfeat.audit.groups import find_groups
    from tlfeat.backbones.network_facts import write_facts
    from tlfeat.backbones.network_files import describe_network
    from tlfeat.backbones.networks import list_layers
    from tlfeat.backbones.table import list_backbones
    from tlfeat.data.broken import find_broken
    from tlfeat.data.dataset import Dataset, open_dataset
    from tlfeat.deploy.explain import draw_explanation, explain
    from tlfeat.deploy.export import export
    from tlfeat.deploy.exported_model import load_export
    from tlfeat.deploy.predict import predict
    from tlfeat.errors import TlfeatError
    from tlfeat.features.cache import list_cache, prune_cache, verify_cache
    from tlfeat.features.doctor import check_machine
    from tlfeat.features.export import write_features
    from tlfeat.features.extract import extract
    from tlfeat.features.maintenance import plan_prune
    from tlfeat.features.matrix import Features
    from tlfeat.features.reextract import reextract
    from tlfeat.features.settings import FeatureSettings
    from tlfeat.features.transformer import ImageFeatures
    from tlfeat.finetuning.preview import draw_augmented
    from tlfeat.heads.classifier import HeadClassifier
    from tlfeat.heads.table import list_heads
    from tlfeat.report.audit_page import write_audit
    from tlfeat.report.merge import write_report
    from tlfeat.runs.find import find_run
    from tlfeat.runs.finished import list_runs, open_study
    from tlfeat.runs.record import Run, load_run
    from tlfeat.studies.builtin import list_studies
    from tlfeat.studies.compare import compare
    from tlfeat.studies.finetune import finetune
    from tlfeat.studies.plan import read_study
    from tlfeat.studies.run import run_study
    from tlfeat.studies.train import train
    from tlfeat.watch import Watch
    from tlfeat.where import Where

__version__ = "0.1.0"

__all__ = [
    "Dataset",
    "FeatureSettings",
    "Features",
    "HeadClassifier",
    "ImageFeatures",
    "Run",
    "TlfeatError",
    "Watch",
    "Where",
    "audit_dataset",
    "check_machine",
    "compare",
    "describe_network",
    "draw_augmented",
    "draw_explanation",
    "explain",
    "export",
    "extract",
    "find_broken",
    "find_groups",
    "find_run",
    "finetune",
    "list_backbones",
    "list_cache",
    "list_heads",
    "list_layers",
    "list_runs",
    "list_studies",
    "load_export",
    "load_run",
    "open_dataset",
    "open_study",
    "plan_prune",
    "predict",
    "prune_cache",
    "read_study",
    "reextract",
    "run_study",
    "train",
    "verify_cache",
    "write_audit",
    "write_clean",
    "write_facts",
    "write_features",
    "write_report",
]

_HOME = {
    "Dataset": "tlfeat.data.dataset",
    "FeatureSettings": "tlfeat.features.settings",
    "Features": "tlfeat.features.matrix",
    "HeadClassifier": "tlfeat.heads.classifier",
    "ImageFeatures": "tlfeat.features.transformer",
    "Run": "tlfeat.runs.record",
    "TlfeatError": "tlfeat.errors",
    "Watch": "tlfeat.watch",
    "Where": "tlfeat.where",
    "audit_dataset": "tlfeat.audit.audit",
    "check_machine": "tlfeat.features.doctor",
    "compare": "tlfeat.studies.compare",
    "describe_network": "tlfeat.backbones.network_files",
    "draw_augmented": "tlfeat.finetuning.preview",
    "draw_explanation": "tlfeat.deploy.explain",
    "explain": "tlfeat.deploy.explain",
    "export": "tlfeat.deploy.export",
    "extract": "tlfeat.features.extract",
    "find_broken": "tlfeat.data.broken",
    "find_groups": "tlfeat.audit.groups",
    "find_run": "tlfeat.runs.find",
    "finetune": "tlfeat.studies.finetune",
    "list_backbones": "tlfeat.backbones.table",
    "list_cache": "tlfeat.features.cache",
    "list_heads": "tlfeat.heads.table",
    "list_layers": "tlfeat.backbones.networks",
    "list_runs": "tlfeat.runs.finished",
    "list_studies": "tlfeat.studies.builtin",
    "load_export": "tlfeat.deploy.exported_model",
    "load_run": "tlfeat.runs.record",
    "open_dataset": "tlfeat.data.dataset",
    "open_study": "tlfeat.runs.finished",
    "plan_prune": "tlfeat.features.maintenance",
    "predict": "tlfeat.deploy.predict",
    "prune_cache": "tlfeat.features.cache",
    "read_study": "tlfeat.studies.plan",
    "reextract": "tlfeat.features.reextract",
    "run_study": "tlfeat.studies.run",
    "train": "tlfeat.studies.train",
    "verify_cache": "tlfeat.features.cache",
    "write_audit": "tlfeat.report.audit_page",
    "write_clean": "tlfeat.audit.clean",
    "write_facts": "tlfeat.backbones.network_facts",
    "write_features": "tlfeat.features.export",
    "write_report": "tlfeat.report.merge",
}


def __getattr__(name: str) -> Any:
    if name not in _HOME:
        raise AttributeError(f"module 'tlfeat' has no attribute {name!r}")
    return getattr(import_module(_HOME[name]), name)


def __dir__() -> list[str]:
    return sorted([*__all__, "__version__"])
