"""A model that `export` has written, as it is read again."""

import json
from collections.abc import Callable, Generator, Iterable, Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np

from tlfeat.data.resize import DECODER, Resize
from tlfeat.deploy.formats import get_format
from tlfeat.errors import TlfeatError, first_line
from tlfeat.features.forward import Forwarded, Unread, decoded_chunks
from tlfeat.where import Where

LABELS: Final = "labels.txt"
PREPROCESS: Final = "preprocess.json"
PARITY: Final = "parity.json"
SCRIPT: Final = "predict.py"
REQUIREMENTS: Final = "requirements.txt"
CARD: Final = "README.md"
TOLERANCE: Final = 1e-3  # of a probability, in float32
# by precision of the file: the share of other labels, and the difference of a probability, that
# are let pass; what int8 makes of a probability is stated
_BOUNDS: Final = {"float32": (0, TOLERANCE), "float16": (0.01, 0.05), "int8": (0.1, 1.0)}
_LOST: Final = 0.05  # of the accuracy, in any precision
_BATCH: Final = 16  # pictures


@dataclass(frozen=True)
class Parity:
    """How an exported model agrees with its run.

    Attributes
    ----------
    pictures : int
        That both were asked for.
    splits : str
        Of which splits they are, in words.
    held : int
        Of how many the run has not learned.
    same_label : int
        Of how many both say the same.
    near : int
        Of the others, those whose best two differ by under 1e-3.
    greatest_difference : float
        Of a probability; infinite where labels differ or a number is none.
    accuracy, run_accuracy : float or None
        Share of those held that the model, and the run, has right; None where none are held.
    """

    pictures: int
    splits: str
    held: int
    same_label: int
    near: int
    greatest_difference: float
    accuracy: float | None
    run_accuracy: float | None

    def as_dict(self) -> dict[str, Any]:
        """Give it as plain JSON values."""
        return asdict(self)

    def sentence(self, precision: str) -> str:
        """Say how they agree."""
        text = (
            f"Of {self.pictures:,} pictures of {self.splits}, read from files in a process of its "
            f"own, it says the same class as the run of {self.same_label:,}; probabilities "
            f"differ by {self.greatest_difference:.1e} at the most."
        )
        if precision == "float32" or self.accuracy is None or self.run_accuracy is None:
            return text
        return (
            f"{text} Of the {self.held:,} that are held it has {100 * self.accuracy:.1f}% right, "
            f"and the run {100 * self.run_accuracy:.1f}%."
        )

    def problem(self, precision: str) -> str | None:
        """Say what is wrong with a model in some precision; None where nothing is."""
        others, difference = _BOUNDS[precision]
        other = self.pictures - self.same_label - self.near
        lost = (self.run_accuracy or 0) - (self.accuracy or 0)
        if (
            other <= others * self.pictures
            and self.greatest_difference <= difference
            and lost <= _LOST
        ):
            return None
        if not np.isfinite(self.greatest_difference):
            return "it has other labels, or answers that are no numbers"
        return (
            f"it says another class of {other:,} of {self.pictures:,} pictures, and its "
            f"probabilities differ by up to {self.greatest_difference:.2g}"
        )


@dataclass(frozen=True)
class Export:
    """An exported model.

    Attributes
    ----------
    folder : Path
    format, precision : str
    labels : tuple of str
    size : int
        Side of its pictures in pixels.
    resize : Resize
        How a picture becomes that square.
    takes_one : bool
        Whether it takes one picture at a time.
    parity : Parity
        How it agrees with the run.
    """

    folder: Path
    format: str
    precision: str
    labels: tuple[str, ...]
    size: int
    resize: Resize
    takes_one: bool
    parity: Parity

    def as_dict(self) -> dict[str, Any]:
        """Give it as plain JSON values."""
        return {
            "folder": str(self.folder),
            "model": str(self.model),
            "format": self.format,
            "precision": self.precision,
            "parity": self.parity.as_dict(),
        }

    @property
    def model(self) -> Path:
        """The model's file, or folder of a SavedModel."""
        return self.folder / get_format(self.format).model

    def forwarded(
        self, pictures: Iterable[Unread], where: Where
    ) -> Generator[list[Forwarded], None, None]:
        """Ask it for pictures, by the runtime of its format.

        Parameters
        ----------
        pictures : iterable of Unread
        where : Where

        Yields
        ------
        chunk : list of Forwarded
            Whose features are the probabilities of the labels.

        Raises
        ------
        TlfeatError
            If its runtime is not installed, or cannot open it.
        """
        row = get_format(self.format)
        where.watch.doing(f"loading {self.model}")
        try:
            model = row.load(str(self.model))
        except ImportError as error:
            raise TlfeatError(
                f"{self.model} needs {row.runtime} ({error}): pip install -r "
                f"{self.folder / REQUIREMENTS}."
            ) from error
        except Exception as error:  # runtimes raise whatever they come across
            raise TlfeatError(f"{self.model} cannot be opened: {first_line(error)}") from error
        where.watch.finish()
        batch = 1 if self.takes_one else _BATCH
        with decoded_chunks(pictures, self.size, self.resize, where.jobs) as chunks:
            for chunk in chunks:
                squares = [one.pixels for one in chunk if one.pixels is not None]
                rows = iter(_rows(model, squares, batch))
                yield [
                    Forwarded(one.id, None if one.pixels is None else (next(rows),), one.reason)
                    for one in chunk
                ]


def _rows(
    model: Callable[[Any], Any], squares: Sequence[np.ndarray], batch: int
) -> Iterator[np.ndarray]:
    for start in range(0, len(squares), batch):
        yield from np.asarray(model(np.stack(squares[start : start + batch])))


def load_export(folder: str | Path) -> Export:
    """Open what `export` has written.

    Raises
    ------
    TlfeatError
        If it is no such folder.

    Examples
    --------
    >>> run = tlfeat.find_run("garments")  # doctest: +SKIP
    >>> model = tlfeat.load_export(tlfeat.export(run, "openvino").folder)  # doctest: +SKIP
    >>> next(tlfeat.predict(model, "new-pictures")).label  # doctest: +SKIP
    """
    folder = Path(folder).expanduser()
    try:
        kept = json.loads((folder / PARITY).read_text(encoding="utf-8"))
        rule = json.loads((folder / PREPROCESS).read_text(encoding="utf-8"))
        labels = (folder / LABELS).read_text(encoding="utf-8").removesuffix("\n").split("\n")
        found = Export(
            folder,
            kept["format"],
            kept["precision"],
            tuple(labels),
            int(rule["size"]),
            Resize(**rule["resize"]),
            rule["input"][0] == 1,
            Parity(**kept["parity"]),
        )
        decoder = rule["decoder"]
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise TlfeatError(
            f"{folder} is not a folder that `tlfeat export` has written ({error})."
        ) from error
    if decoder != DECODER:
        raise TlfeatError(
            f"{folder} was exported with pictures decoded by rule {decoder} and this tlfeat has "
            f"rule {DECODER}: use its own {SCRIPT}."
        )
    return found


def is_export(folder: Path) -> bool:
    """Say whether a folder is one that `export` has written."""
    return (folder / PARITY).is_file() and (folder / PREPROCESS).is_file()
