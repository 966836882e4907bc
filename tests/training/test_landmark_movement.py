from __future__ import annotations

import numpy as np
import pytest

from model.brow_measures import MEASURES, resting_reference
from tests.readings import solid_face
from training.landmark_movement import (
    LEAST_PICTURES,
    REFERENCE_FACES,
    Shares,
    fit_movement,
    measuring,
    rests_of,
)
from training.metrics import roc_auc

PEOPLE, PICTURES = 30, 20


def people_with_brows(seed: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Landmarks (N, 68, 3), whose they are, and whether AU1 raises the brows, which lie high on some and low on others.

    Each shows AU1 in a quarter of the pictures. What lies between two people is more than what AU1 does.
    """
    rng = np.random.default_rng(seed)
    identities = np.repeat(np.arange(PEOPLE), PICTURES)
    raised = rng.random(len(identities)) < 0.25
    points = np.repeat(solid_face()[None], len(identities), axis=0)
    own = rng.normal(0, 5, PEOPLE)[identities]
    points[:, 17:27, 1] -= (own + 4 * raised)[:, None]
    return (points + rng.normal(0, 0.3, points.shape)).astype(np.float32), identities, raised


def test_the_reference_is_everybodys_however_many_pictures_the_first_has() -> None:
    points, identities, _ = people_with_brows(1)
    first = points[identities == 0]
    crowded = np.concatenate([np.repeat(first, 300, axis=0), points[identities > 0]])
    owners = np.concatenate([np.zeros(len(first) * 300, int), identities[identities > 0]])
    reference, _ = measuring(crowded, owners, ("AU1",))
    chosen = np.linspace(0, len(crowded) - 1, REFERENCE_FACES).astype(int)
    assert len(np.unique(owners[chosen])) == PEOPLE
    np.testing.assert_allclose(reference, resting_reference(crowded[chosen]), atol=1e-6)


def test_movement_from_the_own_rest_tells_what_heights_do_not() -> None:
    points, identities, raised = people_with_brows(0)
    reference, weights = measuring(points, identities, ("AU1", "AU12"))
    assert {name for name, weight in zip(MEASURES, weights[0], strict=True) if weight > 0} == {"brow_inner"}
    assert not weights[1].any(), "AU12 has no measures"
    from model.brow_measures import brow_measures

    heights = brow_measures(points[..., :2], points[..., 2], reference)
    moved = (heights - rests_of(heights, identities)) @ weights[0]
    assert np.std(moved) == pytest.approx(1, abs=0.01), "in standard deviations about the person's rest"
    assert roc_auc(raised, moved) > 0.97
    assert roc_auc(raised, heights @ weights[0]) < 0.8


def test_the_rest_of_a_person_is_the_median_and_takes_some_pictures() -> None:
    identities = np.array([7] * LEAST_PICTURES + [3] * LEAST_PICTURES + [5] * (LEAST_PICTURES - 1))
    measures = np.arange(len(identities), dtype=np.float64)[:, None]
    measures[LEAST_PICTURES] = np.nan  # of person 3, who then has too few
    rests = rests_of(measures, identities)[:, 0]
    np.testing.assert_array_equal(rests[:LEAST_PICTURES], np.median(np.arange(LEAST_PICTURES)))
    assert np.isnan(rests[LEAST_PICTURES:]).all()
    assert rests_of(np.zeros((0, 7)), np.zeros(0, np.int64)).shape == (0, 7)


def test_nothing_is_measured_where_nobodys_rest_is_known() -> None:
    points, _, _ = people_with_brows(0)
    assert not measuring(points, np.arange(len(points)), ("AU1",))[1].any()


def test_three_readings_have_their_shares_and_come_out_calibrated() -> None:
    rng = np.random.default_rng(0)
    truth = rng.random(3000) < 0.3
    score, looks, moves = (scale * (2.0 * truth - 1 + rng.normal(0, 1.5, 3000)) for scale in (1, 4, 0.2))
    shares = Shares(0.2, 0.3, 0.5)
    fusion = fit_movement(score, looks, moves, truth, shares)
    assert fusion is not None
    spreads = [fusion.score * score.std(), fusion.landmarks * looks.std(), fusion.movement * moves.std()]
    np.testing.assert_allclose(np.array(spreads) / sum(spreads), [0.2, 0.3, 0.5], atol=1e-3)
    logit = fusion.score * score + fusion.landmarks * looks + fusion.movement * moves + fusion.intercept
    assert abs((1 / (1 + np.exp(-logit))).mean() - truth.mean()) < 0.01


@pytest.mark.parametrize(
    ("truth", "moves"),
    [
        (np.zeros(100, bool), np.arange(100.0)),  # faces of one kind
        (np.arange(100) < 50, np.zeros(100)),  # nothing moves
        (np.arange(100) < 50, np.arange(100.0)),  # all of it says the opposite
        (np.zeros(0, bool), np.zeros(0)),
    ],
)
def test_what_cannot_be_joined_is_left_out(truth: np.ndarray, moves: np.ndarray) -> None:
    others = np.arange(float(len(truth)))
    assert fit_movement(others, others, moves, truth) is None
