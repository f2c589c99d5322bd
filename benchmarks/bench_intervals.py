"""Do 95% intervals hold the truth, and are a report's time, memory and size within bounds?

Simulated test sets of a known accuracy, class by class; for each the intervals that a report
would show. Then one report of 12 runs on 101 classes and 25,000 test pictures.
"""

import argparse
import resource
import sys
import tempfile
import time
from pathlib import Path
from typing import NamedTuple

import numpy as np

sys.path.insert(0, str(Path(__file__).parents[1] / "tests"))

from made_study import made_rows, make_run
from statsmodels.stats.contingency_tables import mcnemar

from tlfeat.data.dataset import Dataset
from tlfeat.data.samples import Sample
from tlfeat.report.page import write_page
from tlfeat.runs.calibration import calibration_error, reliability
from tlfeat.runs.metrics import evaluate
from tlfeat.runs.paired import difference_interval, mcnemar_p
from tlfeat.runs.predictions import SplitPredictions
from tlfeat.runs.record import find_runs
from tlfeat.runs.statistics import split_intervals, wilson

LEAST = 0.93
SIZES, ACCURACIES = (100, 372, 5000), (0.7, 0.9, 0.99)
SHOWN = ("accuracy", "balanced_accuracy", "f1_macro", "log_loss", "roc_auc")
GROUP = 5  # pictures, where they come in groups
_LARGE = 1_000_000  # samples that stand for the truth of what has no formula


class Kind(NamedTuple):
    """Test sets of one kind."""

    name: str
    k: int
    grouped: bool
    shares: np.ndarray  # of the classes
    saturated: bool = False  # probabilities are 0 and 1, mistakes too


def kind(name, weights, **more):
    shares = np.array(weights) / np.sum(weights)
    return Kind(name, len(weights), more.pop("grouped", False), shares, **more)


KINDS = (
    kind("2 classes", [1, 2]),
    kind("10 classes", np.linspace(1, 2, 10)),
    kind("5 classes, two of them rare", [30, 30, 30, 1, 1]),
    kind("10 classes, sure of all", np.linspace(1, 2, 10), saturated=True),
    kind(f"2 classes, groups of {GROUP}", [1, 2], grouped=True),
    kind(f"10 classes, groups of {GROUP}", np.linspace(1, 2, 10), grouped=True),
)


def simulate(random, n, accuracy, made):
    """Draw true classes and probabilities; in a group all pictures share their difficulty."""
    k, grouped = made.k, made.grouped
    units = n // GROUP if grouped else n
    repeats = GROUP if grouped else 1
    true = np.repeat(random.choice(k, units, p=made.shares), repeats)
    correct = np.repeat(random.random(units) < accuracy, repeats)
    if grouped:  # three in ten pictures go their own way
        own = random.random(len(correct)) < 0.3
        correct = np.where(own, random.random(len(correct)) < accuracy, correct)
    predicted = np.where(correct, true, (true + random.integers(1, k, len(true))) % k)
    sure = np.clip(random.beta(6, 2, len(true)), 0.55, 0.98)
    scores = np.repeat((1 - sure)[:, None] / (k - 1), k, axis=1)
    scores[np.arange(len(true)), predicted] = sure
    scores += 0.01 * random.random(scores.shape)
    scores /= scores.sum(axis=1, keepdims=True)
    if made.saturated:
        scores = np.eye(k)[predicted]
    groups = np.repeat(np.arange(units), repeats).astype(str).astype(object) if grouped else None
    return true, scores.astype(np.float32), groups


def exact(accuracy, made):
    """Give the true metrics that follow from the shares of each class and each mistake."""
    shares, k = made.shares, made.k
    hits = shares * accuracy
    predicted = hits + (1 - accuracy) / (k - 1) * (1 - shares)
    return {
        "accuracy": accuracy,
        "balanced_accuracy": accuracy,
        "f1_macro": float((2 * hits / (shares + predicted)).mean()),
    }


def judged(n, made):
    """Name the metrics that must hold the truth; the others are printed.

    Where classes are missing from many of the sets, a mean over classes, or over their areas, is
    of others than the truth's; a mean of recalls stays what it was.
    """
    if n * made.shares.min() < 5 * (GROUP if made.grouped else 1):
        return ("accuracy",) if made.grouped else ("accuracy", "balanced_accuracy")
    return SHOWN[:4] if made.grouped else SHOWN


def coverage(n, accuracy, made, sets):
    """Count how often the intervals of each metric hold the truth."""
    random = np.random.default_rng([n, round(100 * accuracy), made.k, made.grouped])
    classes = [str(i) for i in range(made.k)]
    true, scores, _ = simulate(random, _LARGE, accuracy, made)
    truth = evaluate(true, scores, classes, "probability") | exact(accuracy, made)
    held = dict.fromkeys(SHOWN, 0)
    ids = np.arange(n).astype(str).astype(object)
    none = np.full(n, None, dtype=object)
    for _ in range(sets):
        true, scores, groups = simulate(random, n, accuracy, made)
        metrics = evaluate(true, scores, classes, "probability")
        predictions = SplitPredictions(
            ids[: len(true)], ids[: len(true)], none[: len(true)] if groups is None else groups,
            true, scores.argmax(axis=1), scores,
        )  # fmt: skip
        found = split_intervals(predictions, metrics, classes)
        for name in SHOWN:
            low, high = found.get(name, (0.0, 1.0))
            held[name] += low <= truth[name] <= high
    return {name: count / sets for name, count in held.items()}


def check_differences(sets):
    """Count how often the interval of a difference holds it, one run 5 points ahead."""
    worst = 1.0
    for n in SIZES:
        for accuracy in ACCURACIES:
            for group in (1, GROUP, 20):
                random = np.random.default_rng([n, round(100 * accuracy), group])
                units = np.repeat(np.arange(n // group), group)
                held = 0
                for _ in range(sets):
                    one, other = (
                        np.repeat(random.random(n // group) < share, group)
                        ^ (random.random(len(units)) < 0.1)
                        for share in (accuracy, accuracy - 0.05)
                    )
                    low, high = difference_interval(one, other, None if group == 1 else units)
                    held += low <= 0.05 * 0.8 <= high  # a tenth of either is turned round
                share = held / sets
                if group <= GROUP:  # eighteen groups of 20 are too few to see a rare difference
                    worst = min(worst, share)
                print(
                    f"difference, groups of {group:2}  n {n:5}  accuracy {accuracy:.2f}  "
                    f"held {share:.3f}", flush=True
                )  # fmt: skip
    return worst


def check_accuracy(sets):
    """Wilson's interval alone, on many sets at once."""
    worst = 1.0
    for n in SIZES:
        for accuracy in ACCURACIES:
            random = np.random.default_rng([n, round(100 * accuracy)])
            low, high = wilson(random.binomial(n, accuracy, sets) / n, n)
            share = float(((low <= accuracy) & (accuracy <= high)).mean())
            worst = min(worst, share)
            print(f"accuracy, Wilson   n {n:5}  accuracy {accuracy:.2f}  held {share:.3f}")
    return worst


def check_copies(sets):
    """Sets of which some pictures are there several times, their copies known and not known.

    Seven pictures of ten are there once, the others two to eight times, all right or all wrong.
    """
    worst = 1.0
    for n in SIZES:
        for accuracy in ACCURACIES:
            random = np.random.default_rng([n, round(100 * accuracy), 8])
            held = dict.fromkeys(("as pictures of their own", "as what they are"), 0)
            for _ in range(sets):
                times = np.where(random.random(n) < 0.7, 1, random.integers(2, 9, n))
                picture = np.repeat(np.arange(n), times)[:n].astype(str).astype(object)
                made = random.integers(0, 2, n)[picture.astype(int)]
                right = (random.random(n) < accuracy)[picture.astype(int)]
                predicted = np.where(right, made, 1 - made)
                ids, none = np.arange(n).astype(str).astype(object), np.full(n, None, dtype=object)
                scores = np.eye(2, dtype=np.float32)[predicted] * 0.8 + 0.1
                metrics = evaluate(made, scores, ["a", "b"], "probability")
                for said, groups in zip(held, (none, picture), strict=True):
                    found = SplitPredictions(ids, ids, groups, made, predicted, scores)
                    low, high = split_intervals(found, metrics, ["a", "b"])["accuracy"]
                    held[said] += low <= accuracy <= high
            worst = min(worst, held["as what they are"] / sets)
            print(
                f"copies  n {n:5}  accuracy {accuracy:.2f}  accuracy held, copies "
                + ", ".join(f"{said} {count / sets:.3f}" for said, count in held.items()),
                flush=True,
            )
    return worst


def check_others(sets, made):
    worst = 1.0
    for n in SIZES:
        for accuracy in ACCURACIES:
            found = coverage(n, accuracy, made, sets)
            must = judged(n, made)
            worst = min([worst, *(found[name] for name in must)])
            shares = "  ".join(
                f"{name} {share:.3f}{'' if name in must else ' (not judged)'}"
                for name, share in found.items()
            )
            print(f"{made.name:28} n {n:5}  accuracy {accuracy:.2f}  {shares}", flush=True)
    return worst


def check_references():
    random = np.random.default_rng(0)
    for _ in range(200):
        one, other = random.random(150) < 0.9, random.random(150) < random.uniform(0.6, 0.95)
        table = [[(one & other).sum(), (one & ~other).sum()],
                 [(~one & other).sum(), (~one & ~other).sum()]]  # fmt: skip
        assert np.isclose(mcnemar_p(one, other), min(1, mcnemar(table, exact=True).pvalue))
    print("McNemar equals statsmodels' on 200 tables")
    # Bins of a fifth: gaps 0.075 (2 samples), 0.2 (2) and 0.15 (4), so 1.15 / 8.
    confidence = np.array([0.9, 0.9, 0.9, 0.9, 0.7, 0.7, 0.55, 0.6])
    correct = np.array([1, 1, 1, 0, 1, 0, 1, 0])
    scores = np.column_stack([confidence, 1 - confidence])
    error = calibration_error(reliability(1 - correct, scores, n_bins=5))
    assert np.isclose(error, 0.14375)
    print(f"calibration error of the hand-worked example: {error:.5f}, wanted 0.14375")


class Noise:
    """Pictures of noise, which no codec makes small."""

    kind = "noise"

    def read(self, number):
        return np.random.default_rng(number).integers(0, 256, (300, 400, 3), dtype=np.uint8)


def dataset_of(rows, classes):
    """Give made rows as a dataset that has their pictures."""
    samples = tuple(
        Sample(row.id, number, row.label, row.split, row.group, row.digest)
        for number, row in enumerate(rows)
    )
    return Dataset(
        name="made", path="made", kind="noise", classes=tuple(classes), samples=samples,
        skipped=(), source=Noise(), split_rule="made", split_seed=0, notes=(),
    )  # fmt: skip


def check_report():
    """Build the page of 12 runs on 101 classes and 25,000 test pictures."""
    classes = [f"dish number {i}" for i in range(101)]
    rows = made_rows(classes, {"train": 2_000, "validation": 5_000, "test": 25_000})
    with tempfile.TemporaryDirectory() as folder:
        study = Path(folder) / "large"
        for i in range(12):
            make_run(
                study, f"efficientnet-lite0-run{i:02}", classes, rows, skill=2 + i / 4, seed=i
            )
        runs = find_runs(study)
        dataset = dataset_of(rows, classes)
        began = time.perf_counter()
        page = write_page(study, runs, dataset=dataset)
        seconds = time.perf_counter() - began
        megabytes = page.stat().st_size / 1e6
    # What the process ever took: making the runs above takes less.
    gigabytes = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20
    print(f"report of 12 x 25,000 x 101: {seconds:.1f} s, {gigabytes:.2f} GB, {megabytes:.2f} MB")
    return seconds < 60 and gigabytes < 2 and megabytes < 8


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument(
        "--sets", type=int, default=2_000, help="simulated sets of each kind; 0 for the page alone"
    )
    sets = parser.parse_args().sets
    fits = check_report()
    check_references()
    if not sets:
        raise SystemExit(not fits)
    worst = min(check_accuracy(sets), check_differences(sets), check_copies(sets // 2))
    for made in KINDS:
        worst = min(worst, check_others(sets, made))
    print(f"the least share that held: {worst:.3f}, wanted {LEAST}")
    if worst < LEAST or not fits:
        raise SystemExit("too little")


if __name__ == "__main__":
    main()
