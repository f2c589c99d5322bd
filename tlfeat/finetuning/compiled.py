"""A phase that is ready to train: its model compiled, its learning rate scheduled.

It ends with the phase. What a broken-off run goes on from is in the checkpoint.
"""

from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from typing import Any

import numpy as np

from tlfeat.errors import TlfeatError
from tlfeat.finetuning.averages import MovingAverage
from tlfeat.finetuning.callbacks import Helpers
from tlfeat.finetuning.checkpoint import Arrays, State, assign, values_of
from tlfeat.finetuning.history import confusion_class
from tlfeat.finetuning.norms import TrainedNorms
from tlfeat.finetuning.optimizers import build_optimizer
from tlfeat.finetuning.pictures import Rows
from tlfeat.finetuning.plan import Phase
from tlfeat.finetuning.schedules import build_schedule


class CompiledPhase:
    """A phase with the model that is trained in it.

    Parameters
    ----------
    phase : Phase
    model : keras.Model
        The whole network, or what lies above a cut.
    rows : Rows
        What the model sees: pictures, or activations at the cut.
    n_outputs : int
    loss : str
    steps : int
        Of an epoch.
    scale_loss : bool
        See `build_optimizer`.
    scope : callable
        Gives the context that models are compiled in.
    """

    def __init__(
        self,
        phase: Phase,
        model: Any,
        rows: Rows,
        n_outputs: int,
        loss: str,
        steps: int,
        *,
        scale_loss: bool,
        scope: Callable[[], Any],
    ) -> None:
        self.phase, self.model, self.rows = phase, model, rows
        self.steps, self.total = steps, steps * phase.epochs
        self._schedule = build_schedule(
            phase.schedule_choice, phase.rate, self.total, phase.warmup_steps(self.total)
        )
        with scope():
            optimizer = build_optimizer(
                phase.optimizer_choice,
                self._schedule,
                phase.greatest_norm,
                ema=phase.decay(self.total),
                scale_loss=scale_loss,
            )
            self._confusion = confusion_class()(n_outputs)
            model.compile(
                optimizer=optimizer, loss=_keras_loss(loss, phase), metrics=[self._confusion]
            )
            model.optimizer.build(model.trainable_variables)
        self.sums = (*model.metrics[0].variables, *self._confusion.variables)  # over an epoch
        self.helpers = Helpers(phase, self._schedule, model)
        self.norms = TrainedNorms(model, rows.shape)
        self._average = MovingAverage(model) if phase.is_averaged else None
        self.start: list[np.ndarray] = []  # weights that a phase may go back to
        if phase.goes_back:
            self.start = values_of(model.trainable_variables)

    def restore(self, state: State, arrays: Arrays) -> None:
        """Go on from a checkpoint; one made between two phases has nothing of this phase."""
        values = arrays.get("optimizer", arrays.get("optimiser"))  # as it was spelt at first
        if values is not None:
            assign(self.model.optimizer.variables, values)
            self.helpers.restore(state.callbacks, arrays.get("best"))
            self.start = arrays.get("start", [])

    def arrays(self, *, within_epoch: bool) -> Arrays:
        """Give what a checkpoint holds beside the weights of the whole network."""
        kept = {
            "optimizer": values_of(self.model.optimizer.variables),
            "best": self.helpers.best_weights(),
            "start": self.start,
        }
        return kept | ({"metrics": values_of(self.sums)} if within_epoch else {})

    def judged(self) -> AbstractContextManager[None]:
        """Have the model as it is judged for a while: with the average of its weights."""
        return nullcontext() if self._average is None else self._average.in_place()

    def settle(self) -> None:
        """Leave the model as it is judged."""
        if self._average is not None:
            self._average.settle()

    @property
    def confusion(self) -> np.ndarray:
        """Counts by true and predicted class over the epoch, of shape (k, k)."""
        return values_of([self._confusion.matrix])[0].astype(np.float64)

    @property
    def last_rate(self) -> float:
        """The learning rate of the last step."""
        return float(self._schedule(int(values_of([self.model.optimizer.iterations])[0]) - 1))


def steps_an_epoch(n_pictures: int, batch: int, devices: int) -> int:
    """Give how many steps an epoch has; a last batch smaller than the devices is left out.

    Raises
    ------
    TlfeatError
        If the devices cannot share a batch evenly.
    """
    if devices > 1 and (batch % devices or n_pictures < batch):
        raise TlfeatError(
            f"A batch of {batch} cannot be shared evenly by {devices} devices, or there are "
            f"fewer pictures to train on ({n_pictures}): choose another batch."
        )
    return n_pictures // batch + (n_pictures % batch >= devices)


def _keras_loss(name: str, phase: Phase) -> Any:
    import keras

    if name == "mse":
        return keras.losses.MeanSquaredError()
    return keras.losses.CategoricalCrossentropy(label_smoothing=phase.smoothing)
