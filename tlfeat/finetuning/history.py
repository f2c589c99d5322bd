"""What happened in each epoch: history.csv, TensorBoard, and the metrics of running training."""

import csv
import io
import shutil
from collections.abc import Mapping, Sequence
from functools import cache
from pathlib import Path
from typing import Any, Final

import numpy as np

from tlfeat.files import write_text
from tlfeat.runs.record import HISTORY

TENSORBOARD: Final = "tensorboard"
GENTLY: Final = "gently"  # after the mode, where a phase is trained once more
MEASURED: Final = ("loss", "accuracy", "precision", "recall", "f1")
COLUMNS: Final = (
    "epoch", "phase", "mode",
    *MEASURED, *(f"val_{name}" for name in MEASURED),
    "learning_rate", "seconds",
)  # fmt: skip

Row = dict[str, Any]


def write_history(folder: Path, rows: Sequence[Row]) -> None:
    """Write history.csv anew: a row an epoch."""
    text = io.StringIO(newline="")
    writer = csv.DictWriter(text, COLUMNS, lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    write_text(folder / HISTORY, text.getvalue())


class TensorBoard:
    """Event files of the epochs, under the names that Keras gives them.

    Those of a run that was broken off are written again from its history, so that no epoch is
    there twice.
    """

    def __init__(self, folder: Path, rows: Sequence[Row]) -> None:
        import tensorflow as tf

        shutil.rmtree(folder / TENSORBOARD, ignore_errors=True)
        self._writers = {
            name: tf.summary.create_file_writer(str(folder / TENSORBOARD / name))
            for name in ("train", "validation")
        }
        for row in rows:
            self.add(row)

    def add(self, row: Row) -> None:
        """Write one epoch."""
        import tensorflow as tf

        for split, prefix in (("train", ""), ("validation", "val_")):
            with self._writers[split].as_default(step=row["epoch"]):
                for name in MEASURED:
                    if row.get(prefix + name) is not None:
                        tf.summary.scalar(f"epoch_{name}", row[prefix + name])
                if split == "train":
                    tf.summary.scalar("epoch_learning_rate", row["learning_rate"])
            self._writers[split].flush()

    def close(self) -> None:
        """Close the files."""
        for writer in self._writers.values():
            writer.close()


def from_confusion(matrix: np.ndarray) -> dict[str, float]:
    """Give what scikit-learn would from a confusion matrix.

    Parameters
    ----------
    matrix : ndarray of shape (k, k)
        True classes in rows, predicted ones in columns.

    Returns
    -------
    metrics : dict
        accuracy, precision, recall, f1: of the second class where there are two, else the means
        over the classes that occur, as in `tlfeat.runs.metrics.evaluate`.
    """
    right, true, predicted = np.diag(matrix), matrix.sum(axis=1), matrix.sum(axis=0)
    with np.errstate(divide="ignore", invalid="ignore"):
        parts = {
            "precision": np.where(predicted > 0, right / predicted, 0.0),
            "recall": np.where(true > 0, right / true, 0.0),
            "f1": np.where(true + predicted > 0, 2 * right / (true + predicted), 0.0),
        }
    use = np.array([1]) if len(matrix) == 2 else np.flatnonzero(true + predicted > 0)
    metrics = {name: float(values[use].mean()) for name, values in parts.items()}
    return {"accuracy": float(right.sum() / max(matrix.sum(), 1)), **metrics}


def of_evaluation(metrics: Mapping[str, Any]) -> dict[str, float]:
    """Give the same four of what `evaluate` gave."""
    suffix = "" if "positive" in metrics else "_macro"
    named = {name: float(metrics[name + suffix]) for name in ("precision", "recall", "f1")}
    return {"accuracy": float(metrics["accuracy"]), **named}


@cache
def confusion_class() -> Any:
    """Give the metric that counts the training steps' own predictions."""
    import keras

    class Confusion(keras.metrics.Metric):  # type: ignore[misc]
        """Counts pictures by true and predicted class."""

        def __init__(self, k: int) -> None:
            super().__init__(name="accuracy")
            self.k = k
            self.matrix = self.add_weight(shape=(k, k), initializer="zeros", name="matrix")

        def update_state(self, y_true: Any, y_pred: Any, sample_weight: Any = None) -> None:
            true = keras.ops.one_hot(keras.ops.argmax(y_true, -1), self.k)
            predicted = keras.ops.one_hot(keras.ops.argmax(y_pred, -1), self.k)
            self.matrix.assign_add(
                keras.ops.cast(keras.ops.transpose(true) @ predicted, self.matrix.dtype)
            )

        def result(self) -> Any:
            total = keras.ops.maximum(keras.ops.sum(self.matrix), 1)
            return keras.ops.trace(self.matrix) / total

        def reset_state(self) -> None:
            self.matrix.assign(keras.ops.zeros_like(self.matrix))

    return Confusion
