"""The whole network of a fine-tune: pixels, scaling, backbone, pooling, classifier.

It takes plain pixels (RGB, 0 to 255) and has nothing of ours in it, so that Keras alone can load
what is saved of it, and nobody can scale pixels wrongly afterwards.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

from tlfeat.backbones.keras_files import load_model
from tlfeat.backbones.keras_runtime import dtype_policy, import_keras, seeded_initialisers
from tlfeat.backbones.networks import build_base, find_layer, freeze, named_tensors, pooled
from tlfeat.backbones.table import Backbone, Output
from tlfeat.backbones.weights import Weights
from tlfeat.errors import NetworkError, WeightsError, first_line
from tlfeat.finetuning.plain_cnn import build_plain_cnn
from tlfeat.finetuning.settings import Classifier

BACKBONE: Final = "backbone"  # name of the network inside
LOGITS: Final = "top_logits"
STANDARDISE: Final = "top_standardise"
LAST: Final = Output("last", "avg")  # what a new classifier reads where nothing else is said
_TOP: Final = "top_"
_IMAGENET: Final = 1000


@dataclass(frozen=True)
class Network:
    """A whole network and its parts.

    Attributes
    ----------
    model : keras.Model
        From pixels (n, size, size, 3), 0 to 255, to probabilities (n, k).
    base : keras.Model
        The backbone inside, from scaled pixels to its last activation, or to all that is read.
    pooling : list of keras.Layer
        From what the backbone gives to one row a picture: the pooling, and a normalisation
        where the network has it after its pooling. Part of the backbone.
    classifier : list of keras.Layer
        What is new, in order.
    rates : list of (keras.Layer, str, float)
        What layers that drop at random were built with, where a phase took it from them.
    keeps_top : bool
        Whether the classifier is that of the model that it was read from.
    reads_last : bool
        Whether it was built here, and its classifier reads `last:avg` and nothing else.
    """

    model: Any
    base: Any
    pooling: list[Any]
    classifier: list[Any]
    rates: list[tuple[Any, str, float]] = field(default_factory=list)
    keeps_top: bool = False
    reads_last: bool = False

    @property
    def standardise(self) -> Any | None:
        """The first layer of a new top, which standardises what it reads; None in other tops."""
        return next((layer for layer in self.classifier if layer.name == STANDARDISE), None)

    @property
    def backbone_layers(self) -> list[Any]:
        """All layers that came with weights of their own."""
        return [*self.base._flatten_layers(include_self=False, recursive=True), *self.pooling]

    @property
    def in_half(self) -> bool:
        """Whether a layer computes in float16, in which small gradients vanish."""
        return any(layer.compute_dtype == "float16" for layer in self.model._flatten_layers())


def assemble(
    backbone: Backbone | None,
    size: int,
    weights: Weights,
    n_classes: int,
    classifier: Classifier,
    *,
    outputs: Sequence[Output] = (LAST,),
    standardises: bool = False,
    precision: str = "float32",
    seed: int = 0,
) -> Network:
    """Build the network that a fine-tune starts from.

    Parameters
    ----------
    backbone : Backbone or None
        None for the plain CNN.
    size : int
        Side of the pictures in pixels.
    weights : Weights
    n_classes : int
    classifier : Classifier
    outputs : sequence of Output
        What of the backbone a new classifier reads.
    standardises : bool
        Whether a new classifier standardises that, and begins at zero.
    precision : {"float32", "mixed"}
        "mixed" computes in float16 and keeps weights and probabilities in float32.
    seed : int
        Of the new layers' weights.

    Returns
    -------
    network : Network
        Everything frozen but the classifier.
    """
    keras = import_keras()
    from tlfeat.backbones.scaling import scaling_layers

    scaling = "tf" if backbone is None else backbone.scaling
    with dtype_policy(keras, precision):
        if backbone is not None and classifier.kind != "new":
            base, pooling, head = _with_own_classifier(
                keras, backbone, size, weights, n_classes, classifier.kind
            )
        else:
            if backbone is None:
                base, pooling = build_plain_cnn(size, weights.seed), []
            else:
                base, pooling = _trunk(keras, backbone, size, weights, outputs)
            with seeded_initialisers(seed):
                head = _new_classifier(keras, n_classes, classifier, standardises=standardises)
        pixels = keras.Input((size, size, 3), dtype="float32", name="pixels")
        x = base(scaling_layers(pixels, scaling))
        for layer in (*pooling, *head):
            x = layer(x)
        name = "plain_cnn" if backbone is None else backbone.name.replace("-", "_")
        model = keras.Model(pixels, x, name=f"{name}_finetune")
    reads_last = bool(pooling) and tuple(outputs) == (LAST,)
    network = Network(model, base, pooling, head, reads_last=reads_last)
    freeze_backbone(network)
    return network


def freeze_backbone(network: Network) -> None:
    """Freeze all but the classifier, batch normalisations one by one."""
    freeze(network.base)
    for layer in network.pooling:
        layer.trainable = False


def _trunk(
    keras: Any,
    backbone: Backbone,
    size: int,
    weights: Weights,
    outputs: Sequence[Output] = (LAST,),
) -> tuple[Any, list[Any]]:
    base = build_base(backbone, size, weights)
    if tuple(outputs) != (LAST,):
        return _joined(keras, backbone, base, outputs)
    pool = keras.layers.GlobalAveragePooling2D(name="pool")
    if backbone.norm_after_pool:  # as its own classifier has it, and as `last:avg` features do
        norm = base.layers[-1]
        return keras.Model(base.input, norm.input, name=BACKBONE), [pool, norm]
    base.name = BACKBONE
    return base, [pool]


def _joined(
    keras: Any, backbone: Backbone, base: Any, outputs: Sequence[Output]
) -> tuple[Any, list[Any]]:
    """Give a backbone with several activations, and the layer that makes a row of them."""
    layers = named_tensors(base)
    tensors = {one.layer: find_layer(backbone, layers, base, one.layer) for one in outputs}
    given = {
        name: keras.Input(tensor.shape[1:], dtype=tensor.dtype, name=f"pool_{number}")
        for number, (name, tensor) in enumerate(tensors.items())
    }
    rows = [pooled(keras, backbone, base, given[one.layer], one) for one in outputs]
    pool = keras.Model(list(given.values()), keras.layers.Concatenate()(rows), name="pool")
    return keras.Model(base.input, list(tensors.values()), name=BACKBONE), [pool]


def _new_classifier(
    keras: Any, n_outputs: int, classifier: Classifier, *, standardises: bool = False
) -> list[Any]:
    layers: list[Any] = []
    if standardises:  # with the mean and variance of train, which `standardise_top` finds
        layers.append(
            keras.layers.BatchNormalization(
                center=False, scale=False, epsilon=1e-7, name=STANDARDISE, dtype="float32"
            )
        )
    layers += [
        keras.layers.Dense(units, activation="relu", name=f"{_TOP}dense{number}")
        for number, units in enumerate(classifier.hidden, 1)
    ]
    if classifier.dropout:
        layers.append(keras.layers.Dropout(classifier.dropout, name=f"{_TOP}dropout"))
    initial = "zeros" if standardises else "glorot_uniform"  # at zero no class is preferred
    return [
        *layers,
        keras.layers.Dense(n_outputs, kernel_initializer=initial, name=LOGITS, dtype="float32"),
        keras.layers.Activation("softmax", dtype="float32", name=f"{_TOP}probabilities"),
    ]


def _with_own_classifier(
    keras: Any,
    backbone: Backbone,
    size: int,
    weights: Weights,
    n_classes: int,
    kind: str,
) -> tuple[Any, list[Any], list[Any]]:
    """Build a network with the classifier that its builder gives it, and part the two."""
    if backbone.weights.kind != "pypi":
        whole = _whole_of_keras(keras, backbone, size, weights, n_classes, kind)
        base, layers = _before_classifier(keras, whole)
        return base, [], [*layers[:-1], _in_float32(layers[-1])]
    if kind == "own":  # its own classifier is a pooling and a dense layer
        base, pooling = _trunk(keras, backbone, size, weights)
        with seeded_initialisers(weights.seed):
            return base, pooling, _new_classifier(keras, n_classes, Classifier())
    base, layers = _before_classifier(keras, _whole_lite(keras, backbone, size, weights))
    softmax = keras.layers.Activation("softmax", dtype="float32", name="probabilities")
    return base, [], [*layers, softmax]


def _whole_lite(keras: Any, backbone: Backbone, size: int, weights: Weights) -> Any:
    from tlfeat.backbones.efficientnet_lite import build_lite, set_torch_weights
    from tlfeat.backbones.torch_legacy import read_state_dict
    from tlfeat.backbones.weight_files import load_weight_file

    scaled = keras.Input((size, size, 3), name="scaled_pixels")
    with seeded_initialisers(weights.seed):
        whole = build_lite(backbone.name, scaled, include_top=True)
    if weights.kind == "imagenet" and weights.path is not None:
        set_torch_weights(whole, read_state_dict(weights.path))
    elif weights.path is not None:
        load_weight_file(whole, backbone, weights.path)
    return whole


def _whole_of_keras(
    keras: Any, backbone: Backbone, size: int, weights: Weights, n_classes: int, kind: str
) -> Any:
    from tlfeat.backbones.weight_files import load_weight_file

    if kind == "imagenet" and weights.kind == "imagenet":
        raise WeightsError(
            f"The ImageNet weights that tlfeat has of {backbone.name} are without its classifier: "
            "give the file with it (Keras' own, without `notop` in its name) by --weights FILE."
        )
    outputs = _IMAGENET if kind == "imagenet" else n_classes
    build = getattr(keras.applications, backbone.builder)
    with seeded_initialisers(weights.seed):
        whole = build(weights=None, include_top=True, input_shape=(size, size, 3), classes=outputs)
    if weights.path is not None:
        if kind == "imagenet":
            load_weight_file(whole, backbone, weights.path)
        else:
            _take_weights(whole, build_base(backbone, size, weights))
    return whole


def _take_weights(whole: Any, pretrained: Any) -> None:
    """Copy weights layer by layer: the same ones in the same order, the classifier after them."""
    takers = (layer for layer in whole.layers if layer.weights)
    givers = (layer for layer in pretrained.layers if layer.weights)
    for giver, taker in zip(givers, takers, strict=False):
        taker.set_weights(giver.get_weights())
        if hasattr(taker, "finalize_state"):  # a Normalization computes with these
            taker.finalize_state()


def _in_float32(layer: Any) -> Any:
    """Give a last layer that computes in float32, whatever those before it do."""
    if layer.dtype_policy.name == "float32":
        return layer
    anew = type(layer).from_config({**layer.get_config(), "dtype": "float32"})
    anew.build(layer.input.shape)
    anew.set_weights(layer.get_weights())
    return anew


def _before_classifier(keras: Any, whole: Any) -> tuple[Any, list[Any]]:
    """Part a network at the input of its last layer with weights, which ends in a chain."""
    layers = whole.layers
    place = max(number for number, layer in enumerate(layers) if layer.weights)
    return keras.Model(whole.input, layers[place].input, name=BACKBONE), list(layers[place:])


def load_network(
    path: Path,
    size: int,
    n_classes: int,
    classifier: Classifier | None = None,
    *,
    weights: Path | None = None,
    precision: str = "float32",
    seed: int = 0,
) -> Network:
    """Read a network from a Keras file, ours or any that takes pixels of 0 to 255.

    Parameters
    ----------
    path : Path
        A `.keras` or `.h5` file with the architecture.
    size : int
        Side of the pictures that will be given.
    n_classes : int
    classifier : Classifier, optional
        What is put in the place of the network's own; one new dense layer where that has
        another number of outputs.
    weights : Path, optional
        A file of weights that the network has instead of the file's own.
    precision : {"float32", "mixed"}
        What new layers compute in.
    seed : int
        Of new layers' weights.

    Raises
    ------
    WeightsError
        If it cannot be read.
    NetworkError
        If it is not made for such pictures.
    """
    keras = import_keras()
    model = load_model(path)
    shape = tuple(getattr(model, "input_shape", ()) or ())
    if len(shape) != 4 or shape[3] != 3 or any(side not in (None, size) for side in shape[1:3]):
        raise NetworkError(
            f"The network of {path} takes {shape or 'several inputs'}, but the pictures are "
            f"(n, {size}, {size}, 3): give the size that it was made for."
        )
    if weights is not None:
        _load_weights(model, weights)
    names = [layer.name for layer in model.layers]
    if BACKBONE in names:
        after = model.layers[names.index(BACKBONE) + 1 :]
        base = model.get_layer(BACKBONE)
        pooling = [layer for layer in after if not layer.name.startswith(_TOP)]
        head = [layer for layer in after if layer.name.startswith(_TOP)]
        if not head:  # the network's own classifier
            pooling, head = [], pooling
    else:
        base, head = _before_classifier(keras, model)
        pooling = []
    if classifier is None and model.output_shape[-1] == n_classes:
        network = Network(_probable(keras, model, path), base, pooling, head, keeps_top=True)
    else:
        with dtype_policy(keras, precision), seeded_initialisers(seed):
            head = _new_classifier(keras, n_classes, classifier or Classifier(), standardises=True)
            x = _input_of_classifier(keras, model, base, pooling, names)
            for layer in head:
                x = layer(x)
        network = Network(keras.Model(model.input, x, name=model.name), base, pooling, head)
    freeze_backbone(network)
    return network


def _load_weights(model: Any, path: Path) -> None:
    try:
        model.load_weights(path)
    except Exception as error:  # h5py and Keras raise whatever a damaged file makes them
        reason = first_line(error)
        raise WeightsError(
            f"The checkpoint {path} cannot be read: {reason.rstrip('.')}."
        ) from error


def _probable(keras: Any, model: Any, path: Path) -> Any:
    """Give a model that ends in probabilities: a softmax is put after logits."""
    last = model.layers[-1]
    if isinstance(last, keras.layers.Softmax):
        return model
    activation = getattr(last, "activation", None)
    ends_in = getattr(activation, "__name__", type(last).__name__)
    if ends_in == "softmax":
        return model
    if ends_in != "linear":
        raise NetworkError(
            f"The network of {path} ends in {ends_in}, and tlfeat trains one that ends in softmax "
            "or in logits: give it a new top with --hidden or --dropout."
        )
    softmax = keras.layers.Activation("softmax", dtype="float32", name=f"{_TOP}probabilities")
    return keras.Model(model.input, softmax(model.output), name=model.name)


def _input_of_classifier(
    keras: Any, model: Any, base: Any, pooling: list[Any], names: list[str]
) -> Any:
    """Give what the old classifier was fed, as one row a picture."""
    if BACKBONE in names:
        x = (pooling[-1] if pooling else base)._inbound_nodes[-1].outputs[0]
    else:
        x = base.output
    return keras.layers.GlobalAveragePooling2D(name="pool")(x) if len(x.shape) == 4 else x
