"""What it tells that pictures of one scene are parted: held rows that were as good as seen."""

from dataclasses import dataclass
from typing import Final

import numpy as np
import numpy.typing as npt

from tlfeat.heads.fit import score_out_of_fold

_HEAD: Final = "lda"  # in closed form: folds cost next to nothing


@dataclass(frozen=True)
class Scenes:
    """How right a head is out of fold, with scenes parted and with scenes together.

    Attributes
    ----------
    n : int
        Scenes that folds part: of two groups or more.
    pictures : int
        In them.
    parted, together : float
        Share that is right where folds part pictures of one scene, and where they do not.
    error : float
        Standard error of the difference; scenes count as one.
    """

    n: int
    pictures: int
    parted: float
    together: float
    error: float

    @property
    def matters(self) -> bool:
        """Whether parted scenes make held rows too good: a point or more, and no chance."""
        taken = self.parted - self.together
        return taken >= 0.01 and taken > 2 * self.error


def weigh_scenes(
    X: npt.NDArray[np.floating],
    y: npt.NDArray[np.int64],
    groups: npt.NDArray[np.int64],
    scenes: npt.NDArray[np.int64],
    n_classes: int,
    *,
    seed: int = 0,
    jobs: int = 1,
) -> Scenes:
    """Measure a head out of fold with scenes parted, then together.

    Parameters
    ----------
    X : ndarray of shape (n_samples, n_features)
    y : ndarray of shape (n_samples,), int
    groups : ndarray of shape (n_samples,), int
        What folds never part: of one group or of the same bytes.
    scenes : ndarray of shape (n_samples,), int
        What is one picture or of one scene; it holds whole groups.
    n_classes : int
    seed, jobs : int
        See `score_out_of_fold`.

    Returns
    -------
    scenes : Scenes

    Raises
    ------
    HeadError
        If there is one class, or one scene, only.
    """
    parts = np.unique(np.column_stack([scenes, groups]), axis=0)[:, 0]
    parted_scene = np.bincount(parts, minlength=scenes.max() + 1) > 1
    n = int(np.count_nonzero(parted_scene))
    right = []
    for apart in (groups, scenes):
        held = score_out_of_fold(
            _HEAD,
            X,
            y,
            n_classes=n_classes,
            groups=apart,
            search=False,
            seed=seed,
            jobs=jobs,
        )
        right.append(held.argmax(axis=1) == y)
    taken = right[0].astype(float) - right[1]
    of_scene = np.bincount(scenes, weights=taken - taken.mean())
    error = float(np.sqrt((of_scene**2).sum()) / len(y))
    parted, together = (float(one.mean()) for one in right)
    return Scenes(n, int(np.count_nonzero(parted_scene[scenes])), parted, together, error)
