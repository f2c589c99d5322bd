"""How near does a cluster on one machine come to the pipeline without one?

    python benchmarks/bench_cluster.py FOLDER

As many workers as cores embed the same pictures as the single-machine pipeline does on the same
cores, in turn, each time into a store that has nothing but the exported network. The cluster runs
before the clock does. With each call its workers begin anew, so both are given: the whole call,
and the pictures a second from the first block of rows that is written on.
"""

import argparse
import logging
import os
import statistics
import tempfile
import time
from pathlib import Path

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

from side_by_side import measure, median_ratio

from tlfeat.cores import usable_cores
from tlfeat.data.dataset import open_dataset
from tlfeat.features.extract import embed
from tlfeat.features.settings import FeatureSettings
from tlfeat.watch import Watch
from tlfeat.where import Where

WANTED = 0.7  # of the throughput without a cluster


class Flow(Watch):
    """Notes when rows come."""

    def __init__(self) -> None:
        self.told: list[tuple[float, int]] = []

    def step(self, n: int = 1) -> None:
        self.told.append((time.perf_counter(), n))

    def rate(self) -> float:
        """Give the pictures a second once they flow: those of the first tenth begin it."""
        rows = sum(n for _, n in self.told)
        done, began, before = 0, self.told[0][0], 0
        for at, n in self.told:
            done += n
            if done <= rows / 10:
                began, before = at, done
        return (rows - before) / (self.told[-1][0] - began)


def main() -> None:
    """Measure and print."""
    import ray

    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("folder", help="anything that holds pictures")
    parser.add_argument("--backbone", default="efficientnet-lite0")
    parser.add_argument("--size", type=int)
    parser.add_argument("--rounds", type=int, default=3)
    options = parser.parse_args()
    dataset = open_dataset(options.folder)
    cores = usable_cores()
    request = FeatureSettings(options.backbone, size=options.size).resolve()
    flows: dict[str, list[float]] = {"here": [], "cluster": []}
    with tempfile.TemporaryDirectory() as scratch:
        networks = Path(scratch) / "networks"
        networks.mkdir()

        def embedded(cluster: str | None) -> None:
            with tempfile.TemporaryDirectory(dir=scratch) as cache:
                (Path(cache) / "networks").symlink_to(networks)
                flow = Flow()
                embed(dataset, [request], Where(cache, cluster=cluster, watch=flow))
                flows["here" if cluster is None else "cluster"].append(flow.rate())

        embedded(None)  # exports the network
        ray.init(
            num_cpus=cores, include_dashboard=False, log_to_driver=False,
            logging_level=logging.ERROR,
        )  # fmt: skip
        embedded("ray")
        for rates in flows.values():
            rates.clear()
        seconds = measure(
            options.rounds, here=lambda: embedded(None), cluster=lambda: embedded("ray")
        )
        ray.shutdown()
    pictures = len({sample.digest for sample in dataset.samples})
    for name, taken in seconds.items():
        print(
            f"{name}: {pictures / statistics.median(taken):.0f} pictures a second of the whole "
            f"call, {statistics.median(flows[name]):.0f} once they flow"
        )
    whole = median_ratio(seconds["here"], seconds["cluster"])
    ratio = median_ratio(flows["cluster"], flows["here"])
    print(
        f"{cores} workers: {whole:.2f} of the throughput without a cluster over the whole call, "
        f"{ratio:.2f} once pictures flow, wanted {WANTED} at least"
    )
    raise SystemExit(ratio < WANTED)


if __name__ == "__main__":
    main()
