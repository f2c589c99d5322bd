"""How often do the ranges of `tlfeat compare --shots` hold the accuracy that they foretell?

    python benchmarks/bench_shots.py FOLDER... [digits] [--judge held] [--keep CURVES.json]

Half of the train pictures of each class are hidden, groups whole. Heads are measured at 5, 10, 20
and 50 pictures a class and at all of that half, as `compare --shots` does it, and the range for
twice as many is compared with what the same heads reach on the whole train, on the same test
pictures. That is done for several redraws of the half. Beside it stands a range that knows no
curve: no change, and the binomial spread of the test pictures.

`--judge held` never looks at test: three tenths of train are judged on instead. Whatever is chosen
about ranges is chosen there; with `--keep` the curves are kept, and only the ranges made again.
"""

import argparse
import json
from collections import Counter
from dataclasses import asdict, replace
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np

import tlfeat
from tlfeat.data.splits import components
from tlfeat.features.candidates import Candidates
from tlfeat.features.settings import FeatureSettings
from tlfeat.runs.growth import LEVEL, Foresight, foresee
from tlfeat.runs.orders import HeadJob, HeadPlan
from tlfeat.runs.shot_fits import measure_shots
from tlfeat.runs.shots import ShotCurve, ShotPoint, turns
from tlfeat.runs.train import train_heads
from tlfeat.where import Where

HEADS = ("logistic", "svm-rbf", "lda", "ridge", "knn")
SIZES = (5, 10, 20, 50, "all")
FEWER = (3, *SIZES)  # where three tenths of train are judged on, halves are small
JUDGED = 0.3  # of train, where test is not looked at
NORMAL = 1.2816  # of the normal distribution, 80% within


def parted(samples, share, seed):
    """Divide samples in two, the first about a share of each class, groups whole."""
    groups = components([one.digest for one in samples], [one.group for one in samples])
    codes = np.unique(groups, return_inverse=True)[1]
    y = np.array([one.label for one in samples])
    turn = turns(y, codes, [one.digest for one in samples], seed, 0)
    random = np.random.default_rng(seed)
    taken = set()
    for label in np.unique(y):
        mine = np.flatnonzero(y == label)
        sizes = Counter(codes[mine[np.argsort(turn[mine])]].tolist())  # in the order of the draw
        wanted, there = share * len(mine), 0
        for code, n in sizes.items():
            over = (there + n - wanted) / n  # how much of the group is too much
            if there and random.random() < over:
                break
            taken.add(code)
            there += n
            if there >= wanted:
                break
    first = [one for one, code in zip(samples, codes, strict=True) if code in taken]
    rest = [one for one, code in zip(samples, codes, strict=True) if code not in taken]
    return first, rest


def without_test(dataset, seed):
    """Give the dataset without its test pictures, a part of train in their place."""
    train = [one for one in dataset.samples if one.split == "train"]
    others = [one for one in dataset.samples if one.split == "validation"]
    judged, rest = parted(train, JUDGED, 1000 + seed)
    judged = [one._replace(split="test") for one in judged]
    return replace(dataset, samples=(*rest, *others, *judged))


def half_of(dataset, seed):
    """Give the dataset with half of its train pictures."""
    train = [one for one in dataset.samples if one.split == "train"]
    others = [one for one in dataset.samples if one.split != "train"]
    kept, _ = parted(train, 0.5, 2000 + seed)
    return replace(dataset, samples=(*kept, *others))


def jobs_of(dataset, features, where, folder):
    """Ask for all heads on one dataset."""
    candidates = Candidates.of(FeatureSettings(features=features), where.cache_folder)
    plans = [HeadPlan(head).checked() for head in HEADS]
    return [HeadJob(dataset, candidates, plan, folder) for plan in plans]


def measured(data, features, judge, redraws, where):
    """Give, for each redraw and head, its curve on a half and what it reaches on the whole."""
    dataset, home = tlfeat.open_dataset(data), where.reports_folder
    sizes = FEWER if judge == "held" else SIZES
    for redraw in redraws:
        whole = without_test(dataset, redraw) if judge == "held" else dataset
        jobs = jobs_of(whole, features, where, home / "whole")
        reached = train_heads(whole, jobs, where)  # once, where it is the same
        half = half_of(whole, redraw)
        jobs = jobs_of(half, features, where, home / f"half-{redraw}")
        part = train_heads(half, jobs, where)
        curves = measure_shots(half, jobs, sizes, where).curves(part.runs)
        yield [
            {
                "data": Path(data).name,
                "redraw": redraw,
                "curve": asdict(curve),
                "n_whole": run.metrics["train"]["n"],
                "measured": run.metrics["test"]["accuracy"],
            }
            for curve, run in zip(curves, reached.runs, strict=True)
        ]


def curve_of(row):
    """Read a curve that was kept."""
    values = dict(row["curve"])
    values["points"] = tuple(ShotPoint(s, n, tuple(a)) for s, n, a in values["points"])
    return ShotCurve(**values)


def report(title, rows):
    """Print a line: how many ranges held, how wide they are, and those that know no curve."""
    held, widths, naive, naive_widths, short = [], [], [], [], []
    for row in rows:
        curve = curve_of(row)
        now, n = curve.points[-1].mean, curve.n_judged
        found = foresee(curve, row["n_whole"])
        if not isinstance(found, Foresight):
            continue
        spread = NORMAL * np.sqrt(now * (1 - now) / n)
        naive.append(abs(row["measured"] - now) <= spread + 1e-9)
        naive_widths.append(2 * spread)
        held.append(found.low - 1e-9 <= row["measured"] <= found.high + 1e-9)
        widths.append(found.high - found.low)
        short.append(row["measured"] - found.middle)
    if not held:
        print(f"{title:16} no range of {len(rows)}")
        return 0, 0
    print(
        f"{title:16} {sum(held):4} of {len(held):4} = {np.mean(held):4.0%}, width "
        f"{100 * np.mean(widths):4.1f}, middle off by {100 * np.mean(short):+4.1f}; no range "
        f"{len(rows) - len(held):3}; no change: {np.mean(naive):4.0%}, width "
        f"{100 * np.mean(naive_widths):4.1f}",
        flush=True,
    )
    return sum(held), len(held)


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("data", nargs="+", help="FOLDER or FOLDER=SPEC")
    parser.add_argument("--judge", choices=("held", "test"), default="test")
    parser.add_argument("--redraws", type=int, default=6)
    parser.add_argument("--keep", type=Path, default=None)
    parser.add_argument("--cache", default=None)
    options = parser.parse_args()
    kept = options.keep is not None and options.keep.exists()
    rows = json.loads(options.keep.read_text()) if kept else []
    for asked in options.data:
        data, _, features = asked.partition("=")
        there = {row["redraw"] for row in rows if row["data"] == Path(data).name}
        redraws = [one for one in range(options.redraws) if one not in there]
        with TemporaryDirectory() as home:
            where = Where(cache=options.cache, reports=home)
            for more in measured(data, features or "last:avg", options.judge, redraws, where):
                rows += more
                if options.keep is not None:
                    options.keep.write_text(json.dumps(rows))
        report(Path(data).name, [row for row in rows if row["data"] == Path(data).name])
    held, n = report("all", rows)
    print(f"{held} of {n} ranges of {LEVEL:.0%} held, judged on {options.judge}")


if __name__ == "__main__":
    main()
