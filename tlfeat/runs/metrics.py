"""What a run's predictions are worth, on a whole split, by scikit-learn's definitions.

Never a mean over batches, and for two classes the positive one is named: those two
mistakes are easily made and make a table wrong without making it look wrong.
"""

from collections.abc import Sequence
from typing import Any

import numpy as np

from tlfeat.log_loss import log_losses
from tlfeat.roc import roc_area

# In the order in which tables show them; True where less is better.
METRICS: dict[str, bool] = {
    "accuracy": False,
    "balanced_accuracy": False,
    "precision_macro": False,
    "recall_macro": False,
    "f1_macro": False,
    "roc_auc": False,
    "log_loss": True,
}


def name_outputs(classes: Sequence[str], n_outputs: int) -> tuple[str, ...]:
    """Name each output of a network; those beyond the classes have no name of their own."""
    spare = range(len(classes), n_outputs)
    return (*classes, *(f"output {i}" for i in spare))


def evaluate(
    true: np.ndarray, scores: np.ndarray, classes: Sequence[str], score_kind: str
) -> dict[str, Any]:
    """Measure predictions on one whole split.

    Parameters
    ----------
    true : ndarray of shape (n_samples,), int
        Index into `classes`.
    scores : ndarray of shape (n_samples, n_classes)
        The largest is the prediction.
    classes : sequence of str
        With two of them the second is the positive one.
    score_kind : {"probability", "score"}
        Log loss exists for probabilities only.

    Returns
    -------
    metrics : dict
        "n", the names of `METRICS` (None where one is not defined), with two classes
        also "positive", "precision", "recall" and "f1" of that class, and "per_class":
        class name to precision, recall, f1 and n. Macro means, balanced accuracy and
        ROC AUC (one class against the rest) are over the classes that occur.

    References
    ----------
    sklearn.metrics: accuracy_score, balanced_accuracy_score,
    precision_recall_fscore_support, roc_auc_score; log loss as in `tlfeat.log_loss`.
    """
    from sklearn.metrics import accuracy_score, precision_recall_fscore_support

    n_classes = len(classes)
    predicted = scores.argmax(axis=1)
    precision, recall, f1, support = precision_recall_fscore_support(
        true, predicted, labels=np.arange(n_classes), zero_division=0
    )
    occurs = (support > 0) | np.isin(np.arange(n_classes), predicted)
    metrics: dict[str, Any] = {
        "n": len(true),
        "accuracy": float(accuracy_score(true, predicted)),
        "balanced_accuracy": float(recall[support > 0].mean()),
        "precision_macro": float(precision[occurs].mean()),
        "recall_macro": float(recall[occurs].mean()),
        "f1_macro": float(f1[occurs].mean()),
        "roc_auc": roc_area(true, scores),
        "log_loss": None,
    }
    if score_kind == "probability":
        metrics["log_loss"] = float(log_losses(true, scores).mean())
    if n_classes == 2:
        metrics |= {
            "positive": classes[1],
            "precision": float(precision[1]),
            "recall": float(recall[1]),
            "f1": float(f1[1]),
        }
    metrics["per_class"] = {
        name: {
            "precision": float(precision[i]),
            "recall": float(recall[i]),
            "f1": float(f1[i]),
            "n": int(support[i]),
        }
        for i, name in enumerate(classes)
    }
    return metrics
