"""What a network computes in, and what Keras and OpenVINO call it.

Importing this module costs nothing.
"""

import re
from typing import Final, NamedTuple

from tlfeat.errors import NetworkError


class Precision(NamedTuple):
    """What a network computes in; its features are given in float32."""

    policy: str  # the dtype policy that Keras builds it with
    exported: str  # the precision that its network is exported in
    hint: str | None  # OpenVINO's INFERENCE_PRECISION_HINT; None where TensorFlow alone has it
    capability: str | None = None  # what OpenVINO must say that the processor has
    quantised: str = ""  # the first digits of the digest of a quantised network


_TABLE: Final = {
    "float32": Precision("float32", "float32", "f32"),
    "bfloat16": Precision("mixed_bfloat16", "float32", "bf16", "BF16"),
    "int8": Precision("float32", "float32", "f32", "INT8"),
    "mixed": Precision("mixed_float16", "mixed", None),
}
INT8: Final = "int8"
PRECISIONS: Final = tuple(_TABLE)
TRAINED_IN: Final = ("float32", "mixed")  # what fine-tunes may compute in
DIGITS: Final = 12  # of a quantised network's digest
_QUANTISED: Final = re.compile(rf"{INT8}:([0-9a-f]{{{DIGITS}}})")


def get_precision(name: str) -> Precision:
    """Find a precision by its name.

    Parameters
    ----------
    name : str
        One of `PRECISIONS`, or "int8:" and twelve digits, a quantised network.

    Raises
    ------
    NetworkError
        If there is none of this name.

    Examples
    --------
    >>> get_precision("int8:0123456789ab").quantised
    '0123456789ab'
    """
    read = _QUANTISED.fullmatch(name)
    if read is not None:
        return _TABLE[INT8]._replace(quantised=read[1])
    if name not in _TABLE:
        raise NetworkError(
            f"Precision must be {', '.join(PRECISIONS[:-1])} or {PRECISIONS[-1]}, or int8: and "
            f"the {DIGITS} digits of a network that was quantised. Got {name!r} instead."
        )
    return _TABLE[name]
