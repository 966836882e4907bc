"""A hand before the face: on the mouth, the cheek, the chin or the brow, in the skin's own colour."""

from __future__ import annotations

import cv2
import numpy as np
import numpy.typing as npt

Picture = npt.NDArray[np.float32]
Points = npt.NDArray[np.float64]

FIXED_POINT_BITS = 4
TARGETS = (51, 57, 48, 54, 8, 33, 3, 13, 19, 24)
"""Landmarks that fingertips rest at: lips, lip corners, chin, nose, cheeks, brows."""
ROUNDING = ((1.0, 0.62), (0.78, 0.86), (0.5, 1.0))
"""A limb is drawn thrice: share of its width and of its brightness, dark edge first."""


def paint_hand(
    picture: Picture, landmarks: npt.NDArray[np.floating], rng: np.random.Generator
) -> tuple[Picture, Picture]:
    """A flat or loosely closed hand with two to four fingers, a soft shadow below it.

    Args:
        picture: (S, S, 3) float32 RGB, about 0 to 1.
        landmarks: (68, 2) in its pixels; they give size, place and the skin's colour.
        rng: the only source of chance.

    Returns:
        (S, S, 3) float32, a new picture, and (S, S) float32, 1 where the hand covers it.
    """
    points = np.asarray(landmarks, np.float64)
    face = float(np.linalg.norm(points[45] - points[36]))
    skin = _skin(picture, points) * rng.uniform(0.75, 1.15) * (1 + rng.normal(0, 0.03, 3))
    limbs = _limbs(points, face, rng)
    size = picture.shape[0]
    covered, paint = np.zeros((size, size), np.float32), np.zeros_like(picture)
    paint[:] = skin * ROUNDING[0][1]
    for line, width in limbs:
        _draw(covered, line, width, 1.0)
        for share, light in ROUNDING:
            _draw(paint, line, width * share, tuple((skin * light).tolist()))
    soft = 0.012 * size
    paint = np.asarray(cv2.GaussianBlur(paint, (0, 0), soft), np.float32)
    shifted = cv2.warpAffine(covered, np.array([[1, 0, 2 * soft], [0, 1, 2 * soft]], np.float32), (size, size))
    shade = 1 - 0.35 * np.asarray(cv2.GaussianBlur(shifted, (0, 0), 2 * soft), np.float32)[..., None]
    opacity = np.asarray(cv2.GaussianBlur(covered, (0, 0), 0.004 * size), np.float32)[..., None]
    return np.asarray(picture * shade * (1 - opacity) + paint * opacity, np.float32), covered


def _skin(picture: Picture, points: Points) -> npt.NDArray[np.float64]:
    """Colour between nose and lids, where little hides the skin."""
    size = picture.shape[0]
    spots = np.concatenate([points[27:31], (points[31:36] + points[[40, 41, 30, 46, 47]]) / 2])
    x, y = np.clip(np.round(spots).astype(int), 0, size - 1).T
    return np.asarray(np.median(picture[y, x], axis=0), np.float64)


def _limbs(points: Points, face: float, rng: np.random.Generator) -> list[tuple[Points, float]]:
    """Lines and widths of arm, palm, thumb and fingers, those behind first; lengths follow a hand beside its face."""
    scale = face * rng.uniform(0.85, 1.2)
    tip = points[rng.choice(TARGETS)] + rng.normal(0, 0.12, 2) * face
    turn = rng.normal(0, 0.6)
    up = np.array([np.sin(turn), -np.cos(turn)])
    across = np.array([-up[1], up[0]]) * (1.0 if rng.random() < 0.5 else -1.0)
    finger, knuckles = rng.uniform(0.5, 0.95), tip - up * scale * 0.75
    spread, width = rng.uniform(0.19, 0.27), rng.uniform(0.18, 0.23) * scale
    wrist = knuckles - up * scale * 0.95
    limbs = [(np.array([wrist, wrist - up * 3 * scale]), 0.62 * scale)]
    limbs += [(np.array([wrist, knuckles + across * k * 0.24 * scale]), 0.42 * scale) for k in (-1, 0, 1)]
    count = int(rng.integers(2, 5))
    for k in range(count):
        place = (k - (count - 1) / 2) * spread
        length = finger * (1 - 0.12 * abs(place / spread)) * scale
        root = knuckles + across * place * scale
        bend = up * length + across * place * length * rng.uniform(-0.3, 0.5)
        limbs.append((np.array([root, root + 0.55 * bend, root + bend + rng.normal(0, 0.02, 2) * scale]), width))
    thumb = wrist + up * 0.35 * scale + across * 0.35 * scale
    away = across * np.sin(rng.uniform(0.2, 1.0)) + up * 0.8
    limbs.append((np.array([thumb, thumb + away * 0.65 * scale]), 1.1 * width))
    return limbs


def _draw(canvas: Picture, line: Points, width: float, colour: float | tuple[float, ...]) -> None:
    fixed = np.round(line * (1 << FIXED_POINT_BITS)).astype(np.int32)
    thickness = max(1, round(width))
    cv2.polylines(canvas, [fixed], False, colour, thickness, cv2.LINE_AA, FIXED_POINT_BITS)
