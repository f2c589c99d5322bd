"""Pictures that are one picture, or of one scene: copies, changed or mirrored, and next frames.

Features find the candidates; small pictures, in grey and in colour, confirm them. How alike is
too alike is told by the set itself: each likeness is counted in deviations of pairs of one class,
and the line lies where pictures of different classes, which are no copies of each other,
hardly ever come.
"""

from dataclasses import dataclass, fields
from typing import Any, Final, TypeAlias

import numpy as np
import numpy.typing as npt

from tlfeat.audit.lines import Lines, tell_lines
from tlfeat.audit.neighbours import centred, nearest, neighbours
from tlfeat.audit.small_pictures import PATCHES, SmallPictures, likenesses

_Floats: TypeAlias = npt.NDArray[Any]  # of float32 or float64
_Ints: TypeAlias = npt.NDArray[np.int64]

NEIGHBOURS: Final = 10  # of each picture that are looked at
_REFERENCES: Final = 64  # pictures of its class that tell how near a picture is to any
_SAMPLED: Final = 2_000  # pairs of one class that tell what is usual
_FEW: Final = 200  # such pairs from which these are enough to go by
_STRANGERS: Final = 4_000  # pictures whose nearest of another class tells where the line lies
_CLEAR: Final = 3.0  # deviations by features alone, below which no small picture is looked at
_OUTSIDE: Final = 4  # pictures of another group that are looked at
_APART: Final = 0.5  # of a score that the best with another picture of the class may have
_SAME: Final = 0.9  # correlation in grey, below which two pictures are not one
_APART_OF: Final = 500  # pictures that tell whether scenes stand apart
_OF_PERFECT: Final = 0.5  # of the score of a picture with itself, which no line is above
_NOISE: Final = 2.0  # of a colour, 0 to 255, that says nothing


@dataclass(frozen=True)
class Alike:
    """Pairs of pictures, and how alike they are; the most alike first.

    Attributes
    ----------
    pairs : ndarray of shape (n_pairs, 2), int
        Indexes of pictures, the lower first.
    cosine : ndarray of shape (n_pairs,)
        Of their features, around the set's mean.
    likeness : ndarray of shape (n_pairs,)
        Correlation of their grey pictures, laid on each other as well as it goes.
    score : ndarray of shape (n_pairs,)
        Features, grey and colour together, in deviations of pairs of one class.
    mirrored : ndarray of shape (n_pairs,), bool
    """

    pairs: _Ints
    cosine: _Floats
    likeness: _Floats
    score: _Floats
    mirrored: npt.NDArray[np.bool_]

    def __len__(self) -> int:
        return len(self.pairs)

    def where(self, chosen: npt.NDArray[Any]) -> "Alike":
        """Take some of the pairs, by a mask or by their places."""
        return Alike(*(getattr(self, one.name)[chosen] for one in fields(self)))


_NONE: Final = Alike(
    np.zeros((0, 2), np.int64), np.zeros(0), np.zeros(0), np.zeros(0), np.zeros(0, bool)
)


class Likeness:
    """How alike the pictures of a dataset are, by one kind of features.

    Parameters
    ----------
    X : ndarray of shape (n_pictures, n_features)
        Features, a row a picture; no picture twice.
    y : ndarray of shape (n_pictures,), int
        Classes; -1 where there is none.
    small : SmallPictures
        The pictures.
    seed : int
        Of the pictures that tell what is usual.

    Attributes
    ----------
    lines : Lines
        From which scores pairs are one picture, and of one scene.
    nearest : ndarray of shape (n_pictures,)
        Cosine to the fifth of the other pictures, the most alike first.
    """

    def __init__(self, X: _Floats, y: _Ints, small: SmallPictures, *, seed: int = 0) -> None:
        self._unit, self._y, self._small = centred(X), y, small
        places, cosine = neighbours(self._unit, NEIGHBOURS)
        self.nearest: _Floats = (
            cosine[:, min(4, cosine.shape[1] - 1)] if cosine.size else np.zeros(len(X))
        )
        self.lines = tell_lines(np.zeros(0), max(len(X), 1), 0.0, np.inf)
        self._found = _NONE
        if len(X) < 2:
            return
        random = np.random.default_rng(seed)
        self._usual = _Usual(self._unit, y, small, random)
        strangers = np.sort(random.permutation(len(X))[:_STRANGERS])
        strangers = nearest(
            self._unit, strangers[y[strangers] >= 0], lambda i: (y[i][:, None] != y) & (y >= 0)
        )
        self.lines = self._usual.lines(strangers)
        # each pair once, whoever of the two has the other among its neighbours
        both = np.column_stack([np.repeat(np.arange(len(X)), places.shape[1]), places.ravel()])
        pairs, first = np.unique(np.sort(both, axis=1), axis=0, return_index=True)
        cosine = cosine.ravel()[first]
        clear = self._usual.by_features(pairs, cosine) >= _CLEAR
        self._found = self._scored(pairs[clear], cosine[clear])

    def copies(self) -> Alike:
        """Give the pairs that are one picture.

        They are far more alike than either is to any other of its class, but for more copies:
        all copies of a picture are like each other, and in a chain of frames, where each is like
        the next and the last unlike the first, none is a copy.
        """
        same = self._found.likeness >= _SAME
        found = self._found.where(same & (self._found.score >= self.lines.copies))
        if not len(found):
            return found
        groups = joined(len(self._y), found.pairs)
        outside = self._outside(groups, np.unique(found.pairs))
        apart = outside[found.pairs].max(axis=1) <= _APART * found.score
        sizes = np.bincount(groups)
        inside = np.bincount(groups[found.pairs[:, 0]], minlength=len(sizes))
        all_alike = (inside == sizes * (sizes - 1) // 2)[groups[found.pairs[:, 0]]]
        alone = _next_best(found) <= _APART * found.score
        return found.where(apart & (all_alike | alone))

    def scenes(self) -> Alike:
        """Give the pairs of one class that are of one scene; none where no scenes stand apart.

        Pictures of one class may be alike by and by, as drawn digits are, with no scene in them:
        then what is just below the line is nearly as alike as what is above.
        """
        same = self._y[self._found.pairs[:, 0]] == self._y[self._found.pairs[:, 1]]
        found = self._found.where(same & (self._found.score >= self.lines.scenes))
        if not len(found):
            return found
        some = np.random.default_rng(0).permutation(np.unique(found.pairs))[:_APART_OF]
        outside = self._outside(joined(len(self._y), found.pairs), some)[some]
        inside = np.full(len(self._y), -np.inf)
        np.maximum.at(inside, found.pairs.ravel(), np.repeat(found.score, 2))
        apart = np.median(outside / inside[some]) < _APART
        return found if apart else _NONE

    def _scored(self, pairs: _Ints, cosine: _Floats) -> Alike:
        likeness, mirrored = likenesses(self._small, pairs)
        score = self._usual.score(pairs, cosine, likeness, mirrored)
        found = Alike(pairs, cosine, likeness, score, mirrored)
        return found.where(np.argsort(-score, kind="stable"))

    def _outside(self, groups: _Ints, some: _Ints) -> _Floats:
        """Give the best score of some pictures with one of their class in another group.

        Returns
        -------
        outside : ndarray of shape (n_pictures,)
            0 where there is none that is alike at all.
        """
        outside = np.zeros(len(self._y))
        for label in np.unique(self._y[some]):
            mine = np.flatnonzero(self._y == label)
            pairs = mine[self._strangers_of_class(mine, groups[mine], np.isin(mine, some))]
            score = self._scored(pairs, np.einsum("nd,nd->n", *self._unit[pairs.T]))
            np.maximum.at(outside, score.pairs[:, 0], score.score)
        return outside

    def _strangers_of_class(
        self, mine: _Ints, groups: _Ints, asked: npt.NDArray[np.bool_]
    ) -> _Ints:
        """Give pictures of a class with its nearest of another group, as places in the class."""
        return nearest(
            self._unit[mine],
            np.flatnonzero(asked),
            lambda i: groups[i][:, None] != groups,
            k=_OUTSIDE,
        )


def _next_best(found: Alike) -> _Floats:
    """Give the best score that either picture of each pair has in another pair; (n_pairs,)."""
    order = np.argsort(found.pairs.ravel(), kind="stable")  # of each picture the best come first
    picture, score = found.pairs.ravel()[order], np.repeat(found.score, 2)[order]
    first = np.r_[True, picture[1:] != picture[:-1]]
    second = np.r_[False, first[:-1]] & ~first
    best, next_best = np.full((2, picture.max() + 1), -np.inf)
    best[picture[first]], next_best[picture[second]] = score[first], score[second]
    own = best[found.pairs] <= found.score[:, None]
    others: _Floats = np.where(own, next_best[found.pairs], best[found.pairs]).max(axis=1)
    return others


def joined(n: int, pairs: _Ints) -> _Ints:
    """Number what hangs together by pairs, directly or in a chain; (n,)."""
    from scipy.sparse import coo_array
    from scipy.sparse.csgraph import connected_components

    graph = coo_array((np.ones(len(pairs)), (pairs[:, 0], pairs[:, 1])), shape=(n, n))
    return np.asarray(connected_components(graph, directed=False)[1], dtype=np.int64)


class _Usual:
    """How alike pictures are that are neither copies nor of one scene.

    A dark picture is near to all dark ones: how near a picture is to any of its class is taken
    off first. Then come medians, and the deviations below them, which copies do not move.
    """

    def __init__(
        self, unit: _Floats, y: _Ints, small: SmallPictures, random: np.random.Generator
    ) -> None:
        self._small = small
        self._near = np.zeros(len(unit)), np.zeros(len(unit))  # by features, by colour
        for mine, others in _references(y, random):
            cosine = _fisher(unit[mine] @ unit[others].T)
            colour = _nearness(small.colours[mine], small.colours[others])
            itself = mine[:, None] == others
            for near, values in zip(self._near, (cosine, colour), strict=True):
                values[itself] = np.nan
                near[mine] = np.nanmedian(values, axis=1)
        pairs = _pairs_of_one_class(y, random)
        cosine = np.einsum("nd,nd->n", unit[pairs[:, 0]], unit[pairs[:, 1]])
        self._n, self._unit = len(unit), unit
        of_class = np.bincount(np.unique(y, return_inverse=True)[1])
        self._others = self._n / max((of_class**2).sum() / self._n, 1) - 1  # by one of the own
        self._by_features = _middle(self._features(pairs, cosine))
        self._by_grey = _middle(_fisher(likenesses(small, pairs)[0]))
        self._by_colour = _middle(self._colour(pairs, np.zeros(len(pairs), bool)))

    def by_features(self, pairs: _Ints, cosine: _Floats) -> _Floats:
        """Give how alike pairs are by their features, in deviations."""
        return _deviations(self._features(pairs, cosine), self._by_features)

    def score(
        self,
        pairs: _Ints,
        cosine: _Floats,
        likeness: _Floats,
        mirrored: npt.NDArray[np.bool_],
    ) -> _Floats:
        """Give how alike pairs are by features, grey and colour together, in deviations."""
        grey = _deviations(_fisher(likeness), self._by_grey)
        colour = _deviations(self._colour(pairs, mirrored), self._by_colour)
        return self.by_features(pairs, cosine) + grey + colour

    def lines(self, strangers: _Ints) -> Lines:
        """Tell from which scores pairs are copies, and of one scene.

        Parameters
        ----------
        strangers : ndarray of shape (n_strangers, 2), int
            Pictures with their nearest of another class.
        """
        cosine = np.einsum("nd,nd->n", self._unit[strangers[:, 0]], self._unit[strangers[:, 1]])
        score = self.score(strangers, cosine, *likenesses(self._small, strangers))
        itself = np.repeat(np.arange(self._n)[:_REFERENCES, None], 2, axis=1)
        ones, mirrored = np.ones(len(itself)), np.zeros(len(itself), bool)
        perfect = float(np.median(self.score(itself, ones, ones, mirrored)))
        return tell_lines(score, self._n, self._others, _OF_PERFECT * perfect)

    def _features(self, pairs: _Ints, cosine: _Floats) -> _Floats:
        beyond: _Floats = _fisher(cosine) - self._near[0][pairs].mean(axis=1)
        return beyond

    def _colour(self, pairs: _Ints, mirrored: npt.NDArray[np.bool_]) -> _Floats:
        one, other = (self._small.colours[pairs[:, side]] for side in (0, 1))
        turned = other.reshape(-1, PATCHES, PATCHES, 3)[:, :, ::-1].reshape(other.shape)
        other = np.where(mirrored[:, None], turned, other)
        nearness = -np.log(np.sqrt(((one - other) ** 2).mean(axis=1)) + _NOISE)
        beyond: _Floats = nearness - self._near[1][pairs].mean(axis=1)
        return beyond


def _references(y: _Ints, random: np.random.Generator) -> list[tuple[_Ints, _Ints]]:
    """Give the pictures of each class, and some of the class to compare them with."""
    found = []
    for label in np.unique(y):
        mine = np.flatnonzero(y == label)
        others = mine if len(mine) > 2 else np.arange(len(y))  # too few to go by
        found.append((mine, random.permutation(others)[:_REFERENCES]))
    return found


def _pairs_of_one_class(y: _Ints, random: np.random.Generator) -> _Ints:
    """Draw pairs of one class; of any where there are few."""
    drawn = random.integers(0, len(y), (100 * _SAMPLED, 2))
    drawn = drawn[drawn[:, 0] != drawn[:, 1]]
    same = drawn[y[drawn[:, 0]] == y[drawn[:, 1]]]
    pairs: _Ints = (same if len(same) >= _FEW else drawn)[:_SAMPLED]
    return pairs


def _nearness(one: _Floats, other: _Floats) -> _Floats:
    """Give how near colours are; (n, d) and (m, d) to (n, m)."""
    squares = (one**2).sum(axis=1)[:, None] + (other**2).sum(axis=1) - 2 * one @ other.T
    nearness: _Floats = -np.log(np.sqrt(np.maximum(squares, 0) / one.shape[1]) + _NOISE)
    return nearness


def _middle(values: _Floats) -> tuple[float, float]:
    """Give the median and the deviation below it."""
    if not len(values):
        return 0.0, 1.0
    sixth, median = np.quantile(values, [0.1587, 0.5])
    return float(median), max(float(median - sixth), 0.02)


def _deviations(values: _Floats, usual: tuple[float, float]) -> _Floats:
    deviations: _Floats = (values - usual[0]) / usual[1]
    return deviations


def _fisher(correlation: _Floats) -> _Floats:
    """Give Fisher's z, whose spread does not hang on the correlation."""
    z: _Floats = np.arctanh(np.clip(correlation.astype(np.float64), -0.9999, 0.9999))
    return z
