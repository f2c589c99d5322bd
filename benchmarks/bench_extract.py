"""How near is extraction to its bound, and how much faster than Keras' own way?

    python benchmarks/bench_extract.py FOLDER

The bound, in pictures a second, is 1 / (1 / forward + decode / cores): forward is the
engine alone on decoded squares, decode the seconds that one core needs for a picture.
Keras' way is `image_dataset_from_directory` and `predict` of the same network. Neither
side pays for imports, for building the network or for its one-time export.
"""

import argparse
import os
import statistics
import tempfile
import time
from pathlib import Path

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import numpy as np
from side_by_side import measure, median_ratio

from tlfeat.backbones.engines import NetworkRequest, open_engine
from tlfeat.backbones.networks import build_network
from tlfeat.backbones.table import Output
from tlfeat.cores import usable_cores
from tlfeat.data.dataset import Dataset, open_dataset
from tlfeat.data.decode import decode
from tlfeat.data.resize import Resize
from tlfeat.features.extract import embed
from tlfeat.features.settings import FeatureRequest, FeatureSettings
from tlfeat.where import Where


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("folder", help="class folders, or split folders with a train folder")
    parser.add_argument("--backbone", default="efficientnet-lite0")
    parser.add_argument("--rounds", type=int, default=5)
    options = parser.parse_args()

    folder = Path(options.folder)
    pictures = next((p for p in (folder / "train", folder / "training") if p.is_dir()), folder)
    dataset = open_dataset(pictures)
    with tempfile.TemporaryDirectory() as scratch:
        cache = Path(scratch)
        request = FeatureSettings(options.backbone).resolve(cache)
        network = NetworkRequest(
            request.backbone, request.size, request.weights, (Output(),), "float32"
        )
        engine = open_engine(network, "auto", cache=cache)
        forward: list[float] = []
        decoding: list[float] = []
        model = build_network(request.backbone, request.size, request.weights)
        squares = [decode(dataset.read(s), request.size, Resize()) for s in dataset.samples[:128]]

        def extract() -> None:
            # A seed of its own gives every round a recipe of its own: nothing is there yet.
            extract_again(dataset, request, cache)

        def keras_way() -> None:
            keras_predict(model, pictures, request.size)

        def parts() -> None:
            began = time.perf_counter()
            batches = [
                np.stack(squares[i : i + engine.batch])
                for i in range(0, len(squares), engine.batch)
            ]
            for _ in engine.run(iter(enumerate(batches))):
                pass
            forward.append(len(squares) / (time.perf_counter() - began))
            began = time.process_time()
            for sample in dataset.samples[:128]:
                decode(dataset.read(sample), request.size, Resize())
            decoding.append((time.process_time() - began) / 128)

        seconds = measure(options.rounds, parts=parts, tlfeat=extract, keras=keras_way)
        engine.close()

    n = len({sample.digest for sample in dataset.samples})
    rates = [n / taken for taken in seconds["tlfeat"]]
    bounds = [1 / (1 / f + d / usable_cores()) for f, d in zip(forward, decoding, strict=True)]
    shares = [rate / bound for rate, bound in zip(rates, bounds, strict=True)]
    print(f"\n{n} pictures, {request.backbone.name} at {request.size}, {usable_cores()} cores")
    print(f"forward alone      {statistics.median(forward):8.1f} pictures/s")
    print(f"decode, one core   {1000 * statistics.median(decoding):8.2f} ms")
    print(f"bound              {statistics.median(bounds):8.1f} pictures/s")
    print(f"tlfeat             {statistics.median(rates):8.1f} pictures/s")
    print(
        f"keras              {len(dataset) / statistics.median(seconds['keras']):8.1f} pictures/s"
    )
    print(f"share of the bound {statistics.median(shares):8.2f}")
    print(f"times keras        {median_ratio(seconds['keras'], seconds['tlfeat']):8.2f}")


def extract_again(dataset: Dataset, request: FeatureRequest, cache: Path) -> None:
    """Embed into a new store that shares the exported networks."""
    with tempfile.TemporaryDirectory() as scratch:
        (Path(scratch) / "networks").symlink_to(cache / "networks")
        embed(dataset, [request], Where(Path(scratch)))


def keras_predict(model: object, pictures: Path, size: int) -> None:
    """Embed the way of the Keras tutorials."""
    import keras

    batches = keras.utils.image_dataset_from_directory(
        pictures, image_size=(size, size), batch_size=32, shuffle=False, verbose=False
    )
    model.predict(batches, verbose=0)  # type: ignore[attr-defined]


if __name__ == "__main__":
    main()
