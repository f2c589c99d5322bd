"""The cells of a grid that places of an activation are averaged into."""

import numpy as np
import numpy.typing as npt


def cell_weights(places: int, cells: int) -> npt.NDArray[np.float32]:
    """Give the weights that average `places` into `cells`.

    Cell i goes from floor(i places / cells) to ceil((i + 1) places / cells).

    Returns
    -------
    weights : ndarray of shape (cells, places), float32
        Each row sums to one.

    Examples
    --------
    >>> cell_weights(3, 2).tolist()
    [[0.5, 0.5, 0.0], [0.0, 0.5, 0.5]]
    """
    weights = np.zeros((cells, places), np.float32)
    for i in range(cells):
        start, stop = i * places // cells, -(-(i + 1) * places // cells)
        weights[i, start:stop] = 1 / (stop - start)
    return weights
