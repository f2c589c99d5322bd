"""What does fine-tuning cost, and what does the cached cut save?

    python benchmarks/bench_finetune.py

On generated pictures, since only time is measured. Printed as ratios of medians, of rounds in
turn:

- a training step of ours against plain Keras `fit` on the same tensors;
- an epoch from a cached cut against an epoch that trains everything, and against one that trains
  the same layers through the whole network: of pictures as they are, and of pictures that are
  changed (flip and crop), of which the cut has views;
- and how far the loss of the first step from the cut is from that through the whole network.
"""

import argparse
import os
import tempfile
from contextlib import nullcontext
from pathlib import Path
from typing import Any

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import keras
import numpy as np
import tensorflow as tf
from PIL import Image
from side_by_side import measure, median_ratio

from tlfeat.backbones.table import Backbone, get_backbone
from tlfeat.backbones.weights import resolve_weights
from tlfeat.data.dataset import open_dataset
from tlfeat.data.resize import Resize
from tlfeat.finetuning.assemble import assemble
from tlfeat.finetuning.augment import build_augmentation, read_augmentations
from tlfeat.finetuning.history import confusion_class
from tlfeat.finetuning.inputs import Given, Inputs, TrainingData, TrainingSettings
from tlfeat.finetuning.modes import set_trainable
from tlfeat.finetuning.pictures import Part, Pictures, Rows, make_batches
from tlfeat.finetuning.plan import Phase
from tlfeat.finetuning.settings import Classifier
from tlfeat.watch import SILENT
from tlfeat.where import Where

CLASSES, BATCH = 4, 32
CUTS = {"14x14": "stage4", "7x7": "b14"}
CHANGES = read_augmentations(["flip", "crop"])


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--backbone", default="efficientnet-lite0")
    parser.add_argument("--pictures", type=int, default=608)
    parser.add_argument("--size", type=int, default=224)
    parser.add_argument("--views", type=int, default=4)
    parser.add_argument("--rounds", type=int, default=5)
    options = parser.parse_args()
    tf.config.experimental.enable_op_determinism()
    keras.utils.set_random_seed(0)
    with tempfile.TemporaryDirectory() as scratch:
        _measure(Path(scratch), options)


class Bench:
    """Networks and what they are trained on, as a fine-tune has them."""

    def __init__(self, scratch: Path, row: Backbone, options: argparse.Namespace) -> None:
        self.row, self.size = row, options.size
        dataset = open_dataset(_make(scratch / "made", options.pictures, options.size))
        pictures = Pictures(dataset, options.size, Resize(), watch=SILENT)
        y = np.array([sample.label for sample in pictures.samples])
        self.order = np.arange(len(y))
        self.labels = np.eye(CLASSES, dtype=np.float32)[y]
        parts = {"train": Part(self.order), "validation": Part(self.order[:BATCH])}
        self.data = TrainingData(dataset, pictures, parts, y, self.labels)
        self.where = Where(cache=scratch / "store", watch=SILENT)
        self.augment = build_augmentation(CHANGES, options.size)
        self._epoch = 0

    def network(self, phase: Phase) -> Any:
        """Build a network as a phase trains it."""
        built = assemble(self.row, self.size, resolve_weights(self.row), CLASSES, Classifier())
        set_trainable(built, phase, self.row)
        return built

    def cut(self, built: Any, phase: Phase, dtype: str, views: int = 0) -> tuple[Any, Rows]:
        """Give the tail above a cut and what it is trained on."""
        settings = TrainingSettings(
            (phase,), CHANGES if views else (), "cross-entropy", BATCH, 0, weights="imagenet",
            size=self.size, resize=Resize(), cut_dtype=dtype, cut_views=views, budget=None,
            untouched=True, devices=1, keep="last", memory=2**31,
        )  # fmt: skip
        given = Given(built, self.row, self.data, settings, self.where, nullcontext)
        parted, rows = Inputs(given, {}).of(phase)
        assert parted is not None
        return parted.tail, rows

    def epoch(self, model: Any, rows: Rows, *, changed: bool = False) -> None:
        """Train an epoch."""
        self._epoch += 1
        batches = make_batches(
            rows.of_epoch(self._epoch), self.order, self.labels, BATCH,
            augment=self.augment if changed else None, seed=(0, self._epoch),
        )  # fmt: skip
        model.fit(batches, verbose=0, shuffle=False)


def compiled(model: Any, *, ours: bool = True) -> Any:
    """Compile a model, with our metrics or with Keras' own."""
    metrics = [confusion_class()(CLASSES)] if ours else ["accuracy"]
    model.compile(keras.optimizers.Adam(1e-5), "categorical_crossentropy", metrics=metrics)
    return model


def _measure(scratch: Path, options: argparse.Namespace) -> None:
    row = get_backbone(options.backbone)
    bench = Bench(scratch, row, options)
    pictures, labels = bench.data.pictures, bench.labels
    whole = compiled(bench.network(Phase("full")).model)
    changed = compiled(bench.network(Phase("full")).model)
    plain = compiled(bench.network(Phase("full")).model, ours=False)
    (squares,) = pictures.take([bench.order])
    contenders = {
        "all": lambda: bench.epoch(whole, pictures),
        "all_changed": lambda: bench.epoch(changed, pictures, changed=True),
        "keras": lambda: plain.fit(squares, labels, batch_size=BATCH, verbose=0, shuffle=False),
    }
    losses = {}
    for name, cut in CUTS.items():
        phase = Phase("partial", cut=cut)
        for dtype in ("float32", "float16"):
            built = bench.network(phase)
            tail, rows = bench.cut(built, phase, dtype)
            (first,) = rows.take([bench.order[:BATCH]])
            loss = keras.losses.categorical_crossentropy
            losses[f"{name} {dtype}"] = abs(
                float(np.mean(loss(labels[:BATCH], tail(first))))
                - float(np.mean(loss(labels[:BATCH], built.model(squares[:BATCH].astype("f4")))))
            )
        compiled(tail)
        contenders[f"{name}_cut"] = lambda tail=tail, rows=rows: bench.epoch(tail, rows)
        through = compiled(bench.network(phase).model)
        contenders[f"{name}_whole"] = lambda model=through: bench.epoch(model, pictures)
        tail, rows = bench.cut(bench.network(phase), phase, "float16", options.views)
        compiled(tail)
        contenders[f"{name}_cut_changed"] = lambda tail=tail, rows=rows: bench.epoch(tail, rows)
        through = compiled(bench.network(phase).model)
        contenders[f"{name}_whole_changed"] = lambda model=through: bench.epoch(
            model, pictures, changed=True
        )
    for run in contenders.values():  # builds the graphs
        run()
    seconds = measure(options.rounds, **contenders)
    print(f"\n{len(labels)} pictures of {options.size} pixels, {row.name}, batches of {BATCH}")
    step = median_ratio(seconds["all"], seconds["keras"])
    print(f"a step of ours / of plain Keras fit   {step:6.2f}")
    for name in CUTS:
        for what, said in (("", "as they are"), ("_changed", f"{options.views} views")):
            full = median_ratio(seconds[f"all{what}"], seconds[f"{name}_cut{what}"])
            same = median_ratio(seconds[f"{name}_whole{what}"], seconds[f"{name}_cut{what}"])
            print(f"{name}, {said}: an epoch of all / from the cut         {full:6.1f}")
            print(f"{name}, {said}: the same layers, whole / from the cut  {same:6.1f}")
    for name, value in losses.items():
        print(f"first loss, {name}: differs by {value:.1e}")


def _make(folder: Path, n: int, size: int) -> Path:
    random = np.random.default_rng(0)
    for number in range(n):
        path = folder / "train" / f"class{number % CLASSES}" / f"{number}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        small = random.integers(0, 256, (16, 16, 3), dtype=np.uint8)
        Image.fromarray(small).resize((size, size), Image.Resampling.BICUBIC).save(path)
    return folder


if __name__ == "__main__":
    main()
