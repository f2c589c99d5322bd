"""Is what no class holds told from what is known, and do sets hold the class as often as stated?

    python benchmarks/bench_unknown.py FOLDER...

Each class of a dataset is left out in turn: its held-out pictures are unknown to what is learned
from the train pictures of the others. Their `typical` is compared with the largest probability of
a logistic head, calibrated on out-of-fold rows, by the area under the ROC curve. Sets of classes
are told as runs do, from out-of-fold rows of train, and judged on all held-out pictures; and told
from one half of these and judged on the other, over 200 divisions with groups whole.
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


def halves(matrix, held, random):
    """Divide pictures in two, groups whole."""
    groups = np.unique(matrix.groups[held])
    first = np.isin(matrix.groups[held], random.permutation(groups)[: len(groups) // 2])
    return np.flatnonzero(first), np.flatnonzero(~first)


def judged(least, scores, true):
    """Give the share of sets that hold the class, and how many classes are in one."""
    members = conformal_sets(scores, least)
    return members[np.arange(len(true)), true].mean(), members.sum(axis=1).mean()


def pictures_of(scores, true):
    """Give predictions as runs keep them, of pictures without a name."""
    none = np.full(len(true), None, dtype=object)
    return SplitPredictions(none, none, none, true, scores.argmax(axis=1), scores)


def covered(matrix):
    """Give, by coverage, what sets hold that out-of-fold rows tell, and that halves tell."""
    train, held = matrix.rows("train"), np.flatnonzero(matrix.split != "train")
    head = logistic(matrix, train, matrix.y[train])
    scores, true = head.scores(matrix.X[held]), matrix.y[held]
    out_of_fold = pictures_of(head.held_scores, matrix.y[train])
    random = np.random.default_rng(0)
    divided = [halves(matrix, held, random) for _ in range(DIVISIONS)]
    found = {}
    for coverage in COVERAGES:
        of_run = judged(least_probability(out_of_fold, coverage), scores, true)
        shares = []
        for told, others in divided:
            least = least_probability(pictures_of(scores[told], true[told]), coverage)
            shares.append(judged(least, scores[others], true[others]))
        found[coverage] = of_run, np.mean(shares, axis=0)
    return found


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
        for coverage, (of_run, of_halves) in covered(matrix).items():
            short = short or of_halves[0] < coverage - SHORT
            print(
                f"  sets for {coverage:.0%}, told out of fold: {of_run[0]:.1%} hold the class, "
                f"{of_run[1]:.2f} classes; by one half: {of_halves[0]:.1%}, {of_halves[1]:.2f}"
            )
    raise SystemExit(short)


if __name__ == "__main__":
    main()
