"""What turns gradients into steps, as a table over Keras' own optimizers."""

from collections.abc import Mapping
from types import MappingProxyType
from typing import Any, Final

from tlfeat.finetuning.choices import Choice, Row, Setting


def _adam(keras: Any, rate: Any, **settings: Any) -> Any:
    return keras.optimizers.Adam(rate, **settings)


def _adamw(keras: Any, rate: Any, **settings: Any) -> Any:
    optimizer = keras.optimizers.AdamW(rate, **settings)
    optimizer.exclude_from_weight_decay(var_names=["bias", "gamma", "beta"])
    return optimizer


def _sgd(keras: Any, rate: Any, **settings: Any) -> Any:
    return keras.optimizers.SGD(rate, **settings)


_BETAS: Final = {"beta_1": Setting(0.9, 0, 1), "beta_2": Setting(0.999, 0, 1)}

_ROWS: Final = (
    Row("adam", "steps scaled by the gradients' recent size", dict(_BETAS), _adam),
    Row(
        "adamw",
        "Adam that also shrinks the weights, biases and normalisations left out",
        {"weight_decay": Setting(0.01, 0), **_BETAS},
        _adamw,
    ),
    Row(
        "sgd",
        "gradient descent with momentum",
        {"momentum": Setting(0.9, 0, 1), "nesterov": Setting(False)},
        _sgd,
    ),
)
OPTIMIZERS: Final[Mapping[str, Row]] = MappingProxyType({row.name: row for row in _ROWS})


_NAMES: Final = {"adamw": "adam_w"}  # what Keras calls the first of a process


def build_optimizer(
    choice: Choice,
    schedule: Any,
    clip_norm: float | None = None,
    *,
    ema: float = 0.0,
    scale_loss: bool = False,
) -> Any:
    """Build a new optimizer.

    Parameters
    ----------
    choice : Choice
        From `OPTIMIZERS`.
    schedule : keras LearningRateSchedule
    clip_norm : float, optional
        Scale all gradients together so that their norm is at most this.
    ema : float
        Decay of a moving average of the weights, see `MovingAverage`; 0 for none.
    scale_loss : bool
        Multiply the loss so that its gradients do not vanish in float16, and divide them again.
        Keras does so by itself only where the whole model has such a policy, which one that was
        saved and loaded has not.

    Returns
    -------
    optimizer : keras.optimizers.Optimizer
    """
    import keras

    # Keras would count its optimizers, and weights would be another file, and another parent, in
    # each process
    settings = {
        "name": _NAMES.get(choice.name, choice.name),
        **choice.settings,
        "global_clipnorm": clip_norm,
    }
    if ema:
        settings |= {"use_ema": True, "ema_momentum": ema, "ema_overwrite_frequency": None}
    optimizer = OPTIMIZERS[choice.name].build(keras, schedule, **settings)
    # float16 has no numbers below 6e-8: with the loss times S the gradients are S times as large
    # when they go through the layers, and they are divided by S in float32, before any clipping.
    if not scale_loss:
        return optimizer
    return keras.optimizers.LossScaleOptimizer(optimizer, name="loss_scale_optimizer")
