"""The best of several feature matrices for a head, chosen on held rows."""

import numpy as np
import pytest
from made_grounds import K, fit, grounds

from tlfeat.heads.fit import fit_any
from tlfeat.heads.fitting import FittedHead, HeadOrder
from tlfeat.heads.grounds import Candidate, Grounds
from tlfeat.heads.pool import run_jobs
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
    on, _ = grounds({"dull": 0.2, "keen": 4.0, "blunt": 1.0}, validation=1)
    assert fit(on, "lda").held_scores.shape == (1, K)
