"""A face to test geometry on: symmetric, upright, about the size it has in a 256-pixel crop."""

from __future__ import annotations

import numpy as np
import pytest

from model.landmarks import FLIP_68
from model.values import Float64Array

INNER_OCULAR = 52.0
MIDDLE = (128.0, 100.0)  # between the inner eye corners, in pixels

# Image-left half and midline, in inner-ocular distances from the point between the eyes.
_HALF = {
    **{i: (-2.3 * np.cos(i * np.pi / 16), 0.2 + 3.4 * np.sin(i * np.pi / 16)) for i in range(9)},
    **dict(
        zip(range(17, 22), [(-1.9, -0.55), (-1.55, -0.85), (-1.2, -0.92), (-0.8, -0.85), (-0.4, -0.7)], strict=True)
    ),
    **dict(zip(range(27, 31), [(0, -0.05), (0, 0.4), (0, 0.8), (0, 1.15)], strict=True)),
    **dict(zip(range(31, 34), [(-0.4, 1.35), (-0.2, 1.42), (0, 1.48)], strict=True)),
    **dict(zip((36, 37, 38, 39), [(-1.45, 0), (-1.2, -0.18), (-0.8, -0.18), (-0.5, 0)], strict=True)),
    **dict(zip((40, 41), [(-0.75, 0.12), (-1.2, 0.12)], strict=True)),
    **dict(zip((48, 49, 50, 51), [(-0.8, 2.1), (-0.5, 1.97), (-0.2, 1.9), (0, 1.93)], strict=True)),
    **dict(zip((57, 58, 59), [(0, 2.45), (-0.25, 2.42), (-0.55, 2.32)], strict=True)),
    **dict(zip((60, 61, 62, 66, 67), [(-0.7, 2.1), (-0.3, 2.07), (0, 2.1), (0, 2.2), (-0.3, 2.2)], strict=True)),
}


@pytest.fixture(scope="session")
def face() -> Float64Array:
    """(68, 2) iBUG landmarks in pixels; read only."""
    points = np.full((68, 2), np.nan)
    for index, point in _HALF.items():
        points[index] = point
        points[FLIP_68[index]] = -point[0], point[1]
    points = points * INNER_OCULAR + MIDDLE
    assert np.isfinite(points).all()
    points.setflags(write=False)
    return points
