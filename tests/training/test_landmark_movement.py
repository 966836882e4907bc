from __future__ import annotations

import numpy as np
import pytest

from model.brow_measures import MEASURES
from tests.training.conftest import face_landmarks
from tests.training.test_landmark_reading import CODES, QUICK, SIDE, solid
from training.landmark_movement import MOVEMENT_SHARE
from training.landmark_reading import fit_reading
from training.metrics import roc_auc


def moving_brows(count: int, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Landmarks whose inner brow ends rise where AU1 is labelled, and whose mouths tell nothing."""
    rng = np.random.default_rng(seed)
    labels = (rng.random((count, 2)) < 0.5).astype(np.float32)
    points = np.repeat(face_landmarks(SIDE)[None].astype(np.float32), count, axis=0)
    points[:, [20, 21, 22, 23], 1] -= 4 * labels[:, :1]
    return solid(points + rng.normal(0, 0.4, points.shape).astype(np.float32)), labels


def test_brows_are_measured_the_way_facs_says() -> None:
    points, labels = moving_brows(600, 0)
    fitted = fit_reading(points, labels, np.ones_like(labels), CODES, QUICK)
    weights = dict(zip(MEASURES, fitted.measure_weight[0].tolist(), strict=True))
    assert weights["brow_inner"] > 0
    assert {name for name, weight in weights.items() if weight} == {"brow_inner"}
    assert not fitted.measure_weight[1].any(), "AU12 has no measures"
    unseen, truth = moving_brows(300, 1)
    moves = fitted.movement(unseen[..., :2], unseen[..., 2])
    assert roc_auc(truth[:, 0] > 0.5, moves[:, 0].astype(np.float64)) > 0.95
    shape = fitted.shape_logits(points[..., :2])[:, 0].std()
    moved = fitted.movement(points[..., :2], points[..., 2])[:, 0].std()
    assert moved / (moved + shape) == pytest.approx(MOVEMENT_SHARE, abs=0.01)


def test_a_measure_that_goes_the_wrong_way_says_nothing() -> None:
    points, labels = moving_brows(600, 0)
    fitted = fit_reading(points, 1 - labels, np.ones_like(labels), CODES, QUICK)  # "AU1" where the brows lie low
    assert not fitted.measure_weight.any()


def test_an_au_of_one_kind_is_not_measured() -> None:
    points, labels = moving_brows(200, 0)
    labels[:, 0] = 1
    assert not fit_reading(points, labels, np.ones_like(labels), CODES, QUICK).measure_weight.any()
