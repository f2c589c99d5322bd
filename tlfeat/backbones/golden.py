"""Numbers that must not change: what networks with known weights make of pictures made by code.

A wrong scaling, a library that computes otherwise, a damaged weight file: none of them crashes,
and all of them show here.
"""

from typing import Final

import numpy as np
import numpy.typing as npt

from tlfeat.backbones.engines import NetworkRequest, open_engine
from tlfeat.backbones.table import Backbone, Output
from tlfeat.backbones.weights import Weights
from tlfeat.where import Where

TOLERANCE: Final = 1e-4  # of 1 + the number


def golden_pictures(size: int) -> npt.NDArray[np.uint8]:
    """Give three squares of uint8 RGB: ramps, a chequerboard, an orange disc on green."""
    y, x = np.mgrid[0:size, 0:size]
    ramps = np.stack([x * 255, y * 255, (x + y) * 255 // 2], -1) // (size - 1)
    dark = (((x // 16 + y // 16) % 2) == 0)[..., None]
    inside = ((x - size / 2) ** 2 + (y - size / 2) ** 2 < (size / 3) ** 2)[..., None]
    chequers = np.where(dark, (220, 40, 30), (20, 90, 200))
    disc = np.where(inside, (250, 140, 20), (60, 120, 40))
    return np.stack([ramps, chequers, disc]).astype(np.uint8)


# The beginning of the SHA-256 of weights, to the lengths of the features last:avg of the three
# pictures at the network's own size; the same on both engines.
LENGTHS: Final = {
    "579344248a93e230": (13.2019, 11.0455, 13.8095),  # efficientnet-lite0
    "77cc7160d37bebc1": (13.0399, 16.2543, 15.1888),  # efficientnet-lite1
    "9656183eaeafe8cb": (13.4720, 13.1477, 15.2800),  # efficientnet-lite2
    "7dee85589794aa9f": (16.3433, 27.3785, 24.5623),  # mobilenet
}


def golden_features(
    backbone: Backbone, weights: Weights, engine: str, where: Where = Where()
) -> npt.NDArray[np.float32]:
    """Embed the golden pictures with a network at its own size.

    Parameters
    ----------
    backbone : Backbone
    weights : Weights
    engine : {"openvino", "tensorflow"}
    where : Where
        An exported network is kept in its cache, if there is one yet.

    Returns
    -------
    features : ndarray of shape (3, dim), float32
        `last:avg`.
    """
    side = backbone.size
    request = NetworkRequest(backbone, side, weights, (Output(),))
    cache = where.cache_folder if where.cache_folder.is_dir() else None
    runner = open_engine(request, engine, cache, where.jobs)
    try:
        pictures = enumerate(golden_pictures(side)[:, None])
        features = np.concatenate([rows for _, (rows,) in runner.run(pictures)])
    finally:
        runner.close()
    return features
