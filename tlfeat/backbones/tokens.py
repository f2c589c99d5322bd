"""Tokens of a transformer, (n, tokens, d): a square of patches, after those for the whole."""

import math
from typing import Final, NamedTuple

from tlfeat.errors import NetworkError

_MOST: Final = 5  # tokens before the patches: a class token and four registers


class Tokens(NamedTuple):
    """What the tokens of an activation are."""

    first: int  # how many stand before the patches
    side: int  # patches of a side
    taken: str  # by `avg`: "class", "mean" or "class+mean"

    def columns(self, d: int) -> int:
        """Count the numbers that `avg` makes of tokens of length d."""
        return d * len(self.taken.split("+"))


def read_tokens(what: str, tokens: int, said: str | None) -> Tokens:
    """Tell patches from what stands before them.

    Parameters
    ----------
    what : str
        What messages call the activation.
    tokens : int
    said : {"class", "mean", "class+mean"}, optional
        What `avg` takes; the class token if None, or the mean of the patches where there is none.

    Raises
    ------
    NetworkError
        If they are no square of patches after one to five others, or there is no class token.

    Examples
    --------
    >>> read_tokens("last of a ViT-B/16 at 224", 197, None)
    Tokens(first=1, side=14, taken='class')
    """
    side = math.isqrt(tokens)
    first = tokens - side**2
    taken = said or ("class" if first else "mean")
    if first > _MOST:
        raise NetworkError(
            f"{what} has {tokens} tokens, which are not a square of patches after 1 to {_MOST} "
            "for the whole picture: name another layer."
        )
    if first == 0 and "class" in taken:
        raise NetworkError(
            f"{what} has {tokens} tokens, which are a square of patches and none for the class: "
            "say tokens=mean."
        )
    return Tokens(first, side, taken)
