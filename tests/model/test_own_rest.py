from __future__ import annotations

import numpy as np
import pytest

from model.brow_measures import MEASURES
from model.own_rest import BLINK_MS, REST_FACES, REST_MS, own_rest, without_blinks

OPEN, LOWER = MEASURES.index("lids_open"), MEASURES.index("lower_lid")


def test_rest_is_what_a_face_does_most_of_the_time() -> None:
    measures = np.tile(np.arange(len(MEASURES), dtype=np.float64), (60, 1))
    measures[20:40] += 5  # a third of the time something moves
    measures[50] = np.nan
    rest = own_rest(np.arange(60) * 40.0, measures)
    assert rest is not None
    np.testing.assert_array_equal(rest, np.arange(len(MEASURES)))


@pytest.mark.parametrize(
    ("faces", "step_ms", "unmeasured", "known"),
    [
        (REST_FACES, REST_MS / (REST_FACES - 1), 0, True),
        (REST_FACES - 1, REST_MS, 0, False),
        (100, (REST_MS - 1) / 99, 0, False),
        (100, REST_MS / 50, 60, False),  # measured for too short a time
        (100, REST_MS, 100, False),
        (0, 1.0, 0, False),
    ],
)
def test_rest_takes_some_time_to_know(faces: int, step_ms: float, unmeasured: int, known: bool) -> None:
    measures = np.zeros((faces, len(MEASURES)))
    measures[:unmeasured] = np.nan
    assert (own_rest(np.arange(faces) * step_ms, measures) is not None) == known


REST = np.full(len(MEASURES), 0.2)


def lids(openings: list[float]) -> np.ndarray:
    """Measures whose lids are open by these shares of the rest; the lower lid hangs by a tenth of it."""
    measures = np.tile(REST, (len(openings), 1))
    measures[:, OPEN] *= openings
    measures[:, LOWER] *= np.array(openings) / 10
    return measures


@pytest.mark.parametrize(
    ("openings", "expected"),
    [
        ([1, 1, 0.7, 0.2, 0, 0.3, 0.7, 1, 1], [1] * 9),  # a blink, its ways down and up too
        ([0.8, 0.8, 0.1, 0.1, 0.6, 0.6], [0.8, 0.76, 0.72, 0.68, 0.64, 0.6]),  # straight from before to after
        ([1, 0.7, 0.7, 0.7, 1], [1, 0.7, 0.7, 0.7, 1]),  # narrowed, never closed: this is what AU7 does
        ([1, *[0] * 13, 1], [1, *[0] * 13, 1]),  # closed for longer than a blink
        ([0, 0, 0.9, 1], [0.9, 0.9, 0.9, 1]),  # it comes with closed eyes
        ([1, 0.9, 0, 0], [1, 0.9, 0.9, 0.9]),  # or goes with them
        ([1, *[0] * 14], [1, *[0] * 14]),  # for longer than a blink
        ([0, 0], [0, 0]),  # never opens them
        ([1, 0, 1, 0, 1], [1] * 5),
    ],
)
def test_lids_go_straight_over_blinks_and_nothing_else(openings: list[float], expected: list[float]) -> None:
    times = np.arange(len(openings)) * 40.0
    bridged = without_blinks(times, lids(openings), REST)
    np.testing.assert_allclose(bridged[:, OPEN] / REST[OPEN], expected, atol=1e-3)
    np.testing.assert_allclose(bridged[:, LOWER] / REST[LOWER], np.array(expected) / 10, atol=1e-3)
    others = np.delete(bridged, [OPEN, LOWER], axis=1)
    np.testing.assert_allclose(others, 0.2, atol=1e-6)


def test_how_long_a_blink_lasts_is_a_matter_of_time() -> None:
    openings = [1.0, 0.0, 1.0]
    for step, gone in ((BLINK_MS / 2, True), (BLINK_MS / 2 + 1, False)):
        bridged = without_blinks(np.arange(3) * step, lids(openings), REST)
        assert (bridged[1, OPEN] > 0.1) == gone


def test_a_face_that_is_lost_in_a_blink_has_not_narrowed_its_eyes() -> None:
    times = [0.0, 40.0, 80.0, 80.0 + BLINK_MS + 1, 120.0 + BLINK_MS + 1]
    bridged = without_blinks(times, lids([0.9, 0, 0, 1, 0.8]), REST)
    np.testing.assert_allclose(bridged[:, OPEN] / REST[OPEN], [0.9, 0.9, 0.9, 1, 0.8], atol=1e-6)


def test_faces_that_were_not_measured_stay_so_and_break_no_blink() -> None:
    measures = lids([1, 0, 0, 1])
    measures[2] = np.nan
    bridged = without_blinks(np.arange(4) * 40.0, measures, REST)
    assert np.isnan(bridged[2]).all()
    np.testing.assert_allclose(bridged[[0, 1, 3], OPEN], 0.2)
    assert without_blinks([], np.zeros((0, len(MEASURES))), REST).shape == (0, len(MEASURES))
    never_open = np.zeros(len(MEASURES))
    np.testing.assert_array_equal(
        without_blinks(np.arange(4), lids([1, 0, 0, 1]), never_open), lids([1, 0, 0, 1]).astype(np.float32)
    )
