"""How the learning rate goes during a phase, as a table over Keras' own schedules.

A schedule counts the steps (batches) of its phase. Every one can be warmed up into: the rate
then rises from nothing to the schedule's first value, and the schedule begins after that.
"""

import math
from collections.abc import Mapping
from functools import cache
from types import MappingProxyType
from typing import Any, Final

from tlfeat.finetuning.choices import Choice, Row, Setting


def _constant(keras: Any, rate: float, steps: int) -> Any:
    return _level_class()(rate)


def _cosine(keras: Any, rate: float, steps: int, *, decay_steps: int | None, alpha: float) -> Any:
    return keras.optimizers.schedules.CosineDecay(rate, decay_steps or steps, alpha=alpha)


def _cosine_restarts(
    keras: Any,
    rate: float,
    steps: int,
    *,
    first_decay_steps: int | None,
    t_mul: float,
    m_mul: float,
    alpha: float,
) -> Any:
    # two cycles, of first and t_mul x first steps; rounded up, no third one begins
    first = first_decay_steps or math.ceil(steps / (1 + t_mul))
    return keras.optimizers.schedules.CosineDecayRestarts(
        rate, first, t_mul=t_mul, m_mul=m_mul, alpha=alpha
    )


def _step(keras: Any, rate: float, steps: int, *, every: int | None, factor: float) -> Any:
    every = every or math.ceil(steps / 3)  # rounded up, it does not fall a third time at the end
    return keras.optimizers.schedules.ExponentialDecay(rate, every, factor, staircase=True)


def _exponential(
    keras: Any, rate: float, steps: int, *, decay_steps: int | None, factor: float
) -> Any:
    return keras.optimizers.schedules.ExponentialDecay(rate, decay_steps or steps, factor)


def _plateau(keras: Any, rate: float, steps: int, **settings: Any) -> Any:
    return _level_class()(rate)


# the phase's own number where it is left out; a share of that, rounded up since method 2
_STEPS: Final = Setting(None, 1, whole=True)
_PART: Final = Setting(None, 1, whole=True, method=2)
_ALPHA: Final = Setting(0.0, 0, 1)

_ROWS: Final = (
    Row("constant", "the same rate all along", {}, _constant),
    Row(
        "cosine",
        "down to alpha times the rate along half a cosine, over decay_steps (the whole phase)",
        {"decay_steps": _STEPS, "alpha": _ALPHA},
        _cosine,
    ),
    Row(
        "cosine-restarts",
        "a cosine that begins again, each time t_mul as long and from m_mul as high; two cycles "
        "where first_decay_steps is left out",
        {
            "first_decay_steps": _PART,
            "t_mul": Setting(2.0, 1),
            "m_mul": Setting(1.0, 0),
            "alpha": _ALPHA,
        },
        _cosine_restarts,
    ),
    Row(
        "step",
        "times factor after every `every` steps (a third of the phase)",
        {"every": _PART, "factor": Setting(0.1, 0, 1)},
        _step,
    ),
    Row(
        "exponential",
        "smoothly down to factor times the rate in decay_steps (the whole phase)",
        {"decay_steps": _STEPS, "factor": Setting(0.01, 0, 1)},
        _exponential,
    ),
    Row(
        "plateau",
        "times factor when the validation loss has not fallen for `patience` epochs",
        {
            "factor": Setting(0.1, 0, 0.999),
            "patience": Setting(2, 1),
            "min_delta": Setting(1e-4, 0),
            "cooldown": Setting(0, 0),
            "least": Setting(0.0, 0),
        },
        _plateau,
    ),
)
SCHEDULES: Final[Mapping[str, Row]] = MappingProxyType({row.name: row for row in _ROWS})


def build_schedule(choice: Choice, rate: float, steps: int, warmup: int = 0) -> Any:
    """Build the schedule of a phase.

    Parameters
    ----------
    choice : Choice
        From `SCHEDULES`.
    rate : float
        The learning rate that the schedule begins with.
    steps : int
        Steps of the phase.
    warmup : int
        Steps of them in which the rate rises to `rate`.

    Returns
    -------
    schedule : keras.optimizers.schedules.LearningRateSchedule
        Of a plateau, its attribute `level` is a variable that `Plateau` lowers.

    References
    ----------
    keras/src/optimizers/schedules/learning_rate_schedule.py.
    """
    import keras

    main = SCHEDULES[choice.name].build(keras, rate, max(1, steps - warmup), **choice.settings)
    return _warm_up_class()(main, warmup) if warmup else main


def level_of(schedule: Any) -> Any:
    """Give the variable that a plateau's schedule follows."""
    return getattr(schedule, "into", schedule).level


class Plateau:
    """Keras' ReduceLROnPlateau, made to lower a schedule's level, so that it can be warmed up."""

    def __init__(self, choice: Choice, level: Any) -> None:
        import keras

        settings = dict(choice.settings)
        least = settings.pop("least")
        self._level = level
        self._callback = keras.callbacks.ReduceLROnPlateau("val_loss", min_lr=least, **settings)
        self._callback.set_model(_Holder(float(level)))
        self._callback.on_train_begin()

    def on_epoch_end(self, epoch: int, logs: Mapping[str, Any]) -> None:
        """Hear the losses of an epoch."""
        self._callback.on_epoch_end(epoch, dict(logs))
        self._level.assign(float(self._callback.model.optimizer.learning_rate))

    def state(self) -> dict[str, Any]:
        """Give what must be remembered to go on later."""
        return {
            "wait": self._callback.wait,
            "best": _plain(self._callback.best),
            "cooldown": self._callback.cooldown_counter,
            "level": float(self._callback.model.optimizer.learning_rate),
        }

    def restore(self, state: Mapping[str, Any]) -> None:
        """Go on from what `state` gave."""
        self._callback.wait = state["wait"]
        self._callback.best = state["best"]
        self._callback.cooldown_counter = state["cooldown"]
        self._callback.model.optimizer.learning_rate = state["level"]
        self._level.assign(state["level"])


class _Holder:
    """As much of a model as ReduceLROnPlateau looks at."""

    def __init__(self, rate: float) -> None:
        self.optimizer = self
        self.learning_rate = rate


def _plain(value: Any) -> float | None:
    return None if value is None else float(value)


@cache
def _warm_up_class() -> Any:
    import keras

    class WarmUp(keras.optimizers.schedules.LearningRateSchedule):  # type: ignore[misc]
        """Rise in a line to the first value of another schedule, then follow it."""

        def __init__(self, into: Any, steps: int) -> None:
            super().__init__()
            self.into, self.steps = into, steps

        def __call__(self, step: Any) -> Any:
            # At step t of w warm-up steps the rate is first x (t + 1) / (w + 1): never 0, so that
            # no step is lost, and `first` itself at t = w, where the schedule's own step 0 is.
            step = keras.ops.cast(step, "float32")
            rising = self.into(0) * (step + 1) / (self.steps + 1)
            return keras.ops.where(
                step < self.steps, rising, self.into(keras.ops.maximum(step - self.steps, 0))
            )

        def get_config(self) -> dict[str, Any]:
            return {"into": self.into, "steps": self.steps}

    return WarmUp


@cache
def _level_class() -> Any:
    import keras

    class Level(keras.optimizers.schedules.LearningRateSchedule):  # type: ignore[misc]
        """Whatever the variable `level` says."""

        def __init__(self, rate: float) -> None:
            super().__init__()
            self.level = keras.Variable(rate, dtype="float32", trainable=False, name="level")

        def __call__(self, step: Any) -> Any:
            return keras.ops.convert_to_tensor(self.level)

        def get_config(self) -> dict[str, Any]:
            return {"rate": float(self.level)}

    return Level
