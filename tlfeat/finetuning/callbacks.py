"""What looks on while a network is trained: stopping, saving, estimating, going back.

Keras' own callbacks do the work where it has them. They are asked epoch by epoch, and what they
remember is kept in the checkpoint, which they themselves would not do.
"""

import time
from collections.abc import Callable, Mapping, Sequence
from functools import cache
from typing import Any, Final

import numpy as np

from tlfeat.finetuning.budget import MEASURED_STEPS
from tlfeat.finetuning.checkpoint import State, assign
from tlfeat.finetuning.plan import Phase
from tlfeat.finetuning.schedules import Plateau, level_of
from tlfeat.interrupts import Asked
from tlfeat.watch import Watch

PATIENCE_METHOD: Final = 2  # 1 could not go back to where the phase began


class Helpers:
    """Keras' callbacks that look at whole epochs, and whose state outlives a broken-off run."""

    def __init__(self, phase: Phase, schedule: Any, model: Any) -> None:
        import keras

        self._plateau: Plateau | None = None
        self._stopper: Any = None
        self._model = model
        choice = phase.schedule_choice
        if choice.name == "plateau":
            self._plateau = Plateau(choice, level_of(schedule))
        if phase.patience is not None:
            self._stopper = keras.callbacks.EarlyStopping(
                "val_loss", patience=phase.patience, restore_best_weights=True, mode="min"
            )
            self._stopper.set_model(model)
            self._stopper.on_train_begin()

    @property
    def wants_start(self) -> bool:
        """Whether it can be told what the phase starts from, and was not."""
        return self._stopper is not None and self._stopper.best_weights is None

    def begin(self, row: Mapping[str, Any]) -> None:
        """Hear what the phase starts from: its epoch 0."""
        self._stopper.on_epoch_end(0, row)

    def hear(self, epoch: int, row: Mapping[str, Any]) -> bool:
        """Hear of an epoch; say whether the phase should stop."""
        if self._plateau is not None:
            self._plateau.on_epoch_end(epoch, row)
        if self._stopper is None:
            return False
        self._model.stop_training = False
        self._stopper.on_epoch_end(epoch, row)
        return bool(self._model.stop_training)

    def finish(self) -> None:
        """Go back to the best epoch, where that was asked for."""
        if self._stopper is not None:
            self._stopper.on_train_end()

    @property
    def best_epoch(self) -> int:
        """The phase's epoch of the least validation loss; 0 is where it began."""
        return int(self._stopper.best_epoch)

    def best_weights(self) -> list[np.ndarray]:
        """Give the weights of that epoch, if they are to be gone back to."""
        return list(self._stopper.best_weights or []) if self._stopper is not None else []

    def state(self) -> dict[str, Any]:
        """Give what must be remembered beside the weights."""
        state: dict[str, Any] = {}
        if self._plateau is not None:
            state["plateau"] = self._plateau.state()
        if self._stopper is not None:
            best = self._stopper.best
            state["stopper"] = {
                "wait": self._stopper.wait,
                "best": None if best is None else float(best),
                "best_epoch": self._stopper.best_epoch,
            }
        return state

    def restore(self, state: Mapping[str, Any], best: list[np.ndarray] | None) -> None:
        """Go on from what `state` and `best_weights` gave."""
        if self._plateau is not None and "plateau" in state:
            self._plateau.restore(state["plateau"])
        if self._stopper is not None and "stopper" in state:
            for name, value in state["stopper"].items():
                setattr(self._stopper, name, value)
            self._stopper.best_weights = best or None


@cache
def watcher_class() -> Any:
    """Give the callback that looks at each step; a class of Keras, so made when it is needed."""
    import keras

    class Watcher(keras.callbacks.Callback):  # type: ignore[misc]
        """Tells of the steps, estimates the time once, and saves when Ctrl-C was pressed."""

        remaining = 0  # steps of the phase
        counted: tuple[Any, ...] = ()  # variables that sum up an epoch: loss, confusion

        def __init__(
            self,
            watch: Watch,
            asked: Asked,
            save: Callable[[int], None],
            state: State,
            foretell: Callable[[float, float, int], None],
        ) -> None:
            super().__init__()
            self._watch, self._asked, self._save, self._state = watch, asked, save, state
            self._foretell = foretell  # hears seconds of a step and of the graph, and steps left
            self._ends: list[float] = []  # of the first steps

        def begin(self, done: int, steps: int, metrics: list[np.ndarray] | None) -> None:
            """Hear that an epoch of so many steps begins, `done` of which are done."""
            self._done, self._all, self._metrics = done, steps, metrics
            self._began, self._before = time.perf_counter(), self._state.step_seconds
            self._ends = self._ends or [self._began]

        def on_epoch_begin(self, epoch: int, logs: Any = None) -> None:
            if self._metrics:  # Keras has just set them to nothing
                assign(self.counted, self._metrics)

        def on_train_batch_end(self, batch: int, logs: Any = None) -> None:
            self._watch.step()
            self._done += 1
            self.remaining -= 1
            if len(self._ends) < 2 + MEASURED_STEPS:
                self._ends.append(time.perf_counter())
                if len(self._ends) == 2 + MEASURED_STEPS:
                    self._foretell(*step_and_build(self._ends), self.remaining)
            if self._asked.stop and self._done < self._all:  # else when the epoch is over
                self._state.step_seconds = self._before + time.perf_counter() - self._began
                self._save(self._done)
                self._asked.answer()

    return Watcher


@cache
def timer_class() -> Any:
    """Give the callback that measures some steps; a class of Keras, so made when it is needed."""
    import keras

    class Timer(keras.callbacks.Callback):  # type: ignore[misc]
        """Measures what building the graph takes, and each step after that."""

        def on_train_begin(self, logs: Any = None) -> None:
            self._ends = [time.perf_counter()]

        def on_train_batch_end(self, batch: int, logs: Any = None) -> None:
            self._ends.append(time.perf_counter())

        @property
        def seconds(self) -> tuple[float, float]:
            """Of a step, and of the graph."""
            return step_and_build(self._ends)

    return Timer


def step_and_build(ends: Sequence[float]) -> tuple[float, float]:
    """Give the seconds of a step, and those that the first one took beyond that.

    Parameters
    ----------
    ends : sequence of float
        When training began, and when each step ended. Where there was one only, it is all step.

    Examples
    --------
    >>> step_and_build([0, 5, 6, 7])
    (1.0, 4.0)
    """
    steps = np.diff(ends)
    step = float(steps[1:].mean() if len(steps) > 1 else steps[0])
    return step, max(0.0, float(steps[0]) - step)
