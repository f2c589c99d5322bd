"""What a fine-tune leaves: the model, its predictions, its pictures and its record."""

import math
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from tlfeat.backbones.engines import Engine
from tlfeat.backbones.keras_files import load_model
from tlfeat.features.forward import chunk_length
from tlfeat.files import replacing, write_text
from tlfeat.finetuning.assemble import Network
from tlfeat.finetuning.checkpoint import State
from tlfeat.finetuning.curves import CURVES, write_curves
from tlfeat.finetuning.inputs import TrainingData
from tlfeat.finetuning.modes import count_parameters, drop_as_built
from tlfeat.finetuning.pictures import Ints, split_order
from tlfeat.finetuning.predict import check_finite
from tlfeat.runs.metrics import evaluate
from tlfeat.runs.record import MODEL, MODEL_H5, PREDICTIONS, Run
from tlfeat.runs.writing import common_record, write_predictions, write_record
from tlfeat.watch import Watch

SUMMARY: Final = "summary.txt"
GRAPH: Final = "model.png"
_LARGE_GRAPH: Final = 1200  # layers from which a picture of the graph helps nobody


def save_model(network: Network, folder: Path, watch: Watch, *, h5: bool) -> int:
    """Save the whole network without its optimizer, so that Keras alone can load it.

    Returns
    -------
    size : int
        Bytes of the `.keras` file.
    """
    drop_as_built(network)
    model = without_optimizer(network)
    with replacing(folder / MODEL) as fresh:
        model.save(fresh)
    if h5:
        _save_h5(model, folder, watch)
    return (folder / MODEL).stat().st_size


def without_optimizer(network: Network) -> Any:
    """Give the whole network as a model that nothing has compiled."""
    import keras

    return keras.Model(network.model.input, network.model.output, name=network.model.name)


def with_h5(run: Run, watch: Watch) -> Run:
    """Save the model of a finished run as `.h5` too, where it is not."""
    if (run.path / MODEL_H5).exists():
        return run
    saved = _save_h5(load_model(run.file(MODEL)), run.path, watch)
    return write_record(run.path, run.record) if saved else run


def _save_h5(model: Any, folder: Path, watch: Watch) -> bool:
    """Save a model as `.h5` where that format can hold it, and say whether it can."""
    import keras

    parts = [model, *model._flatten_layers(include_self=False, recursive=True)]
    steps = [step for part in parts for step in getattr(part, "operations", ())]
    if not all(isinstance(step, keras.layers.Layer) for step in steps):
        watch.note(
            f"There is no {MODEL_H5}: that format holds layers alone, and this network joins "
            f"what it reads by other operations. {MODEL} has all of it."
        )
        return False
    with replacing(folder / MODEL_H5) as fresh:
        model.save(fresh)
    return True


def write_pictures(
    network: Network, folder: Path, state: State, name: str, watch: Watch
) -> list[str]:
    """Write summary.txt, the curves, and the graph where graphviz is there.

    Returns
    -------
    warnings : list of str
        What could not be drawn, and what to do about it.
    """
    import keras

    lines: list[str] = []
    network.model.summary(
        line_length=80, expand_nested=True, print_fn=lambda line, **_: lines.append(line)
    )
    write_text(folder / SUMMARY, "\n".join(lines) + "\n")
    if state.history:
        write_curves(folder / CURVES, state.history, state.start.get("validation"), name)
    layers = len(network.backbone_layers) + len(network.classifier)
    if layers > _LARGE_GRAPH:
        return [f"No picture of the graph: it has {layers} layers."]
    try:
        keras.utils.plot_model(
            network.model,
            folder / GRAPH,
            show_shapes=True,
            show_layer_names=True,
            expand_nested=True,
            dpi=60,
        )
    except (ImportError, OSError, AssertionError):
        watch.note(
            "No picture of the graph: it needs graphviz's `dot` (apt install graphviz) and pydot "
            "(pip install 'tlfeat[graph]')."
        )
    return []


def measure(
    engine: Engine,
    data: TrainingData,
    folder: Path,
    watch: Watch,
    *,
    held: npt.NDArray[np.float32] | None = None,
) -> tuple[dict[str, Any], dict[str, float]]:
    """Evaluate the whole network on every whole split, and write the predictions.

    Parameters
    ----------
    engine : Engine
        Runs the saved network, as it will predict: so that milliseconds a picture compare
        networks, and not Keras with another engine.
    held : ndarray of shape (n_held, k), optional
        Probabilities of the validation rows by a network that has not learned from them, where
        the saved one has.

    Returns
    -------
    metrics : dict
        Split to what `evaluate` gives.
    seconds : dict
        Split to the seconds of inference from files: pictures that are kept in memory are
        charged what decoding them took.
    """
    metrics: dict[str, Any] = {}
    seconds: dict[str, float] = {}
    parts = []
    k = len(data.dataset.classes)
    first = next(iter(data.parts.values())).rows[:1]
    _answers(engine, data, first)  # what is done once is done now
    watch.start("evaluating", len(data.parts))
    try:
        for split, part in data.parts.items():
            began = time.perf_counter()
            scores = _answers(engine, data, part.rows)
            seconds[split] = time.perf_counter() - began
            if data.pictures.kept:
                seconds[split] += len(part.rows) * data.pictures.decode_seconds
            check_finite(scores)
            if split == "validation" and held is not None:
                scores = held
            true = data.y[part.rows]
            metrics[split] = evaluate(true, scores, data.outputs, "probability")
            named = metrics[split]["per_class"]
            metrics[split]["per_class"] = {name: named[name] for name in data.outputs[:k]}
            samples = [data.pictures.samples[i] for i in part.rows]
            parts.append(
                {
                    "id": [sample.id for sample in samples],
                    "digest": [sample.digest for sample in samples],
                    "split": [split] * len(samples),
                    "fold": [part.fold] * len(samples),
                    "group": [sample.group for sample in samples],
                    "true": true,
                    "scores": scores,
                }
            )
            watch.step()
    finally:
        watch.finish()
    write_predictions(folder / PREDICTIONS, parts)
    return metrics, seconds


def _answers(engine: Engine, data: TrainingData, rows: Ints) -> npt.NDArray[np.float32]:
    """Give the probabilities of some rows, (n, k), in their order."""
    length = chunk_length(data.pictures.shape[0])

    def batches() -> Iterator[tuple[None, np.ndarray]]:
        for squares in data.pictures.take(split_order(rows, length)):
            for start in range(0, len(squares), engine.batch):
                yield None, squares[start : start + engine.batch]

    return np.concatenate([answers for _, (answers,) in engine.run(batches())])


def make_record(
    settings: Mapping[str, Any],
    data: TrainingData,
    network: Network,
    state: State,
    metrics: Mapping[str, Any],
    inference: Mapping[str, float],
    *,
    refit: State | None,
    engine: str,
    identity: str,
    name: str,
    weights: str | None,
    stand_in: str | None,
    file_bytes: int,
    warnings: list[str],
) -> dict[str, Any]:
    """Give what run.json holds of a fine-tune; `refit` is how its network was trained again."""
    phases = [
        {
            **phase,
            "trainable": trainable,
            "trained_epochs": len(rows),
            **({"planned": state.plan} if state.plan else {}),
            **({"retried": retried} if retried else {}),
            **state.chosen.get(str(number - 1), {}),
        }
        for number, (phase, trainable) in enumerate(
            zip(settings["phases"], state.trainable, strict=True), 1
        )
        for rows in [[row for row in state.history if row["phase"] == number]]
        for retried in [state.retried.get(str(number - 1))]
    ]
    measured = "test" if "test" in metrics else "validation"
    best: dict[str, int] = {}
    if state.history:
        best = {
            "accuracy": max(state.history, key=lambda row: row["val_accuracy"])["epoch"],
            "loss": min(state.history, key=lambda row: row["val_loss"])["epoch"],
        }
    seconds_in_all = {f"predict_{split}": value for split, value in inference.items()}
    return common_record(
        data.dataset,
        data.pictures.skipped,
        metrics,
        held_out=_held_out(data),
        **{**settings, "phases": phases},  # what decides a run has the same names in its record
        id=identity,
        name=name,
        kind="finetune",
        engine=engine,
        features="pixels",
        weights=weights,
        recipes=[],
        start=state.start or None,
        history=_finite(state.history),
        best_epoch=best,
        refit=None if refit is None else {"history": _finite(refit.history)},
        n_train=len(data.train) + (0 if refit is None else len(data.held)),
        parameters={**count_parameters(network), "trainable": state.trainable[-1]},
        seconds={
            "extract": _total(state.extract),
            "search": _added(state.search_seconds, refit.search_seconds if refit else None),
            "fit": round(state.seconds + (refit.seconds if refit else 0.0), 3),
            "predict": inference[measured],
            **seconds_in_all,
        },
        ms_per_image=1000 * inference[measured] / metrics[measured]["n"],
        file_bytes=file_bytes,
        stand_in=stand_in,
        warnings=[*warnings, *state.notes],
    )


def _added(first: float | None, second: float | None) -> float | None:
    """Add up seconds of what may not have been done."""
    done = [seconds for seconds in (first, second) if seconds is not None]
    return sum(done) if done else None


def _total(extract: Mapping[str, float | None]) -> float | None:
    """Add up what pictures and activations cost; None where that is not known of all."""
    seconds = [value for value in extract.values() if value is not None]
    return round(sum(seconds), 3) if len(seconds) == len(extract) else None


def _held_out(data: TrainingData) -> str:
    fold = data.parts["validation"].fold
    return "the dataset's" if fold is None else f"fold {fold} of train"


def _finite(rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Give the rows as JSON can have them."""
    return [
        {
            key: None if isinstance(value, float) and not math.isfinite(value) else value
            for key, value in row.items()
        }
        for row in rows
    ]
