"""How much sooner is a head's search done than scikit-learn's GridSearchCV, and is it as good?

    python benchmarks/bench_heads.py FOLDER
    python benchmarks/bench_heads.py --made-up

Each head as `fit_head` searches and fits it, on two jobs, beside `GridSearchCV(n_jobs=2)` of the
same estimator after a `StandardScaler`, over the same settings and the same five folds, refitted
on all rows at the end. Held scores are out of fold, each row predicted by a fit that lacks it.

The rows are the features of a folder's train and validation pictures together, or made up: 20,000
of 1,280 features and 43 classes. There GridSearchCV would take hours for some heads: it is timed
on so many settings and folds as --share says, and the time of the others is taken to be the same.
"""

import argparse
import multiprocessing
import statistics
import tempfile
import warnings
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import product
from typing import Any

import numpy as np
from bench_jobs import spin
from side_by_side import measure, median_ratio
from sklearn.discriminant_analysis import LinearDiscriminantAnalysis
from sklearn.linear_model import LogisticRegression, RidgeClassifier
from sklearn.model_selection import GridSearchCV, PredefinedSplit
from sklearn.neural_network import MLPClassifier
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.svm import SVC, LinearSVC

from tlfeat.features.extract import extract
from tlfeat.heads.fit import fit_head
from tlfeat.heads.folds import assign_folds
from tlfeat.heads.kernel import gamma_value

HEADS = ("logistic", "ridge", "lda", "svm-linear", "svm-rbf", "mlp")


@dataclass(frozen=True)
class Rows:
    """What both sides learn from."""

    X: np.ndarray
    y: np.ndarray
    fold: np.ndarray

    @property
    def n_classes(self) -> int:
        """How many classes there are."""
        return int(self.y.max()) + 1


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("folder", nargs="?", help="a folder with split folders")
    parser.add_argument("--made-up", action="store_true", help="20,000 rows of 43 classes")
    parser.add_argument("--heads", default=",".join(HEADS))
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--busy", type=int, default=0, help="processes that spin at nice 19")
    parser.add_argument("--share", type=int, default=1, help="time one in so many fits of theirs")
    parser.add_argument("--ours", action="store_true", help="time tlfeat alone, 2 jobs beside 1")
    options = parser.parse_args()
    rows = made_up() if options.made_up else of_folder(options.folder)
    print(f"{rows.X.shape[0]:,} x {rows.X.shape[1]:,}, {rows.n_classes} classes")
    total: dict[str, float] = {}
    with neighbours(options.busy):
        for head in options.heads.split(","):
            for name, seconds in compare(head, rows, options).items():
                total[name] = total.get(name, 0) + seconds
    print("together: " + ", ".join(f"{name} {value:.1f} s" for name, value in total.items()))


def made_up() -> Rows:
    """Give rows of classes that overlap, as features of pictures do."""
    random = np.random.default_rng(0)
    y = np.arange(20_000) % 43
    basis = random.normal(size=(200, 1280)) / 8  # most of what varies lies in 200 directions
    X = random.normal(size=(43, 1280))[y] / 12 + random.normal(size=(20_000, 200)) @ basis
    X += random.normal(size=X.shape) / 2
    return Rows(np.maximum(X + 0.3, 0).astype(np.float32), y, assign_folds(y))


def of_folder(folder: str) -> Rows:
    """Embed a folder's pictures; give those of train and validation."""
    with tempfile.TemporaryDirectory() as cache:
        features = extract(folder, cache=cache)
        mine = features.split != "test"
        X, y, groups = features.X[mine].copy(), features.y[mine], features.groups[mine]
    return Rows(X, y, assign_folds(y, groups))


@contextmanager
def neighbours(n: int) -> Iterator[None]:
    """Let other processes spin meanwhile."""
    busy = [multiprocessing.Process(target=spin, daemon=True) for _ in range(n)]
    for process in busy:
        process.start()
    try:
        yield
    finally:
        for process in busy:
            process.kill()


def compare(head: str, rows: Rows, options: argparse.Namespace) -> dict[str, float]:
    """Time one head both ways; print and give the medians."""
    fitted: list[Any] = []

    def ours(jobs: int = 2) -> None:
        found = fit_head(head, rows.X, rows.y, n_classes=rows.n_classes, jobs=jobs)
        fitted[:] = [found]

    ours()  # imports, pages of memory
    if options.ours:
        seconds = measure(options.rounds, tlfeat=ours, one=lambda: ours(1))
        ratio = median_ratio(seconds["tlfeat"], seconds["one"])
        print(f"{head}: two jobs take {ratio:.2f} times as long as one")
        return {name: statistics.median(values) for name, values in seconds.items()}
    grid = settings(head, fitted[0].grid, rows)
    asked = grid[:: options.share]
    folds = rows.fold if options.share == 1 else np.where(rows.fold == 0, 0, -1)
    search = GridSearchCV(
        pipeline(head), asked, cv=PredefinedSplit(folds), n_jobs=2, refit=options.share == 1
    )

    def theirs() -> None:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            search.fit(rows.X, rows.y)

    if options.share == 1:
        theirs()  # the pool of processes is warm
    seconds = measure(options.rounds, tlfeat=ours, grid_search=theirs)
    whole = 1.0
    if options.share > 1:  # all settings on five folds, and one fit more
        whole = (5 * len(grid) + 1) / len(asked)
        seconds["grid_search"] = [whole * value for value in seconds["grid_search"]]
    ratio = median_ratio(seconds["grid_search"], seconds["tlfeat"])
    held = fitted[0].held_scores.argmax(axis=1) == rows.y
    print(
        f"{head}: {len(grid)} settings, tlfeat {statistics.median(seconds['tlfeat']):.2f} s, "
        f"GridSearchCV {statistics.median(seconds['grid_search']):.2f} s"
        + (f" (x {whole:.0f} from {len(asked)} fits)" if whole > 1 else "")
        + f", {ratio:.1f} times as fast; held {100 * held.mean():.2f}% beside "
        f"{100 * search.cv_results_['mean_test_score'].max():.2f}%"
    )
    return {name: statistics.median(values) for name, values in seconds.items()}


def settings(head: str, grid: Mapping[str, Any], rows: Rows) -> list[dict[str, Any]]:
    """Give the settings that tlfeat searches by scikit-learn's names."""
    names = {"epochs": "max_iter"}
    found = []
    for values in product(*grid.values()):
        setting = {names.get(name, name): value for name, value in zip(grid, values, strict=True)}
        if "gamma" in setting:
            standard = StandardScaler().fit_transform(rows.X)
            setting["gamma"] = gamma_value(setting["gamma"], standard)
        found.append({f"{step(head)}__{name}": [value] for name, value in setting.items()})
    return found


def step(head: str) -> str:
    """Give the name of the last step of a pipeline."""
    return type(ESTIMATORS[head]).__name__.lower()


ESTIMATORS: dict[str, Any] = {
    "logistic": LogisticRegression(max_iter=1000),
    "ridge": RidgeClassifier(),
    "lda": LinearDiscriminantAnalysis(solver="lsqr"),
    "svm-linear": LinearSVC(max_iter=1000),
    "svm-rbf": SVC(),
    "mlp": MLPClassifier(256, learning_rate_init=2e-3, random_state=0),
}


def pipeline(head: str) -> Any:
    """Give scikit-learn's own head after its own standardisation."""
    return make_pipeline(StandardScaler(), ESTIMATORS[head])


if __name__ == "__main__":
    main()
