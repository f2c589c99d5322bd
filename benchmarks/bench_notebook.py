"""How much sooner does a trained head come out than from `fit` on a frozen network?

    python benchmarks/bench_notebook.py FOLDER

Three ways from pictures on disk, with the network built and exported, trained on all pictures of
the train folder:

tlfeat     embed each picture once, search the logistic head by cross-validation, fit it
embedded   embed each picture once, then ten epochs of `fit` of a dense layer on the features
notebook   ten epochs of `fit` of a dense layer on the frozen network, as in Keras' tutorials

The learning rate of the dense layer is chosen for it on a held fifth of train, and that is not
charged to it. Accuracies on the test folder have intervals, and are compared in pairs: neither
is fast by being worse. Each round has a seed of its own.
"""

import argparse
import os
import statistics
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import keras
import numpy as np
from side_by_side import measure, median_ratio

from tlfeat.backbones.networks import build_base, freeze
from tlfeat.backbones.scaling import scaling_layers
from tlfeat.backbones.table import get_backbone
from tlfeat.backbones.weights import resolve_weights
from tlfeat.cores import usable_cores
from tlfeat.features.extract import extract
from tlfeat.features.matrix import Features
from tlfeat.heads.fit import fit_head
from tlfeat.heads.folds import assign_folds
from tlfeat.runs.paired import difference_interval, mcnemar_p
from tlfeat.runs.statistics import wilson

EPOCHS, BATCH = 10, 32
RATES = (1e-4, 3e-4, 1e-3, 3e-3, 1e-2, 3e-2)


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("folder", type=Path, help="a folder with train and test folders")
    parser.add_argument("--backbone", default="efficientnet-lite0")
    parser.add_argument("--rounds", type=int, default=3)
    options = parser.parse_args()

    row = get_backbone(options.backbone)
    base = build_base(row, row.size, resolve_weights(row, "imagenet"))
    freeze(base)
    pixels = keras.Input((row.size, row.size, 3))
    activations = base(scaling_layers(pixels, row.scaling), training=False)
    train, test = options.folder / "train", options.folder / "test"
    right: dict[str, list[np.ndarray]] = {"tlfeat": [], "embedded": [], "notebook": []}

    with tempfile.TemporaryDirectory() as scratch:
        networks = Path(scratch) / "networks"
        tested = extract(test, row.name, cache=scratch)  # exports the network, once a machine
        rate = best_rate(extract(train, row.name, cache=scratch))

        def ours() -> None:
            with emptied(networks) as cache:
                features = extract(train, row.name, cache=cache)
                fitted = fit_head(
                    "logistic",
                    features.X,
                    features.y,
                    n_classes=len(features.classes),
                    groups=features.groups,
                    seed=len(right["tlfeat"]),
                    jobs=usable_cores(),
                )
                right["tlfeat"].append(fitted.predict(tested.X) == tested.y)

        def embedded() -> None:
            keras.utils.set_random_seed(len(right["embedded"]))
            with emptied(networks) as cache:
                features = extract(train, row.name, cache=cache)
                model = dense(features.X.shape[1], len(features.classes), rate)
                model.fit(features.X, features.y, batch_size=BATCH, epochs=EPOCHS, verbose=0)
                scores = model.predict(tested.X, verbose=0)
                right["embedded"].append(scores.argmax(axis=1) == tested.y)

        models = []

        def notebook() -> None:
            keras.utils.set_random_seed(len(models))
            batches = load(train, row.size, shuffle=True)
            features = keras.layers.GlobalAveragePooling2D()(activations)
            scores = keras.layers.Dense(len(batches.class_names), activation="softmax")(features)
            model = keras.Model(pixels, scores)
            model.compile(keras.optimizers.Adam(rate), "sparse_categorical_crossentropy")
            model.fit(batches, epochs=EPOCHS, verbose=0)
            models.append(model)

        seconds = measure(options.rounds, tlfeat=ours, embedded=embedded, notebook=notebook)
    batches = load(test, row.size, shuffle=False)
    y = np.concatenate([labels for _, labels in batches])
    assert (y == tested.y).all(), "the rows must be in one order to be compared in pairs"
    for model in models:
        right["notebook"].append(model.predict(batches, verbose=0).argmax(axis=1) == y)
    report(right, seconds, f"{row.name} at {row.size}, Adam at {rate:g}")


def report(right: dict[str, list[np.ndarray]], seconds: dict[str, list[float]], what: str) -> None:
    """Print seconds, accuracies with intervals, and what the pairs show, of the first seed."""
    n = len(right["tlfeat"][0])
    print(f"\n{what}, {EPOCHS} epochs, {n} test pictures")
    for name, rounds in right.items():
        low, high = wilson(rounds[0].mean(), n)
        by_seed = ", ".join(f"{100 * one.mean():.1f}" for one in rounds)
        print(
            f"{name:9}{statistics.median(seconds[name]):8.1f} s   {by_seed}% of test by seed; "
            f"first one's 95% interval {100 * low:.1f} to {100 * high:.1f}"
        )
    for name in ("embedded", "notebook"):
        one, other = right["tlfeat"][0], right[name][0]
        low, high = difference_interval(one, other)
        ratio = median_ratio(seconds[name], seconds["tlfeat"])
        print(
            f"tlfeat against {name}: {ratio:.1f} times as fast; "
            f"{100 * (one.mean() - other.mean()):+.1f} points of test, 95% interval "
            f"{100 * low:+.1f} to {100 * high:+.1f}, McNemar p {mcnemar_p(one, other):.2f}"
        )


def best_rate(features: Features) -> float:
    """Choose Adam's learning rate on a held fifth of train."""
    held = assign_folds(features.y, features.groups) == 0
    accuracy = {}
    for rate in RATES:
        keras.utils.set_random_seed(0)
        model = dense(features.X.shape[1], len(features.classes), rate)
        model.fit(features.X[~held], features.y[~held], batch_size=BATCH, epochs=EPOCHS, verbose=0)
        scores = model.predict(features.X[held], verbose=0)
        accuracy[rate] = float((scores.argmax(axis=1) == features.y[held]).mean())
    print("held accuracy by rate:", {rate: round(one, 3) for rate, one in accuracy.items()})
    return max(accuracy, key=accuracy.__getitem__)


def dense(inputs: int, classes: int, rate: float) -> keras.Model:
    """Give one dense layer with a softmax, compiled."""
    model = keras.Sequential([keras.Input((inputs,)), keras.layers.Dense(classes, "softmax")])
    model.compile(keras.optimizers.Adam(rate), "sparse_categorical_crossentropy")
    return model


@contextmanager
def emptied(networks: Path) -> Iterator[Path]:
    """Give an empty store that has the exported networks."""
    with tempfile.TemporaryDirectory() as fresh:
        (Path(fresh) / "networks").symlink_to(networks)
        yield Path(fresh)


def load(folder: Path, size: int, *, shuffle: bool) -> object:
    """Read pictures the way of the Keras tutorials."""
    return keras.utils.image_dataset_from_directory(
        folder, image_size=(size, size), batch_size=BATCH, shuffle=shuffle, seed=0, verbose=False
    )


if __name__ == "__main__":
    main()
