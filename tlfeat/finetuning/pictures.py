"""The pictures of a dataset as a network is fed them: decoded in threads, kept where they fit.

The decoder is the one of extraction, so a head and a fine-tune see the same pixels.
"""

import time
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, Final, Protocol

import numpy as np
import numpy.typing as npt

from tlfeat.cores import usable_cores
from tlfeat.data.dataset import Dataset
from tlfeat.data.decode import UndecodableImage, decode
from tlfeat.data.resize import Resize
from tlfeat.data.samples import Sample, Skipped
from tlfeat.errors import DataError, TlfeatError
from tlfeat.features.matrix import inseparable
from tlfeat.finetuning.settings import Effort
from tlfeat.watch import Watch

Ints = npt.NDArray[np.int64]


class Rows(Protocol):
    """Something that gives a network's inputs by row number."""

    shape: tuple[int, ...]  # of one row
    dtype: Any
    failure: TlfeatError | None  # why a row could not be given, while TensorFlow was asking

    def take(self, batches: Sequence[Ints]) -> Iterator[np.ndarray]:
        """Give the rows of each batch in turn, working ahead where that takes time."""

    def of_epoch(self, epoch: int) -> "Rows":
        """Give what an epoch is trained on, where epochs differ."""


class Pictures:
    """The labelled pictures of a dataset that can be decoded, as uint8 squares.

    Parameters
    ----------
    dataset : Dataset
    size : int
        Side in pixels.
    resize : Resize
    memory : int
        Bytes of squares to keep at the most; with more they are decoded again each time.
    jobs : int, optional
        Threads that decode; one a core if None.
    watch : Watch
        Hears of the progress.

    Attributes
    ----------
    samples : list of Sample
        In the dataset's order.
    skipped : list of Skipped
        With those that cannot be decoded.
    kept : bool
        Whether the squares are in memory.
    decode_seconds : float
        What reading and decoding one picture takes, all threads at work.

    Raises
    ------
    DataError
        If no picture is left.
    """

    def __init__(
        self,
        dataset: Dataset,
        size: int,
        resize: Resize,
        *,
        memory: int = Effort.memory,
        jobs: int | None = None,
        watch: Watch,
    ) -> None:
        self._dataset, self._size, self._resize = dataset, size, resize
        self._threads = jobs or usable_cores()
        self.shape: tuple[int, ...] = (size, size, 3)
        self.failure: TlfeatError | None = None
        self.dtype = np.dtype(np.uint8)
        wanted = [s for s in dataset.samples if s.label is not None and s.split is not None]
        self.kept = len(wanted) * 3 * size * size <= memory
        if not self.kept:
            watch.note(
                f"{len(wanted)} pictures of {size} pixels need "
                f"{len(wanted) * 3 * size * size / 2**30:.1f} GB: more than the "
                f"{memory / 2**30:.1f} GB allowed, so they are decoded again each epoch."
            )
        self.samples: list[Sample] = []
        self.skipped: list[Skipped] = list(dataset.skipped)
        squares = np.empty((len(wanted) if self.kept else 0, *self.shape), np.uint8)
        began = time.perf_counter()
        dataset.expect(wanted)
        watch.start("decoding", len(wanted))
        try:
            with ThreadPoolExecutor(self._threads, thread_name_prefix="decode") as pool:
                for sample, square in zip(wanted, pool.map(self._try, wanted), strict=True):
                    watch.step()
                    if isinstance(square, str):
                        self.skipped.append(Skipped(sample.id, square, sample.label, sample.split))
                        continue
                    if self.kept:
                        squares[len(self.samples)] = square
                    self.samples.append(sample)
        finally:
            watch.finish()
        self.decode_seconds = (time.perf_counter() - began) / max(len(wanted), 1)
        if not self.samples:
            raise DataError(
                f"{dataset.path} has no labelled picture that can be decoded: nothing can be "
                "trained on it."
            )
        self._squares = squares[: len(self.samples)] if self.kept else None

    @property
    def kept_bytes(self) -> int:
        """Bytes of the squares that are in memory."""
        return 0 if self._squares is None else self._squares.nbytes

    def _try(self, sample: Sample) -> np.ndarray | str:
        try:
            square = self._decode(sample)
        except OSError as error:
            return f"cannot be read: {error.strerror or error}"
        except UndecodableImage as error:
            return str(error)
        return square if self.kept else square[:0]

    def _decode(self, sample: Sample) -> npt.NDArray[np.uint8]:
        return decode(self._dataset.read(sample), self._size, self._resize)

    def _decode_again(self, sample: Sample) -> npt.NDArray[np.uint8]:
        try:
            return self._decode(sample)
        except (OSError, UndecodableImage) as error:
            raise DataError(
                f"{sample.id} can no longer be decoded ({error}): put it back, then --resume."
            ) from error

    def square(self, row: int) -> npt.NDArray[np.uint8]:
        """Give the square of one picture."""
        if self._squares is None:
            return self._decode_again(self.samples[row])
        square: npt.NDArray[np.uint8] = self._squares[row]
        return square

    def of_epoch(self, epoch: int) -> "Pictures":
        """Give the same in every epoch."""
        return self

    def take(self, batches: Sequence[Ints]) -> Iterator[np.ndarray]:
        """Give the squares of each batch; where they are not kept, decode one batch ahead."""
        if self._squares is not None:
            for batch in batches:
                yield self._squares[batch]
            return
        self._dataset.expect([self.samples[i] for batch in batches for i in batch])
        with ThreadPoolExecutor(self._threads, thread_name_prefix="decode") as pool:
            try:
                ahead: list[Future[npt.NDArray[np.uint8]]] = []
                for batch in [*batches, np.empty(0, np.int64)]:
                    ready = ahead
                    ahead = [pool.submit(self._decode_again, self.samples[i]) for i in batch]
                    if ready:
                        yield np.stack([future.result() for future in ready])
            finally:
                pool.shutdown(wait=False, cancel_futures=True)


@dataclass(frozen=True)
class Part:
    """The rows of one split, as numbers into the samples of `Pictures`."""

    rows: Ints
    fold: int | None = None  # where it was held out of train


CHOOSING: Final = ("train", "validation")  # parts that are trained on, and judge


def part_rows(samples: Sequence[Sample], seed: int) -> Mapping[str, Part]:
    """Give the rows of train, validation and test.

    Where the dataset has no validation split, fold 0 of the folds that heads are chosen by is
    held out of train.

    Parameters
    ----------
    samples : sequence of Sample
        All labelled, in the dataset's order.
    seed : int
        Of the folds.

    Raises
    ------
    DataError
        If there is nothing to train on.
    HeadError
        If train cannot be parted into folds.
    """
    from tlfeat.heads.folds import assign_folds

    split = np.array([sample.split for sample in samples])
    parts = {name: Part(np.flatnonzero(split == name)) for name in np.unique(split)}
    if "train" not in parts:
        raise DataError("The dataset has no train pictures: say which they are by --splits.")
    if "validation" not in parts:
        train = parts["train"].rows
        labels = np.array([samples[i].label for i in train])
        folds = assign_folds(labels, inseparable(samples)[train], seed=seed)
        parts["train"] = Part(train[folds != 0])
        parts["validation"] = Part(train[folds == 0], fold=0)
    order = ("train", "validation", "test")
    return {name: parts[name] for name in order if name in parts}


@contextmanager
def readable(rows: Rows) -> Iterator[None]:
    """Let an error of ours through as it was, where TensorFlow was the one who asked."""
    try:
        yield
    except Exception as error:
        if rows.failure is not None:
            raise rows.failure from error
        raise


def epoch_order(n: int, seed: int, epoch: int) -> Ints:
    """Give the order of the n training rows in an epoch: the same whenever it is asked for."""
    return np.random.default_rng([seed, epoch]).permutation(n)


def split_order(order: Ints, batch: int) -> list[Ints]:
    """Part row numbers into batches; the last one may be smaller."""
    return [order[start : start + batch] for start in range(0, len(order), batch)]


def make_batches(
    rows: Rows,
    order: Ints,
    labels: npt.NDArray[np.float32],
    batch: int,
    *,
    class_weights: npt.NDArray[np.float32] | None = None,
    augment: Any = None,
    seed: tuple[int, int] = (0, 0),
    skip: int = 0,
    least: int = 1,
) -> Any:
    """Give the batches of an epoch as a `tf.data.Dataset`.

    Parameters
    ----------
    rows : Rows
    order : ndarray of shape (n,)
        Row numbers in the order in which they come.
    labels : ndarray of shape (n_rows, k)
        One-hot labels of all rows.
    batch : int
    class_weights : ndarray of shape (k,), optional
        Then each picture has a weight, that of its class, or the mean of its classes'.
    augment : callable, optional
        From `build_augmentation`.
    seed : pair of int
        The run's seed and the epoch, for `augment`.
    skip : int
        Batches to leave out at the beginning.
    least : int
        Leave a last batch of fewer pictures out: each device needs one.

    Returns
    -------
    batches : tf.data.Dataset
        Of (inputs, labels), or (inputs, labels, weights).
    """
    import tensorflow as tf

    k = labels.shape[1]
    parts = [part for part in split_order(order, batch) if len(part) >= least][skip:]
    state = np.random.SeedSequence(seed).generate_state(1)[0] & 0x7FFFFFFF

    def generate() -> Iterator[tuple[np.ndarray, ...]]:
        try:
            for number, (part, inputs) in enumerate(
                zip(parts, rows.take(parts), strict=True), skip
            ):
                yield inputs, labels[part], np.array([state, number], np.int32)
        except TlfeatError as error:
            rows.failure = error  # TensorFlow turns it into one of its own
            raise

    dataset: Any = tf.data.Dataset.from_generator(
        generate,
        output_signature=(
            tf.TensorSpec((None, *rows.shape), tf.as_dtype(rows.dtype)),
            tf.TensorSpec((None, k), tf.float32),
            tf.TensorSpec((2,), tf.int32),
        ),
    )

    def finish(inputs: Any, target: Any, batch_seed: Any) -> tuple[Any, ...]:
        if augment is not None:
            inputs, target = augment(inputs, target, batch_seed)
        if class_weights is None:
            return inputs, target
        return inputs, target, tf.linalg.matvec(target, class_weights)

    dataset = dataset.map(finish, num_parallel_calls=2, deterministic=True)
    dataset = dataset.apply(tf.data.experimental.assert_cardinality(len(parts))).prefetch(2)
    options = tf.data.Options()
    options.autotune.enabled = False  # its thread sleeps, and an epoch waits up to 1 s for it
    return dataset.with_options(options)
