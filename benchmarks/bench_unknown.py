"""Is what no class holds told from what is known, and do sets hold the class as often as stated?

    python benchmarks/bench_unknown.py FOLDER...

Each class of a dataset is left out in turn: its held-out pictures are unknown to what is learned
from the train pictures of the others. Their `typical` is compared with the largest probability of
a logistic head, calibrated on out-of-fold rows, by the area under the ROC curve. Sets of classes
are told from one half of the held-out pictures and judged on the other, over 200 divisions.
"""

import argparse

import numpy as np
from sklearn.metrics import roc_auc_score

import tlfeat
from tlfeat.heads.fit import fit_head
from tlfeat.heads.novelty import learn_novelty
from tlfeat.runs.conformal import conformal_sets, least_probability
from tlfeat.runs.predictions import SplitPredictions

DIVISIONS = 200
COVERAGES = (0.8, 0.9, 0.95)
SHORT = 0.01  # of coverage, at most
MOST_CLASSES = 10


def logistic(matrix, rows, labels):
    """Train the head on some rows; labels count from 0."""
    return fit_head(
        "logistic",
        matrix.X[rows],
        labels,
        n_classes=int(labels.max()) + 1,
        groups=matrix.groups[rows],
    )


def left_out(matrix, label):
    """Give both areas for one class that is left out."""
    is_train = matrix.split == "train"
    train = np.flatnonzero(is_train & (matrix.y != label))
    held = np.flatnonzero(~is_train)
    unknown = matrix.y[held] == label
    head = logistic(matrix, train, np.unique(matrix.y[train], return_inverse=True)[1])
    novelty = learn_novelty(matrix.X, matrix.y, train, fold=head.fold)
    surest = head.scores(matrix.X[held]).max(axis=1)
    far = novelty.distances(matrix.X[held])
    known = novelty.typical(matrix.X[held[~unknown]])
    return roc_auc_score(unknown, far), roc_auc_score(unknown, -surest), (known <= 0.05).mean()


def covered(matrix):
    """Give the share of pictures whose set holds the class, and the classes in a set."""
    train, held = matrix.rows("train"), np.flatnonzero(matrix.split != "train")
    scores = logistic(matrix, train, matrix.y[train]).scores(matrix.X[held])
    true, random = matrix.y[held], np.random.default_rng(0)
    found = {coverage: [] for coverage in COVERAGES}
    for _ in range(DIVISIONS):
        order = random.permutation(len(held))
        told, judged = order[: len(order) // 2], order[len(order) // 2 :]
        none = np.full(len(told), None, dtype=object)
        pictures = SplitPredictions(
            none, none, none, true[told], scores[told].argmax(axis=1), scores[told]
        )
        for coverage, shares in found.items():
            members = conformal_sets(scores[judged], least_probability(pictures, coverage))
            holds = members[np.arange(len(judged)), true[judged]]
            shares.append((holds.mean(), members.sum(axis=1).mean()))
    return {coverage: np.mean(shares, axis=0) for coverage, shares in found.items()}


def main() -> None:
    """Measure and print; fail where sets hold the class too seldom."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("data", nargs="+")
    parser.add_argument("--features", default="last:avg")
    parser.add_argument("--cache", default=None)
    options = parser.parse_args()
    short = False
    for data in options.data:
        matrix = tlfeat.extract(data, features=options.features, cache=options.cache)
        classes = np.unique(matrix.y[matrix.split != "train"])
        if len(classes) > MOST_CLASSES:
            classes = np.random.default_rng(0).choice(classes, MOST_CLASSES, replace=False)
        far, sure, rejected = np.mean([left_out(matrix, one) for one in classes], axis=0)
        print(
            f"{data}: {len(classes)} classes left out in turn: area by distance {far:.3f}, by the "
            f"largest probability {sure:.3f}; of known pictures {100 * rejected:.1f}% rejected at "
            "5%",
            flush=True,
        )
        for coverage, (share, size) in covered(matrix).items():
            short = short or share < coverage - SHORT
            print(
                f"  sets for {coverage:.0%}: {share:.1%} hold the class, {size:.2f} classes each"
            )
    raise SystemExit(short)


if __name__ == "__main__":
    main()
