"""What does fine-tuning cost, and what does the cached cut save?

    python benchmarks/bench_finetune.py

On generated pictures, since only time is measured. Printed as ratios of medians, of rounds in
turn:

- a training step of ours against plain Keras `fit` on the same tensors;
- an epoch from a cached cut against an epoch that trains everything, and against one that trains
  the same layers through the whole network;
- and how far the loss of the first step from the cut is from that through the whole network.
"""

import argparse
import os
import tempfile
from pathlib import Path

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import keras
import numpy as np
import tensorflow as tf
from PIL import Image
from side_by_side import measure, median_ratio

from tlfeat.backbones.table import get_backbone
from tlfeat.backbones.weights import resolve_weights
from tlfeat.data.dataset import open_dataset
from tlfeat.data.resize import Resize
from tlfeat.features.store import FeatureStore
from tlfeat.finetuning.assemble import assemble
from tlfeat.finetuning.cut import Activations, cut_network, embed_cut
from tlfeat.finetuning.history import confusion_class
from tlfeat.finetuning.modes import set_trainable
from tlfeat.finetuning.pictures import Pictures, Rows, make_batches
from tlfeat.finetuning.plan import Phase
from tlfeat.finetuning.settings import Classifier
from tlfeat.watch import SILENT

CLASSES, BATCH = 4, 32
CUTS = {"14x14": "stage4", "7x7": "b14"}


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--backbone", default="efficientnet-lite0")
    parser.add_argument("--pictures", type=int, default=608)
    parser.add_argument("--size", type=int, default=224)
    parser.add_argument("--rounds", type=int, default=5)
    options = parser.parse_args()
    tf.config.experimental.enable_op_determinism()
    keras.utils.set_random_seed(0)
    with tempfile.TemporaryDirectory() as scratch:
        _measure(Path(scratch), options)


def _measure(scratch: Path, options: argparse.Namespace) -> None:
    row, size = get_backbone(options.backbone), options.size
    weights = resolve_weights(row)
    dataset = open_dataset(_make(scratch / "made", options.pictures, size))
    pictures = Pictures(dataset, size, Resize(), watch=SILENT)
    n = len(pictures.samples)
    order = np.arange(n)
    labels = np.eye(CLASSES, dtype=np.float32)[[s.label for s in pictures.samples]]
    store = FeatureStore(scratch / "store")

    def network(phase: Phase) -> tuple[object, object]:
        built = assemble(row, size, weights, CLASSES, Classifier())
        set_trainable(built, phase, row)
        return built, built.model

    def compiled(model: object, *, ours: bool = True) -> object:
        metrics = [confusion_class()(CLASSES)] if ours else ["accuracy"]
        model.compile(keras.optimizers.Adam(1e-5), "categorical_crossentropy", metrics=metrics)
        return model

    def epoch(model: object, rows: Rows) -> None:
        model.fit(make_batches(rows, order, labels, BATCH), verbose=0, shuffle=False)

    _, whole = network(Phase("full"))
    _, plain = network(Phase("full"))
    compiled(whole)
    compiled(plain, ours=False)
    (squares,) = pictures.take([order])
    contenders = {
        "step_ours": lambda: epoch(whole, pictures),
        "step_keras": lambda: plain.fit(
            squares, labels, batch_size=BATCH, verbose=0, shuffle=False
        ),
    }
    losses = {}
    for name, cut in CUTS.items():
        phase = Phase("partial", cut=cut)
        for dtype in ("float32", "float16"):
            built, model = network(phase)
            parted = cut_network(built, row, phase, dtype)
            request = embed_cut(
                dataset, row, "imagenet", size, Resize(), (parted.layer, "none", dtype), store,
                seed=0, engine="auto", jobs=None, watch=SILENT,
            )  # fmt: skip
            digests = [sample.digest for sample in pictures.samples]
            rows = Activations(digests, order, request, store, 2**31)
            (first,) = rows.take([order[:BATCH]])
            loss = keras.losses.categorical_crossentropy
            losses[f"{name} {dtype}"] = abs(
                float(np.mean(loss(labels[:BATCH], parted.tail(first))))
                - float(np.mean(loss(labels[:BATCH], model(squares[:BATCH].astype("float32")))))
            )
        compiled(model)
        compiled(parted.tail)
        contenders[f"{name}_cut"] = lambda tail=parted.tail, rows=rows: epoch(tail, rows)
        contenders[f"{name}_whole"] = lambda model=model: epoch(model, pictures)
    for run in contenders.values():  # builds the graphs
        run()
    seconds = measure(options.rounds, **contenders)
    print(f"\n{n} pictures of {size} pixels, {row.name}, batches of {BATCH}")
    step = median_ratio(seconds["step_ours"], seconds["step_keras"])
    print(f"a step of ours / of plain Keras fit   {step:6.2f}")
    for name in CUTS:
        full = median_ratio(seconds["step_ours"], seconds[f"{name}_cut"])
        same = median_ratio(seconds[f"{name}_whole"], seconds[f"{name}_cut"])
        print(f"{name}: an epoch that trains all / from the cut          {full:6.1f}")
        print(f"{name}: the same layers through the whole / from the cut {same:6.1f}")
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
