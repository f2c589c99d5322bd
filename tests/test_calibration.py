"""Calibration: a hand-worked error, scikit-learn's bins, a temperature that is found again."""

import numpy as np
import pytest
from sklearn.calibration import _TemperatureScaling, calibration_curve

from tlfeat.heads.temperature import fit_temperature, tempered
from tlfeat.runs.calibration import BINS, calibrate, calibration_error, reliability, temper

RANDOM = np.random.default_rng(0)


def sampled(n=4000, k=4):
    """Probabilities that are exactly right: each class is drawn with its own."""
    scores = RANDOM.dirichlet(np.full(k, 0.5), n)
    true = (scores.cumsum(axis=1) > RANDOM.random((n, 1))).argmax(axis=1)
    return true, scores


def test_the_error_equals_a_hand_worked_example():
    # Bins of two, but one confidence is never in two of them. Confidences 0.9, 0.9, 0.9, 0.9
    # (three right): gap |0.75 - 0.9| = 0.15; 0.7, 0.7 (one right): |0.5 - 0.7| = 0.2;
    # 0.55 (right) and 0.6 (wrong): |0.5 - 0.575| = 0.075.
    confidence = np.array([0.9, 0.9, 0.9, 0.9, 0.7, 0.7, 0.55, 0.6])
    right = np.array([1, 1, 1, 0, 1, 0, 1, 0], dtype=bool)
    scores = np.column_stack([confidence, 1 - confidence])
    bins = reliability(np.where(right, 0, 1), scores, n_bins=4, least=1)
    assert bins["n"].tolist() == [2, 2, 4]
    assert bins["accuracy"].tolist() == [0.5, 0.5, 0.75]
    wanted = (2 * 0.075 + 2 * 0.2 + 4 * 0.15) / 8
    assert calibration_error(bins) == pytest.approx(wanted)
    assert wanted == pytest.approx(0.14375)


def test_bins_are_those_of_quantiles():
    true, scores = sampled(40 * BINS)
    bins = reliability(true, scores)
    share, mean = calibration_curve(
        scores.argmax(axis=1) == true, scores.max(axis=1), n_bins=BINS, strategy="quantile"
    )
    assert bins["accuracy"].to_numpy() == pytest.approx(share)
    assert bins["confidence"].to_numpy() == pytest.approx(mean)
    assert set(bins["n"]) == {40}


def test_few_predictions_have_few_bins_and_those_alike_have_one():
    true, scores = sampled(35)
    assert reliability(true, scores)["n"].tolist() == [11, 12, 12]
    assert reliability(true[:3], scores[:3])["n"].tolist() == [3]
    sure = np.tile([0.75, 0.25], (90, 1))
    bins = reliability(np.arange(90) % 3 // 2, sure)
    assert bins["n"].tolist() == [90]
    assert calibration_error(bins) == pytest.approx(0.75 - 2 / 3)


def test_the_temperature_that_spoilt_probabilities_is_found_again():
    true, scores = sampled()
    assert fit_temperature(true, np.log(scores)) == pytest.approx(1, abs=0.1)
    assert fit_temperature(true, 2 * np.log(scores)) == pytest.approx(2, abs=0.2)


def test_the_temperature_equals_scikit_learns():
    true, scores = sampled(500)
    theirs = _TemperatureScaling().fit(3 * np.log(scores), true)
    assert fit_temperature(true, 3 * np.log(scores)) == pytest.approx(1 / theirs.beta_, rel=0.05)


def test_rows_of_a_class_that_cannot_be_say_nothing_about_the_temperature():
    true, scores = sampled(500)
    logits = 2 * np.log(scores)
    wanted = fit_temperature(true, logits)
    more = np.column_stack([logits, np.full(500, -np.inf)])
    assert fit_temperature(true, more) == pytest.approx(wanted)
    absent = np.vstack([more, more[:50]])
    labels = np.append(true, np.full(50, 4))
    assert fit_temperature(labels, absent) == pytest.approx(wanted)
    assert not tempered(more, 2.0)[:, 4].any()


def test_what_no_temperature_can_mend_is_left():
    assert fit_temperature(np.array([0, 1]), np.zeros((2, 2))) == 1
    assert fit_temperature(np.zeros(0, int), np.zeros((0, 2))) == 1
    sure = fit_temperature(np.array([0, 1]), np.array([[5.0, 0.0], [0.0, 5.0]]))
    assert 0.5 < sure < 5  # nothing is wrong, and two rows are no reason to be sure of it
    many = fit_temperature(np.tile([0, 1], 500), np.tile([[5.0, 0.0], [0.0, 5.0]], (500, 1)))
    assert many < sure / 2


def test_the_temperature_is_of_validation_and_never_of_test():
    true, scores = sampled()
    sure = temper(scores, 0.4)
    found = calibrate(true[:2000], sure[:2000], (true[2000:], sure[2000:]))
    assert found.temperature == pytest.approx(
        fit_temperature(true[2000:], np.log(sure[2000:])), rel=1e-3
    )
    assert found.after is not None
    assert not found.is_used
    assert calibration_error(found.after) < calibration_error(found.bins) / 2
    assert calibrate(true, sure).temperature is None


def test_a_temperature_that_a_run_has_is_shown_against_what_it_was_without():
    true, scores = sampled()
    found = calibrate(true, scores, used=2.5)
    assert (found.temperature, found.is_used) == (2.5, True)
    assert calibration_error(found.bins) == calibration_error(reliability(true, scores))
    before = reliability(true, temper(scores, 0.4))
    assert calibration_error(found.before) == pytest.approx(calibration_error(before))


def test_a_temperature_changes_no_prediction():
    _, scores = sampled(100)
    assert (temper(scores, 3.0).argmax(axis=1) == scores.argmax(axis=1)).all()
