"""scikit-learn's 1,797 scans of digits, 8x8 grey: the set that is always there."""

import threading
from collections.abc import Hashable
from typing import Any

import numpy as np
import numpy.typing as npt

from tlfeat.data.sources.base import Listing, Picture, Row, SourceOptions, refuse_columns


class DigitsSource:
    """`sklearn.datasets.load_digits`; a locator is a row number."""

    kind = "digits"

    def __init__(self, options: SourceOptions):
        refuse_columns(options, "digits")
        self._lock = threading.Lock()
        self._images: npt.NDArray[np.uint8] | None = None
        self._target: npt.NDArray[np.int64] | None = None

    def __reduce__(self) -> tuple[Any, ...]:
        return DigitsSource, (SourceOptions(),)  # another process opens it anew

    def _load(self) -> tuple[npt.NDArray[np.uint8], npt.NDArray[np.int64]]:
        with self._lock:
            if self._images is None or self._target is None:
                from sklearn.datasets import load_digits

                digits = load_digits()
                # Grey values lie in 0 to 16.
                self._images = np.rint(digits.images * (255 / 16)).astype(np.uint8)
                self._target = digits.target
            return self._images, self._target

    def listing(self) -> Listing:
        """List the scans in scikit-learn's order."""
        _, target = self._load()
        return Listing(
            [
                Row(f"digits[{i}]", i, str(label), None, None, None)
                for i, label in enumerate(target)
            ]
        )

    def read(self, locator: Hashable) -> Picture:
        """Give one scan, 8x8 uint8."""
        assert isinstance(locator, int)
        scan: npt.NDArray[np.uint8] = self._load()[0][locator]
        return scan
