"""What a network computes in, and what Keras and OpenVINO call it.

Importing this module costs nothing.
"""

from typing import Final, NamedTuple

from tlfeat.errors import NetworkError


class Precision(NamedTuple):
    """What a network computes in; its weights are kept, and its features given, in float32."""

    policy: str  # the dtype policy of Keras
    exported: str  # the precision that its network is exported in
    hint: str | None  # OpenVINO's INFERENCE_PRECISION_HINT; None where TensorFlow alone has it
    capability: str | None = None  # what OpenVINO must say that the processor has


_TABLE: Final = {
    "float32": Precision("float32", "float32", "f32"),
    "bfloat16": Precision("mixed_bfloat16", "float32", "bf16", "BF16"),
    "mixed": Precision("mixed_float16", "mixed", None),
}
PRECISIONS: Final = tuple(_TABLE)
TRAINED_IN: Final = ("float32", "mixed")  # what fine-tunes may compute in


def get_precision(name: str) -> Precision:
    """Find a precision by its name.

    Raises
    ------
    NetworkError
        If there is none of this name.
    """
    if name not in _TABLE:
        raise NetworkError(
            f"Precision must be {', '.join(PRECISIONS[:-1])} or {PRECISIONS[-1]}. Got {name!r} "
            "instead."
        )
    return _TABLE[name]
