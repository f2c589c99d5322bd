"""The epochs of a fine-tune, phase after phase, on Keras' own training step.

Each epoch is one `fit`, so that everything that decides it, the order of the pictures, their
changes, the states of optimizer and dropout, is a function of the seed, the epoch and what the
last checkpoint holds: a run that was broken off goes on as if nothing had happened.
"""

import time
from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from tlfeat.errors import NetworkError
from tlfeat.files import replacing
from tlfeat.finetuning.assemble import LOGITS
from tlfeat.finetuning.augment import build_augmentation, read_augmentations
from tlfeat.finetuning.averages import SHARES, Chosen, between, choose_share
from tlfeat.finetuning.callbacks import watcher_class
from tlfeat.finetuning.checkpoint import (
    Arrays,
    State,
    assign,
    epoch_file,
    save_state,
    values_of,
)
from tlfeat.finetuning.compiled import CompiledPhase, steps_an_epoch
from tlfeat.finetuning.history import (
    GENTLY,
    TensorBoard,
    from_confusion,
    of_evaluation,
    write_history,
)
from tlfeat.finetuning.inputs import Given, Inputs
from tlfeat.finetuning.modes import count_parameters, set_trainable
from tlfeat.finetuning.norms import MOST_BATCHES
from tlfeat.finetuning.pictures import (
    Ints,
    Rows,
    epoch_order,
    make_batches,
    readable,
    split_order,
)
from tlfeat.finetuning.plan import Phase, may_end_where_it_began
from tlfeat.finetuning.planner import Planner
from tlfeat.finetuning.predict import Predictor, check_finite
from tlfeat.finetuning.refit import as_trained
from tlfeat.finetuning.start import HeadStart
from tlfeat.finetuning.tops import some_of, standardise_top
from tlfeat.interrupts import Asked, interruptible
from tlfeat.runs.metrics import evaluate

# Standard errors towards where a second try began. It changes less, so less can be lost: on held
# rows of 300 dishes, in five folds, a half gave 1.8 points over the head where a whole gave 0.9.
_OF_GENTLE: Final = 0.5


class Training:
    """A fine-tune that is going on.

    Parameters
    ----------
    given : Given
    folder : Path
        The run's.
    start : HeadStart, optional
        What the network begins as; one that is resumed needs none.
    began : float
        When the run began, by `time.perf_counter`; a budget counts from there.
    """

    def __init__(
        self,
        given: Given,
        folder: Path,
        *,
        start: HeadStart | None = None,
        began: float = 0.0,
    ) -> None:
        self._given, self._start, self.began = given, start, began
        self.network, self.backbone = given.network, given.backbone
        self.data, self.settings = given.data, given.settings
        self.folder, self.watch, self._scope = folder, given.where.watch, given.scope
        self._augment: Any = None  # changes the pictures of a phase
        self._predictors: dict[int, Predictor] = {}
        self._changed: set[int] = set()  # ids of variables that are not as they were built
        self.state = State()
        self._planner = Planner(self)

    def predictor(self, model: Any, rows: Rows) -> Predictor:
        """Give what predicts with a model; its graph is built once."""
        return self._predictors.setdefault(id(model), Predictor(model, rows.shape))

    def held_scores(self) -> npt.NDArray[np.float32]:
        """Give the probabilities of the held rows by the network as it is; (n_held, k)."""
        return self._answers(self.network.model, self.data.pictures, self.data.held)

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
            variables = self.network.model.variables
            places = arrays.get("places")  # those of older versions have all weights
            if places is not None:
                variables = [variables[place] for place in places[0]]
            assign(variables, arrays["weights"])
        budget = self.settings.budget
        deadline = None if budget is None else self.began + budget
        self.inputs = Inputs(self._given, self.state.extract, deadline)
        write_history(self.folder, self.state.history)
        board = TensorBoard(self.folder, self.state.history)
        try:
            with interruptible() as asked:
                for number, wanted in enumerate(self.settings.phases):
                    phase = replace(wanted, **self.state.plan)
                    set_trainable(self.network, phase, self.backbone)
                    self._changed |= self._trained_here()
                    while number == self.state.phase:
                        self._phase(number, arrays, board, asked)
                        arrays = None
                    if phase.takes_steps:
                        self.inputs.trained()
        finally:
            board.close()
            self.watch.finish()
            self.inputs.drop()
        return self.state

    def _phase(self, number: int, arrays: Arrays | None, board: TensorBoard, asked: Asked) -> None:
        """Train one phase, or what is left of it, until it ends or is to be tried again."""
        state, retried = self.state, self._retried(number)
        second = state.retried.get(str(number))  # none in a refit: it trains what was kept alone
        phase = as_trained(self.settings.phases[number], state.plan, second)
        changes = read_augmentations(retried["augment"]) if retried else self.settings.augment
        self._augment = build_augmentation(changes, self.settings.size)
        self._before_phase(number, phase, begins=arrays is None and second is None)
        if self.settings.budget is not None and not state.plan and phase.takes_steps:
            phase, arrays = self._planner.plan(phase, self.settings.budget), None
            asked.answer()
        if not phase.takes_steps:
            state.phase, state.phase_epoch = number + 1, 0
            state.kept.append(0)
            return
        compiled = self.compile(phase)
        if state.plan and arrays is None:
            self.save(compiled, 0)  # broken off now it goes on with this plan
        sums = None  # of the part of an epoch that was trained before a break
        if arrays is not None:
            compiled.restore(state, arrays)
            sums = arrays.get("metrics") if state.step else None
        if compiled.helpers.wants_start and may_end_where_it_began(
            self.settings.phases, number, keeps_top=self.network.keeps_top
        ):
            compiled.helpers.begin(self._validated(compiled))
        watcher = self._watcher(compiled, asked)
        while state.phase == number and self._retried(number) is retried:
            began = time.perf_counter()
            watcher.begin(state.step, compiled.steps, sums)
            loss = self._fit_epoch(compiled, watcher)
            self._after_epoch(number, compiled, loss, began, board)
            asked.answer()
            sums = None
        self.watch.finish()

    def _retried(self, number: int) -> Mapping[str, Any] | None:
        """Give how a phase is tried once more, None where it is not (yet)."""
        settled = self.settings.settled
        return (self.state if settled is None else settled).retried.get(str(number))

    def _name(self, number: int, phase: Phase) -> str:
        """Name what is trained, in the curves and while it goes on."""
        return f"{phase.mode}, {GENTLY}" if self._retried(number) else phase.mode

    def _before_phase(self, number: int, phase: Phase, *, begins: bool) -> None:
        """Measure what a phase starts from, where it is not the backbone as it came."""
        is_new = self.network.standardise is not None and not self.network.keeps_top
        if number == 0 and begins and is_new:
            rows = some_of(self.data.train, self.settings.seed)
            standardise_top(self.network, self.data.pictures, rows, self.settings.batch)
        if number == 0 and begins and self._start is not None:
            self._begin_as(self._start)
        elif not self.settings.untouched and number == 0 and begins:
            self.state.start["validation"] = self._validate(self.network.model, self.data.pictures)
        if len(self.state.trainable) == number:
            self.state.trainable.append(count_parameters(self.network)["trainable"])

    def compile(self, phase: Phase) -> CompiledPhase:
        """Make a phase ready to train: its model and what that sees."""
        settings, n_train = self.settings, len(self.data.train)
        cut, rows = self.inputs.of(phase)
        return CompiledPhase(
            phase,
            self.network.model if cut is None else cut.tail,
            rows,
            self.data.one_hot.shape[1],
            settings.loss,
            steps_an_epoch(n_train, settings.batch, settings.devices),
            scale_loss=self.network.in_half,
            scope=self._scope,
        )

    def _watcher(self, compiled: CompiledPhase, asked: Asked) -> Any:
        """Give the callback that looks at each step of a phase, and saves it where asked to."""
        watcher = watcher_class()(
            self.watch,
            asked,
            partial(self.save, compiled),
            self.state,
            partial(self._planner.foretell, compiled),
        )
        done = self.state.phase_epoch * compiled.steps + self.state.step
        total = self._epochs(self.state.phase, compiled.phase) * compiled.steps
        watcher.counted, watcher.remaining = compiled.sums, total - done
        again = " again" if self.settings.settled else ""
        name = self._name(self.state.phase, compiled.phase)
        self.watch.start(f"training {name}{again}", total)
        self.watch.step(done)
        return watcher

    def _fit_epoch(self, compiled: CompiledPhase, watcher: Any) -> float:
        """Train an epoch, or the rest of it, and give its loss."""
        train, epoch = self.data.train, self.state.epoch + 1
        order = train[epoch_order(len(train), self.settings.seed, epoch)]
        loss = self.fit(compiled, order, watcher)
        self.state.step = 0
        return loss

    def fit(self, compiled: CompiledPhase, order: Ints, watcher: Any) -> float:
        """Train on some rows in their order, and give their loss."""
        settings, state = self.settings, self.state
        rows = compiled.rows.of_epoch(state.epoch + 1)
        batches = make_batches(
            rows,
            order,
            self.data.one_hot,
            settings.batch,
            class_weights=self._class_weights(compiled.phase),
            augment=self._augment if rows is self.data.pictures else None,
            seed=(settings.seed, state.epoch + 1),
            skip=state.step,
            least=settings.devices,
        )
        with readable(rows):
            history = compiled.model.fit(
                batches, epochs=1, verbose=0, shuffle=False, callbacks=[watcher]
            ).history
        return float(history["loss"][0])

    def _after_epoch(
        self,
        number: int,
        compiled: CompiledPhase,
        loss: float,
        began: float,
        board: TensorBoard,
    ) -> None:
        """Validate, and keep what the epoch has given before anything else is begun."""
        state, phase = self.state, compiled.phase
        row = self._row(number, phase, loss, compiled.confusion)
        with compiled.judged():
            self._settle(compiled)
            row |= self._validated(compiled)
            row["learning_rate"] = compiled.last_rate
            row["seconds"] = round(state.step_seconds + time.perf_counter() - began, 3)
            state.history.append(row)
            state.seconds += row["seconds"]
            state.step_seconds = 0.0
            state.phase_epoch += 1
            stop = compiled.helpers.hear(state.phase_epoch, row)
            if self.settings.keep == "all":
                with replacing(epoch_file(self.folder, state.epoch)) as fresh:
                    self.network.model.save_weights(fresh)
        again = self._planner.early_retry(number, phase)
        if again:
            assign(compiled.model.trainable_variables, compiled.start)
            self._try_again(number, again)
        elif stop or state.phase_epoch == self._epochs(number, phase):
            self._end_phase(number, compiled)
        else:
            self.save(compiled, 0)
        write_history(self.folder, state.history)
        board.add(row)

    def _epochs(self, number: int, phase: Phase) -> int:
        """Give how many epochs a phase has, where held rows do not end it."""
        settled = self.settings.settled
        return phase.epochs if settled is None else settled.epochs[number]

    def _settle(self, compiled: CompiledPhase) -> None:
        """Let batch normalisations that are trained know all of train, as it is."""
        settings, train, phase = self.settings, self.data.train, self.state.phase
        ends = self.state.phase_epoch + 1 == self._epochs(phase, compiled.phase)
        if not compiled.norms or not (ends or len(self.data.held)):  # and nobody judges it
            return
        order = train[epoch_order(len(train), settings.seed, self.state.epoch + 1)]
        batches = split_order(order, settings.batch)
        whole = [batch for batch in batches if len(batch) == settings.batch] or batches
        with self._scope():
            compiled.norms.settle(compiled.rows.take(whole[:MOST_BATCHES]))

    def _end_phase(self, number: int, compiled: CompiledPhase) -> None:
        """Go back to the best epoch where asked to, and save what comes next begins with."""
        state, phase, helpers = self.state, compiled.phase, compiled.helpers
        compiled.settle()
        helpers.finish()
        kept = helpers.best_epoch if phase.patience else state.phase_epoch
        if kept < state.phase_epoch:
            state.notes.append(
                f"Phase {number + 1} ({self._name(number, phase)}) ended after "
                f"{state.phase_epoch} of {phase.epochs} epochs and went back to its epoch {kept}."
            )
        again = self._go_back(number, compiled) if phase.goes_back else {}
        if again:
            self._try_again(number, again)
            return
        state.kept.append(kept)
        state.phase = number + 1
        self._begin_anew()

    def _try_again(self, number: int, again: dict[str, Any]) -> None:
        """Let a phase, which is back where it began, be trained once more."""
        self.state.retried[str(number)] = again
        self._begin_anew()

    def _begin_anew(self) -> None:
        """Save what comes next begins with: it brings its own optimizer."""
        state = self.state
        state.phase_epoch = state.step = 0
        state.callbacks = {}
        save_state(self.folder, state, self._weights())

    def _go_back(self, number: int, compiled: CompiledPhase) -> dict[str, Any]:
        """Go back towards where a phase began, as far as held rows are as good there.

        Returns
        -------
        again : dict
            How it is to be trained once more from where it began; empty where it is not.
        """
        weights, settled = compiled.model.trainable_variables, self.settings.settled
        end = values_of(weights)
        if settled is None:
            errors = _OF_GENTLE if self._retried(number) else 1.0
            chosen = self._choose_share(compiled, weights, end, errors)
        else:
            chosen = Chosen(**settled.chosen[str(number)])
        assign(weights, between(compiled.start, end, chosen.share))
        again = {} if chosen.share else self._planner.retry(number, compiled.phase)
        if not again:
            logits = [layer for layer in self.network.classifier if layer.weights][-1]
            logits.set_weights([weight / chosen.temperature for weight in logits.get_weights()])
            self.state.chosen[str(number)] = chosen._asdict()
        return again

    def _choose_share(
        self,
        compiled: CompiledPhase,
        weights: Sequence[Any],
        end: Sequence[np.ndarray],
        errors: float,
    ) -> Chosen:
        held, scores = self.data.held, {}
        for share in SHARES:
            assign(weights, between(compiled.start, end, share))
            scores[share] = self._answers(compiled.model, compiled.rows, held)
        return choose_share(self.data.y[held], scores, errors)

    def save(self, compiled: CompiledPhase, step: int) -> None:
        """Save where the run is: after so many steps of an epoch, 0 at its beginning."""
        self.state.step, self.state.callbacks = step, compiled.helpers.state()
        arrays = self._weights() | compiled.arrays(within_epoch=step > 0)
        save_state(self.folder, self.state, arrays)

    def _trained_here(self) -> set[int]:
        """Give the ids of the variables of the layers that are trained now, and of the top."""
        trained = [layer for layer in self.network.backbone_layers if layer.trainable]
        layers = [*self.network.classifier, *trained]
        return {id(variable) for layer in layers for variable in layer.variables}

    def _weights(self) -> Arrays:
        """Give what a checkpoint holds of the network: the others are as they were built."""
        variables = self.network.model.variables
        places = [i for i, variable in enumerate(variables) if id(variable) in self._changed]
        values = values_of([variables[place] for place in places])
        return {"places": [np.array(places, np.int64)], "weights": values}

    def _begin_as(self, start: HeadStart) -> None:
        """Make the top the logistic regression of the features."""
        logits = next(layer for layer in self.network.classifier if layer.name == LOGITS)
        columns = logits.kernel.shape[0]
        kernel = np.zeros((columns, start.kernel.shape[1]), np.float32)
        kernel[: len(start.kernel)] = start.kernel  # of what is read beside it nothing is known
        logits.set_weights([kernel, start.bias])
        self.state.outputs = [list(one) for one in start.read]
        self.state.extract |= start.extract
        self.state.search_seconds = start.search_seconds
        self.state.start["logistic"] = dict(start.facts)
        self.state.start["validation"] = self._validate(self.network.model, self.data.pictures)

    def _class_weights(self, phase: Phase) -> npt.NDArray[np.float32] | None:
        """Give scikit-learn's balanced weights, of shape (n_outputs,)."""
        if phase.class_weight is None:
            return None
        y = self.data.y[self.data.train]
        # w_c = n / (k n_c), k the classes that occur: every class adds n / k to the loss, and the
        # mean weight of a picture is 1, so that the learning rate means what it did.
        counts = np.bincount(y, minlength=self.data.one_hot.shape[1])
        weights = len(y) / (np.count_nonzero(counts) * np.maximum(counts, 1))
        return weights.astype(np.float32)

    def _row(
        self, number: int, phase: Phase, loss: float, confusion: np.ndarray
    ) -> dict[str, Any]:
        epoch = self.state.epoch + 1
        if not np.isfinite(loss):
            raise NetworkError(
                f"The loss is {loss} in epoch {epoch}: lower the learning rate "
                f"({phase.rate:g}), or clip the gradients."
            )
        return {
            "epoch": epoch,
            "phase": number + 1,
            "mode": self._name(number, phase),
            "loss": loss,
            **from_confusion(confusion),
        }

    def _validated(self, compiled: CompiledPhase) -> dict[str, float]:
        """Validate what is trained, for a row of the history."""
        validated = self._validate(compiled.model, compiled.rows)
        return {f"val_{name}": value for name, value in validated.items()}

    def _validate(self, model: Any, rows: Rows) -> dict[str, float]:
        held = self.data.held
        if not len(held):
            return {}
        scores = self._answers(model, rows, held)
        metrics = evaluate(self.data.y[held], scores, self.data.outputs, "probability")
        loss = metrics["log_loss"]
        if self.settings.loss == "mse":
            loss = float(np.mean((scores - self.data.one_hot[held]) ** 2))
        return {"loss": float(loss), **of_evaluation(metrics)}

    def _answers(self, model: Any, rows: Rows, wanted: Ints) -> npt.NDArray[np.float32]:
        """Give the probabilities of some rows, (n, k), in their order."""
        scores = self.predictor(model, rows)(rows, wanted, self.settings.batch)
        check_finite(scores)
        return scores
