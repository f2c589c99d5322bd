"""EfficientNet-Lite in Keras, and the way from torch's tensor names to its layers.

Against EfficientNet: no squeeze-excite, ReLU6, stem and head not scaled by width, the first and
the last stage not by depth. A block's output has the block's name, `b0` to `b15` for lite0;
`stem` and `head` are the activations before and after the blocks.

References
----------
tensorflow/tpu, models/official/efficientnet/lite/efficientnet_lite_builder.py.
"""

import math
from collections.abc import Mapping
from typing import Any, Final, NamedTuple

import numpy as np
import numpy.typing as npt

from tlfeat.errors import WeightsError


class _Stage(NamedTuple):
    repeats: int
    kernel: int
    stride: int
    expansion: int
    filters: int


_STAGES: Final = (
    _Stage(1, 3, 1, 1, 16),
    _Stage(2, 3, 2, 6, 24),
    _Stage(2, 5, 2, 6, 40),
    _Stage(3, 3, 2, 6, 80),
    _Stage(3, 5, 1, 6, 112),
    _Stage(4, 5, 2, 6, 192),
    _Stage(1, 3, 1, 6, 320),
)
_STEM, _HEAD, _EPSILON = 32, 1280, 1e-3
# width and depth; the table has the sizes
VARIANTS: Final = {
    "efficientnet-lite0": (1.0, 1.0),
    "efficientnet-lite1": (1.0, 1.1),
    "efficientnet-lite2": (1.1, 1.2),
}


def _scaled_filters(filters: int, width: float) -> int:
    """Scale a number of filters, to a multiple of 8 and never below 90 per cent."""
    scaled = filters * width
    rounded = max(8, int(scaled + 4) // 8 * 8)
    return rounded + 8 if rounded < 0.9 * scaled else rounded


def build_lite(name: str, pixels: Any, *, include_top: bool = False) -> Any:
    """Build an EfficientNet-Lite.

    Parameters
    ----------
    name : str
        A key of `VARIANTS`.
    pixels : KerasTensor of shape (n, size, size, 3)
        Scaled to (pixel - 127) / 128.
    include_top : bool, default False
        With the pooling and the 1000 logits of ImageNet.

    Returns
    -------
    model : keras.Model from `pixels` to the activation `head`, or to `logits`
    """
    from keras import Model, layers

    width, depth = VARIANTS[name]

    def conv(x: Any, filters: int, kernel: int, stride: int, label: str) -> Any:
        return layers.Conv2D(
            filters, kernel, stride, padding="same", use_bias=False, name=f"{label}_conv"
        )(x)

    def norm(x: Any, label: str) -> Any:
        return layers.BatchNormalization(epsilon=_EPSILON, name=f"{label}_bn")(x)

    def relu6(x: Any, label: str) -> Any:
        return layers.ReLU(6.0, name=label)(x)

    x = relu6(norm(conv(pixels, _STEM, 3, 2, "stem"), "stem"), "stem")
    block = 0
    for number, stage in enumerate(_STAGES):
        filters = _scaled_filters(stage.filters, width)
        scaled_in_depth = 0 < number < len(_STAGES) - 1
        repeats = math.ceil(depth * stage.repeats) if scaled_in_depth else stage.repeats
        for repeat in range(repeats):
            label, shortcut = f"b{block}", x
            stride = stage.stride if repeat == 0 else 1
            if stage.expansion != 1:
                expanded = x.shape[-1] * stage.expansion
                x = conv(x, expanded, 1, 1, f"{label}_expand")
                x = relu6(norm(x, f"{label}_expand"), f"{label}_expand_relu")
            x = layers.DepthwiseConv2D(
                stage.kernel, stride, padding="same", use_bias=False, name=f"{label}_depth_conv"
            )(x)
            x = relu6(norm(x, f"{label}_depth"), f"{label}_depth_relu")
            x = norm(conv(x, filters, 1, 1, f"{label}_project"), f"{label}_project")
            if stride == 1 and shortcut.shape[-1] == filters:
                x = layers.Add(name=label)([x, shortcut])
            else:
                x = layers.Activation("linear", name=label)(x)
            block += 1
    x = relu6(norm(conv(x, _HEAD, 1, 1, "head"), "head"), "head")
    if include_top:
        x = layers.GlobalAveragePooling2D(name="pool")(x)
        x = layers.Dense(1000, name="logits")(x)
    return Model(pixels, x, name=name.replace("-", "_"))


def _torch_prefix(layer: str) -> str:
    """Give the name that a layer's tensors have in the file.

    >>> _torch_prefix("b3_expand_bn"), _torch_prefix("b0_depth_bn"), _torch_prefix("logits")
    ('_blocks.3._bn0', '_blocks.0._bn1', '_fc')
    """
    outer = {
        "stem_conv": "_conv_stem",
        "stem_bn": "_bn0",
        "head_conv": "_conv_head",
        "head_bn": "_bn1",
        "logits": "_fc",
    }
    if layer in outer:
        return outer[layer]
    inner = {
        "expand_conv": "_expand_conv",
        "expand_bn": "_bn0",
        "depth_conv": "_depthwise_conv",
        "depth_bn": "_bn1",
        "project_conv": "_project_conv",
        "project_bn": "_bn2",
    }
    block, _, part = layer.partition("_")
    return f"_blocks.{block[1:]}.{inner[part]}"


def set_torch_weights(model: Any, tensors: Mapping[str, npt.NDArray[Any]]) -> None:
    """Give a network of `build_lite` the tensors of its `.pth` file.

    Raises
    ------
    WeightsError
        If a tensor is missing, has another shape, or belongs to no layer.
    """
    left = {name for name in tensors if not name.endswith("num_batches_tracked")}
    if not any(layer.name == "logits" for layer in model.layers):
        left -= {"_fc.weight", "_fc.bias"}
    for layer in model.layers:
        if not layer.weights:
            continue
        parts = ("weight", "bias", "running_mean", "running_var")[: len(layer.weights)]
        names = [f"{_torch_prefix(layer.name)}.{part}" for part in parts]
        missing = [name for name in names if name not in tensors]
        if missing:
            raise WeightsError(
                f"The weights do not fit {model.name}: layer {layer.name!r} needs the tensor "
                f"{missing[0]!r}, which the file does not have."
            )
        values = [_to_keras(layer, tensors[name]) for name in names]
        for name, value, weight in zip(names, values, layer.weights, strict=True):
            if value.shape != tuple(weight.shape):
                raise WeightsError(
                    f"The weights do not fit {model.name}: layer {layer.name!r} wants the shape "
                    f"{tuple(weight.shape)}, the file's {name!r} has {value.shape}."
                )
        layer.set_weights(values)
        left -= set(names)
    if left:
        raise WeightsError(
            f"The weights do not fit {model.name}: the file's {min(left)!r} belongs to no layer."
        )


def _to_keras(layer: Any, tensor: npt.NDArray[Any]) -> npt.NDArray[np.float32]:
    """Turn (out, in, row, column) into Keras' order; vectors stay."""
    if tensor.ndim == 2:
        tensor = tensor.T
    elif tensor.ndim == 4 and type(layer).__name__ == "DepthwiseConv2D":
        tensor = tensor.transpose(2, 3, 0, 1)
    elif tensor.ndim == 4:
        tensor = tensor.transpose(2, 3, 1, 0)
    return np.ascontiguousarray(tensor, dtype=np.float32)
