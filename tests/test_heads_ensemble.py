"""The mean of several heads' probabilities."""

from pathlib import Path
from zipfile import ZipFile

import numpy as np
import pytest
from made_grounds import N, fit, grounds

from tlfeat.errors import HeadError
from tlfeat.heads.ensemble import greedy_weights
from tlfeat.heads.fit import fit_any, fit_head
from tlfeat.heads.fitting import HeadOrder
from tlfeat.heads.grounds import Grounds
from tlfeat.heads.persist import load_head, save_head
from tlfeat.heads.pool import run_jobs
from tlfeat.heads.table import check_settings

CLASSES = ("a", "b", "c")


def test_weights_have_less_loss_than_any_member_alone() -> None:
    random = np.random.default_rng(0)
    of_true = random.uniform(0.05, 0.95, (5, 400))
    weights = greedy_weights(of_true, 30)
    assert weights.sum() == pytest.approx(1)
    alone = -np.log(of_true).mean(axis=1)
    together = -np.log(weights @ of_true).mean()
    assert together < alone.min()
    # no single step away from them is better
    for one in range(5):
        moved = 0.95 * weights + 0.05 * np.eye(5)[one]
        assert -np.log(moved @ of_true).mean() > together - 2e-3


def test_a_member_that_is_best_for_every_row_is_alone() -> None:
    assert greedy_weights(np.array([[0.4, 0.5], [0.6, 0.7]]), 10).tolist() == [0, 1]


def test_its_probabilities_are_the_tempered_mean_of_its_members() -> None:
    on, _ = grounds({"left": 1.5, "right": 1.2}, validation=60)
    fitted = fit(on, "ensemble", params={"members": "lda+knn"})
    X = {name: one.ground.X for name, one in on.candidates.items()}
    weights = fitted.chosen["weights"]
    mean = np.zeros((N, 3))
    for name, weight in weights.items():
        head, _, matrix = name.partition(" on ")
        member = fit(Grounds([on.candidates[matrix]]), head)
        mean += weight * member.scores(X[matrix])
    rising = np.exp(np.log(mean + 1e-12) / fitted.temperature)
    wanted = rising / rising.sum(axis=1, keepdims=True)
    joined = np.hstack([X[part] for part in fitted.parts])
    np.testing.assert_allclose(fitted.scores(joined), wanted, atol=1e-5)


def test_it_comes_back_from_its_file_as_plain_scikit_learn(tmp_path: Path) -> None:
    import skops.io

    on, _ = grounds({"left": 1.5, "right": 1.5})
    fitted = fit(on, "ensemble", params={"members": "logistic+lda+svm-rbf+mlp+knn"})
    assert len(fitted.parts) == 2
    X = np.hstack([on.candidates[part].ground.X for part in fitted.parts])
    path = save_head(fitted, tmp_path / "head.skops", classes=CLASSES)
    np.testing.assert_array_equal(load_head(path).scores(X), fitted.scores(X))
    plain = skops.io.load(path, trusted=skops.io.get_untrusted_types(file=path))
    np.testing.assert_array_equal(plain.predict(X), fitted.predict(X))


def test_its_file_holds_no_lists_of_columns(tmp_path: Path) -> None:
    sizes = []
    for d in (12, 600):
        on, _ = grounds({"left": 1.5, "right": 1.5}, d=d)
        fitted = fit(on, "ensemble", params={"members": "logistic+ridge"})
        assert len(fitted.parts) == 2
        path = save_head(fitted, tmp_path / "head.skops", classes=CLASSES)
        with ZipFile(path) as file:
            # text, in which each number of a list takes more than a hundred letters
            sizes.append(file.getinfo("schema.json").file_size)
    assert sizes[1] < 1.5 * sizes[0]


def test_held_scores_are_honest_where_nothing_can_be_learned() -> None:
    shares = []
    for seed in range(12):
        on, y = grounds({"left": 0.0, "right": 0.0}, seed=seed)
        fitted = fit(on, "ensemble", params={"members": "lda+ridge"}, seed=seed)
        shares.append((fitted.held_scores.argmax(axis=1) == y).mean())
    assert np.mean(shares) < 1 / 3 + 0.03


def test_a_head_that_cannot_be_fitted_is_left_out_and_said() -> None:
    on, _ = grounds({"only": 2.0})
    fitted = fit(on, "ensemble", params={"members": "svm-rbf+lda"}, kernel_budget=1000)
    assert set(fitted.chosen["weights"]) == {"lda"}
    (warning,) = fitted.warnings
    assert warning.startswith("ensemble goes without svm-rbf: ")
    (error,) = run_jobs(
        [fit_any(on, HeadOrder("ensemble", {"members": "svm-rbf"}, kernel_budget=1000))], 1
    )
    assert isinstance(error, HeadError)


def test_members_are_read_before_anything_is_fitted() -> None:
    for given in ("LDA + ridge+lda", "lda,ridge", ["lda", "ridge"]):
        assert check_settings("ensemble", {"members": given}) == {"members": "lda+ridge"}
    for wrong in ("lda+boost", "ensemble", ""):
        with pytest.raises(HeadError, match=r"some of logistic, lda, .*with \+ between them"):
            check_settings("ensemble", {"members": wrong})
    with pytest.raises(HeadError, match="ensemble searches no rounds: give one value"):
        check_settings("ensemble", {"rounds": "5,10"})


@pytest.mark.parametrize("validation", [0, 60])
def test_classes_that_train_lacks_have_no_probability_and_no_say(validation: int) -> None:
    on, y = grounds({"only": 1.5}, validation=60)
    ground = on.ground
    X, held = ground.X, ground.validation
    assert held is not None
    with_absent = held[1].copy()
    with_absent[:10] = 3
    kinds = {"known": held, "absent": (held[0], with_absent)}
    fits = {
        kind: fit_head(
            "ensemble",
            X,
            y[:N],
            n_classes=4,
            params={"members": "lda+logistic"},
            validation=given if validation else None,
        )
        for kind, given in kinds.items()
    }
    for one in fits.values():
        assert (one.held_scores[:, 3] == 0).all()
        assert (one.scores(X)[:, 3] == 0).all()
    known, absent = (one.temperature for one in fits.values())
    assert absent == pytest.approx(known, rel=0.4)


def test_so_few_members_that_rounding_never_makes_a_mean_above_one() -> None:
    random = np.random.default_rng(0)
    weights = greedy_weights(random.uniform(0.05, 0.95, (30, 500)), 60)
    assert np.count_nonzero(weights) == 7
    for _ in range(2000):
        drawn = random.dirichlet(np.ones(7))
        assert np.average(np.ones((7, 1), np.float32), axis=0, weights=drawn) <= 1
