"""The errors that a user can mend.

Each prints as one sentence without a traceback: what came, what was wanted, what to do.
Anything else that is raised is a defect of tlfeat and keeps its traceback.
"""

from collections.abc import Iterable
from difflib import SequenceMatcher, get_close_matches


class TlfeatError(Exception):
    """Something that the user gave, or the machine lacks, and what to do about it.

    Examples
    --------
    >>> try:  # doctest: +SKIP
    ...     tlfeat.open_dataset("nowhere")
    ... except tlfeat.TlfeatError as error:
    ...     print(error)
    """


class DataError(TlfeatError):
    """A dataset, or a picture of it, that cannot be read or used as asked."""


class UnknownName(TlfeatError):  # noqa: N818 - reads as a sentence where it is raised
    """A backbone, head, layer or option that no table has."""


class WeightsError(TlfeatError):
    """Weights that are not here, or that do not fit their network."""


class NetworkError(TlfeatError):
    """A network that cannot be built, exported or run as asked."""


class StoreError(TlfeatError):
    """A feature store that cannot be read or written."""


class DamagedFile(TlfeatError):  # noqa: N818 - says what it is
    """A file of a run or a study that is not as it was written, or was never one."""


class ClusterError(TlfeatError):
    """A cluster that cannot be joined or used, or is lost on the way."""


class HeadError(TlfeatError):
    """A head that cannot be trained, saved or loaded as asked."""


def first_line(error: Exception) -> str:
    r"""Give the first line of what somebody else's error says, or its kind.

    Examples
    --------
    >>> first_line(ValueError("no.\nBecause."))
    'no.'
    >>> first_line(KeyError())
    'KeyError'
    """
    return (str(error).strip().splitlines() or [type(error).__name__])[0]


def nearest(name: str, known: Iterable[str]) -> str | None:
    """Give the known name that a misspelt one is nearest to, or None.

    Of names that are as near, one with the same first letter: it is seldom mistyped.

    Examples
    --------
    >>> nearest("heed", ["seed", "head"]), nearest("zzz", ["lda", "logistic"])
    ('head', None)
    """
    typed = name.lower()
    spelled = {word.lower(): word for word in known}

    def nearness(word: str) -> tuple[float, bool]:
        return SequenceMatcher(None, word, typed).ratio(), word[:1] == typed[:1]

    near = get_close_matches(typed, spelled, n=3, cutoff=0.5)
    return spelled[max(near, key=nearness)] if near else None


def did_you_mean(name: str, known: Iterable[str]) -> str:
    """Give " Did you mean 'logistic'?" for the nearest known name, or nothing.

    Examples
    --------
    >>> did_you_mean("logistics", ["lda", "logistic"])
    " Did you mean 'logistic'?"
    >>> did_you_mean("c", ["C", "max_iter"])
    " Did you mean 'C'?"
    >>> did_you_mean("zzz", ["lda", "logistic"])
    ''
    """
    near = nearest(name, known)
    return "" if near is None else f" Did you mean {near!r}?"
