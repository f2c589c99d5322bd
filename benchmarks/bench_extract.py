"""How near is extraction to its bound, and how much faster than the usual ways?

    python benchmarks/bench_extract.py FOLDER [--torch PYTHON]

The bound, in pictures a second, is 1 / (1 / forward + decode / cores): forward is the
engine alone on decoded squares, decode the seconds that one core needs for a picture. It is
measured for each precision that the processor has.
Keras' way is `image_dataset_from_directory` and `predict` of the same network; --torch is the loop
of the PyTorch tutorials, one picture after the other with Pillow and a network of timm's with
random weights, in another Python that has torch and timm. No side pays for imports, for building
the network or for its one-time export.
"""

import argparse
import os
import statistics
import subprocess
import tempfile
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import numpy as np
from side_by_side import measure, median_ratio

from tlfeat.backbones.engines import Engine, NetworkRequest, open_engine
from tlfeat.backbones.networks import build_network
from tlfeat.backbones.table import Output
from tlfeat.cores import usable_cores
from tlfeat.data.dataset import Dataset, open_dataset
from tlfeat.data.decode import decode
from tlfeat.data.resize import Resize
from tlfeat.errors import NetworkError
from tlfeat.features.calibrate import calibrated
from tlfeat.features.extract import embed
from tlfeat.features.settings import FeatureRequest, FeatureSettings
from tlfeat.where import Where

PRECISIONS = ("float32", "bfloat16", "int8")
FEW = 128  # pictures for the parts, and for the loop of PyTorch


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("folder", help="class folders, or split folders with a train folder")
    parser.add_argument("--backbone", default="efficientnet-lite0")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument(
        "--torch", metavar="PYTHON", help="a Python that has torch and timm (PyTorch's way)"
    )
    parser.add_argument("--timm", metavar="NAME", default="tf_efficientnet_lite0")
    options = parser.parse_args()

    folder = Path(options.folder)
    pictures = next((p for p in (folder / "train", folder / "training") if p.is_dir()), folder)
    dataset = open_dataset(pictures)
    with tempfile.TemporaryDirectory() as scratch:
        cache = Path(scratch)
        asked = settled(options.backbone, dataset, cache)
        request = asked["float32"]
        engines = {name: open_engine(to_run(one), cache=cache) for name, one in asked.items()}
        squares = [decode(dataset.read(s), request.size, Resize()) for s in dataset.samples[:FEW]]
        decoding: list[float] = []

        def decode_few() -> None:
            began = time.process_time()
            for sample in dataset.samples[:FEW]:
                decode(dataset.read(sample), request.size, Resize())
            decoding.append((time.process_time() - began) / len(squares))

        model = build_network(request.backbone, request.size, request.weights)
        ways: dict[str, Callable[[], object]] = {
            "decode": decode_few,
            "keras": lambda: keras_predict(model, pictures, request.size),
        }
        for precision, engine in engines.items():
            ways[f"forward {precision}"] = partial(run_through, engine, squares)
            ways[precision] = partial(extract_again, dataset, asked[precision], cache)
        if options.torch:
            ways["torch"] = torch_loop(options.torch, options.timm, dataset, request.size)
        seconds = measure(options.rounds, **ways)
        for engine in engines.values():
            engine.close()

    n, few = len({sample.digest for sample in dataset.samples}), len(squares)
    print(f"\n{n} pictures, {request.backbone.name} at {request.size}, {usable_cores()} cores")
    print(f"decode, one core {1000 * statistics.median(decoding):8.2f} ms a picture")
    print(f"\n{'pictures/s':<12}{'forward':>9}{'bound':>9}{'tlfeat':>9}{'of bound':>9}", end="")
    print(f"{'x float32':>11}{'x keras':>9}" + f"{'x torch':>9}" * bool(options.torch))
    every = {"keras": (seconds["keras"], len(dataset)), "torch": (seconds.get("torch"), few)}
    for precision in engines:
        forward = [few / taken for taken in seconds[f"forward {precision}"]]
        bounds = [1 / (1 / f + d / usable_cores()) for f, d in zip(forward, decoding, strict=True)]
        taken = seconds[precision]
        shares = [n / t / bound for t, bound in zip(taken, bounds, strict=True)]
        line = f"{precision:<12}{statistics.median(forward):9.1f}{statistics.median(bounds):9.1f}"
        line += f"{n / statistics.median(taken):9.1f}{statistics.median(shares):9.2f}"
        line += f"{median_ratio(seconds['float32'], taken):11.2f}"
        for other, pictures_of_it in every.values():
            if other is not None:
                a_picture = [t / pictures_of_it for t in other]
                line += f"{median_ratio(a_picture, [t / n for t in taken]):9.2f}"
        print(line)


def settled(backbone: str, dataset: Dataset, cache: Path) -> dict[str, FeatureRequest]:
    """Ask for the features in each precision that the processor has."""
    found = {}
    for precision in PRECISIONS:
        try:
            settings = FeatureSettings(backbone, precision=precision)
            request = calibrated(settings, dataset, Where(cache)).resolve(cache)
            open_engine(to_run(request), cache=cache, on_note=print).close()
        except NetworkError as error:
            if precision == "float32":
                raise
            print(error)
        else:
            found[precision] = request
    return found


def to_run(request: FeatureRequest) -> NetworkRequest:
    """Ask an engine for the network of a request."""
    return NetworkRequest(
        request.backbone,
        request.size,
        request.weights,
        (Output(),),
        request.settings.precision,
    )


def run_through(engine: Engine, squares: list[np.ndarray]) -> None:
    """Run squares that are decoded."""
    starts = range(0, len(squares), engine.batch)
    for _ in engine.run((i, np.stack(squares[i : i + engine.batch])) for i in starts):
        pass


def torch_loop(python: str, name: str, dataset: Dataset, size: int) -> Callable[[], None]:
    """Give the loop of the PyTorch tutorials over a few pictures, in a process of its own."""
    files = [str(Path(str(dataset.path)) / sample.id) for sample in dataset.samples[:FEW]]
    script = Path(__file__).with_name("torch_loop.py")
    process = subprocess.Popen(
        [python, script, name, str(size), *files],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    asks, answers = process.stdin, process.stdout
    if asks is None or answers is None or not answers.readline():
        raise SystemExit(f"{python} cannot run timm's {name}: it says why above.")

    def loop() -> None:
        asks.write("again\n")
        asks.flush()
        answers.readline()

    return loop


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
