"""Readings of landmarks with random weights, and faces for them to read."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from model.brow_measures import MEASURES, MEASURES_OF_AU, resting_reference
from model.landmark_reading import FEATURES, LandmarkReading
from model.landmarks import FLIP_68
from tests.training.conftest import face_landmarks

SIDE = 160


def solid_face() -> np.ndarray:
    """(68, 3): a face on an egg, the nose standing out of it."""
    flat = face_landmarks(SIDE).astype(np.float64)
    flat = (flat + flat[FLIP_68] * [-1, 1] + [SIDE, 0]) / 2  # alike on both sides
    across = (flat[:, 0] - SIDE / 2) / SIDE
    depth = SIDE * 2 * across**2
    depth[27:31] -= np.linspace(4, 16, 4)
    return np.column_stack([flat, depth])


def random_reading(
    au_codes: Sequence[str] = ("AU1", "AU4", "AU12"), seed: int = 0, members: int = 2, hidden: int = 4
) -> LandmarkReading:
    """Random perceptrons; AUs that have measures move 20 for each unit of them, the way FACS says."""
    rng = np.random.default_rng(seed)

    def draw(*shape: int) -> np.ndarray:
        return rng.normal(0, 0.3, shape).astype(np.float32)

    aus = len(au_codes)
    weights = [[20.0 * MEASURES_OF_AU.get(code, {}).get(name, 0) for name in MEASURES] for code in au_codes]
    return LandmarkReading(
        draw(FEATURES),
        np.abs(draw(FEATURES)) + 0.5,
        draw(members, hidden, FEATURES),
        draw(members, hidden),
        draw(members, aus, hidden),
        draw(members, aus),
        resting_reference(solid_face()[None]).astype(np.float32),
        np.array(weights, np.float32),
    )
