from __future__ import annotations

import numpy as np
import pytest
from scipy.special import expit

from training.calibration import Calibrator, fit_calibrator, fit_platt
from training.metrics import calibration_error, f1_score


def drawn(slope: float, intercept: float, count: int, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    score = rng.uniform(-1, 1, count)
    return score, rng.random(count) < expit(slope * score + intercept)


@pytest.mark.parametrize(("slope", "intercept"), [(4, -1), (1.5, 0.5), (8, 2)])
def test_platt_finds_the_curve_that_labels_were_drawn_from(slope: float, intercept: float) -> None:
    found = fit_platt(*drawn(slope, intercept, 20_000))
    assert found == pytest.approx((slope, intercept), abs=0.35)


def test_scores_that_point_the_wrong_way_are_not_turned_round() -> None:
    score, truth = drawn(4, 0, 2000)
    slope, intercept = fit_platt(-score, truth)
    assert slope == pytest.approx(0, abs=1e-6)
    assert expit(intercept) == pytest.approx(truth.mean(), abs=0.02)


@pytest.mark.parametrize("positives", [0, 4, 96, 100])
def test_too_few_of_one_class_is_not_fitted(positives: int) -> None:
    truth = np.arange(100) < positives
    assert np.isnan(fit_platt(np.linspace(0, 1, 100), truth)).all()


def test_separable_and_constant_scores_stay_finite() -> None:
    truth = np.arange(40) >= 20
    assert np.isfinite(fit_platt(truth.astype(float), truth)).all()
    assert np.isfinite(fit_platt(np.zeros(40), truth)).all()


def test_calibrator_improves_probability_and_decision() -> None:
    columns = [drawn(5, -3, 4000, seed) for seed in (1, 2)]
    score = np.stack([s for s, _ in columns], 1)
    labels = np.stack([t for _, t in columns], 1).astype(np.float32)
    weights = np.ones_like(labels)
    calibrator = fit_calibrator(score, labels, weights)
    probability = calibrator.probability(score)
    for k in range(2):
        truth = labels[:, k] > 0
        assert calibration_error(truth, probability[:, k]) < 0.03
        assert f1_score(truth, calibrator.decide(score, score > 0)[:, k]) > f1_score(truth, score[:, k] > 0)


def test_unknown_labels_and_unreadable_scores_are_left_out() -> None:
    score, truth = drawn(5, 0, 1000)
    spoilt_score = np.concatenate([score, np.full(500, -1.0), [np.nan]])[:, None]
    spoilt_labels = np.concatenate([truth, np.ones(501)]).astype(np.float32)[:, None]
    weights = np.concatenate([np.ones(1000), np.zeros(500), [1]]).astype(np.float32)[:, None]
    with_spoilt = fit_calibrator(spoilt_score, spoilt_labels, weights)
    without = fit_calibrator(score[:, None], truth.astype(np.float32)[:, None], np.ones((1000, 1), np.float32))
    assert with_spoilt.slope == pytest.approx(without.slope)
    assert with_spoilt.threshold == pytest.approx(without.threshold)


def test_an_au_that_could_not_be_fitted_keeps_the_raw_probability() -> None:
    calibrator = fit_calibrator(np.zeros((8, 1)), np.zeros((8, 1)), np.ones((8, 1)))
    np.testing.assert_allclose(calibrator.probability(np.array([[-1.0], [0.0], [3.0]])), [[0], [0.5], [1]])
    score = np.array([[-0.1], [0.1]])
    for own in (score > 0, score < 0):
        assert (calibrator.decide(score, own) == own).all(), "the decoder's own rule stands"


@pytest.mark.parametrize("rate", [0.05, 0.1, 0.3])
def test_an_au_whose_scores_point_the_wrong_way_counts_as_not_fitted(rate: float) -> None:
    """Else probability and threshold were one constant, and their rounding would decide."""
    score = np.linspace(-1, 1, 1000)[:, None]
    labels = (score < np.quantile(score, rate)).astype(np.float32)
    calibrator = fit_calibrator(score, labels, np.ones_like(labels))
    assert np.isnan([calibrator.slope, calibrator.intercept, calibrator.threshold]).all()


def test_a_score_at_the_threshold_is_decided_present() -> None:
    """As in the product."""
    calibrator = Calibrator(np.array([1.0]), np.array([0.0]), np.array([0.5]))
    assert calibrator.decide(np.array([[0.0], [-1e-6]]), np.zeros((2, 1), bool)).tolist() == [[True], [False]]
