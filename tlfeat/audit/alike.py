"""Pictures that are one picture, or of one scene: copies, changed or mirrored, and next frames.

Features find the candidates; small pictures, in grey and in colour, confirm them. How alike is
too alike is told by the set itself: each likeness is counted in deviations of pairs of one class,
and the line lies where pictures of different classes, which are no copies of each other,
hardly ever come.
"""

from dataclasses import dataclass, replace
from functools import cache, cached_property
from typing import Any, Final, TypeAlias

import numpy as np
import numpy.typing as npt

_Floats: TypeAlias = npt.NDArray[Any]  # of float32 or float64
_Ints: TypeAlias = npt.NDArray[np.int64]

METHOD: Final = 1  # raised when other pairs are found
NEIGHBOURS: Final = 10  # of each picture that are looked at
_COPIES: Final = 0.05  # strangers that the line of copies lets through in a whole set
_SCENES: Final = 1 / 1000  # of pictures that are tied to a stranger of their own class
_MOST: Final = 1 / 20  # of pictures whose nearest of another class may lie above a line
_REFERENCES: Final = 64  # pictures of its class that tell how near a picture is to any
_SAMPLED: Final = 2_000  # pairs of one class that tell what is usual
_FEW: Final = 200  # such pairs from which these are enough to go by
_STRANGERS: Final = 4_000  # pictures whose nearest of another class tells where the line lies
_UNKNOWN: Final = (15.0, 12.0)  # lines where there is one class, or none
_CLEAR: Final = 3.0  # deviations by features alone, below which no small picture is looked at
_WIDE: Final = 256  # directions in which neighbours of large sets are sought
_LARGE: Final = 10_000  # pictures
_SMALL: Final = 16  # side at which grey pictures are laid on each other
_PATCHES: Final = 4  # a side, whose mean colours are compared
_NOISE: Final = 2.0  # of a colour, 0 to 255, that says nothing
_LUMA: Final = np.array([0.299, 0.587, 0.114], dtype=np.float32)  # ITU-R BT.601
_CUTS: Final = (0.94, 0.88)  # how much of a side is left
_BLOCK: Final = 1024
_KEPT: Final = 5_000  # pictures whose cuts are kept, 20 kB each


@dataclass(frozen=True)
class Alike:
    """Pairs of pictures of one scene, or that are one picture, and how that was told.

    Attributes
    ----------
    pairs : ndarray of shape (n_pairs, 2), int
        Indexes of pictures, the lower first; the most alike pair first.
    cosine : ndarray of shape (n_pairs,)
        Of their features, around the set's mean.
    likeness : ndarray of shape (n_pairs,)
        Correlation of their grey pictures, laid on each other as well as it goes.
    score : ndarray of shape (n_pairs,)
        Features, grey and colour together, in deviations of pairs of one class.
    mirrored : ndarray of shape (n_pairs,), bool
    line, scene_line : float
        The score from which a pair is one picture, and from which it is of one scene.
    nearest : ndarray of shape (n_pictures,)
        Cosine to the fifth of the other pictures, the most alike first.
    """

    pairs: _Ints
    cosine: _Floats
    likeness: _Floats
    score: _Floats
    mirrored: npt.NDArray[np.bool_]
    line: float
    scene_line: float
    nearest: _Floats

    def from_line(self, line: float) -> "Alike":
        """Keep the pairs from a score on."""
        kept = self.score >= line
        columns = {
            name: getattr(self, name)[kept]
            for name in ("pairs", "cosine", "likeness", "score", "mirrored")
        }
        return replace(self, **columns)


class SmallPictures:
    """Small pictures, to be laid on each other.

    Parameters
    ----------
    small : ndarray of shape (n_pictures, side, side, 3), uint8
    """

    def __init__(self, small: npt.NDArray[np.uint8]) -> None:
        self._small = small
        self._kept: _Floats | None = None

    @cached_property
    def colours(self) -> _Floats:
        """Mean colours of patches; (n_pictures, 48)."""
        n, side = self._small.shape[:2]
        step = side // _PATCHES
        parts = self._small.reshape(n, _PATCHES, step, _PATCHES, step, 3)
        colours: _Floats = parts.mean(axis=(2, 4), dtype=np.float32).reshape(n, -1)
        return colours

    def cuts(self, indexes: _Ints) -> _Floats:
        """Give pictures and their cuts in grey, of mean 0 and length 1; (n, 19, 256)."""
        if len(self._small) > _KEPT:
            return _cuts(self._small[indexes])
        if self._kept is None:
            self._kept = np.concatenate(
                [_cuts(self._small[i : i + _BLOCK]) for i in range(0, len(self._small), _BLOCK)]
            )
        return self._kept[indexes]


def find_alike(X: _Floats, y: _Ints, small: SmallPictures, *, seed: int = 0) -> Alike:
    """Find the pairs of pictures that are one picture, or of one scene.

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

    Returns
    -------
    alike : Alike
    """
    if len(X) < 2:
        none = np.zeros(0)
        mirrored = np.zeros(0, bool)
        pairs = np.zeros((0, 2), np.int64)
        return Alike(pairs, none, none, none, mirrored, *_UNKNOWN, np.zeros(len(X)))
    unit = _centred(X)
    places, cosine = _neighbours(unit)
    usual = _Usual(unit, y, small, np.random.default_rng(seed))
    # each pair once, whoever of the two has the other among its neighbours
    both = np.column_stack([np.repeat(np.arange(len(X)), places.shape[1]), places.ravel()])
    pairs, first = np.unique(np.sort(both, axis=1), axis=0, return_index=True)
    cosines = cosine.ravel()[first]
    clear = usual.by_features(pairs, cosines) >= _CLEAR
    pairs, cosines = pairs[clear], cosines[clear]
    likeness, mirrored = likenesses(small, pairs)
    score = usual.score(pairs, cosines, likeness, mirrored)
    line, scene_line = usual.lines(_nearest_strangers(unit, y, usual.some))
    # what is of one scene is of one class; one picture may stand under two labels
    same = y[pairs[:, 0]] == y[pairs[:, 1]]
    order = np.argsort(-score, kind="stable")
    order = order[score[order] >= np.where(same, scene_line, line)[order]]
    fifth = min(4, cosine.shape[1] - 1)
    nearest = cosine[:, fifth] if cosine.size else np.zeros(len(X), np.float32)
    return Alike(
        pairs[order],
        cosines[order],
        likeness[order],
        score[order],
        mirrored[order],
        line,
        scene_line,
        nearest,
    )


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
        self.some = np.sort(random.permutation(len(unit))[:_STRANGERS])
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

    def lines(self, strangers: _Ints) -> tuple[float, float]:
        """Say from which scores pairs are copies, and of one scene.

        Parameters
        ----------
        strangers : ndarray of shape (n_strangers, 2), int
            Pictures with their nearest of another class. Their scores have a tail that falls
            like an exponential; a line is where it lets as many of all pictures through as is
            allowed.
        """
        if len(strangers) < _FEW // 10:
            return _UNKNOWN
        cosine = np.einsum("nd,nd->n", self._unit[strangers[:, 0]], self._unit[strangers[:, 1]])
        score = self.score(strangers, cosine, *likenesses(self._small, strangers))
        tenth, hundredth = np.quantile(score, [0.9, 0.99])
        # P(score > s) = 0.1 exp(-(s - tenth) / fall), with fall = (hundredth - tenth) / ln 10
        fall = (hundredth - tenth) / np.log(10)
        # By chance the nearest of m pictures of the own class is as alike as the nearest of the
        # n - m others (n - m) / m times less often.
        shares = (_COPIES / self._n, min(_SCENES * self._others, _MOST))
        copies, scenes = (float(tenth + fall * np.log(0.1 / share)) for share in shares)
        return max(copies, scenes), scenes

    def _features(self, pairs: _Ints, cosine: _Floats) -> _Floats:
        beyond: _Floats = _fisher(cosine) - self._near[0][pairs].mean(axis=1)
        return beyond

    def _colour(self, pairs: _Ints, mirrored: npt.NDArray[np.bool_]) -> _Floats:
        one, other = (self._small.colours[pairs[:, side]] for side in (0, 1))
        turned = other.reshape(-1, _PATCHES, _PATCHES, 3)[:, :, ::-1].reshape(other.shape)
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


def _nearest_strangers(unit: _Floats, y: _Ints, some: _Ints) -> _Ints:
    """Give some pictures, each with its nearest of another class; (n, 2)."""
    some = some[y[some] >= 0]
    nearest, there = np.zeros(len(some), np.int64), np.zeros(len(some), bool)
    for start in range(0, len(some), _BLOCK):
        block = slice(start, start + _BLOCK)
        cosine = unit[some[block]] @ unit.T
        cosine[(y[some[block]][:, None] == y) | (y < 0)] = -np.inf
        nearest[block] = cosine.argmax(axis=1)
        there[block] = np.isfinite(cosine.max(axis=1))
    return np.column_stack([some, nearest])[there]


def _nearness(one: _Floats, other: _Floats) -> _Floats:
    """Give how near colours are; (n, d) and (m, d) to (n, m)."""
    squares = (one**2).sum(axis=1)[:, None] + (other**2).sum(axis=1) - 2 * one @ other.T
    nearness: _Floats = -np.log(np.sqrt(np.maximum(squares, 0) / one.shape[1]) + _NOISE)
    return nearness


def _centred(X: _Floats) -> _Floats:
    """Bring standardised features to length 1."""
    centred = X - X.mean(axis=0, dtype=np.float64).astype(np.float32)
    deviation = np.sqrt(np.einsum("nd,nd->d", centred, centred) / max(len(X), 1))
    centred /= np.maximum(deviation, 1e-6)
    length = np.linalg.norm(centred, axis=1, keepdims=True)
    unit: _Floats = centred / np.maximum(length, 1e-12)
    return unit


def _neighbours(unit: _Floats) -> tuple[_Ints, _Floats]:
    """Give the nearest other pictures of each, and the cosines to them; (n, NEIGHBOURS) each."""
    n = len(unit)
    k = min(NEIGHBOURS, n - 1)
    places, cosines = np.zeros((n, k), np.int64), np.zeros((n, k), np.float32)
    if k < 1:
        return places, cosines
    seen = _narrowed(unit) if n > _LARGE else unit
    wide = k if seen is unit else min(4 * k, n - 1)
    for start in range(0, n, _BLOCK):
        rows = np.arange(start, min(start + _BLOCK, n))
        found = seen[rows] @ seen.T
        found[np.arange(len(rows)), rows] = -np.inf
        best = np.argpartition(-found, wide - 1, axis=1)[:, :wide]
        if seen is unit:
            exact = np.take_along_axis(found, best, axis=1)
        else:
            exact = np.einsum("nd,nkd->nk", unit[rows], unit[best])
        order = np.argsort(-exact, axis=1, kind="stable")[:, :k]
        places[rows] = np.take_along_axis(best, order, axis=1)
        cosines[rows] = np.take_along_axis(exact, order, axis=1)
    return places, cosines


def _narrowed(unit: _Floats) -> _Floats:
    """Give features in the directions in which they spread most."""
    some = unit[:: max(len(unit) // _LARGE, 1)]
    directions = np.linalg.eigh(some.T @ some)[1][:, -_WIDE:]
    narrow: _Floats = unit @ directions
    narrow /= np.maximum(np.linalg.norm(narrow, axis=1, keepdims=True), 1e-12)
    return narrow


def likenesses(small: SmallPictures, pairs: _Ints) -> tuple[_Floats, npt.NDArray[np.bool_]]:
    """Correlate the grey pictures of pairs, laid on each other as well as it goes.

    Either may be a cut of the other, at nine places and two sizes, and mirrored.

    Parameters
    ----------
    small : SmallPictures
    pairs : ndarray of shape (n_pairs, 2), int

    Returns
    -------
    likeness : ndarray of shape (n_pairs,)
        -1 to 1.
    mirrored : ndarray of shape (n_pairs,), bool
        Whether it is the larger where one of them is mirrored.
    """
    likeness = np.zeros(len(pairs), np.float32)
    mirrored = np.zeros(len(pairs), bool)
    for start in range(0, len(pairs), _BLOCK):
        block = pairs[start : start + _BLOCK]
        known, place = np.unique(block, return_inverse=True)
        cuts = small.cuts(known)
        one, other = (cuts[place.reshape(block.shape)[:, side]] for side in (0, 1))
        turned = other.reshape(*other.shape[:2], _SMALL, _SMALL)[..., ::-1].reshape(other.shape)
        plain, flipped = _best(one, other), _best(one, turned)
        likeness[start : start + len(block)] = np.maximum(plain, flipped)
        mirrored[start : start + len(block)] = flipped > plain
    return likeness, mirrored


def _best(one: _Floats, other: _Floats) -> _Floats:
    """Give the best correlation of any cut of one with the whole other, or the reverse."""
    ours = np.einsum("nwd,nd->nw", one, other[:, 0]).max(axis=1)
    theirs = np.einsum("nd,nwd->nw", one[:, 0], other).max(axis=1)
    best: _Floats = np.maximum(ours, theirs)
    return best


def _cuts(small: npt.NDArray[np.uint8]) -> _Floats:
    grey = small.astype(np.float32) @ _LUMA
    n, side = grey.shape[:2]
    matrices = _cutting(side)  # (7, _SMALL, side)
    rows = matrices.reshape(-1, side) @ grey  # (n, 7 * _SMALL, side)
    cut = (rows @ matrices.reshape(-1, side).T).reshape(n, 7, _SMALL, 7, _SMALL)
    parts = [cut[:, 0, :, 0]]
    for size in range(len(_CUTS)):
        at = 1 + 3 * size
        parts += [cut[:, at + row, :, at + column] for row in range(3) for column in range(3)]
    cuts = np.stack(parts, axis=1).reshape(n, len(parts), -1)
    cuts = cuts - cuts.mean(axis=2, keepdims=True)
    # what is nearly flat is like nothing: noise of a grey level would be like everything
    length = np.linalg.norm(cuts, axis=2, keepdims=True)
    flat: _Floats = cuts / np.maximum(length, _SMALL)
    return flat


@cache
def _cutting(side: int) -> _Floats:
    """Give what takes `side` pixels to _SMALL: of the whole, then of each cut at three places."""
    spans = [(0.0, 1.0)] + [(at * (1 - cut), cut) for cut in _CUTS for at in (0.0, 0.5, 1.0)]
    matrices = np.zeros((len(spans), _SMALL, side), np.float32)
    edges = np.arange(side + 1)
    for matrix, (start, share) in zip(matrices, spans, strict=True):
        for i in range(_SMALL):
            low = side * (start + share * i / _SMALL)
            high = side * (start + share * (i + 1) / _SMALL)
            overlap = np.minimum(high, edges[1:]) - np.maximum(low, edges[:-1])
            matrix[i] = np.maximum(overlap, 0) / (high - low)
    return matrices


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
