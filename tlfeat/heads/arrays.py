"""Types of arrays that heads work with."""

from typing import Any

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.floating[Any]]
Double = npt.NDArray[np.float64]
Single = npt.NDArray[np.float32]
Ints = npt.NDArray[np.integer[Any]]
Mask = npt.NDArray[np.bool_]
