"""The epochs of a fine-tune, phase after phase, on Keras' own training step.

Each epoch is one `fit`, so that everything that decides it, the order of the pictures, their
changes, the states of optimiser and dropout, is a function of the seed, the epoch and what the
last checkpoint holds: a run that was broken off goes on as if nothing had happened.
"""

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from tlfeat.backbones.table import Backbone
from tlfeat.data.dataset import Dataset
from tlfeat.data.resize import Resize
from tlfeat.errors import NetworkError, TlfeatError
from tlfeat.features.extract import embed, seconds_an_image
from tlfeat.features.settings import FeatureSettings
from tlfeat.features.store import FeatureStore
from tlfeat.files import replacing
from tlfeat.finetuning.assemble import LOGITS, Network
from tlfeat.finetuning.augment import build_augmentation
from tlfeat.finetuning.callbacks import Asked, Helpers, interruptible, watcher_class
from tlfeat.finetuning.checkpoint import (
    Arrays,
    State,
    assign,
    epoch_file,
    save_state,
    values_of,
)
from tlfeat.finetuning.choices import Choice
from tlfeat.finetuning.cut import Activations, Cut, cut_network
from tlfeat.finetuning.history import (
    TensorBoard,
    confusion_class,
    from_confusion,
    of_evaluation,
    write_history,
)
from tlfeat.finetuning.lpft import fold_logistic
from tlfeat.finetuning.modes import count_parameters, lagging_norms, set_trainable
from tlfeat.finetuning.optimisers import build_optimiser
from tlfeat.finetuning.pictures import (
    Part,
    Pictures,
    Rows,
    epoch_order,
    make_batches,
    readable,
)
from tlfeat.finetuning.plan import Phase
from tlfeat.finetuning.predict import Predictor, check_finite
from tlfeat.finetuning.schedules import build_schedule
from tlfeat.runs.metrics import evaluate
from tlfeat.where import Where


@dataclass(frozen=True)
class Data:
    """What a fine-tune learns from."""

    dataset: Dataset
    pictures: Pictures
    parts: Mapping[str, Part]
    y: npt.NDArray[np.int64]  # (n_samples,)
    one_hot: npt.NDArray[np.float32]  # (n_samples, n_outputs)

    @property
    def outputs(self) -> tuple[str, ...]:
        """Name each output of the network; those beyond the classes have no name of their own."""
        spare = range(len(self.dataset.classes), self.one_hot.shape[1])
        return (*self.dataset.classes, *(f"output {i}" for i in spare))


@dataclass(frozen=True)
class How:
    """How a fine-tune goes; `phases` to `seed` decide its numbers, the rest does not."""

    phases: tuple[Phase, ...]
    augment: tuple[Choice, ...]
    loss: str
    batch: int
    seed: int
    weights: str | Path  # as the user named them
    size: int
    resize: Resize
    cut_dtype: str | None  # of activations at a cut; None: train through the whole network
    untouched: bool  # the backbone has the weights that `weights` names
    devices: int  # that share a batch
    keep: str  # "all" or "last"
    memory: int


class Training:
    """A fine-tune that is going on.

    Parameters
    ----------
    network : Network
    backbone : Backbone or None
        None for a network that is not of the table.
    data : Data
    how : How
    where : Where
    folder : Path
        The run's.
    scope : callable
        Gives the context that models are compiled in.
    """

    def __init__(
        self,
        network: Network,
        backbone: Backbone | None,
        data: Data,
        how: How,
        where: Where,
        folder: Path,
        scope: Callable[[], Any],
    ) -> None:
        self.network, self.backbone, self.data, self.how = network, backbone, data, how
        self.where, self.folder, self.watch = where, folder, where.watch
        self._scope = scope
        self._augment = build_augmentation(how.augment, how.size)
        self._trained: set[int] = set()  # ids of backbone layers that earlier phases trained
        self._predictors: dict[int, Predictor] = {}
        self.state = State()

    def predictor(self, model: Any, rows: Rows) -> Predictor:
        """Give what predicts with a model; its graph is built once."""
        return self._predictors.setdefault(id(model), Predictor(model, rows.shape))

    def run(self, resumed: tuple[State, Arrays] | None = None) -> State:
        """Train all phases, or what is left of them.

        Parameters
        ----------
        resumed : pair of State and Arrays, optional
            From `load_state`.

        Returns
        -------
        state : State
            The network is trained in place.

        Raises
        ------
        KeyboardInterrupt
            After Ctrl-C, when everything is saved.
        NetworkError
            If the loss is not a number any more.
        """
        arrays: Arrays | None = None
        if resumed is not None:
            self.state, arrays = resumed
            assign(self.network.model.variables, arrays["weights"])
        write_history(self.folder, self.state.history)
        board = TensorBoard(self.folder, self.state.history)
        try:
            with interruptible() as asked:
                for number, phase in enumerate(self.how.phases):
                    set_trainable(self.network, phase, self.backbone)
                    if number >= self.state.phase:
                        self._phase(number, phase, arrays, board, asked)
                        arrays = None
                    if phase.epochs:
                        self._trained |= {
                            id(layer)
                            for layer in self.network.backbone_layers
                            if layer.trainable and layer.weights
                        }
        finally:
            board.close()
            self.watch.finish()
        steps = -(-len(self.data.parts["train"].rows) // self.how.batch) * self.state.epoch
        if steps and (lagging := lagging_norms(self.network, steps)):
            self.state.notes.append(lagging)
        return self.state

    def _phase(
        self,
        number: int,
        phase: Phase,
        arrays: Arrays | None,
        board: TensorBoard,
        asked: Asked,
    ) -> None:

        state, how = self.state, self.how
        if phase.mode == "lp-ft" and arrays is None:
            self._start_from_logistic()
        elif not how.untouched and number == 0 and arrays is None:
            state.start["validation"] = self._validate(self.network.model, self.data.pictures)
        if len(state.trainable) == number:
            state.trainable.append(count_parameters(self.network)["trainable"])
        if phase.epochs == 0:
            state.phase, state.phase_epoch = number + 1, 0
            return
        cut, rows = self._inputs(phase)
        model = self.network.model if cut is None else cut.tail
        train = self.data.parts["train"].rows
        steps = len(train) // how.batch + (len(train) % how.batch >= how.devices)
        if how.devices > 1 and (how.batch % how.devices or len(train) < how.batch):
            raise TlfeatError(
                f"A batch of {how.batch} cannot be shared evenly by {how.devices} devices, or "
                f"there are fewer pictures to train on ({len(train)}): choose another batch."
            )
        total = steps * phase.epochs
        schedule = build_schedule(
            phase.schedule_choice, phase.rate, total, phase.warmup_steps(total)
        )
        with self._scope():
            optimiser = build_optimiser(
                phase.optimiser_choice,
                schedule,
                phase.clip_norm,
                scale_loss=self.network.in_half,
            )
            confusion = confusion_class()(self.data.one_hot.shape[1])
            model.compile(optimizer=optimiser, loss=_loss(how.loss, phase), metrics=[confusion])
            model.optimizer.build(model.trainable_variables)
        counted = (*model.metrics[0].variables, *confusion.variables)
        helpers = Helpers(phase, schedule, model)
        if arrays is not None and "optimiser" in arrays:
            assign(model.optimizer.variables, arrays["optimiser"])
            helpers.restore(state.callbacks, arrays.get("best"))

        def save(step: int) -> None:
            state.step = step
            state.callbacks = helpers.state()
            saved = {
                "weights": values_of(self.network.model.variables),
                "optimiser": values_of(model.optimizer.variables),
                "best": helpers.best_weights(),
            }
            if step:
                saved["metrics"] = values_of(counted)
            save_state(self.folder, state, saved)

        watcher = watcher_class()(self.watch, asked, save, state)
        watcher.counted = counted
        watcher.remaining = total - state.phase_epoch * steps - state.step
        self.watch.start(f"training {phase.mode}", total)
        self.watch.step(state.phase_epoch * steps + state.step)
        weights = self._class_weights(phase)
        while state.phase_epoch < phase.epochs:
            epoch = state.epoch + 1
            batches = make_batches(
                rows,
                train[epoch_order(len(train), how.seed, epoch)],
                self.data.one_hot,
                how.batch,
                class_weights=weights,
                augment=self._augment,
                seed=(how.seed, epoch),
                skip=state.step,
                least=how.devices,
            )
            began = time.perf_counter()
            metrics = arrays.get("metrics") if arrays and state.step else None
            watcher.begin(state.step, steps, metrics)
            arrays = None
            with readable(rows):
                losses = model.fit(
                    batches, epochs=1, verbose=0, shuffle=False, callbacks=[watcher]
                ).history
            state.step = 0
            matrix = values_of([confusion.matrix])[0].astype(np.float64)
            row = self._row(epoch, number, phase, losses["loss"][0], matrix)
            row |= {f"val_{k}": v for k, v in self._validate(model, rows).items()}
            row["learning_rate"] = float(
                schedule(int(values_of([model.optimizer.iterations])[0]) - 1)
            )
            row["seconds"] = round(state.step_seconds + time.perf_counter() - began, 3)
            state.history.append(row)
            state.seconds += row["seconds"]
            state.step_seconds = 0.0
            state.phase_epoch += 1
            stop = helpers.hear(state.phase_epoch, row)
            if how.keep == "all":
                self._keep_epoch(epoch)
            if stop or state.phase_epoch == phase.epochs:
                helpers.finish()
                if phase.patience and helpers.best_epoch < state.phase_epoch:
                    state.notes.append(
                        f"Phase {number + 1} ({phase.mode}) ended after {state.phase_epoch} of "
                        f"{phase.epochs} epochs and went back to its epoch {helpers.best_epoch}."
                    )
                state.phase, state.phase_epoch = number + 1, 0
                self._save_between()
                self._write(board, row)
                asked.answer()
                break
            save(0)
            self._write(board, row)
            asked.answer()
        self.watch.finish()

    def _write(self, board: TensorBoard, row: dict[str, Any]) -> None:
        write_history(self.folder, self.state.history)
        board.add(row)

    def _save_between(self) -> None:
        """Save the state between two phases: the next one brings its own optimiser."""
        self.state.step, self.state.callbacks = 0, {}
        save_state(self.folder, self.state, {"weights": values_of(self.network.model.variables)})

    def _keep_epoch(self, epoch: int) -> None:
        with replacing(epoch_file(self.folder, epoch)) as fresh:
            self.network.model.save_weights(fresh)

    def _inputs(self, phase: Phase) -> tuple[Cut | None, Rows]:
        """Give what the phase is trained on: pictures, or what lies at its cut."""
        cut = self._cached_cut(phase)
        if cut is not None:
            return cut, self._activations(cut.layer, cut.pool, cut.dtype)
        pictures = self.data.pictures
        if pictures.kept:
            self.state.extract["pixels"] = pictures.decode_seconds * len(pictures.samples)
        return None, pictures

    def _cached_cut(self, phase: Phase) -> Cut | None:
        if self.how.cut_dtype is None or self.how.augment or not self.how.untouched:
            return None
        with self._scope():
            cut = cut_network(self.network, self.backbone, phase, self.how.cut_dtype)
        if cut is None:
            if phase.mode == "partial":
                self.watch.note("The network cannot be parted there, so it is trained whole.")
            return None
        below = {id(layer) for layer in self.network.backbone_layers}
        below -= {id(layer) for layer in cut.tail._flatten_layers(recursive=True)}
        return None if below & self._trained else cut

    def _activations(self, layer: str, pool: str, dtype: str) -> Activations:
        assert self.backbone is not None
        how, pictures = self.how, self.data.pictures
        needed = np.concatenate([self.data.parts[n].rows for n in ("train", "validation")])
        wanted = replace(self.data.dataset, samples=tuple(pictures.samples[i] for i in needed))
        settings = FeatureSettings(
            self.backbone.name,
            f"{layer}:{pool}",
            how.weights,
            how.size,
            how.resize,
            dtype=dtype,
            seed=how.seed,
        )
        store = FeatureStore(self.where.cache_folder)
        request = settings.resolve(store.root)
        embed(wanted, [request], self.where)
        each = seconds_an_image(store, request, [one.digest for one in wanted.samples])
        self.state.extract[f"{layer}:{pool}"] = None if each is None else each * len(wanted)
        digests = [sample.digest for sample in pictures.samples]
        memory = how.memory - pictures.kept_bytes
        return Activations(digests, np.sort(needed), request, store, memory)

    def _start_from_logistic(self) -> None:
        """Make the top the logistic regression of the features."""
        from tlfeat.heads.fit import fit_head

        features = self._activations("last", "avg", "float32")
        train, held = (self.data.parts[name].rows for name in ("train", "validation"))
        X, held_X = features.take([train, held])
        fitted = fit_head(
            "logistic",
            X,
            self.data.y[train],
            n_classes=len(self.data.dataset.classes),
            validation=(held_X, self.data.y[held]),
            seed=self.how.seed,
        )
        kernel, bias = fold_logistic(fitted.pipeline, len(self.data.dataset.classes))
        logits = next(layer for layer in self.network.top if layer.name == LOGITS)
        logits.set_weights([kernel, bias])
        self.state.search_seconds = sum(value or 0.0 for value in fitted.seconds.values())
        scores = fitted.scores(held_X)
        right = float((scores.argmax(axis=1) == self.data.y[held]).mean())
        self.state.start["logistic"] = {"validation_accuracy": right, **fitted.chosen}
        self.state.start["validation"] = self._validate(self.network.model, self.data.pictures)

    def _class_weights(self, phase: Phase) -> npt.NDArray[np.float32] | None:
        """Give scikit-learn's balanced weights: n / (classes that occur x n of the class)."""
        if phase.class_weight is None:
            return None
        y = self.data.y[self.data.parts["train"].rows]
        counts = np.bincount(y, minlength=self.data.one_hot.shape[1])
        weights = len(y) / (np.count_nonzero(counts) * np.maximum(counts, 1))
        return weights.astype(np.float32)

    def _row(
        self, epoch: int, number: int, phase: Phase, loss: float, matrix: np.ndarray
    ) -> dict[str, Any]:
        if not np.isfinite(loss):
            raise NetworkError(
                f"The loss is {loss} in epoch {epoch}: lower the learning rate "
                f"({phase.rate:g}), or clip the gradients."
            )
        return {
            "epoch": epoch,
            "phase": number + 1,
            "mode": phase.mode,
            "loss": float(loss),
            **from_confusion(matrix),
        }

    def _validate(self, model: Any, rows: Rows) -> dict[str, float]:
        held = self.data.parts["validation"].rows
        scores = self.predictor(model, rows)(rows, held, self.how.batch)
        check_finite(scores)
        metrics = evaluate(self.data.y[held], scores, self.data.outputs, "probability")
        loss = metrics["log_loss"]
        if self.how.loss == "mse":
            loss = float(np.mean((scores - self.data.one_hot[held]) ** 2))
        return {"loss": float(loss), **of_evaluation(metrics)}


def _loss(name: str, phase: Phase) -> Any:
    import keras

    if name == "cross-entropy":
        return keras.losses.CategoricalCrossentropy(label_smoothing=phase.label_smoothing)
    if phase.label_smoothing:
        raise TlfeatError("Label smoothing belongs to the loss cross-entropy, not to mse.")
    return keras.losses.MeanSquaredError()
