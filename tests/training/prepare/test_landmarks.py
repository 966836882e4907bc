from __future__ import annotations

import numpy as np
import pytest

from model.landmarks import FLIP_68, LAYOUTS
from tests.training.conftest import face_landmarks
from training.prepare.landmarks import fit_picture, to_ibug68

FACE = face_landmarks(100)


def turned(points: np.ndarray, degrees: float) -> np.ndarray:
    a = np.radians(degrees)
    return (points - 50) @ np.array([[np.cos(a), np.sin(a)], [-np.sin(a), np.cos(a)]]) * 1.7 + [80, 30]


@pytest.mark.parametrize("layout", ["ibug49", "ibug66", "ibug68"])
def test_given_points_stay_and_lacking_ones_are_filled(layout: str) -> None:
    kept = LAYOUTS[layout].to_layout
    whole = to_ibug68(FACE[kept])
    np.testing.assert_array_equal(whole[kept], FACE[kept])
    assert np.isfinite(whole).all()
    for inner, outer, other in ((60, 48, 54), (64, 54, 48)):
        if inner not in kept:
            np.testing.assert_allclose(whole[inner], 0.9 * FACE[outer] + 0.1 * FACE[other])


def test_the_filled_jaw_surrounds_the_face_and_mirrors() -> None:
    jaw = to_ibug68(FACE[LAYOUTS["ibug49"].to_layout])[:17]
    assert jaw[0, 0] < FACE[17:, 0].min()
    assert jaw[16, 0] > FACE[17:, 0].max()
    assert jaw[8, 1] > FACE[57, 1] + 3
    assert np.argmax(jaw[:, 1]) == 8
    mirrored = jaw[FLIP_68[:17]] * [-1, 1] + [100, 0]  # the face is symmetric about x = 50
    np.testing.assert_allclose(jaw, mirrored, atol=1e-9)
    assert np.abs(jaw - FACE[:17]).max() < 15  # near the drawing's own jaw: proportions of a face


def test_filled_points_turn_with_the_face() -> None:
    kept = LAYOUTS["ibug49"].to_layout
    np.testing.assert_allclose(to_ibug68(turned(FACE, 40)[kept]), turned(to_ibug68(FACE[kept]), 40), atol=1e-9)


@pytest.mark.parametrize("shape", [(0, 2), (48, 2), (49, 3), (49,)])
def test_other_layouts_are_refused(shape: tuple[int, ...]) -> None:
    with pytest.raises(ValueError, match="landmark"):
        to_ibug68(np.zeros(shape))


@pytest.mark.parametrize(
    ("points", "fits"),
    [
        (FACE, True),
        (FACE - 40, True),  # half outside, its middle inside
        (FACE - [-200, 0], False),
        (FACE - [0, 120], False),
        (FACE * 0, False),
        (FACE * 0 + 7, False),
        (FACE * 1000, False),
        (np.where(np.arange(68)[:, None] == 20, np.nan, FACE), False),
        (np.where(np.arange(68)[:, None] == 39, np.inf, FACE), False),
    ],
)
def test_nonsense_does_not_fit_a_picture(points: np.ndarray, fits: bool) -> None:
    assert fit_picture(points, 110, 100) is fits
