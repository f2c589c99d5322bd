"""The layers of a network in order, and the names that they have in a fresh process.

Keras numbers the layers that nobody named by counting in the process: the second network built
has `add_16` where a fresh one has `add`.
"""

import re
from collections.abc import Iterator, Sequence
from typing import Any


def kind_of(layer: Any) -> str:
    """Give the name that Keras makes for a layer of this kind, without a number."""
    from keras.src.utils.naming import to_snake_case  # the rule that the names come from

    return str(to_snake_case(type(layer).__name__))


def is_automatic(name: str, kind: str) -> bool:
    """Say whether Keras made a name.

    >>> is_automatic("conv2d_7", "conv2d"), is_automatic("conv2d_bn", "conv2d")
    (True, False)
    """
    return re.fullmatch(rf"{re.escape(kind)}(_\d+)?", name) is not None


def fresh_names(
    names: Sequence[str], kinds: Sequence[str | None], *, by_place: bool = False
) -> list[str]:
    """Give the names that layers have in a fresh process.

    Parameters
    ----------
    names : sequence of str
    kinds : sequence of str or None
        Of each layer; None for one whose name is never automatic.
    by_place : bool, default False
        Count automatic names as they stand here, not by their numbers.

    Returns
    -------
    names : list of str

    Examples
    --------
    >>> fresh_names(["add_16", "stem", "add_9"], ["add", "conv2d", "add"])
    ['add_1', 'stem', 'add']
    """
    fresh = list(names)
    automatic: dict[str, list[tuple[int, int]]] = {}
    for place, (name, kind) in enumerate(zip(names, kinds, strict=True)):
        if kind is not None and is_automatic(name, kind):
            number = int(name[len(kind) + 1 :] or 0)
            automatic.setdefault(kind, []).append((place if by_place else number, place))
    for kind, numbered in automatic.items():
        for count, (_, place) in enumerate(sorted(numbered)):
            fresh[place] = f"{kind}_{count}" if count else kind
    return fresh


def weighted_layers(model: Any) -> list[Any]:
    """List the layers with weights of their own, those inside others too, each once, in order."""
    return list({id(layer): layer for layer in _leaves(model) if layer.weights}.values())


def _leaves(layer: Any) -> Iterator[Any]:
    inside = layer._flatten_layers(include_self=False, recursive=False)
    if not inside:
        yield layer
    for part in inside:
        yield from _leaves(part)


def own_weights(layer: Any) -> list[Any]:
    """Give a layer's weights in the order of Keras' files, whether it is frozen or not."""
    return [*layer._trainable_variables, *layer._non_trainable_variables]
