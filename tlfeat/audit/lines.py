"""Where the lines lie from which pictures are one, or of one scene: told by strangers.

Pictures of different classes are neither. How alike each is to its nearest of another class has a
tail that falls like an exponential, and a line lies where the tail lets as few through as is
allowed.
"""

from typing import Any, Final, NamedTuple

import numpy as np
import numpy.typing as npt

_COPIES: Final = 0.05  # strangers that the line of copies lets through in a whole set
_SCENES: Final = 1 / 1000  # of pictures that are tied to a stranger of their own class
_MOST: Final = 1 / 20  # of pictures whose nearest of another class may lie above a line
_TAIL: Final = 0.1  # of the strangers, the most alike, that are its tail
_FEWEST: Final = 5  # in the tail
_FLOOR: Final = (8.0, 5.0)  # of the lines, however far off strangers are
_UNKNOWN: Final = (15.0, 12.0)  # the lines where there is one class, or too few pictures


class Lines(NamedTuple):
    """The scores from which a pair is one picture, and of one scene.

    `strangers` are the pictures that told so, 0 where there were too few.
    """

    copies: float
    scenes: float
    strangers: int


def tell_lines(scores: npt.NDArray[Any], n: int, others: float, most: float) -> Lines:
    """Tell the lines from the scores of strangers.

    Parameters
    ----------
    scores : ndarray of shape (n_strangers,)
        Of pictures with their nearest of another class.
    n : int
        Pictures in the set.
    others : float
        Pictures of other classes by one of the own.
    most : float
        What no line may be above: a picture may stand under two labels, and copies among the
        strangers must not hide copies.

    Returns
    -------
    lines : Lines

    References
    ----------
    Of m values from an exponential distribution that begins at u and exceed it by e on average,
    the next one is above u + x with probability (1 + x / (m e))^-m, the prior of the fall being
    1 / e: Lomax's distribution. So few strangers make the line higher.
    """
    few = Lines(*_UNKNOWN, 0)
    # By chance the nearest of k pictures of the own class is as alike as the nearest of the n - k
    # others (n - k) / k times less often.
    shares = (_COPIES / n, min(_SCENES * others, _MOST))
    kept = scores
    while True:
        if len(kept) * _TAIL < _FEWEST:
            return few
        begin = np.quantile(kept, 1 - _TAIL)
        tail = kept[kept > begin] - begin
        m, excess = len(tail), float(tail.mean()) if len(tail) else 0.0
        copies, scenes = (
            float(begin) + m * excess * ((_TAIL / share) ** (1 / max(m, 1)) - 1)
            for share in shares
        )
        # what is as alike as a picture is to itself is a copy under another label
        strangers = kept[kept < most]
        if len(strangers) == len(kept):
            break
        kept = strangers
    scenes = max(min(scenes, most), _FLOOR[1])
    return Lines(max(min(copies, most), scenes, _FLOOR[0]), scenes, len(kept))
