"""The best of several feature matrices for a head, chosen on held rows."""

import numpy as np
import pytest
from made_grounds import K, fit, grounds

from tlfeat.heads.fit import fit_any, fit_head
from tlfeat.heads.fitting import FittedHead, HeadOrder
from tlfeat.heads.grounds import Candidate, Grounds
from tlfeat.heads.metric import METRICS
from tlfeat.heads.pool import Job, run_jobs
from tlfeat.heads.search import least_bad


@pytest.mark.parametrize("validation", [0, 90])
@pytest.mark.parametrize("name", ["logistic", "lda", "knn"])
def test_a_head_takes_the_matrix_that_tells_most(name: str, validation: int) -> None:
    on, _ = grounds({"dull": 0.5, "keen": 3.0, "blunt": 1.0}, validation=validation)
    fitted = fit(on, name)
    assert fitted.parts == ("keen",)
    assert [row["features"] for row in fitted.candidates] == ["dull", "keen", "blunt"]
    # the others were screened as clearly worse, and not searched
    assert ["score" in row for row in fitted.candidates] == [False, True, False]
    assert all(row["screened"]["log_loss"] > 0 for row in fitted.candidates)


def test_two_that_are_near_are_both_searched() -> None:
    on, _ = grounds({"dull": 0.2, "keen": 1.5, "near": 1.4})
    assert ["score" in row for row in fit(on, "knn").candidates] == [False, True, True]


def test_the_simplest_of_equals_is_taken() -> None:
    on, _ = grounds({"first": 2.0, "second": 2.0})
    on.candidates["second"] = Candidate("second", on.candidates["first"].ground, {"second": 12})
    assert fit(on, "ridge").parts == ("first",)


def test_what_others_choose_judges_each_part() -> None:
    """Where nothing can be learned, the best of many matrices must not look better than chance."""
    shares = []
    for seed in range(8):
        on, y = grounds(dict.fromkeys("abcdefgh", 0.0), seed=seed)
        fitted = fit(on, "lda")
        shares.append((fitted.held_scores.argmax(axis=1) == y).mean())
        flattered = [row["score"] for row in fitted.candidates if "score" in row]
        assert max(flattered) > 1 / K
    assert np.mean(shares) < 1 / K + 0.02


def test_held_scores_are_of_the_matrix_that_the_other_parts_choose() -> None:
    on, _ = grounds({"left": 1.4, "right": 1.5}, seed=1)
    held = fit(on, "lda").held_scores
    alone = {name: fit(Grounds([one]), "lda").held_scores for name, one in on.candidates.items()}
    chosen = set()
    for mine, others in on.crossed:
        judged = {name: [on.judged(one, others, "accuracy")[1]] for name, one in alone.items()}
        best = least_bad(on.judged(alone["left"], others, "accuracy")[0], judged)
        np.testing.assert_array_equal(held[mine], alone[best][mine])
        chosen.add(best)
    assert chosen == {"left", "right"}  # or nothing was told apart


def test_heads_share_what_was_fitted(monkeypatch: pytest.MonkeyPatch) -> None:
    import tlfeat.heads.grounds as module

    fits: list[str] = []
    real = module.fit_on
    monkeypatch.setattr(
        module, "fit_on", lambda ground, order: fits.append(order.name) or real(ground, order)
    )
    on, _ = grounds({"dull": 0.2, "keen": 1.5, "near": 1.4})
    orders = [HeadOrder("lda"), HeadOrder("logistic")]
    orders.append(HeadOrder("ensemble", {"members": "lda+logistic"}))
    jobs = [fit_any(on, order) for order in orders]
    assert all(isinstance(one, FittedHead) for one in run_jobs(jobs, 2))
    # lda screens three matrices; the rest is fitted on the best two once
    assert sorted(fits) == ["lda"] * 3 + ["logistic"] * 2


def test_one_validation_row_can_still_choose() -> None:
    on, y = grounds({"dull": 0.2, "keen": 6.0, "blunt": 1.0}, validation=1)
    assert fit(on, "lda").held_scores.argmax(axis=1) == y[-1]


def test_a_group_of_validation_is_never_on_both_sides() -> None:
    groups = np.arange(90) // 3
    on, _ = grounds({"left": 1.0, "right": 1.0}, validation=90, groups=groups)
    for mine, others in on.crossed:
        assert not set(groups[mine]) & set(groups[others])
    assert len(on.crossed) == 5
    alone, _ = grounds({"left": 1.0}, validation=90, groups=np.zeros(90))
    assert len(alone.crossed) == 1


@pytest.mark.parametrize("name", ["lda", "ensemble"])
@pytest.mark.parametrize("metric", METRICS)
def test_a_choice_goes_by_any_metric_with_weights_and_refit(name: str, metric: str) -> None:
    on, _ = grounds({"dull": 0.2, "keen": 1.6, "near": 1.5}, validation=90)
    fitted = fit(on, name, metric=metric, class_weight="balanced", refit=True)
    assert fitted.n_train == 330
    assert set(fitted.parts) <= {"keen", "near"}
    screened = [row["screened"]["score"] for row in fitted.candidates]
    assert screened[0] == min(screened)
    assert fitted.settings["class_weight"] == "balanced"


def test_seconds_are_of_each_fit_once() -> None:
    on, _ = grounds({"dull": 0.2, "keen": 1.6, "near": 1.5})
    fits = run_jobs([_result(one, HeadOrder("lda")) for one in on.candidates.values()], 1)
    wanted = sum(sum(one.seconds.values()) for one in fits)
    chosen = fit(on, "lda").seconds
    assert sum(chosen.values()) == pytest.approx(wanted)
    search = fit(on, "ensemble", params={"members": "lda"}).seconds["search"]
    assert search == pytest.approx(wanted)


def _result(candidate: Candidate, order: HeadOrder) -> Job[FittedHead]:
    fitted: FittedHead = (yield [candidate.fitted(order)])[0]
    return fitted


def test_numbers_of_numpy_are_numbers() -> None:
    X, y = np.random.default_rng(0).normal(size=(60, 4)), np.arange(60) % 2
    one = fit_head("knn", X, y, n_classes=2, params={"k": np.int64(5)}, seed=np.int64(3))
    other = fit_head("knn", X, y, n_classes=2, params={"k": 5}, seed=3)
    np.testing.assert_array_equal(one.held_scores, other.held_scores)
