"""How much sooner does a trained head come out than from `fit` on a frozen network?

    python benchmarks/bench_notebook.py FOLDER

The notebook's way: the frozen network inside a model, pictures squashed to its size, ten
epochs of `fit` with a new dense layer. Ours: embed each picture once, choose the
regularisation of the logistic head by cross-validation, fit it. Both start from pictures on
disk with the network built and exported, train on all pictures of the train folder, and
say how many of the test folder they get right: neither is fast by being worse.
"""

import argparse
import os
import statistics
import tempfile
from pathlib import Path

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import keras
import numpy as np
from side_by_side import measure, median_ratio

from tlfeat.backbones.networks import build_backbone
from tlfeat.backbones.table import get_backbone
from tlfeat.backbones.weights import resolve_weights
from tlfeat.cores import usable_cores
from tlfeat.features.extract import extract
from tlfeat.heads.fit import FittedHead, fit_head

EPOCHS = 10


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("folder", type=Path, help="a folder with train and test folders")
    parser.add_argument("--backbone", default="efficientnet-lite0")
    parser.add_argument("--rounds", type=int, default=3)
    options = parser.parse_args()

    row = get_backbone(options.backbone)
    base = build_backbone(row, row.size, resolve_weights(row, "imagenet"))
    train, test = options.folder / "train", options.folder / "test"
    models: list[keras.Model] = []
    heads: list[FittedHead] = []

    def notebook() -> None:
        keras.utils.set_random_seed(0)
        batches = load(train, row.size, shuffle=True)
        features = keras.layers.GlobalAveragePooling2D()(base.output)
        scores = keras.layers.Dense(len(batches.class_names), activation="softmax")(features)
        model = keras.Model(base.input, scores)
        model.compile("adam", "sparse_categorical_crossentropy", metrics=["accuracy"])
        model.fit(batches, epochs=EPOCHS, verbose=0)
        models.append(model)

    with tempfile.TemporaryDirectory() as scratch:
        tested = extract(test, row.name, cache=scratch)  # exports the network, once a machine

        def ours() -> None:
            with tempfile.TemporaryDirectory() as fresh:
                (Path(fresh) / "networks").symlink_to(Path(scratch) / "networks")
                features = extract(train, row.name, cache=fresh)
                fitted = fit_head(
                    "logistic",
                    features.X,
                    features.y,
                    n_classes=len(features.classes),
                    groups=features.groups,
                    jobs=usable_cores(),
                )
                heads.append(fitted)

        seconds = measure(options.rounds, tlfeat=ours, notebook=notebook)
        mine = np.mean(heads[0].predict(tested.X) == tested.y)
    theirs = models[0].evaluate(load(test, row.size, shuffle=False), verbose=0)[1]
    print(f"\n{heads[0].n_train} pictures, {row.name} at {row.size}, {EPOCHS} epochs")
    print(f"tlfeat    {statistics.median(seconds['tlfeat']):8.1f} s, {100 * mine:.1f}% of test")
    print(
        f"notebook  {statistics.median(seconds['notebook']):8.1f} s, {100 * theirs:.1f}% of test"
    )
    print(f"times as fast {median_ratio(seconds['notebook'], seconds['tlfeat']):8.1f}")


def load(folder: Path, size: int, *, shuffle: bool) -> object:
    """Read pictures the way of the Keras tutorials."""
    return keras.utils.image_dataset_from_directory(
        folder, image_size=(size, size), batch_size=32, shuffle=shuffle, seed=0, verbose=False
    )


if __name__ == "__main__":
    main()
