"""How much faster does a fine-tuned run label pictures than Keras its file, and alike?

    python benchmarks/bench_predict.py RUN FOLDER

Keras' way is `image_dataset_from_directory` and `predict` of the run's model.keras. Neither side
pays for imports, for loading the model or for its one-time export. Labels are compared on the
same decoded squares, as Keras decodes and resizes otherwise.
"""

import argparse
import os
import resource

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import keras
from side_by_side import measure, median_ratio

from tlfeat.deploy.predict import Prediction, predict
from tlfeat.runs.find import find_run
from tlfeat.runs.record import MODEL


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("run", help="a fine-tuned run's folder or name")
    parser.add_argument("folder", help="pictures")
    parser.add_argument("--cache")
    parser.add_argument("--rounds", type=int, default=3)
    options = parser.parse_args()
    run = find_run(options.run)
    size = run.pictures.size
    found: dict[str, list[Prediction]] = {}

    def label(engine: str) -> None:
        asked = predict(run, options.folder, engine=engine, cache=options.cache)
        found[engine] = list(asked)

    label("auto")  # exports the network, where that was not done
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**10
    model = keras.saving.load_model(run.file(MODEL), compile=False)

    def keras_way() -> None:
        pictures = keras.utils.image_dataset_from_directory(
            options.folder,
            labels=None,
            image_size=(size, size),
            batch_size=32,
            shuffle=False,
            verbose=False,
        )
        model.predict(pictures, verbose=0)

    keras_way()
    seconds = measure(options.rounds, tlfeat=lambda: label("auto"), keras=keras_way)
    label("tensorflow")
    same = sum(
        one.label == other.label
        for one, other in zip(found["auto"], found["tensorflow"], strict=True)
    )
    n = len(found["auto"])
    times = median_ratio(seconds["keras"], seconds["tlfeat"])
    print(f"\n{n:,} pictures, {run.name} at {size}: {times:.2f} times as fast as Keras")
    print(f"the same label from TensorFlow for {same:,} of {n:,}; peak memory {peak:.0f} MB")


if __name__ == "__main__":
    main()
