"""The metrics that can be optimised, by the names that users give; importing it costs nothing."""

from typing import Final

from tlfeat.errors import UnknownName, did_you_mean

METRICS: Final = ("accuracy", "balanced-accuracy", "macro-f1", "log-loss", "roc-auc")
WORDS: Final = {
    "accuracy": "accuracy",
    "balanced-accuracy": "balanced accuracy",
    "macro-f1": "macro F1",
    "log-loss": "log loss",
    "roc-auc": "ROC AUC",
}


def check_metric(metric: str) -> None:
    """Refuse a metric that is not known.

    Raises
    ------
    UnknownName
        Naming those that are.
    """
    if metric not in METRICS:
        hint = did_you_mean(metric, METRICS) if isinstance(metric, str) else ""
        raise UnknownName(f"Unknown metric {metric!r}.{hint} It is one of {', '.join(METRICS)}.")


def usual_metric(class_weight: str | None) -> str:
    """Give the metric that is optimised where none is asked for.

    Examples
    --------
    >>> usual_metric(None), usual_metric("balanced")
    ('accuracy', 'balanced-accuracy')
    """
    return "balanced-accuracy" if class_weight == "balanced" else "accuracy"
